"""One request and its response on one connection, from the first byte sent to the last received."""

import asyncio
import functools
from collections.abc import AsyncIterator, Callable
from typing import cast

import aiohttp
import httpx
from aiohttp.connector import Connection
from aiohttp.http_exceptions import HttpProcessingError
from aiohttp.streams import StreamReader

from gateway.execution.connection import ProviderConnection

FAILURES = (aiohttp.ClientError, HttpProcessingError, OSError)
"""What ``Exchange.translate`` has a name for."""

_READ_BUFFER_BYTES = 65_536
_MAX_FIELD_BYTES = 65_536
_MAX_FIELDS = 256
_WRITTEN_AT_ONCE_BYTES = 262_144
_REMEMBERED_HEADS = 1_024
_BODY_METHODS = frozenset({"POST", "PUT", "PATCH"})


class StaleConnectionError(httpx.ReadError):
    """A connection kept from an earlier request ended before any byte of this response.

    Most likely the peer closed it while idle and never read the request (RFC 9112, 9.3.1).
    """

    is_reused_connection = True


class Exchange(httpx.AsyncByteStream):
    """One request and its response on one connection; serves as the response's body."""

    def __init__(
        self, request: httpx.Request, connection: Connection, count: Callable[[int], None]
    ) -> None:
        self._request = request
        self._connection: Connection | None = connection
        self._wire = cast("ProviderConnection", connection.protocol)
        self._count = count
        self._upload: asyncio.Task[None] | None = None
        self._body: StreamReader | None = None
        self._lost_with: Exception | None = None
        count(1)

    def send(self, head: bytes, body: bytes, *, read_timeout_s: float | None) -> None:
        """Begin: write the request, or start writing a large one."""
        wire = self._wire
        wire.begin_request()
        wire.set_response_params(
            skip_payload=self._request.method == "HEAD",
            read_until_eof=True,
            auto_decompress=False,
            read_timeout=read_timeout_s,
            read_bufsize=_READ_BUFFER_BYTES,
            max_line_size=_MAX_FIELD_BYTES,
            max_field_size=_MAX_FIELD_BYTES,
            max_headers=_MAX_FIELDS,
        )
        if wire.transport is None:
            raise aiohttp.ServerDisconnectedError
        if len(body) <= _WRITTEN_AT_ONCE_BYTES:
            wire.transport.write(head + body)
        else:
            wire.transport.write(head)
            self._upload = asyncio.create_task(wire.upload(body))
            self._upload.add_done_callback(self._end_upload)
        wire.start_timeout()

    async def receive_head(self) -> httpx.Response:
        """Wait for the response, whose body is this object."""
        message, body = await self._wire.read()
        while httpx.codes.is_informational(message.code) and not message.upgrade:
            message, body = await self._wire.read()
        if message.upgrade:
            raise HttpProcessingError(message="unexpected switch of protocols")
        self._wire.end_head()
        self._body = body
        body.on_eof(self._finish)
        return httpx.Response(
            message.code,
            headers=message.raw_headers,
            stream=self,
            request=self._request,
            extensions={
                "http_version": b"HTTP/1.0" if message.version.minor == 0 else b"HTTP/1.1",
                "reason_phrase": message.reason.encode("utf-8", "surrogateescape"),
                "is_reused_connection": self._wire.is_reused,
            },
        )

    async def __aiter__(self) -> AsyncIterator[bytes]:
        body = self._body
        if body is None:
            raise httpx.StreamClosed
        try:
            while chunk := await body.readany():
                yield chunk
        except BaseException as exc:
            self.abort()
            if isinstance(exc, FAILURES):
                raise self.translate(exc) from exc
            raise
        if self._lost_with is not None:
            raise self.translate(self._lost_with) from self._lost_with

    async def aclose(self) -> None:
        self.abort()

    def abort(self) -> None:
        """Cut the connection unless the response has ended; the peer can stop working at once."""
        self._leave(is_reusable=False)

    def translate(self, exc: Exception) -> httpx.TransportError:
        """What ``httpx`` calls a failure after the connection stood."""
        wire, request = self._wire, self._request
        if isinstance(exc, TimeoutError):
            return httpx.ReadTimeout("silent for too long", request=request)
        is_lost = not isinstance(exc, HttpProcessingError)
        if is_lost and wire.is_reused and not wire.has_answered:
            return StaleConnectionError("a reused connection was closed", request=request)
        if is_lost and wire.lost_with is not None:
            return httpx.ReadError(f"connection lost: {wire.lost_with!r}", request=request)
        if isinstance(exc, HttpProcessingError):
            return httpx.RemoteProtocolError(
                f"not a valid HTTP response: {type(exc).__name__}", request=request
            )
        part = "the response" if self._body is None else "the end of the response"
        return httpx.RemoteProtocolError(f"connection closed before {part}", request=request)

    def _finish(self) -> None:
        """Called with the last byte of the body, which may be read later."""
        # A body without a length ends with the connection, and a reset is no proper end.
        self._lost_with = self._wire.lost_with
        # Answered before the request was read to the end: the rest of it may still be under way.
        self._leave(is_reusable=self._upload is None or self._upload.done())

    def _leave(self, *, is_reusable: bool) -> None:
        connection, self._connection = self._connection, None
        if connection is None:
            return
        self._count(-1)
        self._wire.end_request()
        if is_reusable:
            connection.release()
            return
        if self._upload is not None:
            self._upload.cancel()
        # Not `close`, which under TLS would first wait for the peer to agree.
        self._wire.abort()
        connection.close()

    def _end_upload(self, upload: asyncio.Task[None]) -> None:
        if not upload.cancelled() and (exc := upload.exception()) is not None:
            self._wire.set_exception(exc)


def encode_head(request: httpx.Request, body_bytes: int) -> bytes:
    """Request line and header fields; the length is that of the body as it will be sent."""
    url = request.url
    fields = tuple(request.headers.raw)
    head = _encode_fields(request.method, url.raw_path, url.netloc, fields)
    if body_bytes or request.method in _BODY_METHODS:
        return b"%bContent-Length: %d\r\n\r\n" % (head, body_bytes)
    return head + b"\r\n"


# Endpoints are sent the same fields again and again: 5 µs less of each request's cold path.
@functools.lru_cache(maxsize=_REMEMBERED_HEADS)
def _encode_fields(
    method: str, path: bytes, host: bytes, fields: tuple[tuple[bytes, bytes], ...]
) -> bytes:
    """Everything but the length and the blank line."""
    lines = [b"%b %b HTTP/1.1" % (method.encode("ascii"), path)]
    has_host = False
    for name, value in fields:
        lowered = name.lower()
        if lowered in (b"content-length", b"transfer-encoding"):
            continue
        has_host = has_host or lowered == b"host"
        lines.append(b"%b: %b" % (name, value))
    if not has_host:
        lines.append(b"Host: " + host)
    lines.append(b"")
    head = b"\r\n".join(lines)
    breaks = len(lines) - 1
    # `httpx.Headers` accepts any byte; one line break too many would start another request.
    if head.count(b"\n") != breaks or head.count(b"\r") != breaks or b"\0" in head:
        raise httpx.LocalProtocolError("a header field contains a control character")
    return head
