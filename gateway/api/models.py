"""``GET /v1/models``: the models that the caller can use here, in OpenAI's list shape."""

from collections.abc import Callable
from datetime import UTC, datetime, time
from typing import Any

import msgspec
from litestar import Request, Response, get
from litestar.handlers import HTTPRouteHandler

from gateway.api.headers import read_headers
from gateway.chat.dialects import Dialect
from gateway.chat.errors import render_error
from gateway.domain.caller import Caller
from gateway.domain.errors import GatewayError
from gateway.routing.patterns import matches
from pricing.catalogue import Catalogue, Endpoint

Authenticate = Callable[[dict[str, str]], Caller]


class ListedModel(msgspec.Struct, frozen=True, kw_only=True):
    """One model, with the endpoints that serve it."""

    id: str
    object: str = "model"
    created: int
    """Unix seconds of its release; 0 when that is not known."""
    owned_by: str
    context_length: int | None = None
    """The largest of its endpoints; None when none is known."""
    providers: tuple[str, ...] = ()


class ModelList(msgspec.Struct, frozen=True, kw_only=True):
    """OpenAI's list object."""

    object: str = "list"
    data: list[ListedModel]


def list_models(catalogue: Catalogue, caller: Caller) -> ModelList:
    """The chat models that a caller may use, by name."""
    models: dict[str, list[Endpoint]] = {}
    for endpoint in catalogue.endpoints_by_id.values():
        if endpoint.mode != "chat" or not _may_use(endpoint, caller):
            continue
        models.setdefault(endpoint.model, []).append(endpoint)
    return ModelList(data=[_listed(name, models[name]) for name in sorted(models)])


def _may_use(endpoint: Endpoint, caller: Caller) -> bool:
    if caller.allowed_providers and endpoint.provider not in caller.allowed_providers:
        return False
    return not caller.allowed_models or any(
        matches(pattern, endpoint.model) for pattern in caller.allowed_models
    )


def _listed(name: str, endpoints: list[Endpoint]) -> ListedModel:
    released = [endpoint.release_date for endpoint in endpoints if endpoint.release_date]
    contexts = [endpoint.context_tokens for endpoint in endpoints if endpoint.context_tokens]
    return ListedModel(
        id=name,
        created=int(datetime.combine(min(released), time(), UTC).timestamp()) if released else 0,
        owned_by=name.partition("/")[0],
        context_length=max(contexts, default=None),
        providers=tuple(sorted({endpoint.provider for endpoint in endpoints})),
    )


def model_routes(
    authenticate: Authenticate, catalogue: Callable[[], Catalogue]
) -> list[HTTPRouteHandler]:
    """``/v1/models``."""

    @get("/v1/models", sync_to_thread=False, operation_id="listModels", tags=["models"])
    def models(request: Request[Any, Any, Any]) -> Response[ModelList] | Response[bytes]:
        """The models that the key may use."""
        try:
            caller = authenticate(read_headers(request.scope["headers"]))
        except GatewayError as error:
            return error_response(error, Dialect.OPENAI)
        return Response(list_models(catalogue(), caller))

    return [models]


def error_response(error: GatewayError, dialect: Dialect) -> Response[bytes]:
    """An error in a dialect's shape, as a response of the web framework."""
    status, headers, body = render_error(error, dialect)
    rest = {name: value for name, value in headers if name.lower() != "content-type"}
    return Response(body, status_code=status, headers=rest, media_type="application/json")
