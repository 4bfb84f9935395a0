"""What a provider's refusal means."""

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.domain.outcomes import Outcome
from gateway.providers.base import Target
from gateway.providers.openai import OpenAIAdapter
from gateway.providers.refusals import ErrorBody, parse_error_body
from tests.properties import many

ADAPTER = OpenAIAdapter()


def openai_error(message: str, code: str | None = None, kind: str | None = None) -> dict[str, Any]:
    return {"error": {"message": message, "type": kind, "param": None, "code": code}}


@pytest.mark.parametrize(
    ("status", "body", "outcome"),
    [
        pytest.param(
            400,
            openai_error(
                "This model's maximum context length is 8192 tokens", "context_length_exceeded"
            ),
            Outcome.CONTEXT_LENGTH,
            id="openai-context",
        ),
        pytest.param(
            400,
            {
                "type": "error",
                "error": {"type": "x", "message": "prompt is too long: 210000 tokens"},
            },
            Outcome.CONTEXT_LENGTH,
            id="anthropic-context",
        ),
        pytest.param(
            400,
            openai_error(
                "Your credit balance is too low to access the API", None, "invalid_request_error"
            ),
            Outcome.QUOTA_EXHAUSTED,
            id="billing-as-400",
        ),
        pytest.param(
            400,
            [
                {
                    "error": {
                        "code": 400,
                        "message": "API key not valid.",
                        "status": "INVALID_ARGUMENT",
                    }
                }
            ],
            Outcome.AUTH_FAILED,
            id="gemini-key-as-400",
        ),
        pytest.param(
            400,
            openai_error("The response was filtered", "content_filter"),
            Outcome.CONTENT_FILTER,
            id="azure-filter",
        ),
        pytest.param(
            400,
            openai_error("Unsupported parameter: 'max_tokens'", "unsupported_parameter"),
            Outcome.UNSUPPORTED,
            id="unsupported-parameter",
        ),
        pytest.param(
            400,
            openai_error("The model `x` does not exist", None),
            Outcome.NOT_FOUND,
            id="missing-model-as-400",
        ),
        pytest.param(400, openai_error("bad"), Outcome.INVALID_REQUEST, id="plain-400"),
        pytest.param(
            401, openai_error("Incorrect API key", "invalid_api_key"), Outcome.AUTH_FAILED, id="401"
        ),
        pytest.param(402, {"error": "no money"}, Outcome.QUOTA_EXHAUSTED, id="402"),
        pytest.param(403, {"detail": "Forbidden"}, Outcome.AUTH_FAILED, id="403"),
        pytest.param(
            403,
            {
                "error": {
                    "code": 403,
                    "message": "x",
                    "metadata": {"reasons": ["y"], "flagged_input": "z"},
                }
            },
            Outcome.CONTENT_FILTER,
            id="openrouter-moderation",
        ),
        pytest.param(404, {"message": "not found"}, Outcome.NOT_FOUND, id="404"),
        pytest.param(408, {}, Outcome.FIRST_TOKEN_TIMEOUT, id="408"),
        pytest.param(413, openai_error("too big"), Outcome.TOO_LARGE, id="413"),
        pytest.param(
            413,
            openai_error("Request too large on tokens per minute (TPM)", "rate_limit_exceeded"),
            Outcome.RATE_LIMITED,
            id="groq-413",
        ),
        pytest.param(
            422,
            {"detail": [{"loc": ["body"], "msg": "field required"}]},
            Outcome.UNSUPPORTED,
            id="422",
        ),
        pytest.param(429, openai_error("slow down"), Outcome.RATE_LIMITED, id="429"),
        pytest.param(
            429,
            openai_error(
                "You exceeded your current quota", "insufficient_quota", "insufficient_quota"
            ),
            Outcome.QUOTA_EXHAUSTED,
            id="openai-quota",
        ),
        pytest.param(
            429,
            openai_error("Rate limit reached, prompt is too long for the remaining tokens"),
            Outcome.RATE_LIMITED,
            id="429-stays-a-rate-limit",
        ),
        pytest.param(500, "<html>", Outcome.SERVER_ERROR, id="500"),
        pytest.param(502, {}, Outcome.SERVER_ERROR, id="502"),
        pytest.param(503, {}, Outcome.OVERLOADED, id="503"),
        pytest.param(504, {}, Outcome.SERVER_ERROR, id="504"),
        pytest.param(524, {}, Outcome.SERVER_ERROR, id="524"),
        pytest.param(529, {}, Outcome.OVERLOADED, id="529"),
        pytest.param(302, {}, Outcome.BAD_RESPONSE, id="redirect"),
        pytest.param(418, {}, Outcome.INVALID_REQUEST, id="other-4xx"),
    ],
)
def test_status_and_words_make_the_outcome(
    target: Target, status: int, body: Any, outcome: Outcome
) -> None:
    fault = ADAPTER.parse_error(status, {}, json.dumps(body).encode(), target)

    assert fault.outcome is outcome
    assert fault.status_code == status


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        pytest.param(
            b'{"error":{"message":"m","type":"t","code":"c"}}',
            ErrorBody(message="m", code="c"),
            id="openai",
        ),
        pytest.param(b'{"error":"text"}', ErrorBody(message="text"), id="text"),
        pytest.param(b'{"detail":"text"}', ErrorBody(message="text"), id="fastapi"),
        pytest.param(
            b'{"detail":[{"msg":"field required","type":"missing"}]}',
            ErrorBody(message="field required", code="missing"),
            id="fastapi-list",
        ),
        pytest.param(b'{"message":"m","code":"c"}', ErrorBody(message="m", code="c"), id="message"),
        pytest.param(
            b'[{"error":{"code":429,"message":"m","status":"RESOURCE_EXHAUSTED"}}]',
            ErrorBody(message="m", code="RESOURCE_EXHAUSTED", status_code=429),
            id="list",
        ),
        pytest.param(
            b'{"error":{"code":502,"message":"Provider returned error","metadata":{"raw":"boom"}}}',
            ErrorBody(message="Provider returned error: boom", status_code=502),
            id="openrouter",
        ),
        pytest.param(
            b"<html><head><title>502 Bad Gateway</title></head></html>",
            ErrorBody(message="an HTML page: 502 Bad Gateway"),
            id="html",
        ),
        pytest.param(b"upstream timed out", ErrorBody(message="upstream timed out"), id="plain"),
        pytest.param(b"", ErrorBody(), id="empty"),
        pytest.param(b"[]", ErrorBody(), id="empty-list"),
        pytest.param(b"7", ErrorBody(), id="number"),
    ],
)
def test_messages_are_found_in_every_shape(body: bytes, expected: ErrorBody) -> None:
    assert parse_error_body(body) == expected


def test_a_fault_says_who_and_what_without_secrets(target: Target) -> None:
    body = openai_error("Incorrect API key provided: sk-proj-abcdefghijkl1234. See bob@example.com")

    fault = ADAPTER.parse_error(
        401,
        {"retry-after": "3", "x-request-id": "req_1"},
        json.dumps(body).encode(),
        target,
    )

    assert fault.message == (
        "acme answered 401: Incorrect API key provided: [redacted] See [redacted]"
    )
    assert fault.retry_after_ms == 3000
    assert fault.upstream_id == "req_1"


def test_a_long_message_is_cut(target: Target) -> None:
    body = json.dumps(openai_error("word " * 1000)).encode()

    assert len(ADAPTER.parse_error(400, {}, body, target).message) <= 512


@given(
    status=st.integers(100, 599),
    body=st.binary(max_size=60)
    | st.recursive(
        st.none() | st.integers() | st.text(max_size=5),
        lambda inner: (
            st.lists(inner, max_size=3)
            | st.dictionaries(
                st.sampled_from(["error", "message", "code", "detail", "metadata"]), inner
            )
        ),
        max_leaves=8,
    ).map(lambda value: json.dumps(value).encode()),
)
@settings(max_examples=many(200))
def test_no_body_makes_it_raise(status: int, body: bytes) -> None:
    parsed = parse_error_body(body)

    assert isinstance(parsed.message, str)
