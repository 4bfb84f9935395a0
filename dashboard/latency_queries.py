"""What the Latency page draws: histograms in, percentiles and tables out. Pure.

A percentile of fewer than `ENOUGH` samples is not told: null, with the number of samples.
"""

from collections.abc import Mapping

import msgspec
import polars as pl

from dashboard import queries

ENOUGH = 20
SHARES: dict[str, float] = {"p50": 0.5, "p90": 0.9, "p95": 0.95, "p99": 0.99}
SLOW_SHARES: dict[str, float] = {"p50": 0.5, "p90": 0.1, "p95": 0.05, "p99": 0.01}
"""Of speeds the small ones are slow: "p95" is the speed that 95 % reach."""


class Percentile(msgspec.Struct, frozen=True, kw_only=True):
    """One figure, with what it rests on."""

    value: float | None
    samples: int


def percentile(histogram: pl.DataFrame, metric: str | None, share: float) -> Percentile:
    """Of a metric over all that is there; nothing without a metric."""
    chosen = histogram.filter(pl.col("metric") == (metric or ""))
    row = queries.percentiles(chosen, (), {"value": share}).row(0, named=True)
    samples = int(row["samples"] or 0)
    return Percentile(value=row["value"] if samples >= ENOUGH else None, samples=samples)


def changed(now: Percentile, before: Percentile) -> float | None:
    """By which share it grew; None where either is not told."""
    return queries.change(now.value, before.value)


def ranking(histogram: pl.DataFrame, metric: str, by: str, *, is_speed: bool) -> pl.DataFrame:
    """``name``, the percentiles of `SHARES` and ``samples``, the slowest first; none with too few.

    Args:
        histogram: `schemas.HISTOGRAM` with ``metric`` and the dimension.
        metric: which of its metrics.
        by: the dimension.
        is_speed: the small values are the slow ones.
    """
    shares = SLOW_SHARES if is_speed else SHARES
    return (
        queries.percentiles(histogram.filter(pl.col("metric") == metric), [by], shares)
        .filter(pl.col("samples") >= ENOUGH)
        .rename({by: "name"})
        .sort("p95", "name", descending=[not is_speed, False])
    )


def table(
    now: pl.DataFrame, before: pl.DataFrame, by: str, metrics: Mapping[str, str | None]
) -> pl.DataFrame:
    """A row for each of a dimension, the slowest first.

    Args:
        now: `schemas.HISTOGRAM` with ``metric`` and the dimension.
        before: the same, of the period before; empty when nothing is compared.
        by: the dimension.
        metrics: by ``total``, ``ttft`` and ``speed``; None where it is not kept.

    Returns:
        ``name``, ``samples``, the percentiles of `SHARES`, ``ttft`` (p95) with
        ``ttft_samples``, ``speed`` (p50) with ``speed_samples``, and ``change`` of p95.
    """

    def of(frame: pl.DataFrame, metric: str | None, shares: Mapping[str, float]) -> pl.DataFrame:
        found = queries.percentiles(
            frame.filter(pl.col("metric") == (metric or "")), [by], shares
        ).rename({by: "name"})
        return found.with_columns(pl.when(pl.col("samples") >= ENOUGH).then(pl.col(list(shares))))

    total = metrics["total"]
    return (
        of(now, total, SHARES)
        .join(
            of(now, metrics["ttft"], {"ttft": 0.95}).rename({"samples": "ttft_samples"}),
            on="name",
            how="left",
        )
        .join(
            of(now, metrics["speed"], {"speed": 0.5}).rename({"samples": "speed_samples"}),
            on="name",
            how="left",
        )
        .join(of(before, total, {"past": 0.95}).drop("samples"), on="name", how="left")
        .with_columns(change=pl.col("p95") / pl.col("past") - 1)
        .drop("past")
        .sort("p95", "samples", "name", descending=[True, True, False], nulls_last=True)
    )


def over_time(
    histogram: pl.DataFrame, metric: str | None, starts: pl.Series, shares: Mapping[str, float]
) -> pl.DataFrame:
    """``bucket``, percentiles and ``samples``; null without a sample, every bucket present.

    Args:
        histogram: `schemas.HISTOGRAM` with ``metric`` and ``at``.
        metric: which of its metrics.
        starts: every bucket.
        shares: as for `queries.percentiles`.
    """
    chosen = histogram.filter(pl.col("metric") == (metric or ""), pl.col("at").is_not_null())
    return (
        starts.to_frame()
        .join(
            queries.percentiles(chosen, ["at"], shares),
            left_on="bucket",
            right_on="at",
            how="left",
            maintain_order="left",
        )
        .with_columns(pl.col("samples").fill_null(0))
    )


def by_provider(histogram: pl.DataFrame, starts: pl.Series, shown: list[str]) -> pl.DataFrame:
    """``bucket``, ``provider``, ``p95`` and ``samples``, every bucket for every provider."""
    found = queries.percentiles(
        histogram.filter(pl.col("at").is_not_null(), pl.col("provider").is_in(shown)),
        ["at", "provider"],
        {"p95": 0.95},
    )
    grid = starts.to_frame().join(
        pl.DataFrame({"provider": shown}, schema={"provider": pl.String}), how="cross"
    )
    return grid.join(
        found,
        left_on=["bucket", "provider"],
        right_on=["at", "provider"],
        how="left",
        maintain_order="left",
    )
