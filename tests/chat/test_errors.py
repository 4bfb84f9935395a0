"""Errors in the shapes of the dialects."""

import json
from decimal import Decimal

import pytest

from gateway.chat.dialects import Dialect
from gateway.chat.errors import render_error
from gateway.domain.errors import (
    AuthenticationError,
    GatewayError,
    InvalidRequestError,
    ModelNotFoundError,
    RateLimitedError,
    UpstreamError,
)

BAD_ROLE = InvalidRequestError("bad role", param="messages.0.role", code="invalid_value")


def test_the_openai_shape() -> None:
    status, headers, body = render_error(BAD_ROLE, Dialect.OPENAI, "req-1")

    assert status == 400
    assert ("Content-Type", "application/json") in headers
    assert ("X-Request-Id", "req-1") in headers
    assert json.loads(body) == {
        "error": {
            "message": "bad role",
            "type": "invalid_request_error",
            "param": "messages.0.role",
            "code": "invalid_value",
        }
    }


def test_the_openrouter_shape() -> None:
    error = ModelNotFoundError("no such model", metadata={"suggestions": ["a"]})

    status, _, body = render_error(error, Dialect.OPENROUTER)

    assert status == 404
    assert json.loads(body) == {
        "error": {
            "code": 404,
            "message": "no such model",
            "metadata": {
                "error_type": "invalid_request_error",
                "error_code": "model_not_found",
                "suggestions": ["a"],
            },
        },
        "user_id": None,
    }


def test_the_fastapi_shape() -> None:
    status, _, body = render_error(BAD_ROLE, Dialect.FASTAPI)

    assert status == 422
    assert json.loads(body) == {
        "detail": [
            {"type": "invalid_value", "loc": ["body", "messages", 0, "role"], "msg": "bad role"}
        ]
    }


def test_broken_json_in_the_fastapi_shape_says_where() -> None:
    error = InvalidRequestError("broken", code="json_invalid", metadata={"byte": 7})

    assert json.loads(render_error(error, Dialect.FASTAPI)[2])["detail"][0] == {
        "type": "json_invalid",
        "loc": ["body", 7],
        "msg": "broken",
    }


def test_other_errors_in_the_fastapi_shape_are_a_sentence() -> None:
    status, _, body = render_error(UpstreamError("all failed"), Dialect.FASTAPI)

    assert (status, json.loads(body)) == (502, {"detail": "all failed"})


@pytest.mark.parametrize("dialect", list(Dialect))
def test_a_bad_key_is_told_how_to_authenticate(dialect: Dialect) -> None:
    status, headers, _ = render_error(AuthenticationError("no key"), dialect)

    challenge = dict(headers)["WWW-Authenticate"]
    assert status == 401
    assert "Bearer" in challenge
    assert "Basic" in challenge


@pytest.mark.parametrize(
    ("error", "headers"),
    [
        (RateLimitedError("x", retry_after_s=1.2), {"Retry-After": "2"}),
        (RateLimitedError("x", retry_after_s=0), {"Retry-After": "0"}),
        (RateLimitedError("x", retry_after_s=float("inf")), {}),
        (UpstreamError("x", should_retry=False), {"x-should-retry": "false"}),
        (UpstreamError("x", should_retry=True), {"x-should-retry": "true"}),
        (UpstreamError("x"), {}),
    ],
)
def test_headers_tell_when_to_try_again(error: GatewayError, headers: dict[str, str]) -> None:
    _, rendered, _ = render_error(error, Dialect.OPENAI)

    assert {
        name: value for name, value in rendered if name in {"Retry-After", "x-should-retry"}
    } == headers


@pytest.mark.parametrize("dialect", [Dialect.OPENAI, Dialect.OPENROUTER, Dialect.FASTAPI])
def test_amounts_in_errors_have_no_exponent(dialect: Dialect) -> None:
    error = GatewayError(
        "too dear", metadata={"limit_usd": Decimal("2.5E+2"), "spent_usd": Decimal("0E-9")}
    )

    _, _, body = render_error(error, dialect)

    assert b'"limit_usd":250,' in body
    assert b'"spent_usd":0}' in body
