"""The classes of failures: how often each came, since when, and the latest request of it."""

from datetime import datetime
from typing import Any
from urllib.parse import urlencode

import polars as pl
import streamlit as st

from dashboard import (
    exports,
    numbers,
    pieces,
    queries,
    reliability_queries,
    reliability_sums,
    words,
)
from dashboard.narrowing import Narrowing
from dashboard.palette import slots
from dashboard.periods import Period
from dashboard.pieces import Cell, Column, Row

_ROWS = 12
_COLUMNS = (
    Column(name="Error"),
    Column(name="Provider"),
    Column(name="Attempts", is_number=True),
    Column(name="Share", is_number=True, hint="Of the provider's attempts."),
    Column(name="Rescued", is_number=True, hint="Their request was answered all the same."),
    Column(name="Cost", is_number=True),
    Column(name="First seen"),
    Column(name="Last seen"),
    Column(name="Latest", hint="The latest request of this kind, where it is still kept."),
)


def read(period: Period, only: Narrowing) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Every class of failures, and examples of those that are shown."""
    table = reliability_queries.error_classes(reliability_sums.read_errors(period, only))
    classes = tuple(
        (row["provider"], row["outcome"], row["first_at"], row["last_at"])
        for row in table.head(_ROWS).iter_rows(named=True)
    )
    return table, reliability_sums.read_examples(classes, period, only)


def draw(period: Period, only: Narrowing) -> None:
    """Draw the card's inside."""
    st.html(pieces.heading("Error classes", "of attempts, without those that callers gave up"))
    table, found = read(period, only)
    if table.is_empty():
        st.caption(f"No attempt failed in {words.the(period.words)}.")
        return
    shown = table.head(_ROWS)
    exact: dict[tuple[str, str, bool], dict[str, Any]] = {
        (row["provider"], row["outcome"], row["is_last"]): row
        for row in found.iter_rows(named=True)
    }
    colours = slots(shown["provider"].unique())
    rows = [
        Row(
            cells=(
                Cell(text=words.outcome(row["outcome"])),
                Cell(text=row["provider"], slot=colours[row["provider"]]),
                Cell(text=numbers.count(row["attempts"])),
                Cell(text=numbers.share(row["share"])),
                Cell(text=numbers.count(row["rescued"])),
                Cell(
                    text=numbers.usd_sum(row["cost_usd"], is_complete=not row["unpriced"]),
                    hint=numbers.usd_exact(row["cost_usd"]),
                ),
                *_seen(
                    row,
                    exact.get((row["provider"], row["outcome"], False)),
                    exact.get((row["provider"], row["outcome"], True)),
                    period.zone,
                ),
            )
        )
        for row in shown.iter_rows(named=True)
    ]
    st.html(pieces.table(_COLUMNS, rows))
    if table.height > shown.height:
        st.caption(f"{table.height - shown.height} more are rarer; the export has them all.")
    exports.offer("Error classes", table, "error-classes")


def _seen(
    row: dict[str, Any], first: dict[str, Any] | None, last: dict[str, Any] | None, zone: str
) -> tuple[Cell, ...]:
    """When it came first and last, to the minute where the rows are still there, and the latter."""
    times = (
        _at(one["started_at"], zone)
        if one
        else Cell(text=f"~{numbers.NBSP}{numbers.when(at, zone)}")
        for one, at in ((first, row["first_at"]), (last, row["last_at"]))
    )
    if last is None:
        return (*times, Cell(text=numbers.UNKNOWN, hint="Its rows are not kept any more."))
    # What is filtered stays in the address, so that the way back leads here.
    request_id: str = queries.generation_id(last["request_id"])
    chosen = {name: st.query_params.get_all(name) for name in st.query_params}
    query = urlencode(chosen | {"id": [request_id]}, doseq=True)
    link = Cell(text=f"…{request_id[-8:]}", href=f"/requests?{query}", hint=request_id)
    return (*times, link)


def _at(at: datetime, zone: str) -> Cell:
    return Cell(text=numbers.when(at, zone), hint=numbers.when_exactly(at, zone))
