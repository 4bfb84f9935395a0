"""The Latency page tells percentiles within 2 % of exact ones, and none of too few samples."""

import math
from collections.abc import Callable, Iterable
from datetime import timedelta
from typing import Any

import polars as pl
import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

from dashboard import latency_queries, latency_sums, queries, speed_charts
from dashboard.latency_queries import ENOUGH, SHARES, Percentile
from dashboard.narrowing import Narrowing
from dashboard.palette import slots_among
from dashboard.periods import Period, make_period
from gateway.domain.histograms import GROWTH
from gateway.domain.outcomes import Outcome
from gateway.domain.records import AttemptRecord, RequestRecord
from tests.dashboard.conftest import END, FALLBACK, RECORDS
from tests.dashboard.test_charts import drawn
from tests.dashboard.test_sums import MODELS, PROVIDERS
from tests.dashboard.test_views import html, open_view
from tests.properties import many

ALL = (*RECORDS, FALLBACK)
KEY = "team one"


def exact(values: Iterable[float], share: float) -> float:
    ordered = sorted(values)
    return ordered[max(1, math.ceil(share * len(ordered))) - 1]


def of_requests(record: RequestRecord) -> dict[str, float | None]:
    return {
        "request": record.duration_ms,
        "request_ttft": record.ttft_ms if record.stream else None,
        "overhead": record.overhead_ms,
    }


def of_attempts(attempt: AttemptRecord) -> dict[str, float | None]:
    usage, ttft_ms = attempt.usage, attempt.ttft_ms
    took_ms = attempt.duration_ms - (ttft_ms or 0)
    tokens = usage.completion_tokens if usage else 0
    return {
        "attempt": attempt.duration_ms,
        "attempt_ttft": ttft_ms,
        "speed": tokens * 1000 / took_ms if tokens and took_ms > 0 else None,
    }


narrowings = st.builds(
    Narrowing,
    providers=st.lists(st.sampled_from(PROVIDERS), max_size=3, unique=True).map(tuple),
    models=st.lists(st.sampled_from(MODELS), max_size=2, unique=True).map(tuple),
    keys=st.lists(st.sampled_from((KEY, "nobody")), max_size=2, unique=True).map(tuple),
)


def a_period(choice: str, zone: str) -> Period:
    return make_period(choice, now=END + timedelta(seconds=1), zone=zone)


periods = st.builds(
    a_period,
    st.sampled_from(("24h", "7d", "30d", "90d")),
    st.sampled_from(("UTC", "Asia/Kolkata", "America/New_York")),
)


@given(period=periods, only=narrowings, share=st.sampled_from((0.5, 0.9, 0.95, 0.99)))
@settings(
    max_examples=many(15),
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.filter_too_much],
)
def test_every_percentile_is_within_two_percent_for_any_filter(
    filled_url: str, shown: Callable[[str], None], period: Period, only: Narrowing, share: float
) -> None:
    shown(filled_url)
    scope = latency_sums.scope_of(period, only)
    assume(not only.keys or KEY in only.keys)
    samples = samples_of(scope.period, only)
    metrics = ("request", "request_ttft")
    if not only.keys:
        metrics = tuple(samples)

    histogram = latency_sums.read(scope, metrics)

    for metric in metrics:
        found = latency_queries.percentile(histogram, metric, share)
        assert found.samples == len(samples[metric])
        if found.samples < ENOUGH:
            assert found.value is None
        else:
            assert found.value == pytest.approx(exact(samples[metric], share), rel=0.02)


def samples_of(period: Period, only: Narrowing) -> dict[str, list[float]]:
    found: dict[str, list[float]] = {
        name: []
        for name in ("request", "request_ttft", "overhead", "attempt", "attempt_ttft", "speed")
    }

    def add(measured: dict[str, float | None]) -> None:
        for name, value in measured.items():
            if value is not None:
                found[name].append(value)

    for one in ALL:
        is_chosen = is_among(only, one.used_provider, one.used_model)
        is_within = period.start <= one.received_at < period.end
        if one.outcome is Outcome.SUCCESS and is_chosen and is_within:
            add(of_requests(one))
        for attempt in one.attempts:
            is_chosen = is_among(only, attempt.provider, attempt.model)
            is_within = period.start <= attempt.started_at < period.end
            if attempt.outcome is Outcome.SUCCESS and is_chosen and is_within:
                add(of_attempts(attempt))
    return found


def is_among(only: Narrowing, provider: str | None, model: str | None) -> bool:
    return (not only.providers or provider in only.providers) and (
        not only.models or model in only.models
    )


def test_hours_of_the_week_are_those_of_the_zone_with_and_without_a_key(
    filled_url: str, shown: Callable[[str], None]
) -> None:
    shown(filled_url)
    period = make_period("30d", now=END + timedelta(seconds=1), zone="Europe/Berlin")

    both = [
        latency_sums.read_hours(latency_sums.scope_of(period, only)).sort(
            "weekday", "hour", "bucket"
        )
        for only in (Narrowing(), Narrowing(keys=(KEY,)))
    ]

    assert both[0].equals(both[1])
    assert both[0]["samples"].sum() == len(samples_of(period, Narrowing())["request"])


def histogram(*rows: tuple[str, str, float, int]) -> pl.DataFrame:
    return pl.DataFrame(
        [
            {
                "metric": metric,
                "endpoint": endpoint,
                "bucket": math.floor(math.log(value, GROWTH)),
                "samples": samples,
            }
            for metric, endpoint, value, samples in rows
        ],
        schema={
            "metric": pl.String,
            "endpoint": pl.String,
            "bucket": pl.Int64,
            "samples": pl.Int64,
        },
    )


METRICS = {"total": "attempt", "ttft": "attempt_ttft", "speed": "speed"}


def test_too_few_samples_tell_no_percentile_but_their_number() -> None:
    now = histogram(
        ("attempt", "a/x", 900, 19),
        ("attempt", "b/x", 400, 20),
        ("attempt_ttft", "b/x", 100, 3),
        ("speed", "b/x", 50, 20),
    )
    before = histogram(("attempt", "b/x", 200, 19))

    table = latency_queries.table(now, before, "endpoint", METRICS)

    rows = {row["name"]: row for row in table.iter_rows(named=True)}
    assert list(rows) == ["b/x", "a/x"]
    assert (rows["a/x"]["p95"], rows["a/x"]["samples"]) == (None, 19)
    assert rows["b/x"]["p95"] == pytest.approx(400, rel=0.02)
    assert (rows["b/x"]["ttft"], rows["b/x"]["ttft_samples"]) == (None, 3)
    assert rows["b/x"]["speed"] == pytest.approx(50, rel=0.02)
    assert rows["b/x"]["change"] is None
    few = latency_queries.percentile(before, "attempt", 0.5)
    assert few == Percentile(value=None, samples=19)


def test_the_change_is_that_of_the_95th_percentile() -> None:
    table = latency_queries.table(
        histogram(("attempt", "a/x", 800, 50)),
        histogram(("attempt", "a/x", 400, 50)),
        "endpoint",
        METRICS,
    )

    assert table["change"][0] == pytest.approx(1.0, rel=0.04)


def test_of_speeds_the_small_ones_come_first_and_their_tail_is_below() -> None:
    frame = histogram(
        ("speed", "fast/x", 300, 90),
        ("speed", "fast/x", 100, 10),
        ("speed", "slow/x", 40, 90),
        ("speed", "slow/x", 10, 10),
        ("attempt", "fast/x", 100, 100),
        ("attempt", "slow/x", 900, 100),
    )

    by_speed = latency_queries.ranking(frame, "speed", "endpoint", is_speed=True)
    by_total = latency_queries.ranking(frame, "attempt", "endpoint", is_speed=False)

    assert by_speed["name"].to_list() == by_total["name"].to_list() == ["slow/x", "fast/x"]
    assert by_speed["p50"].to_list() == pytest.approx([40, 300], rel=0.02)
    assert by_speed["p95"].to_list() == pytest.approx([10, 100], rel=0.02)
    assert by_total["p95"][0] > by_total["p95"][1]


def test_charts_draw_finished_frames_only() -> None:
    period = make_period("24h", now=END, zone="UTC")
    starts = queries.bucket_starts(period.origin, period.wall_end, period.bucket)
    ranking = latency_queries.ranking(
        histogram(("attempt", "a/x", 900, 40)), "attempt", "endpoint", is_speed=False
    ).with_columns(provider=pl.lit("a"))
    timed = histogram(("overhead", "a/x", 1.5, 40), ("attempt", "a/x", 9, 40)).with_columns(
        at=pl.lit(starts[3]), provider=pl.lit("a")
    )
    slots = slots_among(["a"], ["a"])
    lines = latency_queries.by_provider(timed, starts, ["a"])
    overhead = latency_queries.over_time(timed, "overhead", starts, {"p50": 0.5, "p99": 0.99})
    curve = queries.quantile_curve(
        histogram(("attempt", "a/x", 900, 40)).with_columns(provider=pl.lit("a")), 10, ENOUGH
    )
    cells = pl.DataFrame({"weekday": [1], "hour": [9], "p95": [1_234.5], "samples": [40]})

    specs: list[Any] = [
        drawn(speed_charts.ranges_chart(ranking, slots, is_speed=False, counted="attempts")),
        drawn(speed_charts.ranges_chart(ranking, None, is_speed=True, counted="attempts")),
        drawn(speed_charts.quantile_chart(curve, slots, height=260)),
        drawn(speed_charts.week_chart(cells)),
        drawn(speed_charts.providers_chart(lines, slots, bucket=period.bucket)),
        drawn(speed_charts.overhead_chart(overhead, bucket=period.bucket)),
    ]

    assert all("aggregate" not in str(spec) and "timeUnit" not in str(spec) for spec in specs)
    assert all("tooltip" in str(spec) for spec in specs)
    assert overhead["samples"].sum() == 40
    assert lines.height == len(starts)


@pytest.mark.parametrize("lanes", ["Endpoints", "Providers", "Models"])
@pytest.mark.parametrize("measure", ["Total", "First token", "Speed"])
def test_every_choice_can_be_drawn(
    filled_url: str, shown: Callable[[str], None], lanes: str, measure: str
) -> None:
    shown(filled_url)

    at = open_view("latency", period="30d", lanes=lanes, measure=measure, lines="Providers")

    assert not at.exception
    assert not at.error
    assert len(at.get("vega_lite_chart")) >= 4
    assert SHARES.keys() <= set(html(at).replace("<", ">").split(">"))


def test_a_key_switches_to_hours_and_says_so(filled_url: str, shown: Callable[[str], None]) -> None:
    shown(filled_url)

    at = open_view("latency", key=KEY, period="7d")

    assert not at.exception
    assert any("by the hour and of requests alone" in one.value for one in at.caption)
    assert "not kept by key" in html(at)
    assert "Speed" not in str(at.segmented_control)
    assert len(at.get("vega_lite_chart")) >= 2
