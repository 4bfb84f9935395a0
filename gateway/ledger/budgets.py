"""A worker's own books of budgets: what it holds, reserves, settles and lets go. No I/O, no clock.

Of every window that it holds a lease of, ``granted = free + reserved + spent`` at any time; and
while no attempt costs more than was reserved for it, ``free`` is never below zero. Amounts are
nano-dollars.
"""

from collections.abc import Sequence
from datetime import datetime

from gateway.domain.budgets import Budget, BudgetWindow, Charge, Reservation, Window
from gateway.domain.errors import BudgetExceededError


class Slice:
    """What this worker knows of one window of a budget and, of a hard one, holds of it."""

    __slots__ = (
        "available",
        "budget",
        "burn_per_s",
        "dry_until_s",
        "free",
        "granted",
        "is_hard",
        "lease_at",
        "looked_at_s",
        "low",
        "percent",
        "reserved",
        "spent",
        "spent_by_all",
        "taken",
        "unit",
        "until_s",
        "used_at_s",
        "warning",
        "window",
        "window_ref",
    )

    def __init__(self, budget: Budget, window: Window, *, is_hard: bool) -> None:
        self.budget = budget
        self.window = window
        self.window_ref = BudgetWindow(budget=budget.id, since=window.since)
        self.until_s = window.until.timestamp() if window.until is not None else float("inf")
        self.is_hard = is_hard
        self.granted = 0
        self.free = 0
        self.reserved = 0
        self.spent = 0
        """Of what is granted; what an earlier lease was spent on is not in it."""
        self.lease_at: datetime | None = None
        """Which lease is granted; None before the first."""
        self.unit = 1
        """The largest reservation of late."""
        self.taken = 0
        """All that was reserved since the pace was last measured."""
        self.burn_per_s = 0.0
        """The pace at which it is reserved."""
        self.low = 0
        """Below so much that is free, more is asked for."""
        self.dry_until_s = 0.0
        """Until then it is known that there is no more to be had."""
        self.used_at_s = 0.0
        self.looked_at_s = 0.0
        """When Postgres was last asked how the window stands."""
        self.spent_by_all: int | None = None
        """As of the last look; None before the first."""
        self.available = 0
        self.percent = 0
        self.warning: str | None = None
        """What callers of a soft budget are told."""

    @property
    def headroom(self) -> int | None:
        """What may be spent here, as of the last look; None before the first."""
        return None if self.spent_by_all is None else self.free + max(0, self.available)

    def adopt(self, granted: int, lease_at: datetime | None = None) -> int:
        """Take over what Postgres says was granted in all; returns by how much that is more.

        Less may leave ``free`` below zero. Where the lease is another one, somebody took the former
        away: what was spent of that is shipped, or beyond the limit, and never asked for again.
        """
        if lease_at != self.lease_at:
            self.lease_at = lease_at
            self.granted -= self.spent
            self.spent = 0
        more = granted - self.granted
        self.granted = granted
        self.free += more
        return more

    def take(self, nusd: int) -> bool:
        """Reserve; False, and nothing is changed, when there is not so much."""
        if self.free < nusd:
            return False
        self.free -= nusd
        self.reserved += nusd
        self.taken += nusd
        self.unit = max(self.unit, nusd)
        return True

    def settle(self, held: int, actual: int) -> None:
        """So much of what is reserved was for something that cost ``actual``."""
        self.reserved -= held
        self.spent += actual
        self.free += held - actual

    def measure(self, elapsed_s: float) -> None:
        """Take the pace since the last time; what was unusually large is slowly forgotten."""
        self.burn_per_s += (self.taken / max(elapsed_s, 1e-3) - self.burn_per_s) / 2
        self.taken = 0
        self.unit -= self.unit // 16

    def return_free(self) -> int:
        """Take what is free out of the books, to be given back; returns how much."""
        nusd = max(0, self.free)
        self.free -= nusd
        self.granted -= nusd
        return nusd


class Spending:
    """What one request reserves and spends, in all budgets that limit its caller at once."""

    __slots__ = (
        "_bounds",
        "_charged",
        "_held",
        "_is_closed",
        "_open",
        "_settled",
        "hard",
        "overruns",
        "windows",
    )

    def __init__(self, hard: Sequence[Slice], windows: tuple[BudgetWindow, ...]) -> None:
        self.hard = hard
        self.windows = windows
        """Of all budgets, those that are not enforced included."""
        self.overruns = 0
        """Attempts that cost more than was reserved for them."""
        self._bounds: dict[str, int] = {}
        self._held = 0
        self._open: dict[int, int] = {}
        self._settled: dict[int, int] = {}
        self._charged = 0
        self._is_closed = False

    def reserve(self, bounds: dict[str, int]) -> bool:
        """Reserve the dearest of these bounds in all budgets, or nothing in any.

        Args:
            bounds: by endpoint, what one attempt there can cost.
        """
        most = max(bounds.values())
        for one in self.hard:
            if one.free < most:
                return False
        for one in self.hard:
            one.take(most)
        self._held += most
        self._bounds = bounds
        return True

    def begin(self, number: int, endpoint: str) -> Reservation:
        """Cover an attempt before it begins.

        The first is covered by what is reserved for the dearest; a later one too, unless an earlier
        one is still open or was billed: then as much is reserved again, or it does not begin.

        Raises:
            BudgetExceededError: there is not so much left.
        """
        if not self.hard:
            return Reservation(windows=self.windows)
        bound = self._bounds[endpoint]
        missing = bound + sum(self._open.values()) - self._held
        if missing > 0:
            if any(one.free < missing for one in self.hard):
                raise BudgetExceededError(
                    "the budget does not hold what another attempt may cost; earlier attempts of "
                    "this request failed",
                    should_retry=False,
                )
            for one in self.hard:
                one.take(missing)
            self._held += missing
        self._open[number] = bound
        return self.reservation_of(number)

    def grow(self, number: int, nusd: int) -> bool:
        """Reserve more for an open attempt; False, and nothing is changed, where there is less."""
        if number not in self._open or any(one.free < nusd for one in self.hard):
            return False
        for one in self.hard:
            one.take(nusd)
        self._held += nusd
        self._open[number] += nusd
        return True

    def reservation_of(self, number: int) -> Reservation:
        """What covers an open attempt now."""
        return Reservation(
            windows=self.windows, nusd=self._open[number], settled=dict(self._settled)
        )

    def cancel(self, number: int) -> None:
        """The attempt did not begin after all."""
        self._open.pop(number, None)

    def end(self, number: int, actual: int | None) -> None:
        """An attempt is over, and cost so much; None is unknown, and counts as what was reserved.

        Whatever budgets are enforced, what is charged is what records add up to.
        """
        bound = self._open.pop(number, 0)
        if actual is None:
            actual = bound
        elif actual > bound and self.hard:
            self.overruns += 1
        self._settled[number] = actual
        self._charged += actual
        held = min(actual, self._held)
        self._held -= held
        for one in self.hard:
            one.settle(held, actual)
        if self._is_closed:
            self._let_go()

    def close(self) -> None:
        """The request is over: what it holds beyond its open attempts is free again."""
        self._is_closed = True
        self._let_go()

    @property
    def charge(self) -> Charge:
        """What the record says was charged, and to which windows."""
        return Charge(windows=self.windows, nusd=self._charged)

    def _let_go(self) -> None:
        rest = self._held - sum(self._open.values())
        if rest > 0:
            self._held -= rest
            for one in self.hard:
                one.settle(rest, 0)
