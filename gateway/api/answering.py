"""Sends the pipeline's answers as ASGI messages, and stops working when the caller hangs up."""

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable

from litestar.types import Receive, Scope, Send
from litestar.types.asgi_types import HTTPResponseStartEvent

from gateway.answers import StreamedAnswer, WholeAnswer
from gateway.api.body import CallerGoneError
from gateway.api.headers import read_headers
from gateway.api.traffic import OpenRequest, Traffic
from gateway.chat.dialects import Dialect
from gateway.chat.errors import render_error
from gateway.domain.errors import GatewayError, InternalError

_log = logging.getLogger("tollway.api")

Headers = list[tuple[str, str]]
Serve = Callable[[dict[str, str], Receive, OpenRequest], Awaitable[WholeAnswer | StreamedAnswer]]


class Answering:
    """An ASGI application for one route: admits, serves, renders errors in the route's dialect."""

    __slots__ = ("_dialect", "_serve", "_traffic")

    def __init__(self, traffic: Traffic, dialect: Dialect, serve: Serve) -> None:
        self._traffic = traffic
        self._dialect = dialect
        self._serve = serve

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            headers = read_headers(scope["headers"])
            with self._traffic.admit() as request:
                await self._exchange(headers, receive, send, request)
        except GatewayError as error:
            await self._send_error(send, error)

    async def _exchange(
        self, headers: dict[str, str], receive: Receive, send: Send, request: OpenRequest
    ) -> None:
        watcher: asyncio.Task[None] | None = None

        def watch() -> None:
            nonlocal watcher
            # The server reports a hang-up through receive() alone: it cancels nothing by itself.
            watcher = asyncio.create_task(_watch(receive, request))

        has_begun = False
        try:
            answer = await self._serve(headers, _then(receive, watch), request)
            has_begun = True
            if isinstance(answer, WholeAnswer):
                await _send_whole(send, answer.status, answer.headers, answer.body)
            else:
                await self._send_stream(send, answer, request)
        except GatewayError as error:
            await self._send_error(send, error)
        except CallerGoneError:
            return
        except asyncio.CancelledError:
            if not request.interruption.is_told:
                # Ours: the watcher or the sweep asked for it, and nobody listens any more.
                return
            if not has_begun:
                _uncancel()
                await self._send_error(send, request.interruption.farewell())
        except Exception:  # noqa: BLE001 - said aloud, and the client is told
            # The last line of defence of one request: its record is written, others go on.
            _log.exception("a request failed by a fault of the gateway")
            if not has_begun:
                await self._send_error(
                    send, InternalError("the gateway failed; its log says how", should_retry=True)
                )
        finally:
            if watcher is not None:
                watcher.cancel()

    async def _send_stream(self, send: Send, answer: StreamedAnswer, request: OpenRequest) -> None:
        events = answer.events
        request.is_streaming = True
        try:
            await send(_start(200, answer.headers))
            data = answer.first or await anext(events, None)
            while data is not None:
                request.send_began_at_s = time.monotonic()
                try:
                    await send({"type": "http.response.body", "body": data, "more_body": True})
                except asyncio.CancelledError:
                    if not request.interruption.is_told:
                        raise
                    # The farewell is the stream's to write, as if it had been waiting itself.
                    data = await events.athrow(asyncio.CancelledError())
                else:
                    data = await anext(events, None)
                finally:
                    request.send_began_at_s = None
            await send({"type": "http.response.body", "body": b"", "more_body": False})
        finally:
            await events.aclose()

    async def _send_error(self, send: Send, error: GatewayError) -> None:
        status, headers, body = render_error(error, self._dialect)
        await _send_whole(send, status, headers, body)


async def _watch(receive: Receive, request: OpenRequest) -> None:
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            request.hang_up()
            return


def _then(receive: Receive, act: Callable[[], None]) -> Receive:
    """Receive a body; once it is complete, act: from then on only a hang-up can be received."""

    async def receive_then() -> object:
        message = await receive()
        if message["type"] == "http.request" and not message["more_body"]:
            act()
        return message

    return receive_then  # type: ignore[return-value]


def _uncancel() -> None:
    task = asyncio.current_task()
    if task is not None:
        task.uncancel()


def _start(status: int, headers: Headers) -> HTTPResponseStartEvent:
    return {
        "type": "http.response.start",
        "status": status,
        "headers": [(name.encode("latin-1"), value.encode("latin-1")) for name, value in headers],
    }


async def _send_whole(send: Send, status: int, headers: Headers, body: bytes) -> None:
    await send(_start(status, [*headers, ("content-length", str(len(body)))]))
    await send({"type": "http.response.body", "body": body, "more_body": False})
