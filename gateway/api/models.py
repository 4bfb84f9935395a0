"""Which models, endpoints and providers a key can use here, on the paths of all dialects."""

import asyncio
import time
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import msgspec
from litestar import Request, Response, get
from litestar.handlers import HTTPRouteHandler
from litestar.params import FromPath

from gateway.api.headers import read_headers
from gateway.api.listed import EndpointsAnswer
from gateway.api.listing import (
    Known,
    list_models,
    may_use,
    to_listed_model,
    to_model_with_endpoints,
)
from gateway.api.paths import BASES
from gateway.api.wire import encode, json_response
from gateway.domain.caller import Caller
from gateway.domain.errors import ModelNotFoundError
from gateway.execution.health import HealthBoard
from gateway.routing.plan import EndpointHealth
from pricing.catalogue import Catalogue, Endpoint

Authenticate = Callable[[dict[str, str]], Caller]

_FRESH_S = 60.0
_MOST_LISTS = 64
_MODES = ("chat", "embedding")
_UNHEARD_OF = EndpointHealth()


class ListedProvider(msgspec.Struct, frozen=True, kw_only=True):
    """A provider that serves here; addresses that are not known are null."""

    name: str
    slug: str
    privacy_policy_url: str | None
    """The source of its data policy."""
    terms_of_service_url: str | None = None
    status_page_url: str | None = None
    pricing_url: str | None


class ProvidersAnswer(msgspec.Struct, frozen=True, kw_only=True):
    """``GET /api/v1/providers``."""

    data: list[ListedProvider]


class Lists:
    """Lists as JSON, made on a thread when first asked for and kept for a minute.

    A whole catalogue takes tens of milliseconds, for which no stream should wait.
    """

    def __init__(self, catalogue: Callable[[], Catalogue]) -> None:
        self._catalogue = catalogue
        self._made: dict[tuple[object, ...], tuple[float, bytes]] = {}

    async def models(self, caller: Caller, mode: str) -> bytes:
        """The models that a caller can use."""
        catalogue = self._catalogue()
        key = (catalogue.version, caller.allowed_models, caller.allowed_providers, mode)
        made_at_s, body = self._made.get(key, (float("-inf"), b""))
        if time.monotonic() - made_at_s < _FRESH_S:
            return body
        body = await asyncio.to_thread(
            lambda: encode(list_models(catalogue, caller, datetime.now(UTC), mode=mode))
        )
        self._made.pop(key, None)
        while len(self._made) >= _MOST_LISTS:
            del self._made[next(iter(self._made))]
        self._made[key] = (time.monotonic(), body)
        return body


def model_routes(
    authenticate: Authenticate,
    catalogue: Callable[[], Catalogue],
    health: HealthBoard | None = None,
) -> list[HTTPRouteHandler]:
    """Lists and single objects; ``health`` None knows of no endpoint's past."""
    lists = Lists(catalogue)

    def caller_of(request: Request[Any, Any, Any]) -> Caller:
        return authenticate(read_headers(request.scope["headers"]))

    @get([f"{base}/models" for base in BASES], operation_id="listModels")
    async def models(request: Request[Any, Any, Any]) -> Response[bytes]:
        """The chat models that the key may use."""
        return json_response(await lists.models(caller_of(request), "chat"))

    @get("/api/v1/embeddings/models", operation_id="listEmbeddingModels")
    async def embedding_models(request: Request[Any, Any, Any]) -> Response[bytes]:
        """The embedding models that the key may use."""
        return json_response(await lists.models(caller_of(request), "embedding"))

    @get("/api/v1/models/count", operation_id="countModels", sync_to_thread=False)
    def count(request: Request[Any, Any, Any]) -> Response[bytes]:
        """How many chat models the key may use."""
        caller, at = caller_of(request), datetime.now(UTC)
        endpoints = catalogue().endpoints_by_id.values()
        usable = {endpoint.model for endpoint in endpoints if may_use(endpoint, caller, at)}
        return json_response(encode({"data": {"count": len(usable)}}))

    @get(
        [f"{base}/models/{{name:path}}" for base in BASES],
        operation_id="retrieveModel",
        sync_to_thread=False,
    )
    def model(request: Request[Any, Any, Any], name: FromPath[str]) -> Response[bytes]:
        """One model; with ``/endpoints`` behind its name, each of its endpoints."""
        caller, at = caller_of(request), datetime.now(UTC)
        wanted = name.removeprefix("/")
        current = catalogue()
        found = _find(current, wanted, caller, at)
        if found is not None:
            return json_response(encode(to_listed_model(current, found[0].model, found, at)))
        wanted, of_endpoints, rest = wanted.rpartition("/endpoints")
        if of_endpoints and not rest and (found := _find(current, wanted, caller, at)) is not None:
            known = _known(health, found) if health is not None else {}
            data = to_model_with_endpoints(current, found[0].model, found, at, known)
            return json_response(encode(EndpointsAnswer(data=data)))
        raise _not_found(current, caller, wanted if of_endpoints and not rest else name[1:], at)

    @get("/api/v1/providers", operation_id="listProviders", sync_to_thread=False)
    def providers(request: Request[Any, Any, Any]) -> Response[bytes]:
        """The providers that serve the key here."""
        caller, at = caller_of(request), datetime.now(UTC)
        return json_response(encode(ProvidersAnswer(data=list_providers(catalogue(), caller, at))))

    return [models, embedding_models, count, model, providers]


def list_providers(catalogue: Catalogue, caller: Caller, at: datetime) -> list[ListedProvider]:
    """The providers with an endpoint that the caller may use, by id."""
    serving = {
        endpoint.provider
        for endpoint in catalogue.endpoints_by_id.values()
        if any(may_use(endpoint, caller, at, mode) for mode in _MODES)
    }
    found: list[ListedProvider] = []
    for slug in sorted(serving):
        provider = catalogue.providers.get(slug)
        if provider is None:
            continue
        policy = provider.data_policy
        found.append(
            ListedProvider(
                name=provider.name,
                slug=slug,
                privacy_policy_url=policy.source if policy is not None else None,
                pricing_url=provider.pricing_url,
            )
        )
    return found


def _find(
    catalogue: Catalogue, name: str, caller: Caller, at: datetime
) -> tuple[Endpoint, ...] | None:
    """The usable endpoints of a model by its name, an alias or its bare slug; None without any."""
    slugs = catalogue.models_of_slug(name)
    for model in (name, *(slugs if len(slugs) == 1 else ())):
        for mode in _MODES:
            endpoints = catalogue.endpoints_of(model)
            usable = tuple(e for e in endpoints if may_use(e, caller, at, mode))
            if usable:
                return usable
    return None


def _known(health: HealthBoard, endpoints: tuple[Endpoint, ...]) -> dict[str, Known]:
    view = health.view(time.monotonic() * 1000)
    return {
        endpoint.id: Known(
            health=view.get(endpoint.id, _UNHEARD_OF),
            uptime_percent=health.uptime_percent(endpoint.id),
        )
        for endpoint in endpoints
    }


def _not_found(catalogue: Catalogue, caller: Caller, name: str, at: datetime) -> ModelNotFoundError:
    nearest = [
        near
        for near in catalogue.nearest(name, 10)
        if any(
            may_use(e, caller, at, mode) for e in catalogue.endpoints_of(near) for mode in _MODES
        )
    ][:3]
    message = f"There is no model `{name[:200]}` that this key can use"
    if nearest:
        message += "; the nearest names are " + ", ".join(f"`{near}`" for near in nearest)
    return ModelNotFoundError(message, param="model", metadata={"nearest": nearest})
