"""Appends records to local disk before answers end: one ``write`` each, never awaited.

What a ``write`` returned from survives the end of this process. A thread brings it to the disk
itself, at least every 20 ms, so that little is lost even when the machine loses power.
"""

import errno
import logging
import os
import shutil
import socket
import threading
import time
from collections import deque
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from uuid import UUID

from gateway.domain.records import SCHEMA_VERSION, AttemptBegun, LateAttempts, RequestRecord
from gateway.ledger.bounded import encode_begun, encode_record
from gateway.ledger.frames import (
    BEGUN,
    LATE,
    RECORD,
    FileHeader,
    encode_payload,
    frame_seeds,
    make_file_start,
    make_frame,
    salt_of,
)
from gateway.ledger.pressure import Pressure, pressure_of
from gateway.ledger.writers import Writer, begin_writer

SEGMENT_BYTES = 16 * 1024 * 1024
SEGMENT_S = 60.0
SYNC_S = 0.01
_LEAST_SEGMENTS = 8
_MOST_BYTES = 10 * 1024**3
_FREE_SHARE = 0.25
_RETRY_S = 1.0
_MEASURE_S = 1.0
_MOST_UNSYNCED = 32_768
_PROBE_BYTES = 64 * 1024
_LAST_SYNC_S = 5.0
_LONGEST_OPEN_S = 7_200.0
_SHORT_WRITE = "only a part was written"

_log = logging.getLogger("tollway.spool")


class SpoolUnwritableError(Exception):
    """A record could not be written: the disk is full or broken."""


class Spool:
    """The spool of one worker. Appending belongs to one thread, the event loop's."""

    def __init__(
        self,
        directory: Path,
        *,
        worker: int,
        max_bytes: int | None = None,
        segment_bytes: int = SEGMENT_BYTES,
        segment_s: float = SEGMENT_S,
    ) -> None:
        """Open a new segment.

        Args:
            directory: of all writers of this node; made for its owner alone.
            worker: number of the worker.
            max_bytes: what all writers together may take; None: 10 GiB or a quarter of the free
                disk, whichever is less.
            segment_bytes: a segment that is larger is followed by another.
            segment_s: the same for its age.

        Raises:
            OSError: nothing can be written there.
        """
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        self.directory = directory
        self.writer: Writer = begin_writer(directory, worker)
        self.sequence = 0
        """Of the segment that is written to."""
        self.oldest_unshipped_s = 0.0
        """Age of the oldest record that is not in Postgres; told by whoever ships."""
        self._segment_s = segment_s
        free_bytes = shutil.disk_usage(directory).free
        self._max_bytes = max_bytes or min(_MOST_BYTES, int(free_bytes * _FREE_SHARE))
        # A small spool needs small segments: only whole ones can be let go.
        self._segment_bytes = min(segment_bytes, self._max_bytes // _LEAST_SEGMENTS)
        self._fd = -1
        self._size = 0
        self._opened_s = 0.0
        self._seeds: dict[int, int] = {}
        self._retry_at_s: float | None = None
        self._has_failed_sync = False
        self._others_bytes = 0
        self._measured_s = float("-inf")
        self._unsynced: deque[tuple[int, bytes]] = deque(maxlen=_MOST_UNSYNCED)
        self._unsynced_dropped = 0
        self._open: dict[UUID, tuple[int, float]] = {}
        self._retired: deque[int] = deque()
        self._has_new_name = False
        self._dirty = threading.Event()
        self._is_closed = False
        self._roll()
        self._syncer = threading.Thread(target=self._sync, name="spool-sync", daemon=True)
        self._syncer.start()

    @property
    def is_writable(self) -> bool:
        """Whether records can be written; after a failure it is tried again every second."""
        return not self._is_closed and self.pressure is not Pressure.RED

    @property
    def pressure(self) -> Pressure:
        """How pressing it is that records are shipped; red once they cannot be written."""
        used_bytes = self.used_bytes
        if self._retry_at_s is not None and time.monotonic() >= self._retry_at_s:
            self._try_again()
        return pressure_of(
            used_bytes=used_bytes,
            max_bytes=self._max_bytes,
            oldest_unshipped_s=self.oldest_unshipped_s,
            has_failed=self._retry_at_s is not None,
        )

    @property
    def used_bytes(self) -> int:
        """What all writers of the directory take; others' share is measured every second."""
        now_s = time.monotonic()
        if now_s - self._measured_s >= _MEASURE_S:
            self._measured_s = now_s
            try:
                self._others_bytes = self._measure()
            except OSError as exc:
                self._fail(exc)
        return self._others_bytes + self._size

    @property
    def unsynced_count(self) -> int:
        """Frames that a loss of power could still take."""
        return len(self._unsynced)

    @property
    def max_bytes(self) -> int:
        return self._max_bytes

    @property
    def needed_from(self) -> int:
        """The oldest segment that tells of a request whose record is not written yet.

        After a crash it is what shows that its attempts had begun. A request that is open for hours
        counts as forgotten.
        """
        limit_s = time.monotonic() - _LONGEST_OPEN_S
        for request in [key for key, (_, began_s) in self._open.items() if began_s < limit_s]:
            del self._open[request]
        return min((sequence for sequence, _ in self._open.values()), default=self.sequence)

    def append_begun(self, begun: AttemptBegun) -> None:
        """Write that an attempt is about to begin.

        Raises:
            SpoolUnwritableError: it could not be written.
        """
        self._append(BEGUN, encode_begun(begun))
        self._open.setdefault(begun.request_id, (self.sequence, time.monotonic()))

    def append_record(self, record: RequestRecord) -> None:
        """Write a request's record.

        Raises:
            SpoolUnwritableError: it could not be written.
        """
        self._append(RECORD, encode_record(record))
        self._open.pop(record.id, None)

    def append_late(self, late: LateAttempts) -> None:
        """Write attempts that began once the request's record was written.

        Raises:
            SpoolUnwritableError: they could not be written.
        """
        self._append(LATE, encode_payload(late))
        self._open.pop(late.id, None)

    def close(self) -> None:
        """Sync and stop writing. The lock stays held until ``writer.release``."""
        if self._is_closed:
            return
        if self._has_failed_sync:
            with suppress(OSError):
                self._rewrite_unsynced()
        self._is_closed = True
        self._dirty.set()
        self._syncer.join(_LAST_SYNC_S)
        if self._syncer.is_alive():
            _log.error("the disk does not answer; the last records may not be on it")

    def _append(self, kind: int, payload: bytes) -> None:
        if self._is_closed:
            raise SpoolUnwritableError("the spool is closed")
        try:
            if self._has_failed_sync:
                self._rewrite_unsynced()
            if self._is_due():
                self._roll()
            self._write(kind, payload)
        except OSError as exc:
            try:
                if self._retry_at_s is not None:
                    raise
                # A broken segment says nothing about the next one.
                self._roll()
                self._write(kind, payload)
            except OSError:
                self._fail(exc)
                raise SpoolUnwritableError(str(exc)) from exc

    def _write(self, kind: int, payload: bytes) -> None:
        frame = make_frame(kind, payload, self._seeds[kind])
        written = os.write(self._fd, frame)
        if written != len(frame):
            # A torn frame would hide those behind it: cut it off, and go on elsewhere.
            os.ftruncate(self._fd, self._size)
            raise OSError(errno.ENOSPC, _SHORT_WRITE)
        self._size += written
        if len(self._unsynced) == _MOST_UNSYNCED:
            self._unsynced_dropped += 1
        self._unsynced.append((kind, payload))
        if not self._dirty.is_set():
            self._dirty.set()

    def _is_due(self) -> bool:
        return self._size >= self._segment_bytes or (
            time.monotonic() - self._opened_s >= self._segment_s
        )

    def _roll(self) -> None:
        """Begin the next segment; the old one stays as it is until it is shipped."""
        sequence = self.sequence + 1
        name = self.writer.segment_name(sequence)
        start = make_file_start(
            FileHeader(
                schema_version=SCHEMA_VERSION,
                node=socket.gethostname(),
                name=name,
                created_at=datetime.now(UTC),
            )
        )
        path = self.writer.segment_path(sequence)
        # Under another name until its header is there: readers take a segment for complete as soon
        # as there is a later one, and this one may come to nothing.
        temporary = path.with_suffix(".new")
        flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_APPEND | os.O_CLOEXEC
        descriptor = os.open(temporary, flags, 0o600)
        try:
            _write_whole(descriptor, start)
            temporary.rename(path)
        except OSError:
            os.close(descriptor)
            temporary.unlink(missing_ok=True)
            raise
        if self._fd >= 0:
            # Synced and closed by the thread: a slow disk must not hold up the event loop.
            self._retired.append(self._fd)
        self._fd = descriptor
        self.sequence = sequence
        # Until they are measured again.
        self._others_bytes += self._size
        self._size = len(start)
        self._opened_s = time.monotonic()
        self._seeds = frame_seeds(salt_of(name))
        self._has_new_name = True
        self._dirty.set()

    def _rewrite_unsynced(self) -> None:
        """After a failed sync the segment proves nothing: what it may have lost is written again.

        Records that are found twice are stored once, since their ids are their keys. The thread
        leaves what is unsynced alone until this is done.
        """
        again = list(self._unsynced)
        self._roll()
        self._unsynced.clear()
        try:
            for kind, payload in again:
                self._write(kind, payload)
        except OSError:
            self._unsynced.clear()
            self._unsynced.extend(again)
            raise
        self._has_failed_sync = False

    def _fail(self, exc: OSError) -> None:
        if self._retry_at_s is None:
            _log.error("records cannot be written to %s: %s", self.directory, exc.strerror)
        self._retry_at_s = time.monotonic() + _RETRY_S

    def _try_again(self) -> None:
        """See whether more than a header's few bytes fit again, and begin a segment if so."""
        path = self.directory / f"{self.writer.name}.probe"
        flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC
        try:
            descriptor = os.open(path, flags, 0o600)
            try:
                _write_whole(descriptor, bytes(_PROBE_BYTES))
            finally:
                os.close(descriptor)
                path.unlink(missing_ok=True)
            self._roll()
        except OSError as exc:
            self._fail(exc)
            return
        self._retry_at_s = None
        _log.info("records can be written to %s again", self.directory)

    def _measure(self) -> int:
        own = self.writer.segment_path(self.sequence).name
        total = 0
        with os.scandir(self.directory) as entries:
            for entry in entries:
                if entry.name != own:
                    with suppress(FileNotFoundError):
                        total += entry.stat().st_size
        return total

    def _sync(self) -> None:
        """The thread that brings writes to the disk, as fast as the disk allows."""
        while not self._is_closed:
            self._dirty.wait()
            self._dirty.clear()
            if not self._has_failed_sync:
                self._sync_once()
            time.sleep(SYNC_S)
        self._retired.append(self._fd)
        try:
            self._retire()
        except OSError as exc:
            _log.error("the last records may not be on the disk: %s", exc.strerror)

    def _sync_once(self) -> None:
        # Counted first: whatever was written by now is in this segment or in a retired one.
        dropped = self._unsynced_dropped
        count = len(self._unsynced)
        try:
            os.fdatasync(self._fd)
            self._retire()
        except OSError as exc:
            # Trying again on the same file would succeed and prove nothing.
            _log.error("a segment could not be synced and is abandoned: %s", exc.strerror)
            self._has_failed_sync = True
            return
        # On a slow disk the oldest of those may have made room for later ones, not synced yet.
        for _ in range(count - (self._unsynced_dropped - dropped)):
            self._unsynced.popleft()

    def _retire(self) -> None:
        """Sync and close the segments that are full, and make the names of new ones durable."""
        while self._retired:
            descriptor = self._retired.popleft()
            try:
                os.fdatasync(descriptor)
            finally:
                os.close(descriptor)
        if self._has_new_name:
            self._has_new_name = False
            _sync_directory(self.directory)


def _write_whole(descriptor: int, data: bytes) -> None:
    if os.write(descriptor, data) != len(data):
        raise OSError(errno.ENOSPC, _SHORT_WRITE)


def _sync_directory(directory: Path) -> None:
    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
