"""``POST …/messages``: Anthropic's Messages API in, any endpoint out; same keys and accounts."""

from typing import Any

import msgspec
from litestar import Request, post
from litestar.handlers import HTTPRouteHandler
from litestar.types import ASGIApp, Receive

from gateway.answers import StreamedAnswer, WholeAnswer
from gateway.api.answering import Answering
from gateway.api.body import read_json_body
from gateway.api.chat import Authenticate
from gateway.api.direct import DIRECT
from gateway.api.idempotency import Idempotency, refuse_stream
from gateway.api.traffic import OpenRequest, Traffic
from gateway.chat.dialects import Dialect
from gateway.chat.messages_api.answer import render_message
from gateway.chat.messages_api.events import MessageFrame
from gateway.chat.messages_api.read import decode_count_request, decode_messages_request
from gateway.chat.messages_api.usage import render_messages_usage
from gateway.domain.errors import PayloadTooLargeError
from gateway.exchange import Api
from gateway.pipeline import Pipeline
from gateway.routing.engine import make_plan

MESSAGES_PATHS = ("/v1/messages", "/api/v1/messages")
"""Where such requests are answered; with ``/count_tokens`` behind it, where they are counted."""
COUNT_PATHS = tuple(f"{path}/count_tokens" for path in MESSAGES_PATHS)

MESSAGES = Api(
    name="messages",
    make_plan=make_plan,
    render=render_message,
    frame=MessageFrame,
    render_usage=render_messages_usage,
)


class TokenCount(msgspec.Struct, frozen=True, kw_only=True):
    """How large a prompt is, estimated from its bytes: no tokenizer runs here."""

    input_tokens: int


def message_routes(
    pipeline: Pipeline,
    authenticate: Authenticate,
    traffic: Traffic,
    *,
    body_limit: int,
    text_limit: int | None = None,
) -> list[HTTPRouteHandler]:
    """One handler per path, and one per path for counting."""
    idempotency = Idempotency()
    most_text = text_limit or body_limit

    def answering(path: str) -> Answering:
        async def serve(
            headers: dict[str, str], receive: Receive, request: OpenRequest
        ) -> WholeAnswer | StreamedAnswer:
            caller = authenticate(headers)
            body = await read_json_body(receive, headers, limit=body_limit)
            asked = decode_messages_request(body, headers=headers)
            if asked.prompt_bytes > most_text:
                raise PayloadTooLargeError(
                    f"messages and tools hold {asked.prompt_bytes} bytes of text; "
                    f"at most {most_text} are taken"
                )
            once = headers.get("idempotency-key")
            if once is None:
                return await pipeline.answer(asked, caller, request.interruption, headers=headers)
            if asked.stream:
                raise refuse_stream()
            return await idempotency.once(
                caller.key_id,
                once,
                (path, body),
                lambda: pipeline.answer(asked, caller, request.interruption, headers=headers),
            )

        return Answering(traffic, Dialect.ANTHROPIC, serve)

    async def count(
        headers: dict[str, str], receive: Receive, request: OpenRequest
    ) -> WholeAnswer | StreamedAnswer:
        del request
        authenticate(headers)
        body = await read_json_body(receive, headers, limit=body_limit)
        asked = decode_count_request(body, headers=headers)
        counted = TokenCount(input_tokens=asked.prompt_tokens_estimate)
        return WholeAnswer(
            status=200,
            headers=[("content-type", "application/json")],
            body=msgspec.json.encode(counted),
        )

    counting = Answering(traffic, Dialect.ANTHROPIC, count)
    return [
        *(_route(path, answering(path)) for path in MESSAGES_PATHS),
        *(_count_route(path, counting) for path in COUNT_PATHS),
    ]


def _route(path: str, app: Answering) -> HTTPRouteHandler:
    @post(path, status_code=200, operation_id="createMessage", opt={DIRECT: app})
    async def messages(request: Request[Any, Any, Any]) -> ASGIApp:
        """Answer a Messages request from the endpoint that fits it at the best price."""
        del request
        return app

    return messages


def _count_route(path: str, app: Answering) -> HTTPRouteHandler:
    @post(path, status_code=200, operation_id="countMessageTokens", opt={DIRECT: app})
    async def count_tokens(request: Request[Any, Any, Any]) -> ASGIApp:
        """Say about how many tokens a Messages request's prompt has."""
        del request
        return app

    return count_tokens
