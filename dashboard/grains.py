"""Which sums a period is read from: the fewest rows that know what is asked for.

Minutes for narrow buckets, quarters of an hour for most, and hours or days of UTC where these tell
what is wanted apart and no edge of a bucket or of the period falls between. What they leave over at
both ends comes from the finer ones, so that every sum is exact.
"""

from collections.abc import Collection
from datetime import UTC, datetime, timedelta
from typing import NamedTuple
from zoneinfo import ZoneInfo

from sqlalchemy import FromClause, Table, select, union_all

from dashboard.narrowing import Narrowing
from dashboard.periods import MINUTE_GRAIN_BELOW, Period
from dashboard.source import as_instant
from gateway.storage.coarse_tables import COARSE, DAY, HOUR, Coarse
from gateway.storage.rollup_tables import (
    RollUp,
    fallback,
    latency,
    usage_attempt,
    usage_request,
    v_fallback,
    v_fallback_minute,
    v_latency_minute_packed,
    v_latency_packed,
    v_usage_attempt,
    v_usage_attempt_minute,
    v_usage_request,
    v_usage_request_minute,
)

_MINUTES: dict[RollUp, Table] = {
    usage_request: v_usage_request_minute,
    usage_attempt: v_usage_attempt_minute,
    fallback: v_fallback_minute,
    latency: v_latency_minute_packed,
}
_QUARTERS: dict[RollUp, Table] = {
    usage_request: v_usage_request,
    usage_attempt: v_usage_attempt,
    fallback: v_fallback,
    latency: v_latency_packed,
}
_HISTOGRAM = ("buckets", "samples")
_EPOCH = datetime(2000, 1, 1, tzinfo=UTC)
_DAYS_PAY_FROM = timedelta(days=20)
"""Below, hours without all dimensions are fewer than days with them and hours at both ends."""
_DAYS_PAY_AT_ALL_FROM = timedelta(days=4)


class Wanted(NamedTuple):
    """What is asked of a roll-up."""

    roll_up: RollUp
    needed: frozenset[str]
    """The dimensions that are told apart."""
    width: timedelta | None = None
    """Of the buckets, which begin with the time on the wall clock; None: only the sum."""
    zone: str = "UTC"
    """Whose wall clock."""


class Span(NamedTuple):
    """A part of a time, and what it is read from."""

    view: Table
    start: datetime
    end: datetime


def sums_of(
    roll_up: RollUp,
    period: Period,
    dimensions: Collection[str],
    only: Narrowing,
    *,
    is_by_time: bool,
) -> FromClause:
    """Rows of a roll-up in a period, for statements that add them up; histograms are packed.

    Args:
        roll_up: of `gateway.storage.rollup_tables`.
        period: which time, and its buckets.
        dimensions: columns that are asked for, beside those of ``only``.
        only: which part of the traffic is going to be asked for.
        is_by_time: whether ``at`` is asked for; buckets are told apart then.
    """
    needed = frozenset({*dimensions, *columns_of(only)})
    width = period.bucket if is_by_time else None
    wanted = Wanted(roll_up, needed, width, period.zone)
    if period.bucket < MINUTE_GRAIN_BELOW:
        return _rows_of(wanted, [Span(_MINUTES[roll_up], period.start, period.end)])
    return _rows_of(wanted, spans_of(wanted, period.start, period.end))


def sums_between(
    roll_up: RollUp,
    start: datetime,
    end: datetime,
    dimensions: Collection[str],
    *,
    width: timedelta | None = None,
) -> FromClause:
    """The same of any time; ``width`` is that of buckets of UTC, None where none are wanted."""
    wanted = Wanted(roll_up, frozenset(dimensions), width)
    return _rows_of(wanted, spans_of(wanted, start, end))


def columns_of(only: Narrowing) -> set[str]:
    """The columns that narrow to a part of the traffic."""
    wanted = {
        ("provider",): only.providers,
        ("model",): only.models,
        ("key_id",): only.keys,
        ("label_set",): only.labels,
        ("rule_version",): only.rules,
        ("outcome", "is_fallback"): only.outcomes,
    }
    return {column for columns, values in wanted.items() if values for column in columns}


def spans_of(wanted: Wanted, start: datetime, end: datetime) -> list[Span]:
    """What to read from ``start``, inclusive, to ``end``: without gap and overlap, in order."""
    for coarse in _candidates(wanted, end - start):
        if not _fits(coarse.step, wanted, start, end):
            continue
        first, last = _ceil(start, coarse.step), _floor(end, coarse.step)
        if first >= last:
            continue
        return [
            *_rest(wanted, start, first, coarse.step),
            Span(coarse.view if coarse.packed is None else coarse.packed, first, last),
            *_rest(wanted, last, end, coarse.step),
        ]
    return [Span(_QUARTERS[wanted.roll_up], start, end)]


def _rest(wanted: Wanted, start: datetime, end: datetime, step: timedelta) -> list[Span]:
    if start == end:
        return []
    # Shorter than a day, so that there are only hours to choose from.
    return (
        [Span(_QUARTERS[wanted.roll_up], start, end)]
        if step == HOUR
        else spans_of(wanted, start, end)
    )


def _rows_of(wanted: Wanted, spans: list[Span]) -> FromClause:
    roll_up, needed, *_ = wanted
    measures = _HISTOGRAM if roll_up.is_histogram else roll_up.measures
    names = ("at", *(name for name in roll_up.keys if name in needed), *measures)
    parts = [
        select(*(span.view.c[name] for name in names)).where(
            span.view.c.at >= as_instant(span.start), span.view.c.at < as_instant(span.end)
        )
        for span in spans
    ]
    return (parts[0] if len(parts) == 1 else union_all(*parts)).subquery("sums")


def _candidates(wanted: Wanted, length: timedelta) -> list[Coarse]:
    of_roll_up = [one for one in COARSE if one.of is wanted.roll_up]
    known = [one for one in of_roll_up if wanted.needed <= {*one.dimensions}]
    hours = [one for one in known if one.step == HOUR]
    days = [one for one in known if one.step == DAY]
    if length < _DAYS_PAY_AT_ALL_FROM:
        return hours
    if wanted.width is None and length >= _DAYS_PAY_FROM:
        return [*days, *hours]
    # Of those that tell the same apart, days are always fewer.
    fewer = [one for one in hours if not {*one.dimensions} >= {*one.of.keys}]
    return [*fewer, *days, *(one for one in hours if one not in fewer)]


def _fits(step: timedelta, wanted: Wanted, start: datetime, end: datetime) -> bool:
    """Whether no edge of a bucket lies within a step."""
    if wanted.width is None:
        return True
    zone = ZoneInfo(wanted.zone)
    offsets = {at.astimezone(zone).utcoffset() or timedelta() for at in (start, end)}
    are_whole = not any(offset % step for offset in offsets)
    return are_whole and not wanted.width % step and start == _floor(start, step)


def _floor(at: datetime, step: timedelta) -> datetime:
    return at - (at - _EPOCH) % step


def _ceil(at: datetime, step: timedelta) -> datetime:
    return at + (_EPOCH - at) % step
