"""Who is behind a sum, the largest first. Pure."""

from collections.abc import Sequence
from decimal import Decimal

import polars as pl

from dashboard.queries.figures import rate_of


def ranked(now: pl.DataFrame, before: pl.DataFrame, dimension: str) -> pl.DataFrame:
    """Sums of the whole period by ``name``, dearest first, with ``before_usd``."""
    numeric = [name for name in now.columns if name not in {"bucket", dimension}]
    past = before.group_by(dimension).agg(pl.col("cost_usd").sum().alias("before_usd"))
    return (
        now.group_by(dimension)
        .agg(pl.col(numeric).sum())
        .join(past, on=dimension, how="left")
        .rename({dimension: "name"})
        .sort("cost_usd", "attempts", "name", descending=[True, True, False])
    )


def summed(sums: pl.DataFrame, by: Sequence[str]) -> pl.DataFrame:
    """Sums by some of their dimensions: everything else that is no number is summed over."""
    numeric = [name for name, kind in sums.schema.items() if kind.is_numeric()]
    return sums.group_by(by, maintain_order=True).agg(pl.col(numeric).sum())


def provider_table(providers: pl.DataFrame) -> pl.DataFrame:
    """One row per provider, dearest first: `schemas.PROVIDERS` of the period with its rates.

    Adds ``success_rate``, ``first_tried`` and ``fallback_rate``, null without a denominator.
    """
    return (
        providers.filter(pl.col("bucket").is_null())
        .drop("bucket")
        .with_columns(
            rate_of("succeeded", "judged").alias("success_rate"),
            rate_of("served_elsewhere", "first_tried").alias("fallback_rate"),
        )
        .sort("cost_usd", "attempts", "provider", descending=[True, True, False], nulls_last=True)
    )


def changes(now: pl.DataFrame, before: pl.DataFrame, by: Sequence[str], top: int) -> pl.DataFrame:
    """Where spend changed most: the columns of ``by``, ``now_usd``, ``before_usd``, ``change_usd``.

    Args:
        now: with the columns of ``by`` and ``cost_usd``.
        before: the same, of the period before.
        by: what is compared with itself.
        top: how many rows at most; nothing that did not change.
    """
    money = now.schema["cost_usd"]
    nothing = pl.lit(Decimal(0), money)
    sums = [
        frame.group_by(by).agg(pl.col("cost_usd").sum().alias(name))
        for frame, name in ((now, "now_usd"), (before, "before_usd"))
    ]
    return (
        sums[0]
        .join(sums[1], on=list(by), how="full", coalesce=True)
        .with_columns(pl.col("now_usd", "before_usd").fill_null(nothing).cast(money))
        .with_columns((pl.col("now_usd") - pl.col("before_usd")).cast(money).alias("change_usd"))
        .filter(pl.col("change_usd") != nothing)
        .sort(pl.col("change_usd").abs(), *by, descending=[True, *(False for _ in by)])
        .head(top)
    )


def waste(sums: pl.DataFrame) -> pl.DataFrame:
    """What failed attempts cost, by ``provider`` and ``outcome``, dearest first."""
    nothing = pl.lit(Decimal(0), sums.schema["cost_usd"])
    return sums.filter(
        pl.col("outcome") != "success", (pl.col("cost_usd") > nothing) | (pl.col("unpriced") > 0)
    ).sort("cost_usd", "attempts", descending=True)


def fallback_matrix(fallbacks: pl.DataFrame) -> pl.DataFrame:
    """``from_provider``, ``to_provider``, ``requests`` and ``reasons`` in words."""
    reason = (
        pl.col("reason").str.replace_all("_", " ", literal=True)
        + " "
        + pl.col("attempts").cast(pl.String)
    )
    return (
        fallbacks.sort("attempts", "reason", descending=[True, False])
        .group_by("from_provider", "to_provider", maintain_order=True)
        .agg(pl.col("requests", "attempts").sum(), reason.str.join(", ").alias("reasons"))
        .sort("from_provider", "to_provider")
    )


def fallback_reasons(fallbacks: pl.DataFrame) -> pl.DataFrame:
    """`schemas.FALLBACKS` by ``reason`` alone, the most frequent first."""
    sums = ["attempts", "requests", "rescued", "added_us", "added_usd", "unpriced"]
    return (
        fallbacks.group_by("reason")
        .agg(pl.col(sums).sum())
        .sort("attempts", "reason", descending=[True, False])
    )


def label_names(dimensions: pl.DataFrame) -> list[str]:
    """The names of labels in `schemas.DIMENSIONS`, the most varied last."""
    labels = dimensions.filter(pl.col("kind") == "label")["value"].str.split_exact("=", 1)
    names = labels.struct.field("field_0").value_counts(sort=True)
    return names.sort("count", names.columns[0])[names.columns[0]].to_list()
