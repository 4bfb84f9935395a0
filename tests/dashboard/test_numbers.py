from datetime import UTC, datetime, timedelta
from decimal import Decimal

import pytest

from dashboard import numbers


def plain(text: str) -> str:
    return text.replace(numbers.NBSP, " ")


@pytest.mark.parametrize(
    ("amount", "expected"),
    [
        (None, "—"),
        ("0", "$0"),
        ("0.000000000000", "$0"),
        ("1240000", "$1.24M"),
        ("51448.40", "$51,448"),
        ("5144.8", "$5,144.80"),
        ("1", "$1.00"),
        ("0.0234816", "$0.0235"),
        ("0.000123456", "$0.000123"),
        ("0.000000000001", "$0.000000000001"),
        ("-41", f"{numbers.MINUS}$41.00"),
    ],
)
def test_money_is_written_to_be_read_at_a_glance(amount: str | None, expected: str) -> None:
    assert numbers.usd(None if amount is None else Decimal(amount)) == expected


@pytest.mark.parametrize(
    ("amount", "expected"),
    [
        (None, "—"),
        ("0", "$0"),
        ("0.0234816", "$0.0234816"),
        ("9007.200000000001", "$9,007.200000000001"),
        ("3", "$3.000000"),
        ("1E-12", "$0.000000000001"),
    ],
)
def test_exact_money_keeps_every_digit(amount: str | None, expected: str) -> None:
    assert numbers.usd_exact(None if amount is None else Decimal(amount)) == expected


@pytest.mark.parametrize(
    ("amount", "is_complete", "expected"),
    [
        pytest.param("5.5", True, "$5.50", id="complete"),
        pytest.param("5.5", False, "≥ $5.50", id="with-a-hole"),
        pytest.param("0", True, "$0", id="free"),
        pytest.param("0", False, "—", id="free-but-the-rest-is-unknown"),
        pytest.param(None, False, "—", id="all-unknown"),
        pytest.param(None, True, "—", id="nothing"),
    ],
)
def test_an_incomplete_sum_says_so_and_unknown_is_never_0(
    amount: str | None, is_complete: bool, expected: str
) -> None:
    value = None if amount is None else Decimal(amount)
    assert plain(numbers.usd_sum(value, is_complete=is_complete)) == expected


@pytest.mark.parametrize(
    ("number", "expected"),
    [
        (None, "—"),
        (0, "0"),
        (9_812, "9,812"),
        (10_000, "10.0k"),
        (457_321, "457k"),
        (999_999, "1.00M"),
        (1_130_000_000, "1.13B"),
    ],
)
def test_counts_are_written_with_three_digits(number: int | None, expected: str) -> None:
    assert numbers.count(number) == expected


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (None, "—"),
        (0, "0 %"),
        (1, "100 %"),
        (0.972, "97.2 %"),
        (0.99996, "> 99.9 %"),
        (1.056, "105.6 %"),
        (0.0001, "< 0.1 %"),
    ],
)
def test_only_a_true_0_or_1_is_written_as_such(value: float | None, expected: str) -> None:
    assert plain(numbers.share(value)) == expected


@pytest.mark.parametrize(
    ("ms", "expected"),
    [
        (None, "—"),
        (0, "0 ms"),
        (3.42, "3.4 ms"),
        (512.4, "512 ms"),
        (999.7, "1.00 s"),
        (4_310, "4.31 s"),
        (150_000, "2.5 min"),
        (7_200_000, "2.0 h"),
    ],
)
def test_durations_change_their_unit(ms: float | None, expected: str) -> None:
    assert plain(numbers.duration(ms)) == expected


def test_times_are_in_the_zone_that_was_chosen() -> None:
    at = datetime(2026, 11, 17, 23, 30, 2, 118_000, tzinfo=UTC)

    assert numbers.when(at, "Asia/Kolkata") == "Wed 18 Nov 05:00"
    assert numbers.when_exactly(at, "Europe/Berlin") == "Wed 18 Nov 2026 00:30:02.118 CET"


def test_a_clock_has_its_date_when_it_is_not_of_today() -> None:
    at = datetime(2026, 11, 17, 23, 30, 2, tzinfo=UTC)

    assert numbers.clock(at, "UTC", now=at + timedelta(hours=2)) == "23:30:02"
    assert numbers.clock(at, "UTC", now=at + timedelta(days=3)) == "17 Nov 23:30"


@pytest.mark.parametrize(
    ("amount", "expected"), [("3", "$3.00"), ("0.075", "$0.075"), ("1250", "$1,250.00")]
)
def test_prices_per_million_have_two_decimals_or_more(amount: str, expected: str) -> None:
    assert numbers.usd_per_mtok(Decimal(amount)) == expected
