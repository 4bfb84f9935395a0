"""The fields of a key's form, for a new one and for one that is changed, and what they say."""

from datetime import UTC, datetime
from typing import Any
from zoneinfo import ZoneInfo

import streamlit as st

from dashboard.admin import AdminError
from dashboard.admin_answers import Key
from dashboard.admin_states import say_at

FIELDS = (
    "name",
    "labels",
    "allowed_models",
    "allowed_providers",
    "provider_configs_origins",
    "expires_at",
)
"""Of which a refusal is told at the field."""
_SLASH: dict[bool | None, str] = {
    None: "as the installation says",
    True: "pins the provider a",
    False: "names a model",
}


def parse_labels(text: str) -> dict[str, str] | None:
    """``team=search, env=prod``; None when a part is no pair."""
    labels: dict[str, str] = {}
    for part in _listed(text):
        name, mark, value = part.partition("=")
        if not mark or not name.strip() or not value.strip():
            return None
        labels[name.strip()] = value.strip()
    return labels


def draw(prefix: str, refusal: object, zone: str, key: Key | None = None) -> None:
    """Draw the fields, inside a form.

    Args:
        prefix: of the widgets' keys.
        refusal: an `AdminError` of the last try, or anything else.
        zone: of the time until which it works.
        key: what it is now; None is a new one.
    """
    left, right = st.columns(2)
    with left:
        st.text_input("Name", key.name if key else "", key=f"{prefix}_name", max_chars=128)
        say_at(refusal, "name")
        st.text_input(
            "Models",
            ", ".join(key.allowed_models) if key else "",
            key=f"{prefix}_models",
            placeholder="openai/*, gpt-4o-mini",
            max_chars=4_000,
            help="Names or patterns, with commas between.",
        )
        say_at(refusal, "allowed_models")
    with right:
        st.text_input(
            "Labels",
            _pairs(key.labels) if key else "",
            key=f"{prefix}_labels",
            placeholder="team=search, env=prod",
            max_chars=2_000,
        )
        say_at(refusal, "labels")
        st.text_input(
            "Providers",
            ", ".join(key.allowed_providers) if key else "",
            key=f"{prefix}_providers",
            placeholder="openai, azure",
            max_chars=2_000,
        )
        say_at(refusal, "allowed_providers")
    first, second, third = st.columns(3)
    first.number_input(
        "Requests/min",
        1,
        value=key.requests_per_minute if key else None,
        step=1,
        key=f"{prefix}_requests",
    )
    second.number_input(
        "Tokens/min",
        1,
        value=key.tokens_per_minute if key else None,
        step=1_000,
        key=f"{prefix}_tokens",
    )
    third.number_input(
        "At once", 1, value=key.concurrency if key else None, step=1, key=f"{prefix}_at_once"
    )
    one, other = st.columns(2)
    with one:
        st.text_input(
            "Model when none is named",
            (key.default_model if key else None) or "",
            key=f"{prefix}_default",
            max_chars=256,
        )
        say_at(refusal, "default_model")
        options = list(_SLASH)
        st.selectbox(
            "A model's name a/b",
            options,
            options.index(key.slash_pins_provider if key else None),
            format_func=lambda pins: _SLASH[pins],
            key=f"{prefix}_slash",
            help="On /v1: whether a/b asks for b at the provider a, where a serves it.",
        )
    with other:
        st.datetime_input(
            "Works until",
            _end_shown(key, zone),
            key=f"{prefix}_ends",
            help="Empty: for good.",
        )
        say_at(refusal, "expires_at")
        st.text_input(
            "Own credentials may go to",
            ", ".join(key.provider_configs_origins) if key else "",
            key=f"{prefix}_origins",
            placeholder="https://api.example.com",
            max_chars=4_000,
            help="Where requests with `provider_configs` may be sent; empty refuses them.",
        )
        say_at(refusal, "provider_configs_origins")


def read(prefix: str, zone: str, key: Key | None = None) -> dict[str, Any]:
    """What the fields say, as the admin API takes it; of a key that is changed, what is otherwise.

    Raises:
        AdminError: the labels are no pairs.
    """
    state = st.session_state
    labels = parse_labels(state.get(f"{prefix}_labels") or "")
    if labels is None:
        raise AdminError(
            "The labels are no pairs.", "Write name=value, with commas between.", field="labels"
        )
    ends: datetime | None = state.get(f"{prefix}_ends")
    wish: dict[str, Any] = {
        "name": (state.get(f"{prefix}_name") or "").strip(),
        "labels": labels,
        "allowed_models": _listed(state.get(f"{prefix}_models")),
        "allowed_providers": _listed(state.get(f"{prefix}_providers")),
        "default_model": (state.get(f"{prefix}_default") or "").strip() or None,
        "slash_pins_provider": state.get(f"{prefix}_slash"),
        "provider_configs_origins": _listed(state.get(f"{prefix}_origins")),
        "requests_per_minute": state.get(f"{prefix}_requests"),
        "tokens_per_minute": state.get(f"{prefix}_tokens"),
        "concurrency": state.get(f"{prefix}_at_once"),
        "expires_at": None if ends is None else ends.replace(tzinfo=ZoneInfo(zone)).astimezone(UTC),
    }
    if key is None:
        return wish
    now = {field: getattr(key, field) for field in wish}
    changed = {
        field: value
        for field, value in wish.items()
        if (tuple(value) if isinstance(now[field], tuple) else value) != now[field]
    }
    if ends == _end_shown(key, zone):
        # The field has no seconds.
        changed.pop("expires_at", None)
    return changed


def _end_shown(key: Key | None, zone: str) -> datetime | None:
    if key is None or key.expires_at is None:
        return None
    return key.expires_at.astimezone(ZoneInfo(zone)).replace(tzinfo=None, second=0, microsecond=0)


def _pairs(labels: dict[str, str]) -> str:
    return ", ".join(f"{name}={value}" for name, value in labels.items())


def _listed(text: str | None) -> list[str]:
    return [part.strip() for part in (text or "").split(",") if part.strip()]
