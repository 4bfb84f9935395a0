"""From the settings to what each room is configured with: small frozen values, one room each."""

import httpx
import msgspec

from gateway.execution.access import ProviderAccess
from gateway.execution.aws_signing import make_signer
from gateway.execution.breaker import BreakerRules
from gateway.execution.deadlines import Deadlines
from gateway.execution.egress import origin_of
from gateway.execution.google_token import GoogleTokens
from gateway.execution.health import HealthBoard
from gateway.execution.media import MediaFetcher
from gateway.execution.runner import Limits
from gateway.execution.shared_health import TABLE_NAME, open_table
from gateway.gathering import Policy
from gateway.ledger.budget_account import BudgetRules
from gateway.ledger.upkeep import Retention
from gateway.providers.base import Quirks
from gateway.providers.registry import adapter_for, quirks_of
from gateway.routing.plan import BalanceWeights
from gateway.routing.rules.drawing import split_salt
from gateway.settings.baseline import find_baseline
from gateway.settings.enabled import EnabledProvider
from gateway.settings.load import SettingsError
from gateway.settings.offer import Offer
from gateway.settings.values import Settings
from gateway.snapshot.snapshot import Snapshot
from gateway.version import CODE_VERSION, USER_AGENT


def first_snapshot(settings: Settings, offer: Offer) -> Snapshot:
    """What is believed before anything was loaded: no keys, no rules, the prices of the tables."""
    return Snapshot(
        catalogue=offer.catalogue,
        aliases=settings.aliases,
        configured_models=offer.configured_models,
        rules=None,
    )


def decision_policy(settings: Settings, offer: Offer, pepper: bytes) -> Policy:
    """What decisions rest on.

    Raises:
        SettingsError: there is no such baseline.
    """
    routing = settings.routing
    return Policy(
        slash_pins_provider=routing.slash_pins_provider,
        expected_output_tokens=routing.expected_output_tokens,
        strategy=routing.strategy,
        balance=BalanceWeights(**msgspec.structs.asdict(routing.balance)),
        auto_models=routing.auto_models,
        fetches_media=settings.media.fetch,
        code_version=CODE_VERSION,
        baseline=find_baseline(settings.savings.baseline, offer.catalogue),
        split_salt=split_salt(pepper),
    )


def runner_limits(settings: Settings) -> Limits:
    """How far attempts go."""
    hedge_after_ms = settings.routing.hedge_after_ms
    return Limits(
        max_attempts=settings.routing.max_attempts,
        total_s=settings.deadlines.total_s,
        hedge_after_s=hedge_after_ms / 1000 if hedge_after_ms is not None else None,
    )


def budget_rules(settings: Settings) -> BudgetRules:
    """How budgets are enforced."""
    budgets = settings.budgets
    return BudgetRules(
        is_enforced=budgets.mode == "enforce",
        wait_s=budgets.wait_ms / 1000,
        ttl_s=budgets.lease_s,
        releases_expired=budgets.expired == "release",
        # A lease is renewed several times before it expires.
        tick_s=min(1.0, budgets.lease_s / 4),
    )


def retention(settings: Settings) -> Retention:
    """How long what is kept."""
    kept = settings.retention
    return Retention(
        rows_days=kept.rows_days, minutes_days=kept.minutes_days, sums_days=kept.sums_days
    )


def media_fetcher(settings: Settings, transport: httpx.AsyncBaseTransport) -> MediaFetcher | None:
    """What fetches images and files; None where the gateway is not to."""
    media = settings.media
    if not media.fetch:
        return None
    return MediaFetcher(
        transport,
        max_bytes=media.max_bytes,
        within_s=media.within_s,
        private_origins=origins_of(media.private_origins),
    )


def origins_of(addresses: tuple[str, ...]) -> frozenset[tuple[str, int]]:
    """Hosts and ports of addresses."""
    return frozenset(origin_of(httpx.URL(address)) for address in addresses)


def common_deadlines(settings: Settings) -> Deadlines:
    """Those of a provider that has none of its own."""
    common = settings.deadlines
    return Deadlines(
        connect_s=common.connect_s,
        first_token_s=common.first_token_s,
        first_token_reasoning_s=common.first_token_reasoning_s,
        whole_answer_s=common.whole_answer_s,
        idle_s=common.idle_s,
        total_s=common.total_s,
    )


def provider_access(
    provider: EnabledProvider, settings: Settings, transport: httpx.AsyncBaseTransport
) -> ProviderAccess:
    """How a provider is called.

    Raises:
        SettingsError: a private key cannot be read.
    """
    own = provider.settings
    common = common_deadlines(settings)
    return ProviderAccess(
        id=provider.id,
        base_url=provider.base_url,
        adapter=adapter_for(provider.provider.protocol, user_agent=USER_AGENT),
        quirks=_quirks(provider),
        transport=transport,
        secret=provider.secret,
        further_secrets=provider.further_secrets,
        deadlines=Deadlines(
            connect_s=own.connect_s or common.connect_s,
            first_token_s=own.first_token_s or common.first_token_s,
            first_token_reasoning_s=own.first_token_s or common.first_token_reasoning_s,
            whole_answer_s=own.whole_answer_s or common.whole_answer_s,
            idle_s=own.idle_s or common.idle_s,
            total_s=common.total_s,
        ),
        sign=make_signer(provider.aws) if provider.aws is not None else None,
        secret_of=_tokens(provider, transport),
        drains_on_disconnect=own.on_disconnect == "drain",
    )


def health_board(settings: Settings, offer: Offer) -> HealthBoard:
    """Health as this node shares it, with room for every level that an endpoint can have."""
    credentials = {provider.id: 1 + len(provider.further_secrets) for provider in offer.providers}
    endpoints: dict[str, list[str]] = {}
    for endpoint in offer.catalogue.endpoints_by_id.values():
        endpoints.setdefault(endpoint.provider, []).append(endpoint.id)
    levels = sum(
        (1 + count) * (1 + len(endpoints.get(provider, ())))
        for provider, count in credentials.items()
    )
    own = settings.breaker
    return HealthBoard(
        rules=BreakerRules(
            local_failures=own.local_failures,
            consecutive_failures=own.consecutive_failures,
            failure_rate=own.failure_rate,
            minimum_volume=own.minimum_volume,
            window_s=own.window_s,
            open_s=own.open_s,
            open_max_s=own.open_max_s,
            slow_start_s=own.slow_start_s,
        ),
        table=open_table(settings.data_dir / TABLE_NAME, capacity=max(levels, 1)),
        credentials=credentials,
        endpoints_of=lambda provider: endpoints.get(provider, ()),
    )


def _tokens(provider: EnabledProvider, transport: httpx.AsyncBaseTransport) -> GoogleTokens | None:
    """Access tokens of a service account, where that is the credential."""
    if provider.google is None:
        return None
    try:
        return GoogleTokens(provider.google, transport)
    except ValueError as exc:
        raise SettingsError(f"providers.{provider.id}: {exc}") from None


def _quirks(provider: EnabledProvider) -> Quirks:
    """The provider's row, with the way of counting that the operator may have named."""
    quirks = quirks_of(provider.id)
    flavour = provider.settings.usage_flavour
    return msgspec.structs.replace(quirks, usage_flavour=flavour) if flavour else quirks
