"""Reads merged histograms: percentiles are told from them, within 2 %."""

from typing import Any

import polars as pl
import streamlit as st
from sqlalchemy import ColumnElement, cast, func, select
from sqlalchemy.dialects import postgresql

from dashboard.clauses import bucket_of, narrowed, places, sum_of, wall_clock
from dashboard.grains import sums_of
from dashboard.narrowing import EVERYTHING, Narrowing
from dashboard.periods import Period
from dashboard.schemas import HISTOGRAM, WALL_CLOCK, Schema
from dashboard.source import FRESH_S, read_statement
from gateway.storage.rollup_tables import latency

_MAX_ENTRIES = 64


@st.cache_data(ttl=FRESH_S, max_entries=_MAX_ENTRIES, show_spinner=False, hash_funcs={Period: repr})
def read_histogram(
    period: Period,
    metrics: tuple[str, ...],
    only: Narrowing = EVERYTHING,
    *,
    is_by_time: bool = False,
    by: str | None = None,
) -> pl.DataFrame:
    """`HISTOGRAM` with ``metric``, and if asked ``at`` and a dimension.

    By time it holds everything twice: rows without ``at`` are of the whole period. Empty where
    histograms do not know what is asked for.

    Args:
        period: which time, and its buckets.
        metrics: of `gateway.storage.rollup_tables.METRICS`.
        only: which part of the traffic.
        is_by_time: whether ``at`` is wanted.
        by: ``provider``, ``model`` or ``endpoint``.
    """
    schema: Schema = {
        "metric": pl.String(),
        **({"at": WALL_CLOCK} if is_by_time else {}),
        **({by: pl.String()} if by else {}),
        **HISTOGRAM,
    }
    if not only.has_latency:
        return pl.DataFrame(schema=schema)
    wanted = ("metric", "bucket", *([by] if by else []))
    view = sums_of(latency, period, wanted, only, is_by_time=is_by_time)
    v = view.c
    columns: dict[str, ColumnElement[Any]] = {"metric": v.metric}
    if is_by_time:
        columns["at"] = bucket_of(v.at, period)
    if by:
        columns[by] = v[by]
    columns["bucket"] = cast(v.bucket, postgresql.BIGINT)
    statement = (
        select(*(column.label(name) for name, column in columns.items()))
        .add_columns(sum_of(v.samples).label("samples"))
        .where(
            v.metric.in_(metrics),
            *narrowed(view, only),
        )
        .group_by(*places(len(columns)))
    )
    frame = read_statement(statement, schema)
    if not is_by_time:
        return frame
    whole = frame.with_columns(pl.lit(None, WALL_CLOCK).alias("at"))
    return pl.concat([frame, whole])


@st.cache_data(ttl=FRESH_S, max_entries=_MAX_ENTRIES, show_spinner=False, hash_funcs={Period: repr})
def read_hours(period: Period, only: Narrowing = EVERYTHING) -> pl.DataFrame:
    """`HISTOGRAM` of successful requests by ``weekday`` (1 is Monday) and ``hour`` there."""
    schema: Schema = {"weekday": pl.Int64(), "hour": pl.Int64(), **HISTOGRAM}
    if not only.has_latency:
        return pl.DataFrame(schema=schema)
    view = sums_of(latency, period, ("metric", "bucket"), only, is_by_time=True)
    v = view.c
    wall = wall_clock(v.at, period)
    columns: dict[str, ColumnElement[Any]] = {
        "weekday": cast(func.extract("isodow", wall), postgresql.BIGINT),
        "hour": cast(func.extract("hour", wall), postgresql.BIGINT),
        "bucket": cast(v.bucket, postgresql.BIGINT),
    }
    statement = (
        select(*(column.label(name) for name, column in columns.items()))
        .add_columns(sum_of(v.samples).label("samples"))
        .where(
            v.metric == "request",
            *narrowed(view, only),
        )
        .group_by(*places(len(columns)))
    )
    return read_statement(statement, schema)
