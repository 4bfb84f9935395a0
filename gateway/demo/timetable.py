"""How many requests each key sends in each hour, adding up to what was asked for. Pure."""

from datetime import datetime, timedelta

import msgspec

from gateway.demo.scenario import DAYS, HABITS

_HOUR = timedelta(hours=1)


class Slot(msgspec.Struct, frozen=True, kw_only=True):
    """An hour by the clock, or what of it lies before the demo begins."""

    number: int
    since: datetime
    until: datetime
    counts: tuple[int, ...]
    """Requests, by the places of `HABITS`."""

    @property
    def requests(self) -> int:
        return sum(self.counts)


def timetable(now: datetime, requests: int, *, days: int = DAYS) -> list[Slot]:
    """Every hour of the ``days`` before ``now`` with its share of the requests."""
    begin = (now - timedelta(days=days)).replace(minute=0, second=0, microsecond=0)
    hours: list[tuple[datetime, datetime]] = []
    while begin < now:
        hours.append((begin, min(begin + _HOUR, now)))
        begin += _HOUR
    first = hours[0][0]
    weights = [
        [habit.weight_of(since, first) * ((until - since) / _HOUR) for habit in HABITS]
        for since, until in hours
    ]
    per_weight = requests / sum(map(sum, weights))
    slots: list[Slot] = []
    due, given = 0.0, 0
    for number, ((since, until), row) in enumerate(zip(hours, weights, strict=True)):
        counts: list[int] = []
        for weight in row:
            due += weight * per_weight
            counts.append(round(due) - given)
            given += counts[-1]
        slots.append(Slot(number=number, since=since, until=until, counts=tuple(counts)))
    return slots
