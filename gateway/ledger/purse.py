"""Admits requests to what budgets hold: from this worker's slices at once, or after a short wait.

Nothing here asks Postgres. `gateway.ledger.budget_keeper` does, in the background and ahead of
need; who finds a slice used up waits for it, and never longer than the rules say.
"""

import asyncio
import time
from collections.abc import Sequence
from datetime import UTC, datetime
from uuid import UUID

from gateway.domain.budgets import Budget, percent_reached, window_of
from gateway.domain.caller import Caller
from gateway.ledger.budget_account import (
    Account,
    BudgetRules,
    account_of,
    desired,
    within_reach,
)
from gateway.ledger.budget_queue import BudgetQueue, Waiter
from gateway.ledger.budget_refusals import exceeded, unbounded, unconfirmed, warning_of
from gateway.ledger.budgets import Slice, Spending
from gateway.routing.plan import Candidate
from gateway.storage.granting import Ask
from gateway.storage.leases import Holding

_MOST_ACCOUNTS = 20_000
_MOST_ASKED_AT_ONCE = 64


class Purse:
    """What one worker may spend. Its books are `gateway.ledger.budgets`."""

    def __init__(self, rules: BudgetRules | None = None) -> None:
        self.rules = rules or BudgetRules()
        self.slices: dict[tuple[UUID, datetime], Slice] = {}
        self.wanted = asyncio.Event()
        """Somebody waits, or a slice runs low."""
        self.is_away = False
        """Postgres does not answer: nobody waits for it."""
        self.clock_offset_s = 0.0
        """What the server's clock is ahead of ours."""
        self.refused = 0
        self.shadow_refused = 0
        self.unconfirmed = 0
        self.overruns = 0
        self._accounts: dict[UUID, Account] = {}
        self._callers: dict[UUID, Caller] = {}
        self._budgets: tuple[Budget, ...] = ()
        self._queue = BudgetQueue(wait_s=self.rules.wait_s, dry_s=self.rules.dry_s)
        self._low: set[Slice] = set()

    def account_of(
        self, caller: Caller, budgets: tuple[Budget, ...], now_s: float
    ) -> Account | None:
        """What limits a caller now; None when nothing does.

        Args:
            caller: authenticated.
            budgets: of the snapshot.
            now_s: Unix seconds, by our own clock.
        """
        if not budgets:
            return None
        if budgets is not self._budgets:
            self.follow(budgets)
        key_id = caller.key_id
        account = self._accounts.get(key_id)
        if (
            account is not None
            and self._callers[key_id] is caller
            and now_s + self.clock_offset_s < account.until_s
        ):
            return account if account.windows else None
        account = self._make_account(caller, now_s + self.clock_offset_s)
        if len(self._accounts) >= _MOST_ACCOUNTS:
            self._accounts.clear()
            self._callers.clear()
        self._accounts[key_id], self._callers[key_id] = account, caller
        return account if account.windows else None

    def follow(self, budgets: tuple[Budget, ...]) -> None:
        """Take over the budgets of a new snapshot."""
        if budgets is self._budgets:
            return
        self._budgets = budgets
        self._accounts.clear()
        self._callers.clear()
        by_id = {budget.id: budget for budget in budgets}
        for one in self.slices.values():
            one.budget = by_id.get(one.budget.id, one.budget)
            one.is_hard = self._is_enforced(one.budget)

    @property
    def free_nusd(self) -> int:
        """What is leased and not used, over all budgets."""
        return sum(one.free for one in self.slices.values())

    @property
    def reserved_nusd(self) -> int:
        """What open requests hold, over all budgets."""
        return sum(one.reserved for one in self.slices.values())

    @property
    def budgets(self) -> tuple[Budget, ...]:
        """Those that are followed."""
        return self._budgets

    async def admit(
        self,
        account: Account,
        spending: Spending,
        bounds: dict[str, int],
        candidates: Sequence[Candidate],
    ) -> Sequence[Candidate]:
        """Reserve for a request; the candidates that it may try.

        Those whose cost has no bound, or that what is left does not reach for, are left out.

        Raises:
            BudgetExceededError: the budget does not hold what the cheapest may cost.
            RateLimitedError: the slice is used up, and more of it could not be confirmed in time.
        """
        now_s = time.monotonic()
        for one in account.soft:
            one.used_at_s = now_s
        for one in account.shadow:
            one.used_at_s = now_s
            if one.spent_by_all is not None and one.spent_by_all >= one.budget.limit_nusd:
                self.shadow_refused += 1
        hard = account.hard
        if not hard:
            return candidates
        if not bounds:
            raise unbounded(hard[0])
        for one in hard:
            one.used_at_s = now_s
        if not spending.reserve(bounds):
            is_known = await self._wait(_waiter_of(spending, bounds), now_s)
            cheaper = within_reach(hard, bounds) if is_known else bounds
            if cheaper and len(cheaper) < len(bounds):
                # The dearest is out of reach: the cheaper ones are asked for by themselves.
                bounds = cheaper
                is_known = (
                    None
                    if spending.reserve(bounds)
                    else await self._wait(_waiter_of(spending, bounds), now_s, is_second=True)
                )
            if is_known is not None:
                bounds = self._what_fits(hard, spending, bounds, is_dry=is_known)
        self._look_after(hard)
        if len(bounds) == len(candidates):
            return candidates
        return [candidate for candidate in candidates if candidate.endpoint.id in bounds]

    async def extend(self, spending: Spending, number: int, nusd: int) -> int:
        """Reserve more for an attempt that is under way; how much, a part of it where it is scarce.

        Raises:
            BudgetExceededError: there is no more, or it could not be confirmed in time.
        """
        hard = spending.hard
        waiter = Waiter(hard, nusd, lambda: spending.grow(number, nusd))
        is_known = None if waiter.take() else await self._wait(waiter, time.monotonic())
        if is_known is not None:
            nusd //= 4
            if not nusd or not spending.grow(number, nusd):
                self.refused += 1
                raise exceeded(min(hard, key=_free))
        self._look_after(hard)
        return nusd

    def asks(self) -> list[tuple[Slice, Ask]]:
        """What is to be asked for now: for those who wait, and for slices that run low."""
        now_s = time.monotonic()
        wanted = [*self._queue, *(one for one in self._low if one not in self._queue)]
        self._low.clear()
        asks: list[tuple[Slice, Ask]] = []
        for one in wanted[:_MOST_ASKED_AT_ONCE]:
            needs = self._queue.needs(one)
            ahead = max(0, desired(one, self.rules) - max(0, one.free))
            if not needs and (now_s < one.dry_until_s or not ahead):
                continue
            asks.append(
                (
                    one,
                    Ask(
                        budget=one.budget.id,
                        since=one.window.since,
                        needs=needs,
                        ahead=ahead,
                        unit=one.unit,
                    ),
                )
            )
        return asks

    def take(self, one: Slice, holding: Holding | None) -> None:
        """Postgres answered an ask; None says that the budget is deleted."""
        if holding is not None:
            self.learn(one, holding)
        one.low = desired(one, self.rules) // 2
        if one.free < one.low:
            # There was no more to be had: the next look tells whether there is.
            one.low = 0
        self._queue.answer(one)

    def learn(self, one: Slice, holding: Holding) -> None:
        """What a look at a window told."""
        if one.is_hard:
            one.adopt(holding.granted_nusd, holding.lease_at)
        one.spent_by_all = holding.spent_nusd
        one.available = holding.available_nusd
        one.percent = percent_reached(holding.spent_nusd, holding.limit_nusd)
        one.warning = None
        if one.budget.mode == "soft" and one.percent:
            one.warning = warning_of(one, percent=one.percent, limit_nusd=holding.limit_nusd)

    def fail(self) -> None:
        """Postgres does not answer: those who wait are not kept."""
        self.is_away = True
        self._queue.give_up()

    def slice_of(self, budget: Budget, now_s: float) -> Slice:
        """The slice of a budget's window of a moment, made when there is none yet."""
        window = window_of(budget.period, datetime.fromtimestamp(now_s, UTC))
        one = self.slices.get((budget.id, window.since))
        if one is None:
            one = Slice(budget, window, is_hard=self._is_enforced(budget))
            one.used_at_s = time.monotonic()
            self.slices[budget.id, window.since] = one
        return one

    def has_waiters(self, one: Slice) -> bool:
        return one in self._queue

    def forget(self, one: Slice) -> None:
        """A window that is over, or not used any more."""
        self.slices.pop((one.budget.id, one.window.since), None)
        self._low.discard(one)
        # Accounts may hold it: they are made anew.
        self._accounts.clear()
        self._callers.clear()

    def want_more(self) -> None:
        """Who waits still, or again, is asked for next."""
        if self._queue:
            self.wanted.set()

    def want(self, one: Slice) -> None:
        """Ask for more at the next occasion."""
        self._low.add(one)
        self.wanted.set()

    def _make_account(self, caller: Caller, now_s: float) -> Account:
        mine = [budget for budget in self._budgets if budget.applies_to(caller)]
        slices = [self.slice_of(budget, now_s) for budget in mine]
        return account_of(caller, slices)

    def _is_enforced(self, budget: Budget) -> bool:
        return budget.mode == "hard" and self.rules.is_enforced

    async def _wait(self, waiter: Waiter, now_s: float, *, is_second: bool = False) -> bool | None:
        """None once the reservation is made; else whether it is known that there is no more."""
        if not is_second and any(
            now_s < one.dry_until_s and one.free + one.available < waiter.most
            for one in waiter.short()
        ):
            return True
        if self.is_away:
            return False
        self._queue.join(waiter)
        self.wanted.set()
        try:
            is_reserved = await waiter.answer
        finally:
            self._queue.leave(waiter)
        if is_reserved is None:
            return False
        return None if is_reserved else True

    def _look_after(self, hard: Sequence[Slice]) -> None:
        """Ask for more before it is used up."""
        for one in hard:
            if one.free < one.low:
                self._low.add(one)
                self.wanted.set()

    def _what_fits(
        self, hard: Sequence[Slice], spending: Spending, bounds: dict[str, int], *, is_dry: bool
    ) -> dict[str, int]:
        """The cheaper endpoints, where what is left reaches for them."""
        least = min(one.free for one in hard)
        fitting = {endpoint: bound for endpoint, bound in bounds.items() if bound <= least}
        if fitting and spending.reserve(fitting):
            return fitting
        cheapest = min(bounds.values())
        tightest = min(hard, key=_free)
        if is_dry:
            self.refused += 1
            raise exceeded(tightest, cheapest)
        self.unconfirmed += 1
        raise unconfirmed(tightest)


def _waiter_of(spending: Spending, bounds: dict[str, int]) -> Waiter:
    return Waiter(spending.hard, max(bounds.values()), lambda: spending.reserve(bounds))


def _free(one: Slice) -> int:
    return one.free
