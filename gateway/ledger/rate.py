"""How fast something may go: a bucket that holds a minute's worth and fills steadily. Pure.

A bucket is one number, the instant at which it will be full again. So never more than the limit is
let through at once, the limit is what is let through on the average, and no stretch of a minute
sees more than twice of it.
"""

import math

import msgspec

MINUTE_S = 60.0


class Level(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """A bucket as callers are told of it."""

    limit: int
    """Per minute."""
    remaining: int
    reset_s: float
    """Until it is full again."""


def is_enough(full_at_s: float, now_s: float, amount: int, per_minute: int) -> bool:
    """Whether a bucket holds so much; more than it can ever hold counts as all of it."""
    taken_s = max(0.0, full_at_s - now_s) + _seconds(amount, per_minute)
    # A hair more than a minute is rounding, not a request too many.
    return taken_s <= MINUTE_S * (1 + 1e-9)


def take(full_at_s: float, now_s: float, amount: int, per_minute: int) -> float:
    """When the bucket is full again after so much was taken, or given back if below zero."""
    return max(full_at_s, now_s) + _seconds(amount, per_minute)


def wait_s(full_at_s: float, now_s: float, amount: int, per_minute: int) -> float:
    """Until the bucket holds so much; 0 when it does."""
    return max(0.0, full_at_s - now_s + _seconds(amount, per_minute) - MINUTE_S)


def level(full_at_s: float, now_s: float, per_minute: int) -> Level:
    """What the bucket holds."""
    reset_s = max(0.0, full_at_s - now_s)
    remaining = math.floor(per_minute * (1 - reset_s / MINUTE_S) + 1e-6)
    return Level(limit=per_minute, remaining=max(0, remaining), reset_s=reset_s)


def _seconds(amount: int, per_minute: int) -> float:
    return min(amount, per_minute) * MINUTE_S / per_minute
