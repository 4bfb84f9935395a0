"""Ships a worker's spool to Postgres in the background, and what dead workers left behind."""

import asyncio
import contextlib
import logging
import random
import socket
import time
from datetime import UTC, date, datetime
from pathlib import Path

import msgspec

from gateway.domain.records import RequestRecord
from gateway.ledger.deadletters import DeadLetters
from gateway.ledger.frames import encode_payload
from gateway.ledger.reader import Batch, Found, read_batch, unfinished
from gateway.ledger.spool import Spool
from gateway.ledger.writers import Position, Writer, adopt_orphans
from gateway.storage.engine import make_engine
from gateway.storage.ingest import Row, Watermark, insert_absent, note_watermark
from gateway.storage.partitions import days_ahead, ensure_partitions
from gateway.storage.rows import UnstorableRecordError, attempt_rows, record_day, request_row
from gateway.storage.waiting import is_unavailable, run_bounded, sqlstate_of

FLUSH_S = 0.2
KEEP_S = 600.0
"""Shipped segments stay this long, to be shipped again after a failover that lost commits."""
_STORE_S = 30.0
_BACKOFF_S = (0.1, 5.0)
_SCHEMA_PAUSE_S = 10.0
_ADOPT_S = 10.0
_WATERMARK_S = 2.0
_CLEAN_S = 30.0
# Deadlock and serialization failure: the same rows go through when they are sent again.
_TRY_AGAIN = frozenset({"40P01", "40001"})
_DATA_CLASSES = frozenset({"22", "23"})

_log = logging.getLogger("tollway.shipper")


class ShipperState(msgspec.Struct, kw_only=True):
    """How shipping goes, for health checks and metrics."""

    shipped_records: int = 0
    dead_letters: int = 0
    corrupt_frames: int = 0
    backlog_bytes: int = 0
    is_connected: bool = True
    last_error: str | None = None
    last_record_at: datetime | None = None


class _Ready(msgspec.Struct, frozen=True):
    """A record as rows."""

    found: Found
    request: Row
    attempts: list[Row]


class Shipper:
    """Ships one worker's spool. ``run`` is its task; ``state`` may be read at any time."""

    def __init__(self, spool: Spool, database_url: str) -> None:
        self.state = ShipperState()
        self._spool = spool
        self._name = f"{socket.gethostname()}/{spool.writer.name}"
        self._engine = make_engine(database_url, pool_size=1, application_name="tollway shipper")
        self._dead = DeadLetters(spool.directory.parent / "deadletter")
        self._position = Position(sequence=1)
        self._days: set[date] = set()
        self._failures = 0
        self._is_draining = False
        self._shipping = asyncio.Lock()
        self._due_s: dict[str, float] = {}

    async def run(self) -> None:
        """Until cancelled: ship what is there, then wait a moment for more."""
        try:
            while True:
                try:
                    async with self._shipping:
                        await self._ship_all()
                except Exception as exc:  # noqa: BLE001 - requests live on; this must too
                    await asyncio.sleep(self._pause_s(exc))
                else:
                    self._recovered()
                    await asyncio.sleep(FLUSH_S)
        finally:
            await self._engine.dispose()

    async def drain(self, within_s: float) -> bool:
        """Ship everything that was appended; False when that was not possible in time.

        What is left stays on disk and is shipped by whoever adopts it. Call it after the spool was
        closed; the writer's lock is released in any case.
        """
        is_done = False
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(within_s):
                while not is_done:
                    try:
                        async with self._shipping:
                            await self._ship(self._spool.writer, live_sequence=None)
                            is_done = True
                    except Exception as exc:  # noqa: BLE001 - tried again until time is up
                        await asyncio.sleep(min(self._pause_s(exc), 1.0))
        if is_done:
            with contextlib.suppress(Exception):
                await self._note_watermark(self._spool.writer, None)
            self._spool.writer.remove_all()
        else:
            self._spool.writer.release()
        return is_done

    async def _ship_all(self) -> None:
        if self._is_due("adopt", _ADOPT_S):
            for writer in adopt_orphans(self._spool.directory):
                await self._ship_orphan(writer)
        await self._ship(self._spool.writer, live_sequence=self._spool.sequence)
        if self._is_due("watermark", _WATERMARK_S):
            await self._note_watermark(self._spool.writer, self._spool.sequence)
        if self._is_due("clean", _CLEAN_S):
            self._spool.writer.remove_shipped(self._position, older_than_s=KEEP_S)

    async def _ship_orphan(self, writer: Writer) -> None:
        """Ship what a writer left that has ended, and what its unfinished requests began."""
        try:
            position = writer.read_position()
            position = await self._ship_from(writer, position, live_sequence=None)
            lost = await asyncio.to_thread(unfinished, writer)
            for record in lost:
                payload = encode_payload(record)
                await self._store([Found(record, payload, writer.name, 0, None)])
            if lost:
                _log.warning(
                    "%d requests were open when %s ended; recorded as unknown_crash",
                    len(lost),
                    writer.name,
                )
        except BaseException:
            writer.release()
            raise
        writer.remove_all()

    async def _ship(self, writer: Writer, *, live_sequence: int | None) -> None:
        self._position = await self._ship_from(writer, self._position, live_sequence=live_sequence)

    async def _ship_from(
        self, writer: Writer, position: Position, *, live_sequence: int | None
    ) -> Position:
        while True:
            batch: Batch = await asyncio.to_thread(
                read_batch, writer, position, live_sequence=live_sequence
            )
            self.state.corrupt_frames += batch.corrupt_frames
            if batch.found:
                await self._store(batch.found)
            if batch.position != position:
                position = batch.position
                await asyncio.to_thread(writer.save_position, position)
                if writer is self._spool.writer:
                    self._position = position
            if batch.is_end:
                return position

    async def _store(self, found: list[Found]) -> None:
        """Store records; what Postgres will never take is set aside, the others are stored."""
        ready = await asyncio.to_thread(self._as_rows, found)
        if ready:
            await self._ensure_days(
                {record_day(item.found.record) for item in ready if item.found.record is not None}
            )
            await self._insert(ready)
        self.state.shipped_records += len(ready)
        last = found[-1].record
        if last is not None:
            self.state.last_record_at = last.received_at

    def _as_rows(self, found: list[Found]) -> list[_Ready]:
        ready: list[_Ready] = []
        for item in found:
            record: RequestRecord | None = item.record
            if record is None:
                self._set_aside(item, item.problem or "cannot be read", None)
                continue
            try:
                ready.append(_Ready(item, request_row(record), attempt_rows(record)))
            except (UnstorableRecordError, ValueError, OverflowError) as exc:
                self._set_aside(item, str(exc), None)
        return ready

    async def _insert(self, ready: list[_Ready]) -> None:
        requests = [item.request for item in ready]
        attempts = [row for item in ready for row in item.attempts]
        try:
            await run_bounded(
                self._engine,
                lambda connection: insert_absent(connection, requests, attempts),
                seconds=_STORE_S,
            )
        except Exception as exc:
            if not _is_data_error(exc):
                raise
            if len(ready) == 1:
                self._set_aside(ready[0].found, str(exc), sqlstate_of(exc))
                return
            # One bad row spoils a whole COPY: halve until it stands alone.
            middle = len(ready) // 2
            await self._insert(ready[:middle])
            await self._insert(ready[middle:])

    def _set_aside(self, found: Found, reason: str, sqlstate: str | None) -> None:
        self._dead.append(found, reason, sqlstate)
        self.state.dead_letters += 1
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

    async def _note_watermark(self, writer: Writer, live_sequence: int | None) -> None:
        self.state.backlog_bytes = _backlog_bytes(writer, self._position)
        now = datetime.now(UTC)
        mark = Watermark(
            worker=self._name,
            at=now,
            segment=writer.segment_name(live_sequence) if live_sequence is not None else None,
            last_record_at=self.state.last_record_at,
            oldest_unshipped_at=now if self.state.backlog_bytes else None,
            backlog_bytes=self.state.backlog_bytes,
        )
        await run_bounded(
            self._engine, lambda connection: note_watermark(connection, mark), seconds=_STORE_S
        )
        await self._dead.report(self._engine)

    def _is_due(self, task: str, every_s: float) -> bool:
        now_s = time.monotonic()
        if now_s < self._due_s.get(task, 0.0):
            return False
        self._due_s[task] = now_s + every_s
        return True

    def _pause_s(self, exc: Exception) -> float:
        """How long to wait after a failure; says it once, not every time."""
        self._failures += 1
        self.state.last_error = f"{type(exc).__name__}: {exc}"
        if sqlstate_of(exc) in _TRY_AGAIN:
            return random.uniform(0.0, 0.1)  # noqa: S311 - spreads retries, nothing more
        if self.state.is_connected:
            if is_unavailable(exc):
                _log.warning("Postgres does not answer; records wait on disk")
            else:
                _log.error("records cannot be stored; they wait on disk", exc_info=exc)
        self.state.is_connected = False
        if not is_unavailable(exc):
            return _SCHEMA_PAUSE_S
        lowest, highest = _BACKOFF_S
        longest = min(highest, lowest * 2 ** min(self._failures, 10))
        return random.uniform(lowest, longest)  # noqa: S311 - as above

    def _recovered(self) -> None:
        if not self.state.is_connected:
            _log.info("records reach Postgres again")
        self.state.is_connected = True
        self.state.last_error = None
        self._failures = 0


def _is_data_error(exc: Exception) -> bool:
    state = sqlstate_of(exc)
    if state is not None:
        return state[:2] in _DATA_CLASSES
    return isinstance(exc, ValueError | OverflowError | TypeError)


def _backlog_bytes(writer: Writer, position: Position) -> int:
    total = 0
    for sequence in writer.sequences():
        if sequence >= position.sequence:
            size = _size(writer.segment_path(sequence))
            total += size - (position.offset if sequence == position.sequence else 0)
    return max(0, total)


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except FileNotFoundError:
        return 0
