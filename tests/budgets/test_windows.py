"""Windows are worked out in UTC; nothing resets them."""

from datetime import UTC, datetime, timedelta, timezone
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.domain.budgets import (
    SINCE_EVER,
    Budget,
    BudgetPeriod,
    percent_reached,
    window_of,
)
from tests.routing.factories import make_caller

PERIODS: tuple[BudgetPeriod, ...] = ("day", "week", "month", "total")


@pytest.mark.parametrize(
    ("period", "at", "since", "until"),
    [
        pytest.param("day", "2026-11-21T23:59:59", "2026-11-21", "2026-11-22", id="last-second"),
        pytest.param("day", "2026-11-22T00:00:00", "2026-11-22", "2026-11-23", id="midnight"),
        pytest.param("week", "2026-11-22T12:00:00", "2026-11-16", "2026-11-23", id="sunday"),
        pytest.param("week", "2026-11-23T00:00:00", "2026-11-23", "2026-11-30", id="monday"),
        pytest.param("week", "2027-01-01T05:00:00", "2026-12-28", "2027-01-04", id="new-year"),
        pytest.param("month", "2028-02-29T23:00:00", "2028-02-01", "2028-03-01", id="leap-day"),
        pytest.param("month", "2026-12-31T23:59:59", "2026-12-01", "2027-01-01", id="december"),
    ],
)
def test_windows_begin_and_end_at_midnight_utc(
    period: BudgetPeriod, at: str, since: str, until: str
) -> None:
    window = window_of(period, datetime.fromisoformat(at).replace(tzinfo=UTC))

    assert window.since == datetime.fromisoformat(since).replace(tzinfo=UTC)
    assert window.until == datetime.fromisoformat(until).replace(tzinfo=UTC)


def test_a_total_has_one_window_for_ever() -> None:
    window = window_of("total", datetime(2026, 11, 21, tzinfo=UTC))

    assert (window.since, window.until) == (SINCE_EVER, None)


def test_another_time_zone_changes_nothing() -> None:
    tokyo = timezone(timedelta(hours=9))

    window = window_of("day", datetime(2026, 11, 22, 8, 59, tzinfo=tokyo))

    assert window.since == datetime(2026, 11, 21, tzinfo=UTC)


@given(
    st.integers(0, 10**9).map(lambda s: datetime(2020, 1, 1, tzinfo=UTC) + timedelta(seconds=s)),
    st.sampled_from(PERIODS),
)
def test_every_instant_is_in_one_window_and_windows_follow_each_other(
    at: datetime, period: BudgetPeriod
) -> None:
    window = window_of(period, at)

    assert window.since <= at
    assert window_of(period, window.since) == window
    if window.until is not None:
        assert at < window.until
        assert window_of(period, window.until).since == window.until
        assert window_of(period, window.until - timedelta(microseconds=1)) == window


@pytest.mark.parametrize(
    ("spent", "limit", "percent"),
    [
        (0, 100, 0),
        (49, 100, 0),
        (50, 100, 50),
        (79, 100, 50),
        (80, 100, 80),
        (100, 100, 100),
        (999, 100, 100),
        (7, 0, 100),
    ],
)
def test_thresholds_are_reached_exactly(spent: int, limit: int, percent: int) -> None:
    assert percent_reached(spent, limit) == percent


def test_a_budget_is_for_a_key_or_for_all_that_have_its_labels() -> None:
    caller = make_caller(labels={"team": "search", "env": "dev"})

    def applies(key_id: UUID | None = None, **labels: str) -> bool:
        return Budget(
            id=UUID(int=1),
            name="b",
            key_id=key_id,
            labels=labels,
            period="day",
            limit_nusd=1,
            created_at=SINCE_EVER,
        ).applies_to(caller)

    assert applies()
    assert applies(team="search")
    assert applies(team="search", env="dev")
    assert not applies(team="search", env="prod")
    assert applies(caller.key_id)
    assert not applies(UUID(int=7))
