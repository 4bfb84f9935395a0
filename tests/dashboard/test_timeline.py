"""Changes of health become bars that say what was true when."""

from datetime import UTC, datetime, timedelta
from typing import Any

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dashboard import reliability_charts, timeline
from dashboard.periods import make_period
from dashboard.reliability_sums import HEALTH
from tests.dashboard.test_charts import drawn
from tests.properties import many

NOW = datetime(2026, 11, 21, 10, 30, tzinfo=UTC)
PERIOD = make_period("24h", now=NOW, zone="Europe/Berlin")
AT = NOW - timedelta(hours=3)


def changes(*rows: dict[str, Any]) -> pl.DataFrame:
    usual = {
        "node": "here",
        "level": "target",
        "provider": "groq",
        "endpoint": "groq/llama",
        "credential": None,
        "until": None,
        "reason": None,
    }
    return pl.DataFrame([usual | row for row in rows], schema=HEALTH)


def s(seconds: float) -> datetime:
    return AT + timedelta(seconds=seconds)


def told(frame: pl.DataFrame) -> list[tuple[str, float, float]]:
    found = timeline.intervals(frame, PERIOD).sort("from_at", "state")
    return [
        (
            row["state"],
            (row["from_at"] - AT).total_seconds(),
            (row["to_at"] - AT).total_seconds(),
        )
        for row in found.iter_rows(named=True)
    ]


def test_an_opening_is_half_open_once_its_time_is_up_until_it_closes() -> None:
    frame = changes(
        {"at": s(0), "state": "open", "until": s(10)},
        {"at": s(12), "state": "half_open"},
        {"at": s(13), "state": "closed"},
    )

    assert told(frame) == [("open", 0, 10), ("half-open", 10, 12), ("half-open", 12, 13)]


def test_what_closes_early_ends_early_and_a_further_opening_goes_on() -> None:
    frame = changes(
        {"at": s(0), "state": "open", "until": s(100)},
        {"at": s(40), "state": "closed"},
        {"at": s(60), "state": "open", "until": s(160)},
        {"at": s(70), "state": "open", "until": s(200)},
        {"at": s(200), "state": "closed"},
    )

    assert told(frame) == [("open", 0, 40), ("open", 60, 70), ("open", 70, 200)]


def test_nobody_is_half_open_for_ever_without_a_further_change() -> None:
    frame = changes({"at": s(0), "state": "open", "until": s(10)})

    assert told(frame) == [("open", 0, 10), ("half-open", 10, 910)]


def test_what_is_still_open_ends_where_the_period_does_and_what_began_before_begins_there() -> None:
    now_open = changes(
        {"at": NOW - timedelta(seconds=5), "state": "open", "until": NOW + timedelta(seconds=60)},
    )
    before = changes(
        {
            "at": PERIOD.start - timedelta(seconds=30),
            "state": "cooling",
            "until": PERIOD.start + timedelta(seconds=30),
        },
        {
            "at": PERIOD.start - timedelta(seconds=60),
            "state": "cooling",
            "until": PERIOD.start - timedelta(seconds=30),
        },
    )

    (last,) = timeline.intervals(now_open, PERIOD).iter_rows(named=True)
    (first,) = timeline.intervals(before, PERIOD).iter_rows(named=True)

    assert last["to_at"] == PERIOD.end
    assert (first["from_at"], first["state"]) == (PERIOD.start, "cool-down")


def test_nodes_and_levels_are_told_apart_and_rests_do_not_end_openings() -> None:
    frame = changes(
        {"at": s(0), "state": "open", "until": s(30)},
        {"at": s(5), "state": "open", "until": s(20), "node": "there"},
        {"at": s(6), "state": "cooling", "until": s(8)},
        {"at": s(7), "state": "closed", "node": "there"},
        {"at": s(40), "state": "closed"},
    )

    assert told(frame) == [
        ("open", 0, 30),
        ("open", 5, 7),
        ("cool-down", 6, 8),
        ("half-open", 30, 40),
    ]


def test_lanes_say_whose_they_are_and_the_worst_comes_first() -> None:
    frame = changes(
        {"at": s(0), "state": "cooling", "until": s(500), "level": "share", "credential": 0},
        {"at": s(0), "state": "open", "until": s(9), "level": "origin", "endpoint": None},
        {
            "at": s(0),
            "state": "open",
            "until": s(600),
            "level": "credential",
            "endpoint": None,
            "credential": 1,
        },
    )

    lanes = timeline.worst_lanes(timeline.intervals(frame, PERIOD))

    assert lanes == ["groq · credential 2", "groq · all models", "groq/llama"]


def test_neighbours_are_one_bar_that_tells_how_many_they_are() -> None:
    frame = changes(
        *(
            {
                "at": s(60 * number),
                "state": "cooling",
                "until": s(60 * number + 2),
                "reason": "rate_limited",
            }
            for number in range(5)
        ),
        {"at": s(7_000), "state": "cooling", "until": s(7_002), "reason": "overloaded"},
    )
    found = timeline.intervals(frame, PERIOD)

    bars = timeline.bars(found, ["groq/llama"], PERIOD)

    assert bars["times"].to_list() == [5, 1]
    assert bars["lasted_ms"].to_list() == [10_000, 2_000]
    assert bars["reasons"].to_list() == ["rate_limited", "overloaded"]
    least = (PERIOD.end - PERIOD.start) / 400
    assert all(to - at >= least for at, to in zip(bars["from_at"], bars["shown_to"], strict=True))


@given(
    rows=st.lists(
        st.tuples(
            st.integers(-90_000, 9_000),
            st.sampled_from(["open", "half_open", "closed", "cooling"]),
            st.integers(0, 900),
            st.sampled_from(["here", "there"]),
        ),
        max_size=40,
    )
)
@settings(max_examples=many(60))
def test_whatever_is_told_stays_in_the_period_and_can_be_drawn(
    rows: list[tuple[int, str, int, str]],
) -> None:
    frame = changes(
        *(
            {
                "at": s(at),
                "state": state,
                "until": s(at + lasts) if state in {"open", "cooling"} else None,
                "node": node,
            }
            for at, state, lasts, node in sorted(rows)
        )
    )

    found = timeline.intervals(frame, PERIOD)
    lanes = timeline.worst_lanes(found)
    bars = timeline.bars(found, lanes, PERIOD)
    spec = drawn(reliability_charts.timeline_chart(bars, lanes, PERIOD))

    assert all(PERIOD.start <= at for at in found["from_at"])
    assert all(at <= PERIOD.end for at in found["to_at"])
    assert (found["from_at"] < found["to_at"]).all()
    assert bars["times"].sum() == found.height
    assert len(spec["layer"]) == 3


@pytest.mark.parametrize("zone", ["UTC", "Asia/Kolkata"])
def test_bars_stand_on_the_wall_clock_of_the_zone(zone: str) -> None:
    period = make_period("24h", now=NOW, zone=zone)
    found = timeline.intervals(changes({"at": AT, "state": "cooling", "until": s(9)}), period)

    bars = timeline.bars(found, ["groq/llama"], period)
    spec = drawn(reliability_charts.timeline_chart(bars, ["groq/llama"], period))

    rows = [row for rows in spec["datasets"].values() for row in rows if "when_text" in row]
    expected = {"UTC": "Sat 21 Nov 07:30:00", "Asia/Kolkata": "Sat 21 Nov 13:00:00"}
    assert [row["when_text"] for row in rows] == [expected[zone]]
