"""What Bedrock's refusals mean for the attempts that follow."""

import json

import pytest

from gateway.domain.outcomes import Outcome
from tests.providers.bedrock_judge import ADAPTER, SONNET, target_of

NAMESPACE = "http://internal.amazon.com/coral/com.amazon.bedrock/"
KEY = "AKIAIOSFODNN7EXAMPLE"


@pytest.mark.parametrize(
    ("status", "name", "message", "outcome"),
    [
        (429, "ThrottlingException", "Too many requests", Outcome.RATE_LIMITED),
        (429, "ThrottlingException", "Too many tokens per day", Outcome.RATE_LIMITED),
        (429, "ModelNotReadyException", "Model is not ready", Outcome.OVERLOADED),
        (400, "ServiceQuotaExceededException", "Quota", Outcome.QUOTA_EXHAUSTED),
        (403, "AccessDeniedException", "Authentication failed", Outcome.AUTH_FAILED),
        (
            403,
            "AccessDeniedException",
            "You don't have access to the model with the specified model ID.",
            Outcome.NOT_FOUND,
        ),
        (403, "ExpiredTokenException", "The security token is expired", Outcome.AUTH_FAILED),
        (403, "InvalidSignatureException", "Signature expired", Outcome.AUTH_FAILED),
        (403, "UnrecognizedClientException", "The token is invalid", Outcome.AUTH_FAILED),
        (404, "ResourceNotFoundException", "Could not resolve", Outcome.NOT_FOUND),
        (408, "ModelTimeoutException", "Timed out", Outcome.FIRST_TOKEN_TIMEOUT),
        (424, "ModelErrorException", "The model failed", Outcome.SERVER_ERROR),
        (500, "InternalServerException", "Oh", Outcome.SERVER_ERROR),
        (503, "ServiceUnavailableException", "Busy", Outcome.OVERLOADED),
        (
            400,
            "ValidationException",
            "Input is too long for requested model.",
            Outcome.CONTEXT_LENGTH,
        ),
        (
            400,
            "ValidationException",
            "The model returned the following errors: prompt is too long: 200049 tokens > 200000",
            Outcome.CONTEXT_LENGTH,
        ),
        (
            400,
            "ValidationException",
            "input length and `max_tokens` exceed context limit: 190000 + 20000 > 204698",
            Outcome.CONTEXT_LENGTH,
        ),
        (
            400,
            "ValidationException",
            "Invocation of model ID x with on-demand throughput isn't supported.",
            Outcome.NOT_FOUND,
        ),
        (
            400,
            "ValidationException",
            "The provided model identifier is invalid.",
            Outcome.NOT_FOUND,
        ),
        (
            400,
            "ValidationException",
            "This model doesn't support tool use.",
            Outcome.UNSUPPORTED,
        ),
        (
            400,
            "ValidationException",
            "Output blocked by content filtering policy",
            Outcome.CONTENT_FILTER,
        ),
        (400, "ValidationException", "1 validation error detected", Outcome.INVALID_REQUEST),
        (418, "", "I am a teapot", Outcome.INVALID_REQUEST),
    ],
)
@pytest.mark.parametrize("form", ["header", "type"])
def test_exceptions_mean_what_they_say(
    status: int, name: str, message: str, outcome: Outcome, form: str
) -> None:
    headers = {"x-amzn-requestid": "r-1"}
    body = {"message": message}
    if form == "header":
        headers["x-amzn-errortype"] = f"{name}:{NAMESPACE}"
    else:
        body["__type"] = f"com.amazon.coral.service#{name}"

    fault = ADAPTER.parse_error(status, headers, json.dumps(body).encode(), target_of(SONNET))

    assert (fault.outcome, fault.status_code) == (outcome, status)
    assert fault.upstream_id == "r-1"
    assert message[:40] in fault.message


@pytest.mark.parametrize(
    "body", [b"", b"<html><title>502</title>", b"[]", b"\xff", b'{"message":7}']
)
def test_any_body_is_classified_by_its_status(body: bytes) -> None:
    assert ADAPTER.parse_error(502, {}, body, target_of(SONNET)).outcome is Outcome.SERVER_ERROR


def test_the_wait_that_is_asked_for_is_told_and_keys_are_not() -> None:
    headers = {"retry-after": "7", "x-amzn-errortype": "ThrottlingException"}
    body = json.dumps({"Message": f"Slow down, {KEY}"}).encode()

    fault = ADAPTER.parse_error(429, headers, body, target_of(SONNET))

    assert fault.retry_after_ms == 7000
    assert KEY not in fault.message
    assert "Slow down" in fault.message
