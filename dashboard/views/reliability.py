"""Reliability: what failed, where requests went instead, and what that cost."""

from collections.abc import Callable
from functools import partial

import polars as pl
import streamlit as st

from dashboard import (
    ahead,
    exports,
    histograms,
    links,
    numbers,
    pieces,
    queries,
    reliability_charts,
    reliability_queries,
    reliability_sums,
    states,
    sums,
    timeline,
    words,
)
from dashboard.filters import chosen_narrowing
from dashboard.looks import OTHER_SLOT
from dashboard.narrowing import Narrowing
from dashboard.palette import slots
from dashboard.periods import Period
from dashboard.pieces import Cell, Column, Row
from dashboard.views import reliability_errors
from dashboard.views.reliability_cards import NOTHING, Success, cards

_ROWS = 12
_ENOUGH = 20
_WORRYING = 0.05
_NOT_THERE = "Fallbacks are kept by provider, not by model, key or label."
_PROVIDER_COLUMNS = (
    Column(name="Provider"),
    Column(name="Failed", is_number=True, hint="Of its attempts; below: against the period before"),
    Column(
        name="Fell back",
        is_number=True,
        hint="Of the requests tried here first, those that another provider answered.",
    ),
    Column(name="Attempts", is_number=True),
)
_REASON_COLUMNS = (
    Column(name="Because"),
    Column(name="Attempts", is_number=True, hint="That failed before another endpoint answered."),
    Column(name="Rescued", is_number=True, hint="Requests tried there first, and answered."),
    Column(name="Added", is_number=True, hint="Time that was lost, per attempt."),
    Column(name="Cost", is_number=True, hint="Of the failed attempts."),
)


def render(period: Period) -> None:
    """Draw the page."""
    only = chosen_narrowing()
    with ahead.reading(*_reads(period, only)):
        _draw(period, only)


def _reads(period: Period, only: Narrowing) -> list[Callable[[], object]]:
    both = (period, period.before) if period.is_compared else (period,)
    reads: list[Callable[[], object]] = [
        *(partial(sums.read_counts, of, only) for of in both),
        *(partial(sums.read_provider_counts, of, only) for of in both),
        # Examples need the classes first, so that they would come last.
        partial(reliability_errors.read, period, only),
    ]
    if not _is_beyond_fallbacks(only):
        reads.append(partial(sums.read_fallbacks, period, only))
    if only.has_latency:
        reads.append(partial(_read_waited, period, only))
    return [*reads, partial(reliability_sums.read_health, period, only.providers)]


def _read_waited(period: Period, only: Narrowing) -> pl.DataFrame:
    return histograms.read_histogram(period, ("added",), only)


def _draw(period: Period, only: Narrowing) -> None:
    traffic, attempts = sums.read_counts(period, only), sums.read_provider_counts(period, only)
    totals = queries.total_traffic(traffic)
    if totals.requests == 0 and attempts.is_empty():
        states.show_empty(period)
        return
    fallbacks = None if _is_beyond_fallbacks(only) else sums.read_fallbacks(period, only)
    before = (
        sums.read_provider_counts(period.before, only) if period.is_compared else attempts.clear()
    )
    starts = queries.bucket_starts(period.origin, period.wall_end, period.bucket)
    rates = reliability_queries.success_over_time(traffic, attempts, starts)
    past = NOTHING
    if period.is_compared:
        past = Success(
            requests=queries.total_traffic(sums.read_counts(period.before, only)),
            attempts=queries.attempt_success(before),
        )
    now = Success(requests=totals, attempts=queries.attempt_success(attempts))
    waited = _read_waited(period, only) if only.has_latency else None
    st.html(pieces.cards(cards(now, past, rates, waited=waited, fallbacks=fallbacks)))
    left, right = st.columns(2, gap="small")
    with left.container(border=True, key="success", height="stretch"):
        st.html(pieces.heading("Success", legend=(("requests", "good"), ("attempts", "warn"))))
        st.altair_chart(
            reliability_charts.success_chart(rates, bucket=period.bucket),
            alt="The share of requests and of attempts that succeeded over time",
        )
    with right.container(border=True, key="failing", height="stretch"):
        st.html(pieces.heading("Providers", "failed, of attempts; fell back, of requests"))
        _draw_providers(attempts, before)
    left, right = st.columns(2, gap="small")
    with left.container(border=True, key="matrix", height="stretch"):
        st.html(pieces.heading("From → to", "failed at, down; served by, across"))
        _draw_matrix(fallbacks, period)
    with right.container(border=True, key="reasons", height="stretch"):
        st.html(pieces.heading("Reasons", "why requests fell back"))
        _draw_reasons(fallbacks, period)
    with st.container(border=True, key="timeline"):
        _draw_timeline(period, only)
    with st.container(border=True, key="errors"):
        reliability_errors.draw(period, only)


def _is_beyond_fallbacks(only: Narrowing) -> bool:
    return bool(only.models or only.keys or only.labels)


def _draw_providers(attempts: pl.DataFrame, before: pl.DataFrame) -> None:
    table = reliability_queries.failing_providers(attempts, before)
    colours = slots(table["provider"])
    most = max((rate or 0 for rate in table["failed_rate"]), default=0) or 1
    rows = [
        Row(
            cells=(
                Cell(
                    text=row["provider"],
                    slot=colours.get(row["provider"], OTHER_SLOT),
                    bar=(row["failed_rate"] or 0) / most,
                ),
                Cell(
                    text=numbers.share(row["failed_rate"]),
                    sub=numbers.points(row["failed_moved"]),
                    tone=_worry(row["failed_rate"], row["judged"]),
                    hint=f"{numbers.count(row['failed'])} of {numbers.count(row['judged'])} "
                    "attempts, without those that the caller gave up",
                ),
                Cell(
                    text=numbers.share(row["fallback_rate"]),
                    sub=numbers.points(row["fallback_moved"]),
                    tone=_worry(row["fallback_rate"], row["first_tried"]),
                    hint=f"{numbers.count(row['served_elsewhere'] or 0)} of "
                    f"{numbers.count(row['first_tried'] or 0)} requests",
                ),
                Cell(text=numbers.count(row["attempts"])),
            )
        )
        for row in table.head(_ROWS).iter_rows(named=True)
    ]
    st.html(pieces.table(_PROVIDER_COLUMNS, rows))
    exports.offer("Providers", table, "failing-providers")


def _worry(rate: float | None, of: int | None) -> str:
    return "bad" if (of or 0) >= _ENOUGH and (rate or 0) > _WORRYING else ""


def _draw_matrix(fallbacks: pl.DataFrame | None, period: Period) -> None:
    if fallbacks is None:
        st.caption(_NOT_THERE)
        return
    if fallbacks.is_empty():
        st.caption(f"No request had to fall back in {words.the(period.words)}.")
        return
    matrix = reliability_queries.matrix(fallbacks)
    st.altair_chart(
        reliability_charts.matrix_chart(matrix),
        alt="Requests that failed at one provider and were served by another",
    )
    links.draw("requests", "See these requests", sets=(f"outcome:{queries.RESCUED}",))
    exports.offer("From → to", matrix, "fallbacks")


def _draw_reasons(fallbacks: pl.DataFrame | None, period: Period) -> None:
    if fallbacks is None:
        st.caption(_NOT_THERE)
        return
    if fallbacks.is_empty():
        st.caption(f"Nothing had to be rescued in {words.the(period.words)}.")
        return
    rows = [
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
    st.html(pieces.table(_REASON_COLUMNS, rows))


def _draw_timeline(period: Period, only: Narrowing) -> None:
    what = f"what routing left out, {period.zone}"
    if _is_beyond_fallbacks(only):
        what += "; of all models, keys and labels"
    st.html(pieces.heading("Breakers and cool-downs", what))
    changes = reliability_sums.read_health(period, only.providers)
    found = timeline.intervals(changes, period)
    if found.is_empty():
        st.caption(f"No breaker opened and nothing had to rest in {words.the(period.words)}.")
        return
    lanes = timeline.worst_lanes(found)
    shown = lanes[: timeline.MOST_LANES]
    st.altair_chart(
        reliability_charts.timeline_chart(timeline.bars(found, shown, period), shown, period),
        alt=f"When breakers were open and endpoints rested; the worst is {shown[0]}",
    )
    notes: list[str] = []
    if len(lanes) > len(shown):
        notes.append(f"{len(lanes) - len(shown)} more had shorter troubles.")
    if changes.height == reliability_sums.MOST_CHANGES:
        earliest = numbers.when(changes["at"][0], period.zone)
        notes.append(f"Of very many changes, those since {earliest} are shown.")
    if notes:
        st.caption(" ".join(notes))
    exports.offer("Breakers and cool-downs", found, "health")
