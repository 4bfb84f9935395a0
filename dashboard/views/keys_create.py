"""Making a key, in a dialog that tells its text once; a rotated key's new text stands there too."""

import time

import msgspec
import streamlit as st

from dashboard import pieces
from dashboard.admin import AdminError
from dashboard.admin_answers import CreatedKey
from dashboard.admin_states import admin, lacks, show_refusal
from dashboard.installation import installation
from dashboard.views import keys_form

_OPEN, _MADE, _REFUSAL = "key_form_open", "made_key", "key_refusal"
_SHOWN_FOR_S = 600

_CURL = """curl {url}/v1/chat/completions \\
  -H "Authorization: Bearer {key}" -H "Content-Type: application/json" \\
  -d '{{"model": "MODEL", "messages": [{{"role": "user", "content": "Hello"}}]}}'"""


class _Made(msgspec.Struct, frozen=True, kw_only=True):
    key: CreatedKey
    note: str
    at_s: float

    def __repr__(self) -> str:
        return f"_Made({self.key!r})"


def open_form() -> None:
    """For callbacks: ask what the key should be."""
    st.session_state[_OPEN] = True
    st.session_state.pop(_REFUSAL, None)


def tell(key: CreatedKey, note: str = "") -> None:
    """For callbacks: tell a key's text, once."""
    st.session_state[_MADE] = _Made(key=key, note=note, at_s=time.monotonic())


def render(zone: str) -> None:
    """Draw the dialog, while there is something to ask or to tell."""
    made = st.session_state.get(_MADE)
    if isinstance(made, _Made) and time.monotonic() - made.at_s > _SHOWN_FOR_S:
        _close()
        made = None
    if isinstance(made, _Made) or st.session_state.get(_OPEN):
        _dialog(zone)


def _close() -> None:
    for name in (_OPEN, _MADE, _REFUSAL):
        st.session_state.pop(name, None)


@st.dialog("Key", width="medium", on_dismiss=_close)
def _dialog(zone: str) -> None:
    made = st.session_state.get(_MADE)
    if isinstance(made, _Made):
        _show_made(made)
    elif st.session_state.get(_OPEN):
        _show_form(zone)
    else:
        # It was closed by its own button: the page around it changes too.
        st.rerun()


def _show_made(made: _Made) -> None:
    with st.container(key="made_key_box"):
        st.html(
            pieces.heading(made.key.key.name, made.note)
            + pieces.chips([("you will not see it again: copy it now", "warn")])
        )
        st.code(made.key.text, language=None, wrap_lines=True)
        st.caption("It is kept nowhere. Whoever has it may spend; a lost one is replaced.")
        curl = _CURL.format(url=installation().gateway_url, key=made.key.text)
        st.code(curl, language="bash", wrap_lines=True)
        st.button("I have it", key="key_copied", type="primary", on_click=_close)


def _show_form(zone: str) -> None:
    refusal = st.session_state.get(_REFUSAL)
    st.caption(f"What stays empty is not limited. Times are those of {zone}.")
    with st.form("key_form", border=False):
        keys_form.draw("key", refusal, zone)
        why_not = lacks("owner")
        st.form_submit_button(
            "Create",
            key="key_create",
            type="primary",
            disabled=why_not is not None,
            help=why_not,
            on_click=_create,
            args=(zone,),
        )
    if isinstance(refusal, AdminError) and refusal.field not in keys_form.FIELDS:
        show_refusal(refusal, key="key_refusal_box")


def _create(zone: str) -> None:
    state = st.session_state
    try:
        made = admin().post("/admin/keys", CreatedKey, keys_form.read("key", zone))
    except AdminError as error:
        state[_REFUSAL] = error
        return
    state.pop(_REFUSAL, None)
    state[_OPEN] = False
    tell(made, "a new key; every gateway process knows it within a second")
