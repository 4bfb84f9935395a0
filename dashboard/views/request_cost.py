"""What one request cost: every meter of every attempt, at which price, to the last digit."""

from decimal import Decimal
from typing import Any

import streamlit as st

from dashboard import numbers, pieces, queries, words
from dashboard.pieces import Cell, Column, Row
from gateway.storage.tables import cost_column
from pricing.usage import METERS

_METER_COLUMNS = tuple((meter, cost_column(meter)) for meter in METERS)

_COST_COLUMNS = (
    Column(name="Meter"),
    Column(name="Quantity", is_number=True),
    Column(name="per M", is_number=True),
    Column(name="Cost", is_number=True),
)


def render(request: dict[str, Any], attempts: list[dict[str, Any]]) -> None:
    """Draw the cost of a row of `schemas.REQUEST`, from its rows of `schemas.ATTEMPTS`."""
    st.html(pieces.heading("Cost", _price_words(attempts)))
    rows = [row for one in attempts for row in _cost_rows(one, is_named=len(attempts) > 1)]
    rows.append(
        Row(
            cells=(
                Cell(text="Total", sub=words.cost_status(request["cost_status"])),
                Cell(text=""),
                Cell(text=""),
                Cell(text=numbers.usd_exact(request["cost_usd"])),
            ),
            kind="total",
        )
    )
    wasted = [one["cost_usd"] for one in attempts if one["outcome"] != "success"]
    if wasted:
        known = None if None in wasted else sum(wasted, Decimal(0))
        rows.append(
            Row(
                cells=(
                    Cell(text="of it on failed attempts"),
                    Cell(text=""),
                    Cell(text=""),
                    Cell(text=numbers.usd_exact(known)),
                ),
                kind="quiet",
            )
        )
    st.html(pieces.table(_COST_COLUMNS, rows))


def _cost_rows(attempt: dict[str, Any], *, is_named: bool) -> list[Row]:
    name = f"{attempt['number']} {attempt['endpoint']}" if is_named else ""
    rows = [
        Row(
            cells=(
                Cell(text=words.meter(line.meter), sub=name, wraps=True),
                Cell(text=f"{line.quantity:,}" if line.quantity is not None else numbers.UNKNOWN),
                Cell(text=numbers.usd_per_mtok(line.usd_per_mtok)),
                Cell(text=numbers.usd_exact(line.cost_usd)),
            )
        )
        for line in queries.cost_lines(attempt, _METER_COLUMNS)
    ]
    if attempt["cost_usd"] is None:
        rows += [
            Row(
                cells=(
                    Cell(text=words.meter(meter), sub=name, wraps=True),
                    Cell(text=f"{quantity:,}"),
                    Cell(text=numbers.UNKNOWN),
                    Cell(text=numbers.UNKNOWN),
                )
            )
            for meter, quantity in queries.unpriced_meters(attempt, _METER_COLUMNS)
        ]
    if attempt["cost_source"] == "provider_reported":
        rows.append(
            Row(
                cells=(
                    Cell(text="the provider's own figure", sub=name, wraps=True),
                    Cell(text=""),
                    Cell(text=""),
                    Cell(
                        text=numbers.usd_exact(attempt["cost_usd"]),
                        sub=f"ours {numbers.usd_exact(attempt['computed_cost_usd'])}",
                    ),
                ),
            )
        )
    return rows


def _price_words(attempts: list[dict[str, Any]]) -> str:
    versions = [one["price_version"] for one in attempts if one["price_version"]]
    return f"price {', '.join(dict.fromkeys(versions))}" if versions else "no price was applied"
