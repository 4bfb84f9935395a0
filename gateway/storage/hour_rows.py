"""The rows that the roll-ups of an hour are made from, read once into temporary tables."""

from collections.abc import Sequence
from datetime import date, datetime, timedelta
from typing import Any, TypeAlias

from sqlalchemy import (
    Boolean,
    ColumnElement,
    Select,
    Table,
    TableClause,
    TextClause,
    and_,
    column,
    select,
    table,
    text,
    tuple_,
    union,
)
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncConnection

from gateway.storage.adjusted import adjusted_attempts, adjusted_requests
from gateway.storage.record_tables import attempt_record, cost_adjustment, request_record
from gateway.storage.rollup_source import ATTEMPT_SOURCE, REQUEST_SOURCE, Source
from gateway.storage.table_kinds import Usd

_Select: TypeAlias = Select[*tuple[Any, ...]]

_ONE_DAY = timedelta(days=1)


_JOINED = {"id", "request_id", "day", "number", "is_counted"}
_ADDED = {"adjustment_usd": "0::numeric", "is_counted": "true"}
"""Columns that are not in the record tables, by a value of their kind."""


def _taken(name: str, parent: Table, names: Sequence[str]) -> TableClause:
    kept = (column(one, parent.c[one].type) for one in names)
    return table(name, *kept, column("adjustment_usd", Usd), column("is_counted", Boolean))


def _make(taken: TableClause, parent: Table) -> TextClause:
    # Names are ours, never input.
    columns = ", ".join(
        f"{_ADDED[one.name]} AS {one.name}" if one.name in _ADDED else one.name
        for one in taken.columns
    )
    rows = f"SELECT {columns} FROM {parent.name} WITH NO DATA"  # noqa: S608
    return text(
        f"CREATE TEMPORARY TABLE IF NOT EXISTS {taken.name} ON COMMIT DELETE ROWS AS {rows}"
    )


_IDS = table("taken_id", *(column(one.name, one.type) for one in request_record.primary_key))
_REQUESTS = _taken("taken_request", request_record, REQUEST_SOURCE)
_ATTEMPTS = _taken("taken_attempt", attempt_record, ATTEMPT_SOURCE)
_READY = (
    _make(_IDS, request_record),
    _make(_REQUESTS, request_record),
    _make(_ATTEMPTS, attempt_record),
    text(f"TRUNCATE {_IDS.name}, {_REQUESTS.name}, {_ATTEMPTS.name}"),
)

TAKEN = Source(
    select(_REQUESTS).where(_REQUESTS.c.is_counted).subquery("requests"),
    select(_ATTEMPTS).where(_ATTEMPTS.c.is_counted).subquery("attempts"),
    _REQUESTS,
    _ATTEMPTS,
)
"""What `take_hour` took."""


async def take_hour(connection: AsyncConnection, start: datetime, end: datetime) -> None:
    """Take the requests that came in a time and the attempts that began then, as they count.

    Others of the same requests come along: they tell which attempt was the first and which one
    served. All stay until the transaction ends or the next are taken.
    """
    for statement in _READY:
        await connection.execute(statement)
    r, a, made, ids = request_record.c, attempt_record.c, cost_adjustment.c, _IDS.c
    # An attempt belongs to the day of its request, and may have begun on the next one.
    days = (start.date() - _ONE_DAY, end.date())
    came, began = _is_within(r.received_at, start, end), _is_within(a.started_at, start, end)
    await _fill(connection, _IDS, _ids(days, came, began))
    first = await connection.scalar(select(ids.id).order_by(ids.id).limit(1))
    if first is None:
        return
    last = await connection.scalar(select(ids.id).order_by(ids.id.desc()).limit(1))
    chosen = select(ids.id, ids.day)
    # Ids are in the order of time, so that few others lie between the first and the last.
    corrections = [made.day.between(*days), made.request_id.between(first, last)]
    requests = adjusted_requests(
        [r.day.between(*days), r.id.between(first, last), tuple_(r.id, r.day).in_(chosen)],
        corrections,
    )
    attempts = adjusted_attempts(
        [
            a.day.between(*days),
            a.request_id.between(first, last),
            tuple_(a.request_id, a.day).in_(chosen),
        ],
        corrections,
    )
    await _fill(connection, _REQUESTS, requests.add_columns(came.label("is_counted")))
    await _fill(connection, _ATTEMPTS, attempts.add_columns(began.label("is_counted")))


def _ids(days: tuple[date, date], came: ColumnElement[bool], began: ColumnElement[bool]) -> _Select:
    r, a = request_record.c, attempt_record.c
    both = union(
        select(r.id, r.day).where(r.day.between(*days), came),
        select(a.request_id, a.day).where(a.day.between(*days), began),
    ).subquery()
    return select(both.c.id, both.c.day)


async def _fill(connection: AsyncConnection, into: TableClause, rows: _Select) -> None:
    names = [one.name for one in into.columns]
    await connection.execute(insert(into).from_select(names, rows))
    # Nobody else looks after temporary tables: the planner would take this one for empty. It asks
    # how many rows there are, and of the others only about columns that are joined on.
    keys = [one for one in names if one in _JOINED]
    await connection.execute(text(f"ANALYZE {into.name} ({', '.join(keys)})"))


def _is_within(at: ColumnElement[Any], start: datetime, end: datetime) -> ColumnElement[bool]:
    return and_(at >= start, at < end)
