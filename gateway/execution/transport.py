"""Sends ``httpx`` requests over aiohttp's connections: the only way to a provider.

aiohttp brings what is hard to get right (connecting, TLS, the pool, parsing, back-pressure) and is
used below its ``ClientSession``: redirects, cookies, proxies, decompression and silent repeats of
a request are thereby absent, not switched off, and the session's own work per request is saved.
"""

import asyncio
import functools
import socket
import ssl
from collections.abc import AsyncIterator, Callable
from typing import cast

import aiohttp
import httpx
import msgspec
from aiohttp.connector import Connection
from aiohttp.http_exceptions import HttpProcessingError
from aiohttp.streams import StreamReader
from yarl import URL

from gateway.execution.connection import ConnectionPool, ProviderConnection
from gateway.execution.egress import (
    DEFAULT_PORTS,
    AddressInfo,
    AddressRefusedError,
    EgressPolicy,
    guarded_socket,
    origin_of,
)

KEEPALIVE_S = 5.0
"""Below the idle limit of the providers, so that it is we who end an idle connection."""
CONNECT_TIMEOUT_S = 3.0

_READ_BUFFER_BYTES = 65_536
_MAX_FIELD_BYTES = 65_536
_MAX_FIELDS = 256
_WRITTEN_AT_ONCE_BYTES = 262_144
_REMEMBERED_ORIGINS = 1_024


class TlsError(httpx.ConnectError):
    """TCP stood, but there was no TLS session, or none that the certificate vouches for."""


class EgressRefusedError(httpx.ConnectError):
    """The address is private or reserved, and the origin is not allowed to be there."""


class StaleConnectionError(httpx.ReadError):
    """A connection kept from an earlier request ended before any byte of this response.

    Most likely the peer closed it while idle and never read the request (RFC 9112, 9.3.1).
    """

    is_reused_connection = True


class TransportStats(msgspec.Struct, frozen=True, kw_only=True):
    """What the transport holds at this moment."""

    open_connections: int
    in_flight: int
    """Requests whose response body has neither ended nor been closed."""


class AiohttpTransport(httpx.AsyncBaseTransport):
    """HTTP/1.1 to providers; belongs to the event loop of its first request.

    Of ``request.extensions["timeout"]`` it keeps ``connect`` (name resolution, TCP and TLS
    together; seconds, None means the transport's own) and ``read`` (the longest silence; None
    means none). Other deadlines are the caller's: cancelling the task that waits for the head or
    reads the body closes the connection at once, as does ``aclose`` on a body that has not ended.
    Whoever stops reading for any other reason must call ``aclose``.

    Raises ``httpx.TransportError`` only: ``EgressRefusedError``, ``TlsError``, ``ConnectError``,
    ``ConnectTimeout``, ``StaleConnectionError``, ``ReadError``, ``ReadTimeout``,
    ``RemoteProtocolError``, ``LocalProtocolError``, ``UnsupportedProtocol``.
    """

    def __init__(
        self,
        *,
        policy: EgressPolicy | None = None,
        ssl_context: ssl.SSLContext | None = None,
        keepalive_s: float = KEEPALIVE_S,
        connect_timeout_s: float = CONNECT_TIMEOUT_S,
    ) -> None:
        self.policy = policy or EgressPolicy()
        """May be replaced at any time: holds at once for origins, for networks on new connections."""
        self._ssl = ssl_context or make_ssl_context()
        self._keepalive_s = keepalive_s
        self._connect_timeout_s = connect_timeout_s
        self._pools: dict[bool, ConnectionPool] = {}
        self._origins: dict[tuple[bytes, bytes, int | None], _Origin] = {}
        self._in_flight = 0
        self._is_closed = False

    @property
    def stats(self) -> TransportStats:
        """Counts, not estimates; connections that wait in a pool are open."""
        return TransportStats(
            open_connections=sum(pool.open_connections for pool in self._pools.values()),
            in_flight=self._in_flight,
        )

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """Send, and return as soon as the response's head is there; the body streams."""
        stream = request.stream
        body = request.read() if isinstance(stream, httpx.ByteStream) else await request.aread()
        head = _encode_head(request, len(body))
        timeouts = request.extensions.get("timeout") or _NO_TIMEOUTS
        connection = await self._connect(request, timeouts.get("connect"))
        exchange = _Exchange(request, connection, self._count_exchange)
        try:
            exchange.send(head, body, read_timeout_s=timeouts.get("read"))
            return await exchange.receive_head()
        except BaseException as exc:
            exchange.abort()
            if isinstance(exc, _FAILURES):
                raise exchange.translate(exc) from exc
            raise

    async def aclose(self) -> None:
        """Close every connection, also those in use."""
        self._is_closed = True
        pools, self._pools = self._pools, {}
        for pool in pools.values():
            await pool.close(abort_ssl=True)

    async def _connect(self, request: httpx.Request, timeout_s: float | None) -> Connection:
        origin = self._origin(request.url)
        pool = self._pool(is_allowed_origin=self.policy.allows_private(origin.host, origin.port))
        timeout_s = self._connect_timeout_s if timeout_s is None else timeout_s
        try:
            return await pool.connect(origin.key, [], _client_timeout(timeout_s))
        except (aiohttp.ClientError, OSError) as exc:
            raise _connect_error(exc, request, timeout_s) from exc

    def _origin(self, url: httpx.URL) -> "_Origin":
        name = (url.raw_scheme, url.raw_host, url.port)
        origin = self._origins.get(name)
        if origin is None:
            origin = self._origins[name] = _Origin(url)
            if len(self._origins) > _REMEMBERED_ORIGINS:
                del self._origins[next(iter(self._origins))]
        return origin

    def _pool(self, *, is_allowed_origin: bool) -> ConnectionPool:
        """Two pools: no connection to a private address ever serves an origin without leave."""
        pool = self._pools.get(is_allowed_origin)
        if pool is None:
            if self._is_closed:
                raise httpx.ConnectError("the transport is closed")

            def open_socket(target: AddressInfo) -> socket.socket:
                return guarded_socket(self.policy, target, is_allowed_origin=is_allowed_origin)

            pool = self._pools[is_allowed_origin] = ConnectionPool(
                socket_factory=open_socket,
                ssl_context=self._ssl,
                keepalive_s=self._keepalive_s,
            )
        return pool

    def _count_exchange(self, change: int) -> None:
        self._in_flight += change


def make_ssl_context() -> ssl.SSLContext:
    """Certificates and host names are verified; nothing older than TLS 1.2; HTTP/1.1 only."""
    context = ssl.create_default_context()
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.set_alpn_protocols(["http/1.1"])
    return context


class _Origin:
    """Where requests of one scheme, host and port go; parsed once."""

    __slots__ = ("host", "key", "port")

    def __init__(self, url: httpx.URL) -> None:
        if url.scheme not in DEFAULT_PORTS:
            raise httpx.UnsupportedProtocol(f"`{url.scheme}` is not http or https")
        self.host, self.port = origin_of(url)
        connect_url = URL.build(scheme=url.scheme, host=self.host, port=self.port)
        # Two parsers that disagree about the host would let one check what the other contacts.
        if connect_url.raw_host != self.host:
            raise httpx.UnsupportedProtocol(f"{self.host!r} is not a host name in normal form")
        # The pool reads from it what to connect to; it is never sent.
        self.key = aiohttp.ClientRequest("GET", connect_url, loop=asyncio.get_running_loop())


class _Exchange(httpx.AsyncByteStream):
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
            if isinstance(exc, _FAILURES):
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


_FAILURES = (aiohttp.ClientError, HttpProcessingError, OSError)
_NO_TIMEOUTS: dict[str, float | None] = {}
_BODY_METHODS = frozenset({"POST", "PUT", "PATCH"})


def _encode_head(request: httpx.Request, body_bytes: int) -> bytes:
    """Request line and header fields; the length is that of the body as it will be sent."""
    url = request.url
    lines = [b"%b %b HTTP/1.1" % (request.method.encode("ascii"), url.raw_path)]
    has_host = False
    for name, value in request.headers.raw:
        lowered = name.lower()
        if lowered in (b"content-length", b"transfer-encoding"):
            continue
        has_host = has_host or lowered == b"host"
        lines.append(b"%b: %b" % (name, value))
    if not has_host:
        lines.append(b"Host: " + url.netloc)
    if body_bytes or request.method in _BODY_METHODS:
        lines.append(b"Content-Length: %d" % body_bytes)
    lines.append(b"\r\n")
    head = b"\r\n".join(lines)
    # `httpx.Headers` accepts any byte; one line break too many would start another request.
    if head.count(b"\n") != len(lines) or head.count(b"\r") != len(lines) or b"\0" in head:
        raise httpx.LocalProtocolError("a header field contains a control character")
    return head


@functools.lru_cache(maxsize=64)
def _client_timeout(connect_s: float) -> aiohttp.ClientTimeout:
    # Above `ceil_threshold` aiohttp rounds deadlines up to whole seconds.
    return aiohttp.ClientTimeout(total=None, connect=connect_s, ceil_threshold=connect_s + 1)


def _connect_error(
    exc: Exception, request: httpx.Request, timeout_s: float
) -> httpx.TransportError:
    """What ``httpx`` calls a failure to get a connection."""
    url = request.url
    place = f"{url.host}:{url.port or DEFAULT_PORTS[url.scheme]}"
    if isinstance(exc, TimeoutError):
        return httpx.ConnectTimeout(f"no connection to {place} in {timeout_s:g} s", request=request)
    if isinstance(exc, (aiohttp.ClientSSLError, ssl.SSLError)):
        return TlsError(f"no TLS session with {place}: {exc}", request=request)
    cause = exc.os_error if isinstance(exc, aiohttp.ClientConnectorError) else exc
    if isinstance(cause, AddressRefusedError):
        return EgressRefusedError(f"{place}: {cause}", request=request)
    if isinstance(exc, aiohttp.InvalidURL):
        return EgressRefusedError(f"{place}: not an address in normal form", request=request)
    if url.scheme == "https" and isinstance(cause, (ConnectionResetError, ConnectionAbortedError)):
        return TlsError(f"{place} ended the TLS handshake", request=request)
    return httpx.ConnectError(f"no connection to {place}: {cause}", request=request)
