"""Brings records into Postgres: COPY into a waiting room, from there only what is not there."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from datetime import datetime
from uuid import UUID

import msgspec
from sqlalchemy import MetaData, Table, func, select, text
from sqlalchemy.dialects.postgresql import Insert, insert
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

_ROWS_AT_ONCE = 25
"""asyncpg encodes rows in the event loop; after so many, others have their turn."""

# Constraints stay behind: the table itself judges the rows. Names are ours, never input.
_WAITING_ROOM = "CREATE TEMPORARY TABLE IF NOT EXISTS {} (LIKE {}) ON COMMIT DELETE ROWS"

# What is committed may be forgotten by the spool, so a server whose commits return before they are
# on its disk is asked to wait; one that waits for its replicas too is left alone.
_WAIT_FOR_DISK = text(
    "SELECT set_config('synchronous_commit', 'local', true) "
    "WHERE current_setting('synchronous_commit') = 'off'"
)


class _Arrivals:
    """Where the rows of a table wait within a transaction, and how they leave."""

    def __init__(self, table: Table, name: str, columns: tuple[str, ...]) -> None:
        self.name = name
        self.columns = columns
        self.make = text(_WAITING_ROOM.format(name, table.name))
        waiting = table.to_metadata(MetaData(), name=name)
        # In the order of the keys: two who store the same rows wait for each other in turn, and
        # never both at once.
        rows = select(*(waiting.c[column] for column in columns)).order_by(*waiting.primary_key)
        self.take_in: Insert = (
            insert(table).from_select(list(columns), rows).on_conflict_do_nothing()
        )


_REQUESTS = _Arrivals(request_record, "arriving_request", REQUEST_COPY_COLUMNS)
_ATTEMPTS = _Arrivals(attempt_record, "arriving_attempt", ATTEMPT_COPY_COLUMNS)


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
    are in the order of the columns of `gateway.storage.rows`. Once committed they survive a crash
    of the server.
    """
    await connection.execute(_WAIT_FOR_DISK)
    await _copy(connection, _REQUESTS, requests)
    await _copy(connection, _ATTEMPTS, attempts)
    inserted = await connection.execute(_REQUESTS.take_in)
    await connection.execute(_ATTEMPTS.take_in)
    return inserted.rowcount


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


async def _copy(connection: AsyncConnection, arrivals: _Arrivals, rows: Sequence[Row]) -> None:
    await connection.execute(arrivals.make)
    raw = raw_connection(connection)
    if raw is None:
        raise DatabaseUnavailableError("the connection is gone")
    await raw.copy_records_to_table(
        arrivals.name, records=_in_turns(rows), columns=arrivals.columns
    )


async def _in_turns(rows: Sequence[Row]) -> AsyncIterator[Row]:
    for index, row in enumerate(rows, start=1):
        yield row
        if index % _ROWS_AT_ONCE == 0:
            await asyncio.sleep(0)
