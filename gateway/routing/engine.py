"""One decision, top to bottom: names, candidates, filters, order. Read this file first."""

from collections.abc import Sequence

from gateway.chat.preferences import SortKey
from gateway.chat.request import ChatRequest
from gateway.domain.errors import InvalidRequestError
from gateway.routing.admission import admit, expected_output_tokens
from gateway.routing.candidates import gather
from gateway.routing.names import Target, resolve_names
from gateway.routing.order import Arranged, arrange
from gateway.routing.plan import (
    Candidate,
    DecisionMode,
    Exclusion,
    ExclusionReason,
    Partition,
    Plan,
    PlanInputs,
    Strategy,
)
from gateway.routing.refusals import refusal

_SORT_OF_VARIANT: dict[str, SortKey] = {"floor": "price", "nitro": "throughput"}
_MS_PER_S = 1000.0


def make_plan(request: ChatRequest, inputs: PlanInputs) -> Plan:
    """Which endpoints may serve the request, in the order to try them; at least one.

    The same request and inputs give the same plan.

    Raises:
        ModelNotFoundError: nobody serves a model of that name.
        InvalidRequestError: a name is ambiguous or missing, or preferences contradict each other.
        PermissionDeniedError: the key alone rules out every endpoint.
        NoEndpointError: every endpoint is excluded; 503 when one of them only for the time being.
    """
    targets = resolve_names(request, inputs)
    partitions = tuple([_partition(target, request) for target in targets])
    pools, exclusions = gather(targets, inputs.catalogue)
    candidates: list[Candidate] = []
    for number, pool in enumerate(pools):
        candidates += admit(number, pool, request, inputs, exclusions)
    arranged, resting = _arrange_rested_first(partitions, candidates, inputs.seed)
    for candidate in resting:
        until_ms = candidate.cooling_until_ms or inputs.now_ms
        exclusions.append(
            Exclusion(
                endpoint=candidate.endpoint.id,
                reason=ExclusionReason.COOLING_DOWN,
                detail=f"for {(until_ms - inputs.now_ms) / _MS_PER_S:.1f} s",
            )
        )
    for candidate in arranged.dropped:
        exclusions.append(
            Exclusion(endpoint=candidate.endpoint.id, reason=ExclusionReason.NO_FALLBACKS)
        )
    if not arranged.candidates:
        raise refusal(targets, exclusions)
    first = arranged.candidates[0].partition
    return Plan(
        requested_model=targets[0].name,
        requested_provider=targets[0].provider,
        models=tuple(dict.fromkeys([target.model for target in targets])),
        candidates=arranged.candidates,
        exclusions=tuple(exclusions),
        mode=_mode(targets[first], arranged),
        strategy=partitions[first].label,
        seed=inputs.seed,
        draw=arranged.draw,
        partitions=partitions,
        dropped=arranged.dropped,
        prompt_tokens=request.prompt_tokens_estimate,
        expected_output_tokens=expected_output_tokens(request, inputs),
    )


def _partition(target: Target, request: ChatRequest) -> Partition:
    wishes = request.provider
    sort = wishes.sort
    implied = _SORT_OF_VARIANT.get(target.variant or "")
    if implied is not None:
        if sort not in {None, implied}:
            raise InvalidRequestError(
                f"`:{target.variant}` sorts by {implied}, `provider.sort` by {sort}: drop one",
                param="provider.sort",
                code="contradictory_preferences",
            )
        sort = implied
    strategy: Strategy = "price-weighted"
    if wishes.order:
        strategy = "order"
    elif sort is not None:
        strategy = "sort"
    elif target.provider is not None:
        strategy = "pinned"
    return Partition(
        model=target.model, strategy=strategy, sort=sort, allow_fallbacks=wishes.allow_fallbacks
    )


def _arrange_rested_first(
    partitions: Sequence[Partition], candidates: Sequence[Candidate], seed: int
) -> tuple[Arranged, list[Candidate]]:
    """Those that are not cooling down, in order; and those that are.

    When nothing else may serve, the one that rests the shortest is the last resort, alone: health
    is advice, and a provider that asked for rest is not asked three times.
    """
    ready = [candidate for candidate in candidates if candidate.cooling_until_ms is None]
    arranged = arrange(partitions, ready, seed)
    if len(ready) == len(candidates):
        return arranged, []
    resting = [candidate for candidate in candidates if candidate.cooling_until_ms is not None]
    if arranged.candidates:
        return arranged, resting
    allowed = arrange(partitions, resting, seed).candidates
    if not allowed:
        return arranged, resting
    least = min(allowed, key=_cooling_until_ms).endpoint.id
    last_resort = [candidate for candidate in resting if candidate.endpoint.id == least]
    return (
        arrange(partitions, [*last_resort, *ready], seed),
        [candidate for candidate in resting if candidate.endpoint.id != least],
    )


def _cooling_until_ms(candidate: Candidate) -> float:
    return candidate.cooling_until_ms or 0.0


def _mode(target: Target, arranged: Arranged) -> DecisionMode:
    if target.provider is not None:
        return "pinned"
    return "deterministic" if arranged.draw is None else "weighted"
