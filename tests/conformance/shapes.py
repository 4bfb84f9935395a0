"""What every error looks like in the dialect of its path."""

from typing import Any

from gateway.api.paths import dialect_of
from gateway.chat.dialects import Dialect
from tests.conformance.asgi import Answered


def check_error(path: str, answered: Answered) -> str:
    """Hold an error against the one shape that its path has; gives the message."""
    assert 400 <= answered.status < 500, (answered.status, answered.body[:500])
    assert answered.kind == "application/json"
    assert answered.headers["x-request-id"]
    body = answered.json()
    message = _CHECKS[dialect_of(path)](body, answered.status)
    assert message
    return message


def _openai(body: Any, status: int) -> str:
    del status
    assert set(body) == {"error"}
    error = body["error"]
    assert set(error) - {"metadata"} == {"message", "type", "param", "code"}
    assert isinstance(error["type"], str)
    assert error["code"] is None or isinstance(error["code"], str)
    assert error["param"] is None or isinstance(error["param"], str)
    return error["message"]


def _openrouter(body: Any, status: int) -> str:
    assert set(body) == {"error", "user_id"}
    error = body["error"]
    assert set(error) == {"code", "message", "metadata"}
    assert error["code"] == status
    assert error["metadata"]["error_type"]
    return error["message"]


def _fastapi(body: Any, status: int) -> str:
    assert set(body) - {"metadata"} == {"detail"}
    if status != 422:
        assert isinstance(body["detail"], str)
        return body["detail"]
    (fault,) = body["detail"]
    assert set(fault) - {"input", "ctx"} == {"type", "loc", "msg"}
    assert fault["loc"][0] == "body"
    assert all(isinstance(step, (str, int)) for step in fault["loc"])
    assert not isinstance(fault.get("input"), str) or len(fault["input"]) <= 64
    assert isinstance(fault.get("ctx", {}), dict)
    return fault["msg"]


_CHECKS = {
    Dialect.OPENAI: _openai,
    Dialect.OPENROUTER: _openrouter,
    Dialect.FASTAPI: _fastapi,
}
