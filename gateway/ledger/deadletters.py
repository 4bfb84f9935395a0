"""Records that Postgres will not take: kept in files of their own, and told to Postgres."""

import errno
import logging
import os
import threading
from collections import deque
from datetime import UTC, datetime
from pathlib import Path

from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.ext.asyncio import AsyncEngine

from gateway.domain.records import SCHEMA_VERSION
from gateway.ledger.frames import (
    DEAD,
    MAX_PAYLOAD_BYTES,
    RECORD,
    DeadLetter,
    FileHeader,
    encode_payload,
    frame_seeds,
    make_file_start,
    make_frame,
    salt_of,
)
from gateway.ledger.reader import Found
from gateway.storage.ingest import DeadRow, note_dead
from gateway.storage.waiting import is_unavailable, run_bounded

_MOST_KNOWN = 10_000
_MOST_UNTOLD_BYTES = 16 * 1024 * 1024
_TELL_S = 10.0
_REASON_LENGTH = 1_000
# What a letter adds to the payload that it carries: the reason in UTF-8 and its own few fields.
_MOST_KEPT = MAX_PAYLOAD_BYTES - 4 * _REASON_LENGTH - 1_000

_log = logging.getLogger("tollway.shipper")


class DeadLetters:
    """Appends to one file a day; nothing in it is ever lost or tried again by itself."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._known: dict[tuple[str, int], None] = {}
        self._untold: deque[DeadRow] = deque()
        self._untold_bytes = 0
        self._writing = threading.Lock()
        self._listing = threading.Lock()

    def append(self, found: Found, reason: str, sqlstate: str | None) -> bool:
        """Set a record aside, durably, with the reason; False when that was done before.

        It waits for the disk, so call it on a thread; any number of threads may.

        Raises:
            OSError: it could not be written; nothing was kept.
        """
        place = (found.segment, found.offset)
        now = datetime.now(UTC)
        reason = reason[:_REASON_LENGTH].encode("utf-8", "replace").decode()
        with self._writing:
            if place in self._known:
                # Its batch is being shipped again.
                return False
            self._write(found.payload, reason, sqlstate, now)
            self._remember(place)
        self._list(
            DeadRow(
                seen_at=now,
                segment=found.segment,
                offset=found.offset,
                record_id=found.record.id if found.record is not None else None,
                sqlstate=sqlstate,
                reason=reason.replace("\0", ""),
                frame=found.payload,
            )
        )
        return True

    async def report(self, engine: AsyncEngine) -> None:
        """Tell Postgres what was set aside since the last time.

        Raises:
            DatabaseUnavailableError: it cannot be told now.
        """
        while self._untold:
            dead = self._untold[0]
            try:
                await run_bounded(
                    engine, lambda connection, row=dead: note_dead(connection, row), seconds=_TELL_S
                )
            except SQLAlchemyError as exc:
                if is_unavailable(exc):
                    raise
                # Insisting would hold up the records that can be stored.
                _log.error("%s:%d stays in its file alone: %s", dead.segment, dead.offset, exc)
            self._strike_off(dead)

    def _list(self, row: DeadRow) -> None:
        with self._listing:
            self._untold.append(row)
            self._untold_bytes += len(row.frame)
            while self._untold_bytes > _MOST_UNTOLD_BYTES:
                # The file has it.
                self._untold_bytes -= len(self._untold.popleft().frame)

    def _strike_off(self, row: DeadRow) -> None:
        with self._listing:
            if self._untold and self._untold[0] is row:
                self._untold_bytes -= len(self._untold.popleft().frame)

    def _write(self, payload: bytes, reason: str, sqlstate: str | None, now: datetime) -> None:
        name = f"{now:%Y%m%d}-{os.getpid()}"
        letter = DeadLetter(
            reason=reason,
            sqlstate=sqlstate,
            refused_at=now,
            frame_type=RECORD,
            payload=payload[:_MOST_KEPT],
        )
        frame = make_frame(DEAD, encode_payload(letter), frame_seeds(salt_of(name))[DEAD])
        self._directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        path = self._directory / f"{name}.dead"
        flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC
        descriptor = os.open(path, flags, 0o600)
        try:
            size = os.fstat(descriptor).st_size
            if size == 0:
                frame = _start(name, now) + frame
            try:
                _write_synced(descriptor, frame)
            except OSError:
                # A torn frame would hide those behind it.
                os.ftruncate(descriptor, size)
                raise
        finally:
            os.close(descriptor)
        if size == 0:
            _sync_directory(self._directory)

    def _remember(self, place: tuple[str, int]) -> None:
        self._known[place] = None
        if len(self._known) > _MOST_KNOWN:
            del self._known[next(iter(self._known))]


def _start(name: str, now: datetime) -> bytes:
    return make_file_start(
        FileHeader(schema_version=SCHEMA_VERSION, node="deadletter", name=name, created_at=now)
    )


def _write_synced(descriptor: int, data: bytes) -> None:
    if os.write(descriptor, data) != len(data):
        raise OSError(errno.ENOSPC, "only a part was written")
    os.fsync(descriptor)


def _sync_directory(directory: Path) -> None:
    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
