"""The figures of the Latency page: percentiles, told where enough samples stand behind them."""

from collections.abc import Callable

import polars as pl

from dashboard import numbers, queries, tones
from dashboard.latency_queries import ENOUGH, Percentile, changed, over_time, percentile
from dashboard.latency_sums import Scope
from dashboard.pieces import Card
from dashboard.speed_charts import speed_text

_NOT_BY_KEY = "not kept by key"


def cards(
    scope: Scope,
    requests: tuple[pl.DataFrame, pl.DataFrame],
    attempts: tuple[pl.DataFrame, pl.DataFrame],
) -> list[Card]:
    """Five tiles.

    Args:
        scope: what is looked at.
        requests: `schemas.HISTOGRAM` of requests by time, of the period and of the one before.
        attempts: the same of attempts, not by time; the ones before are empty without comparing.
    """
    period = scope.period
    starts = queries.bucket_starts(period.origin, period.wall_end, period.bucket)
    by_time = requests[0]
    whole, past_whole = (frame.filter(pl.col("at").is_null()) for frame in requests)

    def duration(label: str, metric: str, share: float, note: str) -> Card:
        heights = over_time(by_time, metric, starts, {"value": share})["value"]
        return _card(
            label,
            percentile(whole, metric, share),
            percentile(past_whole, metric, share),
            numbers.duration,
            note=note,
            heights=heights,
        )

    median = percentile(whole, scope.overhead, 0.5) if scope.overhead else None
    speed, past_speed = (percentile(frame, scope.speed, 0.5) for frame in attempts)
    return [
        duration("p50", "request", 0.5, "of requests"),
        duration("p95", "request", 0.95, "of requests"),
        duration("First token p95", "request_ttft", 0.95, "of streams"),
        _absent("Output speed p50")
        if scope.speed is None
        else _card(
            "Output speed p50", speed, past_speed, speed_text, note="of attempts", more_is_good=True
        ),
        _absent("Gateway overhead p95")
        if scope.overhead is None or median is None
        else duration(
            "Gateway overhead p95", scope.overhead, 0.95, f"p50 {numbers.duration(median.value)}"
        ),
    ]


def _card(
    label: str,
    now: Percentile,
    before: Percentile,
    write: Callable[[float | None], str],
    *,
    note: str,
    heights: pl.Series | None = None,
    more_is_good: bool = False,
) -> Card:
    if now.value is None:
        return Card(label=label, value=numbers.UNKNOWN, note=too_few(now.samples))
    change = changed(now, before)
    return Card(
        label=label,
        value=write(now.value),
        change=numbers.change(change),
        change_tone=tones.tone_of(change, from_=tones.LATENCY, more_is_good=more_is_good),
        note=note,
        hint=f"from {numbers.count(now.samples)} samples, within 2 %",
        spark=() if heights is None else tuple(heights),
        spark_from_zero=False,
    )


def _absent(label: str) -> Card:
    return Card(label=label, value=numbers.UNKNOWN, note=_NOT_BY_KEY)


def too_few(samples: int) -> str:
    """Why there is no figure."""
    if not samples:
        return "nothing was measured"
    return f"{samples} of the {ENOUGH} samples it takes"
