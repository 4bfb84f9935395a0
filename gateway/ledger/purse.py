"""Admits requests to what budgets hold: from this worker's slices at once, or after a short wait.

Nothing here asks Postgres. `gateway.ledger.budget_keeper` does, in the background and ahead of
need; who finds a slice used up waits for it, and never longer than the rules say.
"""

import asyncio
import time
from collections import deque
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

import msgspec

from gateway.domain.budgets import Budget, BudgetWindow, percent_reached, window_of
from gateway.domain.caller import Caller
from gateway.domain.errors import BudgetExceededError, GatewayError, RateLimitedError
from gateway.ledger.budgets import Slice, Spending
from gateway.routing.plan import Candidate
from gateway.storage.granting import Ask
from gateway.storage.leases import Holding
from pricing.cost import from_nano_usd

_MOST_ACCOUNTS = 20_000
_MOST_ASKED_AT_ONCE = 64
_LOOKS = 10
"""So often at least the worker listens for an answer before a request gives up waiting for it."""
_PERIODS = {"day": " per day", "week": " per week", "month": " per month", "total": ""}


class BudgetRules(msgspec.Struct, frozen=True, kw_only=True):
    """How budgets are enforced."""

    is_enforced: bool = True
    """False makes every hard budget a shadow: what it would refuse is counted, nothing more."""
    wait_s: float = 0.05
    """How long a request waits for a lease where the slice is used up; time in which this worker
    was too busy to hear the answer does not count."""
    ttl_s: float = 3_600.0
    """After so long without a sign of life a lease counts as expired."""
    releases_expired: bool = False
    """Give back what expired leases hold, although some of it may be spent and on its way."""
    dry_s: float = 0.25
    """How long it is believed that nothing more is to be had."""
    tick_s: float = 1.0
    ahead_s: float = 30.0
    """How long a slice is to last."""
    idle_s: float = 60.0
    """A slice that is not used for so long is given back, unless it is one of the first."""
    looked_at: int = 2_000
    """So many windows are looked at in one go: half of them those that were used last."""
    standing: int = 200
    """So many hard budgets always have a slice here, so that no request waits for its first."""


class Account(msgspec.Struct, frozen=True, kw_only=True):
    """The budgets of one caller in their windows of now."""

    caller: Caller
    """As routing sees it: with a hard budget, if one is enforced."""
    hard: tuple[Slice, ...]
    soft: tuple[Slice, ...]
    shadow: tuple[Slice, ...]
    windows: tuple[BudgetWindow, ...]
    until_s: float
    """When the first of the windows ends."""
    is_strict: bool

    @property
    def headroom_nusd(self) -> int | None:
        """What may still be spent, as of the last look; None while that is not known."""
        least: int | None = None
        for one in self.hard:
            headroom = one.headroom
            if headroom is not None and (least is None or headroom < least):
                least = headroom
        return least

    def warnings(self) -> tuple[str, ...]:
        """What the caller of soft budgets is told."""
        return tuple([one.warning for one in self.soft if one.warning is not None])


class _Waiter:
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

    def give_up(self) -> None:
        if not self.answer.done():
            self.answer.set_result(None)


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
        self._waiting: dict[Slice, deque[_Waiter]] = {}
        self._low: set[Slice] = set()
        self._is_counting = False

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
            raise _unbounded(hard[0])
        for one in hard:
            one.used_at_s = now_s
        if not spending.reserve(bounds):
            is_known = await self._wait(_waiter_of(spending, bounds), now_s)
            cheaper = _within_reach(hard, bounds) if is_known else bounds
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
        waiter = _Waiter(hard, nusd, lambda: spending.grow(number, nusd))
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
        wanted = [*self._waiting, *(one for one in self._low if one not in self._waiting)]
        self._low.clear()
        asks: list[tuple[Slice, Ask]] = []
        for one in wanted[:_MOST_ASKED_AT_ONCE]:
            needs = self._needs(one)
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
        self._answer(one)

    def learn(self, one: Slice, holding: Holding) -> None:
        """What a look at a window told."""
        if one.is_hard:
            one.adopt(holding.granted_nusd, holding.lease_at)
        one.spent_by_all = holding.spent_nusd
        one.available = holding.available_nusd
        one.percent = percent_reached(holding.spent_nusd, holding.limit_nusd)
        one.warning = None
        if one.budget.mode == "soft" and one.percent:
            one.warning = (
                f"budget {one.budget.name}: {one.percent} % of {_usd(holding.limit_nusd)} USD"
                f"{_PERIODS[one.budget.period]} are spent{_anew(one)}"
            )

    def fail(self) -> None:
        """Postgres does not answer: those who wait are not kept."""
        self.is_away = True
        for waiters in self._waiting.values():
            for waiter in waiters:
                waiter.give_up()
        self._waiting.clear()

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
        return one in self._waiting

    def forget(self, one: Slice) -> None:
        """A window that is over, or not used any more."""
        self.slices.pop((one.budget.id, one.window.since), None)
        self._low.discard(one)
        # Accounts may hold it: they are made anew.
        self._accounts.clear()
        self._callers.clear()

    def want_more(self) -> None:
        """Who waits still, or again, is asked for next."""
        if self._waiting:
            self.wanted.set()

    def want(self, one: Slice) -> None:
        """Ask for more at the next occasion."""
        self._low.add(one)
        self.wanted.set()

    def _make_account(self, caller: Caller, now_s: float) -> Account:
        mine = [budget for budget in self._budgets if budget.applies_to(caller)]
        slices = [self.slice_of(budget, now_s) for budget in mine]
        hard = tuple([one for one in slices if one.is_hard])
        if hard and not caller.has_hard_budget:
            caller = msgspec.structs.replace(caller, has_hard_budget=True)
        return Account(
            caller=caller,
            hard=hard,
            soft=tuple([one for one in slices if one.budget.mode == "soft"]),
            shadow=tuple([one for one in slices if not one.is_hard and one.budget.mode != "soft"]),
            windows=tuple([one.window_ref for one in slices]),
            until_s=min((one.until_s for one in slices), default=float("inf")),
            is_strict=any(one.budget.is_strict for one in hard),
        )

    def _is_enforced(self, budget: Budget) -> bool:
        return budget.mode == "hard" and self.rules.is_enforced

    async def _wait(self, waiter: _Waiter, now_s: float, *, is_second: bool = False) -> bool | None:
        """None once the reservation is made; else whether it is known that there is no more."""
        short = [one for one in waiter.hard if one.free < waiter.most]
        if not is_second and any(
            now_s < one.dry_until_s and one.free + one.available < waiter.most for one in short
        ):
            return True
        if self.is_away:
            return False
        for one in short:
            self._waiting.setdefault(one, deque()).append(waiter)
        self.wanted.set()
        self._count_on()
        try:
            is_reserved = await waiter.answer
        finally:
            self._leave(waiter)
        if is_reserved is None:
            return False
        return None if is_reserved else True

    def _count_on(self) -> None:
        """See to it that nobody waits for too long.

        In steps, each of which lets the event loop turn: a crowd that keeps it busy does not make
        answers late that are there already.
        """
        if not self._is_counting:
            self._is_counting = True
            asyncio.get_running_loop().call_later(self.rules.wait_s / _LOOKS, self._count_down)

    def _count_down(self) -> None:
        self._is_counting = False
        # Who waits for several budgets is among the waiters of each.
        for waiter in {one for waiters in self._waiting.values() for one in waiters}:
            waiter.looks -= 1
            if waiter.looks <= 0:
                waiter.give_up()
        if self._waiting:
            self._count_on()

    def _look_after(self, hard: Sequence[Slice]) -> None:
        """Ask for more before it is used up."""
        for one in hard:
            if one.free < one.low:
                self._low.add(one)
                self.wanted.set()

    def _leave(self, waiter: _Waiter) -> None:
        for one in waiter.hard:
            waiters = self._waiting.get(one)
            if waiters is not None and waiter in waiters:
                waiters.remove(waiter)
                if not waiters:
                    del self._waiting[one]

    def _answer(self, one: Slice) -> None:
        """Reserve for those who wait, in their order; whoever is not reached for is told so."""
        left: deque[_Waiter] = deque()
        for waiter in self._waiting.pop(one, ()):
            if waiter.answer.done():
                continue
            if waiter.take():
                waiter.answer.set_result(True)
            elif waiter.is_asked_for and one.available + one.free < waiter.most:
                one.dry_until_s = time.monotonic() + self.rules.dry_s
                waiter.answer.set_result(False)
            elif one.free < waiter.most:
                # It came while the others were asked for.
                left.append(waiter)
            else:
                # Another of its budgets was used up meanwhile.
                for other in waiter.hard:
                    if other.free < waiter.most and waiter not in self._waiting.get(other, ()):
                        self._waiting.setdefault(other, deque()).append(waiter)
        if left:
            self._waiting[one] = left

    def _needs(self, one: Slice) -> tuple[int, ...]:
        """What those who wait lack beyond what is free."""
        free = one.free
        needs: list[int] = []
        for waiter in self._waiting.get(one, ()):
            waiter.is_asked_for = True
            lacking = waiter.most - free
            free = max(0, -lacking)
            if lacking > 0:
                needs.append(lacking)
        return tuple(needs)

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
        raise _unconfirmed(tightest)


def _waiter_of(spending: Spending, bounds: dict[str, int]) -> _Waiter:
    return _Waiter(spending.hard, max(bounds.values()), lambda: spending.reserve(bounds))


def _within_reach(hard: Sequence[Slice], bounds: dict[str, int]) -> dict[str, int]:
    """What would fit if everything that is left were held here."""
    most = min(one.free + max(0, one.available) for one in hard)
    return {endpoint: bound for endpoint, bound in bounds.items() if bound <= most}


def desired(one: Slice, rules: BudgetRules) -> int:
    """How much a slice should hold: for half a minute at the pace of late, within a hundredth."""
    most = max(one.budget.limit_nusd // 100, one.unit)
    if one.unit == 1:
        return most
    return min(max(int(one.burn_per_s * rules.ahead_s), 4 * one.unit), most)


def exceeded(one: Slice, bound_nusd: int | None = None) -> BudgetExceededError:
    """402: what is left of a budget, and when it begins anew."""
    error = BudgetExceededError("", should_retry=False)
    explain(error, one, bound_nusd)
    return error


def explain(error: GatewayError, one: Slice, bound_nusd: int | None = None) -> None:
    """Say in an error what is left of a budget, and when it begins anew."""
    limit_nusd, spent_nusd = one.budget.limit_nusd, one.spent_by_all or 0
    left_nusd = max(0, limit_nusd - spent_nusd)
    asked = "" if bound_nusd is None else f" (this request may cost up to {_usd(bound_nusd)} USD)"
    error.message = (
        f"the budget {one.budget.name!r} of {_usd(limit_nusd)} USD{_PERIODS[one.budget.period]} "
        f"does not hold this request{asked}: {_usd(spent_nusd)} USD are spent, of the other "
        f"{_usd(left_nusd)} USD {_usd(max(0, min(left_nusd, one.headroom or 0)))} USD are not "
        f"reserved{_anew(one)}"
    )
    error.args = (error.message,)
    until = one.window.until
    told: dict[str, Any] = {
        "budget": one.budget.name,
        "period": one.budget.period,
        "limit_usd": from_nano_usd(limit_nusd).normalize(),
        "spent_usd": from_nano_usd(spent_nusd).normalize(),
        "remaining_usd": from_nano_usd(left_nusd).normalize(),
        "resets_at": None if until is None else f"{until:%Y-%m-%dT%H:%M:%SZ}",
    }
    if bound_nusd is not None:
        told["request_usd_at_most"] = from_nano_usd(bound_nusd).normalize()
    error.metadata |= told


def _unbounded(one: Slice) -> BudgetExceededError:
    return BudgetExceededError(
        f"the budget {one.budget.name!r} is enforced, and nobody knows what this request may cost "
        "at any endpoint; set `max_tokens`, or have the operator give a price",
        code="cost_unknown",
        should_retry=False,
        metadata={"budget": one.budget.name},
    )


def _unconfirmed(one: Slice) -> RateLimitedError:
    return RateLimitedError(
        f"this worker has used up its share of the budget {one.budget.name!r}, and more of it "
        "could not be confirmed in time; try again in a moment",
        code="budget_unconfirmed",
        retry_after_s=1,
        should_retry=False,
        metadata={"budget": one.budget.name},
    )


def _anew(one: Slice) -> str:
    until = one.window.until
    return "" if until is None else f"; it begins anew at {until:%Y-%m-%d %H:%M} UTC"


def _usd(nusd: int) -> str:
    return f"{from_nano_usd(nusd).normalize():f}"


def _free(one: Slice) -> int:
    return one.free
