"""What Google's errors mean."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.domain.outcomes import Outcome
from gateway.providers.base import Fault
from tests.providers.gemini_judge import ADAPTER, target_of

TYPE = "type.googleapis.com/google.rpc."
QUOTA_WORDS = "You exceeded your current quota, please check your plan and billing details."


def fault(status: int, name: str, message: str, *details: dict[str, Any]) -> Fault:
    error = {"code": status, "message": message, "status": name, "details": list(details)}
    return ADAPTER.parse_error(status, {}, json.dumps({"error": error}).encode(), target_of())


def quota(name: str) -> dict[str, Any]:
    return {"@type": f"{TYPE}QuotaFailure", "violations": [{"quotaId": name}]}


def retry(delay: str) -> dict[str, Any]:
    return {"@type": f"{TYPE}RetryInfo", "retryDelay": delay}


def reason(name: str) -> dict[str, Any]:
    return {"@type": f"{TYPE}ErrorInfo", "reason": name, "domain": "googleapis.com"}


@pytest.mark.parametrize(
    ("status", "name", "message", "details", "outcome"),
    [
        pytest.param(
            400,
            "INVALID_ARGUMENT",
            "API key not valid.",
            [reason("API_KEY_INVALID")],
            Outcome.AUTH_FAILED,
            id="invalid-key-is-a-400",
        ),
        pytest.param(
            400,
            "INVALID_ARGUMENT",
            "API key expired. Please renew.",
            [],
            Outcome.AUTH_FAILED,
            id="expired-key",
        ),
        pytest.param(
            400,
            "FAILED_PRECONDITION",
            "User location is not supported for the API use.",
            [],
            Outcome.AUTH_FAILED,
            id="region",
        ),
        pytest.param(
            400,
            "FAILED_PRECONDITION",
            "Please enable billing on project",
            [],
            Outcome.QUOTA_EXHAUSTED,
            id="billing",
        ),
        pytest.param(
            400,
            "INVALID_ARGUMENT",
            "Request contains an invalid argument.",
            [],
            Outcome.INVALID_REQUEST,
            id="invalid",
        ),
        pytest.param(
            400,
            "INVALID_ARGUMENT",
            "The input token count (1100000) exceeds the maximum number of tokens allowed (9).",
            [],
            Outcome.CONTEXT_LENGTH,
            id="too-long",
        ),
        pytest.param(
            401,
            "UNAUTHENTICATED",
            "Request had invalid authentication credentials.",
            [],
            Outcome.AUTH_FAILED,
            id="token",
        ),
        pytest.param(
            403,
            "PERMISSION_DENIED",
            "The caller does not have permission",
            [],
            Outcome.AUTH_FAILED,
            id="permission",
        ),
        pytest.param(
            404,
            "NOT_FOUND",
            "models/x is not found for API version v1beta",
            [],
            Outcome.NOT_FOUND,
            id="model",
        ),
        pytest.param(
            429,
            "RESOURCE_EXHAUSTED",
            QUOTA_WORDS,
            [quota("GenerateRequestsPerMinutePerProjectPerModel")],
            Outcome.RATE_LIMITED,
            id="quota-of-a-minute",
        ),
        pytest.param(
            429,
            "RESOURCE_EXHAUSTED",
            QUOTA_WORDS,
            [quota("GenerateRequestsPerDayPerProjectPerModel-FreeTier")],
            Outcome.QUOTA_EXHAUSTED,
            id="quota-of-a-day",
        ),
        pytest.param(
            429,
            "RESOURCE_EXHAUSTED",
            f"{QUOTA_WORDS} limit: 0",
            [quota("GenerateContentInputTokensPerMinute")],
            Outcome.QUOTA_EXHAUSTED,
            id="quota-of-nothing",
        ),
        pytest.param(
            429,
            "RESOURCE_EXHAUSTED",
            "Resource exhausted. Please try again later.",
            [],
            Outcome.RATE_LIMITED,
            id="vertex-busy",
        ),
        pytest.param(
            500,
            "INTERNAL",
            "An internal error has occurred.",
            [],
            Outcome.SERVER_ERROR,
            id="internal",
        ),
        pytest.param(
            503, "UNAVAILABLE", "The model is overloaded.", [], Outcome.OVERLOADED, id="overloaded"
        ),
    ],
)
def test_errors_are_classified_by_their_details(
    status: int, name: str, message: str, details: list[dict[str, Any]], outcome: Outcome
) -> None:
    found = fault(status, name, message, *details)

    assert found.outcome is outcome
    assert found.status_code == status


@pytest.mark.parametrize(
    ("delay", "wait_ms"),
    [("34s", 34_000), ("34.074824224s", 34_074.824), ("0s", 0), ("soon", None)],
)
def test_how_long_to_wait_stands_in_the_details(delay: str, wait_ms: float | None) -> None:
    found = fault(429, "RESOURCE_EXHAUSTED", "slow", quota("PerMinute"), retry(delay))

    assert found.retry_after_ms == (None if wait_ms is None else pytest.approx(wait_ms))


def test_an_error_in_an_array_is_read_too() -> None:
    body = json.dumps(
        [
            {
                "error": {
                    "code": 429,
                    "message": "slow",
                    "status": "RESOURCE_EXHAUSTED",
                    "details": [retry("5s")],
                }
            }
        ]
    )

    found = ADAPTER.parse_error(429, {}, body.encode(), target_of())

    assert (found.outcome, found.retry_after_ms) == (Outcome.RATE_LIMITED, 5000)


def test_pitfall_20_a_refused_key_keeps_its_reason_and_loses_its_secret() -> None:
    found = fault(400, "INVALID_ARGUMENT", "API key not valid: AIzaSyA1234567890abcdefghijk")

    assert found.outcome is Outcome.AUTH_FAILED
    assert "API key not valid" in found.message
    assert "AIza" not in found.message


@given(st.integers(300, 599), st.binary(max_size=200))
def test_no_body_makes_reading_an_error_fail(status: int, body: bytes) -> None:
    assert ADAPTER.parse_error(status, {}, body, target_of()).message


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.text(max_size=5),
        lambda inner: (
            st.lists(inner, max_size=3)
            | st.dictionaries(
                st.sampled_from(
                    [
                        "error",
                        "details",
                        "reason",
                        "violations",
                        "message",
                        "code",
                        "status",
                        "retryDelay",
                    ]
                ),
                inner,
                max_size=4,
            )
        ),
    )
)
def test_no_json_makes_reading_an_error_fail(value: Any) -> None:
    assert ADAPTER.parse_error(400, {}, json.dumps(value).encode(), target_of()).message
