"""Reads merged histograms: percentiles are told from them, within 2 %.

They come as they are stored, many buckets in one row, and are added up here: that takes the
database several times as long, and it has other work to do.
"""

from typing import Any, TypeAlias

import polars as pl
import streamlit as st
from sqlalchemy import ColumnElement, FromClause, cast, func, select
from sqlalchemy.dialects import postgresql

from dashboard.clauses import bucket_of, narrowed, wall_clock
from dashboard.grains import sums_of
from dashboard.narrowing import EVERYTHING, Narrowing
from dashboard.periods import Period
from dashboard.schemas import HISTOGRAM, WALL_CLOCK, Schema
from dashboard.source import FRESH_S, read_statement
from gateway.storage.rollup_tables import latency

_Columns: TypeAlias = dict[str, ColumnElement[Any]]

_MAX_ENTRIES = 64
_WEEK: Schema = {"weekday": pl.Int64(), "hour": pl.Int64()}


@st.cache_data(ttl=FRESH_S, max_entries=_MAX_ENTRIES, show_spinner=False, hash_funcs={Period: repr})
def read_histogram(
    period: Period,
    metrics: tuple[str, ...],
    only: Narrowing = EVERYTHING,
    *,
    is_by_time: bool = False,
    by: tuple[str, ...] = (),
) -> pl.DataFrame:
    """`HISTOGRAM` with ``metric``, and if asked ``at`` and dimensions.

    By time it holds everything twice: rows without ``at`` are of the whole period. Empty where
    histograms do not know what is asked for.

    Args:
        period: which time, and its buckets.
        metrics: of `gateway.storage.rollup_tables.METRICS`.
        only: which part of the traffic.
        is_by_time: whether ``at`` is wanted.
        by: some of ``provider``, ``model`` and ``endpoint``.
    """
    schema: Schema = {
        "metric": pl.String(),
        **({"at": WALL_CLOCK} if is_by_time else {}),
        **dict.fromkeys(by, pl.String()),
    }
    if not only.has_latency:
        return pl.DataFrame(schema=schema | HISTOGRAM)
    view = sums_of(latency, period, ("metric", *by), only, is_by_time=is_by_time)
    v = view.c
    columns: _Columns = {
        "metric": v.metric,
        **({"at": bucket_of(v.at, period)} if is_by_time else {}),
        **{name: v[name] for name in by},
    }
    frame = read_merged(view, columns, [v.metric.in_(metrics), *narrowed(view, only)], schema)
    return with_whole(frame) if is_by_time else frame


@st.cache_data(ttl=FRESH_S, max_entries=_MAX_ENTRIES, show_spinner=False, hash_funcs={Period: repr})
def read_hours(period: Period, only: Narrowing = EVERYTHING) -> pl.DataFrame:
    """`HISTOGRAM` of successful requests by ``weekday`` (1 is Monday) and ``hour`` there."""
    if not only.has_latency:
        return pl.DataFrame(schema=_WEEK | HISTOGRAM)
    view = sums_of(latency, period, ("metric",), only, is_by_time=True)
    conditions = [view.c.metric == "request", *narrowed(view, only)]
    return read_merged(view, week_of(wall_clock(view.c.at, period)), conditions, _WEEK)


def week_of(wall: ColumnElement[Any]) -> _Columns:
    """Where an instant on a wall clock lies in its week, as of `read_hours`."""
    return {
        name: cast(func.extract(field, wall), postgresql.BIGINT)
        for name, field in (("weekday", "isodow"), ("hour", "hour"))
    }


def with_whole(frame: pl.DataFrame) -> pl.DataFrame:
    """The histograms by ``at``, and all of them once more without it."""
    return pl.concat([frame, frame.with_columns(pl.lit(None, WALL_CLOCK).alias("at"))])


def read_merged(
    view: FromClause,
    columns: _Columns,
    conditions: list[ColumnElement[bool]],
    schema: Schema,
) -> pl.DataFrame:
    """`HISTOGRAM` by these columns.

    Args:
        view: of packed histograms.
        columns: by which they are told apart; others are added up.
        conditions: which of the rows.
        schema: of the columns.
    """
    packed = {**columns, "bucket": view.c.buckets, "samples": view.c.samples}
    statement = select(*(column.label(name) for name, column in packed.items())).where(*conditions)
    return _added_up(read_statement(statement, schema | HISTOGRAM, _unpacked))


def _unpacked(rows: pl.DataFrame) -> pl.DataFrame:
    return _added_up(rows.explode("bucket", "samples"))


def _added_up(counts: pl.DataFrame) -> pl.DataFrame:
    return counts.group_by(pl.exclude("samples")).agg(pl.col("samples").sum())
