"""What one request cost: every meter of every attempt, at which price, to the last digit."""

from decimal import Decimal
from typing import Any

import polars as pl
import streamlit as st

from dashboard import numbers, pieces, queries, words
from dashboard.pieces import Cell, Column, Row
from gateway.storage.tables import cost_column
from pricing.price import STANDARD_SERVICE_TIERS
from pricing.usage import METERS

_USUAL = STANDARD_SERVICE_TIERS | {None, "global"}
_METER_COLUMNS = tuple((meter, cost_column(meter)) for meter in METERS)

_COST_COLUMNS = (
    Column(name="Meter"),
    Column(name="Quantity", is_number=True),
    Column(name="per M", is_number=True),
    Column(name="Cost", is_number=True),
)


def render(
    request: dict[str, Any],
    attempts: list[dict[str, Any]],
    adjustments: pl.DataFrame,
    zone: str,
) -> None:
    """Draw what a request cost; its lines and corrections add up to the total.

    Args:
        request: a row of `schemas.REQUEST`, corrected.
        attempts: its rows of `schemas.ATTEMPTS`, corrected, with ``recorded_usd``.
        adjustments: `schemas.ADJUSTMENTS`.
        zone: for times.
    """
    st.html(pieces.heading("Cost", _price_words(attempts)))
    rows = [row for one in attempts for row in _cost_rows(one, is_named=len(attempts) > 1)]
    rows += [_correction(one, zone) for one in adjustments.iter_rows(named=True)]
    status = "" if _is_known_since(request) else words.cost_status(request["cost_status"])
    rows.append(_sum_row("Total", request["cost_usd"], kind="total", sub=status))
    wasted = [one["cost_usd"] for one in attempts if one["outcome"] != "success"]
    if wasted:
        known = None if None in wasted else sum(wasted, Decimal(0))
        rows.append(_sum_row("of it on failed attempts", known, kind="quiet"))
    st.html(pieces.table(_COST_COLUMNS, rows))


def _correction(one: dict[str, Any], zone: str) -> Row:
    was = numbers.usd_exact(one["old_cost_usd"])
    return Row(
        cells=(
            Cell(
                text=f"corrected on {numbers.when(one['recorded_at'], zone)}",
                sub=f"attempt {one['number']}: {one['reason']}, by {one['recorded_by']}",
                wraps=True,
            ),
            Cell(text=""),
            Cell(text=one["price_version"] or "", wraps=True),
            Cell(
                text=f"{'+' if one['difference_usd'] > 0 else ''}"
                f"{numbers.usd_exact(one['difference_usd'])}",
                sub=f"{was} → {numbers.usd_exact(one['new_cost_usd'])}",
            ),
        )
    )


def _sum_row(text: str, usd: Decimal | None, *, kind: str, sub: str = "") -> Row:
    return Row(
        cells=(
            Cell(text=text, sub=sub),
            Cell(text=""),
            Cell(text=""),
            Cell(text=numbers.usd_exact(usd)),
        ),
        kind=kind,
    )


def _is_known_since(request: dict[str, Any]) -> bool:
    return request["cost_usd"] is not None and request["cost_status"] == "unpriced"


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
    if attempt["recorded_usd"] is None:
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
                        text=numbers.usd_exact(attempt["recorded_usd"]),
                        sub=f"ours {numbers.usd_exact(attempt['computed_cost_usd'])}",
                    ),
                ),
            )
        )
    return rows


def _price_words(attempts: list[dict[str, Any]]) -> str:
    versions = [one["price_version"] for one in attempts if one["price_version"]]
    if not versions:
        return "no price was applied"
    # Beside the version, prices may depend on these.
    told = [*_unusual(attempts, "service_tier"), *_unusual(attempts, "served_region")]
    return ", ".join([f"price {', '.join(dict.fromkeys(versions))}", *told])


def _unusual(attempts: list[dict[str, Any]], name: str) -> list[str]:
    return list(dict.fromkeys(one[name] for one in attempts if one[name] not in _USUAL))
