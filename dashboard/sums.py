"""Reads roll-ups: what charts and figures are made of, for any period and part of the traffic.

Every statement groups in the database and comes back with as many rows as are drawn. Sums are
exact; percentiles come from merged histograms, within 2 %.
"""

from collections.abc import Sequence
from datetime import timedelta
from typing import Any, TypeAlias

import polars as pl
import streamlit as st
from sqlalchemy import (
    ColumnElement,
    FromClause,
    Integer,
    Select,
    Text,
    and_,
    any_,
    case,
    cast,
    func,
    literal,
    literal_column,
    or_,
    select,
    union_all,
)
from sqlalchemy.dialects import postgresql
from sqlalchemy.dialects.postgresql import INTERVAL

from dashboard import queries
from dashboard.grains import sums_of
from dashboard.narrowing import EVERYTHING, Narrowing
from dashboard.outcomes import NOT_JUDGED, of_outcomes
from dashboard.periods import MINUTE_GRAIN_BELOW, Period, offsets_within
from dashboard.schemas import (
    ATTEMPT_SUMS,
    DIMENSIONS,
    FALLBACKS,
    HISTOGRAM,
    PROVIDERS,
    PROVIDERS_SEEN,
    TRAFFIC,
    USD,
    WALL_CLOCK,
    Schema,
)
from dashboard.source import FRESH_S, as_instant, as_literal, read_statement
from gateway.storage.coarse_tables import COARSE
from gateway.storage.rollup_tables import (
    latency,
    usage_attempt,
    usage_request,
    v_fallback,
    v_fallback_minute,
    v_label_set,
    v_provider_seen,
)
from gateway.storage.tables import v_api_key, v_rule_set

_Select: TypeAlias = Select[*tuple[Any, ...]]

_SUCCESS = "success"
_DAYS = next(one.view for one in COARSE if one.table.name == "usage_attempt_day")
_ZERO: ColumnElement[int] = literal_column("0", Integer())
_MOST_OPTIONS = 500
_OPTIONS_S = 300
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


@st.cache_data(ttl=_OPTIONS_S, max_entries=1, show_spinner=False)
def read_dimensions() -> pl.DataFrame:
    """`DIMENSIONS`: what may be chosen in filters, over all time."""
    names = func.jsonb_each_text(v_label_set.c.labels).table_valued("key", "value")
    parts = [
        select(literal("provider", Text).label("kind"), v_provider_seen.c.provider.label("value")),
        select(literal("model", Text), _DAYS.c.model).distinct(),
        select(literal("key", Text), v_api_key.c.name).distinct(),
        select(literal("rule", Text), v_rule_set.c.version).distinct(),
        select(literal("label", Text), names.c.key + "=" + names.c.value)
        .select_from(v_label_set.join(names, literal_column("true")))
        .distinct(),
    ]
    found = union_all(*(part.limit(_MOST_OPTIONS) for part in parts)).subquery()
    return read_statement(select(found.c.kind, found.c.value), DIMENSIONS)


@st.cache_data(ttl=_OPTIONS_S, max_entries=1, show_spinner=False)
def read_providers_seen() -> list[str]:
    """Every provider that was ever tried, the first one first."""
    seen = v_provider_seen.c
    statement = select(seen.provider).order_by(seen.first_seen_at, seen.provider)
    return read_statement(statement, PROVIDERS_SEEN)["provider"].to_list()


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


def narrowed(view: FromClause, only: Narrowing) -> Sequence[ColumnElement[bool]]:
    """What a view's rows must be to belong to this part of the traffic."""
    v = view.c
    conditions: list[ColumnElement[bool]] = []
    if not only.has_attempts and "is_fallback" not in v:
        raise ValueError("attempts have neither rules nor outcomes of requests")
    if only.rules:
        conditions.append(v.rule_version.in_(list(only.rules)))
    if only.outcomes:
        conditions.append(of_outcomes(only.outcomes, v.outcome, v.is_fallback))
    if only.providers:
        conditions.append(v.provider.in_(list(only.providers)))
    if only.models:
        conditions.append(v.model.in_(list(only.models)))
    if only.keys:
        keys = select(v_api_key.c.id).where(v_api_key.c.name.in_(list(only.keys)))
        conditions.append(v.key_id == _any_of(keys))
    for name, values in only.labels_by_name.items():
        sets = select(v_label_set.c.id).where(
            func.jsonb_extract_path_text(v_label_set.c.labels, as_literal(name)).in_(values)
        )
        conditions.append(v.label_set == _any_of(sets))
    return conditions


def _any_of(ids: _Select) -> ColumnElement[Any]:
    # Found once: joined, they were looked for anew for each row of the sums.
    return any_(func.array(ids.scalar_subquery()))


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


def bucket_of(at: ColumnElement[Any], period: Period) -> ColumnElement[Any]:
    """The bucket of the period that an instant lies in, on its wall clock."""
    seconds = int(period.bucket.total_seconds())
    width: ColumnElement[Any] = literal_column(f"interval '{seconds} seconds'", INTERVAL())
    origin: ColumnElement[Any] = literal_column(f"timestamp '{period.origin.isoformat()}'")
    return func.date_bin(width, wall_clock(at, period), origin)


def wall_clock(at: ColumnElement[Any], period: Period) -> ColumnElement[Any]:
    """An instant of the period on the clock of its zone."""
    # Many times as fast as by the zone's name, which would be looked up for each row.
    *earlier, (_, last) = offsets_within(period)
    ends = [(at < as_instant(end), _shifted(at, offset)) for end, offset in earlier]
    return case(*ends, else_=_shifted(at, last)) if ends else _shifted(at, last)


def _shifted(at: ColumnElement[Any], offset: timedelta) -> ColumnElement[Any]:
    seconds = f"interval '{offset.total_seconds():.0f} seconds'"
    fixed: ColumnElement[Any] = literal_column(seconds, INTERVAL())
    return func.timezone(fixed, at)


def sum_of(
    quantity: ColumnElement[Any], condition: ColumnElement[bool] | None = None
) -> ColumnElement[Any]:
    """A sum as the driver can read it; with a condition, of the rows where it holds."""
    # The sum of bigint is NUMERIC, which would arrive opaque.
    if condition is not None:
        quantity = case((condition, quantity), else_=_ZERO)
    return cast(func.coalesce(func.sum(quantity), _ZERO), postgresql.BIGINT)


def places(count: int) -> list[ColumnElement[Any]]:
    """To group by the first columns of a statement."""
    return [literal_column(str(place), Integer()) for place in range(1, count + 1)]
