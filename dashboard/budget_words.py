"""Budgets: whose spending counts, how fast it is spent, and when it will be gone. Pure."""

from collections.abc import Iterable
from datetime import datetime, timedelta
from decimal import Decimal

import msgspec
import polars as pl

from dashboard import numbers
from dashboard.admin_answers import BudgetView, Key

MODES: dict[str, str] = {
    "hard": "refuses what does not fit",
    "soft": "warns",
    "shadow": "only counts",
}
WARN_SHARE, SPENT_SHARE = 0.8, 1.0

_LOOK_BACK: dict[str, timedelta] = {
    "day": timedelta(hours=6),
    "week": timedelta(days=2),
    "month": timedelta(days=7),
    "total": timedelta(days=7),
}
_LEAST_ELAPSED = timedelta(minutes=15)
_FARTHEST = timedelta(days=3650)
_LONGEST_DRAWN = timedelta(days=92)


class Outlook(msgspec.Struct, frozen=True, kw_only=True):
    """Where a budget is going if it is spent on at the pace of late."""

    usd_per_day: Decimal | None
    """None when there is too little to judge by."""
    exhausted_at: datetime | None
    """None: not in this window, or not known."""
    is_spent: bool


def holders(budget: BudgetView, keys: Iterable[Key]) -> frozenset[str]:
    """Ids of the keys whose spending counts."""
    return frozenset(
        key.id
        for key in keys
        if (budget.kid == key.kid if budget.kid is not None else _has(key, budget.labels))
    )


def _has(key: Key, labels: dict[str, str]) -> bool:
    return labels.items() <= key.labels.items()


def drawn_from(budget: BudgetView, now: datetime) -> datetime:
    """Since when its window is drawn: its begin, or that of the budget, at most 92 days ago."""
    return max(budget.since, budget.created_at, now - _LONGEST_DRAWN)


def grain_of(start: datetime, now: datetime) -> str:
    """By which sums a window is drawn."""
    return "hour" if now - start <= timedelta(days=10) else "day"


def spend_of(spend: pl.DataFrame, keys: frozenset[str]) -> pl.DataFrame:
    """``at``, ``cost_usd`` of these keys together, in the order of time."""
    return (
        spend.filter(pl.col("key_id").is_in(list(keys)))
        .group_by("at")
        .agg(pl.col("cost_usd").sum())
        .sort("at")
    )


def outlook(budget: BudgetView, spend: pl.DataFrame, now: datetime) -> Outlook:
    """By the pace of the last hours or days, of `spend_of`."""
    if budget.remaining_usd <= 0:
        return Outlook(usd_per_day=None, exhausted_at=None, is_spent=True)
    begins = max(drawn_from(budget, now), now - _LOOK_BACK[budget.period])
    if now - begins < _LEAST_ELAPSED:
        return Outlook(usd_per_day=None, exhausted_at=None, is_spent=False)
    late = [cost for cost in spend.filter(pl.col("at") >= begins)["cost_usd"] if cost is not None]
    spent = sum(late, Decimal(0))
    if spent <= 0:
        return Outlook(usd_per_day=Decimal(0), exhausted_at=None, is_spent=False)
    seconds = Decimal(int((now - begins).total_seconds()))
    per_second = spent / seconds
    lasts = min(int(budget.remaining_usd / per_second), int(_FARTHEST.total_seconds()))
    at = now + timedelta(seconds=lasts)
    is_in_time = budget.resets_at is None or at < budget.resets_at
    return Outlook(
        usd_per_day=per_second * 86_400,
        exhausted_at=at if is_in_time and at < now + _FARTHEST else None,
        is_spent=False,
    )


def outlook_words(budget: BudgetView, found: Outlook, zone: str) -> tuple[str, str]:
    """When it will be gone, with a tone."""
    if found.is_spent:
        back = budget.resets_at
        return ("spent" + (f" until {numbers.when(back, zone)}" if back else ""), "bad")
    if found.exhausted_at is not None:
        return (f"gone by {numbers.when(found.exhausted_at, zone)}", "warn")
    if found.usd_per_day is None:
        return ("too early to tell", "")
    if budget.resets_at is not None:
        return (f"lasts until {numbers.when(budget.resets_at, zone)}", "good")
    return ("lasts" if found.usd_per_day else "not spent of late", "good")


def whose(budget: BudgetView, keys: Iterable[Key]) -> str:
    """Whose spending it limits."""
    if budget.everyone:
        return "every key"
    if budget.kid is not None:
        name = next((key.name for key in keys if key.kid == budget.kid), budget.kid)
        return f"key {name}"
    return ", ".join(f"{name} = {value}" for name, value in budget.labels.items())


def burn_down(
    budget: BudgetView, spend: pl.DataFrame, found: Outlook, now: datetime
) -> pl.DataFrame:
    """What was left over time, ending at what is left now, then where it goes.

    Returns:
        ``at``, ``left_usd``, ``part`` ("left" or "forecast"), oldest first.
    """
    left = budget.remaining_usd
    points: list[tuple[datetime, Decimal, str]] = [(now, left, "left")]
    for at, cost in reversed(list(spend.select("at", "cost_usd").iter_rows())):
        left += cost or Decimal(0)
        points.append((at, min(left, budget.limit_usd), "left"))
    points.reverse()
    if found.usd_per_day and not found.is_spent:
        ends = found.exhausted_at or budget.resets_at or now + _LOOK_BACK[budget.period]
        days = Decimal(int((ends - now).total_seconds())) / 86_400
        rest = max(budget.remaining_usd - found.usd_per_day * days, Decimal(0))
        points += [(now, budget.remaining_usd, "forecast"), (ends, rest, "forecast")]
    return pl.DataFrame(
        {
            "at": [at for at, _, _ in points],
            "left_usd": [left for _, left, _ in points],
            "part": [part for _, _, part in points],
        },
        schema={
            "at": pl.Datetime("us", "UTC"),
            "left_usd": pl.Decimal(38, 12),
            "part": pl.String(),
        },
        strict=False,
    )
