"""What stands in front of every route: request ids, and permission for browsers."""

import random

from litestar.types import ASGIApp, Message, Receive, Scope, Send

from gateway.api.cors import Cors, Headers, preflight_of
from gateway.domain.peers import peer
from gateway.domain.request_ids import request_id as request_id_of_this_task

_MAX_ID_BYTES = 128
_ID_BITS = 96


class Front:
    """An ASGI application around another one.

    Every answer carries ``X-Request-Id``: the caller's, when it is up to 128 printable characters
    of ASCII, else one of ours. What is logged while a request is served carries it too.
    """

    __slots__ = ("_app", "_cors")

    def __init__(self, app: ASGIApp, cors: Cors | None = None) -> None:
        """Put this before ``app``; without ``cors`` browsers of other origins are not let in."""
        self._app = app
        self._cors = cors

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        request_id = origin = b""
        for name, value in scope["headers"]:
            if name == b"x-request-id":
                request_id = value
            elif name == b"origin":
                origin = value
        if not _is_usable(request_id):
            request_id = b"req-%024x" % random.getrandbits(_ID_BITS)
        request_id_of_this_task.set(request_id.decode("ascii"))
        client = scope["client"]
        peer.set(client[0] if client else "")
        more: Headers = [(b"x-request-id", request_id)]
        if self._cors is not None and origin:
            preflight = preflight_of(scope["method"], scope["headers"])
            if preflight is not None:
                permitted = self._cors.answer(origin, preflight)
                if permitted is not None:
                    await _send_empty(send, [*more, *permitted])
                    return
            more += self._cors.headers_for(origin)

        # Not a coroutine of its own: every chunk of every stream comes through here.
        def send_with_headers(message: Message) -> object:
            if message["type"] == "http.response.start":
                message["headers"] = [*message["headers"], *more]
            return send(message)

        await self._app(scope, receive, send_with_headers)  # type: ignore[arg-type]


def _is_usable(request_id: bytes) -> bool:
    return (
        0 < len(request_id) <= _MAX_ID_BYTES
        and request_id.isascii()
        and request_id.decode("ascii").isprintable()
    )


async def _send_empty(send: Send, headers: Headers) -> None:
    await send({"type": "http.response.start", "status": 204, "headers": headers})
    await send({"type": "http.response.body", "body": b"", "more_body": False})
