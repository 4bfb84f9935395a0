"""Reads a request's body within its limits."""

from collections.abc import Mapping

from litestar.types import Receive

from gateway.domain.errors import (
    InvalidRequestError,
    PayloadTooLargeError,
    UnsupportedMediaTypeError,
)
from gateway.execution.time_limit import TimeLimit

UPLOAD_S = 30.0


class CallerGoneError(Exception):
    """The caller hung up before its request was complete."""


async def read_json_body(
    receive: Receive, headers: Mapping[str, str], *, limit: int, within_s: float = UPLOAD_S
) -> bytes:
    """The whole body of a JSON request.

    Args:
        receive: the server's callable.
        headers: by lower-case name.
        limit: bytes; more are refused before they are read.
        within_s: how long the body may take to arrive.

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
    parts: list[bytes] = []
    size = 0
    try:
        with TimeLimit(within_s):
            while True:
                part, has_more = await _receive(receive)
                size += len(part)
                if size > limit:
                    raise _too_large(limit)
                parts.append(part)
                if not has_more:
                    return parts[0] if len(parts) == 1 else b"".join(parts)
    except TimeoutError as exc:
        raise InvalidRequestError(
            f"the body did not arrive within {within_s:g} s", status=408, code="body_too_slow"
        ) from exc


async def _receive(receive: Receive) -> tuple[bytes, bool]:
    message = await receive()
    if message["type"] != "http.request":
        raise CallerGoneError
    return message["body"], message["more_body"]


def _too_large(limit: int) -> PayloadTooLargeError:
    return PayloadTooLargeError(f"the body is larger than {limit} bytes")
