"""Looks at records once they are written, at the event loop, and at what other rooms can tell."""

import asyncio
import logging
import os
import time
from collections.abc import Callable

from gateway.domain.records import AttemptBegun, LateAttempts, RequestRecord
from gateway.ledger.journal import Ledger
from gateway.metrics.families import LOOP_LAG, UNCOUNTED
from gateway.metrics.node import VERSION, Gauges, NodeFiles, Sum, Told, encode_told, summed, wall_s
from gateway.metrics.tally import Tally

_MOST_WAITING = 20_000
_LOOK_S = 0.25
_WRITE_S = 1.0
_AT_ONCE = 100

_log = logging.getLogger("tollway.metrics")


class Watch:
    """The metrics of one worker. ``run`` is its task; ``sum`` answers a scrape."""

    def __init__(
        self, files: NodeFiles, *, gauges: Callable[[], Gauges], follow: Callable[[Tally], None]
    ) -> None:
        """Begin where this worker's number left off.

        Args:
            files: of the node.
            gauges: what goes up and down, as it is now.
            follow: takes over into the tally what other rooms count.
        """
        self._files = files
        self._gauges = gauges
        self._follow = follow
        self._tally = files.load()
        self._waiting: list[RequestRecord | LateAttempts] = []
        self._dropped = 0
        self._writing = asyncio.Lock()

    def note(self, record: RequestRecord | LateAttempts) -> None:
        """A record was written. Costs the request nothing but this."""
        if len(self._waiting) < _MOST_WAITING:
            self._waiting.append(record)
        else:
            self._dropped += 1

    async def run(self) -> None:
        """Until cancelled: count, and let the other workers read what was counted."""
        written_s = float("-inf")
        try:
            while True:
                due_s = time.monotonic() + _LOOK_S
                await asyncio.sleep(_LOOK_S)
                now_s = time.monotonic()
                self._tally.observe(LOOP_LAG, (), max(0.0, now_s - due_s))
                await self._count()
                if now_s - written_s >= _WRITE_S:
                    written_s = now_s
                    await self._write()
        finally:
            # What was counted until here goes on with the next process of this number.
            self._count_now()
            try:
                self._files.write(self._encoded())
            except OSError as exc:
                _log.warning("the last counts are lost: %s", exc.strerror)

    async def sum(self) -> Sum:
        """What the whole node counted until now.

        This worker's file is written first: the next scrape, at another worker, tells no less.
        """
        await self._count()
        await self._write()
        own = Told(
            version=VERSION,
            pid=os.getpid(),
            written_at_s=wall_s(),
            counted=self._tally.counted,
            gauges=self._look(),
        )
        others = await asyncio.to_thread(self._files.others)
        return summed(own, others, now_s=wall_s())

    async def _count(self) -> None:
        while self._waiting:
            batch, self._waiting = self._waiting[:_AT_ONCE], self._waiting[_AT_ONCE:]
            for record in batch:
                self._tally.take(record)
            await asyncio.sleep(0)
        self._count_now()

    def _count_now(self) -> None:
        waiting, self._waiting = self._waiting, []
        for record in waiting:
            self._tally.take(record)
        self._tally.follow(UNCOUNTED, (), self._dropped)
        self._follow(self._tally)

    def _look(self) -> Gauges:
        return self._gauges()

    def _encoded(self) -> bytes:
        return encode_told(self._tally.counted, self._look(), now_s=wall_s())

    async def _write(self) -> None:
        try:
            async with self._writing:
                await asyncio.to_thread(self._files.write, self._encoded())
        except OSError as exc:
            _log.warning("other workers cannot read these counts: %s", exc.strerror)


class WatchedLedger:
    """A ledger whose records are counted after they are written."""

    def __init__(self, ledger: Ledger, watch: Watch) -> None:
        self._ledger = ledger
        self._watch = watch

    @property
    def is_writable(self) -> bool:
        return self._ledger.is_writable

    def append_begun(self, begun: AttemptBegun) -> None:
        self._ledger.append_begun(begun)

    def append_record(self, record: RequestRecord) -> None:
        self._ledger.append_record(record)
        self._watch.note(record)

    def append_late(self, late: LateAttempts) -> None:
        self._ledger.append_late(late)
        self._watch.note(late)
