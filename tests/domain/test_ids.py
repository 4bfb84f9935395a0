"""Ids that sort by time, whatever the clock does, and both of their spellings."""

import secrets
from datetime import UTC, date, datetime
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.domain.ids import (
    RequestIds,
    day_of,
    parse_generation_id,
    to_generation_id,
    unix_ms_of,
)

NOON_MS = int(datetime(2026, 11, 21, 12, tzinfo=UTC).timestamp() * 1000)
MOST_MS = (1 << 48) - 1


def make(ids: RequestIds, unix_ms: int = NOON_MS) -> UUID:
    return ids.next(unix_ms=unix_ms, random_bits=secrets.randbits(62))


def test_an_id_is_a_version_7_uuid_of_its_instant() -> None:
    made = make(RequestIds())

    assert (made.version, made.variant) == (7, "specified in RFC 4122")
    assert unix_ms_of(made) == NOON_MS
    assert day_of(made) == date(2026, 11, 21)


@given(st.lists(st.integers(min_value=0, max_value=MOST_MS // 2), max_size=200))
def test_ids_only_ever_grow_whatever_the_clock_does(clock: list[int]) -> None:
    ids = RequestIds()
    made = [make(ids, unix_ms) for unix_ms in clock]

    assert made == sorted(made)
    assert len(set(made)) == len(made)


def test_a_clock_that_goes_back_is_held_at_its_latest() -> None:
    ids = RequestIds()
    first = make(ids)
    second = make(ids, NOON_MS - 3_600_000)

    assert second > first
    assert unix_ms_of(second) == NOON_MS


def test_more_ids_in_a_millisecond_than_there_are_numbers_borrow_from_the_next() -> None:
    ids = RequestIds()
    made = [make(ids) for _ in range(10_000)]

    assert made == sorted(set(made))
    assert unix_ms_of(made[-1]) == NOON_MS + 2


def test_random_bits_beyond_those_that_fit_change_neither_version_nor_variant() -> None:
    made = RequestIds().next(unix_ms=NOON_MS, random_bits=(1 << 200) - 1)

    assert made.version == 7
    assert unix_ms_of(made) == NOON_MS


@pytest.mark.parametrize(
    ("at", "day"),
    [
        (datetime(2026, 11, 21, 23, 59, 59, 999_000, tzinfo=UTC), date(2026, 11, 21)),
        (datetime(2026, 11, 22, tzinfo=UTC), date(2026, 11, 22)),
        (datetime(2028, 2, 29, tzinfo=UTC), date(2028, 2, 29)),
    ],
)
def test_the_day_of_an_id_is_that_of_utc(at: datetime, day: date) -> None:
    assert day_of(make(RequestIds(), round(at.timestamp() * 1000))) == day


def test_both_spellings_lead_back_to_the_id() -> None:
    made = make(RequestIds())
    shown = to_generation_id(made)

    assert shown.startswith("gen-")
    assert len(shown) == 36
    for text in (shown, f" {shown}\n", str(made), made.hex, shown.upper().replace("GEN-", "gen-")):
        assert parse_generation_id(text) == made


@pytest.mark.parametrize(
    "text",
    [
        "",
        "gen-",
        "gen-xyz",
        "gen-" + "0" * 31,
        "gen-" + "0" * 33,
        "gen-" + "g" * 32,
        "chatcmpl-1",
        "gen-" + "\u0660" * 32,
        "gen-" + "0_" * 15 + "00",
        "gen-" + "0" * 10_000,
        "'; DROP TABLE request_record; --",
    ],
)
def test_anything_else_is_refused_in_words(text: str) -> None:
    with pytest.raises(ValueError, match="is not a generation id; expected gen-"):
        parse_generation_id(text)
