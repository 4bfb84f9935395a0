"""Keys: who may ask, what each spent, making one and revoking one; budgets stand below."""

import time
from datetime import UTC, datetime, timedelta
from typing import Any

import streamlit as st

from dashboard import numbers, operator_source, pieces
from dashboard.admin import AdminError
from dashboard.admin_answers import CreatedKey, Key, Keys
from dashboard.admin_states import admin, note, show_admin_error, show_note
from dashboard.periods import Period
from dashboard.pieces import Cell, Column, Row
from dashboard.views import budgets, keys_create

_MADE = "made_key"
_MOST_ROWS = 200

_COLUMNS = (
    Column(name="Key"),
    Column(name="Spend", is_number=True, hint="Of every attempt in the period."),
    Column(name="Last used", hint="In the period, to a quarter of an hour."),
    Column(name="State"),
    Column(name="Labels"),
    Column(name="May use"),
    Column(name="Limits"),
)


def render(period: Period) -> None:
    """Draw the page."""
    try:
        show_note()
        keys = admin().get("/admin/keys", Keys).data
        _show_made()
        _render_keys(keys, period)
        left, right = st.columns([1.4, 1], gap="small")
        with left.container(border=True, key="create_key", height="stretch"):
            made = keys_create.render(period.zone)
            if made is not None:
                st.session_state[_MADE] = made
                st.rerun()
        with right.container(border=True, key="revoke_key", height="stretch"):
            _render_revoke(keys)
        budgets.render(keys, period.zone)
    except AdminError as error:
        show_admin_error(error)


def _show_made() -> None:
    made = st.session_state.get(_MADE)
    if not isinstance(made, CreatedKey):
        return
    with st.container(border=True, key="made_key_box"):
        st.html(
            pieces.heading("New key", made.key.name)
            + pieces.chips([("shown once: copy it now", "warn")])
        )
        st.code(made.text, language=None)
        st.caption("It is kept nowhere. Whoever has it may spend; a lost one is replaced.")
        st.button("I have it", key="key_copied", on_click=_forget_made)


def _forget_made() -> None:
    st.session_state.pop(_MADE, None)


def _render_keys(keys: tuple[Key, ...], period: Period) -> None:
    with st.container(border=True, key="keys"):
        now = datetime.fromtimestamp(time.time(), UTC)
        live = [key for key in keys if _state(key, now)[0] != "revoked"]
        gone = len(keys) - len(live)
        what = f"{len(live)} that work or will end, spend of {_the(period.words)}"
        with st.container(horizontal=True, vertical_alignment="center"):
            st.html(pieces.heading("Keys", what))
            shows_all = gone > 0 and st.toggle(f"{gone} revoked", key="revoked_keys")
        shown = keys if shows_all else tuple(live)
        if not shown:
            st.caption("Nobody may ask yet: make a key below.")
            return
        found = operator_source.read_key_spend(period.start, period.end)
        spend = {row["key_id"]: row for row in found.iter_rows(named=True)}
        rows = [_row(key, spend.get(key.id), now, period.zone) for key in shown[-_MOST_ROWS:]]
        st.html(pieces.table(_COLUMNS, rows))


def _the(words: str) -> str:
    return words if words.startswith("this") else f"the {words}"


def _row(key: Key, spend: dict[str, Any] | None, now: datetime, zone: str) -> Row:
    state, tone = _state(key, now)
    models = ", ".join(key.allowed_models) or "every model"
    providers = ", ".join(key.allowed_providers)
    return Row(
        cells=(
            Cell(text=key.name, sub=f"{key.kid} …{key.last4}", wraps=True),
            Cell(
                text=numbers.usd_sum(spend["cost_usd"], is_complete=not spend["unpriced"])
                if spend
                else "$0",
                sub=f"{numbers.count(spend['attempts'])} attempts" if spend else "",
            ),
            Cell(text=numbers.when(spend["last_at"], zone) if spend else numbers.UNKNOWN),
            Cell(
                text=state,
                tone=tone,
                is_chip=True,
                sub=_ends(key, zone),
                hint=f"made by {key.created_by}",
            ),
            Cell(
                text=", ".join(f"{name}={value}" for name, value in key.labels.items()), wraps=True
            ),
            Cell(text=models, sub=f"at {providers}" if providers else "", wraps=True),
            Cell(text=limits(key), wraps=True),
        ),
        kind="quiet" if state in {"revoked", "expired"} else "",
    )


def limits(key: Key) -> str:
    """How much of it at a time, in words."""
    parts = (
        f"{key.requests_per_minute:,} requests/min" if key.requests_per_minute else "",
        f"{numbers.count(key.tokens_per_minute)} tokens/min" if key.tokens_per_minute else "",
        f"{key.concurrency} at once" if key.concurrency else "",
    )
    return ", ".join(filter(None, parts))


def _state(key: Key, now: datetime) -> tuple[str, str]:
    if key.revoked_at is not None:
        return ("revoked", "bad")
    if key.expires_at is not None and key.expires_at <= now:
        return ("expired", "bad")
    if key.expires_at is not None and key.expires_at - now < timedelta(days=7):
        return ("ends soon", "warn")
    return ("works", "good")


def _ends(key: Key, zone: str) -> str:
    ends = key.revoked_at or key.expires_at
    return "" if ends is None else numbers.when_to_minute(ends, zone)


def _render_revoke(keys: tuple[Key, ...]) -> None:
    live = {key.kid: key for key in keys if key.revoked_at is None}
    st.html(pieces.heading("Revoke a key", "for good; every gateway process knows within a second"))
    chosen = st.selectbox(
        "Key",
        list(live),
        index=None,
        format_func=lambda kid: f"{live[kid].name} …{live[kid].last4}",
        key="key_to_revoke",
        placeholder="Choose a key",
    )
    if chosen is None:
        return
    st.text(f"Requests with {live[chosen].name} (…{live[chosen].last4}) will be refused with 401.")
    is_sure = st.checkbox("I am sure", key="sure_to_revoke")
    st.button(
        "Revoke",
        key="revoke",
        type="primary",
        disabled=not is_sure,
        on_click=_revoke,
        args=(chosen,),
    )


def _revoke(kid: str) -> None:
    try:
        gone = admin().delete(f"/admin/keys/{kid}", Key)
    except AdminError as error:
        note(error.remedy, is_done=False)
        return
    st.session_state["key_to_revoke"] = None
    st.session_state["sure_to_revoke"] = False
    note(f"The key {gone.name} (…{gone.last4}) is revoked.")
