"""Making a key, in a dialog that tells its text once; a rotated key's new text stands there too."""

import time
from datetime import UTC, datetime
from typing import Any
from zoneinfo import ZoneInfo

import msgspec
import streamlit as st

from dashboard import pieces
from dashboard.admin import AdminError
from dashboard.admin_answers import CreatedKey
from dashboard.admin_states import admin, lacks, say_at, show_refusal
from dashboard.installation import installation

_OPEN, _MADE, _REFUSAL = "key_form_open", "made_key", "key_refusal"
_SHOWN_FOR_S = 600
_FIELDS = ("name", "labels", "allowed_models", "allowed_providers", "expires_at")

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


def parse_labels(text: str) -> dict[str, str] | None:
    """``team=search, env=prod``; None when a part is no pair."""
    labels: dict[str, str] = {}
    for part in _listed(text):
        name, mark, value = part.partition("=")
        if not mark or not name.strip() or not value.strip():
            return None
        labels[name.strip()] = value.strip()
    return labels


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
        st.code(made.key.text, language=None)
        st.caption("It is kept nowhere. Whoever has it may spend; a lost one is replaced.")
        curl = _CURL.format(url=installation().gateway_url, key=made.key.text)
        st.code(curl, language="bash")
        st.button("I have it", key="key_copied", type="primary", on_click=_close)


def _show_form(zone: str) -> None:
    refusal = st.session_state.get(_REFUSAL)
    st.caption(f"What stays empty is not limited. Times are those of {zone}.")
    with st.form("key_form", border=False):
        left, right = st.columns(2)
        with left:
            st.text_input("Name", key="key_name", max_chars=128)
            say_at(refusal, "name")
            st.text_input(
                "Models",
                key="key_models",
                placeholder="openai/*, gpt-4o-mini",
                max_chars=4_000,
                help="Names or patterns, with commas between.",
            )
            say_at(refusal, "allowed_models")
        with right:
            st.text_input(
                "Labels", key="key_labels", placeholder="team=search, env=prod", max_chars=2_000
            )
            say_at(refusal, "labels")
            st.text_input(
                "Providers", key="key_providers", placeholder="openai, azure", max_chars=2_000
            )
            say_at(refusal, "allowed_providers")
        first, second, third = st.columns(3)
        first.number_input("Requests/min", 1, value=None, step=1, key="key_requests")
        second.number_input("Tokens/min", 1, value=None, step=1_000, key="key_tokens")
        third.number_input("At once", 1, value=None, step=1, key="key_at_once")
        one, other = st.columns(2)
        one.text_input("Model when none is named", key="key_default", max_chars=256)
        with other:
            st.datetime_input("Works until", None, key="key_ends", help="Empty: for good.")
            say_at(refusal, "expires_at")
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
    if isinstance(refusal, AdminError) and refusal.field not in _FIELDS:
        show_refusal(refusal, key="key_refusal_box")


def _create(zone: str) -> None:
    state = st.session_state
    ends: datetime | None = state.get("key_ends")
    labels = parse_labels(state.get("key_labels") or "")
    if labels is None:
        state[_REFUSAL] = AdminError(
            "The labels are no pairs.", "Write name=value, with commas between.", field="labels"
        )
        return
    wish: dict[str, Any] = {
        "name": (state.get("key_name") or "").strip(),
        "labels": labels,
        "allowed_models": _listed(state.get("key_models")),
        "allowed_providers": _listed(state.get("key_providers")),
        "default_model": (state.get("key_default") or "").strip() or None,
        "requests_per_minute": state.get("key_requests"),
        "tokens_per_minute": state.get("key_tokens"),
        "concurrency": state.get("key_at_once"),
        "expires_at": None if ends is None else ends.replace(tzinfo=ZoneInfo(zone)).astimezone(UTC),
    }
    try:
        made = admin().post("/admin/keys", CreatedKey, wish)
    except AdminError as error:
        state[_REFUSAL] = error
        return
    state.pop(_REFUSAL, None)
    state[_OPEN] = False
    tell(made, "a new key; every gateway process knows it within a second")


def _listed(text: str | None) -> list[str]:
    return [part.strip() for part in (text or "").split(",") if part.strip()]
