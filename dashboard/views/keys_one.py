"""One key: what it may do and did, another secret for it, and its end."""

import time
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import quote

import streamlit as st

from dashboard import key_words, numbers, pieces
from dashboard.admin import AdminError
from dashboard.admin_answers import CreatedKey, Key
from dashboard.admin_states import admin, lacks, note
from dashboard.views import keys_change, keys_create

_NOT_FOUND = 404
_OVERLAPS: dict[int, str] = {
    0: "ends at once",
    3_600: "works for another hour",
    86_400: "works for another day",
    7 * 86_400: "works for another week",
    30 * 86_400: "works for another 30 days",
}


def read(kid: str) -> Key | None:
    """The key with that public part; None when there is none."""
    try:
        return admin().get(f"/admin/keys/{quote(kid, safe='')}", Key)
    except AdminError as error:
        if error.status == _NOT_FOUND:
            return None
        raise


def render(kid: str, key: Key | None, use: Mapping[str, Any] | None, zone: str) -> None:
    """Draw a key; None says that there is none with that public part."""
    if key is None:
        with st.container(border=True, key="empty"):
            st.markdown("**There is no such key.**")
            st.text(kid[:80])
        return
    now = datetime.fromtimestamp(time.time(), UTC)
    state = key_words.state(key, now)
    with st.container(border=True, key="key_facts"):
        with st.container(horizontal=True, vertical_alignment="center", key="key_head"):
            st.html(
                pieces.heading(key.name, f"{key.kid} …{key.last4}")
                + pieces.chips([(state, key_words.STATES[state])])
            )
            if key.revoked_at is None:
                _draw_change(key)
        st.html(pieces.facts(_facts(key, use, zone)))
    if key.revoked_at is not None:
        return
    keys_change.render(key, zone)
    left, right = st.columns(2, gap="small")
    with left.container(border=True, key="rotate_key", height="stretch"):
        _render_rotate(key)
    with right.container(border=True, key="revoke_key", height="stretch"):
        _render_revoke(key)


def _facts(key: Key, use: Mapping[str, Any] | None, zone: str) -> list[tuple[str, str]]:
    attempts = (use or {}).get("attempts") or 0
    return [
        ("Spent this month", f"{key_words.spent_words(use)}, {numbers.count(attempts)} attempts"),
        ("Last used", key_words.last_used(use, zone)),
        ("Labels", key_words.labels(key) or numbers.UNKNOWN),
        ("May use", key_words.may_use(key)),
        ("Model when none is named", key.default_model or numbers.UNKNOWN),
        ("Limits", key_words.limits(key) or "none"),
        ("Own credentials go to", ", ".join(key.provider_configs_origins) or "nowhere"),
        ("Works until", key_words.until(key, zone) or "for good"),
        ("Made", f"{numbers.when_to_minute(key.created_at, zone)} by {key.created_by}"),
    ]


def _draw_change(key: Key) -> None:
    why_not = lacks("owner")
    st.button(
        "Change",
        key="change_key",
        icon=":material/edit:",
        disabled=why_not is not None,
        help=why_not,
        on_click=keys_change.open_form,
        args=(key.kid,),
    )


def _render_rotate(key: Key) -> None:
    st.html(pieces.heading("Rotate", "another secret, told once; everything else stays"))
    with st.container(horizontal=True, vertical_alignment="bottom"):
        st.selectbox(
            "The old secret",
            list(_OVERLAPS),
            index=2,
            format_func=lambda seconds: _OVERLAPS[seconds],
            key="rotate_overlap",
            width=260,
        )
        why_not = lacks("owner")
        st.button(
            "Rotate",
            key="rotate",
            disabled=why_not is not None,
            help=why_not,
            on_click=_rotate,
            args=(key,),
        )


def _render_revoke(key: Key) -> None:
    st.html(pieces.heading("Revoke", "for good; requests with it are refused within a second"))
    why_not = lacks("owner")
    with (
        st.form("revoke_form", border=False),
        st.container(horizontal=True, vertical_alignment="bottom"),
    ):
        st.text_input(
            "Its name, to be sure",
            key="revoke_name",
            max_chars=128,
            placeholder="as it stands above",
        )
        st.form_submit_button(
            "Revoke",
            key="revoke",
            disabled=why_not is not None,
            help=why_not,
            on_click=_revoke,
            args=(key,),
        )


def _rotate(key: Key) -> None:
    overlap_s: int = st.session_state["rotate_overlap"]
    try:
        made = admin().post(f"/admin/keys/{key.kid}/rotate", CreatedKey, {"overlap_s": overlap_s})
    except AdminError as error:
        note(error.remedy, is_done=False)
        return
    ends = datetime.fromtimestamp(time.time(), UTC) + timedelta(seconds=overlap_s)
    until = f"until {numbers.when_to_minute(ends, 'UTC')} UTC" if overlap_s else "no more"
    keys_create.tell(made, f"its new secret; the old one works {until}")


def _revoke(key: Key) -> None:
    if (st.session_state.get("revoke_name") or "").strip() != key.name.strip():
        note(f"To revoke it, type its name: {key.name}", is_done=False)
        return
    try:
        gone = admin().delete(f"/admin/keys/{key.kid}", Key)
    except AdminError as error:
        note(error.remedy, is_done=False)
        return
    st.session_state["revoke_name"] = ""
    note(f"The key {gone.name} (…{gone.last4}) is revoked.")
