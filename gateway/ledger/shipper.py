"""Ships a worker's spool to Postgres in the background, and what dead workers left behind."""

import asyncio
import contextlib
import logging
import random
import socket
import time
from datetime import UTC, datetime
from typing import NamedTuple

from gateway.domain.records import LateAttempts, RequestRecord
from gateway.ledger.deadletters import DeadLetters
from gateway.ledger.frames import UnknownVersionError, encode_payload
from gateway.ledger.orphans import Orphan, Orphans
from gateway.ledger.pressure import Pressure
from gateway.ledger.reader import Batch, Found, read_batch, shipped_up_to, unfinished
from gateway.ledger.spool import Spool
from gateway.ledger.storing import RecordStore, ShipperState, lacks_partition
from gateway.ledger.writers import Position, Writer
from gateway.storage.engine import make_engine
from gateway.storage.ingest import Watermark, note_watermark
from gateway.storage.leases import release_worker
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
_TELL_S = 30.0
_DISPOSE_S = 1.0
_BATCH = 1_000
_BACKOFF_S = (0.1, 5.0)
_SCHEMA_PAUSE_S = 10.0
_ADOPT_S = 10.0
_WATERMARK_S = 2.0
_USUAL_RECORD_BYTES = 1_500
_CLEAN_S = 30.0
_CLEAN_WHEN_SHORT_S = 1.0
_OBSERVE_S = 0.2
# Deadlock and serialization failure, a lock or an answer that took too long: the same rows may go
# through when they are sent again.
_PASSING_CLASS = "40"
_PASSING_STATES = frozenset({"55P03", "57014"})
_MOST_UNTOLD_FAILURES = 5

_log = logging.getLogger("tollway.shipper")


class _Measured(NamedTuple):
    """How many bytes are not in Postgres yet."""

    own: int
    orphaned: int


class Shipper:
    """Ships one worker's spool. ``run`` is its task; ``state`` may be read at any time."""

    def __init__(self, spool: Spool, database_url: str) -> None:
        self.state = ShipperState()
        self._spool = spool
        self._name = f"{socket.gethostname()}/{spool.writer.name}"
        self._engine = make_engine(database_url, pool_size=1, application_name="tollway shipper")
        self._dead = DeadLetters(spool.directory.parent / "deadletter")
        self._store = RecordStore(self._engine, self._dead, self.state)
        self._position = Position(sequence=1)
        self._orphans = Orphans(spool.directory)
        self._failures = 0
        self._shipping = asyncio.Lock()
        self._due_s: dict[str, float] = {}
        self._caught_up_at = datetime.now(UTC)
        self._record_bytes = _USUAL_RECORD_BYTES

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
                with contextlib.suppress(OSError):
                    await self._look_after_files()
                await asyncio.sleep(pause_s)
        finally:
            self._orphans.release()
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
                            lost = await asyncio.to_thread(unfinished, own)
                            await self._store_unfinished(own, lost)
                            is_done = True
                            with contextlib.suppress(OSError):
                                own.mark_settled()
                            await self._note_watermark(None)
                    except Exception as exc:  # noqa: BLE001 - tried again until time is up
                        await asyncio.sleep(min(self._pause_s(exc), 1.0))
        # Shipped segments stay a while all the same, as `KEEP_S` says: their adopter deletes them.
        own.release()
        await self._observe()
        return is_done

    async def _ship_a_while(self) -> bool:
        """A batch of our own, then one of the oldest orphan; True when more is waiting.

        Taking turns keeps today's records flowing while hours of older ones are brought in.
        """
        has_more = await self._ship_own(is_ended=False)
        if self._is_due("adopt", _ADOPT_S):
            await asyncio.to_thread(self._orphans.adopt, keep_s=self._keep_s())
        has_more = await self._ship_orphan() or has_more
        if self._is_due("watermark", _WATERMARK_S):
            await self._note_watermark(self._spool.sequence)
        return has_more

    async def _ship_own(self, *, is_ended: bool) -> bool:
        writer = self._spool.writer
        live_sequence = None if is_ended else self._spool.sequence
        read_at = datetime.now(UTC)
        batch = await asyncio.to_thread(
            read_batch, writer, self._position, live_sequence=live_sequence
        )
        self._position = await self._ship_batch(writer, self._position, batch)
        self._caught_up_at = shipped_up_to(batch, read_at, self._caught_up_at)
        return not batch.is_end

    async def _ship_orphan(self) -> bool:
        """The next batch of the oldest orphan; at its end, what its open requests had begun."""
        if not self._orphans.held:
            return False
        orphan = self._orphans.held[0]
        try:
            batch = await asyncio.to_thread(
                read_batch, orphan.writer, orphan.position, live_sequence=None
            )
            lost = await asyncio.to_thread(unfinished, orphan.writer) if batch.is_end else []
        except (UnknownVersionError, OSError) as exc:
            self._orphans.refuse(orphan, exc)
            self.state.refused_writers = self._orphans.refused_count
            return True
        orphan.position = await self._ship_batch(orphan.writer, orphan.position, batch)
        orphan.unshipped_since = shipped_up_to(batch, datetime.now(UTC), orphan.unshipped_since)
        if batch.is_end:
            await self._store_unfinished(orphan.writer, lost)
            await asyncio.to_thread(self._orphans.settle, orphan)
        return True

    async def _ship_batch(self, writer: Writer, position: Position, batch: Batch) -> Position:
        if batch.found:
            await self._store.store(batch.found, worker=writer.name)
            taken = sum(len(one.payload) for one in batch.found)
            self._record_bytes = max(1, taken // len(batch.found))
        if batch.position != position:
            self.state.corrupt_frames += batch.corrupt_frames
            await asyncio.to_thread(_remember, writer, position, batch.position)
        return batch.position

    async def _store_unfinished(
        self, writer: Writer, lost: list[RequestRecord | LateAttempts]
    ) -> None:
        """Record what an ended writer had begun and has no record of; its leases end with that."""
        for start in range(0, len(lost), _BATCH):
            await self._store.store(
                [
                    Found(record, encode_payload(record), writer.name, start + index, None)
                    for index, record in enumerate(lost[start : start + _BATCH])
                ],
                worker=writer.name,
            )
        # Whatever it held of budgets and did not spend is free: nothing of it is on its way.
        await run_bounded(
            self._engine,
            lambda connection: release_worker(connection, writer.name),
            seconds=_TELL_S,
        )
        if lost:
            _log.warning("%s left %d requests open; they count as crashed", writer.name, len(lost))

    async def _look_after_files(self) -> None:
        """Whether or not Postgres answers: bring the state up to date, delete what may go."""
        if self._is_due("observe", _OBSERVE_S):
            await self._observe()
        if self._is_due("clean", _CLEAN_S if self._keep_s() else _CLEAN_WHEN_SHORT_S):
            await asyncio.to_thread(
                self._spool.writer.remove_shipped,
                self._position,
                older_than_s=self._keep_s(),
                keep_from=self._spool.needed_from,
            )

    def _keep_s(self) -> float:
        """How long shipped segments stay: not at all when the spool fills."""
        is_short = self._spool.pressure in {Pressure.ORANGE, Pressure.RED}
        return 0.0 if is_short else KEEP_S

    async def _observe(self) -> None:
        held = tuple(self._orphans.held)
        measured = await asyncio.to_thread(self._measure, held)
        now = datetime.now(UTC)
        if not measured.own:
            self._caught_up_at = now
        since = [orphan.unshipped_since for orphan in held] if measured.orphaned else []
        if measured.own:
            since.append(self._caught_up_at)
        oldest_at = min(since, default=None)
        self.state.backlog_bytes = measured.own + measured.orphaned
        self.state.oldest_unshipped_at = oldest_at
        age_s = (now - oldest_at).total_seconds() if oldest_at is not None else 0.0
        self._spool.oldest_unshipped_s = max(0.0, age_s)

    def _measure(self, held: tuple[Orphan, ...]) -> _Measured:
        return _Measured(
            self._spool.writer.bytes_after(self._position),
            sum(orphan.writer.bytes_after(orphan.position) for orphan in held),
        )

    async def _note_watermark(self, live_sequence: int | None) -> None:
        await self._observe()
        writer = self._spool.writer
        mark = Watermark(
            worker=self._name,
            at=datetime.now(UTC),
            segment=writer.segment_name(live_sequence) if live_sequence is not None else None,
            last_record_at=self.state.last_record_at,
            oldest_unshipped_at=self.state.oldest_unshipped_at,
            backlog_bytes=self.state.backlog_bytes,
            backlog_records=-(-self.state.backlog_bytes // self._record_bytes),
        )
        await run_bounded(
            self._engine, lambda connection: note_watermark(connection, mark), seconds=_TELL_S
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
        lowest, highest = _BACKOFF_S
        longest = min(highest, lowest * 2 ** min(self._failures, 10))
        backoff_s = random.uniform(lowest, longest)  # noqa: S311 - spreads retries, nothing more
        if _is_passing(exc) and self._failures < _MOST_UNTOLD_FAILURES:
            return backoff_s
        if self.state.is_connected:
            if isinstance(exc, DatabaseUnavailableError):
                _log.warning("Postgres does not answer; records wait on disk")
            else:
                _log.error("records cannot be stored; they wait on disk", exc_info=exc)
        self.state.is_connected = False
        return backoff_s if _is_passing(exc) or is_unavailable(exc) else _SCHEMA_PAUSE_S

    def _recovered(self) -> None:
        if not self.state.is_connected:
            _log.info("records reach Postgres again")
        self.state.is_connected = True
        self.state.last_error = None
        self._failures = 0


def _remember(writer: Writer, before: Position, now: Position) -> None:
    try:
        writer.mark_shipped(range(before.sequence, now.sequence))
        writer.save_position(now)
    except OSError as exc:
        # The disk may be full, and what is shipped must make room. A position that is lost merely
        # ships again.
        _log.warning("how far %s is shipped cannot be noted: %s", writer.name, exc)


def _is_passing(exc: Exception) -> bool:
    state = sqlstate_of(exc)
    if state is None:
        return False
    return state[:2] == _PASSING_CLASS or state in _PASSING_STATES or lacks_partition(exc)
