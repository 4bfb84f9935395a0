"""Errors on the wire, in the shape of each dialect."""

import math
from collections.abc import Callable
from typing import Any

from gateway.chat.dialects import Dialect
from gateway.chat.messages_api.errors import error_type_of_status
from gateway.domain.errors import AuthenticationError, GatewayError, InvalidRequestError
from gateway.domain.plain_json import encode_with_numbers

_CHALLENGE = 'Bearer realm="tollway", Basic realm="tollway"'


def render_error(
    error: GatewayError, dialect: Dialect, request_id: str | None = None
) -> tuple[int, list[tuple[str, str]], bytes]:
    """Status, headers and body of an error.

    Args:
        error: what happened.
        dialect: fixes the body's shape; the FastAPI dialect answers 422 where the others say 400.
        request_id: goes into the ``X-Request-Id`` header; None when there is none yet.
    """
    status = error.status
    if dialect is Dialect.FASTAPI and isinstance(error, InvalidRequestError) and status == 400:  # noqa: PLR2004
        status = 422
    body = encode_with_numbers(_RENDERERS[dialect](error, status))
    return status, _headers(error, request_id), body


def _headers(error: GatewayError, request_id: str | None) -> list[tuple[str, str]]:
    headers = [("Content-Type", "application/json")]
    if request_id is not None:
        headers.append(("X-Request-Id", request_id))
    if isinstance(error, AuthenticationError):
        headers.append(("WWW-Authenticate", _CHALLENGE))
    wait_s = error.retry_after_s
    if wait_s is not None and math.isfinite(wait_s) and wait_s >= 0:
        headers.append(("Retry-After", str(math.ceil(wait_s))))
    if error.should_retry is not None:
        headers.append(("x-should-retry", "true" if error.should_retry else "false"))
    headers += error.headers
    return headers


def _openai(error: GatewayError, status: int) -> dict[str, Any]:
    del status
    envelope: dict[str, Any] = {
        "message": error.message,
        "type": error.kind,
        "param": error.param,
        "code": error.code,
    }
    if error.metadata:
        envelope["metadata"] = error.metadata
    return {"error": envelope}


def _openrouter(error: GatewayError, status: int) -> dict[str, Any]:
    metadata: dict[str, Any] = {"error_type": error.kind}
    if error.code is not None:
        metadata["error_code"] = error.code
    if error.param is not None:
        metadata["param"] = error.param
    return {
        "error": {"code": status, "message": error.message, "metadata": metadata | error.metadata},
        "user_id": None,
    }


def _fastapi(error: GatewayError, status: int) -> dict[str, Any]:
    if status != 422:  # noqa: PLR2004
        # Readers of `detail` pass over what stands beside it.
        return {"detail": error.message} | ({"metadata": error.metadata} if error.metadata else {})
    fault: dict[str, Any] = {
        "type": error.code or "value_error",
        "loc": _location(error),
        "msg": error.message,
    }
    if isinstance(error, InvalidRequestError):
        fault |= error.fault
    return {"detail": [fault]}


def _anthropic(error: GatewayError, status: int) -> dict[str, Any]:
    envelope: dict[str, Any] = {
        "type": error_type_of_status(status),
        "message": error.message,
        "param": error.param,
        "code": error.code,
    }
    if error.metadata:
        envelope["metadata"] = error.metadata
    return {"type": "error", "error": envelope, "request_id": None}


def _location(error: GatewayError) -> list[str | int]:
    """FastAPI's ``loc``: ``body``, then the path to the field, or the byte where the JSON broke."""
    if error.param:
        steps = error.param.split(".")
        return ["body", *(int(step) if step.isdecimal() else step for step in steps)]
    byte = error.metadata.get("byte")
    return ["body"] if byte is None else ["body", byte]


_RENDERERS: dict[Dialect, Callable[[GatewayError, int], dict[str, Any]]] = {
    Dialect.OPENAI: _openai,
    Dialect.OPENROUTER: _openrouter,
    Dialect.FASTAPI: _fastapi,
    Dialect.ANTHROPIC: _anthropic,
}
