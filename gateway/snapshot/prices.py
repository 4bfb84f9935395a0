"""Brings the operator's prices into the snapshot's catalogue, and keeps the last that were good."""

import asyncio
import logging
from pathlib import Path

import msgspec

from gateway.snapshot.copies import write_copy
from gateway.snapshot.snapshot import SnapshotHolder
from gateway.storage.changes import PRICES, read_epoch
from gateway.storage.engine import Connection
from gateway.storage.price_changes import load_price_changes
from pricing.catalogue import Catalogue, CatalogueError
from pricing.operator_layer import PriceChange, apply_changes

_log = logging.getLogger("tollway.prices")


class _Copy(msgspec.Struct, frozen=True, kw_only=True):
    epoch: int
    changes: list[PriceChange]


class StoredPrices:
    """Follows the operator's prices in Postgres; requests in flight keep what they began with."""

    def __init__(self, snapshots: SnapshotHolder, tables: Catalogue, copy: Path) -> None:
        """Prepare, without reading anything.

        Args:
            snapshots: whose catalogue is set.
            tables: what the changes are laid over.
            copy: the file of the last good copy; its directory is made.
        """
        self._snapshots = snapshots
        self._tables = tables
        self._copy = copy
        self._epoch: int | None = None

    async def follow(self, connection: Connection) -> None:
        """Look whether prices changed, and put them in force."""
        epoch = await read_epoch(connection, PRICES)
        if epoch == self._epoch:
            return
        changes = await load_price_changes(connection)
        if await self._take(changes):
            write_copy(self._copy, _Copy(epoch=epoch, changes=changes), of="prices")
        # A change that cannot be used is not looked at again before the next one.
        self._epoch = epoch

    def load_copy(self) -> None:
        """Postgres does not answer at the start: take the last good copy."""
        try:
            copy = msgspec.msgpack.decode(self._copy.read_bytes(), type=_Copy)
            catalogue = apply_changes(self._tables, copy.changes)
        except FileNotFoundError:
            return
        except (OSError, msgspec.MsgspecError, CatalogueError) as exc:
            _log.error("the last good copy of the operator's prices cannot be used: %s", exc)
            return
        self._enforce(catalogue, len(copy.changes))

    async def _take(self, changes: list[PriceChange]) -> bool:
        try:
            # In a thread: a catalogue of thousands of endpoints takes a moment to index.
            catalogue = await asyncio.to_thread(apply_changes, self._tables, changes)
        except CatalogueError as exc:
            _log.error("the operator's prices are wrong; those in force stay: %s", exc)
            return False
        self._enforce(catalogue, len(changes))
        return True

    def _enforce(self, catalogue: Catalogue, changes: int) -> None:
        current = self._snapshots.current
        if catalogue.version == current.catalogue.version:
            return
        self._snapshots.current = msgspec.structs.replace(current, catalogue=catalogue)
        _log.info("prices %s are in force, with %d changes", catalogue.version, changes)
