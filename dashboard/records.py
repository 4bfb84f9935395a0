"""Reads single requests: pages of them by keyset, and everything about one.

Statements are bounded in time and come back limited; ids are ordered by time, so the primary key
yields a page without a sort. NUMERIC, uuid and jsonb are selected as text: see `dashboard.source`.
"""

from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import Any, TypeAlias
from uuid import UUID

import polars as pl
import streamlit as st
from sqlalchemy import ColumnElement, Select, Table, Text, cast, func, literal, or_, select
from sqlalchemy.dialects import postgresql

from dashboard.narrowing import EVERYTHING, Narrowing
from dashboard.outcomes import of_outcomes
from dashboard.schemas import ADJUSTMENTS, ATTEMPTS, REQUEST, REQUESTS, USD, Schema
from dashboard.search import ANYTHING, Search
from dashboard.source import as_day, as_instant, as_literal, read_statement
from gateway.storage.tables import v_api_key, v_attempt, v_cost_adjustment, v_request

_Select: TypeAlias = Select[*tuple[Any, ...]]

_SHARED_S = 10
_MAX_ENTRIES = 128
_ROUNDING = timedelta(seconds=1)
_BELOW_TIME = 80
_LEAST = 7 << 76 | 0b10 << 62
"""Below the time: the version and the variant of a UUIDv7, and nothing else."""


def read_requests(
    start: datetime,
    end: datetime,
    before: str | None,
    limit: int,
    *,
    only: Narrowing = EVERYTHING,
    search: Search = ANYTHING,
    since: str | None = None,
) -> pl.DataFrame:
    """`REQUESTS` of a period, newest first. Nothing is kept for others: see `dashboard.looking`.

    Args:
        start: inclusive.
        end: exclusive.
        before: only requests older than the one with this UUID; None from the newest.
        limit: at most so many rows.
        only: which part of the traffic; provider and model are those that served.
        search: what else must be true.
        since: no request whose UUID is less than this one; None to the oldest.
    """
    statement = _within(_select_requests(REQUESTS), start, end, only, search)
    statement = _from(_below(statement, before), since)
    return read_statement(statement.order_by(v_request.c.id.desc()).limit(limit), REQUESTS)


def read_newer(
    start: datetime,
    end: datetime,
    after: str,
    limit: int,
    *,
    only: Narrowing = EVERYTHING,
    search: Search = ANYTHING,
    until: str | None = None,
) -> pl.DataFrame:
    """The UUIDs of the requests that come right after one, oldest first; as `read_requests`.

    ``until``, another UUID, is exclusive; None to the newest.
    """
    at = UUID(after)
    statement = _within(_select_requests(_ID), start, end, only, search).where(
        v_request.c.id > _uuid(at), v_request.c.day >= as_day(day_of(at))
    )
    return read_statement(_below(statement, until).order_by(v_request.c.id).limit(limit), _ID)


@st.cache_data(ttl=_SHARED_S, max_entries=_MAX_ENTRIES, show_spinner=False)
def read_request(request_id: str) -> pl.DataFrame:
    """`REQUEST`: one row, or none when it is unknown, past retention, or not shipped yet."""
    at = UUID(request_id)
    statement = _select_requests(REQUEST).where(
        v_request.c.id == _uuid(at), v_request.c.day == as_day(day_of(at))
    )
    return read_statement(statement, REQUEST)


@st.cache_data(ttl=_SHARED_S, max_entries=_MAX_ENTRIES, show_spinner=False)
def read_attempts(request_ids: tuple[str, ...]) -> pl.DataFrame:
    """`ATTEMPTS` of the given requests, in the order in which they were made."""
    return _read_of(request_ids, v_attempt, ATTEMPTS, (v_attempt.c.number,))


@st.cache_data(ttl=_SHARED_S, max_entries=_MAX_ENTRIES, show_spinner=False)
def read_adjustments(request_ids: tuple[str, ...]) -> pl.DataFrame:
    """`ADJUSTMENTS` of the given requests: what was corrected since, in that order."""
    return _read_of(request_ids, v_cost_adjustment, ADJUSTMENTS, (v_cost_adjustment.c.id,))


def day_of(request_id: UUID) -> date:
    """The UTC day whose partition holds a request."""
    return instant_of(request_id).date()


def instant_of(request_id: UUID) -> datetime:
    """When a request came, in UTC: its UUIDv7 begins with 48 bits of Unix ms."""
    return datetime(1970, 1, 1, tzinfo=UTC) + timedelta(milliseconds=request_id.int >> _BELOW_TIME)


def least_id(at: datetime) -> UUID:
    """The least that a request of that instant could have; of all later ones it is below."""
    return UUID(int=int(at.timestamp() * 1_000) << _BELOW_TIME | _LEAST)


def is_least_id(request_id: UUID) -> bool:
    """Whether it stands for an instant, and not for a request, whose id is drawn by chance."""
    return request_id.int & ((1 << _BELOW_TIME) - 1) == _LEAST


_ID: Schema = {"id": pl.String()}


def _read_of(
    request_ids: tuple[str, ...],
    view: Table,
    schema: Schema,
    order: tuple[ColumnElement[Any], ...],
) -> pl.DataFrame:
    if not request_ids:
        return pl.DataFrame(schema=schema)
    ids = [UUID(request_id) for request_id in request_ids]
    days = [day_of(request_id) for request_id in ids]
    columns = (_as_text(view.c[name], kind).label(name) for name, kind in schema.items())
    statement: _Select = (
        select(*columns)
        .where(
            view.c.request_id.in_([_uuid(request_id) for request_id in ids]),
            view.c.day.between(as_day(min(days)), as_day(max(days))),
        )
        .order_by(view.c.request_id, *order)
    )
    return read_statement(statement, schema)


def _select_requests(schema: Schema) -> _Select:
    columns = (
        (v_api_key.c.name if name == "key_name" else _as_text(v_request.c[name], kind)).label(name)
        for name, kind in schema.items()
    )
    return select(*columns).select_from(
        v_request.outerjoin(v_api_key, v_api_key.c.id == v_request.c.key_id)
    )


def _within(
    statement: _Select, start: datetime, end: datetime, only: Narrowing, search: Search
) -> _Select:
    request = v_request.c
    # The day is that of the id, which is of the same instant, or later where a clock was set back.
    # Without the oldest id the day before would be read to its end for the one request in it.
    oldest = least_id(start - _ROUNDING)
    last = end.date() + timedelta(days=1)
    return statement.where(
        request.received_at >= as_instant(start),
        request.received_at < as_instant(end),
        request.id >= _uuid(oldest),
        request.day.between(as_day(day_of(oldest)), as_day(last)),
        *_narrowed(only),
        *_found_by(search),
    )


def _below(statement: _Select, request_id: str | None) -> _Select:
    if request_id is None:
        return statement
    at = UUID(request_id)
    return statement.where(v_request.c.id < _uuid(at), v_request.c.day <= as_day(day_of(at)))


def _from(statement: _Select, request_id: str | None) -> _Select:
    if request_id is None:
        return statement
    at = UUID(request_id)
    return statement.where(v_request.c.id >= _uuid(at), v_request.c.day >= as_day(day_of(at)))


def _narrowed(only: Narrowing) -> list[ColumnElement[bool]]:
    request = v_request.c
    conditions: list[ColumnElement[bool]] = []
    if only.providers:
        conditions.append(request.used_provider.in_(list(only.providers)))
    if only.models:
        conditions.append(request.used_model.in_(list(only.models)))
    if only.keys:
        conditions.append(v_api_key.c.name.in_(list(only.keys)))
    if only.rules:
        conditions.append(request.rule_version.in_(list(only.rules)))
    if only.outcomes:
        conditions.append(of_outcomes(only.outcomes, request.outcome, request.is_fallback))
    for name, values in only.labels_by_name.items():
        label = func.jsonb_extract_path_text(request.labels, as_literal(name))
        conditions.append(label.in_(values))
    return conditions


def _found_by(search: Search) -> list[ColumnElement[bool]]:
    request = v_request.c
    conditions: list[ColumnElement[bool]] = []
    if search.session:
        conditions.append(request.session_id == as_literal(search.session))
    if search.user:
        conditions.append(request.end_user == as_literal(search.user))
    if search.model:
        model = as_literal(search.model)
        conditions.append(or_(request.requested_model == model, request.used_model == model))
    if search.status is not None:
        conditions.append(request.status_code == search.status)
    for column, low, high in (
        (request.cost_usd, search.cost_from, search.cost_to),
        (request.duration_ms, search.ms_from, search.ms_to),
    ):
        if low is not None:
            conditions.append(column >= _number(low, column))
        if high is not None:
            conditions.append(column <= _number(high, column))
    return conditions


def _number(value: Decimal | float, column: ColumnElement[Any]) -> ColumnElement[Any]:
    return cast(literal(str(value), Text), column.type)


def _as_text(column: ColumnElement[Any], kind: pl.DataType) -> ColumnElement[Any]:
    # Money, ids and JSON: what ADBC cannot read as it stands.
    return cast(column, Text) if kind in {USD, pl.String()} else column


def _uuid(value: UUID) -> ColumnElement[Any]:
    return cast(literal(str(value), Text), postgresql.UUID)
