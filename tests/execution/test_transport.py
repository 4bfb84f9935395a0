"""What the transport sends, what it hands back, and which failures have which name."""

import asyncio
import socket
import ssl
from collections.abc import AsyncIterator

import httpx
import pytest

from gateway.execution.egress import EgressPolicy
from gateway.execution.transport import (
    AiohttpTransport,
    EgressRefusedError,
    StaleConnectionError,
    TlsError,
)
from tests.execution.raw_server import (
    ANSWER,
    CHUNKED_HEAD,
    Peer,
    Script,
    eventually,
    post,
    read,
    serve,
    tls_server,
    transport_to,
    trusting_context,
)

pytestmark = pytest.mark.anyio


@pytest.fixture(params=[False, True], ids=["asyncio", "uvloop"])
def anyio_backend(request: pytest.FixtureRequest) -> tuple[str, dict[str, bool]]:
    return "asyncio", {"use_uvloop": request.param}


async def answer_all(peer: Peer) -> None:
    while await peer.read_request():
        await peer.say(ANSWER)


def say_once(*pieces: bytes, reset: bool = False) -> Script:
    async def script(peer: Peer) -> None:
        await peer.read_request()
        for piece in pieces:
            await peer.say(piece)
            await asyncio.sleep(0.01)
        if reset:
            peer.reset()

    return script


async def test_request_is_sent_as_given_and_nothing_is_added() -> None:
    seen: list[bytes] = []

    async def script(peer: Peer) -> None:
        seen.append(await peer.read_request())
        await peer.say(ANSWER)

    async with serve(script) as server, transport_to(server) as transport:
        request = httpx.Request(
            "POST",
            server.url,
            headers=[("X-One", "1"), ("accept-encoding", "identity"), ("x-one", "2")],
            content=b"body",
        )
        response = await transport.handle_async_request(request)
        body = await read(response)

    assert body == b"{}"
    assert response.status_code == 200
    assert response.headers["content-type"] == "application/json"
    head, _, sent = seen[0].partition(b"\r\n\r\n")
    assert sent == b"body"
    assert sorted(head.split(b"\r\n")) == sorted(
        [
            b"POST /v1/chat/completions HTTP/1.1",
            b"Host: localhost:%d" % server.port,
            b"X-One: 1",
            b"accept-encoding: identity",
            b"x-one: 2",
            b"Content-Length: 4",
        ]
    )


async def test_connection_is_kept_for_the_next_request() -> None:
    async with serve(answer_all) as server, transport_to(server) as transport:
        first = await transport.handle_async_request(post(server.url))
        await read(first)
        second = await transport.handle_async_request(post(server.url))
        await read(second)

        assert len(server.peers) == 1
        assert first.extensions["is_reused_connection"] is False
        assert second.extensions["is_reused_connection"] is True
        assert transport.stats.open_connections == 1
        assert transport.stats.in_flight == 0


async def test_idle_connection_is_not_used_after_its_time() -> None:
    async with serve(answer_all) as server:
        policy = EgressPolicy(allowed_origins=frozenset({("localhost", server.port)}))
        transport = AiohttpTransport(policy=policy, keepalive_s=0.05)
        await read(await transport.handle_async_request(post(server.url)))
        await asyncio.sleep(0.1)
        response = await transport.handle_async_request(post(server.url))
        await read(response)

        assert response.extensions["is_reused_connection"] is False
        await transport.aclose()


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
async def test_redirect_is_an_answer_like_any_other(status: int) -> None:
    answer = b"HTTP/1.1 %d Moved\r\nLocation: http://169.254.169.254/\r\nContent-Length: 0\r\n\r\n"
    async with (
        serve(say_once(answer % status)) as server,
        transport_to(server) as transport,
    ):
        response = await transport.handle_async_request(post(server.url))

        assert response.status_code == status
        assert response.headers["location"] == "http://169.254.169.254/"
        assert await read(response) == b""


async def test_informational_answers_are_skipped() -> None:
    early = b"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\nHTTP/1.1 100 Continue\r\n\r\n"
    async with serve(say_once(early, ANSWER)) as server, transport_to(server) as transport:
        response = await transport.handle_async_request(post(server.url))

        assert response.status_code == 200
        assert await read(response) == b"{}"


async def test_cookies_are_not_sent_back() -> None:
    seen: list[bytes] = []

    async def script(peer: Peer) -> None:
        while request := await peer.read_request():
            seen.append(request)
            await peer.say(ANSWER.replace(b"\r\n\r\n", b"\r\nSet-Cookie: a=b\r\n\r\n"))

    async with serve(script) as server, transport_to(server) as transport:
        for _ in range(2):
            await read(await transport.handle_async_request(post(server.url)))

    assert len(seen) == 2
    assert not any(b"cookie" in request.lower() for request in seen)


async def test_proxies_of_the_environment_are_ignored(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("http_proxy", "HTTP_PROXY", "https_proxy", "HTTPS_PROXY", "all_proxy"):
        monkeypatch.setenv(name, "http://127.0.0.1:1")
    async with serve(answer_all) as server, transport_to(server) as transport:
        response = await transport.handle_async_request(post(server.url))

        assert await read(response) == b"{}"


async def test_compressed_body_is_handed_over_as_it_came() -> None:
    answer = b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: 3\r\n\r\n\x1f\x8b\x08"
    async with serve(say_once(answer)) as server, transport_to(server) as transport:
        response = await transport.handle_async_request(post(server.url))

        assert await read(response) == b"\x1f\x8b\x08"


async def test_stream_yields_bytes_as_they_arrive() -> None:
    may_go_on = asyncio.Event()

    async def script(peer: Peer) -> None:
        await peer.read_request()
        await peer.say(CHUNKED_HEAD)
        await peer.say_chunk(b"data: 1\n\n")
        await may_go_on.wait()
        await peer.say_chunk(b"data: 2\n\n")
        await peer.say(b"0\r\n\r\n")

    async with serve(script) as server, transport_to(server) as transport:
        response = await transport.handle_async_request(post(server.url))
        assert isinstance(response.stream, httpx.AsyncByteStream)
        chunks = aiter(response.stream)

        assert await anext(chunks) == b"data: 1\n\n"
        may_go_on.set()
        assert await anext(chunks) == b"data: 2\n\n"
        with pytest.raises(StopAsyncIteration):
            await anext(chunks)
        assert transport.stats.in_flight == 0


async def test_two_hundred_streams_at_once() -> None:
    async def script(peer: Peer) -> None:
        await peer.read_request()
        await peer.say(CHUNKED_HEAD)
        for number in range(10):
            await peer.say_chunk(b"data: %d\n\n" % number)
            await asyncio.sleep(0.005)
        await peer.say(b"0\r\n\r\n")
        await peer.wait_closed_by_client()

    async with serve(script) as server, transport_to(server) as transport:

        async def one() -> bytes:
            return await read(await transport.handle_async_request(post(server.url)))

        bodies = await asyncio.gather(*(one() for _ in range(200)))

        assert set(bodies) == {b"".join(b"data: %d\n\n" % number for number in range(10))}
        assert transport.stats.in_flight == 0


@pytest.mark.parametrize("size", [262_144, 262_145, 8_000_000])
async def test_large_body_arrives_whole(size: int) -> None:
    body = bytes(range(256)) * (size // 256) + b"x" * (size % 256)
    seen: list[bytes] = []

    async def script(peer: Peer) -> None:
        while request := await peer.read_request():
            seen.append(request.partition(b"\r\n\r\n")[2])
            await peer.say(ANSWER)

    async with serve(script) as server, transport_to(server) as transport:
        for _ in range(2):
            await read(await transport.handle_async_request(post(server.url, body)))

        assert seen == [body, body]
        assert len(server.peers) == 1


async def test_body_refused_halfway_still_gives_the_answer() -> None:
    answer = b"HTTP/1.1 413 Too Large\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"

    async def script(peer: Peer) -> None:
        await peer.read_head()
        await peer.say(answer)
        await peer.wait_closed_by_client()

    async with serve(script) as server, transport_to(server) as transport:
        response = await transport.handle_async_request(post(server.url, b"x" * 30_000_000))

        assert response.status_code == 413
        assert await read(response) == b""
        await eventually(lambda: transport.stats.open_connections == 0)


async def test_body_that_is_streamed_in_gets_a_length() -> None:
    seen: list[bytes] = []

    async def script(peer: Peer) -> None:
        seen.append(await peer.read_request())
        await peer.say(ANSWER)

    async def pieces() -> AsyncIterator[bytes]:
        yield b"one "
        yield b"two"

    async with serve(script) as server, transport_to(server) as transport:
        request = httpx.Request("POST", server.url, content=pieces())
        await read(await transport.handle_async_request(request))

    assert b"Content-Length: 7\r\n" in seen[0]
    assert b"ransfer-" not in seen[0]
    assert seen[0].endswith(b"one two")


@pytest.mark.parametrize("value", ["a\r\nX-Evil: 1", "a\nb", "a\rb", "a\0b"])
async def test_header_that_would_start_another_line_is_refused(value: str) -> None:
    async with serve(answer_all) as server, transport_to(server) as transport:
        request = httpx.Request("POST", server.url, headers={"x-label": value})

        with pytest.raises(httpx.LocalProtocolError):
            await transport.handle_async_request(request)
        assert server.peers == []


@pytest.mark.parametrize("url", ["ftp://localhost/", "file:///etc/passwd", "unix:/run/x"])
async def test_other_schemes_are_refused(url: str) -> None:
    transport = AiohttpTransport()

    with pytest.raises(httpx.UnsupportedProtocol):
        await transport.handle_async_request(httpx.Request("POST", url))
    await transport.aclose()


async def test_httpx_client_works_over_it() -> None:
    async with (
        serve(answer_all) as server,
        transport_to(server) as transport,
        httpx.AsyncClient(transport=transport) as client,
    ):
        posted = await client.post(server.url, json={"model": "m"})
        got = await client.get(server.url)

        assert posted.json() == {}
        assert got.json() == {}
        assert len(server.peers) == 1


async def test_nobody_listening_is_a_connect_error() -> None:
    async with serve(answer_all) as server:
        pass
    async with transport_to(server) as transport:
        with pytest.raises(httpx.ConnectError) as caught:
            await transport.handle_async_request(post(server.url))

        assert type(caught.value) is httpx.ConnectError
        assert transport.stats.in_flight == 0


async def test_unknown_host_is_a_connect_error() -> None:
    transport = AiohttpTransport()

    with pytest.raises((httpx.ConnectError, httpx.ConnectTimeout)):
        await transport.handle_async_request(post(httpx.URL("http://nowhere.invalid/")))
    await transport.aclose()


async def test_peer_that_never_accepts_is_a_connect_timeout() -> None:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen(0)
        address = listener.getsockname()
        fillers = [socket.socket() for _ in range(3)]
        for filler in fillers:
            filler.setblocking(False)
            filler.connect_ex(address)
        policy = EgressPolicy(allowed_origins=frozenset({("127.0.0.1", address[1])}))
        transport = AiohttpTransport(policy=policy)
        loop = asyncio.get_running_loop()
        started = loop.time()

        with pytest.raises(httpx.ConnectTimeout):
            await transport.handle_async_request(
                post(httpx.URL(f"http://127.0.0.1:{address[1]}/"), connect=0.2)
            )

        assert loop.time() - started < 1
        await transport.aclose()
        for filler in fillers:
            filler.close()


@pytest.mark.parametrize(
    ("pieces", "error"),
    [
        pytest.param(
            (b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nshort",),
            httpx.RemoteProtocolError,
            id="short-content-length",
        ),
        pytest.param(
            (CHUNKED_HEAD, b"5\r\nhello\r\n"), httpx.RemoteProtocolError, id="no-last-chunk"
        ),
        pytest.param(
            (CHUNKED_HEAD, b"5\r\nhello\r\n", b"zz\r\n"),
            httpx.RemoteProtocolError,
            id="not-a-chunk",
        ),
    ],
)
async def test_truncated_or_malformed_body_is_an_error(
    pieces: tuple[bytes, ...], error: type[Exception]
) -> None:
    async with serve(say_once(*pieces)) as server, transport_to(server) as transport:
        response = await transport.handle_async_request(post(server.url))

        with pytest.raises(error):
            await asyncio.wait_for(read(response), 5)
        assert transport.stats.in_flight == 0


@pytest.mark.parametrize(
    "pieces",
    [
        pytest.param((CHUNKED_HEAD, b"5\r\nhello\r\n"), id="chunked"),
        pytest.param((b"HTTP/1.1 200 OK\r\n\r\nhello",), id="until-close"),
    ],
)
async def test_reset_in_the_body_is_a_read_error(pieces: tuple[bytes, ...]) -> None:
    async def script(peer: Peer) -> None:
        await peer.read_head()
        for piece in pieces:
            await peer.say(piece)
        await asyncio.sleep(0.05)
        peer.reset()

    async with serve(script) as server, transport_to(server) as transport:
        response = await transport.handle_async_request(post(server.url))

        with pytest.raises((httpx.ReadError, httpx.RemoteProtocolError)):
            await asyncio.wait_for(read(response), 5)


@pytest.mark.parametrize(
    "answer",
    [
        pytest.param(b"hello\r\n\r\n", id="not-http"),
        pytest.param(b"HTTP/1.1 200 OK\r\nX: " + b"a" * 70_000 + b"\r\n\r\n", id="huge-field"),
        pytest.param(
            b"HTTP/1.1 200 OK\r\n" + b"".join(b"X-%d: 1\r\n" % n for n in range(300)) + b"\r\n",
            id="many-fields",
        ),
        pytest.param(
            b"HTTP/1.1 200 OK\r\n"
            + b"".join(b"X-%d: %b\r\n" % (n, b"a" * 1_000) for n in range(200)),
            id="huge-head",
        ),
        pytest.param(
            b"HTTP/1.1 101 Switching\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n",
            id="switch-of-protocols",
        ),
        pytest.param(b"HTTP/1.1 20", id="head-cut-short"),
        pytest.param(b"", id="nothing"),
    ],
)
async def test_answer_that_is_no_response_is_a_protocol_error(answer: bytes) -> None:
    async with serve(say_once(answer)) as server, transport_to(server) as transport:
        with pytest.raises((httpx.RemoteProtocolError, httpx.ReadError)) as caught:
            await asyncio.wait_for(transport.handle_async_request(post(server.url)), 5)

        assert not isinstance(caught.value, StaleConnectionError)
        await eventually(lambda: transport.stats.open_connections == 0)


async def test_silence_beyond_the_read_timeout_is_named() -> None:
    async def script(peer: Peer) -> None:
        await peer.read_request()
        await peer.wait_closed_by_client()

    async with serve(script) as server, transport_to(server) as transport:
        with pytest.raises(httpx.ReadTimeout):
            await transport.handle_async_request(post(server.url, read=0.05))
        await eventually(lambda: server.peers[0].closed_at is not None)


@pytest.mark.parametrize("reset", [False, True], ids=["closed", "reset"])
async def test_reused_connection_that_ends_before_the_answer_is_told_apart(
    reset: bool,
) -> None:
    async def script(peer: Peer) -> None:
        await peer.read_request()
        await peer.say(ANSWER)
        await peer.read_request()
        if reset:
            peer.reset()

    async with serve(script) as server, transport_to(server) as transport:
        await read(await transport.handle_async_request(post(server.url)))

        with pytest.raises(StaleConnectionError) as caught:
            await transport.handle_async_request(post(server.url))
        assert caught.value.is_reused_connection is True
        assert len(server.peers) == 1, "nothing was sent again behind the caller's back"


async def test_reused_connection_that_ends_within_the_answer_is_not_called_stale() -> None:
    async def script(peer: Peer) -> None:
        await peer.read_request()
        await peer.say(ANSWER)
        await peer.read_request()
        await peer.say(b"HTTP/1.1 20")

    async with serve(script) as server, transport_to(server) as transport:
        await read(await transport.handle_async_request(post(server.url)))

        with pytest.raises(httpx.RemoteProtocolError):
            await transport.handle_async_request(post(server.url))


@pytest.mark.parametrize("method", ["POST", "GET", "PUT", "DELETE"])
async def test_new_connection_that_ends_without_an_answer_is_not_tried_again(method: str) -> None:
    async with serve(say_once()) as server, transport_to(server) as transport:
        with pytest.raises(httpx.RemoteProtocolError):
            await transport.handle_async_request(httpx.Request(method, server.url))

        assert len(server.peers) == 1


async def test_bytes_after_an_answer_never_answer_the_next_request() -> None:
    injected = ANSWER.replace(b"200 OK", b"299 Evil")
    may_speak = asyncio.Event()

    async def script(peer: Peer) -> None:
        await peer.read_request()
        if len(server.peers) == 1:
            await peer.say(ANSWER + injected)
        elif len(server.peers) == 2:
            await peer.say(ANSWER)
            await may_speak.wait()
            await peer.say(injected)
        else:
            await peer.say(ANSWER)
        await peer.wait_closed_by_client()

    async with serve(script) as server, transport_to(server) as transport:
        statuses: list[int] = []
        for _ in range(3):
            response = await transport.handle_async_request(post(server.url))
            statuses.append(response.status_code)
            await read(response)
            if len(server.peers) == 2:
                may_speak.set()
                await eventually(lambda: server.peers[1].closed_at is not None)

        assert statuses == [200, 200, 200]
        assert len(server.peers) == 3


async def test_tls_with_a_valid_certificate() -> None:
    async with (
        serve(answer_all, tls=tls_server("valid.pem")) as server,
        transport_to(server, trusting_context()) as transport,
    ):
        response = await transport.handle_async_request(post(server.url))

        assert await read(response) == b"{}"


@pytest.mark.parametrize("certificate", ["expired.pem", "other.pem"])
async def test_tls_with_a_wrong_certificate_is_a_tls_error(certificate: str) -> None:
    async with (
        serve(answer_all, tls=tls_server(certificate)) as server,
        transport_to(server, trusting_context()) as transport,
    ):
        with pytest.raises(TlsError):
            await transport.handle_async_request(post(server.url))


async def test_tls_with_an_unknown_authority_is_a_tls_error() -> None:
    async with (
        serve(answer_all, tls=tls_server("valid.pem")) as server,
        transport_to(server) as transport,
    ):
        with pytest.raises(TlsError):
            await transport.handle_async_request(post(server.url))


async def test_old_tls_is_a_tls_error() -> None:
    context = tls_server("valid.pem")
    context.set_ciphers("DEFAULT:@SECLEVEL=0")
    with pytest.warns(DeprecationWarning, match="TLSv1_1 is deprecated"):
        context.maximum_version = ssl.TLSVersion.TLSv1_1
    async with (
        serve(answer_all, tls=context) as server,
        transport_to(server, trusting_context()) as transport,
    ):
        with pytest.raises(TlsError):
            await transport.handle_async_request(post(server.url))


@pytest.mark.parametrize(
    "says", [b"HTTP/1.1 400 Bad Request\r\n\r\n", b""], ids=["http", "nothing"]
)
async def test_peer_without_tls_is_a_tls_error(says: bytes) -> None:
    async def script(peer: Peer) -> None:
        await peer.say(says)

    async with serve(script) as server, transport_to(server, trusting_context()) as transport:
        url = server.url.copy_with(scheme="https")

        with pytest.raises(TlsError):
            await transport.handle_async_request(post(url, connect=2.0))


@pytest.mark.parametrize(
    "host",
    ["127.0.0.1", "localhost", "127.1", "2130706433", "0x7f000001", "[::1]"],
)
async def test_private_address_needs_leave(host: str) -> None:
    async with serve(answer_all) as server:
        transport = AiohttpTransport()

        with pytest.raises(EgressRefusedError):
            await transport.handle_async_request(post(server.url.copy_with(host=host)))
        assert server.peers == []
        await transport.aclose()


async def test_name_with_a_final_dot_is_another_name() -> None:
    async with serve(answer_all) as server, transport_to(server) as transport:
        # Some systems resolve it (refused), others do not.
        with pytest.raises(httpx.ConnectError):
            await transport.handle_async_request(post(server.url.copy_with(host="localhost.")))
        assert server.peers == []


async def test_leave_is_for_one_host_and_port_and_can_be_withdrawn() -> None:
    async with serve(answer_all) as server, transport_to(server) as transport:
        await read(await transport.handle_async_request(post(server.url)))

        with pytest.raises(EgressRefusedError):
            await transport.handle_async_request(post(server.url.copy_with(host="127.0.0.1")))
        transport.policy = EgressPolicy()
        with pytest.raises(EgressRefusedError):
            await transport.handle_async_request(post(server.url))
        assert len(server.peers) == 1
