"""What a budget is: whose spending it limits, in which window, and how strictly."""

from datetime import UTC, datetime, timedelta
from typing import Literal
from uuid import UUID

import msgspec

from gateway.domain.caller import Caller

BudgetMode = Literal["hard", "soft", "shadow"]
"""Hard refuses what does not fit, soft warns whoever asks, shadow tells operators alone."""
BudgetPeriod = Literal["day", "week", "month", "total"]

SINCE_EVER = datetime(1970, 1, 1, tzinfo=UTC)
"""Where the one window of a budget without a period begins."""
THRESHOLDS = (50, 80, 100)
"""Percent of the limit at which operators are told, and callers of soft budgets warned."""


class Window(msgspec.Struct, frozen=True, kw_only=True):
    """A stretch of time whose spending counts together; half-open, aware UTC."""

    since: datetime
    until: datetime | None
    """When it is followed by the next one; None is never."""


class Budget(msgspec.Struct, frozen=True, kw_only=True):
    """A limit on what some callers spend together in each window."""

    id: UUID
    name: str
    key_id: UUID | None = None
    """The one key that it is for; None goes by the labels."""
    labels: dict[str, str] = {}
    """Every key that has all of these; empty, without a key, is every key there is."""
    period: BudgetPeriod
    limit_nusd: int
    """In nano-dollars, as all that is reserved and spent is."""
    mode: BudgetMode = "hard"
    is_strict: bool = False
    """Reserves the longest answer that is possible, instead of one that 95 % do not exceed."""
    created_at: datetime

    def applies_to(self, caller: Caller) -> bool:
        """Whether this caller's spending counts."""
        if self.key_id is not None:
            return self.key_id == caller.key_id
        return self.labels.items() <= caller.labels.items()


class BudgetWindow(msgspec.Struct, frozen=True, kw_only=True, array_like=True):
    """One window of one budget: what a record says its cost was charged to."""

    budget: UUID
    since: datetime


def window_of(period: BudgetPeriod, at: datetime) -> Window:
    """The window that holds the aware instant ``at``: worked out, so that nothing has to reset it.

    Days begin at midnight UTC, weeks on Monday, months on their first day.
    """
    if period == "total":
        return Window(since=SINCE_EVER, until=None)
    midnight = at.astimezone(UTC).replace(hour=0, minute=0, second=0, microsecond=0)
    if period == "day":
        return Window(since=midnight, until=midnight + timedelta(days=1))
    if period == "week":
        monday = midnight - timedelta(days=midnight.weekday())
        return Window(since=monday, until=monday + timedelta(days=7))
    first = midnight.replace(day=1)
    # No month has more than 31 days, and no two together fewer than 59.
    return Window(since=first, until=(first + timedelta(days=32)).replace(day=1))


def percent_reached(spent_nusd: int, limit_nusd: int) -> int:
    """The highest of the thresholds that spending has reached; 0 below the first."""
    return max((t for t in THRESHOLDS if spent_nusd * 100 >= limit_nusd * t), default=0)


class Charge(msgspec.Struct, frozen=True, kw_only=True):
    """What a request is charged with, and where: in each of the windows alike."""

    windows: tuple[BudgetWindow, ...]
    nusd: int


class Reservation(msgspec.Struct, frozen=True, kw_only=True):
    """What covers an attempt that is about to begin."""

    windows: tuple[BudgetWindow, ...]
    """To be charged with it."""
    nusd: int | None = None
    """The most that it is expected to cost; None when no budget is enforced."""
    settled: dict[int, int] = {}
    """By number, what earlier attempts of the request cost that are over."""
