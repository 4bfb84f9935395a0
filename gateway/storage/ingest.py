"""Brings records into Postgres: COPY into a waiting room, from there only what is not there.

What was new is added to the roll-ups in the same transaction: rows first, then roll-ups, each in
the order of its keys.
"""

import asyncio
from collections.abc import AsyncIterator, Sequence
from datetime import datetime
from typing import Any
from uuid import UUID

import msgspec
from sqlalchemy import ColumnClause, MetaData, Table, column, func, select, table, text
from sqlalchemy.dialects.postgresql import Insert, insert
from sqlalchemy.ext.asyncio import AsyncConnection

from gateway.storage.engine import raw_connection
from gateway.storage.record_tables import (
    MAX_FRAME_BYTES,
    attempt_record,
    ingest_error,
    request_record,
    ship_watermark,
)
from gateway.storage.rollup_source import ATTEMPT_SOURCE, REQUEST_SOURCE, Source
from gateway.storage.rollups import additions, new_label_sets, new_providers, note_changed
from gateway.storage.rows import ATTEMPT_COPY_COLUMNS, REQUEST_COPY_COLUMNS
from gateway.storage.waiting import DatabaseUnavailableError

Row = tuple[object, ...]

_ROWS_AT_ONCE = 25
"""asyncpg encodes rows in the event loop; after so many, others have their turn."""

ROLL_UP_LOCK = int.from_bytes(b"tw-roll")
"""Shared by whoever adds to the roll-ups, held alone by whoever makes them anew."""

# Constraints stay behind: the table itself judges the rows. Names are ours, never input.
_WAITING_ROOM = "CREATE TEMPORARY TABLE IF NOT EXISTS {} (LIKE {}) ON COMMIT DELETE ROWS"
_STORED = (
    "CREATE TEMPORARY TABLE IF NOT EXISTS {} ON COMMIT DELETE ROWS "
    "AS SELECT {} FROM {} WITH NO DATA"
)

# What is committed may be forgotten by the spool, so a server whose commits return before they are
# on its disk is asked to wait; one that waits for its replicas too is left alone.
_WAIT_FOR_DISK = text(
    "SELECT CASE current_setting('synchronous_commit') WHEN 'off' "
    "THEN set_config('synchronous_commit', 'local', true) END, "
    f"pg_advisory_xact_lock_shared({ROLL_UP_LOCK})"
)


class _Arrivals:
    """Where the rows of a table wait within a transaction, and what is known of the new ones."""

    def __init__(
        self, parent: Table, name: str, columns: tuple[str, ...], kept: tuple[str, ...]
    ) -> None:
        self.name = name
        self.columns = columns
        self.make = text(_WAITING_ROOM.format(name, parent.name))
        self.stored = table(f"stored_{parent.name}", *map(_column, kept))
        self.make_stored = text(_STORED.format(self.stored.name, ", ".join(kept), parent.name))
        waiting = parent.to_metadata(MetaData(), name=name)
        # In the order of the keys: two who store the same rows wait for each other in turn, and
        # never both at once.
        rows = select(*(waiting.c[column] for column in columns)).order_by(*waiting.primary_key)
        stored = (
            insert(parent)
            .from_select(list(columns), rows)
            .on_conflict_do_nothing()
            .returning(*(parent.c[name] for name in kept))
            .cte("stored")
        )
        self.take_in: Insert = insert(self.stored).from_select(list(kept), select(stored))


def _column(name: str) -> ColumnClause[Any]:
    return column(name)


_REQUESTS = _Arrivals(request_record, "arriving_request", REQUEST_COPY_COLUMNS, REQUEST_SOURCE)
_ATTEMPTS = _Arrivals(attempt_record, "arriving_attempt", ATTEMPT_COPY_COLUMNS, ATTEMPT_SOURCE)


_ROLL_UPS: tuple[Insert, ...] = (
    new_label_sets(_REQUESTS.stored),
    new_label_sets(_ATTEMPTS.stored),
    new_providers(_ATTEMPTS.stored),
    *additions(Source(_REQUESTS.stored, _ATTEMPTS.stored, _REQUESTS.stored, _ATTEMPTS.stored)),
    note_changed(_REQUESTS.stored, _ATTEMPTS.stored),
)


class Watermark(msgspec.Struct, frozen=True, kw_only=True):
    """How far a worker has shipped."""

    worker: str
    at: datetime
    segment: str | None
    last_record_at: datetime | None
    oldest_unshipped_at: datetime | None
    """None when everything is shipped."""
    backlog_bytes: int
    backlog_records: int = 0
    """About so many."""


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
    """Store and sum up rows whose keys are not there yet; returns how many requests were new.

    Replaying rows changes nothing, whoever shipped them before. The partitions must exist. Rows
    are in the order of the columns of `gateway.storage.rows`. Once committed they survive a crash
    of the server. Once in a transaction: only its end empties the waiting rooms.
    """
    await connection.execute(_WAIT_FOR_DISK)
    await _copy(connection, _REQUESTS, requests)
    await _copy(connection, _ATTEMPTS, attempts)
    new_requests = (await connection.execute(_REQUESTS.take_in)).rowcount
    new_attempts = (await connection.execute(_ATTEMPTS.take_in)).rowcount
    if new_requests or new_attempts:
        for statement in _ROLL_UPS:
            await connection.execute(statement)
    return new_requests


async def note_watermark(connection: AsyncConnection, mark: Watermark) -> None:
    """Tell how far a worker has shipped, so that idle can be told from stale."""
    values = {
        "updated_at": mark.at,
        "segment": mark.segment,
        "last_record_at": mark.last_record_at,
        "oldest_unshipped_at": mark.oldest_unshipped_at,
        "backlog_bytes": mark.backlog_bytes,
        "backlog_records": mark.backlog_records,
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
    await connection.execute(arrivals.make_stored)
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
