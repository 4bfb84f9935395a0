"""Issues keys: makes the text that is shown once and stores everything else of it."""

import re
import secrets
from datetime import UTC, datetime, timedelta
from uuid import uuid4

import msgspec
from sqlalchemy import func, select
from sqlalchemy.ext.asyncio import AsyncConnection

from gateway.domain.keys import KeyEnvironment, digest_key, make_key
from gateway.domain.wishes import WishError, is_one_line
from gateway.storage.access_tables import api_key
from gateway.storage.keys import StoredKey, insert_key, rotate_key

LONGEST_OVERLAP = timedelta(days=30)
"""For which an old secret may work beside a new one."""


class KeyWish(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What a new key should be and may do."""

    name: str
    labels: dict[str, str] = {}
    allowed_models: tuple[str, ...] = ()
    allowed_providers: tuple[str, ...] = ()
    default_model: str | None = None
    slash_pins_provider: bool | None = None
    provider_configs_origins: tuple[str, ...] = ()
    """Where its requests may be sent with credentials of their own, as
    ``https://api.example.com``; empty refuses such requests."""
    requests_per_minute: int | None = None
    tokens_per_minute: int | None = None
    concurrency: int | None = None
    """How many requests may be open at once, on each node; None of each is no limit."""
    expires_at: datetime | None = None
    """Aware; None means never."""


async def issue_key(
    connection: AsyncConnection,
    wish: KeyWish,
    *,
    pepper: bytes,
    actor: str,
    environment: KeyEnvironment = "l",
) -> tuple[StoredKey, str]:
    """Make and store a key; returns it and its text, which is kept nowhere.

    Args:
        connection: in a transaction, which the caller commits.
        wish: what the key should be.
        pepper: of the installation.
        actor: whom the audit log names.
        environment: the letter in the key's text.

    Raises:
        ValueError: the wish contradicts itself; the message names the field.
    """
    check_wish(wish)
    check_expiry(wish.expires_at, datetime.now(UTC))
    made = make_key(secrets.token_bytes, environment)
    stored = StoredKey(
        id=uuid4(),
        kid=made.kid,
        last4=made.last4,
        created_at=datetime.now(UTC),
        created_by=actor,
        **{field: getattr(wish, field) for field in KeyWish.__struct_fields__},
    )
    await insert_key(connection, stored, digest=digest_key(made.text, pepper))
    return stored, made.text


async def reissue_key(
    connection: AsyncConnection,
    kid: str,
    *,
    overlap: timedelta,
    pepper: bytes,
    actor: str,
    environment: KeyEnvironment = "l",
) -> tuple[StoredKey, str] | None:
    """Give a key another secret; returns it and its new text, which is kept nowhere.

    Args:
        connection: in a transaction, which the caller commits.
        kid: of the key; None is returned where there is none.
        overlap: how long the old secret works on.
        pepper: of the installation.
        actor: whom the audit log names.
        environment: the letter in the key's text.

    Raises:
        WishError: the key was revoked, or the overlap is too long.
    """
    if not timedelta(0) <= overlap <= LONGEST_OVERLAP:
        raise WishError(f"overlap_s: give 0 to {LONGEST_OVERLAP.total_seconds():.0f} seconds")
    if not kid.isascii():
        return None
    made = make_key(secrets.token_bytes, environment, kid=kid)
    stored = await rotate_key(
        connection,
        kid,
        digest=digest_key(made.text, pepper),
        last4=made.last4,
        overlap=overlap,
        at=datetime.now(UTC),
        actor=actor,
    )
    return None if stored is None else (stored, made.text)


async def count_keys(connection: AsyncConnection) -> int:
    """How many keys were ever made, revoked ones included."""
    return await connection.scalar(select(func.count()).select_from(api_key)) or 0


def check_wish(wish: KeyWish) -> None:
    """See whether a key can be so, its expiry aside.

    Raises:
        ValueError: it cannot; the message begins with the field.
    """
    if not wish.name.strip() or len(wish.name) > _NAME_CHARACTERS:
        raise ValueError(f"name: give 1 to {_NAME_CHARACTERS} characters")
    for name, value in wish.labels.items():
        if not name or len(name) > _LABEL_CHARACTERS or len(value) > _VALUE_CHARACTERS:
            raise ValueError(
                f"labels.{name[:_LABEL_CHARACTERS]}: at most {_LABEL_CHARACTERS} characters for "
                f"the name and {_VALUE_CHARACTERS} for the value"
            )
        if "=" in name:
            # Filters, links and commands write NAME=VALUE.
            raise ValueError(f"labels.{name}: a name holds no equals sign; write a name without it")
    if len(wish.labels) > _MOST_LABELS:
        raise ValueError(f"labels: at most {_MOST_LABELS}")
    for field in ("allowed_models", "allowed_providers"):
        entries: tuple[str, ...] = getattr(wish, field)
        if len(entries) > _MOST_ENTRIES or not all(map(_is_name, entries)):
            raise ValueError(
                f"{field}: at most {_MOST_ENTRIES} names of 1 to {_VALUE_CHARACTERS} characters"
            )
    if wish.default_model is not None and not _is_name(wish.default_model):
        raise ValueError(f"default_model: give 1 to {_VALUE_CHARACTERS} characters")
    origins = wish.provider_configs_origins
    if len(origins) > _MOST_ENTRIES or not all(map(_ORIGIN.fullmatch, origins)):
        raise ValueError(
            f"provider_configs_origins: at most {_MOST_ENTRIES} origins in lower case, as "
            "https://api.example.com or https://api.example.com:8443, without a path"
        )
    for field in ("requests_per_minute", "tokens_per_minute", "concurrency"):
        limit: int | None = getattr(wish, field)
        if limit is not None and not 1 <= limit <= _MOST_LIMIT:
            raise ValueError(f"{field}: give a number from 1 to {_MOST_LIMIT:,}, or none")
    _refuse_controls(wish)


def check_expiry(expires_at: datetime | None, now: datetime) -> None:
    """See whether a key can end then.

    Raises:
        ValueError: it has no zone, lies in the past, or too far ahead.
    """
    if expires_at is None:
        return
    if expires_at.tzinfo is None:
        raise ValueError("expires_at: give the time with its zone, as 2027-01-31T00:00:00Z")
    if expires_at <= now:
        raise ValueError("expires_at: lies in the past; revoke the key to end it now")
    if expires_at.year >= _YEAR_TOO_LATE:
        raise ValueError("expires_at: give a time before the year 9999, or none for never")


def _is_name(text: str) -> bool:
    return len(text.strip()) > 0 and len(text) <= _VALUE_CHARACTERS


def _refuse_controls(wish: KeyWish) -> None:
    """What is told in tables and logs, and stored, is of one line."""
    texts = {
        "name": [wish.name],
        "labels": [*wish.labels, *wish.labels.values()],
        "allowed_models": wish.allowed_models,
        "allowed_providers": wish.allowed_providers,
        "default_model": [wish.default_model or ""],
    }
    for field, values in texts.items():
        if not all(map(is_one_line, values)):
            raise ValueError(f"{field}: must not hold line breaks or other control characters")


_ORIGIN = re.compile(
    r"https?://(?:[a-z0-9](?:[a-z0-9.-]{0,251}[a-z0-9])?|\[[0-9a-f:]+\])(?::[1-9][0-9]{0,4})?"
)
_NAME_CHARACTERS = 128
_YEAR_TOO_LATE = 9999
"""With its zone taken off it may be a year that no calendar has."""
_LABEL_CHARACTERS = 64
_VALUE_CHARACTERS = 256
_MOST_LABELS = 32
_MOST_LIMIT = 2_000_000_000
_MOST_ENTRIES = 256
