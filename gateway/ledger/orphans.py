"""What ended processes left in the spool: who holds it, and when it may be deleted."""

import logging
from collections import deque
from datetime import datetime
from pathlib import Path

from gateway.ledger.writers import Writer, adopt_orphans

_MOST_HELD = 32
"""Each costs an open file; a process that dies every second leaves thousands."""

_log = logging.getLogger("tollway.shipper")


class Orphan:
    """A writer whose process has ended; its lock is held here until all of it is shipped."""

    __slots__ = ("position", "unshipped_since", "writer")

    def __init__(self, writer: Writer) -> None:
        self.writer = writer
        self.position = writer.read_position()
        self.unshipped_since: datetime = writer.began_at
        """Nothing older of it is missing from Postgres."""


class Orphans:
    """The writers that this process has adopted, oldest first."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._refused: set[str] = set()
        self.held: deque[Orphan] = deque()

    @property
    def refused_count(self) -> int:
        """How many writers were left alone because they cannot be read here."""
        return len(self._refused)

    def adopt(self, *, keep_s: float) -> None:
        """Adopt who has ended, and delete who was shipped `keep_s` ago. Waits for the disk."""
        for writer in adopt_orphans(self._directory):
            settled_s = writer.settled_s
            if settled_s is not None and settled_s >= keep_s:
                writer.remove_all()
            elif (
                settled_s is not None
                or writer.name in self._refused
                or len(self.held) >= _MOST_HELD
            ):
                writer.release()
            else:
                self.held.append(Orphan(writer))

    def settle(self, orphan: Orphan) -> None:
        """All of it is in Postgres; its segments stay a while."""
        self.held.remove(orphan)
        try:
            orphan.writer.mark_settled()
        except OSError as exc:
            _log.warning("%s will be shipped once more: %s", orphan.writer.name, exc)
        orphan.writer.release()

    def refuse(self, orphan: Orphan, reason: Exception) -> None:
        """Not for us to ship: it stays on disk, and nobody else waits for it."""
        _log.error("what %s left cannot be shipped: %s", orphan.writer.name, reason)
        self._refused.add(orphan.writer.name)
        self.held.remove(orphan)
        orphan.writer.release()

    def release(self) -> None:
        """Let others adopt what is not shipped yet."""
        while self.held:
            self.held.popleft().writer.release()
