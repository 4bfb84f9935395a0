"""Reads roll-ups: what charts and figures are made of, for any period and part of the traffic.

Every statement groups in the database and comes back with as many rows as are drawn. Sums are
exact; percentiles come from merged histograms, within 2 %.
"""

from collections.abc import Sequence
from typing import Any

import polars as pl
import streamlit as st
from sqlalchemy import (
    ColumnElement,
    FromClause,
    Text,
    and_,
    cast,
    func,
    or_,
    select,
)

from dashboard import queries
from dashboard.clauses import bucket_of, narrowed, sum_of
from dashboard.grains import sums_of
from dashboard.grouped import column_of, read_grouped
from dashboard.histograms import read_histogram
from dashboard.narrowing import EVERYTHING, Narrowing
from dashboard.outcomes import NOT_JUDGED
from dashboard.periods import MINUTE_GRAIN_BELOW, Period
from dashboard.schemas import (
    ATTEMPT_SUMS,
    FALLBACKS,
    PROVIDERS,
    TRAFFIC,
    USD,
    Schema,
)
from dashboard.source import FRESH_S, as_instant, read_statement
from gateway.storage.rollup_tables import (
    usage_attempt,
    usage_request,
    v_fallback,
    v_fallback_minute,
)

_SUCCESS = "success"
_MAX_ENTRIES = 64


@st.cache_data(ttl=FRESH_S, max_entries=_MAX_ENTRIES, show_spinner=False, hash_funcs={Period: repr})
def read_traffic(period: Period, only: Narrowing = EVERYTHING) -> pl.DataFrame:
    """`TRAFFIC` of a period. Percentiles are of successful requests."""
    histogram = read_histogram(period, tuple(queries.TOLD), only, is_by_time=True)
    found = queries.with_percentiles(read_counts(period, only), histogram)
    return found.select(pl.col(name).cast(kind) for name, kind in TRAFFIC.items())


@st.cache_data(ttl=FRESH_S, max_entries=_MAX_ENTRIES, show_spinner=False, hash_funcs={Period: repr})
def read_counts(period: Period, only: Narrowing = EVERYTHING) -> pl.DataFrame:
    """`TRAFFIC` of a period, for pages that show no percentiles: these are null."""
    view = sums_of(usage_request, period, ("outcome", "is_fallback"), only, is_by_time=True)
    v = view.c
    is_judged = v.outcome.not_in(NOT_JUDGED)
    measures: dict[str, ColumnElement[Any]] = {
        "requests": sum_of(v.requests),
        "tried": sum_of(v.tried),
        "judged": sum_of(v.tried, is_judged),
        "succeeded": sum_of(v.requests, v.outcome == _SUCCESS),
        "fell_back": sum_of(v.requests, v.is_fallback),
        "rescued": sum_of(v.requests, and_(v.is_fallback, v.outcome == _SUCCESS)),
        "tokens": sum_of(v.prompt_tokens + v.completion_tokens),
        "prompt_tokens": sum_of(v.prompt_tokens),
        "cached_tokens": sum_of(v.cached_tokens),
        "caller_requests": sum_of(v.caller_requests),
        "baselined": sum_of(v.baselined),
        "baseline_usd": func.sum(v.baseline_usd),
        "baselined_cost_usd": func.sum(v.baselined_cost_usd),
    }
    at = bucket_of(v.at, period)
    counted = read_grouped(view, (), measures, narrowed(view, only), bucket=at)
    return _in_shape(queries.with_total(counted, "bucket"), TRAFFIC)


@st.cache_data(ttl=FRESH_S, max_entries=_MAX_ENTRIES, show_spinner=False, hash_funcs={Period: repr})
def read_providers(period: Period, only: Narrowing = EVERYTHING) -> pl.DataFrame:
    """`PROVIDERS` of a period. Percentiles are of successful attempts."""
    shares = {"p50_ms": 0.5, "p95_ms": 0.95}
    sums = read_provider_counts(period, only).drop(*shares)
    histogram = read_histogram(period, ("attempt",), only, is_by_time=False, by=("provider",))
    quantiles = queries.percentiles(histogram, ["provider"], shares)
    whole = sums.filter(pl.col("bucket").is_null()).join(quantiles, on="provider", how="left")
    parts = sums.filter(pl.col("bucket").is_not_null())
    return pl.concat([_in_shape(parts, PROVIDERS), _in_shape(whole, PROVIDERS)])


@st.cache_data(ttl=FRESH_S, max_entries=_MAX_ENTRIES, show_spinner=False, hash_funcs={Period: repr})
def read_provider_counts(period: Period, only: Narrowing = EVERYTHING) -> pl.DataFrame:
    """`PROVIDERS` of a period, for pages that show no percentiles: these are null."""
    counted = read_attempts_by("provider", period, only)
    return _in_shape(queries.with_total(counted, "bucket", by="provider"), PROVIDERS)


@st.cache_data(ttl=FRESH_S, max_entries=_MAX_ENTRIES, show_spinner=False, hash_funcs={Period: repr})
def read_attempts_by(
    dimension: str,
    period: Period,
    only: Narrowing = EVERYTHING,
) -> pl.DataFrame:
    """`ATTEMPT_SUMS` with ``bucket``, ``judged``, ``succeeded`` and the dimension.

    Args:
        dimension: of `dashboard.grouped`.
        period: which time, and its buckets.
        only: which part of the traffic.
    """
    view = _attempts(period, (dimension,), only, is_by_time=True)
    return _read_attempts(view, (dimension,), only, bucket=bucket_of(view.c.at, period))


@st.cache_data(ttl=FRESH_S, max_entries=_MAX_ENTRIES, show_spinner=False, hash_funcs={Period: repr})
def read_attempt_totals(
    dimensions: tuple[str, ...],
    period: Period,
    only: Narrowing = EVERYTHING,
) -> pl.DataFrame:
    """`ATTEMPT_SUMS` of the whole period by several dimensions."""
    view = _attempts(period, dimensions, only, is_by_time=False)
    return _read_attempts(view, dimensions, only)


@st.cache_data(ttl=FRESH_S, max_entries=_MAX_ENTRIES, show_spinner=False, hash_funcs={Period: repr})
def read_costs(
    dimensions: tuple[str, ...],
    period: Period,
    only: Narrowing = EVERYTHING,
) -> pl.DataFrame:
    """``cost_usd`` alone, as of `read_attempt_totals`: twenty sums take several times as long."""
    view = _attempts(period, dimensions, only, is_by_time=False)
    measures = {"cost_usd": func.sum(view.c.cost_usd)}
    return read_grouped(view, dimensions, measures, narrowed(view, only))


@st.cache_data(ttl=FRESH_S, max_entries=_MAX_ENTRIES, show_spinner=False, hash_funcs={Period: repr})
def read_fallbacks(period: Period, only: Narrowing = EVERYTHING) -> pl.DataFrame:
    """`FALLBACKS` of a period: where attempts failed, who served instead, and why."""
    view = v_fallback_minute if period.bucket < MINUTE_GRAIN_BELOW else v_fallback
    v = view.c
    names = ("from_provider", "to_provider", "reason")
    statement = (
        select(
            *(v[name] for name in names),
            *(
                cast(func.sum(v[name]), Text).label(name)
                if kind == USD
                else sum_of(v[name]).label(name)
                for name, kind in FALLBACKS.items()
                if name not in names
            ),
        )
        .where(v.at >= as_instant(period.start), v.at < as_instant(period.end))
        .group_by(*(v[name] for name in names))
    )
    if only.providers:
        chosen = list(only.providers)
        statement = statement.where(or_(v.from_provider.in_(chosen), v.to_provider.in_(chosen)))
    return read_statement(statement, FALLBACKS)


def _in_shape(frame: pl.DataFrame, schema: Schema) -> pl.DataFrame:
    columns = frame.columns
    return frame.select(
        (pl.col(name) if name in columns else pl.lit(None)).cast(kind).alias(name)
        for name, kind in schema.items()
    )


def _attempts(
    period: Period, dimensions: Sequence[str], only: Narrowing, *, is_by_time: bool
) -> FromClause:
    wanted = ("outcome", "kind", *map(column_of, dimensions))
    return sums_of(usage_attempt, period, wanted, only, is_by_time=is_by_time)


def _read_attempts(
    view: FromClause,
    dimensions: Sequence[str],
    only: Narrowing,
    *,
    bucket: ColumnElement[Any] | None = None,
) -> pl.DataFrame:
    v = view.c
    # What was mirrored is spending, but says nothing about how well anybody was served.
    is_real = v.kind != "shadow"
    sources = {"first_tried": "first_tries"}
    measures: dict[str, ColumnElement[Any]] = {
        "judged": sum_of(v.attempts, and_(is_real, v.outcome.not_in([*NOT_JUDGED, "superseded"]))),
        "succeeded": sum_of(v.attempts, and_(is_real, v.outcome == _SUCCESS)),
        "wasted_usd": func.coalesce(func.sum(v.cost_usd).filter(v.outcome != _SUCCESS), 0),
        **{
            name: func.sum(v[name]) if kind == USD else sum_of(v[sources.get(name, name)])
            for name, kind in ATTEMPT_SUMS.items()
        },
    }
    return read_grouped(view, dimensions, measures, narrowed(view, only), bucket=bucket)
