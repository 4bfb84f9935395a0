"""Looks for requests piece by piece, and stops before a reader has waited for long.

What is rare may be anywhere among millions of rows, and no index knows of every range and label.
So a look goes through the period a span at a time, and tells how far it came: the next one goes on
from there.
"""

import time
from collections.abc import Callable
from datetime import datetime, timedelta
from math import inf
from typing import NamedTuple
from uuid import UUID

import polars as pl
import streamlit as st

from dashboard import queries, records, sums
from dashboard.narrowing import EVERYTHING, Narrowing
from dashboard.periods import Period
from dashboard.search import ANYTHING, Search

FIRST_LOOK_S = 0.4
"""Spent on a page that is opened; the span that is under way then is still looked at."""
NEXT_LOOK_S = 4.0
"""Spent on going on, which somebody asked for."""

FEW = 200_000
"""So many requests of a period are read at once, whatever is looked for."""

_SHARED_S = 10
_MAX_ENTRIES = 64
_FIRST_SPAN = timedelta(hours=6)
_SHORTEST_SPAN = timedelta(minutes=15)
_SPAN_S = 0.2
"""What a span should take; the next one is made longer or shorter for it."""
_GROWTH = 3.0
_EASY_S, _LONGEST_SPAN = 0.03, timedelta(days=2)
"""Where a span takes longer than that rows are read, and those further back may not be in memory:
a long span of them takes many times what the last one took."""


class Found(NamedTuple):
    """What a look came upon."""

    rows: pl.DataFrame
    looked_to: str | None = None
    """The UUID at which it stopped; None when it found enough, or looked at all there is."""


@st.cache_data(ttl=_SHARED_S, max_entries=_MAX_ENTRIES, show_spinner=False)
def look_back(
    start: datetime,
    end: datetime,
    before: str | None,
    limit: int,
    *,
    only: Narrowing = EVERYTHING,
    search: Search = ANYTHING,
    within_s: float | None = FIRST_LOOK_S,
) -> Found:
    """`REQUESTS` of a period, newest first; the arguments are those of `records.read_requests`.

    After ``within_s`` seconds no other span is begun; None reads the whole period at once.
    """
    return _look_back((start, end), before, limit, only, search, within_s=within_s)


def find_newest(
    start: datetime, end: datetime, limit: int, *, only: Narrowing, search: Search
) -> pl.DataFrame:
    """The same, however long it takes; nothing of it is kept for others, since it may be large."""
    return _look_back((start, end), None, limit, only, search, within_s=inf).rows


@st.cache_data(ttl=_SHARED_S, max_entries=_MAX_ENTRIES, show_spinner=False)
def look_ahead(
    start: datetime,
    end: datetime,
    after: str,
    limit: int,
    *,
    only: Narrowing = EVERYTHING,
    search: Search = ANYTHING,
    within_s: float | None = FIRST_LOOK_S,
) -> Found:
    """The ids of those that come right after one, oldest first; else as `look_back`."""

    def read(until: str | None, since: str | None, left: int) -> pl.DataFrame:
        # The first begins after a request, the others at the mark where the one before it ended.
        return records.read_newer(
            start, end, since or after, left, only=only, search=search, until=until
        )

    if within_s is None or not (only.values_count or search.is_anything):
        return Found(read(None, None, limit))
    at = min(max(start, _instant_of(after)), end)
    return _look(read, _Way(at, end, None), limit, within_s)


def time_for(period: Period, within_s: float) -> float | None:
    """So many seconds for a look; None, all at once, where the period has few requests."""
    requests = queries.total_traffic(sums.read_counts(period, EVERYTHING)).requests
    return None if requests <= FEW else within_s


def is_mark(cursor: str) -> bool:
    """Whether a UUID is where a look stopped, and not that of a request."""
    return records.is_least_id(UUID(cursor))


def _look_back(
    period: tuple[datetime, datetime],
    before: str | None,
    limit: int,
    only: Narrowing,
    search: Search,
    *,
    within_s: float | None,
) -> Found:
    start, end = period

    def read(since: str | None, until: str | None, left: int) -> pl.DataFrame:
        return records.read_requests(start, end, until, left, only=only, search=search, since=since)

    if within_s is None or not (only.values_count or search.is_anything):
        return Found(read(None, before, limit))
    at = end if before is None else max(start, min(end, _instant_of(before)))
    return _look(read, _Way(at, start, before), limit, within_s)


class _Way(NamedTuple):
    """From where a look goes, to an instant before or after it."""

    at: datetime
    end: datetime
    begin: str | None
    """The first span's own end at ``at``; None where nothing bounds it."""


def _look(
    read: Callable[[str | None, str | None, int], pl.DataFrame],
    way: _Way,
    limit: int,
    within_s: float,
) -> Found:
    """``read`` takes the far end of a span, the near one, and how many rows are wanted."""
    at, end, begin = way
    ahead = end > at
    until_s = time.monotonic() + within_s
    span, pieces, left = _FIRST_SPAN, list[pl.DataFrame](), limit
    while True:
        is_last = abs(end - at) <= span
        at = end if is_last else at + span if ahead else at - span
        mark = None if is_last else str(records.least_id(at))
        began_s = time.monotonic()
        pieces.append(read(mark, begin, left))
        now_s = time.monotonic()
        left -= pieces[-1].height
        if is_last or left <= 0:
            return Found(pl.concat(pieces))
        if now_s >= until_s:
            return Found(pl.concat(pieces), mark)
        begin = mark
        span = _next_span(span, now_s - began_s)


def _next_span(span: timedelta, took_s: float) -> timedelta:
    times = _SPAN_S / max(took_s, 0.001)
    longer = max(_SHORTEST_SPAN, span * min(_GROWTH, max(1 / _GROWTH, times)))
    return longer if took_s < _EASY_S else min(longer, _LONGEST_SPAN)


def _instant_of(cursor: str) -> datetime:
    return records.instant_of(UUID(cursor))
