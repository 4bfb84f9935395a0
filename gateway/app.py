"""Builds a worker's application: the only file that knows every room."""

import asyncio
import logging
import socket
import time
from collections.abc import Mapping
from uuid import UUID

import httpx
import msgspec
from litestar import Litestar
from litestar.handlers import HTTPRouteHandler

from gateway.api.admin.application import admin_app
from gateway.api.admin.audit import admin_audit_routes
from gateway.api.admin.budgets import admin_budget_routes
from gateway.api.admin.catalogue import admin_catalogue_routes
from gateway.api.admin.dry_run import admin_dry_run_routes
from gateway.api.admin.guard import Guard
from gateway.api.admin.jobs import JobDesk, admin_job_routes
from gateway.api.admin.keys import admin_key_routes
from gateway.api.admin.preview import admin_preview_routes
from gateway.api.admin.price_import import admin_price_import_routes
from gateway.api.admin.prices import PriceDesk, admin_price_routes
from gateway.api.admin.proposals import admin_proposal_routes
from gateway.api.admin.replay import admin_replay_routes
from gateway.api.admin.rules import RulesDesk, admin_rule_routes
from gateway.api.admin.savings import admin_savings_routes
from gateway.api.admin.sessions import SessionDesk, admin_session_routes
from gateway.api.admin.users import admin_user_routes
from gateway.api.admin.webhooks import admin_webhook_routes
from gateway.api.auth import KEYS_STALE_AFTER_S, authenticate
from gateway.api.embeddings import EMBEDDINGS, for_embeddings
from gateway.api.front import Front
from gateway.api.guessing import Guesses
from gateway.api.health import Readiness, health_routes
from gateway.api.messages import MESSAGES
from gateway.api.metrics import Sources, metrics_routes
from gateway.api.surface import Surroundings, data_app
from gateway.api.traffic import Traffic
from gateway.domain.caller import Caller
from gateway.exchange import CHAT
from gateway.execution.access import AccessBook, ProviderAccess
from gateway.execution.aws_signing import make_signer
from gateway.execution.breaker import BreakerRules
from gateway.execution.deadlines import Deadlines
from gateway.execution.egress import make_policy, origin_of
from gateway.execution.experience import Experience
from gateway.execution.google_token import GoogleTokens
from gateway.execution.health import HealthBoard
from gateway.execution.media import MediaFetcher
from gateway.execution.own_access import OwnAccess
from gateway.execution.runner import Limits, Runner
from gateway.execution.shadow import Shadows
from gateway.execution.shared_health import TABLE_NAME, open_table
from gateway.execution.token_ratios import RatioCopy
from gateway.execution.transport import AiohttpTransport
from gateway.execution.upstream import Upstream
from gateway.gathering import Policy
from gateway.ledger.budget_bounds import BoundRules
from gateway.ledger.budget_keeper import BudgetKeeper
from gateway.ledger.limit_table import TABLE_NAME as LIMIT_TABLE_NAME
from gateway.ledger.limit_table import open_limits
from gateway.ledger.limits import Limiter
from gateway.ledger.purse import BudgetRules, Purse
from gateway.ledger.shipper import Shipper
from gateway.ledger.spool import Spool
from gateway.ledger.toll import Tollbooth
from gateway.ledger.upkeep import Retention, Upkeep
from gateway.metrics.node import NodeFiles
from gateway.metrics.watch import Watch, WatchedLedger
from gateway.notices.health_log import HealthLog
from gateway.notices.sender import Sender
from gateway.notices.sending import Courier
from gateway.notices.watching import NoticeWatch, NoticingLedger, Unpriced
from gateway.pipeline import Pipeline
from gateway.providers.base import Quirks
from gateway.providers.registry import adapter_for, quirks_of
from gateway.routing.plan import BalanceWeights
from gateway.routing.replaying import Installation
from gateway.routing.rules.drawing import split_salt
from gateway.settings.baseline import find_baseline
from gateway.settings.enabled import EnabledProvider
from gateway.settings.load import SettingsError
from gateway.settings.offer import Offer, make_offer
from gateway.settings.values import BudgetSettings, Settings
from gateway.snapshot.budgets import StoredBudgets
from gateway.snapshot.prices import StoredPrices
from gateway.snapshot.refresh import KeyRefresh
from gateway.snapshot.rules import RuleBook, RuleFile, StoredRules
from gateway.snapshot.snapshot import Snapshot, SnapshotHolder
from gateway.storage.asking import Asker
from gateway.version import CODE_VERSION, USER_AGENT

_ADMIN_S = 5.0
_READ_ON_S = 1.0
_REST_S = 1.0
_ACCOUNT_S = 2.0
_JOB_S = 30.0

_log = logging.getLogger("tollway.app")


class Place(msgspec.Struct, frozen=True, kw_only=True):
    """Which worker this is and what it talks to. ``database_url`` may hold a password."""

    worker: int
    database_url: str
    pepper: bytes
    owner_token: str
    has_admin: bool
    simulated_url: str | None = None

    def __repr__(self) -> str:
        return f"Place(worker {self.worker})"


class Worker:
    """The applications of one worker and what runs beside them in its event loop."""

    def __init__(self, settings: Settings, place: Place) -> None:
        self.drain_streams_s = settings.deadlines.drain_streams_s
        self.traffic = Traffic(
            most=settings.limits.in_flight_per_worker,
            stalled_client_s=settings.deadlines.stalled_client_s,
        )
        self._place = place
        self._offer = make_offer(settings, place.simulated_url)
        self._snapshots = SnapshotHolder(
            Snapshot(
                catalogue=self._offer.catalogue,
                aliases=settings.aliases,
                configured_models=self._offer.configured_models,
                rules=None,
            )
        )
        self._transport = AiohttpTransport(
            policy=make_policy(
                provider.base_url for provider in self._offer.providers if provider.allow_private
            ),
            connect_timeout_s=settings.deadlines.connect_s,
        )
        self._spool = Spool(
            settings.data_dir / "spool",
            worker=place.worker,
            max_bytes=settings.limits.spool_bytes,
        )
        self._shipper = Shipper(self._spool, place.database_url)
        kept = settings.retention
        self._upkeep = Upkeep(
            place.database_url,
            Retention(
                rows_days=kept.rows_days,
                minutes_days=kept.minutes_days,
                sums_days=kept.sums_days,
            ),
        )
        copies = settings.data_dir / "snapshot"
        self._rules_path = settings.rules_path
        book = RuleBook(self._snapshots, copies / "rules.msgpack")
        self._rule_file = RuleFile(book, self._rules_path) if self._rules_path else None
        self._keys = KeyRefresh(
            self._snapshots,
            place.database_url,
            copies / "keys.msgpack",
            followers=(
                StoredPrices(self._snapshots, self._offer.catalogue, copies / "prices.msgpack"),
                StoredBudgets(self._snapshots, copies / "budgets.msgpack"),
                *(() if self._rule_file is not None else (StoredRules(book),)),
            ),
            end_requests_of=self.traffic.end_requests_of,
        )
        self._purse = Purse(_budget_rules(settings.budgets))
        self._keeper = BudgetKeeper(
            self._purse,
            place.database_url,
            self._spool.writer.name,
            budgets=lambda: self._snapshots.current.budgets,
        )
        self._limiter = Limiter(
            open_limits(settings.data_dir / LIMIT_TABLE_NAME, worker=place.worker),
            is_enforced=settings.budgets.mode == "enforce",
        )
        self._ask = Asker(place.database_url, within_s=_ADMIN_S, application_name="tollway admin")
        self._account = Asker(
            place.database_url, within_s=_ACCOUNT_S, application_name="tollway account"
        )
        self._job_ask = Asker(place.database_url, within_s=_JOB_S, application_name="tollway jobs")
        self._jobs = JobDesk()
        self._notice_ask = Asker(
            place.database_url, within_s=_ADMIN_S, application_name="tollway notices"
        )
        self._unpriced = Unpriced()
        self._guesses = Guesses()
        self._tasks: set[asyncio.Task[None]] = set()
        self.data = self._data_app(settings)
        self._set_up_notices(settings)
        self.admin = self._admin_app() if place.has_admin else None

    async def start(self) -> None:
        """Begin what runs in the background; returns once requests can be answered."""
        await self._keys.load()
        rule_file = self._rule_file
        if rule_file is not None:
            await rule_file.load()
        for name, work in (
            *([("rules", rule_file.run())] if rule_file is not None else []),
            ("keys", self._keys.run()),
            ("shipper", self._shipper.run()),
            ("budgets", self._keeper.run()),
            # One worker of a node does it; nodes keep out of each other's way.
            *([("upkeep", self._upkeep.run())] if self._place.worker == 0 else []),
            ("traffic", self.traffic.sweep()),
            ("metrics", self._watch.run()),
            ("token ratios", self._ratio_copy.run()),
            ("notices", self._notice_watch.run()),
            ("health log", self._health_log.run()),
            *([("webhooks", self._sender.run())] if self._place.worker == 0 else []),
        ):
            task = asyncio.create_task(work, name=name)
            task.add_done_callback(self._tasks.discard)
            task.add_done_callback(_tell_failure)
            self._tasks.add(task)

    async def stop(self, *, ship_within_s: float) -> None:
        """Bring what is spooled to Postgres if it answers in time, and let everything go."""
        await self._jobs.aclose()
        for pipeline in self._pipelines.values():
            await pipeline.aclose(within_s=_READ_ON_S)
        await self._shadows.aclose(within_s=_READ_ON_S)
        self._spool.close()
        # What the last records cost is settled by the shipper, and nothing is leased after it.
        await self._keeper.aclose()
        await self._shipper.drain(ship_within_s)
        await self._health_log.write_rest(within_s=_REST_S)
        for task in list(self._tasks):
            task.cancel()
        await asyncio.wait(self._tasks, timeout=1.0) if self._tasks else None
        for tokens in self._tokens:
            await tokens.aclose()
        await self._transport.aclose()
        await self._media_transport.aclose()
        await self._webhook_transport.aclose()
        await self._ask.aclose()
        await self._job_ask.aclose()
        await self._notice_ask.aclose()
        await self._account.aclose()
        self._health.close()
        self._limiter.close()
        self._ratio_copy.write()

    def _data_app(self, settings: Settings) -> Front:
        health = self._health = _health_board(settings, self._offer)
        providers = {
            provider.id: _access(provider, settings, self._transport)
            for provider in self._offer.providers
        }
        self._tokens = [
            access.secret_of
            for access in providers.values()
            if isinstance(access.secret_of, GoogleTokens)
        ]
        hedge_after_ms = settings.routing.hedge_after_ms
        media = settings.media
        self._media_transport = AiohttpTransport(policy=make_policy(media.private_origins))
        upstream = Upstream(
            MediaFetcher(
                self._media_transport,
                max_bytes=media.max_bytes,
                within_s=media.within_s,
                private_origins=frozenset(
                    origin_of(httpx.URL(origin)) for origin in media.private_origins
                ),
            )
            if media.fetch
            else None
        )
        self._shadows = Shadows(upstream, most=settings.limits.shadows_per_worker)
        runner = Runner(
            upstream,
            Limits(
                max_attempts=settings.routing.max_attempts,
                total_s=settings.deadlines.total_s,
                hedge_after_s=hedge_after_ms / 1000 if hedge_after_ms is not None else None,
            ),
            advice=health,
        )
        self._sources = Sources(
            traffic=self.traffic,
            spool=self._spool,
            shipping=self._shipper.state,
            health=health,
            budget=runner.budget,
            shadows=self._shadows,
            snapshots=self._snapshots,
            purse=self._purse,
            limiter=self._limiter,
        )
        self._watch = Watch(
            NodeFiles(settings.data_dir / "metrics", worker=self._place.worker),
            gauges=self._sources.gauges,
            follow=self._sources.follow,
        )
        ledger = NoticingLedger(WatchedLedger(self._spool, self._watch), self._unpriced)
        experience = Experience()
        self._ratio_copy = RatioCopy(
            experience.ratios, settings.data_dir / "snapshot", worker=self._place.worker
        )
        booth = Tollbooth(
            self._purse,
            self._limiter,
            rules=BoundRules(answer_tokens=settings.budgets.answer_tokens),
            learned=experience.output_p95,
            expected_output_tokens=settings.routing.expected_output_tokens,
            ratio_of=experience.ratios.of,
        )
        policy = self._policy = Policy(
            slash_pins_provider=settings.routing.slash_pins_provider,
            expected_output_tokens=settings.routing.expected_output_tokens,
            strategy=settings.routing.strategy,
            balance=BalanceWeights(**msgspec.structs.asdict(settings.routing.balance)),
            auto_models=settings.routing.auto_models,
            fetches_media=media.fetch,
            code_version=CODE_VERSION,
            baseline=find_baseline(settings.savings.baseline, self._offer.catalogue),
            split_salt=split_salt(self._place.pepper),
        )
        own_access = OwnAccess(
            providers,
            transport=self._transport,
            policy=self._transport.policy,
            deadlines=_common_deadlines(settings),
            user_agent=USER_AGENT,
        )
        pipelines = self._pipelines = {
            api.name: Pipeline(
                snapshots=self._snapshots,
                runner=runner,
                access_of=AccessBook(reached),
                health=health,
                ledger=ledger,
                shadows=self._shadows,
                policy=policy,
                api=api,
                experience=experience,
                booth=booth,
                own_access=own_access,
            )
            for api, reached in (
                (CHAT, providers),
                (MESSAGES, providers),
                (EMBEDDINGS, for_embeddings(providers)),
            )
        }
        return data_app(
            Surroundings(
                chat=pipelines[CHAT.name],
                embeddings=pipelines[EMBEDDINGS.name],
                messages=pipelines[MESSAGES.name],
                authenticate=self._authenticate,
                traffic=self.traffic,
                catalogue=lambda: self._snapshots.current.catalogue,
                health=health,
                readiness=self._readiness,
                ask=self._account,
                body_limit=settings.limits.body_bytes,
                text_limit=settings.limits.text_bytes,
                cors_origins=settings.cors.origins,
                more_routes=self._metrics_routes() if settings.metrics.on_data_port else [],
            )
        )

    def _set_up_notices(self, settings: Settings) -> None:
        """Every worker looks; the first one sends, for what another one looked at too."""
        origins = settings.webhooks.private_origins
        self._webhook_transport = AiohttpTransport(policy=make_policy(origins))
        self._courier = Courier(
            self._webhook_transport,
            self._place.pepper,
            private_origins=frozenset(origin_of(httpx.URL(origin)) for origin in origins),
        )
        self._sender = Sender(self._notice_ask, self._courier)
        is_first = self._place.worker == 0
        self._notice_watch = NoticeWatch(
            self._notice_ask,
            health_since=self._health.events.since,
            unpriced=self._unpriced,
            spool_age_s=lambda: self._spool.oldest_unshipped_s,
            node=self._spool.writer.name,
            tell_without_database=self._sender.send_from_memory if is_first else None,
            lag_s=settings.webhooks.spool_lag_s,
        )
        self._health_log = HealthLog(
            self._notice_ask,
            since=self._health.events.since,
            node=f"{socket.gethostname()}:{settings.port}",
        )

    def _admin_app(self) -> Litestar:
        sessions = SessionDesk(self._ask)
        prices = PriceDesk(self._ask, self._snapshots, self._offer.catalogue)
        rules = RulesDesk(self._ask, self._snapshots, self._rules_path)
        return admin_app(
            [
                *admin_key_routes(self._ask, self._place.pepper),
                *admin_budget_routes(self._ask),
                *admin_price_routes(prices),
                *admin_preview_routes(prices, self._jobs, self._job_ask),
                *admin_price_import_routes(prices, self._jobs, self._job_ask),
                *admin_proposal_routes(prices),
                *admin_catalogue_routes(prices),
                *admin_rule_routes(rules),
                *admin_replay_routes(rules, self._jobs, self._job_ask, self._installation),
                *admin_savings_routes(self._jobs, self._job_ask, self._installation),
                *admin_dry_run_routes(self._pipelines[CHAT.name], self._snapshots, rules),
                *admin_session_routes(sessions),
                *admin_user_routes(self._ask, sessions),
                *admin_audit_routes(self._ask),
                *admin_webhook_routes(self._ask, self._courier),
                *admin_job_routes(self._jobs),
                *health_routes(self._readiness),
                *self._metrics_routes(),
            ],
            Guard(self._place.owner_token, sessions.find),
        )

    def _installation(self, callers: Mapping[UUID, Caller]) -> Installation:
        """What decides logged requests again."""
        snapshot, policy = self._snapshots.current, self._policy
        return Installation(
            catalogue=snapshot.catalogue,
            callers=callers,
            aliases=snapshot.aliases,
            slash_pins_provider=policy.slash_pins_provider,
            configured_models=snapshot.configured_models,
            auto_pool=policy.auto_models,
            fetches_media=policy.fetches_media,
            strategy=policy.strategy,
            balance=policy.balance,
            salt=policy.split_salt,
        )

    def _metrics_routes(self) -> list[HTTPRouteHandler]:
        return metrics_routes(self._watch, self._sources.info)

    def _authenticate(self, headers: Mapping[str, str]) -> Caller:
        return authenticate(
            headers,
            self._snapshots.current,
            self._place.pepper,
            now_s=time.time(),
            guesses=self._guesses,
        )

    def _readiness(self) -> Readiness:
        if self.traffic.is_draining:
            return Readiness(ready=False, reason="shutting down")
        if not self._spool.is_writable:
            return Readiness(ready=False, reason="requests cannot be recorded: spool unwritable")
        confirmed_at_s = self._snapshots.current.confirmed_at_s
        if confirmed_at_s is None:
            return Readiness(ready=False, reason="API keys were never loaded")
        if time.time() - confirmed_at_s > KEYS_STALE_AFTER_S:
            return Readiness(ready=False, reason="API keys could not be confirmed for too long")
        if self._snapshots.current.rules is None:
            return Readiness(ready=False, reason="no valid rules are known; the log says why")
        if self._snapshots.current.rules_problem is not None:
            return Readiness(
                ready=True, reason="ok; newer rules have a mistake and are not in force"
            )
        return Readiness(ready=True)


def create_app(settings: Settings, place: Place) -> Worker:
    """A worker, built and not yet started.

    Raises:
        SettingsError: the configuration is incomplete.
        CatalogueError: a table of prices is wrong.
    """
    return Worker(settings, place)


def _budget_rules(budgets: BudgetSettings) -> BudgetRules:
    return BudgetRules(
        is_enforced=budgets.mode == "enforce",
        wait_s=budgets.wait_ms / 1000,
        ttl_s=budgets.lease_s,
        releases_expired=budgets.expired == "release",
        # A lease is renewed several times before it expires.
        tick_s=min(1.0, budgets.lease_s / 4),
    )


def _access(
    provider: EnabledProvider, settings: Settings, transport: httpx.AsyncBaseTransport
) -> ProviderAccess:
    common, own = settings.deadlines, provider.settings
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


def _common_deadlines(settings: Settings) -> Deadlines:
    common = settings.deadlines
    return Deadlines(
        connect_s=common.connect_s,
        first_token_s=common.first_token_s,
        first_token_reasoning_s=common.first_token_reasoning_s,
        whole_answer_s=common.whole_answer_s,
        idle_s=common.idle_s,
        total_s=common.total_s,
    )


def _tokens(provider: EnabledProvider, transport: httpx.AsyncBaseTransport) -> GoogleTokens | None:
    """Access tokens of a service account, where that is the credential.

    Raises:
        SettingsError: its private key cannot be read.
    """
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


def _health_board(settings: Settings, offer: Offer) -> HealthBoard:
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


def _tell_failure(task: asyncio.Task[None]) -> None:
    if not task.cancelled() and (exc := task.exception()) is not None:
        _log.error("background task %s ended", task.get_name(), exc_info=exc)
