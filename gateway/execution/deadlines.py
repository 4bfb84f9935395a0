"""How long each part of an attempt may take. Durations are seconds on the monotonic clock."""

import msgspec


class Deadlines(msgspec.Struct, frozen=True, kw_only=True):
    """The waits of one attempt and of the whole request."""

    connect_s: float = 3.0
    first_token_s: float = 60.0
    """Streams: from sending the request to the first content."""
    first_token_reasoning_s: float = 300.0
    """The same for endpoints that are known to reason before they speak."""
    whole_answer_s: float = 300.0
    """Without a stream: one attempt's answer, from sending the request to its last byte. Such an
    answer has no first token to wait for, and its headers come only when it is finished."""
    idle_s: float = 30.0
    """Between two events of a stream."""
    ping_grace_s: float = 120.0
    """Pings and comments keep a stream alive only this long after its last real event."""
    total_s: float = 600.0
    """The whole request, all attempts together."""
