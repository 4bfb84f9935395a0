"""Brings records into Postgres: COPY into a waiting room, from there only what is not there."""

from collections.abc import Sequence
from datetime import datetime
from uuid import UUID

import msgspec
from sqlalchemy import Table, func, select, text
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncConnection

from gateway.storage.engine import raw_connection
from gateway.storage.rows import ATTEMPT_COPY_COLUMNS, REQUEST_COPY_COLUMNS
from gateway.storage.tables import (
    MAX_FRAME_BYTES,
    attempt_record,
    ingest_error,
    request_record,
    ship_watermark,
)
from gateway.storage.waiting import DatabaseUnavailableError

Row = tuple[object, ...]

_WAITING = {request_record: "arriving_request", attempt_record: "arriving_attempt"}
_COLUMNS = {request_record: REQUEST_COPY_COLUMNS, attempt_record: ATTEMPT_COPY_COLUMNS}


class Watermark(msgspec.Struct, frozen=True, kw_only=True):
    """How far a worker has shipped."""

    worker: str
    at: datetime
    segment: str | None
    last_record_at: datetime | None
    oldest_unshipped_at: datetime | None
    """None when everything is shipped."""
    backlog_bytes: int


class DeadRow(msgspec.Struct, frozen=True, kw_only=True):
    """A frame that Postgres will not take."""

    seen_at: datetime
    segment: str
    offset: int
    record_id: UUID | None
    sqlstate: str | None
    reason: str
    frame: bytes


async def insert_absent(
    connection: AsyncConnection, requests: Sequence[Row], attempts: Sequence[Row]
) -> int:
    """Store rows whose keys are not there yet; returns how many requests were new.

    Replaying rows changes nothing, whoever shipped them before. The partitions must exist. Rows
    are in the order of the columns of `gateway.storage.rows`.
    """
    await _copy(connection, request_record, requests)
    await _copy(connection, attempt_record, attempts)
    inserted = await _take_in(connection, request_record)
    await _take_in(connection, attempt_record)
    return inserted


async def note_watermark(connection: AsyncConnection, mark: Watermark) -> None:
    """Tell how far a worker has shipped, so that idle can be told from stale."""
    values = {
        "updated_at": mark.at,
        "segment": mark.segment,
        "last_record_at": mark.last_record_at,
        "oldest_unshipped_at": mark.oldest_unshipped_at,
        "backlog_bytes": mark.backlog_bytes,
    }
    statement = insert(ship_watermark).values(worker=mark.worker, **values)
    kept = {
        **values,
        "last_record_at": func.coalesce(
            statement.excluded.last_record_at, ship_watermark.c.last_record_at
        ),
    }
    await connection.execute(
        statement.on_conflict_do_update(index_elements=[ship_watermark.c.worker], set_=kept)
    )


async def note_dead(connection: AsyncConnection, dead: DeadRow) -> None:
    """Set a frame aside, once however often its segment is replayed."""
    await connection.execute(
        insert(ingest_error)
        .values(
            seen_at=dead.seen_at,
            segment=dead.segment,
            frame_offset=dead.offset,
            record_id=dead.record_id,
            sqlstate=dead.sqlstate,
            reason=dead.reason[:1000],
            frame=dead.frame[:MAX_FRAME_BYTES],
        )
        .on_conflict_do_nothing()
    )


async def _copy(connection: AsyncConnection, table: Table, rows: Sequence[Row]) -> None:
    waiting = _WAITING[table]
    # Names are ours, never input. Constraints stay behind: the table itself judges the rows.
    await connection.execute(
        text(
            f"CREATE TEMPORARY TABLE IF NOT EXISTS {waiting} (LIKE {table.name}) "
            "ON COMMIT DELETE ROWS"
        )
    )
    raw = raw_connection(connection)
    if raw is None:
        raise DatabaseUnavailableError("the connection is gone")
    await raw.copy_records_to_table(waiting, records=rows, columns=_COLUMNS[table])


async def _take_in(connection: AsyncConnection, table: Table) -> int:
    names = list(_COLUMNS[table])
    waiting = table.to_metadata(type(table.metadata)(), name=_WAITING[table])
    statement = insert(table).from_select(names, select(*(waiting.c[name] for name in names)))
    result = await connection.execute(statement.on_conflict_do_nothing())
    return result.rowcount
