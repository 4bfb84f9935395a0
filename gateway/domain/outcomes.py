"""What became of an attempt: one class per outcome, and what each class means for what follows.

A consequence says whether the next endpoint is tried, whether the endpoint's health suffers, and
whether it rests.
"""

from enum import StrEnum

import msgspec


class Outcome(StrEnum):
    """The class of an attempt's end, or of a request's."""

    SUCCESS = "success"
    CONNECT_ERROR = "connect_error"
    TLS_ERROR = "tls_error"
    CONNECT_TIMEOUT = "connect_timeout"
    FIRST_TOKEN_TIMEOUT = "first_token_timeout"  # noqa: S105 - a token of text
    IDLE_TIMEOUT = "idle_timeout"
    TOTAL_TIMEOUT = "total_timeout"
    READ_ERROR = "read_error"
    """The connection broke before the answer was complete."""
    SERVER_ERROR = "server_error"
    OVERLOADED = "overloaded"
    """503 or 529."""
    BAD_RESPONSE = "bad_response"
    """200 with something that is not an answer: HTML, broken JSON, an unreadable stream."""
    TRUNCATED = "truncated"
    """The stream ended without a finish reason."""
    RATE_LIMITED = "rate_limited"
    QUOTA_EXHAUSTED = "quota_exhausted"
    AUTH_FAILED = "auth_failed"
    """The provider refused our credential."""
    NOT_FOUND = "not_found"
    CONTEXT_LENGTH = "context_length"
    CONTENT_FILTER = "content_filter"
    UNSUPPORTED = "unsupported"
    """The endpoint cannot do what was asked of it (422, or a parameter it refuses)."""
    TOO_LARGE = "too_large"
    INVALID_REQUEST = "invalid_request"
    CLIENT_CANCELLED = "client_cancelled"
    GATEWAY_SHUTDOWN = "gateway_shutdown"
    GATEWAY_ERROR = "gateway_error"
    """A fault of ours; always a bug."""
    SUPERSEDED = "superseded"
    """Another attempt of the same request, begun while this one was silent, answered first."""
    BUDGET_EXCEEDED = "budget_exceeded"
    """Ended by us in mid-stream: it cost more than was reserved, and the budget held no more."""
    REFUSED = "refused"
    """The request never reached an endpoint (402, 403, 404, 429, 503 of our own)."""
    UNKNOWN_CRASH = "unknown_crash"
    """Begun before a crash, end unknown; the cost is an estimate."""


class Consequence(msgspec.Struct, frozen=True, kw_only=True):
    """What an outcome means for the attempts that may follow it."""

    next_endpoint: bool = False
    """The next endpoint of the same model is worth trying."""
    next_model: bool = False
    """An endpoint of another requested model is worth trying, the same model's are not."""
    repeat_last: bool = False
    """The last remaining endpoint may be tried once more."""
    is_failure: bool = False
    """Counts against the endpoint's health."""
    is_local_failure: bool = False
    """Arose on the way, before the provider answered."""
    cools_down: bool = False
    blames_credential: bool = False


_ON_THE_WAY = Consequence(
    next_endpoint=True, repeat_last=True, is_failure=True, is_local_failure=True
)
_LATE = Consequence(next_endpoint=True, is_failure=True)
_BROKEN = Consequence(next_endpoint=True, repeat_last=True, is_failure=True)
_OWN_FAULT = Consequence(next_model=True)
_NOTHING = Consequence()

CONSEQUENCES: dict[Outcome, Consequence] = {
    Outcome.SUCCESS: _NOTHING,
    Outcome.CONNECT_ERROR: _ON_THE_WAY,
    Outcome.TLS_ERROR: Consequence(next_endpoint=True, is_failure=True, is_local_failure=True),
    Outcome.CONNECT_TIMEOUT: _ON_THE_WAY,
    Outcome.FIRST_TOKEN_TIMEOUT: _LATE,
    Outcome.IDLE_TIMEOUT: _LATE,
    Outcome.TOTAL_TIMEOUT: Consequence(is_failure=True),
    Outcome.READ_ERROR: _BROKEN,
    Outcome.SERVER_ERROR: _BROKEN,
    Outcome.OVERLOADED: Consequence(
        next_endpoint=True, repeat_last=True, is_failure=True, cools_down=True
    ),
    Outcome.BAD_RESPONSE: _BROKEN,
    Outcome.TRUNCATED: _BROKEN,
    Outcome.RATE_LIMITED: Consequence(next_endpoint=True, cools_down=True),
    Outcome.QUOTA_EXHAUSTED: Consequence(next_endpoint=True, blames_credential=True),
    Outcome.AUTH_FAILED: Consequence(next_endpoint=True, blames_credential=True),
    # The provider does not know the model: its own endpoint is at fault, another's may serve.
    Outcome.NOT_FOUND: Consequence(next_endpoint=True, next_model=True),
    Outcome.CONTEXT_LENGTH: _OWN_FAULT,
    Outcome.CONTENT_FILTER: _OWN_FAULT,
    Outcome.UNSUPPORTED: _OWN_FAULT,
    Outcome.TOO_LARGE: _OWN_FAULT,
    Outcome.INVALID_REQUEST: _NOTHING,
    Outcome.CLIENT_CANCELLED: _NOTHING,
    Outcome.GATEWAY_SHUTDOWN: _NOTHING,
    Outcome.GATEWAY_ERROR: _NOTHING,
    Outcome.SUPERSEDED: _NOTHING,
    Outcome.BUDGET_EXCEEDED: _NOTHING,
    Outcome.REFUSED: _NOTHING,
    Outcome.UNKNOWN_CRASH: _NOTHING,
}

STALE_CONNECTION = "stale_connection"
"""The error code of a connection that the provider closed while it was idle, seen when it was used
again: a ``CONNECT_ERROR``, but nobody's failure."""

LLMGATEWAY_ERROR_TYPES: dict[Outcome, str] = {
    Outcome.SUCCESS: "none",
    Outcome.SUPERSEDED: "none",
    Outcome.CONNECT_ERROR: "network_error",
    Outcome.TLS_ERROR: "network_error",
    Outcome.CONNECT_TIMEOUT: "network_error",
    Outcome.READ_ERROR: "network_error",
    Outcome.RATE_LIMITED: "rate_limited",
    Outcome.SERVER_ERROR: "server_error",
    Outcome.OVERLOADED: "server_error",
}
"""``metadata.routing[].error_type``; an outcome that is not listed is an ``upstream_error``."""
