"""What somebody should look at, below the Overview and only when it is true."""

from datetime import datetime
from decimal import Decimal

import polars as pl
import streamlit as st

from dashboard import links, notice_source, numbers, pieces, queries
from dashboard.budget_words import WARN_SHARE
from dashboard.pieces import Cell, Column, Row

_NUSD = Decimal("0.000000001")
_SHOWN = 5
_COLUMNS = (Column(name="What"), Column(name="How much", is_number=True))


def render(money: queries.Spend, now: datetime, zone: str) -> None:
    """Draw what is true now; nothing when all is well.

    Args:
        money: of the period that is shown.
        now: aware.
        zone: for times.
    """
    unpriced = _unpriced(money)
    budgets = _budgets(notice_source.read_budgets(now))
    breakers = _breakers(notice_source.read_breakers(now), zone)
    proposals = _proposals(notice_source.read_open_proposals())
    rows = [*unpriced, *budgets, *breakers, *proposals]
    if not rows:
        return
    with st.container(border=True, key="notices"):
        st.html(pieces.heading("To look at"))
        st.html(pieces.table(_COLUMNS, rows))
        with st.container(horizontal=True, key="notice_links"):
            if unpriced or proposals:
                links.draw("prices", "Prices")
            if budgets:
                links.draw("keys", "Keys and budgets")
            if breakers:
                links.draw("reliability", "Reliability")


def _unpriced(money: queries.Spend) -> list[Row]:
    if not money.unpriced:
        return []
    return [
        _row(
            "Traffic without a known price",
            f"{numbers.count(money.unpriced)} attempts",
            f"{numbers.share(queries.ratio(money.unpriced, money.billable))} of what was billed",
        )
    ]


def _budgets(found: pl.DataFrame) -> list[Row]:
    rows: list[Row] = []
    for one in found.iter_rows(named=True):
        share = one["spent_nusd"] / one["limit_nusd"] if one["limit_nusd"] else 1.0
        if share < WARN_SHARE:
            continue
        spent, limit = (one[name] * _NUSD for name in ("spent_nusd", "limit_nusd"))
        rows.append(
            _row(
                f"Budget {one['name']}",
                numbers.share(min(share, 9.99)),
                f"{numbers.usd(spent)} of {numbers.usd(limit)} {_each(one['period'])}",
                tone="bad" if share >= 1 else "warn",
            )
        )
    return rows


def _breakers(found: pl.DataFrame, zone: str) -> list[Row]:
    rows: list[Row] = []
    for one in found.head(_SHOWN).iter_rows(named=True):
        until = f"until {numbers.when(one['until'], zone)}" if one["until"] else ""
        because = (one["reason"] or "").replace("_", " ")
        rows.append(
            _row(
                one["endpoint"] or one["provider"],
                "breaker open" if one["state"] == "open" else "resting",
                ", ".join(filter(None, (because, until))),
                tone="bad" if one["state"] == "open" else "warn",
            )
        )
    if found.height > _SHOWN:
        rows.append(_row(f"and {found.height - _SHOWN} more endpoints", "left alone", ""))
    return rows


def _proposals(count: int) -> list[Row]:
    if not count:
        return []
    what = "One proposed price" if count == 1 else f"{numbers.count(count)} proposed prices"
    return [_row(what, "to decide", "from imported price lists")]


def _row(what: str, how_much: str, details: str, *, tone: str = "") -> Row:
    return Row(
        cells=(
            Cell(text=what, sub=details, wraps=True),
            Cell(text=how_much, tone=tone, is_chip=bool(tone)),
        )
    )


def _each(period: str) -> str:
    return "in all" if period == "total" else f"this {period}" if period != "day" else "today"
