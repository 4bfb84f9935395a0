"""What a client is told when no endpoint answered: one error out of all the attempts' faults."""

from collections.abc import Sequence

import msgspec

from gateway.domain.errors import (
    GatewayError,
    OverloadedError,
    RateLimitedError,
    UpstreamError,
    UpstreamTimeoutError,
)
from gateway.domain.outcomes import Outcome
from gateway.providers.base import Fault

COOL_DOWN_MAX_S = 120.0
"""No provider's wish keeps an endpoint out for longer."""
_MS_PER_S = 1000.0


class FailedAttempt(msgspec.Struct, frozen=True, kw_only=True):
    """An endpoint that was tried and what it answered."""

    endpoint: str
    provider: str
    fault: Fault


# The request's own fault: the client can act on the provider's status and words.
_CLIENT_STATUS: dict[Outcome, tuple[int, str, str]] = {
    Outcome.INVALID_REQUEST: (400, "invalid_request_error", "invalid_request"),
    Outcome.UNSUPPORTED: (400, "invalid_request_error", "unsupported"),
    Outcome.CONTEXT_LENGTH: (400, "invalid_request_error", "context_length_exceeded"),
    Outcome.TOO_LARGE: (413, "invalid_request_error", "request_too_large"),
    Outcome.CONTENT_FILTER: (403, "permission_error", "content_policy_violation"),
}
_LATE = frozenset(
    {
        Outcome.CONNECT_TIMEOUT,
        Outcome.FIRST_TOKEN_TIMEOUT,
        Outcome.IDLE_TIMEOUT,
        Outcome.TOTAL_TIMEOUT,
    }
)
_CODES: dict[Outcome, str] = {
    Outcome.AUTH_FAILED: "provider_auth",
    Outcome.QUOTA_EXHAUSTED: "provider_quota",
    Outcome.NOT_FOUND: "model_not_found_upstream",
}


def error_of(failed: Sequence[FailedAttempt]) -> GatewayError:
    """The error for a request whose every attempt failed; ``failed`` is in order and not empty.

    A provider's 401 or 403 never becomes the client's: it would believe its own key to be wrong.
    ``x-should-retry`` is false, since what could be retried was: client libraries would triple it.
    """
    last = failed[-1]
    fault = last.fault
    metadata = {
        "provider_name": last.provider,
        "previous_errors": [
            {
                "provider": attempt.provider,
                "endpoint": attempt.endpoint,
                "code": attempt.fault.outcome.value,
                "status": attempt.fault.status_code,
            }
            for attempt in failed
        ],
    }
    if fault.outcome in _CLIENT_STATUS:
        status, kind, code = _CLIENT_STATUS[fault.outcome]
        return UpstreamError(
            f"{last.provider} refused the request: {fault.message}",
            status=status,
            kind=kind,
            code=code,
            should_retry=False,
            metadata=metadata,
        )
    message = _told(failed)
    outcomes = {attempt.fault.outcome for attempt in failed}
    if outcomes == {Outcome.RATE_LIMITED}:
        return RateLimitedError(
            message,
            code="upstream_rate_limited",
            retry_after_s=_earliest_s(failed),
            metadata=metadata,
        )
    if fault.outcome in _LATE:
        return UpstreamTimeoutError(message, should_retry=False, metadata=metadata)
    if fault.outcome is Outcome.OVERLOADED:
        return OverloadedError(
            message,
            code="upstream_overloaded",
            retry_after_s=_earliest_s(failed),
            should_retry=False,
            metadata=metadata,
        )
    code = "all_providers_failed" if len(failed) > 1 else "upstream_error"
    return UpstreamError(
        message, code=_CODES.get(fault.outcome, code), should_retry=False, metadata=metadata
    )


def _told(failed: Sequence[FailedAttempt]) -> str:
    last = failed[-1]
    if len(failed) == 1:
        return f"{last.provider} did not answer ({last.fault.outcome.value}): {last.fault.message}"
    tried = ", ".join(f"{attempt.provider} ({attempt.fault.outcome.value})" for attempt in failed)
    return f"no endpoint answered after {len(failed)} attempts: {tried}; last: {last.fault.message}"


def _earliest_s(failed: Sequence[FailedAttempt]) -> float:
    """When the first of the endpoints said it would recover, within what they are let rest."""
    told = [
        attempt.fault.retry_after_ms
        for attempt in failed
        if attempt.fault.retry_after_ms is not None
    ]
    return min(max(min(told, default=0.0) / _MS_PER_S, 1.0), COOL_DOWN_MAX_S)
