"""The table in which the workers of a node count together what each key does.

A file in the data directory, mapped by every worker; whoever touches a key's place holds the file's
lock, which the kernel frees with its process. Limits of rates and of concurrency so hold exactly
for a node, whichever of its workers is asked; nodes do not know of each other. What an ended worker
had open is forgotten when another takes its number.
"""

import fcntl
import logging
import mmap
import os
import struct
import time
from pathlib import Path
from uuid import UUID

TABLE_NAME = "limits.table"
PLACES = 4_096
MOST_WORKERS = 64

_MAGIC = 0x7477_6C69_6D69_0001
_HEADER_BYTES = 4_096
_KEY_BYTES = 16
_KEYS_AT = _HEADER_BYTES
_ROWS_AT = _KEYS_AT + PLACES * _KEY_BYTES
_BUCKETS = struct.Struct("=dddd")
"""When the buckets of requests and of tokens are full, when last used; one to spare."""
_OPEN = struct.Struct(f"<{MOST_WORKERS}H")
_ROW_BYTES = _BUCKETS.size + _OPEN.size
_SIZE = _ROWS_AT + PLACES * _ROW_BYTES
_IDLE_S = 120.0
_LOCK_S = 0.005
_LOCK_PAUSE_S = 1.0
_MOST_OPEN = 65_535

_log = logging.getLogger("tollway.limits")


class TableBusyError(Exception):
    """Somebody keeps the lock for longer than anybody should, or there is no place left."""


class Place:
    """A key's numbers while the lock is held; write them back with `LimitTable.store`."""

    __slots__ = ("at", "requests_full_at_s", "tokens_full_at_s")

    def __init__(self, at: int, requests_s: float, tokens_s: float) -> None:
        self.at = at
        self.requests_full_at_s = requests_s
        self.tokens_full_at_s = tokens_s


class LimitTable:
    """Numbers of keys by their ids. ``clock`` is monotonic, and the same in all processes."""

    def __init__(self, fd: int | None, mapped: mmap.mmap, worker: int) -> None:
        self._fd = fd
        self._mmap = mapped
        self._worker = worker % MOST_WORKERS
        self._places: dict[UUID, int] = {}
        self._no_lock_before_s = 0.0

    def begin(self) -> None:
        """Whatever the last worker of this number had open is over.

        Raises:
            TableBusyError: somebody keeps the lock.
        """
        self.lock()
        try:
            for place in range(PLACES):
                at = _ROWS_AT + place * _ROW_BYTES + _BUCKETS.size + 2 * self._worker
                self._mmap[at : at + 2] = b"\0\0"
        finally:
            self.unlock()

    def find(self, key: UUID, now_s: float) -> Place:
        """A key's numbers, fresh ones if it has none; only while the lock is held.

        Raises:
            TableBusyError: every place is taken by a key that was used a moment ago.
        """
        raw = key.bytes
        place = self._places.get(key)
        if place is None or self._key_at(place) != raw:
            place = self._places[key] = self._search(raw, now_s)
        at = _ROWS_AT + place * _ROW_BYTES
        requests_s, tokens_s, _, _ = _BUCKETS.unpack_from(self._mmap, at)
        return Place(at, requests_s, tokens_s)

    def count_open(self, place: Place) -> int:
        """How many requests of a key are open, at all workers; while the lock is held."""
        return sum(_OPEN.unpack_from(self._mmap, place.at + _BUCKETS.size))

    def open_one(self, place: Place) -> None:
        """One more is open at this worker; while the lock is held."""
        self._add_open(place.at, 1)

    def close_one(self, key: UUID) -> None:
        """One less is open at this worker. Nobody else writes that number: no lock is needed.

        The key has kept its place, since keys with open requests do.
        """
        place = self._places.get(key)
        if place is None or self._key_at(place) != key.bytes:
            place = self._seek(key.bytes)
        if place is not None:
            self._add_open(_ROWS_AT + place * _ROW_BYTES, -1)

    def store(self, place: Place, now_s: float) -> None:
        """Write a key's numbers; only while the lock is held."""
        _BUCKETS.pack_into(
            self._mmap, place.at, place.requests_full_at_s, place.tokens_full_at_s, now_s, 0.0
        )

    def lock(self) -> None:
        """Take the lock.

        Raises:
            TableBusyError: its holder keeps it for longer than anybody should.
        """
        if self._fd is None:
            return
        started_s = 0.0
        while True:
            try:
                fcntl.flock(self._fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                now_s = time.monotonic()
                started_s = started_s or now_s
                if now_s < self._no_lock_before_s or now_s - started_s > _LOCK_S:
                    # A stopped process must not cost every request so long.
                    self._no_lock_before_s = now_s + _LOCK_PAUSE_S
                    raise TableBusyError from None
                os.sched_yield()
            else:
                return

    def unlock(self) -> None:
        if self._fd is not None:
            fcntl.flock(self._fd, fcntl.LOCK_UN)

    def close(self) -> None:
        self._mmap.close()
        if self._fd is not None:
            os.close(self._fd)

    def _add_open(self, at: int, change: int) -> None:
        at += _BUCKETS.size + 2 * self._worker
        here = int.from_bytes(self._mmap[at : at + 2], "little") + change
        self._mmap[at : at + 2] = min(max(here, 0), _MOST_OPEN).to_bytes(2, "little")

    def _key_at(self, place: int) -> bytes:
        at = _KEYS_AT + place * _KEY_BYTES
        return self._mmap[at : at + _KEY_BYTES]

    def _search(self, raw: bytes, now_s: float) -> int:
        found = self._seek(raw)
        if found is None:
            found = self._seek(bytes(_KEY_BYTES))
        if found is None:
            found = self._idlest(now_s)
        at = _KEYS_AT + found * _KEY_BYTES
        if self._mmap[at : at + _KEY_BYTES] != raw:
            row = _ROWS_AT + found * _ROW_BYTES
            self._mmap[row : row + _ROW_BYTES] = bytes(_ROW_BYTES)
            self._mmap[at : at + _KEY_BYTES] = raw
        if len(self._places) > 2 * PLACES:
            self._places.clear()
        return found

    def _seek(self, raw: bytes) -> int | None:
        at = self._mmap.find(raw, _KEYS_AT, _ROWS_AT)
        while at >= 0 and (at - _KEYS_AT) % _KEY_BYTES:
            at = self._mmap.find(raw, at + 1, _ROWS_AT)
        return None if at < 0 else (at - _KEYS_AT) // _KEY_BYTES

    def _idlest(self, now_s: float) -> int:
        """A place whose key has not been used for so long that its buckets are full."""
        for place in range(PLACES):
            at = _ROWS_AT + place * _ROW_BYTES
            used_at_s = _BUCKETS.unpack_from(self._mmap, at)[2]
            is_open = any(_OPEN.unpack_from(self._mmap, at + _BUCKETS.size))
            if now_s - used_at_s > _IDLE_S and not is_open:
                return place
        raise TableBusyError


def open_limits(path: Path | None, *, worker: int) -> LimitTable:
    """The table in a file, made when there is none.

    Without a path, or where the file cannot be used, which is said in the log, it is this process's
    own.
    """
    if path is not None:
        try:
            return _open(path, worker)
        except (OSError, ValueError, TableBusyError) as exc:
            _log.warning("%s cannot be used (%s); every worker counts for itself", path, exc)
    return LimitTable(None, mmap.mmap(-1, _SIZE), worker)


def _open(path: Path, worker: int) -> LimitTable:
    fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(fd, fcntl.LOCK_EX)
        try:
            if os.fstat(fd).st_size == 0:
                # Disk is taken here: a page that finds none later would end the process.
                os.posix_fallocate(fd, 0, _SIZE)
            mapped = mmap.mmap(fd, _SIZE)
            magic = int.from_bytes(mapped[:8], "little")
            if magic == 0:
                mapped[:8] = _MAGIC.to_bytes(8, "little")
            elif magic != _MAGIC:
                raise ValueError("not a table of this version")
        finally:
            fcntl.flock(fd, fcntl.LOCK_UN)
        table = LimitTable(fd, mapped, worker)
        table.begin()
    except BaseException:
        os.close(fd)
        raise
    return table
