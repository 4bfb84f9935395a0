"""Decides a logged request again, under other rules, by the very code that decided it then.

What the record keeps is put together to a request and to what was known when it came: its seed, its
facts, the health of the endpoints that were looked at. Where a fact is needed that no record keeps,
the request is not decided at all, and the reason is told: a guess would look like a result.

What is not of the record is as it is now: the enabled endpoints, aliases, the settings of routing
and the keys; prices are those of the request's own time. Endpoints that the decision did not look
at count as healthy.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Literal
from uuid import UUID

import msgspec

from gateway.chat.preferences import Bounds, ProviderPreferences
from gateway.chat.request import ChatRequest
from gateway.domain.caller import Caller
from gateway.domain.errors import GatewayError
from gateway.routing.embeddings import make_embedding_plan
from gateway.routing.engine import make_plan
from gateway.routing.logged import LoggedRequest, NotReplayed, remember
from gateway.routing.plan import (
    BalanceWeights,
    EndpointHealth,
    ExclusionReason,
    Percentiles,
    Plan,
    PlanInputs,
    Sticky,
)
from gateway.routing.pools import pool_of
from gateway.routing.record import LISTED_POOL
from gateway.routing.rules.govern import govern
from gateway.routing.rules.rule_set import RuleSet
from gateway.routing.stored_plan import CandidateThen, ExclusionThen, StoredPlan
from pricing.catalogue import Catalogue

RULE_DENIED = "rule_denied"


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
    found = remember(logged)
    if isinstance(found, NotReplayed):
        return found
    request, stored = found.request, found.plan
    if not stored.candidates and logged.error_kind != RULE_DENIED:
        return NotReplayed.NO_PLAN
    caller = here.callers.get(logged.key_id)
    if caller is None:
        return NotReplayed.KEY_UNKNOWN
    gap = _gap(stored)
    if gap is not None:
        return gap
    inputs = _inputs(logged, stored, request, caller, here)
    if stored.pool_size is not None:
        pool = pool_of(inputs)
        if (pool[:LISTED_POOL], len(pool)) != (stored.pool, stored.pool_size):
            return NotReplayed.AUTO_POOL
    return Situation(request=request, inputs=inputs, api=stored.api, drawn=stored.drawn_endpoint)


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
    seen: Sequence[CandidateThen], excluded: Sequence[ExclusionThen]
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


def _seen(one: CandidateThen) -> EndpointHealth:
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


def _sticky(seen: Sequence[CandidateThen], prompt_tokens: int) -> Sticky | None:
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
