"""How the database is read, and what is read of single requests; `dashboard.sums` reads roll-ups.

Statements are bounded in time and come back limited. NUMERIC, uuid and jsonb are selected as text:
ADBC hands them over as opaque bytes. Money stays Decimal.
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
    Select,
    Text,
    and_,
    cast,
    func,
    literal,
    select,
)
from sqlalchemy.dialects import postgresql

from dashboard.installation import installation
from dashboard.narrowing import EVERYTHING, Narrowing
from dashboard.outcomes import of_outcomes
from dashboard.schemas import (
    ATTEMPTS,
    FRESHNESS,
    REQUEST,
    REQUESTS,
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


_SUCCESS = "success"
_DIALECT: Any = postgresql.dialect(paramstyle="numeric_dollar")  # pyright: ignore[reportUnknownMemberType] - untyped

_Select: TypeAlias = Select[*tuple[Any, ...]]


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
def read_requests(
    start: datetime,
    end: datetime,
    before: str | None,
    limit: int,
    only: Narrowing = EVERYTHING,
) -> pl.DataFrame:
    """`REQUESTS` of a period, newest first.

    Args:
        start: inclusive.
        end: exclusive.
        before: only requests older than the one with this UUID; None from the newest.
        limit: at most so many rows.
        only: which part of the traffic; provider and model are those that served.
    """
    statement = (
        _select_requests(REQUESTS)
        .where(_within(v_request.c.received_at, v_request.c.day, start, end), *_narrowed(only))
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


def _narrowed(only: Narrowing) -> list[ColumnElement[bool]]:
    conditions: list[ColumnElement[bool]] = []
    if only.providers:
        conditions.append(v_request.c.used_provider.in_(list(only.providers)))
    if only.rules:
        conditions.append(v_request.c.rule_version.in_(list(only.rules)))
    if only.outcomes:
        conditions.append(of_outcomes(only.outcomes, v_request.c.outcome, v_request.c.is_fallback))
    if only.models:
        conditions.append(v_request.c.used_model.in_(list(only.models)))
    if only.keys:
        conditions.append(v_api_key.c.name.in_(list(only.keys)))
    for name, values in only.labels_by_name.items():
        label = func.jsonb_extract_path_text(v_request.c.labels, as_literal(name))
        conditions.append(label.in_(values))
    return conditions


def _as_text(column: ColumnElement[Any], kind: pl.DataType) -> ColumnElement[Any]:
    # Money, ids and JSON: what ADBC cannot read as it stands.
    return cast(column, Text) if kind in {USD, pl.String()} else column


def _within(
    at: ColumnElement[datetime], day: ColumnElement[date], start: datetime, end: datetime
) -> ColumnElement[bool]:
    return and_(at >= as_instant(start), at < as_instant(end), _is_near(day, start, end))


def _is_near(day: ColumnElement[date], start: datetime, end: datetime) -> ColumnElement[bool]:
    # The day is the request's; an attempt may begin on the next one, and clocks differ a little.
    first, last = start.date() - timedelta(days=1), end.date() + timedelta(days=1)
    return day.between(_date(first), _date(last))


def as_literal(value: str) -> ColumnElement[str]:
    """A text with its type, where the database could not tell it."""
    return cast(literal(value, Text), Text)


def _uuid(value: UUID) -> ColumnElement[Any]:
    return cast(literal(str(value), Text), postgresql.UUID)


def _date(value: date) -> ColumnElement[date]:
    return cast(literal(value.isoformat(), Text), Date)


def as_instant(value: datetime) -> ColumnElement[datetime]:
    """An aware instant."""
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
