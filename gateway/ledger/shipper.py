"""Ships a worker's spool to Postgres in the background, and what dead workers left behind."""

import asyncio
import contextlib
import logging
import random
import socket
import time
from collections import deque
from datetime import UTC, date, datetime

import msgspec

from gateway.domain.records import RequestRecord
from gateway.ledger.deadletters import DeadLetters
from gateway.ledger.frames import UnknownVersionError, encode_payload
from gateway.ledger.pressure import Pressure
from gateway.ledger.reader import Batch, Found, read_batch, unfinished
from gateway.ledger.spool import Spool
from gateway.ledger.writers import Position, Writer, adopt_orphans
from gateway.storage.engine import make_engine
from gateway.storage.ingest import Row, Watermark, insert_absent, note_watermark
from gateway.storage.partitions import days_ahead, ensure_partitions
from gateway.storage.rows import UnstorableRecordError, attempt_rows, record_day, request_row
from gateway.storage.waiting import (
    DatabaseUnavailableError,
    bounded,
    is_unavailable,
    run_bounded,
    sqlstate_of,
)

FLUSH_S = 0.2
KEEP_S = 600.0
"""Shipped segments stay this long, to be shipped again after a failover that lost commits."""
_STORE_S = 30.0
_DISPOSE_S = 1.0
_BATCH = 1_000
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
    """Including those that were there already."""
    dead_letters: int = 0
    corrupt_frames: int = 0
    backlog_bytes: int = 0
    """Of this writer and of those it has adopted."""
    oldest_unshipped_at: datetime | None = None
    """Nothing older is missing from Postgres; None when nothing is."""
    is_connected: bool = True
    last_error: str | None = None
    last_record_at: datetime | None = None


class _Ready(msgspec.Struct, frozen=True):
    """A record as rows."""

    found: Found
    request: Row
    attempts: list[Row]


class _Orphan:
    """What a writer left behind that has ended; its lock is held here until all is shipped."""

    __slots__ = ("is_shipped", "position", "writer")

    def __init__(self, writer: Writer) -> None:
        self.writer = writer
        self.position = writer.read_position()
        self.is_shipped = False


class Shipper:
    """Ships one worker's spool. ``run`` is its task; ``state`` may be read at any time."""

    def __init__(self, spool: Spool, database_url: str) -> None:
        self.state = ShipperState()
        self._spool = spool
        self._name = f"{socket.gethostname()}/{spool.writer.name}"
        self._engine = make_engine(database_url, pool_size=1, application_name="tollway shipper")
        self._dead = DeadLetters(spool.directory.parent / "deadletter")
        self._position = Position(sequence=1)
        self._orphans: deque[_Orphan] = deque()
        self._refused: set[str] = set()
        self._days: set[date] = set()
        self._failures = 0
        self._shipping = asyncio.Lock()
        self._due_s: dict[str, float] = {}
        self._caught_up_at = datetime.now(UTC)

    async def run(self) -> None:
        """Until cancelled: ship what is there, then wait a moment for more."""
        try:
            while True:
                try:
                    async with self._shipping:
                        has_more = await self._ship_a_while()
                except Exception as exc:  # noqa: BLE001 - requests live on; this must too
                    pause_s = self._pause_s(exc)
                else:
                    self._recovered()
                    pause_s = 0.0 if has_more else FLUSH_S
                self._observe()
                await asyncio.sleep(pause_s)
        finally:
            while self._orphans:
                self._orphans.popleft().writer.release()
            # Its connection may hang with its server, and the process is about to end.
            with contextlib.suppress(DatabaseUnavailableError):
                await bounded(self._engine.dispose(), _DISPOSE_S)

    async def drain(self, within_s: float) -> bool:
        """Ship everything that was appended; False when that was not possible in time.

        What is left stays on disk and is shipped by whoever adopts it. Call it after the spool was
        closed; the writer's lock is released in any case.
        """
        own = self._spool.writer
        is_done = False
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(within_s):
                while not is_done:
                    try:
                        async with self._shipping:
                            while await self._ship_own(is_ended=True):
                                pass
                            await self._settle_unfinished(own)
                            is_done = True
                            await self._note_watermark(None)
                    except Exception as exc:  # noqa: BLE001 - tried again until time is up
                        await asyncio.sleep(min(self._pause_s(exc), 1.0))
        # Shipped segments stay a while all the same, as `KEEP_S` says: their adopter deletes them.
        own.release()
        self._observe()
        return is_done

    async def _ship_a_while(self) -> bool:
        """A batch of our own, then one of the oldest orphan; True when more is waiting.

        Taking turns keeps today's records flowing while hours of older ones are brought in.
        """
        has_more = await self._ship_own(is_ended=False)
        if self._is_due("adopt", _ADOPT_S):
            self._adopt()
        has_more = await self._ship_orphan() or has_more
        if self._is_due("watermark", _WATERMARK_S):
            await self._note_watermark(self._spool.sequence)
        if self._is_due("clean", _CLEAN_S):
            self._clean()
        return has_more

    async def _ship_own(self, *, is_ended: bool) -> bool:
        live_sequence = None if is_ended else self._spool.sequence
        read_at = datetime.now(UTC)
        batch = await self._ship_batch(self._spool.writer, self._position, live_sequence)
        self._position = batch.position
        if batch.is_end:
            self._caught_up_at = read_at
        return not batch.is_end

    def _adopt(self) -> None:
        for writer in adopt_orphans(self._spool.directory):
            if writer.name in self._refused:
                writer.release()
            else:
                self._orphans.append(_Orphan(writer))

    async def _ship_orphan(self) -> bool:
        """The next batch of the oldest orphan; at its end, what its open requests had begun."""
        orphan = next((waiting for waiting in self._orphans if not waiting.is_shipped), None)
        if orphan is None:
            return False
        try:
            batch = await self._ship_batch(orphan.writer, orphan.position, None)
            orphan.position = batch.position
            if batch.is_end:
                await self._settle_unfinished(orphan.writer)
                orphan.is_shipped = True
        except (UnknownVersionError, PermissionError) as exc:
            # Not ours to ship: it stays on disk, and nobody else waits for it.
            _log.error("what %s left cannot be shipped: %s", orphan.writer.name, exc)
            self._refused.add(orphan.writer.name)
            self._orphans.remove(orphan)
            orphan.writer.release()
        return True

    async def _settle_unfinished(self, writer: Writer) -> None:
        """Record the requests of an ended writer that have no record of their own."""
        lost = await asyncio.to_thread(unfinished, writer)
        for start in range(0, len(lost), _BATCH):
            records = lost[start : start + _BATCH]
            await self._store(
                [Found(record, encode_payload(record), writer.name, 0, None) for record in records]
            )
        if lost:
            _log.warning("%s left %d requests open; they count as crashed", writer.name, len(lost))

    async def _ship_batch(
        self, writer: Writer, position: Position, live_sequence: int | None
    ) -> Batch:
        batch = await asyncio.to_thread(read_batch, writer, position, live_sequence=live_sequence)
        if batch.found:
            await self._store(batch.found)
        if batch.position != position:
            self.state.corrupt_frames += batch.corrupt_frames
            await asyncio.to_thread(writer.save_position, batch.position)
        return batch

    def _clean(self) -> None:
        """Delete what was shipped `KEEP_S` ago, or at once when the spool fills."""
        is_short = self._spool.pressure in {Pressure.ORANGE, Pressure.RED}
        keep_s = 0.0 if is_short else KEEP_S
        self._spool.writer.remove_shipped(self._position, older_than_s=keep_s)
        for orphan in [waiting for waiting in self._orphans if waiting.is_shipped]:
            if orphan.writer.is_older_than(keep_s):
                orphan.writer.remove_all()
                self._orphans.remove(orphan)

    def _observe(self) -> None:
        """Bring the state up to date, whether or not Postgres answers."""
        orphans = [orphan for orphan in self._orphans if not orphan.is_shipped]
        own_bytes = self._spool.writer.bytes_after(self._position)
        orphaned_bytes = sum(orphan.writer.bytes_after(orphan.position) for orphan in orphans)
        now = datetime.now(UTC)
        if not own_bytes:
            self._caught_up_at = now
        self.state.backlog_bytes = own_bytes + orphaned_bytes
        since = min((orphan.writer.began_at for orphan in orphans), default=self._caught_up_at)
        oldest_at = min(since, self._caught_up_at) if self.state.backlog_bytes else None
        self.state.oldest_unshipped_at = oldest_at
        age_s = (now - oldest_at).total_seconds() if oldest_at is not None else 0.0
        self._spool.oldest_unshipped_s = max(0.0, age_s)

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
            if _lacks_partition(exc):
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
            await self._insert(ready[:middle])
            await self._insert(ready[middle:])

    def _set_aside(self, found: Found, reason: str, sqlstate: str | None) -> None:
        """Keep a record apart; waits for the disk, so it runs on a thread."""
        if self._dead.append(found, reason, sqlstate):
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

    async def _note_watermark(self, live_sequence: int | None) -> None:
        self._observe()
        writer = self._spool.writer
        mark = Watermark(
            worker=self._name,
            at=datetime.now(UTC),
            segment=writer.segment_name(live_sequence) if live_sequence is not None else None,
            last_record_at=self.state.last_record_at,
            oldest_unshipped_at=self.state.oldest_unshipped_at,
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
        if sqlstate_of(exc) in _TRY_AGAIN or _lacks_partition(exc):
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


def _lacks_partition(exc: Exception) -> bool:
    # The same state as a violated CHECK constraint, which is the row's fault.
    return sqlstate_of(exc) == "23514" and "no partition of relation" in str(exc)
