"""The files of spool writers: how they are named, who holds them, how far they are shipped.

A writer is one worker process from its start to its end. Its files begin with its name, which is
unique and sorts by time. It holds an exclusive ``flock`` on its lock file for as long as it lives;
the kernel lets go of it however the process ends, and whoever then gets the lock has adopted
everything the writer left.
"""

import fcntl
import os
import time
from collections.abc import Iterator
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path

import msgspec

_SEGMENT = ".seg"
_LOCK = ".lock"
_POSITION = ".pos"
_NEW_POSITION = ".pos-new"
_SETTLED = ".settled"


class Position(msgspec.Struct, frozen=True, kw_only=True, order=True):
    """Everything before it is in Postgres."""

    sequence: int = 0
    offset: int = 0


class Writer:
    """The files of one writer, held by this process: its own, or adopted ones."""

    def __init__(self, directory: Path, name: str, lock_fd: int) -> None:
        self.directory = directory
        self.name = name
        self._lock_fd = lock_fd

    @property
    def began_at(self) -> datetime:
        """When the writer began, by the clock of its machine."""
        nanoseconds = int(self.name.partition("-")[0], 16)
        return datetime.fromtimestamp(nanoseconds / 1e9, UTC)

    def segment_name(self, sequence: int) -> str:
        return f"{self.name}-{sequence:08d}"

    def segment_path(self, sequence: int) -> Path:
        return self.directory / (self.segment_name(sequence) + _SEGMENT)

    def sequences(self) -> list[int]:
        """The numbers of the segments that exist, ascending."""
        found = self.directory.glob(f"{self.name}-*{_SEGMENT}")
        return sorted(int(path.stem.rpartition("-")[2]) for path in found)

    def read_position(self) -> Position:
        """How far it is shipped; the beginning when that was lost, which merely ships again."""
        try:
            data = (self.directory / (self.name + _POSITION)).read_bytes()
            return msgspec.json.decode(data, type=Position)
        except (OSError, msgspec.MsgspecError):
            return Position()

    def save_position(self, position: Position) -> None:
        """Remember how far it is shipped, atomically."""
        path = self.directory / (self.name + _POSITION)
        temporary = self.directory / (self.name + _NEW_POSITION)
        descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
        try:
            os.write(descriptor, msgspec.json.encode(position))
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
        temporary.replace(path)

    def mark_shipped(self, sequences: range) -> None:
        """Note the time at which these segments were shipped whole: from now on they are kept."""
        for sequence in sequences:
            with suppress(FileNotFoundError):
                os.utime(self.segment_path(sequence))

    def remove_shipped(
        self, position: Position, *, older_than_s: float, keep_from: int | None = None
    ) -> None:
        """Delete segments that were shipped whole at least that long ago.

        Those numbered `keep_from` and above are kept in any case.

        The oldest go first and none is left out, so that no request's record is deleted before what
        was written when its attempts began.
        """
        limit_s = time.time() - older_than_s
        before = position.sequence if keep_from is None else min(position.sequence, keep_from)
        for sequence in self.sequences():
            path = self.segment_path(sequence)
            if sequence >= before or path.stat().st_mtime > limit_s:
                return
            path.unlink()

    def bytes_after(self, position: Position) -> int:
        """How much is not in Postgres yet."""
        total = 0
        for sequence in self.sequences():
            if sequence >= position.sequence:
                with suppress(FileNotFoundError):
                    total += self.segment_path(sequence).stat().st_size
                total -= position.offset if sequence == position.sequence else 0
        return max(0, total)

    def mark_settled(self) -> None:
        """Note that all of an ended writer is in Postgres, and what its open requests had begun."""
        (self.directory / (self.name + _SETTLED)).touch(mode=0o600)

    @property
    def settled_s(self) -> float | None:
        """How long ago all of it was in Postgres; None when it is not."""
        try:
            settled_at_s = (self.directory / (self.name + _SETTLED)).stat().st_mtime
        except FileNotFoundError:
            return None
        return max(0.0, time.time() - settled_at_s)

    def remove_all(self) -> None:
        """Delete everything; nothing of it is needed any more."""
        for sequence in self.sequences():
            self.segment_path(sequence).unlink(missing_ok=True)
        lock = self.name + _LOCK
        for path in self.directory.glob(f"{self.name}[.-]*"):
            # The lock goes last: whatever else is left is found by it.
            if path.name != lock:
                path.unlink(missing_ok=True)
        (self.directory / lock).unlink(missing_ok=True)
        self.release()

    def release(self) -> None:
        """Let others adopt what is left."""
        if self._lock_fd >= 0:
            os.close(self._lock_fd)
            self._lock_fd = -1


def begin_writer(directory: Path, worker: int) -> Writer:
    """A new writer of this process."""
    while True:
        name = f"{time.time_ns():016x}-{os.getpid()}-{worker}"
        writer = _hold(directory, name)
        if writer is not None:
            return writer
        # Somebody looking for orphans got hold of the new lock file before we did.


def adopt_orphans(directory: Path) -> Iterator[Writer]:
    """The writers whose processes have ended and that nobody else has adopted, oldest first.

    Each is held from when it is yielded on.
    """
    names = {path.stem for path in directory.glob(f"*{_LOCK}")}
    # Segments may have been brought back by hand, without their lock.
    names |= {path.stem.rpartition("-")[0] for path in directory.glob(f"*{_SEGMENT}")}
    for name in sorted(names):
        writer = _hold(directory, name)
        if writer is not None:
            yield writer


def _hold(directory: Path, name: str) -> Writer | None:
    path = directory / (name + _LOCK)
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        os.close(descriptor)
        return None
    # Whoever held it may have finished and deleted it between our opening and our locking.
    with suppress(FileNotFoundError):
        if path.stat().st_ino == os.fstat(descriptor).st_ino:
            return Writer(directory, name, descriptor)
    os.close(descriptor)
    return None
