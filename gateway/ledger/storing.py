"""Brings a batch of records into Postgres, and sets aside what it will never take."""

import asyncio
import logging
import time
from datetime import UTC, date, datetime

import msgspec
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from gateway.domain.records import LateAttempts, RequestRecord
from gateway.ledger.deadletters import DeadLetters
from gateway.ledger.reader import Found
from gateway.storage.charging import Charged, charge_new
from gateway.storage.ingest import Row, insert_absent
from gateway.storage.partitions import days_ahead, ensure_partitions
from gateway.storage.rows import UnstorableRecordError, attempt_rows, record_day, request_row
from gateway.storage.waiting import run_bounded, sqlstate_of

_STORE_S = 30.0
_ROWS_AT_ONCE = 50
_DATA_CLASSES = frozenset({"22", "23"})

_log = logging.getLogger("tollway.shipper")


class ShipperState(msgspec.Struct, kw_only=True):
    """How shipping goes, for health checks and metrics."""

    shipped_records: int = 0
    """Including those that were there already."""
    dead_letters: int = 0
    corrupt_frames: int = 0
    refused_writers: int = 0
    """Of ended processes, whose segments cannot be read here; they stay on disk."""
    backlog_bytes: int = 0
    """Of this writer and of those it has adopted."""
    oldest_unshipped_at: datetime | None = None
    """Nothing older is missing from Postgres; None when nothing is."""
    is_connected: bool = True
    last_error: str | None = None
    last_record_at: datetime | None = None


class _Ready(msgspec.Struct, frozen=True):
    """A record as rows; of late attempts, only those."""

    found: Found
    day: date
    request: Row | None
    attempts: list[Row]
    charged: Charged | None = None


class RecordStore:
    """Stores records once, however often they are brought."""

    def __init__(self, engine: AsyncEngine, dead: DeadLetters, state: ShipperState) -> None:
        self._engine = engine
        self._dead = dead
        self._state = state
        self._days: set[date] = set()

    async def store(self, found: list[Found], *, worker: str = "") -> None:
        """Store records; what Postgres will never take is set aside, the others are stored.

        Args:
            found: of one writer.
            worker: its name: whose leases of budgets shrink by what the records cost.

        Raises:
            DatabaseUnavailableError: Postgres cannot be reached or does not answer in time.
            DBAPIError: it refused for another reason than what the records hold.
            OSError: a record could not be set aside.
        """
        ready = await asyncio.to_thread(self._as_rows, found)
        if ready:
            await self._ensure_days({item.day for item in ready})
            await self._insert(ready, worker)
        self._state.shipped_records += len(ready)
        last = found[-1].record if found else None
        if last is not None and not isinstance(last, LateAttempts):
            self._state.last_record_at = last.received_at

    def _as_rows(self, found: list[Found]) -> list[_Ready]:
        ready: list[_Ready] = []
        for index, item in enumerate(found):
            if index % _ROWS_AT_ONCE == 0:
                # This is done on a thread; the event loop has to wait for it to let go.
                time.sleep(0)
            record = item.record
            if record is None:
                self._set_aside(item, item.problem or "cannot be read", None)
                continue
            try:
                request = None if isinstance(record, LateAttempts) else request_row(record)
                day, rows = record_day(record), attempt_rows(record)
                row = _Ready(item, day, request, rows, _charged(record, day))
            except (UnstorableRecordError, ValueError, OverflowError) as exc:
                self._set_aside(item, str(exc), None)
            else:
                ready.append(row)
        return ready

    async def _insert(self, ready: list[_Ready], worker: str) -> None:
        requests = [item.request for item in ready if item.request is not None]
        attempts = [row for item in ready for row in item.attempts]
        charged = [item.charged for item in ready if item.charged is not None]

        async def insert(connection: AsyncConnection) -> None:
            await insert_absent(connection, requests, attempts)
            await charge_new(connection, worker, charged)

        try:
            await run_bounded(self._engine, insert, seconds=_STORE_S)
        except Exception as exc:
            if lacks_partition(exc):
                # Dropped since it was last seen there: made anew when the batch is tried again.
                self._days.clear()
                raise
            if not _is_data_error(exc):
                raise
            if len(ready) == 1:
                await asyncio.to_thread(self._set_aside, ready[0].found, str(exc), sqlstate_of(exc))
                return
            # One bad row spoils a whole COPY: halve until it stands alone.
            middle = len(ready) // 2
            await self._insert(ready[:middle], worker)
            await self._insert(ready[middle:], worker)

    def _set_aside(self, found: Found, reason: str, sqlstate: str | None) -> None:
        """Keep a record apart; waits for the disk, so it runs on a thread."""
        if self._dead.append(found, reason, sqlstate):
            self._state.dead_letters += 1
            _log.error("a record at %s:%d was set aside: %s", found.segment, found.offset, reason)

    async def _ensure_days(self, days: set[date]) -> None:
        missing = days - self._days
        if not missing:
            return
        wanted = {*missing, *days_ahead(datetime.now(UTC).date())}
        await run_bounded(
            self._engine, lambda connection: ensure_partitions(connection, wanted), seconds=_STORE_S
        )
        self._days |= wanted


def _charged(record: RequestRecord | LateAttempts, day: date) -> Charged | None:
    charge = record.charge if isinstance(record, RequestRecord) else None
    if charge is None or charge.nusd == 0:
        # Refusals and free answers change no budget.
        return None
    return Charged(id=record.id, day=day, charge=charge)


def lacks_partition(exc: Exception) -> bool:
    """Whether the partition of a row's day is not there (any more)."""
    # The same state as a violated CHECK constraint, which is the row's fault.
    return sqlstate_of(exc) == "23514" and "no partition of relation" in str(exc)


def _is_data_error(exc: Exception) -> bool:
    state = sqlstate_of(exc)
    if state is not None:
        return state[:2] in _DATA_CLASSES
    return isinstance(exc, ValueError | OverflowError | TypeError)
