"""Changing what a key may do, in a dialog; requests that are open keep what they began with."""

import streamlit as st

from dashboard import pieces
from dashboard.admin import AdminError
from dashboard.admin_answers import Key
from dashboard.admin_states import admin, lacks, note, show_refusal
from dashboard.views import keys_form

_OPEN, _REFUSAL = "key_change_open", "key_change_refusal"
_PREFIX = "changed"


def open_form(kid: str) -> None:
    """For callbacks: ask what should be otherwise about that key."""
    st.session_state[_OPEN] = kid
    st.session_state.pop(_REFUSAL, None)


def render(key: Key, zone: str) -> None:
    """Draw the dialog, while there is something to ask about this key."""
    if st.session_state.get(_OPEN) == key.kid:
        _dialog(key, zone)


def _close() -> None:
    for name in (_OPEN, _REFUSAL):
        st.session_state.pop(name, None)


@st.dialog("Change a key", width="medium", on_dismiss=_close)
def _dialog(key: Key, zone: str) -> None:
    if st.session_state.get(_OPEN) != key.kid:
        # It was closed by its own button: the page around it changes too.
        st.rerun()
    refusal = st.session_state.get(_REFUSAL)
    st.html(pieces.heading(key.name, f"{key.kid} …{key.last4}"))
    st.caption(
        f"What stays empty is not limited. Times are those of {zone}. What was spent stays with "
        "the labels of then."
    )
    with st.form("key_change_form", border=False):
        keys_form.draw(_PREFIX, refusal, zone, key)
        why_not = lacks("owner")
        st.form_submit_button(
            "Change",
            key="key_change_apply",
            type="primary",
            disabled=why_not is not None,
            help=why_not,
            on_click=_apply,
            args=(key, zone),
        )
    if isinstance(refusal, AdminError) and refusal.field not in keys_form.FIELDS:
        show_refusal(refusal, key="key_change_refusal_box")


def _apply(key: Key, zone: str) -> None:
    try:
        wish = keys_form.read(_PREFIX, zone, key)
        if wish:
            admin().patch(f"/admin/keys/{key.kid}", Key, wish)
    except AdminError as error:
        st.session_state[_REFUSAL] = error
        return
    _close()
    if wish:
        note(f"The key {wish.get('name', key.name)} is changed; every process follows in a second.")
    else:
        note(f"The key {key.name} is as it was.", is_done=False)
