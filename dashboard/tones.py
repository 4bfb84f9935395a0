"""When a change is worth a colour. Pure."""

RATE, LATENCY = 0.002, 0.05
"""From where on a difference of shares, and a relative change of a duration, matters."""


def tone_of(change: float | None, *, from_: float, more_is_good: bool) -> str:
    """A tone of `dashboard.pieces`; none for what is too small to matter."""
    if change is None or abs(change) < from_:
        return ""
    return "good" if (change > 0) == more_is_good else "bad"
