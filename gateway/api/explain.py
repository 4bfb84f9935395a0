"""``POST …/explain``: who would serve a request and why, without asking anybody to.

The body is that of the path beside it: a chat request, or under ``/messages`` a Messages request.
A request that nobody may serve is answered too, with the refusal that its caller would be told.
"""

from collections.abc import Mapping
from typing import Any

import msgspec
from litestar import Request, post
from litestar.handlers import HTTPRouteHandler
from litestar.types import ASGIApp, Receive

from gateway.answers import WholeAnswer
from gateway.api.answering import Answering
from gateway.api.body import read_json_body
from gateway.api.chat import Authenticate
from gateway.api.messages import MESSAGES_PATHS
from gateway.api.paths import dialect_of
from gateway.api.traffic import OpenRequest, Traffic
from gateway.chat.decode import decode_chat_request
from gateway.chat.dialects import Dialect
from gateway.chat.messages_api.read import decode_messages_request
from gateway.chat.request import ChatRequest
from gateway.pipeline import Pipeline

CHAT_EXPLAIN_PATHS = ("/v1/explain", "/api/v1/explain", "/api/v1/openai/explain")
MESSAGES_EXPLAIN_PATHS = tuple(f"{path}/explain" for path in MESSAGES_PATHS)

_JSON = [("content-type", "application/json")]


def decode_request(body: bytes, dialect: Dialect, headers: Mapping[str, str]) -> ChatRequest:
    """A request as the chat or Messages path of that dialect reads it.

    Raises:
        InvalidRequestError: names the field and what it should be.
    """
    if dialect is Dialect.ANTHROPIC:
        return decode_messages_request(body, headers=headers)
    return decode_chat_request(body, dialect=dialect, headers=headers)


def explain_routes(
    chat: Pipeline,
    messages: Pipeline,
    authenticate: Authenticate,
    traffic: Traffic,
    *,
    body_limit: int,
) -> list[HTTPRouteHandler]:
    """The dry run in every dialect; it leaves no record and costs nothing."""

    def explaining(path: str) -> Answering:
        dialect = dialect_of(path)
        pipeline = messages if dialect is Dialect.ANTHROPIC else chat

        async def serve(
            headers: dict[str, str], receive: Receive, request: OpenRequest
        ) -> WholeAnswer:
            del request
            caller = authenticate(headers)
            body = await read_json_body(receive, headers, limit=body_limit)
            asked = decode_request(body, dialect, headers)
            explanation = pipeline.explain(asked, caller, headers=headers)
            return WholeAnswer(status=200, headers=_JSON, body=msgspec.json.encode(explanation))

        return Answering(traffic, dialect, serve)

    paths = (*CHAT_EXPLAIN_PATHS, *MESSAGES_EXPLAIN_PATHS)
    return [_route(path, explaining(path)) for path in paths]


def _route(path: str, app: Answering) -> HTTPRouteHandler:
    @post(path, status_code=200, operation_id="explain")
    async def explain(request: Request[Any, Any, Any]) -> ASGIApp:
        """Tell who would serve a request, and why not the others."""
        del request
        return app

    return explain
