"""Keys in Postgres: made, listed, revoked, and loaded as the callers that a snapshot holds."""

from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

import msgspec
from sqlalchemy import RowMapping, delete, func, insert, select, true, update
from sqlalchemy.ext.asyncio import AsyncConnection

from gateway.domain.caller import Caller
from gateway.domain.wishes import WishError
from gateway.storage.access_tables import api_key, key_retiring
from gateway.storage.changes import KEYS, record_change
from gateway.storage.record_tables import request_record


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
    ends_requests: bool = False
    """Its revocation ended its open requests, too."""


_LONGEST_REQUEST = timedelta(days=1)
PUBLIC_COLUMNS = tuple(api_key.c[field] for field in StoredKey.__struct_fields__)


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
        after=audited_key(key),
    )


async def list_keys(connection: AsyncConnection) -> list[StoredKey]:
    """Every key, oldest first, revoked and expired ones included."""
    rows = await connection.execute(
        select(*PUBLIC_COLUMNS).order_by(api_key.c.created_at, api_key.c.kid)
    )
    return [stored_key(row) for row in rows.mappings()]


async def revoke_key(
    connection: AsyncConnection,
    kid: str,
    *,
    at: datetime,
    actor: str,
    ends_requests: bool = False,
) -> StoredKey | None:
    """Revoke a key for good; None when there is none of that `kid`.

    A key that was revoked before is returned as it is: the first revocation stands, unless only
    this one ends what is open of it.
    """
    row = (
        (
            await connection.execute(
                select(*PUBLIC_COLUMNS).where(api_key.c.kid == kid).with_for_update()
            )
        )
        .mappings()
        .one_or_none()
    )
    if row is None:
        return None
    before = stored_key(row)
    if before.revoked_at is not None and (before.ends_requests or not ends_requests):
        return before
    after = msgspec.structs.replace(before, revoked_at=at, ends_requests=ends_requests)
    await connection.execute(
        update(api_key)
        .where(api_key.c.kid == kid)
        .values(revoked_at=at, ends_requests=ends_requests)
    )
    await record_change(
        connection,
        KEYS,
        at=at,
        actor=actor,
        action="key.revoke",
        subject=kid,
        before=audited_key(before),
        after=audited_key(after),
    )
    return after


async def rotate_key(
    connection: AsyncConnection,
    kid: str,
    *,
    digest: bytes,
    last4: str,
    overlap: timedelta,
    at: datetime,
    actor: str,
    pepper_version: int = 1,
) -> StoredKey | None:
    """Give a key another secret; the one it had works on for the overlap. None without such a key.

    A secret that was still retiring ends now: there are never more than two.

    Raises:
        WishError: the key was revoked.
    """
    rows = await connection.execute(
        select(*PUBLIC_COLUMNS, api_key.c.digest, api_key.c.pepper_version)
        .where(api_key.c.kid == kid)
        .with_for_update()
    )
    row = rows.mappings().one_or_none()
    if row is None:
        return None
    before = stored_key(row)
    if before.revoked_at is not None:
        raise WishError(f"kid: the key {kid!r} was revoked; make a new one")
    await connection.execute(delete(key_retiring).where(key_retiring.c.key_id == before.id))
    if overlap > timedelta(0):
        await connection.execute(
            insert(key_retiring).values(
                digest=row["digest"],
                key_id=before.id,
                pepper_version=row["pepper_version"],
                last4=before.last4,
                expires_at=at + overlap,
            )
        )
    await connection.execute(
        update(api_key)
        .where(api_key.c.id == before.id)
        .values(digest=digest, last4=last4, pepper_version=pepper_version)
    )
    after = msgspec.structs.replace(before, last4=last4)
    await record_change(
        connection,
        KEYS,
        at=at,
        actor=actor,
        action="key.rotate",
        subject=kid,
        before=audited_key(before),
        after=audited_key(after) | {"old_secret_expires_at": (at + overlap).isoformat()},
    )
    return after


async def last_uses(connection: AsyncConnection) -> dict[UUID, datetime]:
    """When each key was last used, of those that have a record."""
    # One look into an index per key and partition, rather than a walk over all records.
    latest = (
        select(request_record.c.received_at)
        .where(request_record.c.key_id == api_key.c.id)
        .order_by(request_record.c.received_at.desc())
        .limit(1)
        .lateral()
    )
    rows = await connection.execute(select(api_key.c.id, latest.c.received_at).join(latest, true()))
    return {row[0]: row[1] for row in rows}


async def load_callers(connection: AsyncConnection) -> list[tuple[bytes, Caller]]:
    """Digest and caller of every key that is not revoked, by each of its secrets.

    Expired ones are among them: their `expires_at` says so, and clocks decide where they are used.
    """
    rows = await connection.execute(
        select(*PUBLIC_COLUMNS, api_key.c.digest).where(api_key.c.revoked_at.is_(None))
    )
    callers = [(row["digest"], _caller(row)) for row in rows.mappings()]
    by_id = {caller.key_id: caller for _, caller in callers}
    retiring = await connection.execute(
        select(key_retiring.c.digest, key_retiring.c.key_id, key_retiring.c.expires_at).where(
            key_retiring.c.expires_at > func.now()
        )
    )
    for digest, key_id, expires_at in retiring:
        caller = by_id.get(key_id)
        if caller is not None:
            ends_at = min(expires_at, caller.expires_at or expires_at)
            callers.append((digest, msgspec.structs.replace(caller, expires_at=ends_at)))
    return callers


async def load_ended(connection: AsyncConnection) -> frozenset[UUID]:
    """Keys whose open requests are to be ended; no request is open for longer than a day."""
    rows = await connection.scalars(
        select(api_key.c.id).where(
            api_key.c.ends_requests, api_key.c.revoked_at > func.now() - _LONGEST_REQUEST
        )
    )
    return frozenset(rows)


def stored_key(row: RowMapping) -> StoredKey:
    """A row of `PUBLIC_COLUMNS`."""
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


def audited_key(key: StoredKey) -> dict[str, Any]:
    """A key as the audit log keeps it."""
    return msgspec.to_builtins(key)
