"""People who may sign in: made, listed, given another role or password, revoked."""

from datetime import datetime
from typing import Any
from uuid import UUID, uuid4

import msgspec
from sqlalchemy import RowMapping, delete, insert, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from gateway.domain.principal import Role
from gateway.domain.wishes import WishError
from gateway.storage.access_tables import app_session, app_user
from gateway.storage.audit import add_entry


class StoredUser(msgspec.Struct, frozen=True, kw_only=True):
    """A user as operators see them: everything but the hash of their password."""

    id: UUID
    name: str
    role: Role
    created_at: datetime
    created_by: str
    password_changed_at: datetime
    last_sign_in_at: datetime | None = None
    revoked_at: datetime | None = None
    """None while they may sign in."""


_PUBLIC = tuple(app_user.c[field] for field in StoredUser.__struct_fields__)


async def create_user(
    connection: AsyncConnection,
    *,
    name: str,
    role: Role,
    password_hash: str,
    at: datetime,
    actor: str,
) -> StoredUser:
    """Store a new user.

    Raises:
        WishError: the name is taken, perhaps by a user who was revoked.
    """
    if await connection.scalar(select(app_user.c.id).where(app_user.c.name == name)):
        raise WishError(f"name: there is, or was, a user {name!r}; choose another name")
    user = StoredUser(
        id=uuid4(), name=name, role=role, created_at=at, created_by=actor, password_changed_at=at
    )
    await connection.execute(
        insert(app_user).values(**msgspec.structs.asdict(user), password_hash=password_hash)
    )
    await _audit(connection, "user.create", None, user, at=at, actor=actor)
    return user


async def list_users(connection: AsyncConnection) -> list[StoredUser]:
    """Every user, oldest first, revoked ones included."""
    rows = await connection.execute(
        select(*_PUBLIC).order_by(app_user.c.created_at, app_user.c.name)
    )
    return [_stored(row) for row in rows.mappings()]


async def revoke_user(
    connection: AsyncConnection, name: str, *, at: datetime, actor: str
) -> StoredUser | None:
    """Keep a user out for good and end their sessions; None when there is none of that name.

    A user who was revoked before is returned as they are: the first revocation stands.
    """
    before = await _locked(connection, name)
    if before is None or before.revoked_at is not None:
        return before
    return await _change(connection, before, "user.revoke", {"revoked_at": at}, at=at, actor=actor)


async def set_role(
    connection: AsyncConnection, name: str, role: Role, *, at: datetime, actor: str
) -> StoredUser | None:
    """Give a user another role; open sessions have it from now on. None as in `revoke_user`."""
    before = await _locked(connection, name)
    if before is None or before.role == role:
        return before
    return await _change(
        connection, before, "user.role", {"role": role}, at=at, actor=actor, ends_sessions=False
    )


async def set_password(
    connection: AsyncConnection, name: str, password_hash: str, *, at: datetime, actor: str
) -> StoredUser | None:
    """Give a user another password and end their sessions; None as in `revoke_user`."""
    before = await _locked(connection, name)
    if before is None:
        return None
    await connection.execute(
        update(app_user).where(app_user.c.id == before.id).values(password_hash=password_hash)
    )
    return await _change(
        connection, before, "user.password", {"password_changed_at": at}, at=at, actor=actor
    )


async def find_password(connection: AsyncConnection, name: str) -> tuple[UUID, str] | None:
    """The id and the hash of a user who may sign in; None when there is none."""
    rows = await connection.execute(
        select(app_user.c.id, app_user.c.password_hash).where(
            app_user.c.name == name, app_user.c.revoked_at.is_(None)
        )
    )
    row = rows.one_or_none()
    return None if row is None else (row[0], row[1])


async def _locked(connection: AsyncConnection, name: str) -> StoredUser | None:
    rows = await connection.execute(
        select(*_PUBLIC).where(app_user.c.name == name).with_for_update()
    )
    row = rows.mappings().one_or_none()
    return None if row is None else _stored(row)


async def _change(
    connection: AsyncConnection,
    before: StoredUser,
    action: str,
    values: dict[str, Any],
    *,
    at: datetime,
    actor: str,
    ends_sessions: bool = True,
) -> StoredUser:
    after = msgspec.structs.replace(before, **values)
    await connection.execute(update(app_user).where(app_user.c.id == before.id).values(**values))
    if ends_sessions:
        await connection.execute(delete(app_session).where(app_session.c.user_id == before.id))
    await _audit(connection, action, before, after, at=at, actor=actor)
    return after


async def _audit(
    connection: AsyncConnection,
    action: str,
    before: StoredUser | None,
    after: StoredUser,
    *,
    at: datetime,
    actor: str,
) -> None:
    await add_entry(
        connection,
        at=at,
        actor=actor,
        action=action,
        subject=after.name,
        before=None if before is None else msgspec.to_builtins(before),
        after=msgspec.to_builtins(after),
    )


def _stored(row: RowMapping) -> StoredUser:
    return StoredUser(**{field: row[field] for field in StoredUser.__struct_fields__})
