"""One decision, top to bottom: names, candidates, filters, order. Read this file first."""

from collections.abc import Sequence

import msgspec

from gateway.chat.preferences import SortKey
from gateway.chat.request import ChatRequest
from gateway.domain.errors import InvalidRequestError
from gateway.routing.admission import (
    admit,
    expected_output_tokens,
    make_question,
    resting,
)
from gateway.routing.auto import LISTED, AutoCounts, shortlist
from gateway.routing.candidates import gather
from gateway.routing.filters import find_tier
from gateway.routing.names import Target, resolve_names
from gateway.routing.order import Arranged, arrange
from gateway.routing.plan import (
    Candidate,
    DecisionMode,
    EndpointHealth,
    Exclusion,
    ExclusionReason,
    Partition,
    Plan,
    PlanInputs,
    Strategy,
)
from gateway.routing.pools import pool_of
from gateway.routing.refusals import refusal
from gateway.routing.slugs import check_slugs

_SORT_OF_VARIANT: dict[str, SortKey] = {"floor": "price", "nitro": "throughput"}
_EXPLICIT = frozenset({"order", "sort"})
_UNHEARD_OF = EndpointHealth()


def make_plan(request: ChatRequest, inputs: PlanInputs) -> Plan:
    """Which endpoints may serve the request, in the order to try them; at least one.

    The same request and inputs give the same plan.

    Raises:
        ModelNotFoundError: nobody serves a model of that name.
        InvalidRequestError: a name is ambiguous or missing, preferences contradict each other, or a
            provider that they name does not exist.
        PermissionDeniedError: the key alone rules out every endpoint.
        BudgetExceededError: what the budget still holds rules out every endpoint.
        NoEndpointError: every endpoint is excluded; 503 when one of them only for the time being.
    """
    weighed = weigh(request, inputs)
    if not weighed.arranged.candidates:
        raise refusal(weighed.targets, weighed.exclusions, weighed.counted)
    return to_plan(weighed, request, inputs)


class Weighed(msgspec.Struct, frozen=True, kw_only=True):
    """Who may serve a request, in order, and who may not: a plan unless it is nobody."""

    targets: Sequence[Target]
    is_merged: bool
    """The endpoints of several models are ordered together."""
    partitions: tuple[Partition, ...]
    arranged: Arranged
    exclusions: list[Exclusion]
    counted: AutoCounts


def weigh(request: ChatRequest, inputs: PlanInputs) -> Weighed:
    """The decision before it is judged.

    Raises:
        GatewayError: the request is wrong in itself; see `make_plan`.
    """
    targets = resolve_names(request, inputs)
    _check_auto(targets, request)
    check_slugs(request, inputs.catalogue)
    is_merged = len(targets) > 1 and request.provider.partition == "none"
    partitions = (
        (_merged(targets, request, inputs),)
        if is_merged
        else tuple([_partition(target, request, inputs) for target in targets])
    )
    pools, exclusions = gather(targets, inputs.catalogue)
    tier = find_tier(request, (e for pool in pools for e in pool.endpoints), inputs.at)
    counted: AutoCounts = {}
    candidates: list[Candidate] = []
    for place, pool in enumerate(pools):
        number = 0 if is_merged else place
        question = make_question(pool, request, inputs, service_tier=tier)
        endpoints = pool.endpoints
        if pool.target.is_auto and len(endpoints) > LISTED:
            endpoints = shortlist(question, inputs, counted)
        candidates += admit(
            number,
            endpoints,
            question,
            inputs,
            exclusions,
            is_balanced_freely=partitions[number].strategy not in _EXPLICIT,
        )
    arranged, rest = _arrange_rested_first(partitions, candidates, inputs.seed)
    for candidate in rest:
        seen = inputs.health.get(candidate.endpoint.id, _UNHEARD_OF)
        exclusions.append(resting(candidate.endpoint.id, seen, inputs.now_ms))
    for candidate in arranged.dropped:
        exclusions.append(
            Exclusion(endpoint=candidate.endpoint.id, reason=ExclusionReason.NO_FALLBACKS)
        )
    return Weighed(
        targets=targets,
        is_merged=is_merged,
        partitions=partitions,
        arranged=arranged,
        exclusions=exclusions,
        counted=counted,
    )


def to_plan(weighed: Weighed, request: ChatRequest, inputs: PlanInputs) -> Plan:
    """The plan of a decision in which somebody may serve."""
    targets, partitions, arranged = weighed.targets, weighed.partitions, weighed.arranged
    named, first = targets[0], arranged.candidates[0]
    has_auto = any(target.is_auto for target in targets)
    return Plan(
        requested_model=named.name,
        requested_provider=named.provider,
        models=_models(targets, arranged, has_auto=has_auto),
        candidates=arranged.candidates,
        exclusions=tuple(weighed.exclusions),
        mode=_mode(_target_of(first, targets, is_merged=weighed.is_merged), arranged),
        strategy=partitions[first.partition].label,
        seed=inputs.seed,
        draw=arranged.draw,
        partitions=partitions,
        dropped=arranged.dropped,
        prompt_tokens=request.prompt_tokens_estimate,
        expected_output_tokens=expected_output_tokens(request, inputs),
        pool=pool_of(inputs) if has_auto else (),
        counted=weighed.counted,
        rule_version=inputs.rule_version,
    )


def _check_auto(targets: Sequence[Target], request: ChatRequest) -> None:
    """Wishes for the choice of a model need a choice."""
    wishes = request.auto
    if any(target.is_auto for target in targets):
        wish = request.reasoning
        if wishes.no_reasoning and wish is not None and not wish.is_off:
            raise InvalidRequestError(
                "`no_reasoning` and a wish for reasoning contradict each other; send one of them.",
                param="no_reasoning",
                code="contradictory_preferences",
            )
        return
    param = None
    if wishes.free_models_only:
        param, remedy = "free_models_only", "ask for `:free`, or cap `provider.max_price`"
    elif wishes.no_reasoning:
        param, remedy = "no_reasoning", "name a model that does not reason"
    elif wishes.allowed_models or wishes.excluded_models:
        param, remedy = "plugins", "remove the plugin `auto-router`"
    else:
        return
    raise InvalidRequestError(
        f"`{param}` only works with `auto`, where the gateway chooses the model; send `auto` as "
        f"`model`, or {remedy}.",
        param=param,
        code="needs_auto",
    )


def _sort_of(target: Target, request: ChatRequest) -> SortKey | None:
    sort = request.provider.sort
    implied = _SORT_OF_VARIANT.get(target.variant or "")
    if implied is None:
        return sort
    if sort not in {None, implied}:
        raise InvalidRequestError(
            f"`:{target.variant}` sorts by {implied}, `provider.sort` by {sort}: drop one",
            param="provider.sort",
            code="contradictory_preferences",
        )
    return implied


def _partition(target: Target, request: ChatRequest, inputs: PlanInputs) -> Partition:
    return _ordered(
        target.model,
        _sort_of(target, request),
        request,
        inputs,
        otherwise="pinned" if target.provider else "auto" if target.is_auto else inputs.strategy,
    )


def _merged(targets: Sequence[Target], request: ChatRequest, inputs: PlanInputs) -> Partition:
    """All models at once: whatever sorts one of them sorts all."""
    sorts: set[SortKey] = {
        sort for target in targets if (sort := _sort_of(target, request)) is not None
    }
    if len(sorts) > 1:
        raise InvalidRequestError(
            f"the models' names sort by {' and by '.join(sorted(sorts))}, and they are to be "
            "sorted together: drop one suffix",
            param="models",
            code="contradictory_preferences",
        )
    sort = sorts.pop() if sorts else None
    return _ordered(None, sort, request, inputs, otherwise=inputs.strategy)


def _ordered(
    model: str | None,
    sort: SortKey | None,
    request: ChatRequest,
    inputs: PlanInputs,
    *,
    otherwise: Strategy,
) -> Partition:
    strategy = otherwise
    if request.provider.order:
        strategy = "order"
    elif sort is not None:
        strategy = "sort"
    return Partition(
        model=model,
        strategy=strategy,
        sort=sort,
        allow_fallbacks=request.provider.allow_fallbacks,
        balance=inputs.balance if strategy == "balanced" else None,
    )


def _arrange_rested_first(
    partitions: Sequence[Partition], candidates: Sequence[Candidate], seed: int
) -> tuple[Arranged, list[Candidate]]:
    """Those that are not resting, in order; and those that are.

    When nothing else may serve, the one that rests the shortest is the last resort, alone: health
    is advice, and a provider that asked for rest is not asked three times.
    """
    ready = [candidate for candidate in candidates if candidate.cooling_until_ms is None]
    arranged = arrange(partitions, ready, seed)
    if len(ready) == len(candidates):
        return arranged, []
    rest = [candidate for candidate in candidates if candidate.cooling_until_ms is not None]
    if arranged.candidates:
        return arranged, rest
    allowed = arrange(partitions, rest, seed).candidates
    if not allowed:
        return arranged, rest
    least = min(allowed, key=_rests_until_ms).endpoint.id
    last_resort = [candidate for candidate in rest if candidate.endpoint.id == least]
    return (
        arrange(partitions, [*last_resort, *ready], seed),
        [candidate for candidate in rest if candidate.endpoint.id != least],
    )


def _rests_until_ms(candidate: Candidate) -> float:
    return candidate.cooling_until_ms or 0.0


def _models(targets: Sequence[Target], arranged: Arranged, *, has_auto: bool) -> tuple[str, ...]:
    if has_auto:
        return tuple(dict.fromkeys([c.endpoint.model for c in arranged.candidates]))
    return tuple(dict.fromkeys([target.model for target in targets]))


def _target_of(first: Candidate, targets: Sequence[Target], *, is_merged: bool) -> Target:
    if not is_merged:
        return targets[first.partition]
    return next((target for target in targets if first.endpoint in target.endpoints), targets[0])


def _mode(target: Target, arranged: Arranged) -> DecisionMode:
    if arranged.candidates[0].cooling_until_ms is not None:
        return "fallback_only"
    if arranged.is_sticky:
        return "sticky"
    if target.provider is not None:
        return "pinned"
    return "deterministic" if arranged.draw is None else "weighted"
