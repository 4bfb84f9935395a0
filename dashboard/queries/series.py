"""Sums over time, with every bucket of the period. Pure."""

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any

import polars as pl

from dashboard.periods import Period
from dashboard.queries.figures import per, rate_of

PER_REQUEST, PER_OUTPUT = "per request", "per 1,000 output tokens"
UNITS = (PER_REQUEST, PER_OUTPUT)
THOUSAND = 1_000
_SMALLEST = Decimal(1).scaleb(-12)

OTHER = "Other"
SHOWN_PROVIDERS = 7
SERVED, RESCUED, FAILED, UNSERVED = "served", "fallback", "failed", "refused or given up"


def bucket_starts(origin: datetime, end: datetime, bucket: timedelta) -> pl.Series:
    """Every bucket from ``origin`` to before ``end``, on the same wall clock."""
    starts = pl.datetime_range(origin, end, bucket, closed="left", time_unit="us", eager=True)
    return starts.alias("bucket")


def with_total(sums: pl.DataFrame, column: str, *, by: str | None = None) -> pl.DataFrame:
    """Sums by a column, and rows in which it is null with the sums over all of it."""
    keys = [column, *([by] if by else [])]
    measures = [name for name in sums.columns if name not in keys]
    added = pl.col(measures).sum()
    if sums.is_empty():
        return sums
    total = sums.group_by(by).agg(added) if by else sums.select(added)
    total = total.with_columns(pl.lit(None, sums.schema[column]).alias(column))
    columns = [pl.col(name).cast(kind) for name, kind in sums.schema.items()]
    return pl.concat([sums, total.select(columns)])


def filled_traffic(traffic: pl.DataFrame, starts: pl.Series) -> pl.DataFrame:
    """`schemas.TRAFFIC` by bucket with every bucket: no traffic is 0 in sums, null in latencies."""
    counts = [name for name, kind in traffic.schema.items() if kind.is_integer()]
    return (
        starts.to_frame()
        .join(traffic, on="bucket", how="left", maintain_order="left")
        .with_columns(pl.col(counts).fill_null(0))
    )


def spend_by_bucket(
    providers: pl.DataFrame, starts: pl.Series, shown: Sequence[str]
) -> pl.DataFrame:
    """Known spend for each bucket and provider, every bucket present for every provider.

    Returns:
        ``bucket``, ``provider`` (one of ``shown`` or `OTHER`), ``cost_usd``, ``attempts``.
    """
    folded = (
        providers.filter(pl.col("bucket").is_not_null())
        .with_columns(
            pl.when(pl.col("provider").is_in(list(shown)))
            .then(pl.col("provider"))
            .otherwise(pl.lit(OTHER))
        )
        .group_by("bucket", "provider")
        .agg(pl.col("cost_usd").sum(), pl.col("attempts").sum())
    )
    names = [*shown, *([OTHER] if OTHER in folded["provider"].to_list() else [])]
    grid = starts.to_frame().join(
        pl.DataFrame({"provider": names}, schema=["provider"]).cast(pl.String), how="cross"
    )
    return grid.join(
        folded, on=["bucket", "provider"], how="left", maintain_order="left"
    ).with_columns(
        pl.col("cost_usd").fill_null(pl.lit(Decimal(0))), pl.col("attempts").fill_null(0)
    )


def outcomes_by_bucket(traffic: pl.DataFrame) -> pl.DataFrame:
    """Requests by what became of them: ``bucket``, ``outcome``, ``requests``; input is filled."""
    return (
        traffic.select(
            "bucket",
            **{
                SERVED: pl.col("succeeded") - pl.col("rescued"),
                RESCUED: pl.col("rescued"),
                FAILED: pl.col("judged") - pl.col("succeeded"),
                UNSERVED: pl.col("requests") - pl.col("judged"),
            },
        )
        .unpivot(index="bucket", variable_name="outcome", value_name="requests")
        .sort("bucket", maintain_order=True)
    )


def success_rates(
    traffic: pl.DataFrame, providers: pl.DataFrame, starts: pl.Series
) -> pl.DataFrame:
    """``bucket``, ``requests`` and ``attempts``: shares that succeeded, null without any."""
    attempts = providers.group_by("bucket").agg(pl.col("succeeded", "judged").sum())
    return (
        starts.to_frame()
        .join(
            traffic.select("bucket", rate_of("succeeded", "judged").alias("requests")),
            on="bucket",
            how="left",
        )
        .join(
            attempts.select("bucket", rate_of("succeeded", "judged").alias("attempts")),
            on="bucket",
            how="left",
        )
        .sort("bucket")
    )


def moved_here(before: pl.DataFrame, period: Period) -> pl.DataFrame:
    """Sums of the period before on the clock of this one."""
    return before.with_columns(pl.col("bucket") + (period.origin - period.before.origin))


def cumulative(now: pl.DataFrame, before: pl.DataFrame, period: Period) -> pl.DataFrame:
    """``bucket``, ``now_usd`` and ``before_usd``, added up; the period before is moved here."""
    starts = bucket_starts(period.origin, period.wall_end, period.bucket).to_frame()
    for frame, name in ((now, "now_usd"), (moved_here(before, period), "before_usd")):
        sums = frame.group_by("bucket").agg(pl.col("cost_usd").sum().alias(name))
        starts = starts.join(sums, on="bucket", how="left", maintain_order="left").with_columns(
            pl.col(name).fill_null(pl.lit(Decimal(0))).cum_sum()
        )
    return starts


def unit_costs(
    attempts: pl.DataFrame, traffic: pl.DataFrame, starts: pl.Series, unit: str
) -> pl.DataFrame:
    """``bucket`` and ``unit_usd``: spending by one request, or by a thousand tokens of output.

    Null where there were none, or nothing of the cost is known.

    Args:
        attempts: `schemas.ATTEMPT_SUMS` with ``bucket``.
        traffic: `schemas.TRAFFIC` by bucket.
        starts: of `bucket_starts`.
        unit: of `UNITS`.
    """
    needed = ("cost_usd", "attempts", "unpriced", "output_tokens", "reasoning_tokens")
    joined = (
        starts.to_frame()
        .join(
            attempts.group_by("bucket").agg(pl.col(needed).sum()),
            on="bucket",
            how="left",
            maintain_order="left",
        )
        .join(traffic.select("bucket", "requests"), on="bucket", how="left", maintain_order="left")
    )
    costs = [_unit_cost(row, unit) for row in joined.iter_rows(named=True)]
    return starts.to_frame().with_columns(pl.Series("unit_usd", costs, dtype=pl.Decimal(38, 12)))


def _unit_cost(row: Mapping[str, Any], unit: str) -> Decimal | None:
    if not row["attempts"] or row["attempts"] == row["unpriced"]:
        return None
    is_output = unit == PER_OUTPUT
    quantity = row["output_tokens"] + row["reasoning_tokens"] if is_output else row["requests"]
    found = per(row["cost_usd"], quantity or 0, THOUSAND if is_output else 1)
    return None if found is None else found.quantize(_SMALLEST)


def tokens_by_meter(
    sums: pl.DataFrame, starts: pl.Series, groups: Mapping[str, str]
) -> pl.DataFrame:
    """``bucket``, ``name`` and ``value``: tokens of each group, every bucket present."""
    counted = sums.group_by("bucket").agg(
        *(pl.col(f"{group}_tokens").sum().alias(word) for group, word in groups.items())
    )
    return (
        starts.to_frame()
        .join(counted, on="bucket", how="left", maintain_order="left")
        .with_columns(pl.col(list(groups.values())).fill_null(0))
        .unpivot(index="bucket", variable_name="name", value_name="value")
    )
