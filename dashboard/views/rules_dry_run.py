"""A dry run: who would serve a pasted request, under the rules in the editor or those in force."""

from typing import Any, cast

import msgspec
import streamlit as st

from dashboard import pieces
from dashboard.admin import AdminError
from dashboard.admin_answers import Keys, Tried
from dashboard.admin_states import admin, show_refusal
from dashboard.views import explained

_RESULT = "dry_run_result"
_EDITED, _IN_FORCE = "Rules in the editor", "Rules in force"
_EXAMPLE = """\
{
  "model": "gpt-4o-mini",
  "messages": [{"role": "user", "content": "Hello"}]
}"""
_MOST_KEYS = 500
_MOST_REQUEST = 1_000_000


def render(rules: str) -> None:
    """Draw the form and what came of it; nothing is sent to a provider or recorded."""
    with st.container(border=True, key="dry_run"):
        st.html(
            pieces.heading("Dry run", "nobody is asked, nothing is recorded, no prompt is stored")
        )
        left, right = st.columns([1, 1.15], gap="small")
        with left, st.form("dry_run_form", border=False):
            text = st.text_area(
                "Request",
                _EXAMPLE,
                key="dry_run_request",
                height=230,
                max_chars=_MOST_REQUEST,
                help="As /v1/chat/completions takes it.",
            )
            live = admin().get("/admin/keys", Keys, state="working", limit=_MOST_KEYS)
            names: dict[Any, str] = {one.kid: f"{one.name} …{one.last4}" for one in live.data}
            kid = st.selectbox(
                "As the key",
                list(names),
                index=None,
                format_func=lambda one: names.get(one, str(one)),
                key="dry_run_kid",
                accept_new_options=True,
                placeholder="a key without labels or limits",
                help="One that is not listed is named by its id." if live.next_after else None,
            )
            under = st.radio(
                "Under",
                [_EDITED, _IN_FORCE],
                key="dry_run_under",
                horizontal=True,
                label_visibility="collapsed",
            )
            if st.form_submit_button("Try", key="dry_run_try", icon=":material/play_arrow:"):
                st.session_state[_RESULT] = _try(
                    text or "", kid, rules if under == _EDITED else None
                )
        with right:
            found = st.session_state.get(_RESULT)
            if isinstance(found, AdminError):
                show_refusal(found, key="dry_run_refusal")
            elif isinstance(found, Tried):
                explained.show(found)
            else:
                st.caption("Who would serve it, at what cost, and why not the others.")


def _try(text: str, kid: str | None, rules: str | None) -> Tried | AdminError:
    try:
        request: Any = msgspec.json.decode(text.encode())
    except msgspec.DecodeError as error:
        return AdminError("The request is not JSON.", f"{error}.")
    if not isinstance(request, dict):
        return AdminError("The request is not JSON.", "Expected an object: { … }.")
    body: dict[str, Any] = {"request": cast("dict[str, Any]", request), "kid": kid, "rules": rules}
    try:
        return admin().post("/admin/explain", Tried, body)
    except AdminError as error:
        return error
