"""The pool of connections to providers: aiohttp's, plus what it does not tell by itself."""

import asyncio
import functools
import ssl
import weakref

import aiohttp
from aiohttp.client_proto import ResponseHandler
from aiohttp.http_exceptions import LineTooLong

from gateway.execution.egress import SocketFactory
from gateway.execution.resolver import BoundedResolver

MAX_HEAD_BYTES = 65_536
"""Status line and all header fields of a response together."""

_DNS_TTL_S = 30
_PIECE_BYTES = 262_144


class ProviderConnection(ResponseHandler):
    """Knows whether it was used before, whether an answer has begun, and how the peer left.

    Bytes that arrive while no request is under way end the connection: aiohttp would keep them as
    the answer to the next request.
    """

    is_reused = False
    """True from the second request on this connection."""
    has_answered = False
    """True once a byte has arrived since the request began."""
    lost_with: Exception | None = None
    """What ended the connection; None while it lives, and after an orderly close."""

    _is_idle = True
    _is_head_due = False
    _has_served = False
    _head_bytes = 0

    def __init__(self, registry: weakref.WeakSet["ProviderConnection"]) -> None:
        super().__init__(asyncio.get_running_loop())
        registry.add(self)

    def begin_request(self) -> None:
        """From here on bytes are expected, first those of a head."""
        self.is_reused = self._has_served
        self.has_answered = False
        self._has_served = True
        self._is_idle = False
        self._is_head_due = True
        self._head_bytes = 0

    def end_head(self) -> None:
        """The response's head is complete: what arrives now is body."""
        self._is_head_due = False

    def end_request(self) -> None:
        """The response is complete, or nobody wants it any more: no more bytes are expected."""
        self._is_idle = True
        self._is_head_due = False

    async def upload(self, body: bytes) -> None:
        """Write a large body piece by piece, no faster than the peer takes it."""
        view = memoryview(body)
        for start in range(0, len(body), _PIECE_BYTES):
            if self.transport is None or self.transport.is_closing():
                return
            self.transport.write(view[start : start + _PIECE_BYTES])
            if self.writing_paused:
                await self._drain_helper()

    def connection_lost(self, exc: BaseException | None) -> None:
        if isinstance(exc, Exception):
            self.lost_with = exc
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        if self._is_idle:
            if data:
                self.abort()
            return
        if self._is_head_due:
            self.has_answered = self.has_answered or bool(data)
            self._head_bytes += len(data)
        super().data_received(data)
        if self._is_idle:
            if len(self):
                self.abort()
        elif self._is_head_due and self._head_bytes > MAX_HEAD_BYTES and not len(self):
            self.set_exception(LineTooLong(b"response head", MAX_HEAD_BYTES))
            self.abort()

    def set_exception(self, exc: BaseException, exc_cause: BaseException | None = None) -> None:
        """Tell whoever waits, for a head or for more of a body.

        aiohttp tells only the former when the body turns out to be malformed.
        """
        super().set_exception(exc, exc if exc_cause is None else exc_cause)
        self._fail_body(exc)

    def close(self) -> None:
        self._fail_body(aiohttp.ClientConnectionError("closed by the gateway"))
        super().close()

    def abort(self) -> None:
        self._fail_body(aiohttp.ClientConnectionError("closed by the gateway"))
        super().abort()

    def _fail_body(self, exc: BaseException) -> None:
        body = self._payload
        if body is not None and not body.is_eof() and body.exception() is None:
            body.set_exception(exc)


class ConnectionPool(aiohttp.TCPConnector):
    """Unlimited in number (admission is the gateway's), direct, over guarded sockets only."""

    def __init__(
        self,
        *,
        socket_factory: SocketFactory,
        ssl_context: ssl.SSLContext,
        keepalive_s: float,
    ) -> None:
        self._own_resolver = BoundedResolver()
        super().__init__(  # pyright: ignore[reportUnknownMemberType] (aiohttp: a bare tuple)
            limit=0,
            limit_per_host=0,
            ssl=ssl_context,
            resolver=self._own_resolver,
            ttl_dns_cache=_DNS_TTL_S,
            keepalive_timeout=keepalive_s,
            socket_factory=socket_factory,
        )
        # Counted when asked for: uvloop does not report the loss of a connection whose making was
        # cancelled at the last moment.
        self._made: weakref.WeakSet[ProviderConnection] = weakref.WeakSet()
        self._factory = functools.partial(ProviderConnection, self._made)

    @property
    def open_connections(self) -> int:
        """Connections that stand, in use or waiting for the next request."""
        return sum(connection.is_connected() for connection in self._made)

    async def close(self, *, abort_ssl: bool = False) -> None:
        """Close every connection, also those in use, and the resolver's threads."""
        await super().close(abort_ssl=abort_ssl)
        await self._own_resolver.close()
