"""Why spend changed against the period before, and what failed attempts cost."""

from collections.abc import Callable, Iterable
from decimal import Decimal
from functools import partial
from typing import Any

import polars as pl
import streamlit as st

from dashboard import effects, exports, money_charts, numbers, pieces, queries, sums, words
from dashboard.narrowing import Narrowing
from dashboard.periods import Period
from dashboard.pieces import Cell, Column, Row

PARTS = ("provider", "model", "endpoint", "key", "outcome")
_ROWS = 8
_WASTE_COLUMNS = (
    Column(name="Provider"),
    Column(name="Because"),
    Column(name="Attempts", is_number=True),
    Column(name="Cost", is_number=True),
)
_STEPS = {
    "name": pl.String,
    "from_usd": pl.Decimal(38, 12),
    "to_usd": pl.Decimal(38, 12),
    "label": pl.String,
    "kind": pl.String,
}


def reads(period: Period, only: Narrowing) -> list[Callable[[], object]]:
    """What `draw_change` and `draw_waste` ask for."""
    both = (period, period.before) if period.is_compared else (period,)
    return [partial(read_parts, of, only) for of in both]


def read_parts(period: Period, only: Narrowing) -> pl.DataFrame:
    """`schemas.ATTEMPT_SUMS` of the whole period by all of `PARTS`, for whoever adds them up."""
    return sums.read_attempt_totals(PARTS, period, only)


def draw_change(period: Period, only: Narrowing, money: queries.Spend) -> None:
    """The bridge from the period before.

    Args:
        period: what is shown.
        only: which part of the traffic.
        money: what was spent in it.
    """
    if not period.is_compared:
        st.caption("Comparison with the period before is switched off under Filters.")
        return
    change = effects.explain(
        _effects_of(read_parts(period, only)),
        _effects_of(read_parts(period.before, only)),
    )
    if change is None:
        st.caption("There is nothing in the period before to compare with.")
        return
    st.altair_chart(
        money_charts.bridge_chart(_bridge(change)),
        alt="What was spent before, what is spent now, and the effects between them",
    )
    left_out = (
        f" {numbers.count(money.unpriced)} attempts without a known price are left out."
        if money.unpriced
        else ""
    )
    difference = numbers.usd_change(change.now_usd - change.before_usd)
    st.caption(
        f"Explains {pieces.as_markdown(difference)}. Volume: more or fewer served attempts. Mix: "
        "other endpoints. Size: longer prompts and answers. Cache: more or less of the prompt from "
        f"cache. Waste: failed attempts.{left_out}"
    )


def draw_waste(period: Period, only: Narrowing) -> None:
    """Failed attempts that cost something, by provider and error, the dearest first."""
    found = queries.waste(queries.summed(read_parts(period, only), ("provider", "outcome")))
    if found.is_empty():
        st.caption(f"No failed attempt cost anything in {words.the(period.words)}.")
        return
    rows = [
        Row(
            cells=(
                Cell(text=row["provider"]),
                Cell(text=words.outcome(row["outcome"])),
                Cell(text=numbers.count(row["attempts"])),
                Cell(
                    text=numbers.usd_sum(row["cost_usd"], is_complete=not row["unpriced"]),
                    hint=numbers.usd_exact(row["cost_usd"]),
                ),
            )
        )
        for row in found.head(_ROWS).iter_rows(named=True)
    ]
    st.html(pieces.table(_WASTE_COLUMNS, rows))
    exports.offer("Waste", found, "waste")


def _effects_of(parts: pl.DataFrame) -> Iterable[dict[str, Any]]:
    return queries.summed(parts, effects.DIMENSIONS).iter_rows(named=True)


def _bridge(change: effects.Change) -> pl.DataFrame:
    rows: list[dict[str, Any]] = [_sum_row("Before", change.before_usd)]
    at = change.before_usd
    for name, effect in change.effects.items():
        rows.append(
            {
                "name": name.capitalize(),
                "from_usd": at,
                "to_usd": at + effect,
                "label": numbers.usd_change(effect),
                "kind": "less" if effect < 0 else "more",
            }
        )
        at += effect
    rows.append(_sum_row("Now", change.now_usd))
    return pl.DataFrame(rows, schema=_STEPS)


def _sum_row(name: str, amount: Decimal) -> dict[str, Any]:
    return {
        "name": name,
        "from_usd": amount,
        "to_usd": amount,
        "label": numbers.usd(amount),
        "kind": "sum",
    }
