"""Reads histograms for the Latency page, by key too.

By key there are those of requests alone, and by the hour.
"""

from datetime import timedelta
from typing import Any

import msgspec
import polars as pl
import streamlit as st
from sqlalchemy import ColumnElement

from dashboard import histograms, latency_queries, queries
from dashboard.clauses import bucket_of, narrowed, wall_clock
from dashboard.narrowing import Narrowing
from dashboard.periods import Period
from dashboard.schemas import WALL_CLOCK, Schema
from dashboard.source import FRESH_S, as_instant
from gateway.storage.rollup_tables import v_latency_key_hour_packed

_HOUR = timedelta(hours=1)
_MAX_ENTRIES = 64
_REQUESTS = tuple(queries.TOLD)


class Scope(msgspec.Struct, frozen=True, kw_only=True):
    """What of the traffic the page looks at, and in which histograms it is found."""

    period: Period
    """In whole hours where a key is chosen."""
    only: Narrowing
    total: str
    ttft: str
    speed: str | None
    """None, like the next, where it is not kept."""
    overhead: str | None

    @property
    def is_of_keys(self) -> bool:
        return bool(self.only.keys)

    @property
    def what(self) -> str:
        """What the figures by provider and model count."""
        return "requests" if self.is_of_keys else "attempts"


def scope_of(period: Period, only: Narrowing) -> Scope:
    """By key there are histograms of requests alone; else attempts tell more of an endpoint.

    By anything beside provider, model and key there are none.
    """
    only = Narrowing(providers=only.providers, models=only.models, keys=only.keys)
    if not only.keys:
        return Scope(
            period=period,
            only=only,
            total="attempt",
            ttft="attempt_ttft",
            speed="speed",
            overhead="overhead",
        )
    return Scope(
        period=_in_hours(period),
        only=only,
        total="request",
        ttft="request_ttft",
        speed=None,
        overhead=None,
    )


def knows_keys(only: Narrowing) -> bool:
    """Whether a key is chosen, and nothing that its histograms do not know."""
    return bool(only.keys) and not (only.labels or only.rules or only.outcomes)


def with_percentiles(traffic: pl.DataFrame, period: Period, only: Narrowing) -> pl.DataFrame:
    """`schemas.TRAFFIC` with the percentiles of keys: of whole hours, where `knows_keys`.

    A bucket below an hour has none, unless it begins with one: then it has that hour's.
    """
    histogram = read(scope_of(period, only), _REQUESTS, is_by_time=True)
    return queries.with_percentiles(traffic, histogram).select(traffic.columns)


def bands(period: Period, only: Narrowing) -> tuple[pl.DataFrame, timedelta]:
    """For `charts.latency_chart`, where `knows_keys`, with the distance of two points."""
    scope = scope_of(period, only)
    of = scope.period
    starts = queries.bucket_starts(of.origin, of.wall_end, of.bucket)
    histogram = read(scope, _REQUESTS, is_by_time=True)
    found = latency_queries.over_time(histogram, scope.total, starts, queries.TOLD["request"])
    return found.rename({"samples": "succeeded"}), of.bucket


def before(scope: Scope) -> Scope:
    """The same of the period that it is compared with."""
    return msgspec.structs.replace(scope, period=scope.period.before)


def read(
    scope: Scope, metrics: tuple[str, ...], *, by: tuple[str, ...] = (), is_by_time: bool = False
) -> pl.DataFrame:
    """`schemas.HISTOGRAM` as of `histograms.read_histogram`.

    With a key, ``endpoint`` is provider and model in one text: its sums know no endpoint.
    """
    if scope.is_of_keys:
        return _read_of_keys(scope.period, metrics, scope.only, by=by, is_by_time=is_by_time)
    return histograms.read_histogram(
        scope.period, metrics, scope.only, by=by, is_by_time=is_by_time
    )


def read_hours(scope: Scope) -> pl.DataFrame:
    """`schemas.HISTOGRAM` of successful requests by ``weekday`` and ``hour``."""
    if not scope.is_of_keys:
        return histograms.read_hours(scope.period, scope.only)
    return _read_hours_of_keys(scope.period, scope.only)


@st.cache_data(ttl=FRESH_S, max_entries=_MAX_ENTRIES, show_spinner=False, hash_funcs={Period: repr})
def _read_hours_of_keys(period: Period, only: Narrowing) -> pl.DataFrame:
    wall = wall_clock(v_latency_key_hour_packed.c.at, period)
    schema: Schema = {"weekday": pl.Int64(), "hour": pl.Int64()}
    return _read(period, ("request",), only, histograms.week_of(wall), schema)


@st.cache_data(ttl=FRESH_S, max_entries=_MAX_ENTRIES, show_spinner=False, hash_funcs={Period: repr})
def _read_of_keys(
    period: Period,
    metrics: tuple[str, ...],
    only: Narrowing,
    *,
    by: tuple[str, ...],
    is_by_time: bool,
) -> pl.DataFrame:
    v = v_latency_key_hour_packed.c
    schema: Schema = {"metric": pl.String()}
    columns: dict[str, ColumnElement[Any]] = {"metric": v.metric}
    if is_by_time:
        schema["at"] = WALL_CLOCK
        columns["at"] = bucket_of(v.at, period)
    for name in by:
        schema[name] = pl.String()
        columns[name] = v.provider + " · " + v.model if name == "endpoint" else v[name]
    frame = _read(period, metrics, only, columns, schema)
    return histograms.with_whole(frame) if is_by_time else frame


def _read(
    period: Period,
    metrics: tuple[str, ...],
    only: Narrowing,
    columns: dict[str, ColumnElement[Any]],
    schema: Schema,
) -> pl.DataFrame:
    view = v_latency_key_hour_packed
    conditions = [
        view.c.metric.in_(metrics),
        view.c.at >= as_instant(period.start),
        view.c.at < as_instant(period.end),
        *narrowed(view, only),
    ]
    return histograms.read_merged(view, columns, conditions, schema)


def _in_hours(period: Period) -> Period:
    past = timedelta(seconds=period.start.timestamp() % _HOUR.total_seconds())
    return msgspec.structs.replace(
        period, start=period.start - past, bucket=max(period.bucket, _HOUR)
    )
