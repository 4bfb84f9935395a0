"""Reliability: what failed, where requests went instead, and what that cost."""

import polars as pl
import streamlit as st

from dashboard import numbers, pieces, queries, speed_charts, states, sums, words
from dashboard.filters import chosen_narrowing
from dashboard.narrowing import Narrowing
from dashboard.periods import Period
from dashboard.pieces import Card, Cell, Column, Row

_ROWS = 12
_REASON_COLUMNS = (
    Column(name="Because"),
    Column(name="Attempts", is_number=True, hint="That failed before another endpoint answered."),
    Column(name="Rescued", is_number=True, hint="Requests tried there first, and answered."),
    Column(name="Added", is_number=True, hint="Time that was lost, per attempt."),
    Column(name="Cost", is_number=True, hint="Of the failed attempts."),
)
_ERROR_COLUMNS = (
    Column(name="Provider"),
    Column(name="Error"),
    Column(name="Attempts", is_number=True),
    Column(name="Of its attempts", is_number=True),
    Column(name="Rescued", is_number=True, hint="Their request was answered all the same."),
    Column(name="Cost", is_number=True),
)


def render(period: Period) -> None:
    """Draw the page."""
    only = chosen_narrowing()
    traffic, attempts = sums.read_traffic(period, only), sums.read_providers(period, only)
    totals = queries.total_traffic(traffic)
    if totals.requests == 0 and attempts.is_empty():
        states.show_empty(period)
        return
    fallbacks = sums.read_fallbacks(period, only)
    st.html(pieces.cards(_cards(period, only, totals, attempts)))
    left, right = st.columns(2, gap="small")
    with left.container(border=True, key="success", height="stretch"):
        st.html(pieces.heading("Success", legend=(("requests", "good"), ("attempts", "warn"))))
        starts = queries.bucket_starts(period.origin, period.wall_end, period.bucket)
        st.altair_chart(
            speed_charts.success_chart(
                queries.success_rates(traffic, attempts, starts), bucket=period.bucket
            ),
            alt="The share of requests and of attempts that succeeded over time",
        )
    can_tell = not (only.models or only.keys or only.labels)
    with right.container(border=True, key="matrix", height="stretch"):
        st.html(pieces.heading("From → to", "failed at, served by; requests"))
        if not can_tell:
            st.caption("Fallbacks are kept by provider, not by model, key or label.")
        elif fallbacks.is_empty():
            st.caption(f"No request had to fall back in the {period.words}.")
        else:
            st.altair_chart(
                speed_charts.matrix_chart(queries.fallback_matrix(fallbacks)),
                alt="Requests that failed at one provider and were served by another",
            )
    left, right = st.columns(2, gap="small")
    with left.container(border=True, key="reasons", height="stretch"):
        st.html(pieces.heading("Reasons", "why requests fell back"))
        if can_tell and not fallbacks.is_empty():
            st.html(pieces.table(_REASON_COLUMNS, _reason_rows(fallbacks)))
        else:
            st.caption("There is nothing to tell here.")
    with right.container(border=True, key="errors", height="stretch"):
        st.html(pieces.heading("Error classes", "of attempts"))
        found = sums.read_attempt_totals(("provider", "outcome"), period, only)
        rows = _error_rows(found)
        if rows:
            st.html(pieces.table(_ERROR_COLUMNS, rows))
        else:
            st.caption(f"No attempt failed in the {period.words}.")


def _cards(
    period: Period, only: Narrowing, totals: queries.Traffic, attempts: pl.DataFrame
) -> list[Card]:
    before = queries.total_traffic(sums.read_traffic(period.before, only))
    rate = queries.attempt_success(attempts)
    past_rate = queries.attempt_success(sums.read_providers(period.before, only))
    added = sums.read_histogram(period, ("added",), only)
    waited = queries.percentiles(added, (), {"p50": 0.5, "p95": 0.95})
    wasted = sums.read_attempts_by("provider", period, only)
    return [
        Card(
            label="Request success",
            value=numbers.share(totals.success_rate, decimals=2),
            change=numbers.points(queries.moved(totals.success_rate, before.success_rate)),
            note="of requests",
        ),
        Card(
            label="Attempt success",
            value=numbers.share(rate, decimals=2),
            change=numbers.points(queries.moved(rate, past_rate)),
            note="of attempts",
        ),
        Card(
            label="Fallback",
            value=numbers.share(totals.fallback_rate, decimals=2),
            change=numbers.points(queries.moved(totals.fallback_rate, before.fallback_rate)),
            note=f"{numbers.count(totals.rescued)} rescued",
        ),
        Card(
            label="Added by fallbacks p50",
            value=numbers.duration(waited["p50"].item()),
            note=f"p95 {numbers.duration(waited['p95'].item())}"
            if only.has_latency
            else "not by key or label",
        ),
        Card(
            label="Spent on failed attempts",
            value=numbers.usd(queries.total_usd(wasted, "wasted_usd")),
            note="fallbacks included",
            hint=numbers.usd_exact(queries.total_usd(wasted, "wasted_usd")),
        ),
    ]


def _reason_rows(fallbacks: pl.DataFrame) -> list[Row]:
    return [
        Row(
            cells=(
                Cell(text=words.outcome(row["reason"])),
                Cell(text=numbers.count(row["attempts"])),
                Cell(text=numbers.count(row["rescued"])),
                Cell(text=numbers.duration(row["added_us"] / row["attempts"] / 1000)),
                Cell(
                    text=numbers.usd_sum(row["added_usd"], is_complete=not row["unpriced"]),
                    hint=numbers.usd_exact(row["added_usd"]),
                ),
            )
        )
        for row in queries.fallback_reasons(fallbacks).head(_ROWS).iter_rows(named=True)
    ]


def _error_rows(found: pl.DataFrame) -> list[Row]:
    return [
        Row(
            cells=(
                Cell(text=row["provider"]),
                Cell(text=words.outcome(row["outcome"])),
                Cell(text=numbers.count(row["attempts"])),
                Cell(text=numbers.share(row["share"])),
                Cell(text=numbers.count(row["rescued"])),
                Cell(text=numbers.usd_sum(row["cost_usd"], is_complete=not row["unpriced"])),
            )
        )
        for row in queries.error_classes(found).head(_ROWS).iter_rows(named=True)
    ]
