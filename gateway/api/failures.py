"""Errors outside the chat path as responses, in the shape that the path's dialect has for them."""

import logging
import re
from typing import Any

import msgspec
from litestar import Request, Response
from litestar.exceptions import HTTPException, ValidationException

from gateway.api.paths import dialect_of
from gateway.chat.dialects import Dialect
from gateway.chat.errors import render_error
from gateway.domain.errors import GatewayError, InternalError, InvalidRequestError
from gateway.storage.waiting import sqlstate_of

_BAD_REQUEST = 400
_NOT_FOUND = 404
_SERVER_ERRORS = 500
_NOT_STORABLE = frozenset({"22000", "22008", "22021", "22P05"})
"""PostgreSQL's words for a NUL, and for times and numbers that its types do not reach."""
_WHOLE = "data"
"""What the framework calls the body where a member is missing or unknown."""
_QUOTED = re.compile(r"field `(?P<member>[^`]+)`")

_log = logging.getLogger("tollway.api")


def answer_exception(request: Request[Any, Any, Any], exc: Exception) -> Response[bytes]:
    """What a handler or the web framework raised: unknown paths, wrong methods, bugs."""
    path = request.scope["path"]
    dialect = dialect_of(path)
    if isinstance(exc, GatewayError):
        return error_response(exc, dialect)
    if isinstance(exc, HTTPException):
        response = error_response(_of_framework(exc, request), dialect)
        for name, value in (exc.headers or {}).items():
            response.headers.setdefault(name, value)
        return response
    if sqlstate_of(exc) in _NOT_STORABLE:
        return error_response(_not_storable(), dialect)
    _log.error("a request failed by a fault of the gateway", exc_info=exc)
    return error_response(InternalError("the gateway failed; its log says how"), dialect)


def error_response(error: GatewayError, dialect: Dialect) -> Response[bytes]:
    """An error in a dialect's shape, as a response of the web framework."""
    status, headers, body = render_error(error, dialect)
    rest = {name: value for name, value in headers if name.lower() != "content-type"}
    return Response(body, status_code=status, headers=rest, media_type="application/json")


def _not_storable() -> GatewayError:
    return InvalidRequestError(
        "a value of the request cannot be stored: it holds the character NUL, or lies beyond what "
        "times and numbers reach; correct it",
        code="not_storable",
    )


def _of_framework(exc: HTTPException, request: Request[Any, Any, Any]) -> GatewayError:
    faults = _faults(exc)
    told = "; ".join(_told(fault, request) for fault in faults) or exc.detail
    message = f"{request.method} {request.scope['path']}: {told}"
    status = exc.status_code
    if status == _BAD_REQUEST:
        return InvalidRequestError(message, param=_member(faults[0]) if faults else None)
    return GatewayError(
        message,
        status=status,
        kind="invalid_request_error" if status < _SERVER_ERRORS else "api_error",
        code="not_found" if status == _NOT_FOUND else None,
    )


def _faults(exc: HTTPException) -> list[dict[str, str]]:
    """What is wrong with which values, where the framework says so."""
    if not isinstance(exc, ValidationException) or not isinstance(exc.extra, list):
        return []
    return exc.extra


def _told(fault: dict[str, str], request: Request[Any, Any, Any]) -> str:
    text = f"{fault.get('key')}: {fault.get('message')}"
    choices = _choices(request, fault.get("key", ""))
    return f"{text}; use one of {', '.join(choices)}" if choices else text


def _member(fault: dict[str, str]) -> str | None:
    """The member or parameter at fault."""
    key = fault.get("key")
    if key != _WHOLE:
        return key
    named = _QUOTED.search(fault.get("message", ""))
    return None if named is None else named["member"]


def _choices(request: Request[Any, Any, Any], member: str) -> list[str]:
    """The words that a member of the body may be, where it is one of a few."""
    body = request.route_handler.parsed_data_field
    if body is None:
        return []
    known = msgspec.inspect.type_info(body.annotation)
    if not isinstance(known, msgspec.inspect.StructType):
        return []
    kinds = [field.type for field in known.fields if field.encode_name == member]
    return [
        str(value)
        for kind in kinds
        if isinstance(kind, msgspec.inspect.LiteralType)
        for value in kind.values
    ]
