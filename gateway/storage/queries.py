"""Reads of what was recorded: rows become the records that they were written from."""

from datetime import date
from typing import Any
from uuid import UUID

import msgspec
from sqlalchemy import RowMapping, Select, select, tuple_
from sqlalchemy.ext.asyncio import AsyncConnection

from gateway.domain.ids import day_of
from gateway.domain.records import AttemptRecord, RequestRecord
from gateway.storage.record_tables import attempt_record, cost_column, request_record
from pricing.usage import METERS


async def read_record(connection: AsyncConnection, request_id: UUID) -> RequestRecord | None:
    """A request with its attempts, as it was recorded; None when it is not there (yet).

    Texts come back as they were stored, that is without what PostgreSQL cannot hold, and the plan
    as plain JSON. Looks into one partition only.
    """
    try:
        day = day_of(request_id)
    except (ValueError, OverflowError, OSError):
        # Not an id of ours, so that it holds no day.
        return None
    records = await _read(
        connection,
        select(request_record).where(
            request_record.c.id == request_id, request_record.c.day == day
        ),
    )
    return records[0] if records else None


async def latest_records(
    connection: AsyncConnection,
    *,
    limit: int,
    key_id: UUID | None = None,
    before: UUID | None = None,
    since: date | None = None,
) -> list[RequestRecord]:
    """The newest requests with their attempts, newest first.

    Args:
        connection: any, also a reading one.
        limit: how many at most.
        key_id: of this key only; None means of every key.
        before: only what is older than this request; None begins with the newest.
        since: the first UTC day that is looked at; None looks at every day there is.
    """
    statement = select(request_record).order_by(request_record.c.id.desc()).limit(limit)
    if key_id is not None:
        statement = statement.where(request_record.c.key_id == key_id)
    if before is not None:
        statement = statement.where(
            request_record.c.id < before, request_record.c.day <= day_of(before)
        )
    if since is not None:
        statement = statement.where(request_record.c.day >= since)
    return await _read(connection, statement)


async def _read(connection: AsyncConnection, statement: Select[Any]) -> list[RequestRecord]:
    rows = (await connection.execute(statement)).mappings().all()
    attempts = await _attempts(connection, [(row["id"], row["day"]) for row in rows])
    return [_record(row, attempts.get(row["id"], [])) for row in rows]


async def _attempts(
    connection: AsyncConnection, keys: list[tuple[UUID, date]]
) -> dict[UUID, list[RowMapping]]:
    if not keys:
        return {}
    columns = attempt_record.c
    rows = await connection.execute(
        select(attempt_record)
        .where(
            tuple_(columns.request_id, columns.day).in_(keys),
            # Said once more for the planner, which leaves out partitions by this alone.
            columns.day.in_(sorted({day for _, day in keys})),
        )
        .order_by(columns.request_id, columns.number)
    )
    found: dict[UUID, list[RowMapping]] = {}
    for row in rows.mappings():
        found.setdefault(row["request_id"], []).append(row)
    return found


def _record(row: RowMapping, attempts: list[RowMapping]) -> RequestRecord:
    fields = _fields(row, RequestRecord)
    fields["user"] = row["end_user"]
    fields["attempts"] = [_attempt(attempt) for attempt in attempts]
    return msgspec.convert(fields, RequestRecord)


def _attempt(row: RowMapping) -> dict[str, object]:
    lines = {meter: row[cost_column(meter)] for meter in METERS}
    is_metered = row[METERS[0]] is not None
    return {
        **_fields(row, AttemptRecord),
        "usage": {meter: row[meter] for meter in METERS} if is_metered else None,
        "cost": {
            "total_usd": row["cost_usd"],
            "lines": {meter: line for meter, line in lines.items() if line is not None},
            "status": row["cost_status"],
            "source": row["cost_source"],
            "computed_usd": row["computed_cost_usd"],
            "price_version": row["price_version"],
        },
    }


def _fields(row: RowMapping, struct: type[msgspec.Struct]) -> dict[str, object]:
    return {field: row[field] for field in struct.__struct_fields__ if field in row}
