"""Which endpoints may serve an embedding request, the cheapest first.

Vectors of different models do not compare, so that there is one model and never a fallback to
another; its endpoints do compete. Chance plays no part.
"""

from decimal import Decimal

import msgspec

from gateway.chat.request import ChatRequest
from gateway.domain.errors import InvalidRequestError
from gateway.routing.admission import rests_until_ms
from gateway.routing.candidates import gather
from gateway.routing.filters import (
    SWITCHED_OFF,
    Check,
    Question,
    Verdict,
    is_among_only,
    is_not_ignored,
    keeps_data_private,
    key_allows_model,
    key_allows_provider,
    retains_nothing,
)
from gateway.routing.names import resolve_names
from gateway.routing.patterns import is_named_by
from gateway.routing.plan import (
    Candidate,
    EndpointHealth,
    Exclusion,
    ExclusionReason,
    Partition,
    Plan,
    PlanInputs,
)
from gateway.routing.price_filters import PRICE_FILTERS
from gateway.routing.refusals import refusal
from pricing.cost import expected_cost_usd
from pricing.endpoint import Endpoint
from pricing.price import resolve

MODE = "embedding"

_FILTERS = (
    key_allows_model,
    key_allows_provider,
    is_among_only,
    is_not_ignored,
    keeps_data_private,
    retains_nothing,
)
_UNHEARD_OF = EndpointHealth()
_PROTOCOL = "openai"


def make_embedding_plan(request: ChatRequest, inputs: PlanInputs) -> Plan:
    """The endpoints of the request's model that may serve, in the order to try them.

    Order: those of ``provider.order`` first, then the healthy, then the cheapest; those without a
    price last.

    Raises:
        ModelNotFoundError: nobody serves a model of that name.
        InvalidRequestError: the name is ambiguous, or not that of an embedding model.
        PermissionDeniedError: the key alone rules out every endpoint.
        NoEndpointError: every endpoint is excluded.
    """
    targets = resolve_names(request, inputs)
    (target,) = targets
    pools, exclusions = gather(targets, inputs.catalogue)
    if not any(endpoint.mode == MODE for endpoint in target.endpoints):
        raise InvalidRequestError(
            f"`{target.name}` is not an embedding model; GET /api/v1/embeddings/models lists them",
            param="model",
            code="not_an_embedding_model",
        )
    question = Question(
        request=request,
        preferences=request.provider,
        caller=inputs.caller,
        catalogue=inputs.catalogue,
        at=inputs.at,
        is_pinned=target.provider is not None,
        variant=target.variant,
        offers=target.endpoints,
        needs=request.needs,
        health=inputs.health,
        budget_headroom_usd=inputs.budget_headroom_usd,
    )
    checks = [_is_offered(question)]
    checks += [check for ask in _FILTERS if (check := ask(question)) is not None]
    candidates: list[Candidate] = []
    for endpoint in (endpoint for pool in pools for endpoint in pool.endpoints):
        verdict = next((found for check in checks if (found := check(endpoint))), None)
        candidate = None
        if verdict is None:
            verdict, candidate = _priced(endpoint, question, inputs)
        if verdict is not None:
            reason, detail = verdict
            exclusions.append(Exclusion(endpoint=endpoint.id, reason=reason, detail=detail))
        elif candidate is not None:
            candidates.append(candidate)
    candidates.sort(key=_place)
    if not request.provider.allow_fallbacks and candidates:
        dropped = candidates[1:]
        exclusions += [
            Exclusion(endpoint=c.endpoint.id, reason=ExclusionReason.NO_FALLBACKS) for c in dropped
        ]
        candidates = candidates[:1]
    if not candidates:
        raise refusal(targets, exclusions)
    candidates[0] = msgspec.structs.replace(candidates[0], probability=1.0)
    pinned = target.provider is not None
    return Plan(
        requested_model=target.name,
        requested_provider=target.provider,
        models=(target.model,),
        candidates=tuple(candidates),
        exclusions=tuple(exclusions),
        mode="pinned" if pinned else "deterministic",
        strategy="pinned" if pinned else "sort:price",
        seed=inputs.seed,
        partitions=(
            Partition(
                model=target.model,
                strategy="pinned" if pinned else "sort",
                sort="price",
                allow_fallbacks=request.provider.allow_fallbacks,
            ),
        ),
        prompt_tokens=request.prompt_tokens_estimate,
    )


def _is_offered(question: Question) -> Check:
    at, providers = question.at, question.catalogue.providers

    def check(endpoint: Endpoint) -> Verdict:
        if endpoint.mode != MODE:
            return ExclusionReason.MODE, endpoint.mode
        if endpoint.retired_at is not None and endpoint.retired_at <= at:
            return ExclusionReason.RETIRED, f"since {endpoint.retired_at:%Y-%m-%d}"
        if endpoint.is_disabled_at(at):
            return ExclusionReason.DISABLED, SWITCHED_OFF
        provider = providers.get(endpoint.provider)
        if provider is not None and provider.protocol != _PROTOCOL:
            return ExclusionReason.CAPABILITY, f"embeddings over the {provider.protocol} protocol"
        return None

    return check


def _priced(
    endpoint: Endpoint, question: Question, inputs: PlanInputs
) -> tuple[Verdict, Candidate | None]:
    tokens = question.request.prompt_tokens_estimate
    price = resolve(endpoint, at=inputs.at, prompt_tokens=tokens)
    cost_usd = expected_cost_usd(price, prompt_tokens=tokens, output_tokens=0)
    for ask in PRICE_FILTERS:
        check = ask(question)
        verdict = None if check is None else check(endpoint, price, cost_usd)
        if verdict is not None:
            return verdict, None
    seen = inputs.health.get(endpoint.id, _UNHEARD_OF)
    if seen.is_credential_refused:
        return (ExclusionReason.CREDENTIAL, None), None
    return None, Candidate(
        endpoint=endpoint,
        price=price,
        expected_cost_usd=cost_usd,
        health=seen,
        cooling_until_ms=rests_until_ms(seen, inputs.now_ms),
        rank=next(
            (
                rank
                for rank, slug in enumerate(question.preferences.order)
                if is_named_by(endpoint, slug)
            ),
            None,
        ),
    )


def _place(candidate: Candidate) -> tuple[bool, bool, int, bool, Decimal, str]:
    rank, cost_usd = candidate.rank, candidate.expected_cost_usd
    return (
        candidate.cooling_until_ms is not None,
        candidate.health.has_recent_outage and rank is None,
        rank if rank is not None else 1_000_000,
        cost_usd is None,
        cost_usd if cost_usd is not None else Decimal(0),
        candidate.endpoint.id,
    )
