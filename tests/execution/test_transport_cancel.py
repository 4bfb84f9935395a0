"""A caller who hangs up stops the spending: cancelling closes the provider's connection at once."""

import asyncio
import ssl
import time
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Coroutine
from contextlib import suppress
from typing import Any, cast

import httpx
import pytest

from gateway.execution.egress import make_policy
from gateway.execution.transport import AiohttpTransport
from tests.execution.raw_server import (
    ANSWER,
    CHUNKED_HEAD,
    Peer,
    eventually,
    post,
    read,
    serve,
    tls_server,
    transport_to,
    trusting_context,
)

AT_ONCE_S = 0.1

pytestmark = pytest.mark.anyio

Start = Callable[[asyncio.Event], Coroutine[Any, Any, None]]
Contexts = tuple[ssl.SSLContext | None, ssl.SSLContext | None]


@pytest.fixture(params=[False, True], ids=["asyncio", "uvloop"])
def anyio_backend(request: pytest.FixtureRequest) -> tuple[str, dict[str, bool]]:
    return "asyncio", {"use_uvloop": request.param}


@pytest.fixture(params=[False, True], ids=["http", "https"])
def contexts(request: pytest.FixtureRequest) -> Contexts:
    """The server's TLS context and the client's."""
    return (tls_server("valid.pem"), trusting_context()) if request.param else (None, None)


async def hang(peer: Peer) -> None:
    """Take a request and never answer."""
    await peer.read_request()
    await peer.wait_closed_by_client()


async def stream_and_hang(peer: Peer) -> None:
    """Begin to answer, then be silent."""
    await peer.read_request()
    await peer.say(CHUNKED_HEAD)
    await peer.say_chunk(b"data: 1\n\n")
    await peer.wait_closed_by_client()


def chunks_of(response: httpx.Response) -> AsyncIterator[bytes]:
    assert isinstance(response.stream, httpx.AsyncByteStream)
    return aiter(response.stream)


async def cancel(task: asyncio.Task[Any]) -> float:
    """Cancel, and say when."""
    cancelled_at = time.monotonic()
    task.cancel()
    with suppress(asyncio.CancelledError):
        await task
    return cancelled_at


async def test_cancelling_while_waiting_for_the_head_closes_at_once(contexts: Contexts) -> None:
    async with (
        serve(hang, tls=contexts[0]) as server,
        transport_to(server, contexts[1]) as transport,
    ):
        waiting = asyncio.create_task(transport.handle_async_request(post(server.url)))
        await eventually(lambda: bool(server.peers) and server.peers[0].has_request)

        cancelled_at = await cancel(waiting)

        await eventually(lambda: server.peers[0].closed_at is not None)
        assert server.peers[0].closed_after_s(cancelled_at) < AT_ONCE_S
        assert transport.stats.in_flight == 0


async def test_cancelling_while_reading_the_body_closes_at_once(contexts: Contexts) -> None:
    async with (
        serve(stream_and_hang, tls=contexts[0]) as server,
        transport_to(server, contexts[1]) as transport,
    ):
        response = await transport.handle_async_request(post(server.url))
        reading = asyncio.create_task(read(response))
        await asyncio.sleep(0.02)

        cancelled_at = await cancel(reading)

        await eventually(lambda: server.peers[0].closed_at is not None)
        assert server.peers[0].closed_after_s(cancelled_at) < AT_ONCE_S
        assert transport.stats.in_flight == 0


async def test_closing_an_unfinished_body_closes_at_once(contexts: Contexts) -> None:
    async with (
        serve(stream_and_hang, tls=contexts[0]) as server,
        transport_to(server, contexts[1]) as transport,
    ):
        response = await transport.handle_async_request(post(server.url))
        assert await anext(chunks_of(response)) == b"data: 1\n\n"

        closed_at = time.monotonic()
        await response.aclose()

        await eventually(lambda: server.peers[0].closed_at is not None)
        assert server.peers[0].closed_after_s(closed_at) < AT_ONCE_S
        assert transport.stats.in_flight == 0


async def test_closing_from_elsewhere_wakes_the_reader() -> None:
    async with serve(stream_and_hang) as server, transport_to(server) as transport:
        response = await transport.handle_async_request(post(server.url))
        reading = asyncio.create_task(read(response))
        await asyncio.sleep(0.02)

        await response.aclose()

        with pytest.raises(httpx.TransportError):
            await asyncio.wait_for(reading, 1)


async def test_closing_the_transport_ends_what_is_under_way() -> None:
    async with serve(stream_and_hang) as server, transport_to(server) as transport:
        response = await transport.handle_async_request(post(server.url))
        reading = asyncio.create_task(read(response))
        await asyncio.sleep(0.02)

        await transport.aclose()

        with pytest.raises(httpx.TransportError):
            await asyncio.wait_for(reading, 1)
        with pytest.raises(httpx.ConnectError):
            await transport.handle_async_request(post(server.url))
        await eventually(lambda: server.peers[0].closed_at is not None)


async def test_closing_a_finished_body_keeps_the_connection() -> None:
    async def script(peer: Peer) -> None:
        while await peer.read_request():
            await peer.say(ANSWER)

    async with serve(script) as server, transport_to(server) as transport:
        for _ in range(3):
            response = await transport.handle_async_request(post(server.url))
            await read(response)
            await response.aclose()

        assert len(server.peers) == 1


async def test_cancelling_a_stream_that_never_pauses_closes_at_once(contexts: Contexts) -> None:
    async def script(peer: Peer) -> None:
        await peer.read_request()
        await peer.say(CHUNKED_HEAD)
        try:
            while True:
                await peer.say_chunk(b"x" * 50_000)
        finally:
            peer.closed_at = time.monotonic()

    async with (
        serve(script, tls=contexts[0]) as server,
        transport_to(server, contexts[1]) as transport,
    ):
        response = await transport.handle_async_request(post(server.url))
        # Not read: the peer writes until every buffer on the way is full.
        await asyncio.sleep(0.1)

        closed_at = time.monotonic()
        await response.aclose()

        await eventually(lambda: server.peers[0].closed_at is not None)
        assert server.peers[0].closed_after_s(closed_at) < AT_ONCE_S


async def test_cancelling_a_large_upload_closes_at_once() -> None:
    async def script(peer: Peer) -> None:
        await peer.read_head()
        await asyncio.sleep(0.1)
        await peer.wait_closed_by_client()

    async with serve(script) as server, transport_to(server) as transport:
        sending = asyncio.create_task(
            transport.handle_async_request(post(server.url, b"x" * 20_000_000))
        )
        await asyncio.sleep(0.05)

        cancelled_at = await cancel(sending)

        await eventually(lambda: server.peers[0].closed_at is not None)
        assert server.peers[0].closed_after_s(cancelled_at) < AT_ONCE_S + 0.1
        assert transport.stats.in_flight == 0


async def test_cancelling_a_tls_handshake_closes_at_once() -> None:
    async with serve(hang_silently) as server, transport_to(server) as transport:
        url = server.url.copy_with(scheme="https")
        waiting = asyncio.create_task(transport.handle_async_request(post(url)))
        await eventually(lambda: bool(server.peers))
        await asyncio.sleep(0.02)

        cancelled_at = await cancel(waiting)

        await eventually(lambda: server.peers[0].closed_at is not None)
        assert server.peers[0].closed_after_s(cancelled_at) < AT_ONCE_S


async def hang_silently(peer: Peer) -> None:
    await peer.wait_closed_by_client()


class CannedServer(asyncio.Protocol):
    """Answers, hangs, or begins a stream, as the path says; counts its connections."""

    open_connections = 0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)
        CannedServer.open_connections += 1

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002 (asyncio calls it)
        CannedServer.open_connections -= 1

    def data_received(self, data: bytes) -> None:
        if data.startswith(b"POST /stream"):
            self._transport.write(CHUNKED_HEAD + b"5\r\nhello\r\n")
        elif data.startswith(b"POST /answer"):
            self._transport.write(ANSWER)


@pytest.fixture
async def canned() -> AsyncGenerator[tuple[httpx.URL, AiohttpTransport]]:
    """A canned server's address, and a transport that may go there."""
    loop = asyncio.get_running_loop()
    listener = await loop.create_server(CannedServer, "127.0.0.1", 0, backlog=512)
    base = httpx.URL(f"http://127.0.0.1:{listener.sockets[0].getsockname()[1]}/")
    transport = AiohttpTransport(policy=make_policy([str(base)]))
    yield base, transport
    await transport.aclose()
    listener.close()


async def test_pool_is_healthy_after_five_thousand_cancellations(
    canned: tuple[httpx.URL, AiohttpTransport],
) -> None:
    base, transport = canned

    async def wait_for_head(has_begun: asyncio.Event) -> None:
        has_begun.set()
        await transport.handle_async_request(post(base.join("/hang")))

    async def read_stream(has_begun: asyncio.Event) -> None:
        response = await transport.handle_async_request(post(base.join("/stream")))
        async for _ in chunks_of(response):
            has_begun.set()

    async def answer() -> bytes:
        return await read(await transport.handle_async_request(post(base.join("/answer"))))

    async def cancel_after(start: Start, ticks: int) -> None:
        has_begun = asyncio.Event()
        task = asyncio.create_task(start(has_begun))
        task.add_done_callback(lambda _: has_begun.set())
        await has_begun.wait()
        for _ in range(ticks):
            await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    for round_number in range(100):
        await asyncio.gather(
            # Few ticks meet a request that is still connecting, many one that waits for its head.
            *(cancel_after(wait_for_head, ticks) for ticks in range(25)),
            *(cancel_after(read_stream, ticks) for ticks in range(25)),
            *((answer(),) if round_number % 10 == 0 else ()),
        )

    assert await asyncio.gather(*(answer() for _ in range(50))) == [b"{}"] * 50
    assert transport.stats.in_flight == 0
    await eventually(lambda: transport.stats.open_connections <= 50)
    await eventually(lambda: CannedServer.open_connections == transport.stats.open_connections)
    await transport.aclose()
    await eventually(lambda: CannedServer.open_connections == 0)
