"""Making a key: its text is shown once, by whoever called."""

from datetime import UTC
from typing import Any
from zoneinfo import ZoneInfo

import streamlit as st

from dashboard import pieces
from dashboard.admin import AdminError
from dashboard.admin_answers import CreatedKey
from dashboard.admin_states import admin, show_refusal


def render(zone: str) -> CreatedKey | None:
    """Draw the form; the key that was just made, None before."""
    st.html(pieces.heading("Create a key", f"what stays empty is not limited; {zone}"))
    refusal: AdminError | None = None
    with st.form("key_form", border=False):
        left, right = st.columns(2)
        name = left.text_input("Name", key="key_name", max_chars=128)
        labels = right.text_input(
            "Labels", key="key_labels", placeholder="team=search, env=prod", max_chars=2_000
        )
        models = left.text_input(
            "Models", key="key_models", placeholder="openai/*, gpt-4o-mini", max_chars=4_000
        )
        providers = right.text_input(
            "Providers", key="key_providers", placeholder="openai, azure", max_chars=2_000
        )
        with st.expander("Limits, end"):
            first, second, third = st.columns(3)
            requests = first.number_input("Requests/min", 1, value=None, step=1, key="key_requests")
            tokens = second.number_input("Tokens/min", 1, value=None, step=1_000, key="key_tokens")
            at_once = third.number_input("At once", 1, value=None, step=1, key="key_at_once")
            one, other = st.columns(2)
            default_model = one.text_input(
                "Model when none is named", key="key_default", max_chars=256
            )
            ends = other.datetime_input("Works until", None, key="key_ends")
        if st.form_submit_button("Create", key="key_create", icon=":material/key:"):
            wish: dict[str, Any] = {
                "name": (name or "").strip(),
                "allowed_models": _listed(models),
                "allowed_providers": _listed(providers),
                "default_model": (default_model or "").strip() or None,
                "requests_per_minute": requests,
                "tokens_per_minute": tokens,
                "concurrency": at_once,
                "expires_at": None
                if ends is None
                else ends.replace(tzinfo=ZoneInfo(zone)).astimezone(UTC),
            }
            made = _make(wish, labels or "")
            if isinstance(made, CreatedKey):
                return made
            refusal = made
    if refusal is not None:
        show_refusal(refusal, key="key_refusal")
    return None


def parse_labels(text: str) -> dict[str, str] | None:
    """``team=search, env=prod``; None when a part is no pair."""
    labels: dict[str, str] = {}
    for part in _listed(text):
        name, mark, value = part.partition("=")
        if not mark or not name.strip() or not value.strip():
            return None
        labels[name.strip()] = value.strip()
    return labels


def _make(wish: dict[str, Any], labels: str) -> CreatedKey | AdminError:
    found = parse_labels(labels)
    if found is None:
        return AdminError("The labels are no pairs.", "Write name=value, with commas between.")
    try:
        return admin().post("/admin/keys", CreatedKey, wish | {"labels": found})
    except AdminError as error:
        return error


def _listed(text: str | None) -> list[str]:
    return [part.strip() for part in (text or "").split(",") if part.strip()]
