"""Keys in Postgres: made, listed, revoked, and loaded as the callers that a snapshot holds."""

from datetime import datetime
from typing import Any
from uuid import UUID

import msgspec
from sqlalchemy import RowMapping, insert, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from gateway.domain.caller import Caller
from gateway.storage.changes import KEYS, record_change
from gateway.storage.tables import api_key


class StoredKey(msgspec.Struct, frozen=True, kw_only=True):
    """A key as operators see it: everything but its digest."""

    id: UUID
    kid: str
    last4: str
    """The end of the key's text, by which its owner recognises it."""
    name: str
    labels: dict[str, str] = {}
    allowed_models: tuple[str, ...] = ()
    allowed_providers: tuple[str, ...] = ()
    default_model: str | None = None
    slash_pins_provider: bool | None = None
    has_hard_budget: bool = False
    provider_configs_origins: tuple[str, ...] = ()
    """Where its requests may be sent with credentials of their own; empty refuses them."""
    requests_per_minute: int | None = None
    tokens_per_minute: int | None = None
    concurrency: int | None = None
    """How many requests may be open at once; None of each is no limit."""
    created_at: datetime
    created_by: str
    expires_at: datetime | None = None
    """The first instant at which it no longer works; None means never."""
    revoked_at: datetime | None = None
    """None while it is valid."""


_PUBLIC = tuple(api_key.c[field] for field in StoredKey.__struct_fields__)


async def insert_key(
    connection: AsyncConnection, key: StoredKey, *, digest: bytes, pepper_version: int = 1
) -> int:
    """Store a new key, with its change counted and audited; returns the new epoch of keys.

    Args:
        connection: in a transaction, which the caller commits.
        key: its public part; `created_by` is who the audit log names.
        digest: 32 bytes, from `gateway.domain.keys.digest_key`.
        pepper_version: which pepper the digest was made with.

    Raises:
        IntegrityError: the `kid` or the id exists already.
    """
    values = {field: getattr(key, field) for field in StoredKey.__struct_fields__}
    for field in ("allowed_models", "allowed_providers", "provider_configs_origins"):
        values[field] = list(values[field])
    await connection.execute(
        insert(api_key).values(**values, digest=digest, pepper_version=pepper_version)
    )
    return await record_change(
        connection,
        KEYS,
        at=key.created_at,
        actor=key.created_by,
        action="key.create",
        subject=key.kid,
        after=_audited(key),
    )


async def list_keys(connection: AsyncConnection) -> list[StoredKey]:
    """Every key, oldest first, revoked and expired ones included."""
    rows = await connection.execute(select(*_PUBLIC).order_by(api_key.c.created_at, api_key.c.kid))
    return [_stored(row) for row in rows.mappings()]


async def revoke_key(
    connection: AsyncConnection, kid: str, *, at: datetime, actor: str
) -> StoredKey | None:
    """Revoke a key for good; None when there is none of that `kid`.

    A key that was revoked before is returned as it is: the first revocation stands.
    """
    row = (
        (await connection.execute(select(*_PUBLIC).where(api_key.c.kid == kid).with_for_update()))
        .mappings()
        .one_or_none()
    )
    if row is None:
        return None
    before = _stored(row)
    if before.revoked_at is not None:
        return before
    after = msgspec.structs.replace(before, revoked_at=at)
    await connection.execute(update(api_key).where(api_key.c.kid == kid).values(revoked_at=at))
    await record_change(
        connection,
        KEYS,
        at=at,
        actor=actor,
        action="key.revoke",
        subject=kid,
        before=_audited(before),
        after=_audited(after),
    )
    return after


async def load_callers(connection: AsyncConnection) -> list[tuple[bytes, Caller]]:
    """Digest and caller of every key that is not revoked.

    Expired ones are among them: their `expires_at` says so, and clocks decide where they are used.
    """
    rows = await connection.execute(
        select(*_PUBLIC, api_key.c.digest).where(api_key.c.revoked_at.is_(None))
    )
    return [(row["digest"], _caller(row)) for row in rows.mappings()]


def _stored(row: RowMapping) -> StoredKey:
    return msgspec.convert({field: row[field] for field in StoredKey.__struct_fields__}, StoredKey)


def _caller(row: RowMapping) -> Caller:
    return Caller(
        key_id=row["id"],
        kid=row["kid"],
        name=row["name"],
        labels=row["labels"],
        allowed_models=tuple(row["allowed_models"]),
        allowed_providers=tuple(row["allowed_providers"]),
        default_model=row["default_model"],
        slash_pins_provider=row["slash_pins_provider"],
        has_hard_budget=row["has_hard_budget"],
        requests_per_minute=row["requests_per_minute"],
        tokens_per_minute=row["tokens_per_minute"],
        concurrency=row["concurrency"],
        provider_configs_origins=tuple(row["provider_configs_origins"]),
        expires_at=row["expires_at"],
    )


def _audited(key: StoredKey) -> dict[str, Any]:
    return msgspec.to_builtins(key)
