"""The figures of the Overview, each with how it went."""

from decimal import Decimal
from math import isnan
from typing import Any

import msgspec
import polars as pl

from dashboard import numbers, queries
from dashboard.installation import installation
from dashboard.pieces import Card

_REMARKABLE_RATE, _REMARKABLE_LATENCY = 0.002, 0.05
_SEEN = 0.0005
_DEAREST = "dearest"


class Figures(msgspec.Struct, frozen=True, kw_only=True):
    """What the tiles tell of a period."""

    traffic: queries.Traffic
    money: queries.Spend


NOTHING = Figures(
    traffic=queries.Traffic(), money=queries.Spend(known_usd=None, billable=0, unpriced=0)
)
"""To compare with when nothing is to be compared."""


def cards(now: Figures, past: Figures, by_bucket: pl.DataFrame, spend: pl.DataFrame) -> list[Card]:
    """Eight tiles.

    Args:
        now: of the period.
        past: of the one before, or `NOTHING`.
        by_bucket: of `queries.filled_traffic`.
        spend: of `queries.spend_by_bucket`.
    """
    totals, money, before = now.traffic, now.money, past.traffic
    spent = spend.group_by("bucket", maintain_order=True).agg(pl.col("cost_usd").sum())
    saved = queries.grown(totals.saved_usd, before.saved_usd)
    success = queries.moved(totals.success_rate, before.success_rate)
    fallback = queries.moved(totals.fallback_rate, before.fallback_rate)
    return [
        Card(
            label="Spend",
            value=numbers.usd_sum(money.known_usd, is_complete=money.is_complete),
            change=numbers.change(queries.grown(money.known_usd, past.money.known_usd)),
            note=priced(money),
            spark=_heights(spent, pl.col("cost_usd")),
            hint=spend_hint(money),
        ),
        Card(
            label="Requests",
            value=numbers.count(totals.requests),
            change=numbers.change(queries.change(totals.requests, before.requests)),
            note=_untried(totals),
            spark=_heights(by_bucket, pl.col("requests")),
        ),
        Card(
            label="Tokens",
            value=numbers.count(totals.tokens),
            change=numbers.change(queries.change(totals.tokens, before.tokens)),
            note=f"{numbers.share(totals.cached_share)} of the prompt from cache",
            spark=_heights(by_bucket, pl.col("tokens")),
        ),
        Card(
            label="Saved",
            value=numbers.usd(totals.saved_usd),
            change=numbers.change(saved),
            change_tone=_tone(saved, from_=_SEEN),
            note=_saving_note(totals),
            spark=_heights(by_bucket, pl.col("baseline_usd") - pl.col("baselined_cost_usd")),
            hint=_saving_hint(totals),
        ),
        Card(
            label="Success",
            value=numbers.share(totals.success_rate, decimals=2),
            change=numbers.points(success),
            change_tone=_tone(success, from_=_REMARKABLE_RATE),
            note="of requests",
            spark=_heights(by_bucket, pl.col("succeeded") / pl.col("judged")),
            spark_from_zero=False,
        ),
        Card(
            label="Fallback",
            value=numbers.share(totals.fallback_rate, decimals=2),
            change=numbers.points(fallback),
            change_tone=_tone(fallback, from_=_REMARKABLE_RATE, is_good=False),
            note=f"of requests · {numbers.count(totals.rescued)} rescued",
            spark=_heights(by_bucket, pl.col("fell_back") / pl.col("tried")),
        ),
        Card(
            label="Latency p95",
            note=f"p50 {numbers.duration(totals.p50_ms)}",
            spark=_heights(by_bucket, pl.col("p95_ms")),
            **_latency(totals.p95_ms, before.p95_ms),
        ),
        Card(
            label="First token p95",
            note="of streams",
            spark=_heights(by_bucket, pl.col("ttft_p95_ms")),
            **_latency(totals.ttft_p95_ms, before.ttft_p95_ms),
        ),
    ]


def priced(money: queries.Spend) -> str:
    """Which share of what was billed has a cost."""
    if money.priced_share is None:
        return "nothing was billed"
    if money.unpriced == 0:
        return "every cost is known"
    return f"{numbers.share(money.priced_share)} priced"


def spend_hint(money: queries.Spend) -> str:
    """The exact sum, and what is missing from it."""
    exact = f"{numbers.usd_exact(money.known_usd)} known"
    if money.unpriced == 0:
        return exact
    return f"{exact}; {numbers.count(money.unpriced)} attempts have no known price"


def _latency(now_ms: float | None, before_ms: float | None) -> dict[str, Any]:
    change = queries.change(now_ms, before_ms)
    return {
        "value": numbers.duration(now_ms),
        "change": numbers.change(change),
        "change_tone": _tone(change, from_=_REMARKABLE_LATENCY, is_good=False),
        "spark_from_zero": False,
    }


def _untried(totals: queries.Traffic) -> str:
    refused = totals.requests - totals.tried
    return f"{numbers.count(refused)} refused before a provider" if refused else "all were tried"


def _saving_note(totals: queries.Traffic) -> str:
    if not totals.baselined:
        return "no baseline is declared"
    covered = numbers.share(totals.covered_share)
    return f"against {_baseline_words()} · {covered} covered"


def _baseline_words() -> str:
    name = installation().baseline
    if name is None:
        # It was declared when requests were answered, and is not any more.
        return "the baseline"
    return "the dearest that might" if name == _DEAREST else name


def _saving_hint(totals: queries.Traffic) -> str:
    if not totals.baselined:
        return "Declare one as savings.baseline in tollway.toml: an endpoint, or the dearest."
    return (
        f"{numbers.usd_exact(totals.baseline_usd)} at the baseline, less "
        f"{numbers.usd_exact(totals.baselined_cost_usd)} paid, failed attempts included: "
        f"{numbers.usd_exact(totals.saved_usd)} over {numbers.count(totals.baselined)} requests"
    )


def _tone(change: float | None, *, from_: float, is_good: bool = True) -> str:
    """More is good, or bad; a change that is too small to matter is neither."""
    if change is None or abs(change) < from_:
        return ""
    return "good" if (change > 0) == is_good else "bad"


def _heights(frame: pl.DataFrame, column: pl.Expr) -> tuple[float | None, ...]:
    heights = frame.select(column.cast(pl.Float64).alias("height"))["height"]
    # No traffic divides by zero.
    return tuple(None if height is None or isnan(height) else height for height in heights)


def grown_words(now: Decimal | None, before: Decimal | None) -> str:
    """How much a sum of money grew; "new" where there was none before."""
    if now and not before:
        return "new"
    return numbers.change(queries.grown(now, before)) or numbers.UNKNOWN
