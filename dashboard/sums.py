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
    literal_column,
    or_,
    select,
)

from dashboard import queries
from dashboard.clauses import bucket_of, narrowed, places, sum_of
from dashboard.grains import sums_of
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
    WALL_CLOCK,
    Schema,
)
from dashboard.source import FRESH_S, as_instant, as_literal, read_statement
from gateway.storage.rollup_tables import (
    usage_attempt,
    usage_request,
    v_fallback,
    v_fallback_minute,
    v_label_set,
)
from gateway.storage.tables import v_api_key

_SUCCESS = "success"
_MAX_ENTRIES = 64


@st.cache_data(ttl=FRESH_S, max_entries=_MAX_ENTRIES, show_spinner=False, hash_funcs={Period: repr})
def read_traffic(period: Period, only: Narrowing = EVERYTHING) -> pl.DataFrame:
    """`TRAFFIC` of a period. Percentiles are of successful requests."""
    view = sums_of(usage_request, period, ("outcome", "is_fallback"), only, is_by_time=True)
    v = view.c
    at = bucket_of(v.at, period).label("bucket")
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
        "baselined": sum_of(v.baselined),
        "baseline_usd": cast(func.sum(v.baseline_usd), Text),
        "baselined_cost_usd": cast(func.sum(v.baselined_cost_usd), Text),
    }
    counted = _read_grouped(view, {"bucket": at}, measures, narrowed(view, only))
    sums = queries.with_total(counted.with_columns(pl.col("bucket").cast(WALL_CLOCK)), "bucket")
    histogram = read_histogram(period, ("request", "request_ttft"), only, is_by_time=True)
    total = queries.percentiles(
        histogram.filter(pl.col("metric") == "request"), ["at"], {"p50_ms": 0.5, "p95_ms": 0.95}
    )
    ttft = queries.percentiles(
        histogram.filter(pl.col("metric") == "request_ttft"), ["at"], {"ttft_p95_ms": 0.95}
    )
    return (
        sums.join(total, left_on="bucket", right_on="at", how="left", nulls_equal=True)
        .join(ttft, left_on="bucket", right_on="at", how="left", nulls_equal=True)
        .select(pl.col(name).cast(kind) for name, kind in TRAFFIC.items())
    )


@st.cache_data(ttl=FRESH_S, max_entries=_MAX_ENTRIES, show_spinner=False, hash_funcs={Period: repr})
def read_providers(period: Period, only: Narrowing = EVERYTHING) -> pl.DataFrame:
    """`PROVIDERS` of a period. Percentiles are of successful attempts."""
    counted = read_attempts_by("provider", period, only)
    sums = queries.with_total(counted, "bucket", by="provider")
    histogram = read_histogram(period, ("attempt",), only, is_by_time=False, by="provider")
    quantiles = queries.percentiles(histogram, ["provider"], {"p50_ms": 0.5, "p95_ms": 0.95})
    whole = sums.filter(pl.col("bucket").is_null()).join(quantiles, on="provider", how="left")
    parts = sums.filter(pl.col("bucket").is_not_null()).with_columns(
        p50_ms=pl.lit(None, pl.Float64), p95_ms=pl.lit(None, pl.Float64)
    )
    columns = [pl.col(name).cast(kind) for name, kind in PROVIDERS.items()]
    return pl.concat([parts.select(columns), whole.select(columns)])


@st.cache_data(ttl=FRESH_S, max_entries=_MAX_ENTRIES, show_spinner=False, hash_funcs={Period: repr})
def read_attempts_by(
    dimension: str,
    period: Period,
    only: Narrowing = EVERYTHING,
) -> pl.DataFrame:
    """`ATTEMPT_SUMS` with ``bucket``, ``judged``, ``succeeded`` and the dimension.

    Args:
        dimension: ``provider``, ``model``, ``endpoint``, ``key``, or ``label:NAME``.
        period: which time, and its buckets.
        only: which part of the traffic.
    """
    view = _attempts(period, (dimension,), only, is_by_time=True)
    source, found = _named(view, (dimension,))
    dimensions = {
        "bucket": bucket_of(view.c.at, period),
        **found,
    }
    return _read_attempts(view, source, dimensions, only).with_columns(
        pl.col("bucket").cast(WALL_CLOCK)
    )


@st.cache_data(ttl=FRESH_S, max_entries=_MAX_ENTRIES, show_spinner=False, hash_funcs={Period: repr})
def read_attempt_totals(
    dimensions: tuple[str, ...],
    period: Period,
    only: Narrowing = EVERYTHING,
) -> pl.DataFrame:
    """`ATTEMPT_SUMS` of the whole period by several dimensions; also ``outcome`` and ``kind``."""
    view = _attempts(period, dimensions, only, is_by_time=False)
    source, found = _named(view, dimensions)
    return _read_attempts(view, source, found, only)


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


def _attempts(
    period: Period, dimensions: Sequence[str], only: Narrowing, *, is_by_time: bool
) -> FromClause:
    columns = {"key": "key_id"}
    known = [
        "label_set" if name.startswith("label:") else columns.get(name, name) for name in dimensions
    ]
    wanted = ("outcome", "kind", *known)
    return sums_of(usage_attempt, period, wanted, only, is_by_time=is_by_time)


def _read_attempts(
    view: FromClause,
    source: FromClause,
    dimensions: dict[str, ColumnElement[Any]],
    only: Narrowing,
) -> pl.DataFrame:
    v = view.c
    # What was mirrored is spending, but says nothing about how well anybody was served.
    is_real = v.kind != "shadow"
    sources = {"first_tried": "first_tries"}
    measures: dict[str, ColumnElement[Any]] = {
        "judged": sum_of(v.attempts, and_(is_real, v.outcome.not_in([*NOT_JUDGED, "superseded"]))),
        "succeeded": sum_of(v.attempts, and_(is_real, v.outcome == _SUCCESS)),
        "wasted_usd": cast(
            func.coalesce(func.sum(v.cost_usd).filter(v.outcome != _SUCCESS), 0), Text
        ),
        **{
            name: cast(func.sum(v[name]), Text)
            if kind == USD
            else sum_of(v[sources.get(name, name)])
            for name, kind in ATTEMPT_SUMS.items()
        },
    }
    return _read_grouped(source, dimensions, measures, narrowed(view, only))


def _read_grouped(
    source: FromClause,
    dimensions: dict[str, ColumnElement[Any]],
    measures: dict[str, ColumnElement[Any]],
    conditions: Sequence[ColumnElement[bool]],
) -> pl.DataFrame:
    statement = (
        select(
            *(column.label(name) for name, column in dimensions.items()),
            *(column.label(name) for name, column in measures.items()),
        )
        .select_from(source)
        .where(*conditions)
        .group_by(*places(len(dimensions)))
    )
    schema: Schema = {
        **{name: WALL_CLOCK if name == "bucket" else pl.String() for name in dimensions},
        **{name: USD if name.endswith("_usd") else pl.Int64() for name in measures},
    }
    return read_statement(statement, schema)


def _named(
    view: FromClause, names: Sequence[str]
) -> tuple[FromClause, dict[str, ColumnElement[Any]]]:
    """What to select from, and the columns of these dimensions there.

    Names of keys and values of labels are joined: looked up row by row, they took longer than all
    of the sums.
    """
    v, source = view.c, view
    found: dict[str, ColumnElement[Any]] = {}
    for name in names:
        if name == "key":
            keys = select(v_api_key.c.id, v_api_key.c.name).subquery()
            source = source.outerjoin(keys, keys.c.id == v.key_id)
            found[name] = func.coalesce(keys.c.name, cast(v.key_id, Text))
        elif name.startswith("label:"):
            wanted = as_literal(name.removeprefix("label:"))
            label = func.jsonb_extract_path_text(v_label_set.c.labels, wanted)
            sets = select(v_label_set.c.id, label.label("value")).subquery()
            source = source.outerjoin(sets, sets.c.id == v.label_set)
            found[name] = func.coalesce(sets.c.value, literal_column("''", Text()))
        else:
            found[name] = v[name]
    return source, found
