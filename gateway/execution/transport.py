"""Sends ``httpx`` requests over aiohttp's connections: the only way to a provider.

aiohttp brings what is hard to get right (connecting, TLS, the pool, parsing, back-pressure) and is
used below its ``ClientSession``: redirects, cookies, proxies, decompression and silent repeats of
a request are thereby absent, not switched off, and the session's own work per request is saved.
"""

import asyncio
import functools
import socket
import ssl

import aiohttp
import httpx
import msgspec
from aiohttp.connector import Connection
from yarl import URL

from gateway.execution.connection import ConnectionPool
from gateway.execution.egress import (
    DEFAULT_PORTS,
    AddressInfo,
    AddressRefusedError,
    EgressPolicy,
    guarded_socket,
    origin_of,
)
from gateway.execution.exchange import FAILURES, Exchange, StaleConnectionError, encode_head

__all__ = [
    "AiohttpTransport",
    "EgressRefusedError",
    "StaleConnectionError",
    "TlsError",
    "TransportStats",
    "make_ssl_context",
]

KEEPALIVE_S = 5.0
"""Below the idle limit of the providers, so that it is we who end an idle connection."""
CONNECT_TIMEOUT_S = 3.0

_REMEMBERED_ORIGINS = 1_024
_NO_TIMEOUTS: dict[str, float | None] = {}


class TlsError(httpx.ConnectError):
    """TCP stood, but there was no TLS session, or none that the certificate vouches for."""


class EgressRefusedError(httpx.ConnectError):
    """The address is private or reserved, and the origin is not allowed to be there."""


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
        """May be replaced at any time; networks it no longer allows lose new connections only."""
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
        head = encode_head(request, len(body))
        timeouts = request.extensions.get("timeout") or _NO_TIMEOUTS
        connection = await self._connect(request, timeouts.get("connect"))
        exchange = Exchange(request, connection, self._count_exchange)
        try:
            exchange.send(head, body, read_timeout_s=timeouts.get("read"))
            return await exchange.receive_head()
        except BaseException as exc:
            exchange.abort()
            if isinstance(exc, FAILURES):
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
