"""What may serve a request that brings providers along: their endpoints alone, known or not."""

from collections.abc import Collection

from msgspec import structs

from gateway.chat.dialects import Dialect
from gateway.chat.request import ChatRequest
from gateway.domain.errors import GatewayError, InvalidRequestError, ModelNotFoundError
from gateway.routing.names import resolve_names
from gateway.routing.plan import PlanInputs
from pricing.catalogue import Catalogue, make_catalogue
from pricing.endpoint import Endpoint, Provider

_LONGEST_QUOTED = 128


def own_inputs(request: ChatRequest, inputs: PlanInputs, providers: Collection[str]) -> PlanInputs:
    """The inputs of a decision between these providers.

    Endpoints of the catalogue keep their facts and prices. ``provider/model`` that is not in it
    becomes an endpoint of which nothing is known, its price neither. What this installation
    saw of its own calls says nothing here.

    Raises:
        InvalidRequestError: the request names no model.
        ModelNotFoundError: none of these providers is named by a model, or serves it.
    """
    if not request.models:
        raise InvalidRequestError(
            "`model` is missing; with `provider_configs` name it as `provider/model`.",
            param="model",
            code="missing_model",
        )
    found: list[Endpoint] = []
    for name in request.models:
        offered = _known(name, request, inputs, providers) or _unknown(name, request, providers)
        if not offered:
            raise ModelNotFoundError(
                f"None of the providers in `provider_configs` serves "
                f"`{name[:_LONGEST_QUOTED]}`; name the model as `provider/model`",
                param="model",
            )
        found += offered
    return structs.replace(
        inputs,
        catalogue=_catalogue(found, inputs.catalogue),
        health={},
        sticky=None,
        learned_output_tokens={},
        configured_models=frozenset(e.model for e in found if not e.has_canonical_model),
    )


def _known(
    name: str, request: ChatRequest, inputs: PlanInputs, providers: Collection[str]
) -> list[Endpoint]:
    try:
        targets = resolve_names(structs.replace(request, models=(name,)), inputs)
    except GatewayError:
        return []
    return [e for target in targets for e in target.endpoints if e.provider in providers]


def _unknown(name: str, request: ChatRequest, providers: Collection[str]) -> list[Endpoint]:
    provider, _, rest = name.partition(":" if request.dialect is Dialect.FASTAPI else "/")
    slug = provider.strip().lower()
    if slug not in providers or not rest:
        return []
    return [
        Endpoint(
            id=f"{slug}/{rest}",
            provider=slug,
            provider_model=rest,
            model=name,
            has_canonical_model=False,
        )
    ]


def _catalogue(endpoints: list[Endpoint], whole: Catalogue) -> Catalogue:
    names = dict.fromkeys(endpoint.provider for endpoint in endpoints)
    models = dict.fromkeys(endpoint.model for endpoint in endpoints)
    return make_catalogue(
        providers=[whole.providers.get(name) or Provider(id=name, name=name) for name in names],
        models=[whole.models[model] for model in models if model in whole.models],
        endpoints=endpoints,
        version=whole.version,
        known_providers=whole.known_providers,
    )
