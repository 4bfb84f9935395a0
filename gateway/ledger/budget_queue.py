"""Requests that wait until more of their budgets is held here: in their order, and not for long.

Nothing here asks for more; whoever does looks at `needs`, and tells with `answer` what came of it.
"""

import asyncio
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence

from gateway.ledger.budgets import Slice

_LOOKS = 10
"""So often at least the worker listens for an answer before a request gives up waiting for it."""


class Waiter:
    """A request that wants to reserve in several budgets at once."""

    __slots__ = ("answer", "hard", "is_asked_for", "looks", "most", "take")

    def __init__(self, hard: Sequence[Slice], most: int, take: Callable[[], bool]) -> None:
        self.hard = hard
        self.most = most
        """So much of every one of them."""
        self.take = take
        """Reserves it, where it is there."""
        self.is_asked_for = False
        self.looks = _LOOKS
        """How often it may still be looked after in vain."""
        self.answer: asyncio.Future[bool | None] = asyncio.get_running_loop().create_future()
        """Whether it was reserved for; None where nobody answered in time."""

    def short(self) -> list[Slice]:
        """Those that do not hold enough."""
        return [one for one in self.hard if one.free < self.most]

    def give_up(self) -> None:
        """It is not kept any longer."""
        if not self.answer.done():
            self.answer.set_result(None)


class BudgetQueue:
    """Who waits for which slice. One per worker."""

    def __init__(self, *, wait_s: float, dry_s: float) -> None:
        """Empty.

        Args:
            wait_s: how long a request waits; time in which this worker was too busy to hear the
                answer does not count.
            dry_s: how long it is believed that nothing more is to be had.
        """
        self._wait_s = wait_s
        self._dry_s = dry_s
        self._waiting: dict[Slice, deque[Waiter]] = {}
        self._is_counting = False

    def __bool__(self) -> bool:
        return bool(self._waiting)

    def __contains__(self, one: Slice) -> bool:
        return one in self._waiting

    def __iter__(self) -> Iterator[Slice]:
        """Slices that somebody waits for."""
        return iter(self._waiting)

    def join(self, waiter: Waiter) -> None:
        """Wait for all that it lacks."""
        for one in waiter.short():
            self._waiting.setdefault(one, deque()).append(waiter)
        self._count_on()

    def leave(self, waiter: Waiter) -> None:
        """Wait for nothing more."""
        for one in waiter.hard:
            waiters = self._waiting.get(one)
            if waiters is not None and waiter in waiters:
                waiters.remove(waiter)
                if not waiters:
                    del self._waiting[one]

    def needs(self, one: Slice) -> tuple[int, ...]:
        """What those who wait lack beyond what is free, in their order; it is to be asked for."""
        free = one.free
        needs: list[int] = []
        for waiter in self._waiting.get(one, ()):
            waiter.is_asked_for = True
            lacking = waiter.most - free
            free = max(0, -lacking)
            if lacking > 0:
                needs.append(lacking)
        return tuple(needs)

    def answer(self, one: Slice) -> None:
        """Reserve for those who wait, in their order; whoever is not reached for is told so."""
        left: deque[Waiter] = deque()
        for waiter in self._waiting.pop(one, ()):
            if waiter.answer.done():
                continue
            if waiter.take():
                waiter.answer.set_result(True)
            elif waiter.is_asked_for and one.available + one.free < waiter.most:
                one.dry_until_s = time.monotonic() + self._dry_s
                waiter.answer.set_result(False)
            elif one.free < waiter.most:
                # It came while the others were asked for.
                left.append(waiter)
            else:
                # Another of its budgets was used up meanwhile.
                for other in waiter.short():
                    if waiter not in self._waiting.get(other, ()):
                        self._waiting.setdefault(other, deque()).append(waiter)
        if left:
            self._waiting[one] = left

    def give_up(self) -> None:
        """Nobody will answer: those who wait are not kept."""
        for waiters in self._waiting.values():
            for waiter in waiters:
                waiter.give_up()
        self._waiting.clear()

    def _count_on(self) -> None:
        """See to it that nobody waits for too long.

        In steps, each of which lets the event loop turn: a crowd that keeps it busy does not make
        answers late that are there already.
        """
        if not self._is_counting:
            self._is_counting = True
            asyncio.get_running_loop().call_later(self._wait_s / _LOOKS, self._count_down)

    def _count_down(self) -> None:
        self._is_counting = False
        # Who waits for several budgets is among the waiters of each.
        for waiter in {one for waiters in self._waiting.values() for one in waiters}:
            waiter.looks -= 1
            if waiter.looks <= 0:
                waiter.give_up()
        if self._waiting:
            self._count_on()
