"""Tells a decision in full: who would serve, why in this order, and why not the others."""

from collections.abc import Mapping, Sequence
from datetime import UTC

import msgspec

from gateway.chat.request import ChatRequest
from gateway.chat.usage_report import usd
from gateway.domain.errors import GatewayError, InvalidRequestError
from gateway.routing.admission import expected_output_tokens
from gateway.routing.affinity import affinity_source
from gateway.routing.balance import Score, score
from gateway.routing.demotions import (
    MISSES_PREFERENCE,
    NOT_OF_VARIANT,
    ON_PROBATION,
    UNMEASURED,
)
from gateway.routing.embeddings import make_embedding_plan
from gateway.routing.engine import to_plan, weigh
from gateway.routing.explanation import (
    ExplainedAffinity,
    ExplainedCandidate,
    ExplainedExclusion,
    ExplainedHealth,
    ExplainedPartition,
    ExplainedPrice,
    ExplainedRules,
    ExplainedScore,
    Explanation,
    Refusal,
)
from gateway.routing.plan import (
    Candidate,
    Exclusion,
    ExclusionReason,
    Partition,
    Plan,
    PlanInputs,
    count_reasons,
)
from gateway.routing.record import LISTED_POOL
from gateway.routing.refusals import REMEDIES, refusal
from gateway.routing.rules.apply import Ruled
from gateway.routing.rules.govern import refusal_of
from pricing.price import Price

_MS_PER_S = 1000.0
_BEHIND = {
    NOT_OF_VARIANT: "not_of_variant",
    MISSES_PREFERENCE: "misses_preference",
    UNMEASURED: "unmeasured",
    ON_PROBATION: "on_probation",
}


def explain(request: ChatRequest, inputs: PlanInputs, ruled: Ruled) -> Explanation:
    """What would become of a request that rules were applied to; nobody is asked.

    Raises:
        GatewayError: it is wrong in itself, so that there is nothing to decide. One that is sound
            and that nobody may serve is explained.
    """
    if ruled.denial is not None:
        return _told(_Told(error=refusal_of(ruled.denial)), request, inputs, ruled)
    weighed = weigh(request, inputs)
    if weighed.arranged.candidates:
        return explain_plan(to_plan(weighed, request, inputs), request, inputs, ruled)
    exclusions, counted = weighed.exclusions, weighed.counted
    error = refusal(weighed.targets, exclusions, counted)
    told = _Told(exclusions=exclusions, counted=counted, error=error)
    return _told(told, request, inputs, ruled)


def explain_embedding(request: ChatRequest, inputs: PlanInputs, ruled: Ruled) -> Explanation:
    """The same of a request for embeddings; a refusal alone does not list the endpoints.

    Raises:
        InvalidRequestError: it is wrong in itself.
    """
    if ruled.denial is not None:
        return _told(_Told(error=refusal_of(ruled.denial)), request, inputs, ruled)
    try:
        plan = make_embedding_plan(request, inputs)
    except InvalidRequestError:
        raise
    except GatewayError as error:
        return _told(_Told(error=error), request, inputs, ruled)
    return explain_plan(plan, request, inputs, ruled)


def explain_plan(
    plan: Plan, request: ChatRequest, inputs: PlanInputs, ruled: Ruled | None
) -> Explanation:
    """A decision that was made, as `explain` would have told it."""
    told = _Told(plan=plan, exclusions=plan.exclusions, counted=plan.counted)
    return _told(told, request, inputs, ruled)


class _Told(msgspec.Struct, frozen=True, kw_only=True):
    """A plan, or what the caller is told in its place."""

    plan: Plan | None = None
    exclusions: Sequence[Exclusion] = ()
    counted: Mapping[ExclusionReason, int] = {}
    error: GatewayError | None = None


def _told(
    told: _Told, request: ChatRequest, inputs: PlanInputs, ruled: Ruled | None
) -> Explanation:
    plan, error = told.plan, told.error
    candidates = _candidates(plan, inputs) if plan is not None else ()
    kept = len(plan.candidates) if plan is not None else 0
    excluded_by = count_reasons(told.exclusions, told.counted)
    versions = {one.price.version for one in candidates if one.price is not None}
    return Explanation(
        at=inputs.at.astimezone(UTC).isoformat().replace("+00:00", "Z"),
        requested_model=plan.requested_model
        if plan is not None
        else next(iter(request.models), ""),
        requested_provider=plan.requested_provider if plan is not None else None,
        models=plan.models if plan is not None else request.models,
        strategy=plan.strategy if plan is not None else None,
        mode=plan.mode if plan is not None else None,
        seed=str(inputs.seed),
        draw=plan.draw if plan is not None else None,
        prompt_tokens=request.prompt_tokens_estimate,
        expected_output_tokens=expected_output_tokens(request, inputs),
        max_cost_usd=usd(request.provider.max_cost_usd),
        budget_headroom_usd=usd(inputs.budget_headroom_usd),
        partitions=tuple(map(_partition, plan.partitions)) if plan is not None else (),
        candidates=candidates[:kept],
        dropped=candidates[kept:],
        exclusions=tuple(map(_exclusion, told.exclusions)),
        excluded_by=excluded_by,
        constraints={reason: REMEDIES[ExclusionReason(reason)] for reason in excluded_by},
        pool=plan.pool[:LISTED_POOL] if plan is not None else (),
        pool_size=len(plan.pool) if plan is not None else 0,
        rules=_rules(ruled, inputs),
        affinity=_affinity(plan, request, inputs),
        catalogue_version=inputs.catalogue.version,
        price_versions=tuple(sorted(versions)),
        refusal=None if error is None else _refusal(error),
    )


def _candidates(plan: Plan, inputs: PlanInputs) -> tuple[ExplainedCandidate, ...]:
    """Those that may serve, then those that were dropped; places go on from one to the other."""
    everybody = (*plan.candidates, *plan.dropped)
    scores = _scores(plan, everybody)
    return tuple(
        _candidate(place, candidate, plan, inputs, scores.get(candidate.endpoint.id))
        for place, candidate in enumerate(everybody, start=1)
    )


def _candidate(
    place: int, candidate: Candidate, plan: Plan, inputs: PlanInputs, score: Score | None
) -> ExplainedCandidate:
    endpoint, expected = candidate.endpoint, candidate.output_tokens
    return ExplainedCandidate(
        place=place,
        endpoint=endpoint.id,
        provider=endpoint.provider,
        model=endpoint.model,
        partition=candidate.partition,
        expected_cost_usd=usd(candidate.expected_cost_usd),
        expected_output_tokens=plan.expected_output_tokens if expected is None else expected,
        cached_tokens=candidate.cached_tokens,
        price=None if candidate.price is None else _price(candidate.price),
        weight=candidate.weight,
        probability=candidate.probability,
        score=None if score is None else ExplainedScore(**msgspec.structs.asdict(score)),
        health=_health(candidate, inputs.now_ms),
        behind=tuple(word for bit, word in _BEHIND.items() if candidate.behind & bit),
        rank=candidate.rank,
        unknown_needs=candidate.unknown_needs,
        is_sticky=candidate.is_sticky,
    )


def _scores(plan: Plan, everybody: Sequence[Candidate]) -> dict[str, Score]:
    """By endpoint, in the partitions that are balanced: a score depends on all that compete."""
    found: dict[str, Score] = {}
    for number, partition in enumerate(plan.partitions):
        if partition.balance is None:
            continue
        priced = [
            candidate
            for candidate in everybody
            if candidate.partition == number and candidate.score is not None
        ]
        for candidate, parts in zip(priced, score(priced, partition.balance), strict=True):
            found[candidate.endpoint.id] = parts
    return found


def _price(price: Price) -> ExplainedPrice:
    return ExplainedPrice(
        version=price.version,
        input_usd_per_mtok=usd(price.input_usd_per_mtok),
        output_usd_per_mtok=usd(price.output_usd_per_mtok),
        cache_read_usd_per_mtok=usd(price.cache_read_usd_per_mtok),
        request_usd=usd(price.request_usd),
        is_estimated=price.is_estimated,
    )


def _health(candidate: Candidate, now_ms: float) -> ExplainedHealth:
    seen, until_ms = candidate.health, candidate.cooling_until_ms
    return ExplainedHealth(
        has_recent_outage=seen.has_recent_outage,
        is_on_probation=seen.is_half_open,
        resting_for_s=None if until_ms is None else max(until_ms - now_ms, 0.0) / _MS_PER_S,
        weight_factor=seen.weight_factor,
        latency_p50_ms=candidate.latency_p50_ms,
        throughput_p50_tokens_per_s=candidate.throughput_p50_tokens_per_s,
        uptime=seen.uptime,
    )


def _exclusion(exclusion: Exclusion) -> ExplainedExclusion:
    return ExplainedExclusion(
        endpoint=exclusion.endpoint,
        reason=exclusion.reason,
        detail=exclusion.detail,
        retry_after_s=exclusion.retry_after_s,
    )


def _partition(partition: Partition) -> ExplainedPartition:
    return ExplainedPartition(
        model=partition.model,
        strategy=partition.strategy,
        sort=partition.sort,
        allow_fallbacks=partition.allow_fallbacks,
        balance=partition.balance,
    )


def _rules(ruled: Ruled | None, inputs: PlanInputs) -> ExplainedRules:
    if ruled is None:
        return ExplainedRules(version=inputs.rule_version, labels=dict(inputs.caller.labels))
    return ExplainedRules(
        version=ruled.version,
        applied=ruled.rules,
        models=ruled.request.models if ruled.has_other_models else None,
        labels=dict(ruled.labels),
        splits=ruled.splits,
        mirror=ruled.mirror,
        denied_by=None if ruled.denial is None else ruled.denial.rule,
    )


def _affinity(plan: Plan | None, request: ChatRequest, inputs: PlanInputs) -> ExplainedAffinity:
    sticky = inputs.sticky
    return ExplainedAffinity(
        source=affinity_source(request),
        endpoint=None if sticky is None else sticky.endpoint,
        cached_share=None if sticky is None else sticky.cached_share,
        is_followed=plan is not None and plan.mode == "sticky",
    )


def _refusal(error: GatewayError) -> Refusal:
    return Refusal(
        status=error.status,
        type=error.kind,
        code=error.code,
        message=error.message,
        retry_after_s=error.retry_after_s,
    )
