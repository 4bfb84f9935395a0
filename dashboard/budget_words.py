"""Budgets: whose spending counts, how fast it is spent, and when it will be gone. Pure."""

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any

import msgspec
import polars as pl

from dashboard import numbers
from dashboard.admin_answers import AuditEntry, BudgetView
from pricing.cost import from_nano_usd

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
_GRAIN = timedelta(minutes=15)
_LEAST_ELAPSED = timedelta(minutes=15)
_FARTHEST = timedelta(days=3650)
_TOLD_WARN, _TOLD_SPENT = 80, 100
_ACTIONS = {
    "budget.create": "made with a limit of",
    "budget.change": "changed",
    "budget.release": "what gone workers held came back",
    "budget.delete": "deleted",
}
_LONGEST_DRAWN = timedelta(days=92)


class Holder(msgspec.Struct, frozen=True, kw_only=True):
    """A key, as far as budgets ask: whose it is."""

    id: str
    kid: str
    name: str
    labels: dict[str, str] = {}


class Event(msgspec.Struct, frozen=True, kw_only=True):
    """Something that happened to a budget; the tone is of `dashboard.pieces`."""

    at: datetime
    words: str
    actor: str = ""
    tone: str = ""


class Outlook(msgspec.Struct, frozen=True, kw_only=True):
    """Where a budget is going if it is spent on at the pace of late."""

    usd_per_day: Decimal | None
    """None when there is too little to judge by."""
    exhausted_at: datetime | None
    """None: not in this window, or not known."""
    is_spent: bool


def all_holders(keys: pl.DataFrame) -> tuple[Holder, ...]:
    """From `operator_source.KEY_LABELS`."""
    decode = msgspec.json.Decoder(dict[str, str]).decode
    return tuple(
        [
            Holder(id=row[0], kid=row[1], name=row[2], labels=decode(row[3]))
            for row in keys.select("id", "kid", "name", "labels").iter_rows()
        ]
    )


def holders(budget: BudgetView, keys: Iterable[Holder]) -> frozenset[str]:
    """Ids of the keys whose spending counts."""
    return frozenset(
        key.id
        for key in keys
        if (budget.kid == key.kid if budget.kid is not None else _has(key, budget.labels))
    )


def _has(key: Holder, labels: dict[str, str]) -> bool:
    return labels.items() <= key.labels.items()


def drawn_from(budget: BudgetView, now: datetime) -> datetime:
    """Since when its window is drawn: its begin, or that of the budget, at most 92 days ago."""
    return max(budget.since, budget.created_at, now - _LONGEST_DRAWN)


def grain_of(start: datetime, now: datetime) -> str:
    """By which sums a window is drawn."""
    return "hour" if now - start <= timedelta(days=10) else "day"


def paced_from(budget: BudgetView, now: datetime) -> datetime:
    """Since when its spending says how fast it goes: some hours or days, to the quarter hour."""
    begins = max(drawn_from(budget, now), now - _LOOK_BACK[budget.period])
    past = timedelta(seconds=begins.timestamp() % _GRAIN.total_seconds())
    return begins - past


def spend_of(spent: Mapping[str, Decimal | None], keys: frozenset[str]) -> Decimal:
    """What these keys are known to have spent together."""
    return sum((spent.get(key) or Decimal(0) for key in keys), Decimal(0))


def danger(budget: BudgetView) -> tuple[bool, float]:
    """Sorts the nearest to its end first; what only counts comes last."""
    return (budget.mode == "shadow", -spent_share(budget))


def spent_share(budget: BudgetView) -> float:
    """How much of it is spent, 0 to 1 and beyond; 1 of a budget of nothing."""
    return float(budget.spent_usd / budget.limit_usd) if budget.limit_usd else 1.0


def share_words(share: float) -> str:
    """In per cent, beyond a hundred too."""
    if share <= 1:
        return numbers.share(share)
    return f"{share * 100:,.0f}{numbers.NBSP}%"


def even_share(budget: BudgetView, now: datetime) -> float | None:
    """How much of its window is over, 0 to 1; None of one without an end."""
    if budget.resets_at is None:
        return None
    return (now - budget.since) / (budget.resets_at - budget.since)


def bar_tone(share: float) -> str:
    """The colour of its bar, in the tones of `dashboard.pieces`."""
    if share >= SPENT_SHARE:
        return "bad"
    return "warn" if share >= WARN_SHARE else "good"


def outlook(budget: BudgetView, spent: Decimal, now: datetime) -> Outlook:
    """By the pace of the last hours or days.

    Args:
        budget: as it stands.
        spent: since `paced_from`.
        now: aware.
    """
    if budget.remaining_usd <= 0:
        return Outlook(usd_per_day=None, exhausted_at=None, is_spent=True)
    begins = paced_from(budget, now)
    if now - max(begins, budget.created_at) < _LEAST_ELAPSED:
        return Outlook(usd_per_day=None, exhausted_at=None, is_spent=False)
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


def whose(budget: BudgetView, keys: Iterable[Holder]) -> str:
    """Whose spending it limits."""
    if budget.everyone:
        return "every key"
    if budget.kid is not None:
        name = next((key.name for key in keys if key.kid == budget.kid), budget.kid)
        return f"key {name}"
    return ", ".join(f"{name} = {value}" for name, value in budget.labels.items())


def events(budget: BudgetView, entries: Sequence[AuditEntry], windows: pl.DataFrame) -> list[Event]:
    """What was done to it, and how far each window came, newest first.

    Args:
        budget: as it stands.
        entries: of the audit log, about its name; others had the name before it.
        windows: `operator_source.BUDGET_WINDOWS`.
    """
    found = [
        Event(at=one.at, words=_entry_words(one), actor=one.actor)
        for one in entries
        if one.at >= budget.created_at
    ]
    for row in windows.iter_rows(named=True):
        spent = numbers.usd(from_nano_usd(row["spent_nusd"]))
        told: int = row["told_percent"]
        is_now = row["since"] == budget.since
        words = f"window began, {spent} spent {'so far' if is_now else 'in it'}"
        if told:
            words += f", told at {told}{numbers.NBSP}%"
        tone = "" if told < _TOLD_WARN else "bad" if told >= _TOLD_SPENT else "warn"
        # The window of one without an end began long before it.
        began = max(row["since"], budget.created_at) if is_now else row["since"]
        found.append(Event(at=began, words=words, tone=tone))
    return sorted(found, key=lambda one: one.at, reverse=True)


def _entry_words(entry: AuditEntry) -> str:
    if entry.action == "budget.change":
        return _change_words(entry.before or {}, entry.after or {})
    words = _ACTIONS.get(entry.action, entry.action)
    limit = (entry.after or {}).get("limit_nusd")
    return f"{words} {numbers.usd(from_nano_usd(limit))}" if isinstance(limit, int) else words


def _change_words(before: Mapping[str, Any], after: Mapping[str, Any]) -> str:
    words: list[str] = []
    limit, mode, is_strict = (after.get(name) for name in ("limit_nusd", "mode", "is_strict"))
    if isinstance(limit, int) and limit != before.get("limit_nusd"):
        words.append(f"limit set to {numbers.usd(from_nano_usd(limit))}")
    if mode != before.get("mode"):
        words.append(f"now {MODES.get(str(mode), str(mode))}")
    if is_strict != before.get("is_strict"):
        held = "longest possible" if is_strict else "longest usual"
        words.append(f"now holds the {held} answer")
    return ", ".join(words) or _ACTIONS["budget.change"]
