"""The figures of the Reliability page, each with its denominator in words."""

import msgspec
import polars as pl

from dashboard import numbers, queries, reliability_queries, tones
from dashboard.pieces import Card

_ENOUGH = 20


class Success(msgspec.Struct, frozen=True, kw_only=True):
    """How requests and attempts of a period went."""

    requests: queries.Traffic = queries.Traffic()
    attempts: float | None = None
    """The share that succeeded."""


NOTHING = Success()
"""To compare with when nothing is to be compared."""


def cards(
    now: Success,
    past: Success,
    rates: pl.DataFrame,
    *,
    waited: pl.DataFrame | None,
    fallbacks: pl.DataFrame | None,
) -> list[Card]:
    """Five tiles.

    Args:
        now: of the period.
        past: of the one before, or `NOTHING`.
        rates: of `reliability_queries.success_over_time`.
        waited: `schemas.HISTOGRAM` of what fallbacks added; None where it is not kept.
        fallbacks: `schemas.FALLBACKS`; None where they are not kept.
    """
    requests, before = now.requests, past.requests
    return [
        _success("Request success", requests.success_rate, before.success_rate, rates["requests"]),
        _success("Attempt success", now.attempts, past.attempts, rates["attempts"]),
        _fallback(requests, before, rates["fell_back"]),
        _added_time(waited),
        _added_money(fallbacks, requests.rescued),
    ]


def _success(label: str, now: float | None, past: float | None, heights: pl.Series) -> Card:
    change = queries.moved(now, past)
    return Card(
        label=label,
        value=numbers.share(now, decimals=2),
        change=numbers.points(change),
        change_tone=tones.tone_of(change, from_=tones.RATE, more_is_good=True),
        note=f"of {heights.name}",
        spark=tuple(heights),
        spark_from_zero=False,
    )


def _fallback(now: queries.Traffic, past: queries.Traffic, heights: pl.Series) -> Card:
    change = queries.moved(now.fallback_rate, past.fallback_rate)
    return Card(
        label="Fallback",
        value=numbers.share(now.fallback_rate, decimals=2),
        change=numbers.points(change),
        change_tone=tones.tone_of(change, from_=tones.RATE, more_is_good=False),
        note=f"of requests · {numbers.count(now.rescued)} rescued",
        spark=tuple(heights),
    )


def _added_time(waited: pl.DataFrame | None) -> Card:
    label = "Added by fallbacks · time p50"
    if waited is None:
        return Card(label=label, value=numbers.UNKNOWN, note="not by key or label")
    found = queries.percentiles(waited, (), {"p50": 0.5, "p95": 0.95}).row(0, named=True)
    count = int(found["samples"] or 0)
    if count < _ENOUGH:
        note = f"too few to say: {numbers.count(count)}" if count else "no request fell back"
        return Card(label=label, value=numbers.UNKNOWN, note=note)
    return Card(
        label=label,
        value=numbers.duration(found["p50"]),
        note=f"p95 {numbers.duration(found['p95'])}",
        hint="How much later the attempt that answered began than the first one.",
    )


def _added_money(fallbacks: pl.DataFrame | None, rescued: int) -> Card:
    label = "Added by fallbacks · money"
    if fallbacks is None:
        return Card(label=label, value=numbers.UNKNOWN, note="not by model, key or label")
    added = reliability_queries.added_by(fallbacks)
    each = queries.per(added.usd, rescued)
    return Card(
        label=label,
        value=numbers.usd_sum(added.usd, is_complete=added.is_complete),
        note=f"{numbers.usd(each)} per rescue" if each else "of failed attempts",
        hint=f"{numbers.usd_exact(added.usd)} for {numbers.count(added.attempts)} attempts that "
        "failed before another endpoint answered",
    )
