"""Streams that are read on after their callers hung up, where the provider bills them anyway."""

import asyncio
import logging
from collections.abc import Coroutine

from gateway.execution.relay import Relay
from gateway.providers.base import StreamEvent

MOST = 200
"""More than that would be a way to make this gateway read what nobody wants."""

_log = logging.getLogger("tollway.drains")


class Shielded:
    """A relay whose reading outlives the cancellation of whoever waits for it.

    A cancelled read closes the connection, and with it the chance to learn the true usage.
    """

    __slots__ = ("_pending", "_relay")

    def __init__(self, relay: Relay) -> None:
        self._relay = relay
        self._pending: asyncio.Task[list[StreamEvent] | None] | None = None

    async def next(self) -> list[StreamEvent] | None:
        """As the relay's; a read that was left waiting is taken up again."""
        if self._pending is None:
            self._pending = asyncio.create_task(self._relay.next(), name="shielded read")
        pending = self._pending
        try:
            return await asyncio.shield(pending)
        finally:
            if pending.done():
                self._pending = None

    async def aclose(self) -> None:
        """Give up reading."""
        if self._pending is not None:
            self._pending.cancel()
            await asyncio.wait([self._pending])
        await self._relay.aclose()


class Drains:
    """Keeps the tasks that read on, and sees their ends."""

    def __init__(self, *, most: int = MOST) -> None:
        self._most = most
        self._tasks: set[asyncio.Task[None]] = set()

    @property
    def has_room(self) -> bool:
        return len(self._tasks) < self._most

    def start(self, work: Coroutine[None, None, None]) -> None:
        """Read on in the background."""
        task = asyncio.create_task(work, name="drain")
        self._tasks.add(task)
        task.add_done_callback(self._ended)

    async def aclose(self, *, within_s: float) -> None:
        """Let them end in time, then cut them off; each still writes its record."""
        if self._tasks:
            await asyncio.wait(self._tasks, timeout=within_s)
        for task in list(self._tasks):
            task.cancel()
        if self._tasks:
            await asyncio.wait(self._tasks, timeout=1.0)

    def _ended(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and (exc := task.exception()) is not None:
            _log.error("reading on for a caller who hung up failed", exc_info=exc)
