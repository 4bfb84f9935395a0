"""Sessions of signed-in users: a random token, of which only a digest is stored."""

import hashlib
import secrets
from datetime import datetime, timedelta
from uuid import UUID, uuid4

import msgspec
from sqlalchemy import delete, insert, or_, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from gateway.domain.principal import Principal
from gateway.storage.access_tables import app_session, app_user
from gateway.storage.audit import add_entry

LASTS = timedelta(hours=12)
"""Whatever happens."""
IDLE = timedelta(minutes=30)
"""Without being used."""
MOST_OF_ONE = 32
"""Of one user; a further one ends the oldest."""

_TOKEN_BYTES = 32
# Written at most so often, though every use counts.
_NOTED_APART = timedelta(minutes=1)


class NewSession(msgspec.Struct, frozen=True, kw_only=True):
    """A session that was just begun; its token is kept nowhere."""

    token: str
    principal: Principal
    expires_at: datetime

    def __repr__(self) -> str:
        return f"NewSession({self.principal.name!r})"


async def begin_session(
    connection: AsyncConnection, user_id: UUID, *, at: datetime
) -> NewSession | None:
    """Begin a session for a user whose password was right; None when they were revoked since.

    Sessions that are over are swept away on this occasion.
    """
    rows = await connection.execute(
        select(app_user.c.name, app_user.c.role)
        .where(app_user.c.id == user_id, app_user.c.revoked_at.is_(None))
        .with_for_update()
    )
    found = rows.one_or_none()
    if found is None:
        return None
    await connection.execute(
        delete(app_session).where(
            or_(app_session.c.expires_at <= at, app_session.c.last_used_at <= at - IDLE)
        )
    )
    newest = (
        select(app_session.c.id)
        .where(app_session.c.user_id == user_id)
        .order_by(app_session.c.created_at.desc())
        .limit(MOST_OF_ONE - 1)
    )
    await connection.execute(
        delete(app_session).where(
            app_session.c.user_id == user_id, app_session.c.id.not_in(newest.scalar_subquery())
        )
    )
    token = f"tws_{secrets.token_urlsafe(_TOKEN_BYTES)}"
    session_id = uuid4()
    await connection.execute(
        insert(app_session).values(
            id=session_id,
            user_id=user_id,
            digest=_digest(token),
            created_at=at,
            last_used_at=at,
            expires_at=at + LASTS,
        )
    )
    await connection.execute(
        update(app_user).where(app_user.c.id == user_id).values(last_sign_in_at=at)
    )
    await add_entry(connection, at=at, actor=found.name, action="session.begin", subject=found.name)
    principal = Principal(name=found.name, role=found.role, user_id=user_id, session_id=session_id)
    return NewSession(token=token, principal=principal, expires_at=at + LASTS)


async def find_session(
    connection: AsyncConnection, token: str, *, at: datetime, is_use: bool
) -> Principal | None:
    """Who holds a session, with the role that they have now; None when it is over.

    Args:
        connection: in a transaction, which the caller commits.
        token: as it was shown at sign-in.
        at: aware UTC.
        is_use: whether this keeps the session alive.
    """
    rows = await connection.execute(
        select(
            app_session.c.id, app_session.c.last_used_at, app_user.c.name, app_user.c.role,
            app_session.c.user_id,
        )
        .join(app_user, app_user.c.id == app_session.c.user_id)
        .where(
            app_session.c.digest == _digest(token),
            app_session.c.expires_at > at,
            app_session.c.last_used_at > at - IDLE,
            app_user.c.revoked_at.is_(None),
        )
    )  # fmt: skip
    row = rows.one_or_none()
    if row is None:
        return None
    if is_use and at - row.last_used_at >= _NOTED_APART:
        await connection.execute(
            update(app_session).where(app_session.c.id == row.id).values(last_used_at=at)
        )
    return Principal(name=row.name, role=row.role, user_id=row.user_id, session_id=row.id)


async def end_session(connection: AsyncConnection, token: str, *, at: datetime) -> bool:
    """End the session of a token; False when there is none."""
    user_id = await connection.scalar(
        delete(app_session)
        .where(app_session.c.digest == _digest(token))
        .returning(app_session.c.user_id)
    )
    if user_id is None:
        return False
    name = await connection.scalar(select(app_user.c.name).where(app_user.c.id == user_id))
    await add_entry(connection, at=at, actor=str(name), action="session.end", subject=str(name))
    return True


def _digest(token: str) -> bytes:
    # 256 random bits need no slow hash, and no pepper.
    return hashlib.sha256(token.encode()).digest()
