"""Spend: where the money goes, where it leads, why it changed, and what of it was wasted."""

from collections.abc import Callable
from decimal import Decimal
from functools import partial

import polars as pl
import streamlit as st

from dashboard import (
    ahead,
    charts,
    exports,
    money_charts,
    numbers,
    pieces,
    queries,
    states,
    sums,
    words,
)
from dashboard.filters import chosen_narrowing
from dashboard.narrowing import Narrowing
from dashboard.periods import Period
from dashboard.pieces import Card
from dashboard.views import spend_by, spend_month, spend_why

_METER_WORDS = {
    "input": "input",
    "cache_read": "cache read",
    "cache_write": "cache write",
    "output": "output",
    "reasoning": "reasoning",
}


def render(period: Period) -> None:
    """Draw the page."""
    only = chosen_narrowing()
    with ahead.reading(*_reads(period, only)):
        _draw(period, only)


def _reads(period: Period, only: Narrowing) -> list[Callable[[], object]]:
    both = (period, period.before) if period.is_compared else (period,)
    return [
        *(partial(sums.read_attempts_by, "provider", of, only) for of in both),
        *(partial(sums.read_counts, of, only) for of in both),
        partial(spend_month.read_month, period.zone, only),
        *spend_by.reads(period, only),
        *spend_why.reads(period, only),
        *spend_by.reads_of_all(period, only),
    ]


def _draw(period: Period, only: Narrowing) -> None:
    now = sums.read_attempts_by("provider", period, only)
    if now.is_empty():
        states.show_empty(period)
        return
    traffic = sums.read_counts(period, only)
    before, past_traffic = now.clear(), traffic.clear()
    if period.is_compared:
        before = sums.read_attempts_by("provider", period.before, only)
        past_traffic = sums.read_counts(period.before, only)
    month = spend_month.read_month(period.zone, only)
    tiles = cards(now, before, queries.total_traffic(traffic), queries.total_traffic(past_traffic))
    st.html(pieces.cards([*tiles, spend_month.card(month)]))

    with st.container(border=True, key="spend"):
        dimension = spend_by.choose_dimension()
        spend_by.draw(dimension, period, only)
    left, right = st.columns(2, gap="small")
    with left.container(border=True, key="cumulative", height="stretch"):
        spend_month.draw(month, period, now, before)
    with right.container(border=True, key="why", height="stretch"):
        st.html(pieces.heading("Why it changed", "against the period before"))
        spend_why.draw_change(period, only, queries.spend_of(now))
    left, middle, right = st.columns(3, gap="small")
    with left.container(border=True, key="meters", height="stretch"):
        _draw_meters(period, now)
    with middle.container(border=True, key="unit_cost", height="stretch"):
        _draw_unit_cost(period, (now, traffic), (before, past_traffic))
    with right.container(border=True, key="waste", height="stretch"):
        st.html(pieces.heading("Waste", "what failed attempts cost"))
        spend_why.draw_waste(period, only)
    with st.container(border=True, key="all_rows"):
        spend_by.draw_all(dimension, period, only)


def cards(
    now: pl.DataFrame, before: pl.DataFrame, requests: queries.Traffic, past: queries.Traffic
) -> list[Card]:
    """Four tiles of sums over attempts, and of the requests that they were made for."""
    money, money_before = queries.spend_of(now), queries.spend_of(before)
    wasted = queries.total_usd(now, "wasted_usd")
    output, output_before = queries.output_tokens(now), queries.output_tokens(before)
    per_request = queries.per(money.known_usd, requests.requests)
    per_output = queries.per(money.known_usd, output, queries.THOUSAND)
    total = money.known_usd
    return [
        Card(
            label="Spend",
            value=numbers.usd_sum(total, is_complete=money.is_complete),
            change=numbers.change(queries.grown(total, money_before.known_usd)),
            note=_priced(money),
            hint=numbers.usd_exact(total),
        ),
        Card(
            label="Per request",
            value=numbers.usd_sum(per_request, is_complete=money.is_complete),
            change=numbers.change(
                queries.grown(per_request, queries.per(money_before.known_usd, past.requests))
            ),
            note=f"{numbers.count(requests.requests)} requests",
        ),
        Card(
            label="Per 1,000 output tokens",
            value=numbers.usd_sum(per_output, is_complete=money.is_complete),
            change=numbers.change(
                queries.grown(
                    per_output, queries.per(money_before.known_usd, output_before, queries.THOUSAND)
                )
            ),
            note=f"{numbers.count(output)} output tokens",
        ),
        Card(
            label="Wasted on failed attempts",
            value=numbers.usd(wasted),
            change=numbers.change(queries.grown(wasted, _wasted(before))),
            note=f"{numbers.share(queries.usd_share(wasted, total))} of spend",
            hint=numbers.usd_exact(wasted),
        ),
    ]


def _draw_meters(period: Period, now: pl.DataFrame) -> None:
    what = f"per {words.length(period.bucket)}; input is what no cache had"
    st.html(pieces.heading("Tokens by meter", what))
    starts = queries.bucket_starts(period.origin, period.wall_end, period.bucket)
    by_meter = queries.tokens_by_meter(now, starts, _METER_WORDS)
    st.altair_chart(
        charts.ranked_chart(
            by_meter,
            list(_METER_WORDS.values()),
            bucket=period.bucket,
            end=period.wall_end,
            is_money=False,
        ),
        alt="Tokens over time by what they were metered as",
    )
    exports.offer("Tokens by meter", by_meter, "tokens-by-meter")


def _draw_unit_cost(
    period: Period,
    now: tuple[pl.DataFrame, pl.DataFrame],
    before: tuple[pl.DataFrame, pl.DataFrame],
) -> None:
    with st.container(horizontal=True, vertical_alignment="center", key="unit_row"):
        st.html(pieces.heading("Unit cost"))
        unit = st.segmented_control(
            "Unit",
            queries.UNITS,
            default=queries.PER_REQUEST,
            required=True,
            key="unit",
            label_visibility="collapsed",
            width="content",
        )
    starts = queries.bucket_starts(period.origin, period.wall_end, period.bucket)
    chosen = unit or queries.PER_REQUEST
    found = queries.unit_costs(now[0], now[1], starts, chosen).rename({"unit_usd": "now_usd"})
    attempts, requests = (queries.moved_here(one, period) for one in before)
    past = queries.unit_costs(attempts, requests, starts, chosen).rename({"unit_usd": "before_usd"})
    st.altair_chart(
        money_charts.compared_chart(
            found.join(past, on="bucket", how="left", maintain_order="left"),
            bucket=period.bucket,
            when="From",
        ),
        alt=f"What was spent {unit} over time, beside the period before",
    )


def _wasted(sums_before: pl.DataFrame) -> Decimal:
    return queries.total_usd(sums_before, "wasted_usd")


def _priced(money: queries.Spend) -> str:
    if money.priced_share is None:
        return "nothing was billed"
    if money.unpriced == 0:
        return "every cost is known"
    return f"{numbers.share(money.priced_share)} priced, {numbers.count(money.unpriced)} are not"
