"""One HTTP/1.1 connection as the simulator needs it: quick, and willing to misbehave.

An ordinary server refuses to send a wrong length or to reset a socket; this one does so on
request. It reads requests (keep-alive, pipelining, chunked bodies) and hands each to a callback as
an `Exchange`, one at a time.
"""

import asyncio
import contextlib
import re
import socket
import struct
import time
from collections.abc import Callable
from http import HTTPStatus
from typing import Literal, cast

MAX_HEAD_BYTES = 64 * 1024
MAX_BODY_BYTES = 64 * 1024 * 1024
# Two seconds of flushing is plenty on loopback; a peer that reads slower is cut.
WRITE_BUFFER_BYTES = 256 * 1024

Framing = Literal["length", "chunked", "close"]

_REQUEST_LINE = re.compile(rb"[A-Z]+ [^ \r]+ HTTP/1\.[01](\r|\Z)")
_CONTENT_LENGTH = re.compile(rb"\r\ncontent-length:[ \t]*(\d+)", re.IGNORECASE)
_CHUNKED = re.compile(rb"\r\ntransfer-encoding:[^\r]*chunked", re.IGNORECASE)
_CLOSE = re.compile(rb"\r\nconnection:[^\r]*close", re.IGNORECASE)
_EXPECT = re.compile(rb"\r\nexpect:[ \t]*100-continue", re.IGNORECASE)


class Exchange:
    """One request and the way to answer it, or to fail to.

    `gone_at` is the monotonic time at which the peer's close was seen while this exchange was
    open, None until then.
    """

    __slots__ = (
        "_connection",
        "_framing",
        "_headers",
        "body",
        "first_byte_at",
        "gone_at",
        "head",
        "keep_alive",
        "method",
        "on_gone",
        "received_at",
        "target",
    )

    def __init__(
        self, connection: "Connection", head: bytes, body: bytes, *, keep_alive: bool
    ) -> None:
        method, _, rest = head.partition(b" ")
        self.method = method.decode("latin-1")
        self.target = rest.partition(b" ")[0].decode("latin-1")
        self.head = head
        self.body = body
        self.keep_alive = keep_alive
        self.received_at = time.monotonic()
        self.first_byte_at: float | None = None
        self.gone_at: float | None = None
        self.on_gone: Callable[[], object] | None = None
        self._connection = connection
        self._framing: Framing = "length"
        self._headers: dict[str, str] | None = None

    @property
    def headers(self) -> dict[str, str]:
        """Request headers by lower-case name; the last of a repeated header counts."""
        if self._headers is None:
            lines = self.head.decode("latin-1").split("\r\n")[1:]
            pairs = (line.partition(":") for line in lines if line)
            self._headers = {name.strip().lower(): value.strip() for name, _, value in pairs}
        return self._headers

    def send(self, status: int, headers: dict[str, str], body: bytes) -> None:
        """A whole response with its length; ends the exchange."""
        self.begin(status, headers, "length", length=len(body))
        self.write_raw(body)
        self.end()

    def begin(
        self, status: int, headers: dict[str, str], framing: Framing, *, length: int = 0
    ) -> None:
        """Status line and headers. `length` counts only for the framing of that name."""
        self._framing = framing
        lines = [f"HTTP/1.1 {status} {_reason(status)}"]
        lines += [f"{name}: {value}" for name, value in headers.items()]
        if framing == "length":
            lines.append(f"content-length: {length}")
        elif framing == "chunked":
            lines.append("transfer-encoding: chunked")
        else:
            self.keep_alive = False
        if not self.keep_alive:
            lines.append("connection: close")
        self.write_raw("\r\n".join([*lines, "", ""]).encode("latin-1"))

    def write(self, data: bytes) -> None:
        """Body bytes in the framing given to `begin`; each call is one HTTP chunk."""
        if self._framing == "chunked":
            data = b"%x\r\n%b\r\n" % (len(data), data)
        self.write_raw(data)

    def write_raw(self, data: bytes) -> None:
        """Bytes as they are, outside any framing."""
        if self.first_byte_at is None:
            self.first_byte_at = time.monotonic()
        self._connection.write(data)

    def end(self) -> None:
        """The response is complete: last chunk if chunked, then keep-alive or close."""
        if self._framing == "chunked":
            self.write_raw(b"0\r\n\r\n")
        self._connection.finish(self)

    def close(self) -> None:
        """FIN, whatever was promised before."""
        self._connection.close()

    def reset(self) -> None:
        """RST instead of FIN: the peer sees `Connection reset by peer`."""
        self._connection.reset()

    def reset_next(self) -> None:
        """Reset the connection when its next request arrives, before any byte of an answer."""
        self._connection.is_stale = True

    async def drain(self) -> None:
        """Wait until the peer has read enough that more may be written."""
        await self._connection.drain()


class Connection(asyncio.Protocol):
    """The protocol object of one accepted socket."""

    def __init__(
        self, on_request: Callable[[Exchange], object], registry: "set[Connection]"
    ) -> None:
        self.is_stale = False
        self.lost: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.exchange: Exchange | None = None
        self._on_request = on_request
        self._registry = registry
        self._transport: asyncio.Transport | None = None
        self._buffer = bytearray()
        self._head: bytes | None = None
        self._chunks: _Chunks | None = None
        self._writable: asyncio.Future[None] | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)
        self._transport.set_write_buffer_limits(high=WRITE_BUFFER_BYTES)
        self._registry.add(self)

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002 -- asyncio gives it
        self._registry.discard(self)
        self._transport = None
        self.resume_writing()
        self._mark_gone()
        if not self.lost.done():
            self.lost.set_result(None)

    def eof_received(self) -> None:
        # A peer that half-closes has stopped asking; like most servers, we take it as gone.
        self._mark_gone()
        if self._transport is not None and self.exchange is not None:
            self._transport.abort()

    def data_received(self, data: bytes) -> None:
        self._buffer += data
        if self.exchange is None:
            self._advance()
        elif len(self._buffer) > MAX_BODY_BYTES:
            self.reset()

    def pause_writing(self) -> None:
        self._writable = asyncio.get_running_loop().create_future()

    def resume_writing(self) -> None:
        waiting, self._writable = self._writable, None
        if waiting is not None and not waiting.done():
            waiting.set_result(None)

    async def drain(self) -> None:
        if self._writable is not None:
            await self._writable

    def write(self, data: bytes) -> None:
        if self._transport is not None:
            self._transport.write(data)

    def finish(self, exchange: Exchange) -> None:
        if self.exchange is not exchange:
            return
        self.exchange = None
        if not exchange.keep_alive:
            self.close()
        elif self._buffer:
            # Through the loop rather than by recursion: a pipelining peer sends many at once.
            asyncio.get_running_loop().call_soon(self._advance)

    def close(self) -> None:
        self.exchange = None
        if self._transport is not None:
            self._transport.close()

    def abort(self) -> None:
        if self._transport is not None:
            self._transport.abort()

    def reset(self) -> None:
        self.exchange = None
        if self._transport is None:
            return
        sock = cast(socket.socket, self._transport.get_extra_info("socket"))
        # Zero linger makes the kernel answer close() with RST.
        with contextlib.suppress(OSError):
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self._transport.abort()

    def _mark_gone(self) -> None:
        exchange = self.exchange
        if exchange is None or exchange.gone_at is not None:
            return
        exchange.gone_at = time.monotonic()
        if exchange.on_gone is not None:
            exchange.on_gone()

    def _advance(self) -> None:
        if self.exchange is not None or self._transport is None:
            return
        if self._head is None and not self._take_head():
            return
        head = self._head
        body = self._take_body() if head is not None else None
        if head is None or body is None:
            return
        self._head = None
        if self.is_stale:
            self.reset()
            return
        is_old = head.partition(b"\r\n")[0].endswith(b"HTTP/1.0")
        keep_alive = not is_old and _CLOSE.search(head) is None
        exchange = Exchange(self, head, body, keep_alive=keep_alive)
        self.exchange = exchange
        self._on_request(exchange)

    def _take_head(self) -> bool:
        end = self._buffer.find(b"\r\n\r\n")
        if end < 0:
            if len(self._buffer) > MAX_HEAD_BYTES:
                self._refuse(431)
            return False
        head = bytes(self._buffer[:end])
        del self._buffer[: end + 4]
        if not _REQUEST_LINE.match(head):
            self._refuse(400)
            return False
        self._head = head
        self._chunks = _Chunks() if _CHUNKED.search(head) else None
        if _EXPECT.search(head):
            self.write(b"HTTP/1.1 100 Continue\r\n\r\n")
        return True

    def _take_body(self) -> bytes | None:
        if self._chunks is not None:
            try:
                body = self._chunks.feed(self._buffer)
            except ValueError:
                self._refuse(400)
                return None
            if self._chunks.size > MAX_BODY_BYTES:
                self._refuse(413)
                return None
            return body
        found = _CONTENT_LENGTH.search(self._head or b"")
        length = int(found[1]) if found else 0
        if length > MAX_BODY_BYTES:
            self._refuse(413)
            return None
        if len(self._buffer) < length:
            return None
        body = bytes(self._buffer[:length])
        del self._buffer[:length]
        return body

    def _refuse(self, status: int) -> None:
        line = f"HTTP/1.1 {status} {_reason(status)}\r\n"
        self.write(f"{line}content-length: 0\r\nconnection: close\r\n\r\n".encode())
        self.close()


class _Chunks:
    """A chunked body while it arrives."""

    def __init__(self) -> None:
        self.size = 0
        self._parts: list[bytes] = []
        self._is_last = False

    def feed(self, buffer: bytearray) -> bytes | None:
        """Take whole chunks off the buffer; the body once complete, None before.

        Raises ValueError when the framing is wrong.
        """
        while (end := buffer.find(b"\r\n")) >= 0:
            if self._is_last:
                # Trailer lines, ended by an empty one.
                del buffer[: end + 2]
                if end == 0:
                    return b"".join(self._parts)
                continue
            size = int(buffer[:end].partition(b";")[0], 16)
            if size == 0:
                self._is_last = True
                del buffer[: end + 2]
                continue
            if len(buffer) < end + 2 + size + 2:
                # Counted before it is here, so that an endless chunk is refused at once.
                if self.size + size > MAX_BODY_BYTES:
                    self.size += size
                return None
            self._parts.append(bytes(buffer[end + 2 : end + 2 + size]))
            self.size += size
            del buffer[: end + 2 + size + 2]
        return None


def _reason(status: int) -> str:
    try:
        return HTTPStatus(status).phrase
    except ValueError:
        # 529 and the like are in no registry.
        return "Unregistered"
