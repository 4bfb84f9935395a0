from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import polars as pl
import pytest

from dashboard import queries, schemas

NOW = datetime(2026, 11, 21, 10, 30, tzinfo=UTC)
DAY = NOW.replace(hour=0, minute=0, tzinfo=None)
HOUR = timedelta(hours=1)


def providers(*rows: tuple[Any, ...]) -> pl.DataFrame:
    names = ("bucket", "provider", "attempts", "judged", "succeeded", "cost_usd", "billable")
    filled = [
        dict(zip(names, row, strict=False)) | {"unpriced": row[7] if len(row) > 7 else 0}
        for row in rows
    ]
    return pl.DataFrame(filled, schema=schemas.PROVIDERS)


def traffic(*rows: dict[str, Any]) -> pl.DataFrame:
    counts = dict.fromkeys(schemas.TRAFFIC, 0) | {
        "bucket": None,
        "p50_ms": None,
        "p95_ms": None,
        "ttft_p95_ms": None,
    }
    return pl.DataFrame([counts | row for row in rows], schema=schemas.TRAFFIC)


def watermark(**changes: Any) -> dict[str, Any]:
    return {
        "worker": "node/1",
        "updated_at": NOW - timedelta(seconds=3),
        "last_record_at": NOW - timedelta(days=2),
        "oldest_unshipped_at": None,
        "backlog_bytes": 0,
        "backlog_records": 0,
    } | changes


def test_spend_is_the_exact_sum_and_says_what_is_missing() -> None:
    frame = providers(
        (None, "openai", 3, 3, 3, Decimal("9007.200000000001"), 3),
        (None, "groq", 4, 4, 4, Decimal("0.000000000002"), 4, 1),
        (None, "azure", 1, 1, 1, None, 1, 1),
        (DAY, "openai", 3, 3, 3, Decimal("9007.200000000001"), 3),
    )

    spend = queries.total_spend(frame)

    assert spend.known_usd == Decimal("9007.200000000003")
    assert not spend.is_complete
    assert spend.priced_share == 6 / 8


def test_spend_of_nothing_is_unknown_rather_than_0() -> None:
    nothing = queries.total_spend(providers())
    unpriced = queries.total_spend(providers((None, "groq", 1, 1, 1, None, 1, 1)))

    assert nothing.known_usd is None
    assert nothing.priced_share is None
    assert unpriced.known_usd is None
    assert unpriced.priced_share == 0


def test_rates_have_their_own_denominators() -> None:
    frame = traffic(
        {"requests": 10, "tried": 8, "judged": 5, "succeeded": 4, "fell_back": 2, "rescued": 1}
    )

    totals = queries.total_traffic(frame)

    assert totals.success_rate == 4 / 5
    assert totals.fallback_rate == 2 / 8


def test_rates_without_a_denominator_are_unknown() -> None:
    totals = queries.total_traffic(traffic())

    assert totals.requests == 0
    assert totals.success_rate is None
    assert totals.fallback_rate is None
    assert totals.cached_share is None


def test_a_provider_falls_back_when_another_one_answers_what_was_tried_there_first() -> None:
    frame = providers(
        (None, "openai", 10, 10, 9, Decimal(2), 10),
        (None, "groq", 4, 0, 0, None, 0),
    )
    is_openai = pl.col("provider") == "openai"
    frame = frame.with_columns(
        first_tried=pl.when(is_openai).then(8).otherwise(0),
        served_elsewhere=pl.when(is_openai).then(2).otherwise(0),
    )

    table = queries.provider_table(frame)

    assert table["provider"].to_list() == ["openai", "groq"]
    assert table["fallback_rate"].to_list() == [0.25, None]
    assert table["success_rate"].to_list() == [0.9, None]


def test_every_bucket_is_there_even_without_traffic() -> None:
    starts = queries.bucket_starts(DAY, DAY + 3 * HOUR, HOUR)

    filled = queries.filled_traffic(
        traffic({"bucket": DAY + HOUR, "requests": 5, "p95_ms": 10.0}, {"requests": 5}), starts
    )

    assert filled["requests"].to_list() == [0, 5, 0]
    assert filled["p95_ms"].to_list() == [None, 10.0, None]


def test_small_providers_are_folded_into_other_without_losing_money() -> None:
    starts = queries.bucket_starts(DAY, DAY + 2 * HOUR, HOUR)
    frame = providers(
        (DAY, "openai", 1, 1, 1, Decimal("1.5"), 1),
        (DAY, "tiny", 1, 1, 1, Decimal("0.25"), 1),
        (DAY, "smaller", 1, 1, 1, Decimal("0.125"), 1),
        (DAY + HOUR, "openai", 1, 1, 1, None, 1, 1),
    )

    spend = queries.spend_by_bucket(frame, starts, ["openai"])

    assert spend.height == 4
    assert dict(zip(spend["provider"], spend["cost_usd"], strict=False)).keys() == {
        "openai",
        queries.OTHER,
    }
    assert sum(spend["cost_usd"]) == Decimal("1.875")


def test_outcomes_add_up_to_the_requests() -> None:
    starts = queries.bucket_starts(DAY, DAY + HOUR, HOUR)
    row = {"bucket": DAY, "requests": 10, "judged": 8, "succeeded": 7, "rescued": 2}

    outcomes = queries.outcomes_by_bucket(queries.filled_traffic(traffic(row), starts))

    found = dict(zip(outcomes["outcome"], outcomes["requests"], strict=True))
    assert found == {
        queries.SERVED: 5,
        queries.RESCUED: 2,
        queries.FAILED: 1,
        queries.UNSERVED: 2,
    }


@pytest.mark.parametrize(
    ("rows", "data_to_s", "is_stale"),
    [
        pytest.param([], None, True, id="nobody-ever-shipped"),
        pytest.param([watermark()], 3, False, id="idle-is-fresh"),
        pytest.param([watermark(updated_at=NOW - timedelta(minutes=5))], 300, True, id="silent"),
        pytest.param(
            [
                watermark(backlog_bytes=9, oldest_unshipped_at=NOW - timedelta(minutes=2)),
                watermark(worker="node/2"),
            ],
            120,
            True,
            id="one-lags-behind",
        ),
        pytest.param(
            [watermark(), watermark(worker="gone", updated_at=NOW - timedelta(days=3))],
            3,
            False,
            id="a-worker-that-is-gone-does-not-count",
        ),
        pytest.param(
            [
                watermark(),
                watermark(worker="gone", updated_at=NOW - timedelta(days=3), backlog_bytes=1),
            ],
            3 * 86_400,
            True,
            id="unless-it-left-records-behind",
        ),
    ],
)
def test_freshness_tells_idle_from_stale(
    rows: list[dict[str, Any]], data_to_s: int | None, is_stale: bool
) -> None:
    fresh = queries.freshness(pl.DataFrame(rows, schema=schemas.FRESHNESS), NOW)

    expected = None if data_to_s is None else NOW - timedelta(seconds=data_to_s)
    assert fresh.data_to == expected
    assert fresh.is_stale is is_stale


def test_cost_lines_give_the_price_that_was_applied() -> None:
    attempt = {"input_tokens": 3_120, "cost_input_usd": Decimal("0.00936"), "images": 1}
    meters = (("input_tokens", "cost_input_usd"), ("images", "cost_images_usd"))

    lines = queries.cost_lines(attempt | {"cost_images_usd": None}, meters)

    assert [(line.meter, line.usd_per_mtok) for line in lines] == [("input_tokens", Decimal(3))]
    assert queries.unpriced_meters(attempt | {"cost_images_usd": None}, meters) == [("images", 1)]


def test_a_stored_plan_is_read_with_every_exclusion() -> None:
    stored = (
        b'{"candidates": [{"endpoint": "a/x", "cost_usd": "0.02", "p": 0.5}],'
        b'"dropped": [{"endpoint": "b/x"}],'
        b'"excluded": [{"endpoint": "c/x", "reason": "max_price", "detail": "too dear"}],'
        b'"excluded_by": {"max_price": 3}, "newer": [1]}'
    )

    planned, excluded, count = queries.plan_rows(stored.decode())

    assert [(row.endpoint, row.expected_usd) for row in planned] == [("a/x", Decimal("0.02"))]
    assert [row.reason for row in excluded] == ["no_fallbacks", "max_price"]
    assert count == 4


@pytest.mark.parametrize("stored", ["{}", "[]", '{"candidates": 7}', "null"])
def test_a_plan_of_another_shape_is_no_error(stored: str) -> None:
    assert queries.plan_rows(stored) == ([], [], 0)


@pytest.mark.parametrize(
    "text",
    ["gen-0199d1e000007000800000000000000a", " 0199d1e0-0000-7000-8000-00000000000a "],
)
def test_both_spellings_of_an_id_are_understood(text: str) -> None:
    found = queries.parse_request_id(text)

    assert found == "0199d1e0-0000-7000-8000-00000000000a"
    assert queries.generation_id(found) == "gen-0199d1e000007000800000000000000a"


@pytest.mark.parametrize(
    "text",
    [
        "",
        "gen-",
        "gen-zz",
        "'; DROP TABLE request_record; --",
        pytest.param("ffffffff-ffff-7fff-bfff-ffffffffffff", id="the-year-10889"),
        pytest.param("0199d1e0-0000-4000-8000-00000000000a", id="carries-no-time"),
    ],
)
def test_what_is_not_an_id_is_none(text: str) -> None:
    assert queries.parse_request_id(text) is None
