"""Brings changes of health to Postgres, from every worker what it changed itself.

The latest changes are kept in memory anyway (`execution.health_events`), so nothing is queued here:
what Postgres, being away, did not take yet is read again from there. What had to make room there
meanwhile is lost, and counted.
"""

import asyncio
import logging
import secrets
from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta
from typing import cast
from uuid import UUID

from gateway.execution.health_events import HealthChange, HealthEvent
from gateway.storage.asking import Asker
from gateway.storage.health_events import (
    HealthLevel,
    HealthState,
    StoredHealthEvent,
    add_health_events,
)
from gateway.storage.waiting import DatabaseUnavailableError, bounded

_LOOK_S = 1.0
_AWAY_S = 5.0
_AT_ONCE = 256
_RUN_BITS = 64
_STATES: dict[HealthChange, HealthState] = {
    "opened": "open",
    "credential out": "open",
    "half-open": "half_open",
    "closed": "closed",
    "cooled down": "cooling",
}

_log = logging.getLogger("tollway.health")


class HealthLog:
    """Its ``run`` is a task for as long as the worker lives."""

    def __init__(
        self,
        ask: Asker,
        *,
        since: Callable[[int], Sequence[HealthEvent]],
        node: str,
        look_s: float = _LOOK_S,
        away_s: float = _AWAY_S,
    ) -> None:
        """Prepare.

        Args:
            ask: of Postgres, in the background.
            since: changes of health after the one of a number, as far as they are kept.
            node: what operators know this node by.
            look_s: how often to look.
            away_s: the pause after Postgres did not answer.
        """
        self._ask = ask
        self._since = since
        self._node = node
        self._look_s = look_s
        self._away_s = away_s
        self._run = secrets.randbits(_RUN_BITS)
        self._last = 0
        self.lost = 0
        """How many changes were never stored."""

    async def run(self) -> None:
        """Until cancelled."""
        while True:
            pause_s = self._look_s
            try:
                await self.write()
            except DatabaseUnavailableError:
                pause_s = self._away_s
            await asyncio.sleep(pause_s)

    async def write(self) -> None:
        """Store what is not stored yet.

        Raises:
            DatabaseUnavailableError: Postgres does not answer; it is tried again with what is kept.
        """
        while True:
            events = self._since(self._last)[:_AT_ONCE]
            if not events:
                return
            rows = [as_row(event, node=self._node, run=self._run) for event in events]
            lost = events[0].number - self._last - 1
            try:
                await self._ask(lambda connection, rows=rows: add_health_events(connection, rows))
            except DatabaseUnavailableError:
                raise
            except Exception:  # noqa: BLE001 - one batch that is refused must not stop all others
                _log.exception("changes of health were refused")
                lost += len(events)
            self._last = events[-1].number
            self._count_lost(lost)

    async def write_rest(self, *, within_s: float) -> None:
        """Before an end: once more, and no longer than that."""
        try:
            await bounded(self.write(), within_s)
        except DatabaseUnavailableError as exc:
            _log.warning("the last changes of health are not stored: %s", exc)

    def _count_lost(self, count: int) -> None:
        if count:
            self.lost += count
            _log.warning("%d changes of health will not be stored, %d so far", count, self.lost)


def as_row(event: HealthEvent, *, node: str, run: int) -> StoredHealthEvent:
    """A change as it is stored.

    Args:
        event: the change.
        node: whose it is.
        run: below 2**64, of one life of one worker: with the event's number it makes the id.
    """
    level, _, subject = event.level.partition(":")
    owner, credential = subject, ""
    if level in {"credential", "share"}:
        owner, _, credential = subject.rpartition("#")
    is_of_provider = level in {"origin", "credential"}
    at = datetime.fromtimestamp(event.unix_ms / 1000, UTC)
    return StoredHealthEvent(
        id=UUID(int=run << _RUN_BITS | event.number),
        at=at,
        node=node,
        level=cast("HealthLevel", level),
        provider=owner if is_of_provider else owner.partition("/")[0],
        endpoint=None if is_of_provider else owner,
        credential=int(credential) if credential else None,
        state=_STATES[event.change],
        until=None if event.for_s is None else at + timedelta(seconds=event.for_s),
        reason=event.outcome,
    )
