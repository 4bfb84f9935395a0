"""What the Reliability page draws: frames in, frames and values out. Pure."""

from decimal import Decimal

import msgspec
import polars as pl

from dashboard import queries
from dashboard.outcomes import NOT_JUDGED
from dashboard.queries import rate_of

_NOT_FAILED = ("success", "superseded", *NOT_JUDGED)


class Added(msgspec.Struct, frozen=True, kw_only=True):
    """What the failed attempts of requests that fell back cost."""

    attempts: int
    usd: Decimal
    is_complete: bool


def added_by(fallbacks: pl.DataFrame) -> Added:
    """Sums of `schemas.FALLBACKS`."""
    return Added(
        attempts=int(fallbacks["attempts"].sum()),
        usd=queries.total_usd(fallbacks, "added_usd"),
        is_complete=int(fallbacks["unpriced"].sum()) == 0,
    )


def success_over_time(
    traffic: pl.DataFrame, attempts: pl.DataFrame, starts: pl.Series
) -> pl.DataFrame:
    """`queries.success_rates` with ``rescued`` and ``fell_back``, a share of the requests."""
    counted = traffic.select("bucket", "rescued", rate_of("fell_back", "tried").alias("fell_back"))
    return (
        queries.success_rates(traffic, attempts, starts)
        .join(counted, on="bucket", how="left", maintain_order="left")
        .with_columns(pl.col("rescued").fill_null(0))
    )


def failing_providers(now: pl.DataFrame, before: pl.DataFrame) -> pl.DataFrame:
    """A row per provider, the most failing first.

    Args:
        now: `schemas.PROVIDERS`.
        before: the same, of the period before; empty when nothing is compared.

    Returns:
        ``provider``, ``attempts``, ``judged``, ``failed``, ``failed_rate``, ``first_tried``,
        ``served_elsewhere``, ``fallback_rate`` and how far both rates moved: ``failed_moved`` and
        ``fallback_moved``.
    """

    def of(frame: pl.DataFrame) -> pl.DataFrame:
        counts = ("attempts", "judged", "first_tried", "served_elsewhere")
        return (
            frame.filter(pl.col("bucket").is_null())
            .select("provider", *counts, failed=pl.col("judged") - pl.col("succeeded"))
            .with_columns(
                rate_of("failed", "judged").alias("failed_rate"),
                rate_of("served_elsewhere", "first_tried").alias("fallback_rate"),
            )
        )

    past = of(before).select("provider", past_failed="failed_rate", past_fallback="fallback_rate")
    return (
        of(now)
        .join(past, on="provider", how="left")
        .with_columns(
            failed_moved=pl.col("failed_rate") - pl.col("past_failed"),
            fallback_moved=pl.col("fallback_rate") - pl.col("past_fallback"),
        )
        .drop("past_failed", "past_fallback")
        .sort("failed_rate", "failed", "provider", descending=[True, True, False], nulls_last=True)
    )


def error_classes(errors: pl.DataFrame) -> pl.DataFrame:
    """`reliability_sums.ERRORS` of attempts that failed, the most frequent first.

    Adds ``share``: of the provider's attempts.
    """
    return (
        errors.with_columns(share=pl.col("attempts") / pl.col("attempts").sum().over("provider"))
        .filter(~pl.col("outcome").is_in(_NOT_FAILED))
        .sort("attempts", "provider", "outcome", descending=[True, False, False])
    )


def matrix(fallbacks: pl.DataFrame) -> pl.DataFrame:
    """`queries.fallback_matrix` of where requests failed first; later attempts have no cell."""
    return queries.fallback_matrix(fallbacks).filter(pl.col("requests") > 0)
