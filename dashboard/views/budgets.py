"""Budgets: what is spent of each, when it will be gone at the pace of late, and changing them."""

import time
from datetime import UTC, datetime
from decimal import Decimal, InvalidOperation
from typing import Any
from urllib.parse import quote

import polars as pl
import streamlit as st

from dashboard import budget_chart, budget_words, numbers, operator_source, pieces
from dashboard.admin import AdminError
from dashboard.admin_answers import Budgets, BudgetView, Key
from dashboard.admin_states import admin, note, show_refusal
from dashboard.pieces import Cell, Column, Row
from dashboard.views.keys_create import parse_labels

_CHOSEN = "budget"
_REFUSAL = "budget_refusal"
_EVERYONE, _LABELS, _KEY = "every key", "keys with labels", "one key"
_PERIODS = ("day", "week", "month", "total")
_NOT_FOUND = 404

_COLUMNS = (
    Column(name="Budget"),
    Column(name="Of"),
    Column(name="Spent", is_number=True, hint="In the window of now, by what is recorded."),
    Column(name="Limit", is_number=True),
    Column(name="Outlook", hint="At the pace of the last hours or days."),
    Column(name="Then"),
)


def render(keys: tuple[Key, ...], zone: str) -> None:
    """Draw budgets below the keys; nothing where the gateway knows none."""
    try:
        found = admin().get("/admin/budgets", Budgets).data
    except AdminError as error:
        if error.status == _NOT_FOUND:
            return
        raise
    now = datetime.fromtimestamp(time.time(), UTC).replace(second=0, microsecond=0)
    with st.container(border=True, key="budgets"):
        st.html(
            pieces.heading("Budgets", f"days and months begin at midnight UTC; shown in {zone}")
        )
        if found:
            spends = {one.name: _spend(one, keys, now) for one in found}
            rows = [_row(one, spends[one.name], keys, now, zone) for one in found]
            st.html(pieces.table(_COLUMNS, rows))
            _render_one(found, spends, now, zone)
        else:
            st.caption("No budget limits anybody yet.")
    left, right = st.columns([1.4, 1], gap="small")
    with left.container(border=True, key="create_budget", height="stretch"):
        _render_create(keys)
    if found:
        with right.container(border=True, key="change_budget", height="stretch"):
            _render_change(found)


def _spend(budget: BudgetView, keys: tuple[Key, ...], now: datetime) -> pl.DataFrame:
    start = budget_words.drawn_from(budget, now)
    over_time = operator_source.read_spend_over_time(start, now, budget_words.grain_of(start, now))
    return budget_words.spend_of(over_time, budget_words.holders(budget, keys))


def _row(
    budget: BudgetView, spend: pl.DataFrame, keys: tuple[Key, ...], now: datetime, zone: str
) -> Row:
    outlook = budget_words.outlook(budget, spend, now)
    words, tone = budget_words.outlook_words(budget, outlook, zone)
    share = float(budget.spent_usd / budget.limit_usd) if budget.limit_usd else 1.0
    pace = outlook.usd_per_day
    every = "in all" if budget.period == "total" else f"each {budget.period}"
    return Row(
        cells=(
            Cell(text=budget.name, sub=every, bar=share, wraps=True),
            Cell(text=budget_words.whose(budget, keys), wraps=True),
            Cell(text=numbers.usd(budget.spent_usd), sub=numbers.share(min(share, 9.99))),
            Cell(text=numbers.usd(budget.limit_usd)),
            Cell(
                text=words,
                tone=tone,
                is_chip=True,
                sub=f"{numbers.usd(pace)} a day of late" if pace else "",
            ),
            Cell(text=budget_words.MODES[budget.mode]),
        )
    )


def _render_one(
    found: tuple[BudgetView, ...], spends: dict[str, pl.DataFrame], now: datetime, zone: str
) -> None:
    names = [one.name for one in found]
    nearest = min(found, key=lambda one: one.remaining_usd / (one.limit_usd or 1)).name
    chosen = st.selectbox(
        "Burn-down of",
        names,
        index=names.index(nearest),
        key=_CHOSEN,
        label_visibility="collapsed",
    )
    budget = next((one for one in found if one.name == chosen), found[0])
    outlook = budget_words.outlook(budget, spends[budget.name], now)
    points = budget_words.burn_down(budget, spends[budget.name], outlook, now)
    left = f"{numbers.usd(budget.remaining_usd)} of {numbers.usd(budget.limit_usd)} left"
    st.html(pieces.heading("Burn-down", f"{left}; the forecast is dashed, the limit dotted"))
    st.altair_chart(
        budget_chart.burn_down_chart(points, float(budget.limit_usd), zone),
        alt=f"What is left of the budget over time: {left}",
    )


def _render_create(keys: tuple[Key, ...]) -> None:
    st.html(pieces.heading("Create a budget", "it counts what requests cost from then on"))
    whose = st.segmented_control(
        "Of",
        [_LABELS, _KEY, _EVERYONE],
        default=_LABELS,
        required=True,
        key="budget_whose",
        label_visibility="collapsed",
    )
    live = {key.kid: key for key in keys if key.revoked_at is None}
    with st.form("budget_form", border=False):
        left, right = st.columns(2)
        wish: dict[str, Any] = {
            "name": (left.text_input("Name", key="budget_name", max_chars=128) or "").strip(),
            "limit_usd": right.text_input(
                "Limit in USD", key="budget_limit", placeholder="500", max_chars=24
            ),
            "period": left.selectbox("Each", _PERIODS, index=2, key="budget_period"),
            "mode": right.selectbox(
                "When it is spent",
                list(budget_words.MODES),
                format_func=lambda mode: budget_words.MODES[mode],
                key="budget_mode",
            ),
        }
        labels = ""
        if whose == _KEY:
            wish["kid"] = st.selectbox(
                "Key",
                list(live),
                format_func=lambda kid: f"{live[kid].name} …{live[kid].last4}",
                key="budget_kid",
            )
        elif whose == _LABELS:
            labels = st.text_input(
                "Labels", key="budget_labels", placeholder="team=search", max_chars=2_000
            )
        else:
            wish["everyone"] = True
        if st.form_submit_button("Create", key="budget_create", icon=":material/savings:"):
            _create(wish, labels or "")
    refusal = st.session_state.pop(_REFUSAL, None)
    if isinstance(refusal, AdminError):
        show_refusal(refusal, key="budget_refusal_box")


def _create(wish: dict[str, Any], labels: str) -> None:
    parsed, limit = parse_labels(labels), parse_usd(wish["limit_usd"])
    if parsed is None:
        st.session_state[_REFUSAL] = AdminError(
            "The labels are no pairs.", "Write name=value, with commas between."
        )
        return
    if limit is None:
        st.session_state[_REFUSAL] = AdminError(
            "The limit is no amount.", "Write an amount in USD, such as 500 or 0.50."
        )
        return
    try:
        made = admin().post(
            "/admin/budgets", BudgetView, wish | {"labels": parsed, "limit_usd": limit}
        )
    except AdminError as error:
        st.session_state[_REFUSAL] = error
        return
    note(f"The budget {made.name} holds; every gateway process follows within a second.")
    st.rerun()


def parse_usd(text: str | None) -> Decimal | None:
    """An amount that somebody wrote; None when it is none."""
    try:
        amount = Decimal((text or "").strip().removeprefix("$").replace(",", ""))
    except InvalidOperation:
        return None
    return amount if amount.is_finite() else None


def _render_change(found: tuple[BudgetView, ...]) -> None:
    st.html(pieces.heading("Change a budget"))
    by_name = {one.name: one for one in found}
    chosen = st.selectbox(
        "Budget", list(by_name), index=None, key="budget_to_change", placeholder="Choose a budget"
    )
    if chosen is None:
        return
    limit = st.text_input(
        "New limit in USD",
        key="budget_new_limit",
        placeholder=f"{by_name[chosen].limit_usd.normalize():f}",
        max_chars=24,
    )
    amount = parse_usd(limit)
    is_sure = st.checkbox("Delete it instead; what it counted stays", key="sure_to_delete")
    with st.container(horizontal=True):
        st.button(
            "Set limit",
            key="budget_set",
            type="primary",
            disabled=amount is None or is_sure,
            on_click=_set_limit,
            args=(chosen, amount),
        )
        st.button(
            "Delete", key="budget_delete", disabled=not is_sure, on_click=_delete, args=(chosen,)
        )


def _set_limit(name: str, limit_usd: Decimal) -> None:
    try:
        admin().post(
            f"/admin/budgets/{quote(name, safe='')}/limit", BudgetView, {"limit_usd": limit_usd}
        )
    except AdminError as error:
        note(error.remedy, is_done=False)
        return
    st.session_state["budget_new_limit"] = ""
    note(f"The budget {name} has a limit of {numbers.usd(limit_usd)}.")


def _delete(name: str) -> None:
    try:
        admin().delete(f"/admin/budgets/{quote(name, safe='')}", BudgetView)
    except AdminError as error:
        note(error.remedy, is_done=False)
        return
    st.session_state["budget_to_change"] = None
    st.session_state["sure_to_delete"] = False
    note(f"The budget {name} is deleted.")
