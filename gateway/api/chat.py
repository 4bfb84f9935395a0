"""``POST …/chat/completions``: bytes become a request and a caller, the pipeline answers."""

from collections.abc import Callable
from typing import Any

from litestar import Request, post
from litestar.handlers import HTTPRouteHandler
from litestar.types import ASGIApp, Receive

from gateway.answers import StreamedAnswer, WholeAnswer
from gateway.api.answering import Answering
from gateway.api.body import read_json_body
from gateway.api.direct import DIRECT
from gateway.api.idempotency import Idempotency, refuse_stream
from gateway.api.paths import CHAT_PATHS
from gateway.api.traffic import OpenRequest, Traffic
from gateway.chat.decode import decode_chat_request
from gateway.domain.caller import Caller
from gateway.domain.errors import PayloadTooLargeError
from gateway.pipeline import Pipeline

Authenticate = Callable[[dict[str, str]], Caller]


def chat_routes(
    pipeline: Pipeline,
    authenticate: Authenticate,
    traffic: Traffic,
    *,
    body_limit: int,
    text_limit: int | None = None,
) -> list[HTTPRouteHandler]:
    """One handler per path; the path fixes the dialect."""
    idempotency = Idempotency()
    return [
        _route(
            path,
            _chat_app(
                pipeline,
                authenticate,
                traffic,
                idempotency,
                path,
                body_limit=body_limit,
                text_limit=text_limit or body_limit,
            ),
        )
        for path in CHAT_PATHS
    ]


def _chat_app(
    pipeline: Pipeline,
    authenticate: Authenticate,
    traffic: Traffic,
    idempotency: Idempotency,
    path: str,
    *,
    body_limit: int,
    text_limit: int,
) -> Answering:
    dialect = CHAT_PATHS[path]

    async def serve(
        headers: dict[str, str], receive: Receive, request: OpenRequest
    ) -> WholeAnswer | StreamedAnswer:
        caller = authenticate(headers)
        body = await read_json_body(receive, headers, limit=body_limit)
        chat = decode_chat_request(
            body,
            dialect=dialect,
            headers=headers,
            allows_own_providers=bool(caller.provider_configs_origins),
        )
        if chat.prompt_bytes > text_limit:
            raise PayloadTooLargeError(
                f"messages and tools hold {chat.prompt_bytes} bytes of text; "
                f"at most {text_limit} are taken"
            )
        once = headers.get("idempotency-key")
        if once is None:
            return await pipeline.answer(chat, caller, request.interruption, headers=headers)
        if chat.stream:
            raise refuse_stream()
        return await idempotency.once(
            caller.key_id,
            once,
            (path, body),
            lambda: pipeline.answer(chat, caller, request.interruption, headers=headers),
        )

    return Answering(traffic, dialect, serve)


def _route(path: str, app: Answering) -> HTTPRouteHandler:
    @post(
        path,
        status_code=200,
        operation_id="createChatCompletion",
        tags=["chat"],
        opt={DIRECT: app},
    )
    async def chat_completions(request: Request[Any, Any, Any]) -> ASGIApp:
        """Answer a chat-completions request from the endpoint that fits it at the best price."""
        del request
        return app

    return chat_completions
