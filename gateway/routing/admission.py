"""The endpoints of one model that pass every filter, with what the decision knows of each."""

from collections.abc import Sequence

from gateway.chat.request import ChatRequest
from gateway.routing.candidates import Pool
from gateway.routing.capabilities import meets
from gateway.routing.filters import FILTERS, Question
from gateway.routing.patterns import is_named_by
from gateway.routing.plan import (
    Candidate,
    EndpointHealth,
    Exclusion,
    ExclusionReason,
    PlanInputs,
)
from gateway.routing.price_filters import PRICE_FILTERS
from pricing.cost import expected_cost_usd
from pricing.endpoint import Endpoint
from pricing.price import resolve

_UNHEARD_OF = EndpointHealth()


def admit(
    number: int,
    pool: Pool,
    request: ChatRequest,
    inputs: PlanInputs,
    exclusions: list[Exclusion],
) -> list[Candidate]:
    """The pool's candidates, in no order that matters; ``number`` is its place among the models.

    Endpoints that may not serve are appended to ``exclusions``, each with the first reason that
    applies. Those that are cooling down are candidates all the same, marked as such.
    """
    question = Question(
        request=request,
        preferences=request.provider,
        caller=inputs.caller,
        catalogue=inputs.catalogue,
        at=inputs.at,
        is_pinned=pool.target.provider is not None,
        variant=pool.target.variant,
        offers=pool.target.endpoints,
    )
    checks = [check for ask in FILTERS if (check := ask(question)) is not None]
    price_checks = [check for ask in PRICE_FILTERS if (check := ask(question)) is not None]
    prompt_tokens = request.prompt_tokens_estimate
    output_tokens = expected_output_tokens(request, inputs)
    web_searches = 1 if "web_search" in request.needs else 0
    at, service_tier, health = inputs.at, request.service_tier, inputs.health
    order = request.provider.order
    # Where nothing is pinned, candidates of a model are all alike in this: see `meets_needs`.
    is_pinned = question.is_pinned
    candidates: list[Candidate] = []
    for endpoint in pool.endpoints:
        for check in checks:
            verdict = check(endpoint)
            if verdict is not None:
                exclusions.append(_excluded(endpoint, *verdict))
                break
        else:
            price = resolve(
                endpoint,
                at=at,
                prompt_tokens=prompt_tokens,
                service_tier=service_tier,
            )
            cost_usd = expected_cost_usd(
                price,
                prompt_tokens=prompt_tokens,
                output_tokens=output_tokens,
                web_searches=web_searches,
            )
            for price_check in price_checks:
                verdict = price_check(endpoint, price, cost_usd)
                if verdict is not None:
                    exclusions.append(_excluded(endpoint, *verdict))
                    break
            else:
                seen = health.get(endpoint.id, _UNHEARD_OF)
                if seen.is_credential_refused:
                    exclusions.append(_excluded(endpoint, ExclusionReason.CREDENTIAL, None))
                    continue
                rests_until_ms = seen.cooling_until_ms
                if rests_until_ms is not None and rests_until_ms <= inputs.now_ms:
                    rests_until_ms = None
                candidates.append(
                    Candidate(
                        endpoint=endpoint,
                        price=price,
                        expected_cost_usd=cost_usd,
                        has_recent_outage=seen.has_recent_outage,
                        latency_p50_ms=seen.latency_ms and seen.latency_ms.p50,
                        throughput_p50_tokens_per_s=seen.throughput_tokens_per_s
                        and seen.throughput_tokens_per_s.p50,
                        partition=number,
                        rank=_rank(endpoint, order) if order else None,
                        unknown_needs=_unknown_needs(endpoint, request) if is_pinned else 0,
                        cooling_until_ms=rests_until_ms,
                    )
                )
    return candidates


def expected_output_tokens(request: ChatRequest, inputs: PlanInputs) -> int:
    """What all the choices together are expected to hold; a cap on the answer lowers it."""
    tokens = inputs.expected_output_tokens
    if request.max_output_tokens is not None:
        tokens = min(tokens, request.max_output_tokens)
    return tokens * request.choice_count


def _excluded(endpoint: Endpoint, reason: ExclusionReason, detail: str | None) -> Exclusion:
    return Exclusion(endpoint=endpoint.id, reason=reason, detail=detail)


def _rank(endpoint: Endpoint, order: Sequence[str]) -> int | None:
    for rank, slug in enumerate(order):
        if is_named_by(endpoint, slug):
            return rank
    return None


def _unknown_needs(endpoint: Endpoint, request: ChatRequest) -> int:
    return sum(meets(endpoint, need) is None for need in request.needs)
