import json
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import polars as pl
import pytest

from dashboard import price_charts
from dashboard.admin_answers import PriceSpan

NOW = datetime(2026, 11, 21, 12, 0, tzinfo=UTC)
DAY = timedelta(days=1)


def span(begins: datetime | None, ends: datetime | None, **terms: str) -> PriceSpan:
    return PriceSpan(
        version="v",
        layers=("tables", "discount"),
        effective_from=begins,
        effective_to=ends,
        terms=dict(terms),
        source=None,
        checked_on=None,
    )


SPANS = (
    span(None, NOW - 10 * DAY, input_usd_per_mtok="1", output_usd_per_mtok="4"),
    span(NOW - 10 * DAY, NOW + 5 * DAY, input_usd_per_mtok="1", output_usd_per_mtok="8"),
    span(NOW + 5 * DAY, None, input_usd_per_mtok="2", output_usd_per_mtok="8"),
)


def test_a_price_is_drawn_in_pieces_and_what_is_to_come_stands_apart() -> None:
    frame = price_charts.step_frame(SPANS, NOW, "UTC").filter(pl.col("meter") == "output")

    pieces = [(row["usd"], row["part"], row["starts"]) for row in frame.iter_rows(named=True)]
    assert pieces == [
        (4.0, "past", False),
        (8.0, "past", True),
        (8.0, "to come", False),
        (8.0, "to come", False),
    ]
    assert frame["until"].to_list()[:-1] == frame["at"].to_list()[1:]
    assert frame["price_text"][0] == "$4.00"
    assert frame["from_text"][0] == "tables, discount"


def test_where_a_price_is_unknown_the_line_has_a_gap() -> None:
    known, unknown = {"input_usd_per_mtok": "1"}, span(NOW - 5 * DAY, NOW - 3 * DAY)
    spans = (span(None, NOW - 5 * DAY, **known), unknown, span(NOW - 3 * DAY, None, **known))

    frame = price_charts.step_frame(spans, NOW, "UTC")

    assert frame.filter(pl.col("part") == "past")["run"].to_list() == [1, 2]


def test_times_are_on_the_wall_clock_of_the_reader() -> None:
    frame = price_charts.step_frame(SPANS, NOW, "Asia/Kolkata")

    assert datetime(2026, 11, 11, 17, 30) in frame["at"].to_list()  # noqa: DTZ001 - a wall clock


def test_no_price_draws_nothing() -> None:
    assert price_charts.step_frame((), NOW, "UTC").is_empty()
    assert price_charts.step_frame((span(None, None),), NOW, "UTC").is_empty()


def drawn(chart: Any) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    spec: dict[str, Any] = json.loads(chart.to_json())
    return spec, [row for rows in spec["datasets"].values() for row in rows]


def test_the_steps_are_solid_up_to_now_and_dashed_after() -> None:
    spec, rows = drawn(price_charts.steps_chart(price_charts.step_frame(SPANS, NOW, "UTC")))

    dashes = [layer["mark"].get("strokeDash") for layer in spec["layer"]]
    assert dashes == [[1, 0], [1, 0], [4, 4], [4, 4], None]
    assert {row["part"] for row in rows} == {"past", "to come"}
    assert all(layer["encoding"]["tooltip"] for layer in spec["layer"])


def compared(*rows: tuple[str, str | None, str | None]) -> pl.DataFrame:
    return pl.DataFrame(
        [
            {
                "endpoint": f"{provider}/m",
                "provider": provider,
                "input_usd": None if low is None else Decimal(low),
                "cache_read_usd": None,
                "output_usd": None if high is None else Decimal(high),
            }
            for provider, low, high in rows
        ],
        schema=price_charts.COMPARED,
    )


def test_prices_side_by_side_leave_out_the_unknown_and_place_the_free_at_the_edge() -> None:
    frame = compared(("a", "1", "4"), ("b", None, "3"), ("c", "0", "0"))

    spec, rows = drawn(price_charts.dots_chart(frame, {"a": 3, "c": 11}))

    assert [(row["endpoint"], row["low"], row["high"]) for row in rows] == [
        ("a/m", 1.0, 4.0),
        ("c/m", 0.5, 0.5),
    ]
    assert rows[1]["input_usd_text"] == "$0.00"
    assert rows[0]["cache_text"] == "—"
    assert rows[0]["slot"] == "3"
    assert spec["layer"][0]["encoding"]["x"]["scale"]["type"] == "log"


@pytest.mark.parametrize("frame", [compared(), compared(("a", "0", "0"))])
def test_nothing_to_compare_is_drawn_without_a_fault(frame: pl.DataFrame) -> None:
    drawn(price_charts.dots_chart(frame, {"a": 0}))
