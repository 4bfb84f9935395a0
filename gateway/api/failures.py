"""Errors outside the chat path as responses, in the shape that the path's dialect has for them."""

import logging
from typing import Any

from litestar import Request, Response
from litestar.exceptions import HTTPException, ValidationException

from gateway.api.paths import dialect_of
from gateway.chat.dialects import Dialect
from gateway.chat.errors import render_error
from gateway.domain.errors import GatewayError, InternalError, InvalidRequestError

_BAD_REQUEST = 400
_NOT_FOUND = 404
_SERVER_ERRORS = 500

_log = logging.getLogger("tollway.api")


def answer_exception(request: Request[Any, Any, Any], exc: Exception) -> Response[bytes]:
    """What a handler or the web framework raised: unknown paths, wrong methods, bugs."""
    path = request.scope["path"]
    dialect = dialect_of(path)
    if isinstance(exc, GatewayError):
        return error_response(exc, dialect)
    if isinstance(exc, HTTPException):
        response = error_response(_of_framework(exc, f"{request.method} {path}"), dialect)
        for name, value in (exc.headers or {}).items():
            response.headers.setdefault(name, value)
        return response
    _log.error("a request failed by a fault of the gateway", exc_info=exc)
    return error_response(InternalError("the gateway failed; its log says how"), dialect)


def error_response(error: GatewayError, dialect: Dialect) -> Response[bytes]:
    """An error in a dialect's shape, as a response of the web framework."""
    status, headers, body = render_error(error, dialect)
    rest = {name: value for name, value in headers if name.lower() != "content-type"}
    return Response(body, status_code=status, headers=rest, media_type="application/json")


def _of_framework(exc: HTTPException, asked: str) -> GatewayError:
    message = f"{asked}: {_particulars(exc)}"
    status = exc.status_code
    if status == _BAD_REQUEST:
        return InvalidRequestError(message)
    return GatewayError(
        message,
        status=status,
        kind="invalid_request_error" if status < _SERVER_ERRORS else "api_error",
        code="not_found" if status == _NOT_FOUND else None,
    )


def _particulars(exc: HTTPException) -> str:
    """What is wrong, and with which fields where the framework says so."""
    if not isinstance(exc, ValidationException) or not isinstance(exc.extra, list):
        return exc.detail
    return "; ".join(f"{fault.get('key')}: {fault.get('message')}" for fault in exc.extra)
