"""Latency: how fast each endpoint answers, from merged histograms, within 2 %."""

import polars as pl
import streamlit as st

from dashboard import charts, numbers, pieces, queries, speed_charts, states, sums
from dashboard.filters import chosen_narrowing
from dashboard.looks import OTHER_SLOT
from dashboard.narrowing import Narrowing
from dashboard.palette import slots
from dashboard.periods import Period
from dashboard.pieces import Card, Cell, Column, Row
from dashboard.views.overview import NO_LATENCY

_SHARES = {"p50": 0.5, "p90": 0.9, "p95": 0.95, "p99": 0.99}
_ENOUGH = 20
_MOST_ENDPOINTS = 15
_CURVE = 40
_COLUMNS = (
    Column(name="Endpoint"),
    *(Column(name=name, is_number=True, hint="Whole duration.") for name in _SHARES),
    Column(name="First token p95", is_number=True),
    Column(name="Tokens/s p50", is_number=True, hint="Of output, from the first token on."),
    Column(name="p95 before", is_number=True),
)


def render(period: Period) -> None:
    """Draw the page."""
    only = chosen_narrowing()
    if not only.has_latency:
        with st.container(border=True, key="empty"):
            st.markdown(f"**{NO_LATENCY}** Clear these filters to see it.")
        return
    metrics = ("attempt", "attempt_ttft", "speed")
    found = sums.read_histogram(period, metrics, only, by="endpoint")
    requests = sums.read_histogram(
        period, ("request", "request_ttft", "overhead"), only, is_by_time=True
    )
    if found.is_empty() and requests.is_empty():
        states.show_empty(period)
        return
    before = sums.read_histogram(period.before, metrics, only, by="endpoint")
    table = queries.latency_table(found, before, _SHARES)
    st.html(pieces.cards(_cards(requests, found)))
    left, right = st.columns(2, gap="small")
    enough = table.filter(pl.col("samples") >= _ENOUGH)
    with left.container(border=True, key="endpoints", height="stretch"):
        st.html(pieces.heading("Endpoints", "p50 to p95 bar, p99 tick"))
        if enough.is_empty():
            st.caption(f"No endpoint has answered {_ENOUGH} times in the {period.words}.")
        else:
            st.altair_chart(
                speed_charts.ranges_chart(enough.head(_MOST_ENDPOINTS)),
                alt="Latency of each endpoint from p50 to p95, with a tick at p99",
            )
    with right.container(border=True, key="distribution", height="stretch"):
        st.html(pieces.heading("Distribution", "all quantiles, by provider"))
        _draw_distribution(period, only)
    left, right = st.columns(2, gap="small")
    with left.container(border=True, key="over_time", height="stretch"):
        st.html(pieces.heading("Over time", "p50 to p95 of successful requests"))
        starts = queries.bucket_starts(period.origin, period.wall_end, period.bucket)
        by_bucket = queries.filled_traffic(sums.read_traffic(period, only), starts)
        st.altair_chart(
            charts.latency_chart(by_bucket, bucket=period.bucket),
            alt="Latency of successful requests over time, from p50 to p95",
        )
    with right.container(border=True, key="week", height="stretch"):
        st.html(pieces.heading("Hour of week", f"p95 of successful requests, {period.zone}"))
        cells = queries.hours_of_week(sums.read_hours(period, only), _ENOUGH)
        if cells.is_empty():
            st.caption(f"No hour of the week has {_ENOUGH} requests yet.")
        else:
            st.altair_chart(
                speed_charts.week_chart(cells), alt="p95 latency by hour of day and day of week"
            )
    with st.container(border=True, key="table"):
        st.html(pieces.heading("All endpoints", "successful attempts"))
        st.html(pieces.table(_COLUMNS, _rows(table)))


def _cards(requests: pl.DataFrame, attempts: pl.DataFrame) -> list[Card]:
    whole = requests.filter(pl.col("at").is_null())

    def of(frame: pl.DataFrame, metric: str, share: float) -> float | None:
        chosen = frame.filter(pl.col("metric") == metric)
        return queries.percentiles(chosen, (), {"value": share})["value"].item()

    speed = of(attempts, "speed", 0.5)
    return [
        Card(label="p50", value=numbers.duration(of(whole, "request", 0.5)), note="of requests"),
        Card(label="p95", value=numbers.duration(of(whole, "request", 0.95)), note="of requests"),
        Card(
            label="First token p95",
            value=numbers.duration(of(whole, "request_ttft", 0.95)),
            note="of streams",
        ),
        Card(
            label="Output speed p50",
            value=numbers.UNKNOWN if speed is None else f"{speed:.0f} tokens/s",
            note="of attempts",
        ),
        Card(
            label="Gateway overhead p95",
            value=numbers.duration(of(whole, "overhead", 0.95)),
            note=f"p50 {numbers.duration(of(whole, 'overhead', 0.5))}",
        ),
    ]


def _draw_distribution(period: Period, only: Narrowing) -> None:
    histogram = sums.read_histogram(period, ("attempt",), only, by="provider")
    curve = queries.quantile_curve(histogram, _CURVE, _ENOUGH)
    if curve.is_empty():
        st.caption(f"No provider has answered {_ENOUGH} times in the {period.words}.")
        return
    most = queries.busiest(histogram, "provider", OTHER_SLOT)
    curve = curve.filter(pl.col("provider").is_in(most))
    st.altair_chart(
        speed_charts.quantile_chart(curve, slots(most)), alt="Latency at every quantile by provider"
    )


def _rows(table: pl.DataFrame) -> list[Row]:
    return [
        Row(
            cells=(
                Cell(text=row["endpoint"], sub=f"{numbers.count(row['samples'])} attempts"),
                *(
                    Cell(
                        text=numbers.duration(row[name])
                        if row["samples"] >= _ENOUGH
                        else numbers.UNKNOWN
                    )
                    for name in _SHARES
                ),
                Cell(text=numbers.duration(row["ttft_p95"])),
                Cell(text=numbers.UNKNOWN if row["speed"] is None else f"{row['speed']:.0f}"),
                Cell(text=numbers.duration(row["before_p95"])),
            )
        )
        for row in table.iter_rows(named=True)
    ]
