"""What a month will come to at the pace of late, and how sure that is. Pure.

Each weekday of the coming days costs what it did on the mean over the last four weeks, scaled by
how this month went against that profile so far. The band holds four of five months if days miss
their profile as they did lately, each for itself.
"""

from collections.abc import Mapping, Sequence
from datetime import date, datetime, time, timedelta
from decimal import Decimal

import msgspec

LOOK_BACK = timedelta(days=28)
ENOUGH_DAYS = 3

_DAY = timedelta(days=1)
FOUR_OF_FIVE = Decimal("1.2816")
"""Of a normal distribution, so many deviations to either side hold 80 %."""


class Point(msgspec.Struct, frozen=True, kw_only=True):
    """What is spent of a month by the end of a day."""

    at: datetime
    """On the wall clock."""
    usd: Decimal
    low_usd: Decimal
    high_usd: Decimal


class Forecast(msgspec.Struct, frozen=True, kw_only=True):
    """From now to the end of the month; the first point is what is spent by now."""

    points: tuple[Point, ...]

    @property
    def end(self) -> Point:
        """Of the month."""
        return self.points[-1]


def expect(days: Mapping[date, Decimal], now: datetime) -> Forecast | None:
    """What the month of ``now`` will come to; None with too few days to tell.

    Args:
        days: known spending by day, the present one too; a day that is missing since the first
            one cost nothing.
        now: on the wall clock that days are cut by.
    """
    today = now.date()
    far, first = today - LOOK_BACK, today.replace(day=1)
    # At the end of a long month its first days lie further back than the profile reaches.
    known = _since(days, min(far, first), today)
    past = {day: usd for day, usd in known.items() if day >= far}
    if len(past) < ENOUGH_DAYS:
        return None
    profile = _profile(past)
    this_month = {day: usd for day, usd in known.items() if day >= first}
    scale = _scale(this_month, profile)
    deviation = _deviation(past, profile, scale)
    spent = sum(this_month.values(), Decimal(0)) + days.get(today, Decimal(0))
    points = [Point(at=now, usd=spent, low_usd=spent, high_usd=spent)]
    # Deviations of days add up as squares.
    usd, spread = spent, Decimal(0)
    for day in _days_left(today):
        begins = max(now, datetime.combine(day, time()))
        ends = datetime.combine(day + _DAY, time())
        part = Decimal((ends - begins) / _DAY)
        usd += profile[day.weekday()] * scale * part
        spread += deviation * deviation * part
        band = FOUR_OF_FIVE * spread.sqrt()
        points.append(Point(at=ends, usd=usd, low_usd=max(spent, usd - band), high_usd=usd + band))
    return Forecast(points=tuple(points))


def spent_by_day(days: Mapping[date, Decimal], now: datetime) -> list[tuple[datetime, Decimal]]:
    """What is spent of the month of ``now``: at its begin, at every midnight since, and now."""
    at, total = now.date().replace(day=1), Decimal(0)
    points = [(datetime.combine(at, time()), total)]
    while at <= now.date():
        total += days.get(at, Decimal(0))
        at += _DAY
        points.append((min(now, datetime.combine(at, time())), total))
    return points


def _since(days: Mapping[date, Decimal], first: date, until: date) -> dict[date, Decimal]:
    known = [day for day in days if first <= day < until]
    if not known:
        return {}
    begin = min(known)
    return {
        day: days.get(day, Decimal(0))
        for day in (begin + index * _DAY for index in range((until - begin).days))
    }


def _profile(past: Mapping[date, Decimal]) -> list[Decimal]:
    usual = _mean(list(past.values()))
    by_weekday = [[usd for day, usd in past.items() if day.weekday() == one] for one in range(7)]
    return [_mean(found) if found else usual for found in by_weekday]


def _scale(this_month: Mapping[date, Decimal], profile: Sequence[Decimal]) -> Decimal:
    expected = sum((profile[day.weekday()] for day in this_month), Decimal(0))
    if len(this_month) < ENOUGH_DAYS or not expected:
        return Decimal(1)
    return sum(this_month.values(), Decimal(0)) / expected


def _deviation(past: Mapping[date, Decimal], profile: Sequence[Decimal], scale: Decimal) -> Decimal:
    missed = [usd - profile[day.weekday()] * scale for day, usd in past.items()]
    return _mean([one * one for one in missed]).sqrt()


def _days_left(today: date) -> list[date]:
    first_of_next = (today.replace(day=1) + timedelta(days=32)).replace(day=1)
    return [today + index * _DAY for index in range((first_of_next - today).days)]


def _mean(values: Sequence[Decimal]) -> Decimal:
    return sum(values, Decimal(0)) / len(values)
