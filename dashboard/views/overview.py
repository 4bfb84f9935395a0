"""Overview: what was spent, how it went, and which provider is behind it."""

from math import isnan
from typing import Any

import polars as pl
import streamlit as st

from dashboard import charts, numbers, pieces, queries, source, states, words
from dashboard.looks import OTHER_SLOT
from dashboard.palette import slots
from dashboard.periods import Period
from dashboard.pieces import Card, Cell, Column, Row

_COLUMNS = (
    Column(name="Provider"),
    Column(name="Spend", is_number=True, hint="Of every attempt, failed ones included."),
    Column(name="Attempts", is_number=True, hint="Below: requests tried here first."),
    Column(name="p50", is_number=True, hint="Whole duration of successful attempts."),
    Column(name="p95", is_number=True, hint="Whole duration of successful attempts."),
    Column(
        name="Fell back",
        is_number=True,
        hint="Of the requests tried here first, those that another provider answered.",
    ),
    Column(
        name="Success",
        is_number=True,
        hint="Of attempts, without those that the caller gave up.",
    ),
)
_WORRYING_FALLBACK, _WORRYING_SUCCESS = 0.05, 0.95
_ENOUGH = 20


def render(period: Period) -> None:
    """Draw the page."""
    traffic, providers = source.traffic_of(period), source.providers_of(period)
    totals = queries.total_traffic(traffic)
    if totals.requests == 0 and providers.is_empty():
        states.show_empty(period)
        return
    starts = queries.bucket_starts(period.origin, period.wall_end, period.bucket)
    by_bucket = queries.filled_traffic(traffic, starts)
    table = queries.provider_table(providers, source.read_first_tries(period.start, period.end))
    shown = table["provider"].head(queries.SHOWN_PROVIDERS).to_list()
    spend = queries.spend_by_bucket(providers, starts, shown)
    colours = slots(shown)

    st.html(
        pieces.cards(_cards(totals, queries.total_spend(providers), by_bucket, spend)),
    )
    left, right = st.columns([1.15, 1], gap="small")
    with left.container(border=True, key="spend", height="stretch"):
        what = f"per {words.length(period.bucket)}, {period.zone}"
        st.html(pieces.heading("Spend by provider", what))
        st.altair_chart(
            charts.spend_chart(spend, colours, bucket=period.bucket, end=period.wall_end),
            alt=f"Spend by provider over the {period.words}",
        )
    with right.container(border=True, key="providers", height="stretch"):
        st.html(pieces.heading("Providers", period.words))
        st.html(pieces.table(_COLUMNS, _provider_rows(table, colours)))
    left, right = st.columns(2, gap="small")
    with left.container(border=True, key="latency"):
        st.html(pieces.heading("Latency", "p50 to p95 of successful requests"))
        st.altair_chart(
            charts.latency_chart(by_bucket, bucket=period.bucket),
            alt="Latency of successful requests over time, from p50 to p95",
        )
    with right.container(border=True, key="outcomes"):
        st.html(pieces.heading("Requests", legend=words.OUTCOME_LEGEND))
        st.altair_chart(
            charts.outcomes_chart(
                queries.outcomes_by_bucket(by_bucket),
                bucket=period.bucket,
                end=period.wall_end,
                height=charts.SECONDARY_HEIGHT,
            ),
            alt="Requests over time by what became of them",
        )


def _cards(
    totals: queries.Traffic, money: queries.Spend, by_bucket: pl.DataFrame, spend: pl.DataFrame
) -> list[Card]:
    spent = spend.group_by("bucket", maintain_order=True).agg(pl.col("cost_usd").sum())
    return [
        Card(
            label="Spend",
            value=numbers.usd_sum(money.known_usd, is_complete=money.is_complete),
            note=_priced(money),
            spark=_heights(spent, pl.col("cost_usd")),
            hint=_spend_hint(money),
        ),
        Card(
            label="Requests",
            value=numbers.count(totals.requests),
            note=_untried(totals),
            spark=_heights(by_bucket, pl.col("requests")),
        ),
        Card(
            label="Tokens",
            value=numbers.count(totals.tokens),
            note=f"{numbers.share(totals.cached_share)} of the prompt from cache",
            spark=_heights(by_bucket, pl.col("tokens")),
        ),
        Card(
            label="Success",
            value=numbers.share(totals.success_rate, decimals=2),
            note="of requests",
            spark=_heights(by_bucket, pl.col("succeeded") / pl.col("judged")),
            spark_from_zero=False,
        ),
        Card(
            label="Fallback",
            value=numbers.share(totals.fallback_rate, decimals=2),
            note=f"of requests · {numbers.count(totals.rescued)} rescued",
            spark=_heights(by_bucket, pl.col("fell_back") / pl.col("tried")),
        ),
        Card(
            label="Latency p50",
            value=numbers.duration(totals.p50_ms),
            note="of successful requests",
            spark=_heights(by_bucket, pl.col("p50_ms")),
            spark_from_zero=False,
        ),
        Card(
            label="Latency p95",
            value=numbers.duration(totals.p95_ms),
            note="of successful requests",
            spark=_heights(by_bucket, pl.col("p95_ms")),
            spark_from_zero=False,
        ),
        Card(
            label="First token p95",
            value=numbers.duration(totals.ttft_p95_ms),
            note="of streams",
            spark=_heights(by_bucket, pl.col("ttft_p95_ms")),
            spark_from_zero=False,
        ),
    ]


def _provider_rows(table: pl.DataFrame, colours: dict[str, int]) -> list[Row]:
    shares = charts.shares_of_total(table["cost_usd"])
    return [
        _provider_row(row, colours.get(row["provider"], OTHER_SLOT), share)
        for row, share in zip(table.iter_rows(named=True), shares, strict=True)
    ]


def _provider_row(row: dict[str, Any], slot: int, spend_share: float | None) -> Row:
    fallback, success = row["fallback_rate"], row["success_rate"]
    is_enough = row["attempts"] >= _ENOUGH
    return Row(
        cells=(
            Cell(text=row["provider"], slot=slot, bar=spend_share or 0.0),
            Cell(
                text=numbers.usd_sum(row["cost_usd"], is_complete=row["unpriced"] == 0),
                sub=numbers.share(spend_share, decimals=0) if spend_share is not None else "",
                hint=numbers.usd_exact(row["cost_usd"]),
            ),
            Cell(
                text=numbers.count(row["attempts"]),
                sub=f"{numbers.count(row['first_tried'] or 0)} first",
            ),
            Cell(text=numbers.duration(row["p50_ms"])),
            Cell(text=numbers.duration(row["p95_ms"])),
            Cell(
                text=numbers.share(fallback),
                tone="bad" if is_enough and (fallback or 0) > _WORRYING_FALLBACK else "",
                hint=f"{row['served_elsewhere'] or 0} of {row['first_tried'] or 0} requests",
            ),
            Cell(
                text=numbers.share(success),
                tone="bad" if is_enough and (success or 1) < _WORRYING_SUCCESS else "",
                hint=f"{row['succeeded']} of {row['judged']} attempts",
            ),
        )
    )


def _priced(money: queries.Spend) -> str:
    if money.priced_share is None:
        return "nothing was billed"
    if money.unpriced == 0:
        return "every cost is known"
    return f"{numbers.share(money.priced_share)} priced"


def _spend_hint(money: queries.Spend) -> str:
    exact = f"{numbers.usd_exact(money.known_usd)} known"
    if money.unpriced == 0:
        return exact
    return f"{exact}; {numbers.count(money.unpriced)} attempts have no known price"


def _untried(totals: queries.Traffic) -> str:
    refused = totals.requests - totals.tried
    return f"{numbers.count(refused)} refused before a provider" if refused else "all were tried"


def _heights(frame: pl.DataFrame, column: pl.Expr) -> tuple[float | None, ...]:
    heights = frame.select(column.cast(pl.Float64).alias("height"))["height"]
    # No traffic divides by zero.
    return tuple(None if height is None or isnan(height) else height for height in heights)
