"""Keys as rows and words: how they stand, what they may do, which a search finds. Pure."""

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any

import polars as pl

from dashboard import numbers
from dashboard.admin_answers import Key

WORKS, ENDS_SOON, EXPIRED, REVOKED = "works", "ends soon", "expired", "revoked"
STATES: dict[str, str] = {WORKS: "good", ENDS_SOON: "warn", EXPIRED: "bad", REVOKED: "bad"}
"""With the tones of `dashboard.pieces`."""
_SOON = timedelta(days=7)
_NOT_LATELY = "not in 30 days"

KEYS: dict[str, pl.DataType] = {
    "Key": pl.String(),
    "Spent": pl.String(),
    "Last used": pl.String(),
    "State": pl.List(pl.String()),
    "Ends in": pl.String(),
    "Labels": pl.String(),
    "May use": pl.String(),
    "Limits": pl.String(),
    "Works until": pl.String(),
}


def state(key: Key, now: datetime) -> str:
    """One of `STATES`."""
    if key.revoked_at is not None:
        return REVOKED
    if key.expires_at is None:
        return WORKS
    if key.expires_at <= now:
        return EXPIRED
    return ENDS_SOON if key.expires_at - now < _SOON else WORKS


def works(key: Key, now: datetime) -> bool:
    """Whether requests with it are served."""
    return state(key, now) in {WORKS, ENDS_SOON}


def matches(key: Key, search: str) -> bool:
    """Whether every word is in its name, id, end or labels."""
    text = f"{key.name} {key.kid} {key.last4} {labels(key)}".lower()
    return all(word in text for word in search.lower().split())


def rank(key: Key, use: Mapping[str, Any] | None) -> tuple[Decimal, float]:
    """Sorts those that spent most first, then the newest."""
    spent: Decimal = (use or {}).get("cost_usd") or Decimal(0)
    return (-spent, -key.created_at.timestamp())


def labels(key: Key) -> str:
    """``env=prod, team=search``."""
    return ", ".join(f"{name}={value}" for name, value in key.labels.items())


def may_use(key: Key) -> str:
    """Which models, at which providers."""
    models = ", ".join(key.allowed_models) or "every model"
    providers = ", ".join(key.allowed_providers)
    return f"{models} at {providers}" if providers else models


def limits(key: Key) -> str:
    """How much of it at a time; "" without a limit."""
    parts = (
        f"{key.requests_per_minute:,} requests/min" if key.requests_per_minute else "",
        f"{numbers.count(key.tokens_per_minute)} tokens/min" if key.tokens_per_minute else "",
        f"{key.concurrency} at once" if key.concurrency else "",
    )
    return ", ".join(filter(None, parts))


def spent_words(use: Mapping[str, Any] | None) -> str:
    """What it spent this month."""
    if not use or not use["attempts"]:
        return "$0"
    return numbers.usd_sum(use["cost_usd"], is_complete=not use["unpriced"])


def last_used(use: Mapping[str, Any] | None, zone: str) -> str:
    """When, to a quarter of an hour."""
    return numbers.when(use["last_at"], zone) if use else _NOT_LATELY


def until(key: Key, zone: str) -> str:
    """When it ended or will end; "" for never."""
    ends = key.revoked_at or key.expires_at
    return "" if ends is None else numbers.when_to_minute(ends, zone)


def key_frame(
    keys: Sequence[Key], use: Mapping[str, Mapping[str, Any]], now: datetime, zone: str
) -> pl.DataFrame:
    """`KEYS`: the columns that a reader sees, in their order."""
    rows = [
        {
            "Key": key.name,
            "Spent": spent_words(use.get(key.id)),
            "Last used": last_used(use.get(key.id), zone),
            "State": [state(key, now)],
            "Ends in": f"…{key.last4}",
            "Labels": labels(key),
            "May use": may_use(key),
            "Limits": limits(key),
            "Works until": until(key, zone),
        }
        for key in keys
    ]
    return pl.DataFrame(rows, schema=KEYS)
