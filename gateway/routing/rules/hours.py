"""Hours of the week in a time zone: read from words, and found for an instant by its wall clock.

The wall clock decides, so daylight saving needs no rule of its own: an hour that does not exist on
some day never holds on it, one that comes twice holds twice.
"""

import re
from bisect import bisect_right
from collections.abc import Iterable, Sequence
from datetime import datetime
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from gateway.routing.rules.values import DAYS, MINUTES_PER_DAY, Hours

MINUTES_PER_WEEK = 7 * MINUTES_PER_DAY
_CLOCK = re.compile(r"([01][0-9]|2[0-4]):([0-5][0-9])")
_MINUTES_PER_HOUR = 60


def read_clock(text: str) -> int:
    """Minutes after midnight of ``HH:MM``, up to ``24:00``.

    Raises:
        ValueError: it is not a time of day.
    """
    match = _CLOCK.fullmatch(text)
    minutes = int(match[1]) * _MINUTES_PER_HOUR + int(match[2]) if match else MINUTES_PER_WEEK
    if minutes > MINUTES_PER_DAY:
        raise ValueError(f'{text!r} is not a time of day; write "08:30", up to "24:00"')
    return minutes


def read_days(words: Iterable[str]) -> tuple[str, ...]:
    """Days from words such as ``mon`` and ``fri-sun``, in the order of the week.

    Raises:
        ValueError: a word is not a day.
    """
    found: set[str] = set()
    for word in words:
        first, dash, last = word.lower().partition("-")
        for day in (first, last) if dash else (first,):
            if day not in DAYS:
                raise ValueError(
                    f"{word!r} is not a day; write {', '.join(DAYS)}, or a range as mon-fri"
                )
        start = DAYS.index(first)
        length = (DAYS.index(last) - start) % len(DAYS) if dash else 0
        found |= {DAYS[(start + step) % len(DAYS)] for step in range(length + 1)}
    return tuple(day for day in DAYS if day in found)


def read_zone(name: str) -> str:
    """The name of a time zone that is known here.

    Raises:
        ValueError: it is not.
    """
    try:
        ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError) as exc:
        raise ValueError(
            f'{name!r} is not a known time zone; write an IANA name as "Europe/Berlin", and '
            "install tzdata when no zone is known on this machine"
        ) from exc
    return name


def stretches(hours: Hours) -> list[tuple[int, int]]:
    """Begin and end in minutes of the week, from Monday 00:00; cut in two where the week ends."""
    found: list[tuple[int, int]] = []
    length = (hours.end - hours.begin) % MINUTES_PER_DAY or MINUTES_PER_DAY
    for day in hours.days:
        begin = DAYS.index(day) * MINUTES_PER_DAY + hours.begin
        end = begin + length
        found.append((begin, min(end, MINUTES_PER_WEEK)))
        if end > MINUTES_PER_WEEK:
            found.append((0, end - MINUTES_PER_WEEK))
    return found


def minute_of_week(at: datetime, zone: ZoneInfo) -> int:
    """By the zone's wall clock, from Monday 00:00; ``at`` is aware."""
    local = at.astimezone(zone)
    return local.weekday() * MINUTES_PER_DAY + local.hour * _MINUTES_PER_HOUR + local.minute


class Steps:
    """Which bits hold at a number: a step function over half-open stretches."""

    __slots__ = ("_cuts", "_masks")

    def __init__(self, stretches_of: Sequence[tuple[int, int | None, int]]) -> None:
        """Each is begin, end (None: without end) and the bits that hold between them."""
        cuts = {0}
        for begin, end, _ in stretches_of:
            cuts |= {begin} if end is None else {begin, end}
        self._cuts = sorted(cuts)
        self._masks = [
            _either(
                bits
                for begin, end, bits in stretches_of
                if begin <= cut and (end is None or cut < end)
            )
            for cut in self._cuts
        ]

    def at(self, number: int) -> int:
        """For numbers from 0."""
        return self._masks[bisect_right(self._cuts, number) - 1]


def _either(masks: Iterable[int]) -> int:
    found = 0
    for mask in masks:
        found |= mask
    return found
