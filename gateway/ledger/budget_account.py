"""What limits one caller now, and how much of a budget a worker should hold: values, and sums."""

from collections.abc import Sequence

import msgspec

from gateway.domain.budgets import BudgetWindow
from gateway.domain.caller import Caller
from gateway.ledger.budgets import Slice


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


def account_of(caller: Caller, slices: Sequence[Slice]) -> Account:
    """The account of a caller whose budgets have these windows."""
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


def desired(one: Slice, rules: BudgetRules) -> int:
    """How much a slice should hold: for half a minute at the pace of late, within a hundredth."""
    most = max(one.budget.limit_nusd // 100, one.unit)
    if one.unit == 1:
        return most
    return min(max(int(one.burn_per_s * rules.ahead_s), 4 * one.unit), most)


def within_reach(hard: Sequence[Slice], bounds: dict[str, int]) -> dict[str, int]:
    """What would fit if everything that is left were held here."""
    most = min(one.free + max(0, one.available) for one in hard)
    return {endpoint: bound for endpoint, bound in bounds.items() if bound <= most}
