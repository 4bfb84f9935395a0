from datetime import UTC, datetime

import pytest

from dashboard.picking import brushed, picked


def wall(*fields: int) -> datetime:
    """On the clock of some wall."""
    return datetime(*fields, tzinfo=UTC).replace(tzinfo=None)  # pyright: ignore[reportArgumentType]


def ms(text: str) -> float:
    """Of a wall clock that is drawn as if it were UTC."""
    return datetime.fromisoformat(f"{text}+00:00").timestamp() * 1000


def test_a_brush_covers_whole_minutes_of_the_wall_clock() -> None:
    state = {
        "selection": {"range": {"bucket": [ms("2026-11-20T10:15:31"), ms("2026-11-20T12:00:01")]}}
    }

    assert brushed(state, "bucket") == (
        wall(2026, 11, 20, 10, 15),
        wall(2026, 11, 20, 12, 1),
    )


def test_a_brush_to_the_left_and_one_of_a_moment_are_some_time() -> None:
    backwards = {
        "selection": {"range": {"bucket": [ms("2026-11-20T12:00"), ms("2026-11-20T11:00")]}}
    }
    moment = {"selection": {"range": {"bucket": [ms("2026-11-20T12:00"), ms("2026-11-20T12:00")]}}}

    assert brushed(backwards, "bucket") == (
        wall(2026, 11, 20, 11),
        wall(2026, 11, 20, 12),
    )
    assert brushed(moment, "bucket") == (
        wall(2026, 11, 20, 12),
        wall(2026, 11, 20, 12, 1),
    )


@pytest.mark.parametrize(
    "state",
    [
        None,
        {},
        {"selection": {}},
        {"selection": {"range": {}}},
        {"selection": {"range": {"bucket": []}}},
    ],
)
def test_where_nothing_is_brushed_nothing_is_narrowed(state: object) -> None:
    assert brushed(state, "bucket") is None
    assert picked(state, "provider") == []


def test_a_click_tells_what_its_marks_stand_for_once() -> None:
    state = {"selection": {"pick": [{"provider": "groq"}, {"provider": "groq"}, {"other": "x"}]}}

    assert picked(state, "provider") == ["groq"]
