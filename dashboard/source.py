"""The only file that reads the database: every statement, and for how long its answer holds.

Statements are bounded in time and come back aggregated or limited. NUMERIC, uuid and jsonb are
selected as text: ADBC hands them over as opaque bytes. Money stays Decimal.
There are no roll-ups yet, so sums and percentiles are computed from the rows of the period.
"""

from datetime import date, datetime, timedelta
from typing import Any, TypeAlias
from uuid import UUID

import polars as pl
import streamlit as st
from sqlalchemy import (
    ColumnElement,
    Date,
    DateTime,
    Double,
    Select,
    Text,
    and_,
    case,
    cast,
    func,
    literal,
    select,
    tuple_,
)
from sqlalchemy.dialects import postgresql
from sqlalchemy.dialects.postgresql import INTERVAL

from dashboard.installation import installation
from dashboard.periods import Period
from dashboard.schemas import (
    ATTEMPTS,
    FIRST_TRIES,
    FRESHNESS,
    PROVIDERS,
    REQUEST,
    REQUESTS,
    TRAFFIC,
    USD,
    Schema,
)
from gateway.storage.tables import (
    USD_SCALE,
    v_api_key,
    v_attempt,
    v_request,
    v_ship_watermark,
)

FRESH_S = 30
"""Seconds for which an answer is shared by all readers."""

NOT_JUDGED = ("client_cancelled", "gateway_shutdown")
"""Outcomes that say nothing about how well anybody served."""

_SUCCESS = "success"
_DIALECT: Any = postgresql.dialect(paramstyle="numeric_dollar")  # pyright: ignore[reportUnknownMemberType] - untyped

_Select: TypeAlias = Select[*tuple[Any, ...]]


@st.cache_data(ttl=FRESH_S, max_entries=64, show_spinner=False)
def read_traffic(start: datetime, end: datetime, bucket: timedelta, zone: str) -> pl.DataFrame:
    """`TRAFFIC` of a period. Percentiles are of successful requests."""
    rows = (
        select(
            _bucket(v_request.c.received_at, start, bucket, zone).label("bucket"),
            v_request.c.outcome,
            v_request.c.attempts_count,
            v_request.c.is_fallback,
            v_request.c.stream,
            v_request.c.prompt_tokens,
            v_request.c.completion_tokens,
            v_request.c.cached_tokens,
            v_request.c.duration_ms,
            v_request.c.ttft_ms,
        )
        .where(_within(v_request.c.received_at, v_request.c.day, start, end))
        .subquery()
    )
    is_success = rows.c.outcome == _SUCCESS
    statement: _Select = select(
        rows.c.bucket,
        func.count().label("requests"),
        _count(rows.c.attempts_count > 0).label("tried"),
        _count(and_(rows.c.attempts_count > 0, rows.c.outcome.not_in(NOT_JUDGED))).label("judged"),
        _count(is_success).label("succeeded"),
        _count(rows.c.is_fallback).label("fell_back"),
        _count(and_(rows.c.is_fallback, is_success)).label("rescued"),
        _sum(
            func.coalesce(rows.c.prompt_tokens, 0) + func.coalesce(rows.c.completion_tokens, 0)
        ).label("tokens"),
        _sum(rows.c.prompt_tokens).label("prompt_tokens"),
        _sum(rows.c.cached_tokens).label("cached_tokens"),
        _percentile(0.5, rows.c.duration_ms, is_success).label("p50_ms"),
        _percentile(0.95, rows.c.duration_ms, is_success).label("p95_ms"),
        _percentile(0.95, rows.c.ttft_ms, and_(is_success, rows.c.stream)).label("ttft_p95_ms"),
    ).group_by(func.grouping_sets(tuple_(rows.c.bucket), tuple_()))
    return _read(statement, TRAFFIC)


@st.cache_data(ttl=FRESH_S, max_entries=64, show_spinner=False)
def read_providers(start: datetime, end: datetime, bucket: timedelta, zone: str) -> pl.DataFrame:
    """`PROVIDERS` of a period. Percentiles are of successful attempts."""
    rows = (
        select(
            _bucket(v_attempt.c.started_at, start, bucket, zone).label("bucket"),
            v_attempt.c.provider,
            v_attempt.c.outcome,
            v_attempt.c.cost_usd,
            v_attempt.c.usage_source,
            v_attempt.c.duration_ms,
        )
        .where(_within(v_attempt.c.started_at, v_attempt.c.day, start, end))
        .subquery()
    )
    is_success = rows.c.outcome == _SUCCESS
    is_unpriced = rows.c.cost_usd.is_(None)
    statement: _Select = select(
        rows.c.bucket,
        rows.c.provider,
        func.count().label("attempts"),
        _count(rows.c.outcome.not_in(NOT_JUDGED)).label("judged"),
        _count(is_success).label("succeeded"),
        cast(func.sum(rows.c.cost_usd), Text).label("cost_usd"),
        _count(rows.c.usage_source.is_not(None) | is_unpriced).label("billable"),
        _count(is_unpriced).label("unpriced"),
        _percentile(0.5, rows.c.duration_ms, is_success).label("p50_ms"),
        _percentile(0.95, rows.c.duration_ms, is_success).label("p95_ms"),
    ).group_by(func.grouping_sets(tuple_(rows.c.bucket, rows.c.provider), tuple_(rows.c.provider)))
    return _read(statement, PROVIDERS)


@st.cache_data(ttl=FRESH_S, max_entries=64, show_spinner=False)
def read_first_tries(start: datetime, end: datetime) -> pl.DataFrame:
    """`FIRST_TRIES` of a period: by the provider of each request's first attempt."""
    is_elsewhere = and_(v_request.c.is_fallback, v_request.c.used_provider != v_attempt.c.provider)
    statement: _Select = (
        select(
            v_attempt.c.provider,
            func.count().label("first_tried"),
            _count(is_elsewhere).label("served_elsewhere"),
        )
        .join_from(
            v_request,
            v_attempt,
            and_(
                v_attempt.c.request_id == v_request.c.id,
                v_attempt.c.day == v_request.c.day,
                v_attempt.c.number == 1,
            ),
        )
        .where(
            _within(v_request.c.received_at, v_request.c.day, start, end),
            _is_near(v_attempt.c.day, start, end),
        )
        .group_by(v_attempt.c.provider)
    )
    return _read(statement, FIRST_TRIES)


@st.cache_data(ttl=5, max_entries=1, show_spinner=False)
def read_freshness() -> pl.DataFrame:
    """`FRESHNESS`: how far every worker has brought its records into the database."""
    watermark = v_ship_watermark.c
    return _read(
        select(
            watermark.worker,
            watermark.updated_at,
            watermark.last_record_at,
            watermark.oldest_unshipped_at,
            watermark.backlog_bytes,
        ),
        FRESHNESS,
    )


@st.cache_data(ttl=10, max_entries=128, show_spinner=False)
def read_requests(start: datetime, end: datetime, before: str | None, limit: int) -> pl.DataFrame:
    """`REQUESTS` of a period, newest first.

    Args:
        start: inclusive.
        end: exclusive.
        before: only requests older than the one with this UUID; None from the newest.
        limit: at most so many rows.
    """
    statement = (
        _select_requests(REQUESTS)
        .where(_within(v_request.c.received_at, v_request.c.day, start, end))
        # Ids are ordered by time, so the primary key yields the latest without a sort.
        .order_by(v_request.c.id.desc())
        .limit(limit)
    )
    if before is not None:
        at = UUID(before)
        statement = statement.where(
            v_request.c.id < _uuid(at), v_request.c.day <= _date(day_of(at))
        )
    return _read(statement, REQUESTS)


@st.cache_data(ttl=10, max_entries=128, show_spinner=False)
def read_request(request_id: str) -> pl.DataFrame:
    """`REQUEST`: one row, or none when it is unknown, past retention, or not shipped yet."""
    at = UUID(request_id)
    statement = _select_requests(REQUEST).where(
        v_request.c.id == _uuid(at), v_request.c.day == _date(day_of(at))
    )
    return _read(statement, REQUEST)


@st.cache_data(ttl=10, max_entries=128, show_spinner=False)
def read_attempts(request_ids: tuple[str, ...]) -> pl.DataFrame:
    """`ATTEMPTS` of the given requests, in the order in which they were made."""
    if not request_ids:
        return pl.DataFrame(schema=ATTEMPTS)
    ids = [UUID(request_id) for request_id in request_ids]
    days = [day_of(request_id) for request_id in ids]
    columns = (_as_text(v_attempt.c[name], kind).label(name) for name, kind in ATTEMPTS.items())
    statement = (
        select(*columns)
        .where(
            v_attempt.c.request_id.in_([_uuid(request_id) for request_id in ids]),
            v_attempt.c.day.between(_date(min(days)), _date(max(days))),
        )
        .order_by(v_attempt.c.request_id, v_attempt.c.number)
    )
    return _read(statement, ATTEMPTS)


def traffic_of(period: Period) -> pl.DataFrame:
    """`read_traffic` of a period."""
    return read_traffic(period.start, period.end, period.bucket, period.zone)


def providers_of(period: Period) -> pl.DataFrame:
    """`read_providers` of a period."""
    return read_providers(period.start, period.end, period.bucket, period.zone)


def day_of(request_id: UUID) -> date:
    """The UTC day whose partition holds a request: its UUIDv7 begins with 48 bits of Unix ms."""
    return (datetime(1970, 1, 1) + timedelta(milliseconds=request_id.int >> 80)).date()  # noqa: DTZ001 - UTC by definition


def _select_requests(schema: Schema) -> _Select:
    columns = (
        (v_api_key.c.name if name == "key_name" else _as_text(v_request.c[name], kind)).label(name)
        for name, kind in schema.items()
    )
    return select(*columns).select_from(
        v_request.outerjoin(v_api_key, v_api_key.c.id == v_request.c.key_id)
    )


def _as_text(column: ColumnElement[Any], kind: pl.DataType) -> ColumnElement[Any]:
    # Money, ids and JSON: what ADBC cannot read as it stands.
    return cast(column, Text) if kind in {USD, pl.String()} else column


def _bucket(
    at: ColumnElement[datetime], start: datetime, bucket: timedelta, zone: str
) -> ColumnElement[Any]:
    width = cast(literal(f"{int(bucket.total_seconds())} seconds", Text), INTERVAL)
    wall = func.timezone(_text(zone), at)
    origin = func.timezone(_text(zone), _instant(start))
    return func.date_bin(width, wall, origin)


def _within(
    at: ColumnElement[datetime], day: ColumnElement[date], start: datetime, end: datetime
) -> ColumnElement[bool]:
    return and_(at >= _instant(start), at < _instant(end), _is_near(day, start, end))


def _is_near(day: ColumnElement[date], start: datetime, end: datetime) -> ColumnElement[bool]:
    # The day is the request's; an attempt may begin on the next one, and clocks differ a little.
    first, last = start.date() - timedelta(days=1), end.date() + timedelta(days=1)
    return day.between(_date(first), _date(last))


def _count(condition: ColumnElement[bool]) -> ColumnElement[int]:
    return func.count(case((condition, 1)))


def _sum(quantity: ColumnElement[Any]) -> ColumnElement[Any]:
    # The sum of bigint is NUMERIC, which would arrive opaque.
    return cast(func.sum(quantity), postgresql.BIGINT)


def _percentile(
    share: float, column: ColumnElement[Any], condition: ColumnElement[bool]
) -> ColumnElement[Any]:
    ordered = func.percentile_cont(literal(share, Double)).within_group(column)
    return ordered.filter(condition)


def _text(value: str) -> ColumnElement[str]:
    return cast(literal(value, Text), Text)


def _uuid(value: UUID) -> ColumnElement[Any]:
    return cast(literal(str(value), Text), postgresql.UUID)


def _date(value: date) -> ColumnElement[date]:
    return cast(literal(value.isoformat(), Text), Date)


def _instant(value: datetime) -> ColumnElement[datetime]:
    return cast(literal(value.isoformat(), Text), DateTime(timezone=True))


def read_statement(statement: _Select, schema: Schema) -> pl.DataFrame:
    """For statements that stand in other files; theirs are the caches.

    Raises:
        SourceError: the database cannot be read now.
    """
    return _read(statement, schema)


def _read(statement: _Select, schema: Schema) -> pl.DataFrame:
    compiled: Any = statement.compile(dialect=_DIALECT, compile_kwargs={"render_postcompile": True})
    parameters = [compiled.params[name] for name in compiled.positiontup or ()]
    frame = installation().pool.read(str(compiled), parameters)
    if frame.columns != list(schema):
        raise RuntimeError(f"expected columns {list(schema)}, got {frame.columns}")
    return frame.with_columns(_parsed(name, kind) for name, kind in schema.items())


def _parsed(name: str, kind: pl.DataType) -> pl.Expr:
    column = pl.col(name)
    if kind == USD:
        return column.cast(pl.String).str.to_decimal(scale=USD_SCALE).cast(USD)
    return column.cast(kind)
