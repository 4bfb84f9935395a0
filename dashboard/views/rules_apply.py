"""Putting rules in force, new ones or those of an earlier version: seen once more, with a note."""

import msgspec
import streamlit as st

from dashboard import pieces, rule_words
from dashboard.admin import AdminError
from dashboard.admin_answers import RuleSetDiff, RuleSetVersion
from dashboard.admin_states import admin, lacks, note, show_refusal
from dashboard.views import rules_replay

_PENDING, _NOTE, _REFUSAL = "rules_pending", "rules_note", "rules_refusal"
_TEXT, _DRAFT, _BASE = "rules_text", "rules_draft", "rules_base"
_MOST_NOTE = 1_000


class Pending(msgspec.Struct, frozen=True, kw_only=True):
    """What somebody is about to put in force."""

    source: str
    number: int | None
    """Of the version that comes back; None for a new text."""


def ask(source: str, number: int | None = None) -> None:
    """For callbacks: open the dialog about exactly this text."""
    if number is None and st.session_state.get(_TEXT, source) != source:
        # It was typed on while the button was pressed: what was checked is another text.
        note("The text has changed: look at its check, then apply it.", is_done=False)
        return
    st.session_state[_PENDING] = Pending(source=source, number=number)
    st.session_state.pop(_REFUSAL, None)


def render() -> None:
    """Draw the dialog while something is pending."""
    if isinstance(st.session_state.get(_PENDING), Pending):
        _dialog()


def forget_text() -> None:
    """For callbacks: the editor shows what is in force when it is drawn next."""
    for name in (_TEXT, _DRAFT, _BASE):
        st.session_state.pop(name, None)


def _close() -> None:
    for name in (_PENDING, _REFUSAL):
        st.session_state.pop(name, None)


@st.dialog("Put rules in force", width="medium", on_dismiss=_close)
def _dialog() -> None:
    pending = st.session_state.get(_PENDING)
    if not isinstance(pending, Pending):
        # It was done, or given up: the page around it changes too.
        st.rerun()
    what = "a new version" if pending.number is None else f"version {pending.number} again"
    st.html(pieces.heading("Would change", f"against what is in force; {what}"))
    try:
        diff = admin().post("/admin/rules/diff", RuleSetDiff, {"source": pending.source})
    except AdminError as error:
        st.html(pieces.chips([("would not be valid now", "bad")]))
        st.text(error.remedy)
    else:
        st.html(rule_words.diff_html(diff))
    rules_replay.render_figures(pending.source)
    with st.form("rules_apply_form", border=False):
        st.text_input(
            "Note",
            key=_NOTE,
            max_chars=_MOST_NOTE,
            placeholder="What for, for the history",
        )
        why_not = lacks("operator")
        st.form_submit_button(
            "Put in force",
            key="rules_apply_now",
            type="primary",
            disabled=why_not is not None,
            help=why_not,
            on_click=_apply,
        )
    refusal = st.session_state.get(_REFUSAL)
    if isinstance(refusal, AdminError):
        show_refusal(refusal, key="rules_refusal_box")
    st.button("Cancel", key="rules_apply_cancel", type="tertiary", on_click=_close)


def _apply() -> None:
    pending = st.session_state.get(_PENDING)
    if not isinstance(pending, Pending):
        return
    comment = (st.session_state.get(_NOTE) or "").strip() or None
    try:
        if pending.number is None:
            body = {"source": pending.source, "comment": comment}
            now = admin().post("/admin/rules", RuleSetVersion, body)
        else:
            now = admin().post(
                "/admin/rules/rollback", RuleSetVersion, number=pending.number, note=comment
            )
    except AdminError as error:
        st.session_state[_REFUSAL] = error
        return
    _close()
    forget_text()
    rules_replay.forget()
    st.session_state[_NOTE] = ""
    again = "" if pending.number is None else " again"
    note(f"Version {now.number} is in force{again}; every gateway process follows within a second.")
