"""Overview: what was spent, how it went, and which provider is behind it."""

from decimal import Decimal
from math import isnan
from typing import Any

import msgspec
import polars as pl
import streamlit as st

from dashboard import charts, numbers, pieces, queries, states, sums, words
from dashboard.filters import chosen_narrowing
from dashboard.looks import OTHER_SLOT
from dashboard.narrowing import Narrowing
from dashboard.palette import slots
from dashboard.periods import Period
from dashboard.pieces import Card, Cell, Column, Row

NO_LATENCY = "Latency is kept by provider and model, not by key or label."

_COLUMNS = (
    Column(name="Provider"),
    Column(name="Spend", is_number=True, hint="Of every attempt, failed ones included."),
    Column(name="Change", is_number=True, hint="Of spend, against the period before."),
    Column(name="p95", is_number=True, hint="Of successful attempts; below: p50."),
    Column(
        name="Fell back",
        is_number=True,
        hint="Of the requests tried here first, those that another provider answered.",
    ),
    Column(
        name="Success",
        is_number=True,
        hint="Of attempts, without those that the caller gave up; below: attempts.",
    ),
)
_CHANGE_COLUMNS = (Column(name="Key and model"), Column(name="Change", is_number=True))
_SHOWN_CHANGES = 4
_WORRYING_FALLBACK, _WORRYING_SUCCESS = 0.05, 0.95
_ENOUGH = 20
_UNREMARKABLE = 0.0005


class Figures(msgspec.Struct, frozen=True, kw_only=True):
    """What the tiles tell of a period."""

    traffic: queries.Traffic
    money: queries.Spend


def render(period: Period) -> None:
    """Draw the page."""
    only = chosen_narrowing()
    traffic, providers = sums.read_traffic(period, only), sums.read_providers(period, only)
    totals = queries.total_traffic(traffic)
    if totals.requests == 0 and providers.is_empty():
        states.show_empty(period)
        return
    before = period.before
    providers_before = sums.read_providers(before, only)
    starts = queries.bucket_starts(period.origin, period.wall_end, period.bucket)
    by_bucket = queries.filled_traffic(traffic, starts)
    table = queries.provider_table(providers)
    shown = table["provider"].head(queries.SHOWN_PROVIDERS).to_list()
    spend = queries.spend_by_bucket(providers, starts, shown)
    colours = slots(shown)
    now = Figures(traffic=totals, money=queries.total_spend(providers))
    past = Figures(
        traffic=queries.total_traffic(sums.read_traffic(before, only)),
        money=queries.total_spend(providers_before),
    )

    st.html(pieces.cards(_cards(now, past, by_bucket, spend)))
    left, right = st.columns([1.55, 1], gap="small")
    with left.container(border=True, key="spend", height="stretch"):
        what = f"per {words.length(period.bucket)}, {period.zone}"
        st.html(pieces.heading("Spend by provider", what))
        st.altair_chart(
            charts.spend_chart(spend, colours, bucket=period.bucket, end=period.wall_end),
            alt=f"Spend by provider over the {period.words}",
        )
    with right.container(border=True, key="providers", height="stretch"):
        st.html(pieces.heading("Providers", period.words))
        st.html(pieces.table(_COLUMNS, _provider_rows(table, providers_before, colours)))
    left, middle, right = st.columns(3, gap="small")
    with left.container(border=True, key="changes", height="stretch"):
        st.html(pieces.heading("What changed most", "spend by key and model"))
        _draw_changes(period, only)
    with middle.container(border=True, key="latency", height="stretch"):
        st.html(pieces.heading("Latency", "p50 to p95 of successful requests"))
        if only.has_latency:
            st.altair_chart(
                charts.latency_chart(by_bucket, bucket=period.bucket),
                alt="Latency of successful requests over time, from p50 to p95",
            )
        else:
            st.caption(NO_LATENCY)
    with right.container(border=True, key="outcomes", height="stretch"):
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


def _draw_changes(period: Period, only: Narrowing) -> None:
    now, before = (
        sums.read_attempt_totals(("key", "model"), of, only) for of in (period, period.before)
    )
    found = queries.changes(now, before, ("key", "model"), _SHOWN_CHANGES)
    if found.is_empty():
        st.caption("Nothing changed against the period before.")
        return
    rows = [
        Row(
            cells=(
                Cell(text=row["key"], sub=row["model"], wraps=True),
                Cell(
                    text=numbers.usd_change(row["change_usd"]),
                    sub=f"{numbers.usd(row['before_usd'])} → {numbers.usd(row['now_usd'])}",
                    hint=numbers.usd_exact(row["change_usd"]),
                ),
            )
        )
        for row in found.iter_rows(named=True)
    ]
    st.html(pieces.table(_CHANGE_COLUMNS, rows))


def _cards(now: Figures, past: Figures, by_bucket: pl.DataFrame, spend: pl.DataFrame) -> list[Card]:
    totals, money, before = now.traffic, now.money, past.traffic
    spent = spend.group_by("bucket", maintain_order=True).agg(pl.col("cost_usd").sum())
    return [
        Card(
            label="Spend",
            value=numbers.usd_sum(money.known_usd, is_complete=money.is_complete),
            change=numbers.change(_grown(money.known_usd, past.money.known_usd)),
            note=_priced(money),
            spark=_heights(spent, pl.col("cost_usd")),
            hint=_spend_hint(money),
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
            change=numbers.change(_grown(totals.saved_usd, before.saved_usd)),
            change_tone=_tone(_grown(totals.saved_usd, before.saved_usd)),
            note=_saving_note(totals),
            spark=_heights(by_bucket, pl.col("baseline_usd") - pl.col("baselined_cost_usd")),
            hint=numbers.usd_exact(totals.saved_usd),
        ),
        Card(
            label="Success",
            value=numbers.share(totals.success_rate, decimals=2),
            change=numbers.points(_moved(totals.success_rate, before.success_rate)),
            change_tone=_tone(_moved(totals.success_rate, before.success_rate)),
            note="of requests",
            spark=_heights(by_bucket, pl.col("succeeded") / pl.col("judged")),
            spark_from_zero=False,
        ),
        Card(
            label="Fallback",
            value=numbers.share(totals.fallback_rate, decimals=2),
            change=numbers.points(_moved(totals.fallback_rate, before.fallback_rate)),
            note=f"of requests · {numbers.count(totals.rescued)} rescued",
            spark=_heights(by_bucket, pl.col("fell_back") / pl.col("tried")),
        ),
        Card(
            label="Latency p95",
            value=numbers.duration(totals.p95_ms),
            change=numbers.change(queries.change(totals.p95_ms, before.p95_ms)),
            change_tone=_tone(queries.change(totals.p95_ms, before.p95_ms), is_good=False),
            note=f"p50 {numbers.duration(totals.p50_ms)}",
            spark=_heights(by_bucket, pl.col("p95_ms")),
            spark_from_zero=False,
        ),
        Card(
            label="First token p95",
            value=numbers.duration(totals.ttft_p95_ms),
            change=numbers.change(queries.change(totals.ttft_p95_ms, before.ttft_p95_ms)),
            change_tone=_tone(
                queries.change(totals.ttft_p95_ms, before.ttft_p95_ms), is_good=False
            ),
            note="of streams",
            spark=_heights(by_bucket, pl.col("ttft_p95_ms")),
            spark_from_zero=False,
        ),
    ]


def _provider_rows(table: pl.DataFrame, before: pl.DataFrame, colours: dict[str, int]) -> list[Row]:
    shares = charts.shares_of_total(table["cost_usd"])
    whole = before.filter(pl.col("bucket").is_null())
    spent_before: dict[str, Decimal] = dict(zip(whole["provider"], whole["cost_usd"], strict=True))
    return [
        _provider_row(
            row, spent_before.get(row["provider"]), colours.get(row["provider"], OTHER_SLOT), share
        )
        for row, share in zip(table.iter_rows(named=True), shares, strict=True)
    ]


def _provider_row(
    row: dict[str, Any], before_usd: Decimal | None, slot: int, spend_share: float | None
) -> Row:
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
                text=numbers.change(_grown(row["cost_usd"], before_usd)) or numbers.UNKNOWN,
                hint=f"from {numbers.usd(before_usd)}",
            ),
            Cell(text=numbers.duration(row["p95_ms"]), sub=numbers.duration(row["p50_ms"])),
            Cell(
                text=numbers.share(fallback),
                tone="bad" if is_enough and (fallback or 0) > _WORRYING_FALLBACK else "",
                hint=f"{row['served_elsewhere'] or 0} of {row['first_tried'] or 0} requests",
            ),
            Cell(
                text=numbers.share(success),
                sub=numbers.count(row["attempts"]),
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


def _saving_note(totals: queries.Traffic) -> str:
    if not totals.baselined:
        return "no baseline is declared"
    return f"on {numbers.share(queries.ratio(totals.baselined, totals.requests))} of requests"


def _grown(now: Decimal | None, before: Decimal | None) -> float | None:
    if now is None or before is None or before <= 0:
        return None
    return float(now / before) - 1


def _moved(now: float | None, before: float | None) -> float | None:
    return None if now is None or before is None else now - before


def _tone(change: float | None, *, is_good: bool = True) -> str:
    """More is good, or bad; a change that nobody would write is neither."""
    if change is None or abs(change) < _UNREMARKABLE:
        return ""
    return "good" if (change > 0) == is_good else "bad"


def _heights(frame: pl.DataFrame, column: pl.Expr) -> tuple[float | None, ...]:
    heights = frame.select(column.cast(pl.Float64).alias("height"))["height"]
    # No traffic divides by zero.
    return tuple(None if height is None or isnan(height) else height for height in heights)
