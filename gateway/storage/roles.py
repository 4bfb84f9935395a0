"""The role that the dashboard reads with: it sees the views, no digest, and can change nothing.

The migrations make the role without a right to log in; `ensure_reader` gives it its password at the
gateway's start. On a server where our own role may not do that, an administrator does it once, and
the address of the reader is configured.
"""

import asyncio
import base64
import hashlib
import hmac
import secrets
from collections.abc import Sequence

from sqlalchemy import func, select, text
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import AsyncConnection

from gateway.storage.coarse_tables import views
from gateway.storage.engine import make_engine, shown_url, with_role
from gateway.storage.waiting import run_bounded, sqlstate_of

READER = "tollway_reader"
STATEMENT_TIMEOUT_S = 30
"""How long one statement of the reader may take."""

_PASSWORD_LABEL = b"tollway/reader-password/v1"
_ADVISORY_LOCK = int.from_bytes(b"tw-role")
_SCRAM_ITERATIONS = 4096
_WAIT_S = 30.0
_TRIES = 5
_INSUFFICIENT_PRIVILEGE = "42501"
_DUPLICATES = frozenset({"42710", "23505"})
# What PostgreSQL says when somebody else changes the same role: "tuple concurrently updated".
_INTERNAL_ERROR = "XX000"


class ReaderRoleError(Exception):
    """The reader role cannot be given its password or its rights; says what to do."""


def reader_password(secret: bytes) -> str:
    """The reader's password on every node that has this TOLLWAY_SECRET.

    Derived rather than drawn, so that nodes starting side by side do not lock each other out.
    """
    return hmac.digest(secret, _PASSWORD_LABEL, "sha256").hex()


def ensure_reader(dsn: str, password: str) -> str:
    """The address that the dashboard reads from, after making sure that it works.

    Changes nothing when the reader can log in and read already. Blocks; call it from a thread where
    an event loop runs.

    Args:
        dsn: the address of the gateway's own role, which made or owns the reader role.
        password: the reader's, such as `reader_password` derives.

    Raises:
        ReaderRoleError: the role cannot be set up from here; the message says what to run where.
        DatabaseUnavailableError: the server is away.
        ValueError: the address is not a URL of PostgreSQL.
    """
    reader_dsn = with_role(dsn, user=READER, password=password)
    asyncio.run(_ensure(dsn, reader_dsn, password))
    return reader_dsn


async def _ensure(dsn: str, reader_dsn: str, password: str) -> None:
    for _ in range(_TRIES):
        if await _can_read(reader_dsn):
            return
        try:
            await _set_up(dsn, password)
        except DBAPIError as exc:
            state = sqlstate_of(exc)
            if state == _INSUFFICIENT_PRIVILEGE:
                raise ReaderRoleError(_remedy(dsn, str(exc.orig))) from exc
            if state != _INTERNAL_ERROR and state not in _DUPLICATES:
                raise
    if not await _can_read(reader_dsn):
        raise ReaderRoleError(_remedy(dsn, f"the server does not let {READER} log in"))


async def _can_read(reader_dsn: str) -> bool:
    async def read(connection: AsyncConnection) -> None:
        for view in views.sorted_tables:
            await connection.execute(select(view).limit(0))
        setting = await connection.scalar(
            select(func.current_setting("default_transaction_read_only"))
        )
        if setting != "on":
            raise _UnfitError

    engine = make_engine(reader_dsn, pool_size=1, application_name="tollway-reader-check")
    try:
        await run_bounded(engine, read, seconds=_WAIT_S)
    except _UnfitError:
        return False
    except Exception as exc:
        state = sqlstate_of(exc) or sqlstate_of(exc.__cause__ or exc)
        # Class 28: no such role, no right to log in, or another password.
        if state == _INSUFFICIENT_PRIVILEGE or (state or "").startswith("28"):
            return False
        raise
    finally:
        await engine.dispose()
    return True


class _UnfitError(Exception):
    """The role can log in but was not set up by us."""


async def _set_up(dsn: str, password: str) -> None:
    engine = make_engine(dsn, pool_size=1, application_name="tollway-reader-setup")

    async def set_up(connection: AsyncConnection) -> None:
        await connection.execute(select(func.pg_advisory_xact_lock(_ADVISORY_LOCK)))
        for statement in await _statements(connection, scram_verifier(password)):
            await connection.exec_driver_sql(statement)

    try:
        await run_bounded(engine, set_up, seconds=_WAIT_S)
    finally:
        await engine.dispose()


async def _statements(connection: AsyncConnection, verifier: str) -> Sequence[str]:
    """The statements with their names quoted by the server; they cannot take parameters."""
    exists = await connection.scalar(
        select(func.count()).select_from(text("pg_roles")).where(text("rolname = :name")),
        {"name": READER},
    )
    database = func.current_database()
    parts = [
        func.format(f"ALTER ROLE {READER} LOGIN PASSWORD %L", verifier),
        func.format(
            f"ALTER ROLE {READER} IN DATABASE %I SET default_transaction_read_only = on", database
        ),
        func.format(
            f"ALTER ROLE {READER} IN DATABASE %I SET statement_timeout = '{STATEMENT_TIMEOUT_S}s'",
            database,
        ),
        func.format(f"GRANT USAGE ON SCHEMA %I TO {READER}", func.current_schema()),
    ]
    row = (await connection.execute(select(*parts))).one()
    names = ", ".join(view.name for view in views.sorted_tables)
    made = () if exists else (f"CREATE ROLE {READER} NOLOGIN",)
    return (*made, *row, f"GRANT SELECT ON {names} TO {READER}")


def scram_verifier(password: str) -> str:
    """What PostgreSQL keeps of a password (RFC 5803), so that its logs never see the password."""
    salt = secrets.token_bytes(16)
    salted = hashlib.pbkdf2_hmac("sha256", password.encode(), salt, _SCRAM_ITERATIONS)
    stored = hashlib.sha256(hmac.digest(salted, b"Client Key", "sha256")).digest()
    server = hmac.digest(salted, b"Server Key", "sha256")
    salt64, stored64, server64 = (
        base64.b64encode(part).decode() for part in (salt, stored, server)
    )
    return f"SCRAM-SHA-256${_SCRAM_ITERATIONS}:{salt64}${stored64}:{server64}"


def _remedy(dsn: str, reason: str) -> str:
    names = ", ".join(view.name for view in views.sorted_tables)
    return (
        f"the dashboard's role {READER} cannot be set up on {shown_url(dsn)} ({reason}). "
        "Give Tollway's own role CREATEROLE, or let an administrator run, in that database: "
        f"CREATE ROLE {READER} LOGIN PASSWORD '…'; "
        f"ALTER ROLE {READER} SET default_transaction_read_only = on; "
        f"ALTER ROLE {READER} SET statement_timeout = '{STATEMENT_TIMEOUT_S}s'; "
        f"GRANT SELECT ON {names} TO {READER}; "
        "and configure the address of the reader."
    )
