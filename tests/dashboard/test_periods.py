from datetime import UTC, date, datetime, time, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from dashboard.periods import (
    CHOICES,
    CUSTOM,
    MAX_LENGTH,
    PRESETS,
    make_period,
    offsets_within,
)

NOW = datetime(2026, 11, 21, 10, 30, 7, tzinfo=UTC)


def wall(year: int, month: int, day: int) -> datetime:
    """Midnight on whatever wall clock is meant."""
    return datetime.combine(date(year, month, day), time())


@pytest.mark.parametrize("choice", PRESETS)
@pytest.mark.parametrize("zone", ["UTC", "Asia/Kolkata", "America/St_Johns"])
def test_presets_begin_on_the_edge_of_a_bucket_and_hold_their_length(
    choice: str, zone: str
) -> None:
    preset = PRESETS[choice]

    period = make_period(choice, now=NOW, zone=zone)

    assert period.end - preset.length - preset.bucket < period.start <= period.end - preset.length
    midnight = period.origin.replace(hour=0, minute=0)
    assert (period.origin - midnight) % preset.bucket == timedelta(0)


def test_now_is_rounded_so_that_readers_share_what_was_read() -> None:
    period = make_period("1h", now=NOW, zone="UTC")

    assert period.end == datetime(2026, 11, 21, 10, 30, 15, tzinfo=UTC)
    assert make_period("1h", now=NOW + timedelta(seconds=7), zone="UTC") == period


def test_an_unknown_choice_is_the_default() -> None:
    assert make_period("bogus", now=NOW, zone="UTC") == make_period("7d", now=NOW, zone="UTC")


def test_a_custom_period_is_on_the_wall_clock_of_its_zone() -> None:
    period = make_period(
        CUSTOM,
        now=NOW,
        zone="America/New_York",
        start=wall(2026, 11, 2),
        end=wall(2026, 11, 3),
    )

    assert period.start == datetime(2026, 11, 2, 5, tzinfo=UTC)
    assert period.end == datetime(2026, 11, 3, 5, tzinfo=UTC)
    assert period.bucket == timedelta(minutes=30)


@pytest.mark.parametrize(
    ("start", "end"),
    [
        pytest.param(None, None, id="nothing-given"),
        pytest.param(wall(2026, 11, 3), wall(2026, 11, 2), id="the-wrong-way-round"),
        pytest.param(wall(2030, 1, 1), wall(2031, 1, 1), id="in-the-future"),
        pytest.param(wall(1990, 1, 1), None, id="longer-than-what-is-kept"),
    ],
)
def test_a_custom_period_is_always_one_that_can_be_read(
    start: datetime | None, end: datetime | None
) -> None:
    period = make_period(CUSTOM, now=NOW, zone="Europe/Berlin", start=start, end=end)

    assert period.start < period.end <= NOW + timedelta(seconds=15)
    assert period.end - period.start <= MAX_LENGTH + period.bucket
    assert (period.end - period.start) / period.bucket <= 92


def test_buckets_follow_the_wall_clock_over_the_change_of_daylight_saving() -> None:
    zone = "Europe/Berlin"
    after = datetime(2026, 10, 26, 12, tzinfo=ZoneInfo(zone))

    period = make_period("7d", now=after, zone=zone)

    assert period.origin.hour % 3 == 0
    assert period.start.astimezone(ZoneInfo(zone)).utcoffset() == timedelta(hours=2)


def test_every_choice_makes_a_period() -> None:
    assert all(make_period(choice, now=NOW, zone="UTC") for choice in CHOICES)


@given(
    now=st.datetimes(wall(2026, 1, 1), wall(2030, 1, 1), timezones=st.just(UTC)),
    choice=st.sampled_from(CHOICES),
    zone=st.sampled_from(["UTC", "Asia/Kolkata", "America/St_Johns", "Europe/Berlin"]),
)
@example(now=datetime(2026, 12, 1, 0, 5, tzinfo=UTC), choice="month", zone="UTC")
def test_clocks_of_a_period_and_of_the_one_before_are_always_known(
    now: datetime, choice: str, zone: str
) -> None:
    period = make_period(choice, now=now, zone=zone)

    assert period.before.start <= period.before.end <= period.end
    for one in (period, period.before):
        assert [until for until, _ in offsets_within(one)][-1] == one.end


@pytest.mark.parametrize(
    ("now", "start", "before_start", "before_end"),
    [
        pytest.param("2026-11-21T10:30", "2026-11-01", "2026-10-01", "2026-10-21", id="usual"),
        pytest.param("2027-03-30T12:00", "2027-03-01", "2027-02-01", "2027-03-01", id="shorter"),
        pytest.param("2027-01-01T00:00", "2026-12-01", "2026-11-01", "2026-12-01", id="midnight"),
    ],
)
def test_a_month_is_compared_with_as_much_of_the_one_before(
    now: str, start: str, before_start: str, before_end: str
) -> None:
    at = datetime.fromisoformat(now).replace(tzinfo=UTC)

    period = make_period("month", now=at, zone="UTC")

    assert period.start.date().isoformat() == start
    assert period.before.start.date().isoformat() == before_start
    assert period.before.end.date().isoformat() == before_end
    assert period.bucket == timedelta(days=1)
