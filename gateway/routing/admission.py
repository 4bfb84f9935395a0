"""The endpoints of one model that pass every filter, with what the decision knows of each."""

from collections.abc import Callable, Iterable, Sequence
from decimal import Decimal
from itertools import repeat
from math import ceil

from gateway.chat.request import ChatRequest, Need
from gateway.routing.affinity import has_cheap_cache
from gateway.routing.candidates import Pool
from gateway.routing.capabilities import meets
from gateway.routing.demotions import (
    NOT_OF_VARIANT,
    ON_PROBATION,
    demotion_of_speed,
    has_limits,
)
from gateway.routing.filters import (
    FILTERS,
    Check,
    Question,
    Verdict,
    answers_at_length,
    fits_context,
    is_offered,
)
from gateway.routing.offers import Offers, is_live, offers_of
from gateway.routing.patterns import is_named_by
from gateway.routing.plan import (
    Candidate,
    EndpointHealth,
    Exclusion,
    ExclusionReason,
    PlanInputs,
)
from gateway.routing.price_filters import PRICE_FILTERS
from pricing.cost import cost_estimator, expected_cost_usd
from pricing.endpoint import Endpoint
from pricing.price import Price, resolve

_UNHEARD_OF = EndpointHealth()
_MS_PER_S = 1000.0
_THINKS: frozenset[Need] = frozenset({"reasoning"})
_QUALITIES: tuple[Need, ...] = ("tools", "structured_outputs")
"""What ``:exacto`` asks to be known: providers that serve tools and schemas well say so."""


def admit(
    number: int,
    endpoints: Sequence[Endpoint],
    question: Question,
    inputs: PlanInputs,
    exclusions: list[Exclusion],
    *,
    is_balanced_freely: bool,
) -> list[Candidate]:
    """The candidates among these endpoints, in no order that matters.

    Endpoints that may not serve are appended to ``exclusions``, each with the first reason that
    applies. Those that are resting are candidates all the same, marked as such.

    Args:
        number: the place of the pool's partition.
        endpoints: of one pool.
        question: what is asked of each.
        inputs: what is known of them.
        exclusions: receives those that may not serve.
        is_balanced_freely: no explicit order, so that a warm cache may have a say.
    """
    request = question.request
    known = _known_offers(endpoints, question)
    passed = _passed_by_all(known, question) if known is not None else _NONE_PASSED
    checks = [
        check for ask in FILTERS if ask not in passed and (check := ask(question)) is not None
    ]
    price_checks = [check for ask in PRICE_FILTERS if (check := ask(question)) is not None]
    prices, costs, lengths = _appraise(endpoints, question, inputs, known)
    health, now_ms, order = inputs.health, inputs.now_ms, request.provider.order
    # Where nothing is pinned, candidates of a model are all alike in this: see `meets_needs`.
    is_pinned = question.is_pinned
    demote = _demotions(question)
    sticky = inputs.sticky if is_balanced_freely else None
    is_unusual = bool(order) or is_pinned
    candidates: list[Candidate] = []
    for endpoint, price, usual_usd, length in zip(endpoints, prices, costs, lengths, strict=False):
        verdict: Verdict = None
        for check in checks:
            verdict = check(endpoint)
            if verdict is not None:
                break
        if verdict is not None:
            exclusions.append(_excluded(endpoint, *verdict))
            continue
        cost_usd, cached_tokens, is_sticky = usual_usd, 0, False
        if sticky is not None and sticky.endpoint == endpoint.id:
            is_sticky = has_cheap_cache(price)
            cached_tokens = int(request.prompt_tokens_estimate * sticky.cached_share)
            cost_usd = _cost_when_cached(price, cached_tokens, length, request, inputs)
        for price_check in price_checks:
            verdict = price_check(endpoint, price, cost_usd)
            if verdict is not None:
                break
        if verdict is not None:
            exclusions.append(_excluded(endpoint, *verdict))
            continue
        seen = health.get(endpoint.id)
        if seen is None:
            seen = _UNHEARD_OF
        elif seen.is_credential_refused:
            exclusions.append(_excluded(endpoint, ExclusionReason.CREDENTIAL, None))
            continue
        behind = demote(endpoint, seen) if demote is not None else 0
        if seen.is_half_open:
            behind |= ON_PROBATION
        if is_unusual or is_sticky or cached_tokens or seen.cooling_until_ms or seen.open_until_ms:
            candidate = Candidate(
                endpoint=endpoint,
                price=price,
                expected_cost_usd=cost_usd,
                health=seen,
                behind=behind,
                partition=number,
                output_tokens=length,
                cached_tokens=cached_tokens,
                is_sticky=is_sticky,
                rank=_rank(endpoint, order) if order else None,
                unknown_needs=_unknown_needs(endpoint, question) if is_pinned else 0,
                cooling_until_ms=rests_until_ms(seen, now_ms),
            )
        else:
            candidate = Candidate(
                endpoint=endpoint,
                price=price,
                expected_cost_usd=cost_usd,
                health=seen,
                behind=behind,
                partition=number,
                output_tokens=length,
            )
        candidates.append(candidate)
    return candidates


def _known_offers(endpoints: Sequence[Endpoint], question: Question) -> Offers | None:
    """What was worked out about endpoints that come as they stand in the catalogue."""
    offers = question.offers
    if question.is_pinned or endpoints is not offers:
        return None
    return offers_of(question.catalogue, offers, question.at)


def _passed_by_all(known: Offers, question: Question) -> set[Callable[[Question], Check | None]]:
    """The filters that none of the endpoints can fail, whatever else is asked."""
    passed: set[Callable[[Question], Check | None]] = set()
    if known.are_offered:
        passed.add(is_offered)
    prompt_tokens = question.request.prompt_tokens_estimate
    answer_tokens = question.request.max_output_tokens or 0
    if (
        question.auto is None
        and prompt_tokens + answer_tokens <= known.least_window
        and prompt_tokens <= known.least_input
    ):
        passed.add(fits_context)
    if answer_tokens <= known.least_answer:
        passed.add(answers_at_length)
    return passed


_NONE_PASSED: set[Callable[[Question], Check | None]] = set()


def _appraise(
    endpoints: Sequence[Endpoint], question: Question, inputs: PlanInputs, known: Offers | None
) -> tuple[Sequence[Price | None], Sequence[Decimal | None], Iterable[int | None]]:
    """Price, expected cost without any cache, and learned length of the answer, of each."""
    request = question.request
    prompt_tokens, tier = request.prompt_tokens_estimate, request.service_tier
    searches = 1 if "web_search" in request.needs else 0
    output_tokens = expected_output_tokens(request, inputs)
    learned, length = inputs.learned_output_tokens, None
    if learned and question.auto is not None:
        by_model = output_lengths(request, inputs)
        prices = _prices(endpoints, request, inputs)
        lengths = [by_model.get(endpoint.model) for endpoint in endpoints]
        costs = [
            expected_cost_usd(
                price,
                prompt_tokens=prompt_tokens,
                output_tokens=output_tokens if length is None else length,
                web_searches=searches,
            )
            for price, length in zip(prices, lengths, strict=True)
        ]
        return prices, costs, lengths
    if learned and endpoints:
        tokens = learned.get(endpoints[0].model)
        if tokens is not None:
            length = output_tokens = _capped(ceil(tokens), request)
    if known is not None and not searches and known.has_list_prices(prompt_tokens, tier):
        return known.prices, known.costs(prompt_tokens, output_tokens), repeat(length)
    prices = _prices(endpoints, request, inputs)
    estimate = cost_estimator(
        prompt_tokens=prompt_tokens, output_tokens=output_tokens, web_searches=searches
    )
    return prices, [estimate(price) for price in prices], repeat(length)


def _prices(
    endpoints: Sequence[Endpoint], request: ChatRequest, inputs: PlanInputs
) -> list[Price | None]:
    at, tier = inputs.at, request.service_tier
    prompt_tokens = request.prompt_tokens_estimate
    return [
        resolve(endpoint, at=at, prompt_tokens=prompt_tokens, service_tier=tier)
        for endpoint in endpoints
    ]


def _cost_when_cached(
    price: Price | None,
    cached_tokens: int,
    length: int | None,
    request: ChatRequest,
    inputs: PlanInputs,
) -> Decimal | None:
    return expected_cost_usd(
        price,
        prompt_tokens=request.prompt_tokens_estimate,
        output_tokens=expected_output_tokens(request, inputs) if length is None else length,
        cached_tokens=cached_tokens,
        web_searches=1 if "web_search" in request.needs else 0,
    )


def make_question(
    pool: Pool, request: ChatRequest, inputs: PlanInputs, *, service_tier: str | None
) -> Question:
    """What is asked of the endpoints of one pool.

    ``service_tier`` is one that somebody is known to offer, so that others do not serve.
    """
    target = pool.target
    needs = request.needs
    if target.variant == "thinking":
        needs |= _THINKS
    if target.is_auto and request.reasoning is not None and not request.reasoning.is_off:
        needs |= _THINKS
    return Question(
        request=request,
        preferences=request.provider,
        caller=inputs.caller,
        catalogue=inputs.catalogue,
        at=inputs.at,
        is_pinned=target.provider is not None,
        variant=target.variant,
        offers=target.endpoints,
        needs=needs,
        health=inputs.health,
        fetches_media=inputs.fetches_media,
        service_tier=service_tier,
        budget_headroom_usd=inputs.budget_headroom_usd,
        auto=request.auto if target.is_auto else None,
    )


def expected_output_tokens(request: ChatRequest, inputs: PlanInputs) -> int:
    """What all the choices together are expected to hold; a cap on the answer lowers it."""
    return _capped(inputs.expected_output_tokens, request)


def output_lengths(request: ChatRequest, inputs: PlanInputs) -> dict[str, int]:
    """The same by model, where this caller's answers taught something."""
    return {
        model: _capped(ceil(tokens), request)
        for model, tokens in inputs.learned_output_tokens.items()
    }


def _capped(tokens: int, request: ChatRequest) -> int:
    if request.max_output_tokens is not None:
        tokens = min(tokens, request.max_output_tokens)
    return tokens * request.choice_count


def rests_until_ms(seen: EndpointHealth, now_ms: float) -> float | None:
    """When the endpoint may serve again, by cool-down and breaker; None when it may now."""
    cooling, closed = seen.cooling_until_ms, seen.open_until_ms
    if cooling is None and closed is None:
        return None
    until_ms = max(cooling or 0.0, closed or 0.0)
    return until_ms if until_ms > now_ms else None


def resting(endpoint: str, seen: EndpointHealth, now_ms: float) -> Exclusion:
    """Why an endpoint that rests may not serve."""
    until_ms = rests_until_ms(seen, now_ms) or now_ms
    if seen.open_until_ms is not None and seen.open_until_ms > now_ms:
        reason = ExclusionReason.BREAKER_OPEN
    elif seen.is_rate_limited:
        reason = ExclusionReason.RATE_LIMITED
    else:
        reason = ExclusionReason.COOLING_DOWN
    wait_s = (until_ms - now_ms) / _MS_PER_S
    return Exclusion(
        endpoint=endpoint, reason=reason, detail=f"for {wait_s:.1f} s", retry_after_s=wait_s
    )


def _demotions(question: Question) -> Callable[[Endpoint, EndpointHealth], int] | None:
    """What puts endpoints behind others; None when the request has no wishes of the kind."""
    wishes = question.preferences
    has_speed = has_limits(wishes)
    is_of_variant = _variant_test(question)
    if is_of_variant is None:
        return (lambda _endpoint, seen: demotion_of_speed(wishes, seen)) if has_speed else None

    def demote(endpoint: Endpoint, seen: EndpointHealth) -> int:
        behind = 0 if is_of_variant(endpoint) else NOT_OF_VARIANT
        return behind | demotion_of_speed(wishes, seen) if has_speed else behind

    return demote


def _variant_test(question: Question) -> Callable[[Endpoint], bool] | None:
    """Which endpoints ``:exacto`` and ``:extended`` prefer.

    The former those known to serve tools and schemas, the latter those with the longest window that
    any live offer of the model is known to have.
    """
    if question.variant == "exacto":
        return lambda endpoint: all(meets(endpoint, quality) for quality in _QUALITIES)
    if question.variant == "extended":
        windows = [e.context_tokens or 0 for e in question.offers if is_live(e, question.at)]
        longest = max(windows, default=0)
        return lambda endpoint: (endpoint.context_tokens or 0) >= longest
    return None


def _excluded(endpoint: Endpoint, reason: ExclusionReason, detail: str | None) -> Exclusion:
    return Exclusion(endpoint=endpoint.id, reason=reason, detail=detail)


def _rank(endpoint: Endpoint, order: Sequence[str]) -> int | None:
    for rank, slug in enumerate(order):
        if is_named_by(endpoint, slug):
            return rank
    return None


def _unknown_needs(endpoint: Endpoint, question: Question) -> int:
    return sum(meets(endpoint, need) is None for need in question.needs)
