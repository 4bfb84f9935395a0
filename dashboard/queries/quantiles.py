"""Percentiles out of merged histograms, within 2 %. Pure."""

from collections.abc import Mapping, Sequence

import polars as pl

from gateway.domain.histograms import GROWTH

TOLD = {"request": {"p50_ms": 0.5, "p95_ms": 0.95}, "request_ttft": {"ttft_p95_ms": 0.95}}
"""The percentiles of traffic, by the metric of requests that they are told from."""


def percentiles(
    histogram: pl.DataFrame, by: Sequence[str], shares: Mapping[str, float]
) -> pl.DataFrame:
    """Percentiles of merged histograms, within 2 %, with ``samples``.

    Args:
        histogram: `schemas.HISTOGRAM` with the columns of ``by``.
        by: what is told apart; everything else is merged.
        shares: the name of each percentile with the share of samples at or below it.
    """
    merged = (
        histogram.group_by(*by, "bucket")
        .agg(pl.col("samples").sum())
        .sort(*by, "bucket")
        .with_columns(
            reached=pl.col("samples").cum_sum().over(list(by))
            if by
            else pl.col("samples").cum_sum(),
            whole=pl.col("samples").sum().over(list(by)) if by else pl.col("samples").sum(),
        )
    )
    middles = [
        (
            GROWTH
            ** (pl.col("bucket").filter(pl.col("reached") >= share * pl.col("whole")).first() + 0.5)
        )
        .cast(pl.Float64)
        .alias(name)
        for name, share in shares.items()
    ]
    found = [*middles, pl.col("samples").sum()]
    return merged.group_by(*by, maintain_order=True).agg(found) if by else merged.select(found)


def with_percentiles(traffic: pl.DataFrame, histogram: pl.DataFrame) -> pl.DataFrame:
    """`schemas.TRAFFIC` with those of `TOLD` put in or replaced; null where there are no samples.

    Args:
        traffic: by ``bucket``; null is the whole.
        histogram: `schemas.HISTOGRAM` with ``metric`` and ``at``, null for the whole again.
    """
    found = traffic.drop(name for shares in TOLD.values() for name in shares)
    for metric, shares in TOLD.items():
        chosen = histogram.filter(pl.col("metric") == metric)
        found = found.join(
            percentiles(chosen, ["at"], shares).drop("samples"),
            left_on="bucket",
            right_on="at",
            how="left",
            nulls_equal=True,
        )
    return found


def quantile_curve(histogram: pl.DataFrame, points: int, enough: int) -> pl.DataFrame:
    """``provider``, ``nines`` (of the quantile: 1 is p90, 2 is p99), ``share`` and ``ms``.

    Providers with fewer than ``enough`` samples are left out, and the quantiles that would rest on
    less than two samples.
    """
    nines = {f"{index:03}": 3 * index / points for index in range(1, points + 1)}
    shares = {name: 1 - 10**-value for name, value in nines.items()}
    return (
        percentiles(histogram, ["provider"], shares)
        .filter(pl.col("samples") >= enough)
        .unpivot(index=["provider", "samples"], variable_name="point", value_name="ms")
        .with_columns(
            nines=pl.col("point").replace_strict(nines, return_dtype=pl.Float64),
            share=pl.col("point").replace_strict(shares, return_dtype=pl.Float64),
        )
        .filter((1 - pl.col("share")) * pl.col("samples") >= 1)
        .sort("provider", "nines")
        .select("provider", "nines", "share", "ms")
    )


def busiest(histogram: pl.DataFrame, by: str, top: int) -> list[str]:
    """Those with the most samples."""
    return (
        histogram.group_by(by)
        .agg(pl.col("samples").sum())
        .sort("samples", by, descending=[True, False])[by]
        .head(top)
        .to_list()
    )


def hours_of_week(histogram: pl.DataFrame, enough: int) -> pl.DataFrame:
    """``weekday`` (1 is Monday), ``hour``, ``p95`` and ``samples``; cells with too few left out.

    Args:
        histogram: `schemas.HISTOGRAM` with ``weekday`` and ``hour``.
        enough: how many samples a cell needs.
    """
    cells = percentiles(histogram, ["weekday", "hour"], {"p95": 0.95})
    return cells.filter(pl.col("samples") >= enough)
