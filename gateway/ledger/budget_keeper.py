"""Asks Postgres for what the purse needs, renews what it holds and gives back what it does not."""

import asyncio
import logging
import time
from collections.abc import Callable
from contextlib import suppress
from datetime import datetime
from uuid import UUID

from sqlalchemy.ext.asyncio import AsyncConnection

from gateway.domain.budgets import Budget
from gateway.ledger.budgets import Slice
from gateway.ledger.purse import Purse
from gateway.storage.engine import make_engine
from gateway.storage.granting import Ask, acquire
from gateway.storage.leases import Holding, free_expired, give_back, renew
from gateway.storage.waiting import DatabaseUnavailableError, bounded, run_bounded

_ANSWER_S = 5.0
_PAUSE_S = 0.25
_DISPOSE_S = 1.0
_SOON_S = 5.0
_FORGET_S = 600.0
_LATE_S = 60.0

_log = logging.getLogger("tollway.budgets")

Key = tuple[UUID, datetime]


class BudgetKeeper:
    """One per worker; ``run`` is its task. One call to Postgres at a time."""

    def __init__(
        self,
        purse: Purse,
        database_url: str,
        worker: str,
        *,
        budgets: Callable[[], tuple[Budget, ...]],
    ) -> None:
        """Prepare, without asking anything.

        Args:
            purse: whom to serve.
            database_url: holds a password.
            worker: the name of the spool's writer: its records turn leases into spending.
            budgets: those of the snapshot of now.
        """
        self._purse = purse
        self._worker = worker
        self._budgets = budgets
        # Requests wait for its answers: not even asked whether it is there.
        self._engine = make_engine(
            database_url, pool_size=1, application_name="tollway budgets", is_pinged=False
        )
        self._at_once = self._engine.execution_options(isolation_level="AUTOCOMMIT")
        self._looked_at_s = float("-inf")
        self._has_said_away = False
        self._running: asyncio.Task[None] | None = None

    async def aclose(self) -> None:
        """Ask for nothing more; returns when nothing is under way."""
        task = self._running
        if task is not None and not task.done():
            task.cancel()
            await asyncio.wait([task], timeout=_DISPOSE_S)

    async def run(self) -> None:
        """Until cancelled: serve the purse, whatever becomes of Postgres."""
        purse, tick_s = self._purse, self._purse.rules.tick_s
        self._running = asyncio.current_task()
        try:
            while True:
                purse.follow(self._budgets())
                if not purse.budgets and not purse.slices:
                    # Nothing to do, and no connection to be held for it.
                    purse.wanted.clear()
                    await self._sleep(tick_s)
                    continue
                try:
                    await self._serve()
                except Exception as exc:  # noqa: BLE001 - requests live on; this must too
                    self._tell_away(exc)
                    purse.fail()
                    await asyncio.sleep(_PAUSE_S)
                    continue
                await self._sleep(max(0.0, self._looked_at_s + tick_s - time.monotonic()))
        finally:
            purse.fail()
            # Its connection may hang with its server, and the process is about to end.
            with suppress(DatabaseUnavailableError):
                await bounded(self._engine.dispose(), _DISPOSE_S)

    async def _serve(self) -> None:
        purse = self._purse
        if time.monotonic() - self._looked_at_s >= purse.rules.tick_s:
            await self._look()
        purse.wanted.clear()
        asks = purse.asks()
        if asks:
            await self._acquire(asks)
            purse.want_more()
        if purse.is_away and self._has_said_away:
            _log.info("budgets are confirmed again")
        purse.is_away = self._has_said_away = False

    async def _acquire(self, asks: list[tuple[Slice, Ask]]) -> None:
        rules = self._purse.rules

        async def ask(connection: AsyncConnection) -> list[Holding]:
            return await acquire(
                connection,
                self._worker,
                [one for _, one in asks],
                ttl_s=rules.ttl_s,
            )

        answered = _by_key(await run_bounded(self._at_once, ask, seconds=_ANSWER_S))
        for one, _ in asks:
            self._purse.take(one, answered.get(_key(one)))

    async def _look(self) -> None:
        """Renew, learn what others spend, and see which slices are too large, or over."""
        purse = self._purse
        before_s, self._looked_at_s = self._looked_at_s, time.monotonic()
        self._keep_standing()
        slices = self._due()
        for one in slices:
            one.measure(min(self._looked_at_s - (one.looked_at_s or before_s), _FORGET_S))
            one.looked_at_s = self._looked_at_s

        async def look(connection: AsyncConnection) -> tuple[datetime, list[Holding]]:
            if purse.rules.releases_expired:
                await free_expired(connection, {one.budget.id for one in slices})
            return await renew(connection, self._worker, map(_key, slices), ttl_s=purse.rules.ttl_s)

        now, holdings = await run_bounded(self._engine, look, seconds=_ANSWER_S)
        asked_s = time.monotonic() - self._looked_at_s
        purse.clock_offset_s = now.timestamp() - (time.time() - asked_s / 2)
        found = _by_key(holdings)
        returned: dict[Key, int] = {}
        for one in slices:
            holding = found.get(_key(one))
            if holding is not None:
                purse.learn(one, holding)
            if self._is_too_much(one, holding) and (nusd := one.return_free()):
                returned[_key(one)] = nusd
        if returned:
            await run_bounded(
                self._engine,
                lambda connection: give_back(connection, self._worker, returned),
                seconds=_ANSWER_S,
            )

    def _due(self) -> list[Slice]:
        """Those to be looked at: of too many, those in use and those that waited longest."""
        slices = list(self._purse.slices.values())
        most = self._purse.rules.looked_at
        if len(slices) <= most:
            return slices
        slices.sort(key=_last_used, reverse=True)
        used = most // 2
        return [*slices[:used], *sorted(slices[used:], key=_last_looked_at)[: most - used]]

    def _is_too_much(self, one: Slice, holding: Holding | None) -> bool:
        """Whether what is free is to be given back; what is over is forgotten on the way."""
        purse = self._purse
        idle_s = time.monotonic() - one.used_at_s
        over_s = time.time() + purse.clock_offset_s - one.until_s
        if not one.is_hard:
            if holding is None or over_s > _LATE_S or idle_s > _FORGET_S:
                purse.forget(one)
            return one.granted > 0
        if holding is None or over_s >= 0:
            # Not before every clock agrees: who met the window again would know nothing of it.
            if one.reserved == 0 and one.free <= 0 and (holding is None or over_s > _LATE_S):
                purse.forget(one)
            return True
        if idle_s > purse.rules.idle_s and len(purse.budgets) > purse.rules.standing:
            return True
        if holding.is_wanted and not purse.has_waiters(one):
            one.low = 0
            return True
        if one.free < one.low or (one.free == 0 and one.low == 0):
            purse.want(one)
        return False

    def _keep_standing(self) -> None:
        """Slices of the first budgets are there before anybody asks, and for the next window."""
        purse = self._purse
        hard = [one for one in purse.budgets if one.mode == "hard"][: purse.rules.standing]
        now_s = time.time() + purse.clock_offset_s
        for budget in hard if purse.rules.is_enforced else ():
            for at_s in (now_s, now_s + _SOON_S):
                one = purse.slice_of(budget, at_s)
                if one.granted == 0 and one.low == 0:
                    purse.want(one)

    async def _sleep(self, most_s: float) -> None:
        with suppress(TimeoutError):
            async with asyncio.timeout(most_s):
                await self._purse.wanted.wait()

    def _tell_away(self, exc: Exception) -> None:
        if self._has_said_away:
            return
        self._has_said_away = True
        if isinstance(exc, DatabaseUnavailableError):
            _log.warning("Postgres does not answer; budgets hold what this worker has of them")
        else:
            _log.error("budgets cannot be confirmed", exc_info=exc)


def _key(one: Slice) -> Key:
    return one.budget.id, one.window.since


def _by_key(holdings: list[Holding]) -> dict[Key, Holding]:
    return {(holding.budget, holding.since): holding for holding in holdings}


def _last_used(one: Slice) -> float:
    return one.used_at_s


def _last_looked_at(one: Slice) -> float:
    return one.looked_at_s
