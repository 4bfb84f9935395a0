import json
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any, cast

import polars as pl
import pytest

from dashboard import axes, charts, money_charts, numbers, queries, schemas, waterfall
from dashboard.palette import slots_among
from dashboard.periods import make_period

PERIOD = make_period("24h", now=datetime(2026, 11, 21, 10, 40, tzinfo=UTC), zone="Asia/Kolkata")
STARTS = queries.bucket_starts(PERIOD.origin, PERIOD.wall_end, PERIOD.bucket)
PROVIDERS = ["openai", "groq"]
SEEN = ["openai", "anthropic", "google", "azure", "groq"]


def spend(*costs: tuple[int, str, Decimal | None]) -> pl.DataFrame:
    rows = [
        {"bucket": STARTS[at], "provider": provider, "cost_usd": cost, "attempts": 1}
        for at, provider, cost in costs
    ]
    return queries.spend_by_bucket(pl.DataFrame(rows, schema=schemas.PROVIDERS), STARTS, PROVIDERS)


def filled(*rows: dict[str, Any]) -> pl.DataFrame:
    found = pl.DataFrame(
        [dict.fromkeys(schemas.TRAFFIC) | row for row in rows], schema=schemas.TRAFFIC
    )
    return queries.filled_traffic(found, STARTS)


def drawn(chart: charts.AnyChart) -> dict[str, Any]:
    # Through JSON, as the browser gets it: a Decimal would not survive.
    return cast("dict[str, Any]", json.loads(chart.to_json()))


def draw_spend(frame: pl.DataFrame) -> dict[str, Any]:
    return drawn(
        charts.spend_chart(
            frame, slots_among(PROVIDERS, SEEN), bucket=PERIOD.bucket, end=PERIOD.wall_end
        )
    )


def rows_of(spec: dict[str, Any]) -> list[dict[str, Any]]:
    (rows,) = spec["datasets"].values()
    return cast("list[dict[str, Any]]", rows)


def month(*parts: str) -> pl.DataFrame:
    money = pl.Decimal(38, 12)
    return pl.DataFrame(
        [(STARTS[0], Decimal("9007.200000000001"), Decimal(1), Decimal(2), part) for part in parts],
        schema={
            "bucket": pl.Datetime("us"),
            "usd": money,
            "low_usd": money,
            "high_usd": money,
            "part": pl.String,
        },
        orient="row",
    )


ALL = [
    pytest.param(
        lambda: drawn(money_charts.month_chart(month("spent", "forecast"), limit_usd=Decimal(7))),
        id="month",
    ),
    pytest.param(
        lambda: drawn(money_charts.month_chart(month("spent"), limit_usd=None)), id="month-begins"
    ),
    pytest.param(
        lambda: drawn(
            money_charts.compared_chart(
                queries.cumulative(
                    spend((3, "openai", Decimal("0.5"))),
                    spend(),
                    PERIOD,
                ),
                bucket=PERIOD.bucket,
                when="To",
            )
        ),
        id="cumulative",
    ),
    pytest.param(lambda: draw_spend(spend((3, "openai", Decimal("0.5")))), id="spend"),
    pytest.param(lambda: draw_spend(spend()), id="spend-of-nothing"),
    pytest.param(
        lambda: drawn(
            charts.latency_chart(filled({"bucket": STARTS[1], "p50_ms": 5.0}), bucket=PERIOD.bucket)
        ),
        id="latency",
    ),
    pytest.param(
        lambda: drawn(charts.latency_chart(filled(), bucket=PERIOD.bucket)), id="no-latency"
    ),
    pytest.param(
        lambda: drawn(
            charts.outcomes_chart(
                queries.outcomes_by_bucket(filled()), bucket=PERIOD.bucket, end=PERIOD.wall_end
            )
        ),
        id="outcomes",
    ),
]


def mappings_in(value: Any) -> list[dict[str, Any]]:
    if isinstance(value, dict):
        members = cast("dict[str, Any]", value)
        return [members, *(found for one in members.values() for found in mappings_in(one))]
    if isinstance(value, list):
        return [found for one in cast("list[Any]", value) for found in mappings_in(one)]
    return []


@pytest.mark.parametrize("draw", ALL)
def test_charts_only_draw_finished_frames(draw: Any) -> None:
    spec = draw()

    assert all(not {"aggregate", "bin", "timeUnit"} & found.keys() for found in mappings_in(spec))
    assert any("tooltip" in found for found in mappings_in(spec))


@pytest.mark.parametrize("draw", ALL)
def test_no_legend_has_a_null_title(draw: Any) -> None:
    legends = [found["legend"] for found in mappings_in(draw()) if found.get("legend")]

    assert all(legend["title"] == "" for legend in legends)


def test_the_axis_spans_the_period_whatever_was_spent() -> None:
    rows = rows_of(draw_spend(spend((3, "openai", Decimal("0.5")))))

    times = sorted(row["bucket"] for row in rows)
    assert times[0].startswith(PERIOD.origin.isoformat())
    assert times[-1].startswith(STARTS[-1].isoformat())


def test_bars_are_placed_on_the_wall_clock_and_the_one_still_filling_is_pale() -> None:
    rows = rows_of(draw_spend(spend((0, "openai", Decimal(1)), (48, "openai", Decimal(1)))))

    by_time = {row["bucket"]: row for row in rows if row["provider"] == "openai"}
    first, last = by_time[min(by_time)], by_time[max(by_time)]
    assert first["bucket"].startswith("2026-11-20T16:00:00")
    assert first["bucket_end"].startswith("2026-11-20T16:30:00")
    assert first["alpha"] == 1.0
    assert last["alpha"] < 1.0


def test_tooltips_are_written_from_the_exact_amount() -> None:
    rows = rows_of(draw_spend(spend((3, "groq", Decimal("0.0234816")), (3, "openai", Decimal(1)))))

    (row,) = (row for row in rows if row["provider"] == "groq" and row["cost_usd"])
    assert row["spend_text"] == "$0.0235"
    assert row["share_text"] == f"2.3{numbers.NBSP}%"
    assert row["when_text"] == "Fri 20 Nov 17:30"


def test_colours_go_by_slot_and_leave_the_theme_to_choose_them() -> None:
    scale = draw_spend(spend((3, "openai", Decimal(1))))["encoding"]["color"]["scale"]

    assert scale["domain"][0] == "openai"
    assert scale["domain"][4] == "groq"
    assert scale["domain"][-1] == queries.OTHER
    assert len(set(scale["domain"])) == 9
    assert "range" not in scale


def test_another_frame_gives_the_same_spec_so_that_the_browser_swaps_the_data_only() -> None:
    one = draw_spend(spend((3, "openai", Decimal(1)), (3, "groq", Decimal(1))))
    other = draw_spend(spend((9, "openai", Decimal(2)), (7, "groq", Decimal(1))))

    for spec in (one, other):
        del spec["datasets"], spec["data"]
    assert one == other


def test_a_point_between_two_gaps_is_seen() -> None:
    frame = filled(*({"bucket": STARTS[at], "p95_ms": 9.0} for at in (1, 4, 5)))

    rows = rows_of(drawn(charts.latency_chart(frame, bucket=PERIOD.bucket)))

    assert [row["alone"] for row in rows[:7]] == [0, 1, 0, 0, 0, 0, 0]


def test_shares_leave_unknown_costs_out() -> None:
    costs = pl.Series([Decimal(3), None, Decimal(1)], dtype=schemas.USD)

    assert charts.shares_of_total(costs) == [0.75, None, 0.25]
    assert charts.shares_of_total(pl.Series([Decimal(0), None], dtype=schemas.USD)) == [None, None]


def test_a_waterfall_has_a_lane_for_every_attempt() -> None:
    phases = pl.DataFrame(
        {
            "lane": [0, 1],
            "phase": ["failed", "answer"],
            "from_ms": [0.0, 20.0],
            "to_ms": [20.0, 90.0],
            "attempt": ["1 a", "2 b"],
            "took_text": ["20 ms", "70 ms"],
        }
    )
    captions = pl.DataFrame({"lane": [0, 1], "name": ["1 a", "2 b"], "note": ["500", "stop"]})

    spec = drawn(waterfall.waterfall_chart(phases, captions))

    assert len(spec["layer"]) == 3
    assert spec["height"] == 2 * 62 + 60


def test_the_bucket_still_filling_ends_after_now() -> None:
    assert STARTS[-1] + timedelta(minutes=30) > PERIOD.wall_end


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("openai", "openai"),
        # Between quotes of an expression, each of them comes out as it was.
        ("a\\b", "a\\u005cb"),
        ('\\"+1+"', '\\u005c"+1+"'),
        ("\r\n\t\N{LINE SEPARATOR}", "\\u000d\\u000a\\u0009\\u2028"),
        ("image", "image\N{WORD JOINER}"),
    ],
)
def test_a_name_over_a_row_of_a_tooltip_ends_no_expression(name: str, expected: str) -> None:
    assert axes.row_title(name) == expected
