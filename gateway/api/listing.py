"""From the catalogue to what a key is shown of models and endpoints."""

from collections.abc import Iterable, Sequence
from datetime import UTC, datetime, time
from decimal import Decimal

import msgspec

from gateway.api.listed import (
    Architecture,
    ListedEndpoint,
    ListedModel,
    ModelList,
    ModelWithEndpoints,
    Pricing,
    TopProvider,
)
from gateway.api.wire import per_token, plain
from gateway.domain.caller import Caller
from gateway.routing.capabilities import CAPABILITY_OF_PARAMETER, has_capability
from gateway.routing.patterns import matches
from gateway.routing.plan import EndpointHealth
from pricing.catalogue import Catalogue, Endpoint
from pricing.cost import expected_cost_usd
from pricing.price import Price, resolve

TYPICAL_PROMPT_TOKENS = 1_000
TYPICAL_OUTPUT_TOKENS = 500
"""The request by which the cheapest endpoint of a model is found, whose prices a list shows."""

_PARAMETERS = (
    "tools",
    "tool_choice",
    "parallel_tool_calls",
    "structured_outputs",
    "response_format",
    "reasoning",
    "include_reasoning",
    "reasoning_effort",
    "temperature",
    "top_p",
    "top_k",
    "min_p",
    "top_a",
    "stop",
    "seed",
    "frequency_penalty",
    "presence_penalty",
    "repetition_penalty",
    "logit_bias",
    "logprobs",
    "top_logprobs",
    "web_search_options",
    "verbosity",
)
_CAPABILITY_OF = {**CAPABILITY_OF_PARAMETER, "response_format": "json_mode"}


class Known(msgspec.Struct, frozen=True, kw_only=True):
    """What is known of an endpoint's recent past, by its id."""

    health: EndpointHealth
    uptime_percent: float | None


def may_use(endpoint: Endpoint, caller: Caller, at: datetime, mode: str = "chat") -> bool:
    """Whether a key could be served by the endpoint at all."""
    if endpoint.mode != mode:
        return False
    if endpoint.retired_at is not None and endpoint.retired_at <= at:
        return False
    if endpoint.is_disabled_at(at):
        return False
    if caller.allowed_providers and not any(
        matches(pattern.lower(), endpoint.provider) for pattern in caller.allowed_providers
    ):
        return False
    return not caller.allowed_models or any(
        matches(pattern, endpoint.model) for pattern in caller.allowed_models
    )


def list_models(
    catalogue: Catalogue, caller: Caller, at: datetime, *, mode: str = "chat"
) -> ModelList:
    """The models that a caller may use, by name, at the prices of the aware instant ``at``."""
    found: list[ListedModel] = []
    for name in sorted(catalogue.endpoints_by_model):
        usable = [
            endpoint
            for endpoint in catalogue.endpoints_by_model[name]
            if may_use(endpoint, caller, at, mode)
        ]
        if usable:
            found.append(to_listed_model(catalogue, name, usable, at))
    return ModelList(data=found)


def to_listed_model(
    catalogue: Catalogue, name: str, endpoints: Sequence[Endpoint], at: datetime
) -> ListedModel:
    """One model from the endpoints of it that are shown; at least one."""
    contexts = [endpoint.context_tokens for endpoint in endpoints if endpoint.context_tokens]
    cheapest, price = _cheapest(endpoints, at)
    return ListedModel(
        id=name,
        created=_created(endpoints),
        owned_by=name.partition("/")[0],
        name=_display_name(catalogue, name, endpoints),
        canonical_slug=name,
        context_length=max(contexts, default=None),
        architecture=_architecture(endpoints),
        pricing=to_pricing(price),
        top_provider=TopProvider(
            context_length=cheapest.context_tokens,
            max_completion_tokens=cheapest.max_output_tokens,
        ),
        supported_parameters=_supported(endpoints),
        providers=tuple(sorted({endpoint.provider for endpoint in endpoints})),
    )


def to_model_with_endpoints(
    catalogue: Catalogue,
    name: str,
    endpoints: Sequence[Endpoint],
    at: datetime,
    known: dict[str, Known],
) -> ModelWithEndpoints:
    """A model with each of these endpoints; ``known`` holds those that were heard of."""
    shown = _display_name(catalogue, name, endpoints)
    return ModelWithEndpoints(
        id=name,
        name=shown,
        created=_created(endpoints),
        architecture=_architecture(endpoints),
        endpoints=tuple(
            _listed_endpoint(catalogue, endpoint, shown, at, known.get(endpoint.id))
            for endpoint in endpoints
        ),
    )


def to_pricing(price: Price | None) -> Pricing:
    """A price in OpenRouter's words; every part is null or absent when there is none."""
    if price is None:
        return Pricing(prompt=None, completion=None)
    return Pricing(
        prompt=per_token(price.input_usd_per_mtok),
        completion=per_token(price.output_usd_per_mtok),
        request=_by_piece(price.request_usd),
        image=_by_piece(price.image_usd),
        web_search=_by_piece(price.web_search_usd),
        internal_reasoning=per_token(price.reasoning_usd_per_mtok),
        input_cache_read=per_token(price.cache_read_usd_per_mtok),
        input_cache_write=per_token(price.cache_write_usd_per_mtok),
        audio=per_token(price.audio_input_usd_per_mtok),
        input_audio_cache=per_token(price.audio_cache_read_usd_per_mtok),
        audio_output=per_token(price.audio_output_usd_per_mtok),
        image_token=per_token(price.image_input_usd_per_mtok),
        image_output=per_token(price.image_output_usd_per_mtok),
    )


def _by_piece(amount_usd: Decimal | None) -> str | None:
    return None if amount_usd is None else plain(amount_usd)


def _listed_endpoint(
    catalogue: Catalogue, endpoint: Endpoint, model_name: str, at: datetime, known: Known | None
) -> ListedEndpoint:
    provider = catalogue.providers.get(endpoint.provider)
    provider_name = provider.name if provider is not None else endpoint.provider
    health = known.health if known is not None else EndpointHealth()
    tag = endpoint.provider
    return ListedEndpoint(
        id=endpoint.id,
        name=f"{provider_name} | {endpoint.model}",
        model_name=model_name,
        context_length=endpoint.context_tokens,
        pricing=to_pricing(resolve(endpoint, at=at, prompt_tokens=TYPICAL_PROMPT_TOKENS)),
        provider_name=provider_name,
        tag=f"{tag}/{endpoint.quantization}" if endpoint.quantization else tag,
        quantization=endpoint.quantization,
        max_completion_tokens=endpoint.max_output_tokens,
        max_prompt_tokens=endpoint.max_input_tokens,
        supported_parameters=_supported([endpoint]),
        status=_status(health),
        uptime_last_30m=known.uptime_percent if known is not None else None,
        latency_p50_ms=health.latency_ms and health.latency_ms.p50,
        throughput_p50_tokens_per_s=health.throughput_tokens_per_s
        and health.throughput_tokens_per_s.p50,
    )


def _status(health: EndpointHealth) -> int:
    if health.is_credential_refused:
        return -3
    if health.cooling_until_ms is not None or health.open_until_ms is not None:
        return -2
    return -1 if health.has_recent_outage else 0


def _cheapest(endpoints: Sequence[Endpoint], at: datetime) -> tuple[Endpoint, Price | None]:
    """The cheapest for a typical request; the first one, when none has a price."""
    found: tuple[Endpoint, Price | None] = (endpoints[0], None)
    least: Decimal | None = None
    for endpoint in endpoints:
        price = resolve(endpoint, at=at, prompt_tokens=TYPICAL_PROMPT_TOKENS)
        output_tokens = TYPICAL_OUTPUT_TOKENS if endpoint.mode == "chat" else 0
        cost_usd = expected_cost_usd(
            price, prompt_tokens=TYPICAL_PROMPT_TOKENS, output_tokens=output_tokens
        )
        if cost_usd is not None and (least is None or cost_usd < least):
            found, least = (endpoint, price), cost_usd
    return found


def _created(endpoints: Sequence[Endpoint]) -> int:
    released = [endpoint.release_date for endpoint in endpoints if endpoint.release_date]
    return int(datetime.combine(min(released), time(), UTC).timestamp()) if released else 0


def _display_name(catalogue: Catalogue, name: str, endpoints: Sequence[Endpoint]) -> str:
    named = next((endpoint.name for endpoint in endpoints if endpoint.name), None)
    model = catalogue.models.get(name)
    return named or (model.name if model is not None else name)


def _architecture(endpoints: Sequence[Endpoint]) -> Architecture:
    read = _modalities(endpoint.modalities_in for endpoint in endpoints)
    written = _modalities(endpoint.modalities_out for endpoint in endpoints)
    return Architecture(
        modality=f"{'+'.join(read)}->{'+'.join(written)}",
        input_modalities=read,
        output_modalities=written,
    )


def _modalities(lists: Iterable[tuple[str, ...]]) -> tuple[str, ...]:
    """Of all of them, each once; a PDF is a ``file`` to clients."""
    kinds = ("file" if kind == "pdf" else kind for kinds in lists for kind in kinds)
    return tuple(dict.fromkeys(kinds))


def _supported(endpoints: Sequence[Endpoint]) -> tuple[str, ...]:
    # A cap on the answer is sent to every endpoint in its own words.
    known = ["max_tokens"] if endpoints[0].mode == "chat" else []
    known += [
        name
        for name in _PARAMETERS
        if any(has_capability(endpoint, _CAPABILITY_OF.get(name, name)) for endpoint in endpoints)
    ]
    return tuple(known)
