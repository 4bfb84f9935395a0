"""What a client is told when nobody answered."""

from typing import Any

import pytest

from gateway.domain.errors import (
    GatewayError,
    OverloadedError,
    RateLimitedError,
    UpstreamError,
    UpstreamTimeoutError,
)
from gateway.domain.outcomes import Outcome
from gateway.execution.failures import FailedAttempt, error_of
from tests.execution.samples import make_fault


def failed(outcome: Outcome, provider: str = "alpha", **changes: Any) -> FailedAttempt:
    return FailedAttempt(
        endpoint=f"{provider}/large", provider=provider, fault=make_fault(outcome, **changes)
    )


def error_after(*outcomes: Outcome) -> GatewayError:
    return error_of([failed(outcome, f"p{n}") for n, outcome in enumerate(outcomes, start=1)])


@pytest.mark.parametrize(
    ("outcome", "status", "kind", "code"),
    [
        (Outcome.INVALID_REQUEST, 400, "invalid_request_error", "invalid_request"),
        (Outcome.UNSUPPORTED, 400, "invalid_request_error", "unsupported"),
        (Outcome.CONTEXT_LENGTH, 400, "invalid_request_error", "context_length_exceeded"),
        (Outcome.TOO_LARGE, 413, "invalid_request_error", "request_too_large"),
        (Outcome.CONTENT_FILTER, 403, "permission_error", "content_policy_violation"),
        (Outcome.AUTH_FAILED, 502, "api_error", "provider_auth"),
        (Outcome.QUOTA_EXHAUSTED, 502, "api_error", "provider_quota"),
        (Outcome.NOT_FOUND, 502, "api_error", "model_not_found_upstream"),
        (Outcome.CONNECT_ERROR, 502, "api_error", "upstream_error"),
        (Outcome.TLS_ERROR, 502, "api_error", "upstream_error"),
        (Outcome.READ_ERROR, 502, "api_error", "upstream_error"),
        (Outcome.SERVER_ERROR, 502, "api_error", "upstream_error"),
        (Outcome.BAD_RESPONSE, 502, "api_error", "upstream_error"),
        (Outcome.TRUNCATED, 502, "api_error", "upstream_error"),
        (Outcome.CONNECT_TIMEOUT, 504, "timeout_error", "timeout"),
        (Outcome.FIRST_TOKEN_TIMEOUT, 504, "timeout_error", "timeout"),
        (Outcome.IDLE_TIMEOUT, 504, "timeout_error", "timeout"),
        (Outcome.TOTAL_TIMEOUT, 504, "timeout_error", "timeout"),
        (Outcome.OVERLOADED, 503, "service_unavailable", "upstream_overloaded"),
        (Outcome.RATE_LIMITED, 429, "rate_limit_error", "upstream_rate_limited"),
    ],
)
def test_each_outcome_has_its_status_and_code(
    outcome: Outcome, status: int, kind: str, code: str
) -> None:
    error = error_after(outcome)

    assert (error.status, error.kind, error.code) == (status, kind, code)


def test_a_providers_refusal_of_our_credential_is_never_the_clients_401() -> None:
    for status in (401, 403):
        error = error_of([failed(Outcome.AUTH_FAILED, status_code=status)])
        assert isinstance(error, UpstreamError)
        assert error.status == 502


def test_the_last_failure_decides_and_all_are_listed() -> None:
    error = error_after(Outcome.SERVER_ERROR, Outcome.FIRST_TOKEN_TIMEOUT)

    assert isinstance(error, UpstreamTimeoutError)
    assert "2 attempts" in error.message
    assert "p1 (server_error)" in error.message
    assert error.metadata["provider_name"] == "p2"
    assert error.metadata["previous_errors"] == [
        {"provider": "p1", "endpoint": "p1/large", "code": "server_error", "status": 0},
        {"provider": "p2", "endpoint": "p2/large", "code": "first_token_timeout", "status": 0},
    ]


def test_several_failures_of_the_providers_are_called_so() -> None:
    assert error_after(Outcome.SERVER_ERROR, Outcome.READ_ERROR).code == "all_providers_failed"


def test_a_rate_limit_beside_another_failure_is_not_the_clients_rate_limit() -> None:
    error = error_after(Outcome.SERVER_ERROR, Outcome.RATE_LIMITED)

    assert (error.status, error.code) == (502, "all_providers_failed")


@pytest.mark.parametrize(
    ("told_ms", "retry_after_s"),
    [
        ((40_000, 7_000, None), 7),
        ((None, None, None), 1),
        ((200, None, None), 1),
        ((1e12, 1e11, None), 120),
    ],
)
def test_rate_limits_everywhere_name_the_earliest_recovery_within_the_longest_rest(
    told_ms: tuple[float | None, ...], retry_after_s: float
) -> None:
    error = error_of([failed(Outcome.RATE_LIMITED, retry_after_ms=ms) for ms in told_ms])

    assert isinstance(error, RateLimitedError)
    assert error.retry_after_s == retry_after_s


def test_an_overloaded_provider_names_when_to_come_back() -> None:
    error = error_of([failed(Outcome.OVERLOADED, retry_after_ms=9_000)])

    assert isinstance(error, OverloadedError)
    assert error.retry_after_s == 9


@pytest.mark.parametrize(
    "outcome",
    [outcome for outcome in Outcome if outcome not in {Outcome.SUCCESS, Outcome.RATE_LIMITED}],
)
def test_client_libraries_are_told_not_to_repeat_what_was_repeated_here(outcome: Outcome) -> None:
    assert error_after(outcome).should_retry is False


def test_the_providers_own_words_are_passed_on_when_the_request_is_at_fault() -> None:
    error = error_of([failed(Outcome.CONTEXT_LENGTH, message="at most 128000 tokens")])

    assert error.message == "alpha refused the request: at most 128000 tokens"
