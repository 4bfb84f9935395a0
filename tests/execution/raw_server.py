"""A TCP server that says exactly the bytes a test gives it, and a transport that may reach it."""

import asyncio
import socket
import ssl
import struct
import time
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import httpx

from gateway.execution.egress import EgressPolicy
from gateway.execution.transport import AiohttpTransport, make_ssl_context

Script = Callable[["Peer"], Awaitable[None]]

CERTIFICATES = Path(__file__).parent / "certificates"

ANSWER = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 2\r\n\r\n{}"
CHUNKED_HEAD = (
    b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n"
)


class Peer:
    """The server's side of one connection."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer
        self.has_request = False
        self.closed_at: float | None = None

    async def read_request(self) -> bytes:
        """Head and body of the next request; empty once the client has gone."""
        try:
            head = await self._reader.readuntil(b"\r\n\r\n")
        except (asyncio.IncompleteReadError, ConnectionError):
            return b""
        length = 0
        for line in head.split(b"\r\n"):
            name, _, value = line.partition(b":")
            if name.lower() == b"content-length":
                length = int(value)
        body = await self._reader.readexactly(length)
        self.has_request = True
        return head + body

    async def read_head(self) -> None:
        """The next request up to its body."""
        await self._reader.readuntil(b"\r\n\r\n")

    async def say(self, data: bytes) -> None:
        self._writer.write(data)
        await self._writer.drain()

    async def say_chunk(self, data: bytes) -> None:
        await self.say(b"%x\r\n%b\r\n" % (len(data), data))

    async def wait_closed_by_client(self) -> None:
        """Return when the client has closed, and remember when that was."""
        try:
            while await self._reader.read(65_536):
                pass
        except ConnectionError:
            pass
        self.closed_at = time.monotonic()

    def closed_after_s(self, since: float) -> float:
        """Seconds of the monotonic clock between an instant and the client's closing."""
        assert self.closed_at is not None, "the client has not closed"
        return self.closed_at - since

    def reset(self) -> None:
        """End the connection with a TCP reset."""
        connection = self._writer.get_extra_info("socket")
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self._writer.transport.abort()

    def close(self) -> None:
        self._writer.close()


class RawServer:
    """Where it listens, and who came."""

    def __init__(self, port: int, scheme: str) -> None:
        self.port = port
        self.url = httpx.URL(f"{scheme}://localhost:{port}/v1/chat/completions")
        self.peers: list[Peer] = []
        self.requests: list[bytes] = []


@asynccontextmanager
async def serve(script: Script, *, tls: ssl.SSLContext | None = None) -> AsyncGenerator[RawServer]:
    """Listen on a free loopback port and run the script for each connection."""
    running: set[asyncio.Task[None]] = set()

    async def on_connection(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        if task is not None:
            running.add(task)
            task.add_done_callback(running.discard)
        peer = Peer(reader, writer)
        server.peers.append(peer)
        try:
            await script(peer)
        except ConnectionError:
            pass
        finally:
            writer.close()

    listener = await asyncio.start_server(on_connection, "127.0.0.1", 0, ssl=tls)
    server = RawServer(listener.sockets[0].getsockname()[1], "https" if tls else "http")
    try:
        yield server
    finally:
        listener.close()
        for task in list(running):
            task.cancel()
        await asyncio.gather(*running, return_exceptions=True)


@asynccontextmanager
async def transport_to(
    server: RawServer, ssl_context: ssl.SSLContext | None = None
) -> AsyncGenerator[AiohttpTransport]:
    policy = EgressPolicy(allowed_origins=frozenset({("localhost", server.port)}))
    transport = AiohttpTransport(policy=policy, ssl_context=ssl_context)
    try:
        yield transport
    finally:
        await transport.aclose()


def tls_server(certificate: str) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(CERTIFICATES / certificate)
    return context


def trusting_context() -> ssl.SSLContext:
    context = make_ssl_context()
    context.load_verify_locations(CERTIFICATES / "ca.pem")
    return context


async def eventually(is_so: Callable[[], bool], within_s: float = 5.0) -> None:
    """Wait until the condition holds; fail when it does not in time."""
    deadline = time.monotonic() + within_s
    while not is_so():
        assert time.monotonic() < deadline, "it did not happen in time"
        await asyncio.sleep(0.002)


def post(url: httpx.URL, body: bytes = b'{"model":"m"}', **timeouts: float) -> httpx.Request:
    return httpx.Request("POST", url, content=body, extensions={"timeout": timeouts})


async def read(response: httpx.Response) -> bytes:
    assert isinstance(response.stream, httpx.AsyncByteStream)
    return b"".join([chunk async for chunk in response.stream])
