"""The table in which the workers of a node share what they know of health.

A file in the data directory, mapped by every worker. Writers take its lock, which the kernel frees
when they die; readers take none, and read again what was written meanwhile. A counter and the
numbers of the slots that changed last tell a reader what is new; when nothing is, that costs a look
at one number. It is advice: whoever cannot open or lock it goes on with what it knows itself.
"""

import fcntl
import logging
import mmap
import os
import struct
import time
from collections.abc import Callable
from pathlib import Path

import msgspec

from gateway.execution.breaker import PRISTINE, LevelState

TABLE_NAME = "health.table"
MAX_NAME_BYTES = 240

_MAGIC = 0x7477_6865_616C_0001
_RING = 256
_RING_SAFE = 200
# Magic, capacity, slots in use, counter of changes; then the ring.
_MAGIC_AT, _CAPACITY_AT, _USED_AT, _COUNTER_AT, _RING_AT = 0, 1, 2, 3, 4
_HEADER_BYTES = 4_096
_SLOT_BYTES = 384
_NAME_BYTES_AT = 8
_NAME_AT = 16
_STATE_AT = _NAME_AT + MAX_NAME_BYTES
# The fields of `LevelState` in their order: instants, then counts, then the process.
_STATE = struct.Struct("@7d7HxxI")
_READ_TRIES = 8
_LOCK_S = 0.005
_LOCK_PAUSE_S = 1.0

_log = logging.getLogger("tollway.health")

Transition = Callable[[LevelState], LevelState]


class TableBusyError(Exception):
    """Somebody keeps the lock for longer than anybody should."""


class SharedTable:
    """Slots by number, each with a name and a state; as many as it was made for."""

    def __init__(self, fd: int, mapped: mmap.mmap) -> None:
        self._fd = fd
        self._mmap = mapped
        self._view = memoryview(mapped)
        self._words = self._view[:_HEADER_BYTES].cast("Q")
        self._capacity = self._words[_CAPACITY_AT]
        self._no_lock_before_s = 0.0

    @property
    def counter(self) -> int:
        """Grows with every change."""
        return self._words[_COUNTER_AT]

    @property
    def used(self) -> int:
        """How many slots have a name."""
        return min(self._words[_USED_AT], self._capacity)

    def changed_since(self, counter: int) -> list[int]:
        """The slots that were changed since then, some perhaps twice, or all when too many were."""
        words = self._words
        news = words[_COUNTER_AT] - counter
        if 0 <= news <= _RING_SAFE:
            slots = [words[_RING_AT + number % _RING] for number in range(counter, counter + news)]
            # Nobody has meanwhile written over what was read here.
            if words[_COUNTER_AT] - counter < _RING:
                return slots
        return list(range(self.used))

    def read(self, slot: int) -> tuple[str, LevelState]:
        """A slot's name and state; a state that a dying writer left half-written is a fresh one."""
        at = _HEADER_BYTES + slot * _SLOT_BYTES
        sequence = self._view[at : at + 8].cast("Q")
        for _ in range(_READ_TRIES):
            before = sequence[0]
            state = self._state(at)
            if not before % 2 and sequence[0] == before:
                return self._name(at), state
        if self._lock():
            try:
                if sequence[0] % 2:
                    self._write(at, PRISTINE)
                return self._name(at), self._state(at)
            finally:
                self._unlock()
        return self._name(at), PRISTINE

    def change(
        self, name: str, slot: int | None, transition: Transition
    ) -> tuple[int, LevelState, LevelState] | None:
        """Apply a transition to a named state, finding or making its slot when none is given.

        Returns:
            The slot, the state before and after; None when the table has no room for it.

        Raises:
            TableBusyError: nothing was changed.
        """
        if not self._lock():
            raise TableBusyError
        try:
            if slot is None:
                slot = self._find_or_make(name)
                if slot is None:
                    return None
            at = _HEADER_BYTES + slot * _SLOT_BYTES
            is_torn = self._view[at : at + 8].cast("Q")[0] % 2
            before = PRISTINE if is_torn else self._state(at)
            after = transition(before)
            if after is not before or is_torn:
                self._write(at, after)
                words = self._words
                counter = words[_COUNTER_AT]
                words[_RING_AT + counter % _RING] = slot
                words[_COUNTER_AT] = counter + 1
            return slot, before, after
        finally:
            self._unlock()

    def close(self) -> None:
        self._words.release()
        self._view.release()
        self._mmap.close()
        os.close(self._fd)

    def _find_or_make(self, name: str) -> int | None:
        raw = name.encode()
        if len(raw) > MAX_NAME_BYTES:
            return None
        used = self.used
        for slot in range(used):
            at = _HEADER_BYTES + slot * _SLOT_BYTES
            if self._raw_name(at) == raw:
                return slot
        if used >= self._capacity:
            return None
        at = _HEADER_BYTES + used * _SLOT_BYTES
        self._view[at + _NAME_AT : at + _NAME_AT + len(raw)] = raw
        self._view[at + _NAME_BYTES_AT : at + _NAME_BYTES_AT + 8].cast("Q")[0] = len(raw)
        self._words[_USED_AT] = used + 1
        return used

    def _name(self, at: int) -> str:
        return self._raw_name(at).decode()

    def _raw_name(self, at: int) -> bytes:
        length = self._view[at + _NAME_BYTES_AT : at + _NAME_BYTES_AT + 8].cast("Q")[0]
        return bytes(self._view[at + _NAME_AT : at + _NAME_AT + length])

    def _state(self, at: int) -> LevelState:
        values = _STATE.unpack_from(self._view, at + _STATE_AT)
        return LevelState(**dict(zip(_FIELDS, values, strict=True)))

    def _write(self, at: int, state: LevelState) -> None:
        sequence = self._view[at : at + 8].cast("Q")
        odd = sequence[0] | 1
        sequence[0] = odd
        _STATE.pack_into(self._view, at + _STATE_AT, *msgspec.structs.astuple(state))
        sequence[0] = odd + 1

    def _lock(self) -> bool:
        """Take the lock; False when its holder keeps it for longer than anybody should."""
        started_s = 0.0
        while True:
            try:
                fcntl.flock(self._fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                now_s = time.monotonic()
                if now_s < self._no_lock_before_s:
                    return False
                started_s = started_s or now_s
                if now_s - started_s > _LOCK_S:
                    # A stopped process must not cost every failure so long.
                    self._no_lock_before_s = now_s + _LOCK_PAUSE_S
                    return False
                os.sched_yield()
            else:
                return True

    def _unlock(self) -> None:
        fcntl.flock(self._fd, fcntl.LOCK_UN)


_FIELDS = LevelState.__struct_fields__


def open_table(path: Path, *, capacity: int) -> SharedTable | None:
    """The table in a file, made when there is none; None, with a warning, when it cannot be used.

    ``capacity`` counts when it is made.
    """
    try:
        fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError as exc:
        _log.warning("%s: %s; every worker minds health for itself", path, exc.strerror)
        return None
    try:
        fcntl.flock(fd, fcntl.LOCK_EX)
        try:
            size = os.fstat(fd).st_size
            if size == 0:
                size = _HEADER_BYTES + capacity * _SLOT_BYTES
                # Disk is taken here: a page that finds none later would end the process.
                os.posix_fallocate(fd, 0, size)
            mapped = mmap.mmap(fd, size)
            _set_up(mapped, (size - _HEADER_BYTES) // _SLOT_BYTES)
        finally:
            fcntl.flock(fd, fcntl.LOCK_UN)
    except (OSError, ValueError) as exc:
        os.close(fd)
        _log.warning("%s cannot be used (%s); every worker minds health for itself", path, exc)
        return None
    return SharedTable(fd, mapped)


def forget_table(path: Path) -> None:
    """Begin anew: what was known before a restart may not hold under a changed configuration."""
    try:
        path.unlink(missing_ok=True)
    except OSError as exc:
        _log.warning("%s cannot be removed: %s", path, exc.strerror)


def _set_up(mapped: mmap.mmap, capacity: int) -> None:
    with memoryview(mapped)[:_HEADER_BYTES].cast("Q") as words:
        if words[_MAGIC_AT] == 0:
            words[_CAPACITY_AT] = capacity
            words[_MAGIC_AT] = _MAGIC
        if words[_MAGIC_AT] != _MAGIC or words[_CAPACITY_AT] != capacity:
            raise ValueError("not a table of this version")
