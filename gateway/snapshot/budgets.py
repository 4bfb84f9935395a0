"""Brings budgets into the snapshot, and keeps the last that were known."""

import logging
from pathlib import Path

import msgspec

from gateway.domain.budgets import Budget
from gateway.snapshot.copies import write_copy
from gateway.snapshot.snapshot import SnapshotHolder
from gateway.storage.budgets import load_budgets
from gateway.storage.changes import BUDGETS, read_epoch
from gateway.storage.engine import Connection

_log = logging.getLogger("tollway.budgets")


class StoredBudgets:
    """Follows the budgets in Postgres; requests in flight keep those that they began with."""

    def __init__(self, snapshots: SnapshotHolder, copy: Path) -> None:
        """Prepare, without reading anything.

        Args:
            snapshots: whose budgets are set.
            copy: the file of the last good copy; its directory is made.
        """
        self._snapshots = snapshots
        self._copy = copy
        self._epoch: int | None = None

    async def follow(self, connection: Connection) -> None:
        """Look whether budgets changed, and put them in force."""
        epoch = await read_epoch(connection, BUDGETS)
        if epoch == self._epoch:
            return
        budgets = await load_budgets(connection)
        self._enforce(budgets)
        self._epoch = epoch
        write_copy(self._copy, budgets, of="budgets")

    def load_copy(self) -> None:
        """Postgres does not answer at the start: take the last good copy."""
        try:
            budgets = msgspec.msgpack.decode(self._copy.read_bytes(), type=list[Budget])
        except FileNotFoundError:
            return
        except (OSError, msgspec.MsgspecError) as exc:
            _log.error("the last good copy of the budgets cannot be used: %s", exc)
            return
        self._enforce(budgets)

    def _enforce(self, budgets: list[Budget]) -> None:
        current = self._snapshots.current
        if list(current.budgets) == budgets:
            return
        self._snapshots.current = msgspec.structs.replace(current, budgets=tuple(budgets))
        _log.info("%d budgets are in force", len(budgets))
