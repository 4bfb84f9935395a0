"""``POST …/embeddings``: passed through with key, routing, fallback, record and cost."""

from collections.abc import Mapping
from typing import Any

import msgspec
from litestar import Request, post
from litestar.handlers import HTTPRouteHandler
from litestar.types import ASGIApp, Receive

from gateway.answers import StreamedAnswer, WholeAnswer
from gateway.api.answering import Answering
from gateway.api.body import read_json_body
from gateway.api.chat import Authenticate
from gateway.api.headers import read_headers
from gateway.api.paths import BASES
from gateway.api.traffic import OpenRequest, Traffic
from gateway.chat.dialects import Dialect
from gateway.chat.embeddings import decode_embedding_request, render_embeddings
from gateway.domain.errors import GatewayError
from gateway.exchange import Api
from gateway.execution.access import ProviderAccess
from gateway.pipeline import Pipeline
from gateway.providers.openai_embeddings import OpenAIEmbeddings
from gateway.routing.embeddings import make_embedding_plan
from gateway.routing.explain import explain_embedding
from gateway.version import USER_AGENT

EMBEDDINGS = Api(
    name="embeddings",
    make_plan=make_embedding_plan,
    render=render_embeddings,
    explain=explain_embedding,
)

_OLD_COMPLETIONS = [f"{base}/completions" for base in BASES]


def for_embeddings(providers: Mapping[str, ProviderAccess]) -> dict[str, ProviderAccess]:
    """The same providers, reached over the wire for embeddings."""
    adapter = OpenAIEmbeddings(user_agent=USER_AGENT)
    return {
        name: msgspec.structs.replace(access, adapter=adapter) for name, access in providers.items()
    }


def embedding_routes(
    pipeline: Pipeline, authenticate: Authenticate, traffic: Traffic, *, body_limit: int
) -> list[HTTPRouteHandler]:
    """One handler per path, and the way from legacy completions to chat."""

    def serving(dialect: Dialect) -> Answering:
        async def serve(
            headers: dict[str, str], receive: Receive, request: OpenRequest
        ) -> WholeAnswer | StreamedAnswer:
            caller = authenticate(headers)
            body = await read_json_body(receive, headers, limit=body_limit)
            asked = decode_embedding_request(body, dialect=dialect)
            return await pipeline.answer(asked, caller, request.interruption, headers=headers)

        return Answering(traffic, dialect, serve)

    @post(_OLD_COMPLETIONS, status_code=200, operation_id="createCompletion")
    async def completions(request: Request[Any, Any, Any]) -> None:
        """Say where the answer is."""
        authenticate(read_headers(request.scope["headers"]))
        path = request.scope["path"]
        raise GatewayError(
            f"{path} is not served: send `messages` to "
            f"{path.removesuffix('/completions')}/chat/completions",
            status=404,
            kind="invalid_request_error",
            code="legacy_completions",
        )

    return [*(_route(f"{base}/embeddings", serving(BASES[base])) for base in BASES), completions]


def _route(path: str, app: Answering) -> HTTPRouteHandler:
    @post(path, status_code=200, operation_id="createEmbedding")
    async def embeddings(request: Request[Any, Any, Any]) -> ASGIApp:
        """Embed the input with the cheapest endpoint of its model that answers."""
        del request
        return app

    return embeddings
