"""What is left of a budget over time, and where it goes, and how sure that is. Pure.

The band holds four of five futures if days, or hours where there are few days, miss their mean as
they did lately, each for itself.
"""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from decimal import Decimal

import polars as pl

from dashboard import budget_words
from dashboard.admin_answers import BudgetView
from dashboard.budget_words import Outlook
from dashboard.forecast import ENOUGH_DAYS, FOUR_OF_FIVE
from dashboard.schemas import USD, UTC_INSTANT, Schema

LEFT, FORECAST = "left", "forecast"

POINTS: Schema = {
    "at": UTC_INSTANT,
    "left_usd": USD,
    "low_usd": USD,
    "high_usd": USD,
    "part": pl.String(),
}
"""`part` is `LEFT` or `FORECAST`; what was is as sure as can be: its band is the line."""

_STEPS = 12
"""Of the forecast; its band is curved."""
_HOUR, _DAY = timedelta(hours=1), timedelta(days=1)
_DIGITS = Decimal("0.000000000001")
_Point = tuple[datetime, Decimal, Decimal, Decimal, str]


def burn_down(
    budget: BudgetView, spend: pl.DataFrame, found: Outlook, now: datetime
) -> pl.DataFrame:
    """`POINTS`: what was left over time, ending at what is left now, then where it goes.

    Args:
        budget: as it stands.
        spend: `operator_source.SPEND_OVER_TIME` of its window, by hour or by day.
        found: of `budget_words.outlook`.
        now: aware.
    """
    left = budget.remaining_usd
    points: list[_Point] = [(now, left, left, left, LEFT)]
    for at, cost in reversed(list(spend.select("at", "cost_usd").iter_rows())):
        left += cost or Decimal(0)
        shown = min(left, budget.limit_usd)
        points.append((at, shown, shown, shown, LEFT))
    points.reverse()
    points += _forecast(budget, spend, found, now)
    rounded = [
        (at, *(one.quantize(_DIGITS) for one in amounts), part) for at, *amounts, part in points
    ]
    return pl.DataFrame(rounded, schema=POINTS, orient="row")


def _forecast(
    budget: BudgetView, spend: pl.DataFrame, found: Outlook, now: datetime
) -> list[_Point]:
    if not found.usd_per_day or found.is_spent:
        return []
    left, lookback = budget.remaining_usd, now - budget_words.paced_from(budget, now)
    ends = found.exhausted_at or budget.resets_at or now + lookback
    variance = _variance_per_day(spend, budget_words.paced_from(budget, now), now)
    points: list[_Point] = []
    for step in range(_STEPS + 1):
        at = ends if step == _STEPS else now + (ends - now) * step / _STEPS
        days = Decimal(int((at - now).total_seconds())) / 86_400
        goes = left - found.usd_per_day * days
        band = FOUR_OF_FIVE * (variance * days).sqrt()
        low, high = max(goes - band, Decimal(0)), min(goes + band, left)
        points.append((at, max(goes, Decimal(0)), low, max(high, Decimal(0)), FORECAST))
    return points


def _variance_per_day(spend: pl.DataFrame, since: datetime, now: datetime) -> Decimal:
    """How far whole days, else whole hours, missed their mean; 0 with too few to tell."""
    costs = [(at, cost or Decimal(0)) for at, cost in spend.iter_rows()]
    for length in (_DAY, _HOUR):
        begins = _up(since, length)
        steps = (now - begins) // length
        if steps >= ENOUGH_DAYS:
            sums = [Decimal(0)] * steps
            for at, cost in costs:
                place = (at - begins) // length
                if 0 <= place < steps:
                    sums[place] += cost
            return _variance(sums) * Decimal(_DAY / length)
    return Decimal(0)


def _up(at: datetime, length: timedelta) -> datetime:
    """The next whole day or hour of UTC, or this one if it is whole."""
    past = (at - datetime(1970, 1, 1, tzinfo=UTC)) % length
    return at + (length - past if past else timedelta(0))


def _variance(values: Sequence[Decimal]) -> Decimal:
    mean = sum(values, Decimal(0)) / len(values)
    return sum(((one - mean) ** 2 for one in values), Decimal(0)) / len(values)
