"""Connections to PostgreSQL: a pool for statements, single ones for `COPY` and `LISTEN`."""

from collections.abc import AsyncIterable, Callable, Coroutine, Iterable, Sequence
from typing import Any, Protocol, TypeAlias, cast
from urllib.parse import parse_qsl, quote, urlencode, urlsplit

import asyncpg  # pyright: ignore[reportMissingTypeStubs] - it has none
import msgspec
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine, create_async_engine

Connection: TypeAlias = AsyncConnection
"""For rooms that pass one on without asking it anything."""
Engine: TypeAlias = AsyncEngine
"""The same."""

CONNECT_TIMEOUT_S = 5.0
STATEMENT_TIMEOUT_S = 10.0
LOCK_TIMEOUT_S = 2.0
COMMAND_TIMEOUT_S = 15.0
"""Longer than the server's own limit, so that a healthy server reports the timeout itself."""

_IDLE_IN_TRANSACTION_TIMEOUT_S = 60.0
_SCHEMES = frozenset({"postgresql", "postgres", "postgresql+asyncpg"})


class RawConnection(Protocol):
    """What we use of asyncpg's own connection: `COPY`, `LISTEN`, and the way out."""

    async def execute(self, query: str, *args: object) -> str: ...
    async def copy_records_to_table(
        self,
        table_name: str,
        *,
        records: Iterable[Sequence[object]] | AsyncIterable[Sequence[object]],
        columns: Sequence[str],
    ) -> str: ...
    async def add_listener(self, channel: str, callback: Callable[..., None]) -> None: ...
    def add_termination_listener(self, callback: Callable[..., None]) -> None: ...
    def is_closed(self) -> bool: ...
    async def close(self) -> None: ...
    def terminate(self) -> None: ...


_connect = cast(
    "Callable[..., Coroutine[Any, Any, RawConnection]]",
    asyncpg.connect,  # pyright: ignore[reportUnknownMemberType] - no stubs
)


def libpq_url(dsn: str) -> str:
    """The address in the form that libpq, asyncpg and ADBC understand.

    Raises:
        ValueError: it is not a URL of PostgreSQL; the message does not repeat it.
    """
    scheme, separator, rest = dsn.strip().partition("://")
    if not separator or scheme not in _SCHEMES:
        raise ValueError("the database address must begin with postgresql://")
    url = f"postgresql://{rest}"
    try:
        urlsplit(url)
    except ValueError:
        # Not chained: the parser's own message may repeat a part of the address.
        raise ValueError("the database address is not a valid URL") from None
    return url


def shown_url(dsn: str) -> str:
    """The address without user, password and parameters, fit for logs and messages."""
    parts = urlsplit(libpq_url(dsn))
    host = parts.netloc.rpartition("@")[2] or dict(parse_qsl(parts.query)).get("host", "localhost")
    return f"postgresql://{host}{parts.path}"


def asyncpg_kwargs(
    dsn: str,
    *,
    application_name: str = "tollway",
    command_timeout_s: float | None = COMMAND_TIMEOUT_S,
    statement_timeout_s: float = STATEMENT_TIMEOUT_S,
    lock_timeout_s: float = LOCK_TIMEOUT_S,
    connect_timeout_s: float = CONNECT_TIMEOUT_S,
) -> dict[str, Any]:
    """Arguments of `connect_raw`. They hold the password, so they belong in no log.

    Args:
        dsn: `postgresql://user:password@host/name`, or `@/name?host=/socket/directory`.
        application_name: how the connection is named in `pg_stat_activity`.
        command_timeout_s: after which the client gives up; None waits.
        statement_timeout_s: after which the server gives up; 0 switches it off.
        lock_timeout_s: how long a statement waits for a lock; 0 waits.
        connect_timeout_s: for a new connection; `connect_timeout` in the address wins.

    Raises:
        ValueError: the address is not a URL of PostgreSQL.
    """
    parts = urlsplit(libpq_url(dsn))
    query = dict(parse_qsl(parts.query, keep_blank_values=True))
    # asyncpg hands parameters that it does not know to the server, which refuses this one.
    given = query.pop("connect_timeout", None)
    return {
        "dsn": _join(parts.netloc, parts.path, query),
        "timeout": float(given) if given else connect_timeout_s,
        "command_timeout": command_timeout_s,
        "server_settings": {
            "application_name": application_name,
            "statement_timeout": _milliseconds(statement_timeout_s),
            "lock_timeout": _milliseconds(lock_timeout_s),
            "idle_in_transaction_session_timeout": _milliseconds(_IDLE_IN_TRANSACTION_TIMEOUT_S),
            "timezone": "UTC",
        },
    }


async def connect_raw(arguments: dict[str, Any]) -> RawConnection:
    """A connection outside any pool, from the arguments that `asyncpg_kwargs` made."""
    return await _connect(**arguments)


def raw_connection(connection: AsyncConnection) -> RawConnection | None:
    """The connection of asyncpg underneath, in the same transaction once a statement has run.

    None when it is not connected.
    """
    if connection.sync_connection is None or connection.closed:
        return None
    return cast("RawConnection | None", connection.sync_connection.connection.driver_connection)


def make_engine(
    dsn: str,
    *,
    pool_size: int = 2,
    application_name: str = "tollway",
    command_timeout_s: float | None = COMMAND_TIMEOUT_S,
    statement_timeout_s: float = STATEMENT_TIMEOUT_S,
    lock_timeout_s: float = LOCK_TIMEOUT_S,
    connect_timeout_s: float = CONNECT_TIMEOUT_S,
    is_pinged: bool = True,
) -> AsyncEngine:
    """A pool of at most `pool_size` connections; it connects when first used.

    Unless `is_pinged`, whether a connection is still there shows with the first statement only.

    Neither its `repr` nor its errors show the address or the parameters of a statement. The other
    arguments are those of `asyncpg_kwargs`. Wait for it through `gateway.storage.waiting` only.

    Raises:
        ValueError: the address is not a URL of PostgreSQL.
    """
    arguments = asyncpg_kwargs(
        dsn,
        application_name=application_name,
        command_timeout_s=command_timeout_s,
        statement_timeout_s=statement_timeout_s,
        lock_timeout_s=lock_timeout_s,
        connect_timeout_s=connect_timeout_s,
    )

    async def connect(*_: object, **__: object) -> RawConnection:
        return await connect_raw(arguments)

    return create_async_engine(
        "postgresql+asyncpg://",
        async_creator=connect,
        pool_size=pool_size,
        max_overflow=0,
        pool_timeout=connect_timeout_s + (command_timeout_s or 0),
        pool_recycle=1800,
        pool_pre_ping=is_pinged,
        hide_parameters=True,
        json_serializer=_encode_json,
        json_deserializer=msgspec.json.decode,
    )


def with_role(dsn: str, *, user: str, password: str) -> str:
    """The same database as somebody else."""
    parts = urlsplit(libpq_url(dsn))
    query = dict(parse_qsl(parts.query, keep_blank_values=True))
    for parameter in ("user", "password", "passfile"):
        query.pop(parameter, None)
    login = f"{quote(user, safe='')}:{quote(password, safe='')}"
    return _join(f"{login}@{parts.netloc.rpartition('@')[2]}", parts.path, query)


def _join(netloc: str, path: str, query: dict[str, str]) -> str:
    # urlunsplit would drop the slashes of an address without host. libpq reads + as it stands.
    suffix = f"?{urlencode(query, quote_via=quote, safe='/')}" if query else ""
    return f"postgresql://{netloc}{path}{suffix}"


def _encode_json(value: object) -> str:
    return msgspec.json.encode(value).decode()


def _milliseconds(seconds: float) -> str:
    return str(round(seconds * 1000))
