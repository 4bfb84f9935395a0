"""Pictures and files named by their address, fetched for endpoints that take data only."""

import base64
import json
from collections.abc import AsyncGenerator, Awaitable, Callable
from typing import Any

import pytest

from gateway.chat.decode import decode_chat_request
from gateway.chat.dialects import Dialect
from gateway.chat.request import ChatRequest
from gateway.domain.outcomes import Outcome
from gateway.execution.egress import make_policy, origin_of
from gateway.execution.media import MediaFetcher, kind_of
from gateway.execution.transport import AiohttpTransport
from gateway.providers.base import FaultError
from tests.execution.raw_server import Peer, RawServer, serve, transport_to

pytestmark = pytest.mark.anyio

PNG = b"\x89PNG\r\n\x1a\n" + b"p" * 40


def answer(body: bytes, *more: str, status: str = "200 OK") -> bytes:
    head = [f"HTTP/1.1 {status}", f"Content-Length: {len(body)}", *more]
    return "\r\n".join(head).encode() + b"\r\n\r\n" + body


def saying(*answers: bytes) -> Callable[[Peer], Awaitable[None]]:
    left = list(answers)

    async def script(peer: Peer) -> None:
        while await peer.read_request():
            await peer.say(left.pop(0))

    return script


def asking(*parts: dict[str, Any]) -> ChatRequest:
    body = {"model": "m", "messages": [{"role": "user", "content": list(parts)}]}
    return decode_chat_request(json.dumps(body).encode(), dialect=Dialect.OPENAI)


def picture(server: RawServer, path: str = "/a.png") -> dict[str, Any]:
    url = str(server.url.copy_with(path=path))
    return {"type": "image_url", "image_url": {"url": url, "detail": "low"}}


def parts_of(request: ChatRequest) -> list[dict[str, Any]]:
    return json.loads(bytes(request.body["messages"]))[0]["content"]


def own(server: RawServer) -> frozenset[tuple[str, int]]:
    return frozenset({origin_of(server.url)})


async def fetched(server: RawServer, request: ChatRequest, **limits: Any) -> ChatRequest:
    async with transport_to(server) as transport:
        return await MediaFetcher(transport, private_origins=own(server), **limits).inline(request)


async def refused(server: RawServer, request: ChatRequest, **limits: Any) -> str:
    with pytest.raises(FaultError) as caught:
        await fetched(server, request, **limits)
    assert caught.value.fault.outcome is Outcome.INVALID_REQUEST
    return caught.value.fault.message


async def test_an_address_becomes_the_data_with_the_kind_its_bytes_prove() -> None:
    text = {"type": "text", "text": "What is it? https://example.com"}
    async with serve(saying(answer(PNG, "Content-Type: text/html"))) as server:
        request = await fetched(server, asking(text, picture(server)))

    said, image = parts_of(request)
    assert said == text
    assert image["image_url"] == {
        "url": "data:image/png;base64," + base64.b64encode(PNG).decode(),
        "detail": "low",
    }


async def test_a_file_is_fetched_like_a_picture() -> None:
    async with serve(saying(answer(b"%PDF-1.7 x"))) as server:
        url = str(server.url.copy_with(path="/a.pdf"))
        file = {"type": "file", "file": {"filename": "a.pdf", "file_data": url}}
        (part,) = parts_of(await fetched(server, asking(file)))

    assert part["file"]["file_data"].startswith("data:application/pdf;base64,")


async def test_data_is_left_as_it_is() -> None:
    request = asking({"type": "image_url", "image_url": {"url": "data:image/png;base64,QUJD"}})
    transport = AiohttpTransport(policy=make_policy())

    assert await MediaFetcher(transport).inline(request) is request
    await transport.aclose()


async def test_a_redirect_is_followed_and_checked_anew() -> None:
    there = answer(b"", "Location: /b.png", status="302 Found")
    async with serve(saying(there, answer(PNG))) as server:
        (image,) = parts_of(await fetched(server, asking(picture(server))))
        assert image["image_url"]["url"].startswith("data:image/png")

    away = answer(b"", "Location: file:///etc/passwd", status="302 Found")
    async with serve(saying(away)) as server:
        assert "must begin with" in await refused(server, asking(picture(server)))

    round_and_round = [there] * 4
    async with serve(saying(*round_and_round)) as server:
        assert "more than 3 times" in await refused(server, asking(picture(server)))


@pytest.mark.parametrize(
    ("said", "why"),
    [
        (answer(b"<html>"), "neither an image"),
        (answer(PNG, status="404 Not Found"), "status 404"),
        (answer(PNG * 10), "too large"),
        (answer(PNG)[:-5], "broke off"),
    ],
)
async def test_what_is_no_picture_is_refused_by_its_place(said: bytes, why: str) -> None:
    async def script(peer: Peer) -> None:
        await peer.read_request()
        await peer.say(said)

    async with serve(script) as server:
        message = await refused(server, asking(picture(server)), max_bytes=100)

    assert why in message
    assert "messages.0.content.0" in message


async def test_silence_ends_within_the_limit() -> None:
    async def script(peer: Peer) -> None:
        await peer.wait_closed_by_client()

    async with serve(script) as server:
        assert "within 0.1 s" in await refused(server, asking(picture(server)), within_s=0.1)


async def test_private_addresses_are_never_asked() -> None:
    async with serve(saying(answer(PNG))) as server:
        transport = AiohttpTransport(policy=make_policy())
        with pytest.raises(FaultError) as caught:
            await MediaFetcher(transport, private_origins=own(server)).inline(
                asking(picture(server))
            )
        await transport.aclose()

    assert "may not be" in caught.value.fault.message
    assert not server.peers


@pytest.fixture
async def guarded() -> AsyncGenerator[MediaFetcher]:
    transport = AiohttpTransport(policy=make_policy())
    yield MediaFetcher(transport)
    await transport.aclose()


@pytest.mark.parametrize(
    ("address", "why"),
    [
        ("http://example.com/a.png", "https://"),
        ("https://user:word@example.com/a.png", "user name"),
        ("https://127.0.0.1/a.png", "may not be"),
        ("https://[::1]/a.png", "may not be"),
        ("https://169.254.169.254/latest/meta-data", "may not be"),
    ],
)
async def test_addresses_are_checked_before_anything_is_sent(
    guarded: MediaFetcher, address: str, why: str
) -> None:
    request = asking({"type": "image_url", "image_url": {"url": address}})

    with pytest.raises(FaultError) as caught:
        await guarded.inline(request)

    assert why in caught.value.fault.message
    assert "word" not in caught.value.fault.message


async def test_too_many_addresses_are_refused(guarded: MediaFetcher) -> None:
    image = {"type": "image_url", "image_url": {"url": "https://example.com/a.png"}}

    with pytest.raises(FaultError, match="at most 16"):
        await guarded.inline(asking(*[image] * 17))


@pytest.mark.parametrize(
    ("part", "names"),
    [
        ({"type": "image_url", "image_url": {"url": "https://example.com/a.png"}}, True),
        ({"type": "image_url", "image_url": {"url": "data:image/png;base64,QUJD"}}, False),
        ({"type": "file", "file": {"file_data": "HTTP://example.com/a.pdf"}}, True),
        ({"type": "file", "file": {"file_data": "https://www.youtube.com/watch?v=a"}}, False),
        ({"type": "text", "text": '"https://example.com"'}, False),
    ],
)
def test_a_request_knows_whether_it_names_addresses(part: dict[str, Any], names: bool) -> None:
    assert asking(part).names_addresses is names


def test_kinds_are_told_by_the_first_bytes() -> None:
    assert kind_of(b"\xff\xd8\xff\xe0") == "image/jpeg"
    assert kind_of(b"GIF89a") == "image/gif"
    assert kind_of(b"RIFF0000WEBPVP8 ") == "image/webp"
    assert kind_of(b"GIF8") is None
    assert kind_of(b"") is None
