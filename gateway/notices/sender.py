"""Brings notices to webhooks: from Postgres while it answers, from memory what cannot wait for it.

One worker of a node runs it. Several nodes share the work: what one has taken, no other takes.
"""

import asyncio
import logging
import random
from collections import deque
from datetime import timedelta
from typing import TypeVar

from gateway.domain.notices import Event
from gateway.notices.sending import Courier
from gateway.storage.asking import Asker
from gateway.storage.waiting import DatabaseUnavailableError
from gateway.storage.webhooks import (
    Delivery,
    Outcome,
    StoredWebhook,
    fan_out,
    forget_old,
    list_webhooks,
    settle,
    take_due,
)

T = TypeVar("T")
_POLL_S = 1.0
_AWAY_S = 5.0
_AT_ONCE = 8
_FIRST_S, _LONGEST_S = 10.0, 3_600.0
_FORGET_EVERY = 3_600
_MOST_URGENT = 64
_URGENT_TRIES_S = (0.0, 2.0, 10.0, 30.0, 120.0)

_log = logging.getLogger("tollway.notices")


class Sender:
    """Its ``run`` is a task for as long as the worker lives."""

    def __init__(self, ask: Asker, courier: Courier, *, poll_s: float = _POLL_S) -> None:
        self._ask = ask
        self._courier = courier
        self._poll_s = poll_s
        self._hooks: list[StoredWebhook] = []
        self._urgent: deque[Event] = deque(maxlen=_MOST_URGENT)
        self._urgent_waits = asyncio.Event()
        self._is_away = False

    def send_from_memory(self, event: Event) -> None:
        """Tell the webhooks that were known last, without Postgres; at most 64 wait."""
        self._urgent.append(event)
        self._urgent_waits.set()

    async def run(self) -> None:
        """Until cancelled: send what is due, whatever becomes of Postgres and of receivers."""
        async with asyncio.TaskGroup() as group:
            group.create_task(self._run_stored())
            group.create_task(self._run_urgent())

    async def _run_stored(self) -> None:
        rounds = 0
        while True:
            try:
                is_idle = await self._round(forgets=rounds % _FORGET_EVERY == 0)
                self._tell_back()
                pause_s = self._poll_s if is_idle else 0.0
                rounds += 1
            except DatabaseUnavailableError as exc:
                self._tell_away(exc)
                pause_s = _AWAY_S
            except Exception:  # noqa: BLE001 - a background task lives on
                # A webhook that cannot be told must not keep the others from being told.
                _log.exception("webhooks cannot be served for now")
                pause_s = _AWAY_S
            await asyncio.sleep(pause_s)

    async def _round(self, *, forgets: bool) -> bool:
        self._hooks = await self._ask(list_webhooks)
        if not self._hooks:
            return True
        await self._ask(fan_out)
        if forgets:
            await self._ask(forget_old)
        due = await self._ask(lambda connection: take_due(connection, most=_AT_ONCE))
        outcomes = await asyncio.gather(
            *(self._courier.send(one.webhook_id, one.url, one.event) for one in due)
        )
        for one, outcome in zip(due, outcomes, strict=True):
            await self._settle(one, outcome)
        return len(due) < _AT_ONCE

    async def _settle(self, delivery: Delivery, outcome: Outcome) -> None:
        chance = random.random()  # noqa: S311 - spreads repetitions, guards nothing
        again_in = timedelta(seconds=pause_before_next_s(delivery.tries, chance))
        await self._ask(lambda connection: settle(connection, delivery, outcome, again_in=again_in))
        if not outcome.is_delivered:
            _log.warning(
                "webhook %s did not take event %s (try %d): %s",
                delivery.webhook_id,
                delivery.event.id,
                delivery.tries,
                outcome.problem,
            )

    async def _run_urgent(self) -> None:
        while True:
            await self._urgent_waits.wait()
            self._urgent_waits.clear()
            while self._urgent:
                event = self._urgent.popleft()
                wanted = [
                    hook for hook in self._hooks if not hook.kinds or event.type in hook.kinds
                ]
                await asyncio.gather(*(self._send_urgent(hook, event) for hook in wanted))

    async def _send_urgent(self, hook: StoredWebhook, event: Event) -> None:
        for pause_s in _URGENT_TRIES_S:
            await asyncio.sleep(pause_s)
            outcome = await self._courier.send(hook.id, hook.url, event)
            if outcome.is_delivered or outcome.is_final:
                return
            _log.warning("webhook %s did not take event %s: %s", hook.id, event.id, outcome.problem)

    def _tell_away(self, exc: BaseException) -> None:
        if not self._is_away:
            _log.warning("webhooks wait for Postgres: %s", exc)
        self._is_away = True

    def _tell_back(self) -> None:
        if self._is_away:
            _log.info("webhooks go on")
        self._is_away = False


def pause_before_next_s(tries: int, chance: float) -> float:
    """How long to wait after a try: 10 s, doubling up to an hour, and up to a fifth more.

    Args:
        tries: made until now.
        chance: in [0, 1).
    """
    pause_s = min(_LONGEST_S, _FIRST_S * 2.0 ** min(tries - 1, 20))
    return pause_s * (1 + chance / 5)
