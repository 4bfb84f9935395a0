"""Reads a request's body within its limits."""

import asyncio
from collections.abc import Mapping

from litestar.types import Receive

from gateway.domain.errors import (
    InvalidRequestError,
    PayloadTooLargeError,
    UnsupportedMediaTypeError,
)

_UPLOAD_S = 30.0


class CallerGoneError(Exception):
    """The caller hung up before its request was complete."""


async def read_json_body(receive: Receive, headers: Mapping[str, str], *, limit: int) -> bytes:
    """The whole body of a JSON request.

    Args:
        receive: the server's callable.
        headers: by lower-case name.
        limit: bytes; more are refused before they are read.

    Raises:
        UnsupportedMediaTypeError: declared as something else than JSON, or compressed.
        PayloadTooLargeError: larger than the limit.
        InvalidRequestError: it did not arrive in time.
        CallerGoneError: the caller hung up.
    """
    content_type = headers.get("content-type", "")
    kind = content_type.partition(";")[0].strip().lower()
    if kind and kind != "application/json" and not kind.endswith("+json"):
        raise UnsupportedMediaTypeError(
            f"the body is declared as {kind!r}; send 'Content-Type: application/json'"
        )
    if headers.get("content-encoding", "identity").lower() != "identity":
        raise UnsupportedMediaTypeError("the body is compressed; send it as plain JSON")
    declared = headers.get("content-length", "")
    if declared.isdecimal() and int(declared) > limit:
        raise _too_large(limit)
    message = await _receive(receive)
    body = message[0]
    if not message[1]:
        return body
    parts = [body]
    size = len(body)
    try:
        async with asyncio.timeout(_UPLOAD_S):
            while message[1]:
                message = await _receive(receive)
                parts.append(message[0])
                size += len(message[0])
                if size > limit:
                    raise _too_large(limit)
    except TimeoutError as exc:
        raise InvalidRequestError(
            f"the body did not arrive within {_UPLOAD_S:g} s", status=408
        ) from exc
    return b"".join(parts)


async def _receive(receive: Receive) -> tuple[bytes, bool]:
    message = await receive()
    if message["type"] != "http.request":
        raise CallerGoneError
    return message["body"], message["more_body"]


def _too_large(limit: int) -> PayloadTooLargeError:
    return PayloadTooLargeError(f"the body is larger than {limit} bytes")
