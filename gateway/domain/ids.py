"""Ids of requests: time-ordered, unique per process, and readable in both of their spellings.

A request's UUIDv7 (RFC 9562 §5.7) fixes the day of its row, so that replaying a record always
reaches the same partition. Clients see it as ``gen-`` followed by the 32 hexadecimal digits.
"""

import re
from datetime import UTC, date, datetime
from uuid import UUID

GENERATION_PREFIX = "gen-"
_HEX = re.compile(r"[0-9a-fA-F]{32}")
_SHOWN_CHARACTERS = 64
_COUNTER_BITS = 12
_COUNTER_MASK = (1 << _COUNTER_BITS) - 1
_RANDOM_BITS = 62


class RequestIds:
    """Makes UUIDv7 values that never go backwards within a process, whatever the clock does."""

    __slots__ = ("_counter", "_last_ms")

    def __init__(self) -> None:
        self._last_ms = 0
        self._counter = 0

    def next(self, *, unix_ms: int, random_bits: int) -> UUID:
        """A new id.

        Args:
            unix_ms: wall-clock milliseconds; an earlier value than the last one is lifted to it.
            random_bits: at least 62 random bits; more are cut off.
        """
        if unix_ms > self._last_ms:
            self._last_ms = unix_ms
            self._counter = 0
        else:
            self._counter += 1
            if self._counter > _COUNTER_MASK:
                self._last_ms += 1
                self._counter = 0
        value = (
            (self._last_ms << 80)
            | (7 << 76)
            | (self._counter << 64)
            | (0b10 << 62)
            | (random_bits & ((1 << _RANDOM_BITS) - 1))
        )
        return UUID(int=value)


def unix_ms_of(request_id: UUID) -> int:
    """The wall-clock milliseconds inside a UUIDv7."""
    return request_id.int >> 80


def day_of(request_id: UUID) -> date:
    """The UTC day whose partition holds the request."""
    return datetime.fromtimestamp(unix_ms_of(request_id) / 1000, UTC).date()


def to_generation_id(request_id: UUID) -> str:
    """The id as clients see it."""
    return GENERATION_PREFIX + request_id.hex


def parse_generation_id(text: str) -> UUID:
    """The UUID behind ``gen-…``; a plain UUID is accepted too.

    Raises:
        ValueError: the text is neither.
    """
    digits = text.strip().removeprefix(GENERATION_PREFIX).replace("-", "")
    # `UUID` itself would also take underscores and the digits of other scripts.
    if _HEX.fullmatch(digits) is None:
        shown = text if len(text) <= _SHOWN_CHARACTERS else f"{text[:_SHOWN_CHARACTERS]}…"
        raise ValueError(
            f"{shown!r} is not a generation id; expected gen- and 32 hexadecimal digits"
        )
    return UUID(hex=digits)
