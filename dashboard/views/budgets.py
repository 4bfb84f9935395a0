"""Budgets: the nearest to its end first, how each burns down, and what happened to it."""

import time
from datetime import UTC, datetime
from decimal import Decimal

import polars as pl
import streamlit as st

from dashboard import budget_chart, budget_words, burn_down, numbers, operator_source, pieces
from dashboard.admin import AdminError
from dashboard.admin_answers import AuditPage, Budgets, BudgetView
from dashboard.admin_states import admin, lacks
from dashboard.budget_words import Holder
from dashboard.pieces import Cell, Column, Row
from dashboard.views import budgets_change

_CHOSEN = "budget"
_NOT_FOUND = 404
_MOST_ROWS = 50
_MOST_EVENTS = 15

_COLUMNS = (
    Column(name="Budget", hint="The tick is where an even pace would be by now."),
    Column(name="Of"),
    Column(name="Spent", is_number=True, hint="In the window of now, by what is recorded."),
    Column(name="Limit", is_number=True),
    Column(name="Outlook", hint="At the pace of the last hours or days."),
    Column(name="Then"),
)
_EVENT_COLUMNS = (Column(name="When"), Column(name="What"), Column(name="By"))


def render(zone: str) -> None:
    """Draw budgets below the keys; nothing where the gateway knows none."""
    try:
        found = admin().get("/admin/budgets", Budgets).data
    except AdminError as error:
        if error.status == _NOT_FOUND:
            return
        raise
    now = datetime.fromtimestamp(time.time(), UTC).replace(second=0, microsecond=0)
    keys = budget_words.all_holders(operator_source.read_key_labels()) if found else ()
    ranked = sorted(found, key=budget_words.danger)
    holders = {one.name: budget_words.holders(one, keys) for one in ranked[:_MOST_ROWS]}
    with st.container(border=True, key="budgets"):
        with st.container(horizontal=True, vertical_alignment="center"):
            st.html(
                pieces.heading(
                    "Budgets",
                    f"the nearest to its end first; windows begin in UTC, shown in {zone}",
                )
            )
            why_not = lacks("operator")
            st.button(
                "New budget",
                key="new_budget",
                icon=":material/savings:",
                disabled=why_not is not None,
                help=why_not,
                on_click=budgets_change.open_new,
            )
        if not found:
            st.caption("No budget limits anybody yet.")
        else:
            rows = [
                _row(one, _outlook(one, holders[one.name], now), keys, now, zone)
                for one in ranked[:_MOST_ROWS]
            ]
            st.html(pieces.table(_COLUMNS, rows))
            if len(ranked) > _MOST_ROWS:
                st.caption(f"and {len(ranked) - _MOST_ROWS} more, farther from their ends")
    if found:
        _render_one(ranked, keys, now, zone)
    budgets_change.render(found)


def _outlook(budget: BudgetView, holders: frozenset[str], now: datetime) -> budget_words.Outlook:
    begins = budget_words.paced_from(budget, now)
    found = operator_source.read_key_spend(begins, now)
    spent: dict[str, Decimal | None] = dict(zip(found["key_id"], found["cost_usd"], strict=True))
    return budget_words.outlook(budget, budget_words.spend_of(spent, holders), now)


def _row(
    budget: BudgetView,
    outlook: budget_words.Outlook,
    keys: tuple[Holder, ...],
    now: datetime,
    zone: str,
) -> Row:
    words, tone = budget_words.outlook_words(budget, outlook, zone)
    share = budget_words.spent_share(budget)
    pace = outlook.usd_per_day
    every = "in all" if budget.period == "total" else f"each {budget.period}"
    return Row(
        cells=(
            Cell(
                text=budget.name,
                sub=every,
                bar=share,
                bar_tone=budget_words.bar_tone(share),
                bar_mark=budget_words.even_share(budget, now),
                hint=f"{numbers.usd_exact(budget.spent_usd)} of "
                f"{numbers.usd_exact(budget.limit_usd)}",
                wraps=True,
            ),
            Cell(text=budget_words.whose(budget, keys), wraps=True),
            Cell(text=numbers.usd(budget.spent_usd), sub=budget_words.share_words(share)),
            Cell(
                text=numbers.usd(budget.limit_usd),
                sub=f"resets {numbers.when(budget.resets_at, zone)}" if budget.resets_at else "",
            ),
            Cell(
                text=words,
                tone=tone,
                is_chip=True,
                sub=f"{numbers.usd(pace)} a day of late" if pace else "",
            ),
            Cell(
                text=budget_words.MODES[budget.mode],
                sub="by the longest possible answer" * budget.strict,
            ),
        )
    )


def _render_one(
    ranked: list[BudgetView], keys: tuple[Holder, ...], now: datetime, zone: str
) -> None:
    left, right = st.columns([1.4, 1], gap="small")
    with left.container(border=True, key="burn_down", height="stretch"):
        with st.container(horizontal=True, vertical_alignment="center"):
            chosen = st.selectbox(
                "Burn-down of",
                [one.name for one in ranked],
                key=_CHOSEN,
                label_visibility="collapsed",
                width=320,
            )
            budget = next((one for one in ranked if one.name == chosen), ranked[0])
            why_not = lacks("operator")
            st.button(
                "Edit",
                key="edit_budget",
                icon=":material/edit:",
                disabled=why_not is not None,
                help=why_not,
                on_click=budgets_change.open_one,
                args=(budget.id,),
            )
        _draw_burn_down(budget, keys, now, zone)
    with right.container(border=True, key="budget_events", height="stretch"):
        _render_events(budget, zone)


def _draw_burn_down(budget: BudgetView, keys: tuple[Holder, ...], now: datetime, zone: str) -> None:
    holders = budget_words.holders(budget, keys)
    start = budget_words.drawn_from(budget, now)
    spend = operator_source.read_spend_over_time(
        start,
        now,
        budget_words.grain_of(start, now),
        None if budget.everyone else tuple(sorted(holders)),
    )
    outlook = _outlook(budget, holders, now)
    points = burn_down.burn_down(budget, spend, outlook, now)
    left = f"{numbers.usd(budget.remaining_usd)} of {numbers.usd(budget.limit_usd)} left"
    words, _ = budget_words.outlook_words(budget, outlook, zone)
    st.html(pieces.heading("Burn-down", f"{left}, {words}{_expected(points)}"))
    st.altair_chart(
        budget_chart.burn_down_chart(points, float(budget.limit_usd), zone),
        alt=f"What is left of the budget over time: {left}, {words}",
    )


def _expected(points: pl.DataFrame) -> str:
    """What the dashed line is, and its band where there is one."""
    expected = points.filter(pl.col("part") == burn_down.FORECAST)
    if expected.is_empty():
        return ""
    has_band = (expected["low_usd"] != expected["high_usd"]).any()
    return "; dashed: at the pace of late" + ", the band holds four of five futures" * has_band


def _render_events(budget: BudgetView, zone: str) -> None:
    st.html(pieces.heading("Events", zone))
    entries = admin().get("/admin/audit", AuditPage, subject=budget.name, limit=_MOST_EVENTS).data
    windows = operator_source.read_budget_windows(budget.name)
    events = budget_words.events(budget, entries, windows)[:_MOST_EVENTS]
    rows = [
        Row(
            cells=(
                Cell(text=numbers.when_to_minute(event.at, zone)),
                Cell(text=event.words, tone=event.tone, is_chip=bool(event.tone), wraps=True),
                Cell(text=event.actor, wraps=True),
            )
        )
        for event in events
    ]
    if rows:
        st.html(pieces.table(_EVENT_COLUMNS, rows))
    else:
        st.caption("Nothing happened to it yet.")
