"""What is read of a request before anybody looks at it: headers and body, within their limits."""

import asyncio
from typing import Any

import pytest

from gateway.api.body import CallerGoneError, read_json_body
from gateway.api.headers import read_headers
from gateway.domain.errors import (
    InvalidRequestError,
    PayloadTooLargeError,
    UnsupportedMediaTypeError,
)

pytestmark = pytest.mark.anyio


def receiving(*messages: dict[str, Any] | None) -> Any:
    """The server's callable; None never comes."""
    waiting = list(messages)

    async def receive() -> dict[str, Any]:
        message = waiting.pop(0)
        if message is None:
            await asyncio.Event().wait()
        assert message is not None
        return message

    return receive


def part(body: bytes, *, more: bool = False) -> dict[str, Any]:
    return {"type": "http.request", "body": body, "more_body": more}


def test_names_are_lowered_and_the_first_of_repeated_headers_stands() -> None:
    headers = read_headers([(b"X-Trace", b"one"), (b"x-trace", b"two"), (b"HOST", b"gateway")])

    assert headers == {"x-trace": "one", "host": "gateway"}


@pytest.mark.parametrize(
    "name", ["authorization", "X-API-Key", "Host", "Content-Length", "Content-Type"]
)
def test_headers_that_decide_who_or_what_come_only_once(name: str) -> None:
    with pytest.raises(InvalidRequestError, match=f"{name.lower()} was sent twice"):
        read_headers([(name.encode(), b"a"), (name.lower().encode(), b"a")])


@pytest.mark.parametrize(
    "pairs",
    [
        [(b"x-%d" % number, b"y") for number in range(101)],
        [(b"x-large", b"y" * 33_000)],
        [(b"x-same", b"y" * 400)] * 100,
    ],
)
def test_too_many_or_too_large_headers_are_a_431(pairs: list[tuple[bytes, bytes]]) -> None:
    with pytest.raises(InvalidRequestError) as caught:
        read_headers(pairs)
    assert caught.value.status == 431


def test_both_ways_of_delimiting_a_body_are_refused() -> None:
    with pytest.raises(InvalidRequestError, match="Transfer-Encoding and Content-Length"):
        read_headers([(b"Transfer-Encoding", b"chunked"), (b"Content-Length", b"3")])


def test_bytes_beyond_ascii_do_not_break_the_reading() -> None:
    assert read_headers([(b"x-name", b"\xff\xfe")]) == {"x-name": "ÿþ"}


@pytest.mark.parametrize(
    "content_type",
    ["", "application/json", "Application/JSON; charset=utf-8", "application/vnd.api+json"],
)
async def test_json_is_read_under_all_of_its_names(content_type: str) -> None:
    headers = {"content-type": content_type} if content_type else {}

    assert await read_json_body(receiving(part(b"{}")), headers, limit=10) == b"{}"


@pytest.mark.parametrize(
    "content_type",
    ["text/plain", "application/x-www-form-urlencoded", "multipart/form-data; boundary=x", "json"],
)
async def test_another_type_is_a_415_that_names_the_remedy(content_type: str) -> None:
    with pytest.raises(UnsupportedMediaTypeError, match="application/json") as caught:
        await read_json_body(receiving(), {"content-type": content_type}, limit=10)
    assert caught.value.status == 415


@pytest.mark.parametrize("encoding", ["gzip", "br", "deflate", "GZIP"])
async def test_a_compressed_body_is_a_415(encoding: str) -> None:
    with pytest.raises(UnsupportedMediaTypeError, match="compressed"):
        await read_json_body(receiving(), {"content-encoding": encoding}, limit=10)


async def test_an_identity_encoding_is_none() -> None:
    headers = {"content-encoding": "identity"}

    assert await read_json_body(receiving(part(b"{}")), headers, limit=10) == b"{}"


async def test_a_body_in_parts_is_put_together() -> None:
    parts = receiving(part(b'{"a"', more=True), part(b":", more=True), part(b"1}"))

    assert await read_json_body(parts, {}, limit=10) == b'{"a":1}'


async def test_a_body_declared_too_large_is_refused_before_it_is_read() -> None:
    with pytest.raises(PayloadTooLargeError) as caught:
        await read_json_body(receiving(), {"content-length": "11"}, limit=10)
    assert caught.value.status == 413


@pytest.mark.parametrize(
    "messages",
    [
        [part(b"x" * 11)],
        [part(b"x" * 11, more=True)],
        [part(b"x" * 6, more=True), part(b"x" * 5)],
        [part(b"x" * 6, more=True), part(b"x" * 5, more=True), None],
    ],
)
async def test_a_body_that_grows_too_large_is_refused_as_soon_as_it_does(
    messages: list[dict[str, Any] | None],
) -> None:
    with pytest.raises(PayloadTooLargeError):
        await read_json_body(receiving(*messages), {}, limit=10)


async def test_a_body_of_exactly_the_limit_is_read() -> None:
    headers = {"content-length": "10"}

    assert await read_json_body(receiving(part(b"x" * 10)), headers, limit=10) == b"x" * 10


@pytest.mark.parametrize("messages", [[None], [part(b"{", more=True), None]])
async def test_a_body_that_does_not_arrive_is_a_408(messages: list[dict[str, Any] | None]) -> None:
    with pytest.raises(InvalidRequestError) as caught:
        await read_json_body(receiving(*messages), {}, limit=10, within_s=0.02)
    assert caught.value.status == 408


async def test_a_caller_that_hangs_up_while_sending_is_gone() -> None:
    with pytest.raises(CallerGoneError):
        await read_json_body(
            receiving(part(b"{", more=True), {"type": "http.disconnect"}), {}, limit=10
        )


@pytest.mark.parametrize("declared", ["-1", "abc", "1e9", "٣", ""])
async def test_a_nonsensical_length_is_left_to_the_bytes_themselves(declared: str) -> None:
    headers = {"content-length": declared}

    assert await read_json_body(receiving(part(b"{}")), headers, limit=10) == b"{}"
