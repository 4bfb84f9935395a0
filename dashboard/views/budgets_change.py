"""Making a budget, changing one, and taking one away: in a dialog."""

from decimal import Decimal, InvalidOperation
from typing import Any

import streamlit as st

from dashboard import budget_words, numbers, pieces
from dashboard.admin import AdminError
from dashboard.admin_answers import BudgetView, Keys, Released
from dashboard.admin_states import admin, lacks, note, say_at, show_refusal
from dashboard.views.keys_form import parse_labels

_OPEN, _REFUSAL = "budget_open", "budget_refusal"
_NEW = ""
"""Nobody's id: the dialog asks for a new one."""
_EVERYONE, _LABELS, _KEY = "every key", "keys with labels", "one key"
_PERIODS = ("day", "week", "month", "total")
_MOST_KEYS = 500
_FIELDS = ("name", "limit_usd", "labels", "kid")


def open_new() -> None:
    """For callbacks: ask what the budget should be."""
    st.session_state[_OPEN] = _NEW
    st.session_state.pop(_REFUSAL, None)


def open_one(budget_id: str) -> None:
    """For callbacks: change the budget with that id."""
    st.session_state[_OPEN] = budget_id
    st.session_state.pop(_REFUSAL, None)


def render(found: tuple[BudgetView, ...]) -> None:
    """Draw the dialog, while there is something to ask."""
    if st.session_state.get(_OPEN) is not None:
        _dialog(found)


def parse_usd(text: str | None) -> Decimal | None:
    """An amount that somebody wrote; None when it is none."""
    try:
        amount = Decimal((text or "").strip().removeprefix("$").replace(",", ""))
    except InvalidOperation:
        return None
    return amount if amount.is_finite() else None


def _close() -> None:
    for name in (_OPEN, _REFUSAL):
        st.session_state.pop(name, None)


@st.dialog("Budget", width="medium", on_dismiss=_close)
def _dialog(found: tuple[BudgetView, ...]) -> None:
    wanted = st.session_state.get(_OPEN)
    if wanted is None:
        # It was closed by its own button: the page around it changes too.
        st.rerun()
    budget = next((one for one in found if one.id == wanted), None)
    if budget is None:
        _ask_new()
    else:
        _ask_change(budget)
    refusal = st.session_state.get(_REFUSAL)
    if isinstance(refusal, AdminError) and refusal.field not in _FIELDS:
        show_refusal(refusal, key="budget_refusal_box")


def _ask_new() -> None:
    refusal = st.session_state.get(_REFUSAL)
    st.caption("It counts what requests cost from then on. Windows begin at midnight UTC.")
    whose = st.segmented_control(
        "Of",
        [_LABELS, _KEY, _EVERYONE],
        default=_LABELS,
        required=True,
        key="budget_whose",
        label_visibility="collapsed",
    )
    live = admin().get("/admin/keys", Keys, state="working", limit=_MOST_KEYS)
    with st.form("budget_form", border=False):
        left, right = st.columns(2)
        with left:
            st.text_input("Name", key="budget_name", max_chars=128)
            say_at(refusal, "name")
            st.selectbox("Each", _PERIODS, index=2, key="budget_period")
        with right:
            st.text_input("Limit in USD", key="budget_limit", placeholder="500", max_chars=24)
            say_at(refusal, "limit_usd")
            st.selectbox(
                "When it is spent",
                list(budget_words.MODES),
                format_func=lambda mode: budget_words.MODES[mode],
                key="budget_mode",
            )
        if whose == _KEY:
            names: dict[Any, str] = {key.kid: f"{key.name} …{key.last4}" for key in live.data}
            st.selectbox(
                "Key",
                list(names),
                format_func=lambda kid: names.get(kid, str(kid)),
                key="budget_kid",
                accept_new_options=True,
                help="One that is not listed is named by its id." if live.next_after else None,
            )
            say_at(refusal, "kid")
        elif whose == _LABELS:
            st.text_input("Labels", key="budget_labels", placeholder="team=search", max_chars=2_000)
            say_at(refusal, "labels")
            # Without labels, the gateway asks whose it is.
            say_at(refusal, "kid")
        st.checkbox(
            "Hold the longest possible answer, not the longest usual one",
            key="budget_strict",
            help="Never spends beyond the limit; refuses earlier.",
        )
        why_not = lacks("operator")
        st.form_submit_button(
            "Create",
            key="budget_create",
            type="primary",
            disabled=why_not is not None,
            help=why_not,
            on_click=_create,
        )


def _create() -> None:
    state = st.session_state
    wish: dict[str, Any] = {
        "name": (state.get("budget_name") or "").strip(),
        "limit_usd": parse_usd(state.get("budget_limit")),
        "period": state.get("budget_period"),
        "mode": state.get("budget_mode"),
        "strict": bool(state.get("budget_strict")),
    }
    if wish["limit_usd"] is None:
        state[_REFUSAL] = AdminError(
            "The limit is no amount.",
            "Write an amount in USD, such as 500 or 0.50.",
            field="limit_usd",
        )
        return
    whose = state.get("budget_whose")
    if whose == _KEY:
        wish["kid"] = state.get("budget_kid")
    elif whose == _EVERYONE:
        wish["everyone"] = True
    else:
        wish["labels"] = parse_labels(state.get("budget_labels") or "")
        if wish["labels"] is None:
            state[_REFUSAL] = AdminError(
                "The labels are no pairs.", "Write name=value, with commas between.", field="labels"
            )
            return
    try:
        made = admin().post("/admin/budgets", BudgetView, wish)
    except AdminError as error:
        state[_REFUSAL] = error
        return
    _close()
    note(f"The budget {made.name} holds; every gateway process follows within a second.")


def _ask_change(budget: BudgetView) -> None:
    refusal = st.session_state.get(_REFUSAL)
    spent = f"{numbers.usd(budget.spent_usd)} of {numbers.usd(budget.limit_usd)} spent"
    st.html(pieces.heading(budget.name, spent))
    why_not = lacks("operator")
    st.caption(
        "Its window and whose spending it limits stay: make another budget for them. What workers "
        "hold of it may still be spent."
    )
    with st.form("budget_limit_form", border=False):
        left, right = st.columns(2)
        with left:
            st.text_input(
                "Limit in USD",
                key="budget_new_limit",
                placeholder=f"{budget.limit_usd.normalize():f}",
                max_chars=24,
                help="Empty: as it is.",
            )
            say_at(refusal, "limit_usd")
        modes = list(budget_words.MODES)
        right.selectbox(
            "When it is spent",
            modes,
            modes.index(budget.mode),
            format_func=lambda mode: budget_words.MODES[mode],
            key="budget_new_mode",
        )
        st.checkbox(
            "Hold the longest possible answer, not the longest usual one",
            budget.strict,
            key="budget_new_strict",
        )
        st.form_submit_button(
            "Change",
            key="budget_set",
            type="primary",
            disabled=why_not is not None,
            help=why_not,
            on_click=_change,
            args=(budget,),
        )
    if budget.expired_usd > 0:
        st.html(pieces.heading("Held by workers that are gone", numbers.usd(budget.expired_usd)))
        st.button(
            "Give it back",
            key="budget_release",
            disabled=why_not is not None,
            help=why_not or "Whatever they spent of it is then beyond the limit.",
            on_click=_release,
            args=(budget,),
        )
    with st.container(horizontal=True, vertical_alignment="center"):
        is_sure = st.checkbox("Delete it; what it counted stays on record", key="sure_to_delete")
        st.button(
            "Delete",
            key="budget_delete",
            disabled=not is_sure or why_not is not None,
            help=why_not,
            on_click=_delete,
            args=(budget,),
        )


def _change(budget: BudgetView) -> None:
    state = st.session_state
    typed = (state.get("budget_new_limit") or "").strip()
    wish: dict[str, Any] = {
        "mode": state.get("budget_new_mode", budget.mode),
        "strict": bool(state.get("budget_new_strict", budget.strict)),
    }
    if typed:
        wish["limit_usd"] = parse_usd(typed)
        if wish["limit_usd"] is None:
            state[_REFUSAL] = AdminError(
                "The limit is no amount.",
                "Write an amount in USD, such as 500 or 0.50.",
                field="limit_usd",
            )
            return
    try:
        changed = admin().patch(_path(budget), BudgetView, wish)
    except AdminError as error:
        state[_REFUSAL] = error
        return
    _close()
    limit = numbers.usd(changed.limit_usd)
    note(
        f"The budget {changed.name} has a limit of {limit} and {budget_words.MODES[changed.mode]}."
    )


def _release(budget: BudgetView) -> None:
    try:
        found = admin().post(f"{_path(budget)}/release", Released)
    except AdminError as error:
        st.session_state[_REFUSAL] = error
        return
    _close()
    note(f"The budget {budget.name} got {numbers.usd(found.released_usd)} back.")


def _delete(budget: BudgetView) -> None:
    try:
        admin().delete(_path(budget), BudgetView)
    except AdminError as error:
        st.session_state[_REFUSAL] = error
        return
    _close()
    st.session_state["sure_to_delete"] = False
    note(f"The budget {budget.name} is deleted.")


def _path(budget: BudgetView) -> str:
    # Not by its name: that may hold a slash.
    return f"/admin/budgets/{budget.id}"
