"""What is spent of this month, where that leads, and the budget that it meets."""

import time
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from zoneinfo import ZoneInfo

import msgspec
import polars as pl
import streamlit as st

from dashboard import forecast, money_charts, notice_source, numbers, pieces, queries, sums
from dashboard.forecast import Forecast, Point
from dashboard.narrowing import Narrowing
from dashboard.periods import MONTH, Period, make_period
from dashboard.pieces import Card

_NUSD = Decimal("0.000000001")
_NOT_ENOUGH = f"needs {forecast.ENOUGH_DAYS} days of data"


class Budget(msgspec.Struct, frozen=True, kw_only=True):
    """What may be spent in a month by what is looked at."""

    name: str
    limit_usd: Decimal


class Month(msgspec.Struct, frozen=True, kw_only=True):
    """The present month, on the wall clock of a zone."""

    now: datetime
    days: dict[date, Decimal]
    """Known spending of late, by day."""
    is_complete: bool
    budget: Budget | None
    forecast: Forecast | None


def read_month(zone: str, only: Narrowing) -> Month:
    """The month of now, whatever period is shown."""
    at = datetime.fromtimestamp(time.time(), UTC)
    month = make_period(MONTH, now=at, zone=zone)
    period = with_look_back(month)
    found = sums.read_attempts_by("provider", period, only)
    by_day = found.group_by("bucket").agg(pl.col("cost_usd").sum())
    days = {
        begins.date(): usd for begins, usd in zip(by_day["bucket"], by_day["cost_usd"], strict=True)
    }
    now = month.wall_end
    this_month = found.filter(pl.col("bucket") >= month.origin)
    return Month(
        now=now,
        days=days,
        is_complete=not this_month["unpriced"].sum(),
        budget=find_budget(notice_source.read_budgets(month.end), only),
        forecast=forecast.expect(days, now),
    )


def find_budget(budgets: pl.DataFrame, only: Narrowing) -> Budget | None:
    """The monthly budget of exactly what is looked at; the lowest, if there are several."""
    if only.providers or only.models or len(only.keys) > 1:
        return None
    labels = only.labels_by_name
    if any(len(values) > 1 for values in labels.values()) or (labels and only.keys):
        return None
    wanted = {name: values[0] for name, values in labels.items()}
    key = only.keys[0] if only.keys else None
    fitting = [
        Budget(name=one["name"], limit_usd=one["limit_nusd"] * _NUSD)
        for one in budgets.iter_rows(named=True)
        if one["period"] == "month"
        and one["key"] == key
        and msgspec.json.decode(one["labels"], type=dict[str, str]) == wanted
    ]
    return min(fitting, key=lambda one: one.limit_usd, default=None)


def card(month: Month) -> Card:
    """What the month will come to."""
    if month.forecast is None:
        return Card(label="Forecast to month end", value=numbers.UNKNOWN, note=_NOT_ENOUGH)
    end = month.forecast.end
    band = (end.high_usd - end.low_usd) / 2
    if month.budget is None:
        against = f"± {numbers.usd(band)}"
    else:
        share = queries.usd_share(end.usd, month.budget.limit_usd)
        against = f"± {numbers.usd(band)} · {numbers.share(share)} of budget"
    return Card(
        label="Forecast to month end",
        value=numbers.usd_sum(end.usd, is_complete=month.is_complete),
        note=against,
        hint=f"{numbers.usd(end.low_usd)} to {numbers.usd(end.high_usd)} in four of five months",
    )


def draw(month: Month, period: Period, now: pl.DataFrame, before: pl.DataFrame) -> None:
    """This month against its budget where a month is shown, else the sums of the two periods.

    Args:
        month: of `read_month`.
        period: what the page shows.
        now: `schemas.ATTEMPT_SUMS` by bucket.
        before: the same of the period before; empty without a comparison.
    """
    if _is_month(period):
        _draw_month(month)
        return
    with_before = " beside the one before, dashed" if period.is_compared else ""
    st.html(pieces.heading("Cumulative", f"this period{with_before}"))
    sums_of_both = queries.cumulative(now, before, period)
    if not period.is_compared:
        nothing = pl.lit(None, sums_of_both.schema["before_usd"])
        sums_of_both = sums_of_both.with_columns(before_usd=nothing)
    st.altair_chart(
        money_charts.compared_chart(sums_of_both, bucket=period.bucket, when="To"),
        alt="Spend added up over the period, beside the period before",
    )


def _draw_month(month: Month) -> None:
    leads_to = _leads_to(month)
    st.html(pieces.heading("This month", leads_to))
    budget = month.budget
    st.altair_chart(
        money_charts.month_chart(
            _points(month),
            limit_usd=budget.limit_usd if budget else None,
            limit_name=f"{budget.name}: {numbers.usd(budget.limit_usd)}" if budget else "",
        ),
        alt=f"What is spent of this month, and where it leads: {leads_to}",
    )
    if budget:
        st.caption("Months of budgets begin at midnight UTC.")


def _leads_to(month: Month) -> str:
    if month.forecast is None:
        return f"a forecast {_NOT_ENOUGH}"
    end = month.forecast.end
    band = (end.high_usd - end.low_usd) / 2
    # It ends at the midnight after the last day.
    last = (end.at - timedelta(days=1)).date()
    return f"at this pace {numbers.usd(end.usd)} by {last.day} {last:%b} (± {numbers.usd(band)})"


def _points(month: Month) -> pl.DataFrame:
    spent = [
        (at, usd, usd, usd, "spent") for at, usd in forecast.spent_by_day(month.days, month.now)
    ]
    points: tuple[Point, ...] = month.forecast.points if month.forecast else ()
    expected = [(one.at, one.usd, one.low_usd, one.high_usd, "forecast") for one in points]
    money = pl.Decimal(38, 12)
    return pl.DataFrame(
        [(at, *map(_rounded, amounts), part) for at, *amounts, part in (*spent, *expected)],
        schema={
            "bucket": pl.Datetime("us"),
            "usd": money,
            "low_usd": money,
            "high_usd": money,
            "part": pl.String,
        },
        orient="row",
    )


def _rounded(usd: Decimal) -> Decimal:
    return usd.quantize(Decimal("0.000000000001"))


def _is_month(period: Period) -> bool:
    return period.before_ends_by is not None


def with_look_back(month: Period) -> Period:
    """A month, and the days before it that its forecast needs."""
    zone = ZoneInfo(month.zone)
    today = month.wall_end.date()
    first = min(today - forecast.LOOK_BACK, today.replace(day=1))
    start = datetime(first.year, first.month, first.day, tzinfo=zone).astimezone(UTC)
    return msgspec.structs.replace(month, start=start)
