"""Decides a logged request again, under other rules, by the very code that decided it then.

What the record keeps is put together to a request and to what was known when it came: its seed, its
facts, the health of the endpoints that were looked at. Where a fact is needed that no record keeps,
the request is not decided at all, and the reason is told: a guess would look like a result.

What is not of the record is as it is now: the enabled endpoints, aliases, the settings of routing
and the keys; prices are those of the request's own time. Endpoints that the decision did not look
at count as healthy.
"""

from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from decimal import Decimal
from enum import StrEnum
from typing import Any, Literal
from uuid import UUID

import msgspec

from gateway.chat.preferences import Bounds, ProviderPreferences
from gateway.chat.request import ChatRequest
from gateway.domain.caller import Caller
from gateway.domain.errors import GatewayError
from gateway.routing.embeddings import make_embedding_plan
from gateway.routing.engine import make_plan
from gateway.routing.plan import (
    BalanceWeights,
    EndpointHealth,
    ExclusionReason,
    Percentiles,
    Plan,
    PlanInputs,
    Sticky,
    Strategy,
)
from gateway.routing.pools import pool_of
from gateway.routing.record import LISTED_POOL
from gateway.routing.replaying_facts import MEMBER, TooLongError, request_of
from gateway.routing.rules.govern import govern
from gateway.routing.rules.rule_set import RuleSet
from pricing.catalogue import Catalogue
from pricing.usage import Usage

RULE_DENIED = "rule_denied"


class NotReplayed(StrEnum):
    """Why a logged request cannot be decided again."""

    NO_FACTS = "no_facts"
    """It was recorded before decisions kept what was asked."""
    NO_PLAN = "no_plan"
    """Nobody was found to serve it, and what was known of the endpoints then is not kept."""
    OWN_PROVIDERS = "own_providers"
    """It brought its providers along, which rules do not choose between."""
    KEY_UNKNOWN = "key_unknown"
    """The key is not in the database, so that its labels and limits are not known."""
    TOO_LONG = "too_long"
    """It named more models, providers or parameters than a record keeps."""
    HEADERS = "headers"
    """A rule that could apply asks for headers, which are never stored."""
    SPEED = "speed"
    """Limits of speed by percentiles other than p50 count, and those are not stored."""
    EXCLUSIONS_CUT = "exclusions_cut"
    """Endpoints were left out for their health, and the list of them was cut."""
    BUDGET = "budget"
    """A budget kept endpoints out, and what it held then is not stored."""
    AUTO_POOL = "auto_pool"
    """`auto` chose from another pool than that of now."""
    UNREADABLE = "unreadable"
    """The stored plan is of a form that this version does not know."""


class Answer(msgspec.Struct, frozen=True, kw_only=True):
    """The attempt whose answer the client got."""

    endpoint: str
    started_at: datetime
    service_tier: str | None
    """As served."""
    served_region: str | None = None
    usage: Usage | None
    cost_usd: Decimal | None = None
    """Of this attempt alone, with every correction."""


class LoggedRequest(msgspec.Struct, frozen=True, kw_only=True):
    """What replaying needs of a record."""

    id: UUID
    received_at: datetime
    key_id: UUID
    dialect: str
    stream: bool
    requested_model: str
    user: str | None
    session_id: str | None
    tags: dict[str, str]
    rule_version: str | None
    error_kind: str | None
    used_model: str | None
    used_provider: str | None
    cost_usd: Decimal | None
    """Of all attempts, with every correction; None where one of them has no price."""
    is_paid_by_caller: bool = False
    plan: msgspec.Raw
    answer: Answer | None
    """None when nobody answered."""


class Installation(msgspec.Struct, frozen=True, kw_only=True):
    """What decisions rest on that is not of the record; as it is now."""

    catalogue: Catalogue
    callers: Mapping[UUID, Caller]
    """By key, revoked ones included."""
    aliases: Mapping[str, str]
    slash_pins_provider: bool
    configured_models: frozenset[str]
    auto_pool: tuple[str, ...]
    fetches_media: bool
    strategy: Literal["price-weighted", "balanced"]
    balance: BalanceWeights
    salt: bytes
    """Keys the hash by which rules divide traffic."""

    def __repr__(self) -> str:
        return f"Installation({self.catalogue.version})"


class Situation(msgspec.Struct, frozen=True, kw_only=True):
    """A logged request, ready to be decided again."""

    request: ChatRequest
    inputs: PlanInputs
    api: str
    drawn: str | None
    """The endpoint that was drawn then; None when there was no plan."""


class Decision(msgspec.Struct, frozen=True, kw_only=True):
    """What some rules would make of a request."""

    endpoint: str | None
    """The first to be tried; None when it would be refused."""
    refusal: str | None = None
    """The code of the refusal."""
    rules: tuple[str, ...] = ()
    """Names of those that applied."""


class ReplayableRules:
    """A rule set as logged requests can be held against it."""

    __slots__ = ("_asking_headers", "_rules", "version")

    def __init__(self, rules: RuleSet) -> None:
        self.version = rules.version
        self._asking_headers = frozenset(
            rule.name for rule in rules.rules if rule.enabled and rule.when.headers
        )
        # Without their conditions on headers these rules apply wherever they could have applied.
        self._rules = rules
        if self._asking_headers:
            eased = [
                msgspec.structs.replace(rule, when=msgspec.structs.replace(rule.when, headers={}))
                for rule in rules.rules
            ]
            self._rules = RuleSet(eased, source=rules.source)

    def decide(self, situation: Situation, salt: bytes) -> Decision | NotReplayed:
        """What becomes of the request under these rules."""
        ruled, inputs = govern(
            self._rules,
            situation.request,
            situation.inputs,
            headers={},
            secret_salt=salt,
            api=situation.api,
        )
        if not self._asking_headers.isdisjoint(ruled.rules):
            return NotReplayed.HEADERS
        if ruled.denial is not None:
            return Decision(endpoint=None, refusal=RULE_DENIED, rules=ruled.rules)
        if _asks_unknown_speed(ruled.request.provider):
            return NotReplayed.SPEED
        try:
            plan = PLANNERS.get(situation.api, make_plan)(ruled.request, inputs)
        except GatewayError as exc:
            return Decision(endpoint=None, refusal=exc.code or exc.kind, rules=ruled.rules)
        return Decision(endpoint=plan.candidates[0].endpoint.id, rules=ruled.rules)


PLANNERS: Mapping[str, Callable[[ChatRequest, PlanInputs], Plan]] = {
    "embeddings": make_embedding_plan
}
"""By the API's name; the others plan as chats do."""


def recall(logged: LoggedRequest, here: Installation) -> Situation | NotReplayed:
    """Put a logged request together again; or why that cannot be done."""
    try:
        stored = _PLANS.decode(logged.plan)
        if stored.provider_configs:
            return NotReplayed.OWN_PROVIDERS
        if not stored.asked:
            return NotReplayed.NO_FACTS
        if not stored.candidates and logged.error_kind != RULE_DENIED:
            return NotReplayed.NO_PLAN
        caller = here.callers.get(logged.key_id)
        if caller is None:
            return NotReplayed.KEY_UNKNOWN
        request = request_of(
            stored.asked,
            typed_model=logged.requested_model,
            dialect=logged.dialect,
            stream=logged.stream,
            prompt_tokens=stored.tokens_in,
            user=logged.user,
            session_id=logged.session_id,
            tags=logged.tags,
        )
    except TooLongError:
        return NotReplayed.TOO_LONG
    except (msgspec.DecodeError, ValueError):
        return NotReplayed.UNREADABLE
    gap = _gap(stored)
    if gap is not None:
        return gap
    inputs = _inputs(logged, stored, request, caller, here)
    if stored.pool_size is not None:
        pool = pool_of(inputs)
        if (pool[:LISTED_POOL], len(pool)) != (stored.pool, stored.pool_size):
            return NotReplayed.AUTO_POOL
    return Situation(request=request, inputs=inputs, api=stored.api, drawn=stored.drawn_endpoint)


class _Partition(msgspec.Struct, frozen=True, kw_only=True):
    strategy: Strategy
    balance: BalanceWeights | None = None


class _Candidate(msgspec.Struct, frozen=True, kw_only=True):
    endpoint: str
    model: str
    outage: bool = False
    probation: bool = False
    cooling: bool = False
    factor: float = 1.0
    latency_ms: float | None = None
    tokens_per_s: float | None = None
    uptime: float | None = None
    tokens_out: int | None = None
    tokens_cached: int = 0
    sticky: bool = False
    cost_usd: Decimal | None = None


class _Exclusion(msgspec.Struct, frozen=True, kw_only=True):
    endpoint: str
    reason: str


class StoredPlan(msgspec.Struct, frozen=True, kw_only=True):
    """What is read of a compact plan."""

    seed: int
    api: str = "chat"
    tokens_in: int = 0
    tokens_out: int | None = None
    drawn_endpoint: str | None = None
    partitions: tuple[_Partition, ...] = ()
    candidates: tuple[_Candidate, ...] = ()
    dropped: tuple[_Candidate, ...] = ()
    excluded: tuple[_Exclusion, ...] = ()
    excluded_by: dict[str, int] = {}
    pool: tuple[str, ...] = ()
    pool_size: int | None = None
    provider_configs: tuple[str, ...] = ()
    asked: dict[str, Any] = msgspec.field(default_factory=dict[str, Any], name=MEMBER)

    @property
    def dearest(self) -> str | None:
        """The endpoint that was expected to cost the most; None when no cost was known."""
        known = [one for one in self.candidates if one.cost_usd is not None]
        return max(known, key=lambda one: one.cost_usd or Decimal(0)).endpoint if known else None


_PLANS = msgspec.json.Decoder(StoredPlan)
_RESTING = frozenset(
    {
        ExclusionReason.COOLING_DOWN.value,
        ExclusionReason.RATE_LIMITED.value,
        ExclusionReason.BREAKER_OPEN.value,
    }
)
_OF_HEALTH = _RESTING | {ExclusionReason.CREDENTIAL.value}
_OF_SPEED = frozenset({ExclusionReason.MIN_THROUGHPUT.value, ExclusionReason.MAX_LATENCY.value})
_SOON_MS, _LATER_MS = 1.0, 2.0


def read_plan(plan: msgspec.Raw) -> StoredPlan | None:
    """A compact plan; None when it is of a form that is not known."""
    try:
        return _PLANS.decode(plan)
    except msgspec.DecodeError:
        return None


def _gap(stored: StoredPlan) -> NotReplayed | None:
    """What was known then, counted, and is not stored."""
    excluded_by = stored.excluded_by
    if ExclusionReason.BUDGET.value in excluded_by:
        return NotReplayed.BUDGET
    if not _OF_SPEED.isdisjoint(excluded_by):
        return NotReplayed.SPEED
    for reason in _OF_HEALTH & excluded_by.keys():
        if excluded_by[reason] > sum(one.reason == reason for one in stored.excluded):
            return NotReplayed.EXCLUSIONS_CUT
    return None


def _inputs(
    logged: LoggedRequest,
    stored: StoredPlan,
    request: ChatRequest,
    caller: Caller,
    here: Installation,
) -> PlanInputs:
    if ExclusionReason.UNPRICED.value in stored.excluded_by:
        # Budgets that nobody may exceed keep them out, and those of then are not stored.
        caller = msgspec.structs.replace(caller, has_hard_budget=True)
    strategy, balance = here.strategy, here.balance
    for partition in stored.partitions:
        if partition.strategy in {"price-weighted", "balanced"}:
            strategy = "balanced" if partition.strategy == "balanced" else "price-weighted"
            balance = partition.balance or balance
    choices = max(request.choice_count, 1)
    seen = (*stored.candidates, *stored.dropped)
    return PlanInputs(
        catalogue=here.catalogue,
        caller=caller,
        at=logged.received_at,
        now_ms=0.0,
        health=_health(seen, stored.excluded),
        aliases=here.aliases,
        slash_pins_provider=here.slash_pins_provider,
        # A cap that lowered it then lowers it again.
        expected_output_tokens=_DEFAULT_OUTPUT
        if stored.tokens_out is None
        else stored.tokens_out // choices,
        configured_models=here.configured_models,
        fetches_media=here.fetches_media,
        seed=stored.seed,
        learned_output_tokens={
            one.model: one.tokens_out / choices for one in seen if one.tokens_out is not None
        },
        sticky=_sticky(seen, stored.tokens_in),
        auto_pool=here.auto_pool,
        strategy=strategy,
        balance=balance,
    )


_DEFAULT_OUTPUT = 500


def _health(
    seen: Sequence[_Candidate], excluded: Sequence[_Exclusion]
) -> dict[str, EndpointHealth]:
    health = {one.endpoint: _seen(one) for one in seen}
    is_last_resort = any(one.cooling for one in seen)
    for one in excluded:
        if one.reason in _RESTING:
            # The last resort was the one that rested the shortest.
            health[one.endpoint] = EndpointHealth(
                cooling_until_ms=_LATER_MS if is_last_resort else _SOON_MS
            )
        elif one.reason == ExclusionReason.CREDENTIAL.value:
            health[one.endpoint] = EndpointHealth(is_credential_refused=True)
    return health


def _seen(one: _Candidate) -> EndpointHealth:
    return EndpointHealth(
        has_recent_outage=one.outage,
        is_half_open=one.probation,
        cooling_until_ms=_SOON_MS if one.cooling else None,
        weight_factor=one.factor,
        latency_ms=_flat(one.latency_ms),
        throughput_tokens_per_s=_flat(one.tokens_per_s),
        uptime=one.uptime,
    )


def _flat(median: float | None) -> Percentiles | None:
    return None if median is None else Percentiles(p50=median, p75=median, p90=median, p99=median)


def _sticky(seen: Sequence[_Candidate], prompt_tokens: int) -> Sticky | None:
    for one in seen:
        if one.sticky or one.tokens_cached:
            # Half a token more, so that rounding down gives the same number of tokens again.
            share = (one.tokens_cached + 0.5) / prompt_tokens if prompt_tokens else 0.0
            return Sticky(endpoint=one.endpoint, cached_share=min(share, 1.0))
    return None


def _asks_unknown_speed(wishes: ProviderPreferences) -> bool:
    return any(
        _is_beyond_median(bounds)
        for bounds in (
            wishes.min_throughput_tokens_per_s,
            wishes.max_latency_ms,
            wishes.preferred_min_throughput_tokens_per_s,
            wishes.preferred_max_latency_ms,
        )
        if bounds is not None
    )


def _is_beyond_median(bounds: Bounds) -> bool:
    return not (bounds.p75 is None and bounds.p90 is None and bounds.p99 is None)
