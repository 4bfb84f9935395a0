from datetime import date, datetime, time, timedelta
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dashboard import forecast

NOON = datetime.combine(date(2026, 11, 21), time(12))


def spent(
    daily: dict[int, str] | str, *, first: date, until: datetime = NOON
) -> dict[date, Decimal]:
    days: dict[date, Decimal] = {}
    day = first
    while day <= NOON.date():
        usd = daily if isinstance(daily, str) else daily[day.weekday()]
        days[day] = Decimal(usd) / 2 if day == NOON.date() else Decimal(usd)
        day += timedelta(days=1)
    return days


def test_every_day_like_the_others_goes_on_like_that_without_a_doubt() -> None:
    found = forecast.expect(spent("10", first=date(2026, 10, 1)), NOON)

    assert found is not None
    assert found.points[0].usd == Decimal(205)
    assert found.end.at == datetime.combine(date(2026, 12, 1), time())
    assert found.end.usd == found.end.low_usd == found.end.high_usd == Decimal(300)


def test_weekdays_keep_their_own_pace() -> None:
    week = {0: "10", 1: "10", 2: "10", 3: "10", 4: "10", 5: "2", 6: "2"}

    found = forecast.expect(spent(week, first=date(2026, 10, 1)), NOON)

    # Of November 2026: 21 weekdays and 9 days of weekends.
    assert found is not None
    assert found.end.usd == Decimal(21 * 10 + 9 * 2)


def test_a_month_that_runs_hotter_scales_what_is_to_come() -> None:
    days = spent("10", first=date(2026, 10, 24)) | {
        day: Decimal(20) for day in (date(2026, 11, 1) + timedelta(days=n) for n in range(20))
    }

    found = forecast.expect(days, NOON)

    assert found is not None
    assert found.end.usd > Decimal(20 * 20 + 9 * 20)
    assert found.end.low_usd < found.end.usd < found.end.high_usd


@pytest.mark.parametrize("today", [1, 2, 28, 29, 30, 31])
def test_what_is_spent_is_all_of_the_month_on_whatever_day_of_it(today: int) -> None:
    first, last = date(2026, 11, 28), date(2026, 12, today)
    days = {
        first + timedelta(days=n): Decimal(10) + Decimal("0.01") * n
        for n in range((last - first).days + 1)
    }

    found = forecast.expect(days, datetime.combine(last, time(12)))

    assert found is not None
    assert found.points[0].usd == sum(usd for day, usd in days.items() if day.month == 12)


@pytest.mark.parametrize("days", [0, 1, 2])
def test_fewer_than_three_days_tell_nothing(days: int) -> None:
    first = NOON.date() - timedelta(days=days)

    assert forecast.expect(spent("10", first=first), NOON) is None
    assert forecast.expect(spent("10", first=first - timedelta(days=3)), NOON) is not None


@given(
    st.dictionaries(
        st.dates(date(2026, 10, 1), date(2026, 11, 21)),
        st.decimals(0, 1_000, places=12, allow_nan=False),
        min_size=1,
    )
)
def test_a_forecast_begins_at_what_is_spent_and_never_falls(days: dict[date, Decimal]) -> None:
    found = forecast.expect(days, NOON)

    total = sum((usd for day, usd in days.items() if day.month == 11), Decimal(0))
    assert forecast.spent_by_day(days, NOON)[-1] == (NOON, total)
    if found is None:
        return
    assert found.points[0].usd == total
    for earlier, later in zip(found.points, found.points[1:], strict=False):
        assert later.usd >= earlier.usd
        assert later.low_usd <= later.usd <= later.high_usd
        assert later.low_usd >= total
