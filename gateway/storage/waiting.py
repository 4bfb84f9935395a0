"""Waiting for PostgreSQL without ever hanging, whatever becomes of the server.

`asyncio.timeout` does not bound a call to asyncpg: with the server stopped by SIGSTOP it was still
waiting after 25 s. So every wait happens on a task of its own, and `bounded` walks away from it in
time and terminates its connection.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any, TypeVar

import asyncpg  # pyright: ignore[reportMissingTypeStubs] - it has none
from sqlalchemy.exc import DBAPIError
from sqlalchemy.exc import TimeoutError as PoolTimeoutError
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from gateway.storage.engine import raw_connection

T = TypeVar("T")

MAX_ABANDONED = 64
"""Calls walked away from that have not ended yet; beyond it new ones are refused at once."""

# Classes 08 connection, 28 authorization, 53 resources, 57 operator intervention; 25006 is a server
# that became a read-only standby, 3D000 a database that is not there (yet).
_UNAVAILABLE_CLASSES = frozenset({"08", "28", "53", "57"})
_UNAVAILABLE_STATES = frozenset({"25006", "3D000"})
# The statement was too slow, which says nothing about the server.
_QUERY_CANCELED = "57014"

_logger = logging.getLogger(__name__)
_abandoned: set["asyncio.Task[Any]"] = set()


class DatabaseUnavailableError(Exception):
    """The database cannot be reached or does not answer; trying again later can help."""


class DatabaseTimeoutError(DatabaseUnavailableError):
    """The database did not answer in time; whether the work was done is unknown."""


async def bounded(
    work: Coroutine[Any, Any, T],
    seconds: float,
    *,
    on_abandon: Callable[[], None] | None = None,
) -> T:
    """What `work` returns or raises, if it does so within `seconds`.

    It runs on a task of its own. When time is up, or the caller is cancelled, `on_abandon` is
    called (terminate the connection there), the task is cancelled and kept until it has ended.

    Raises:
        DatabaseTimeoutError: time is up.
        DatabaseUnavailableError: too many abandoned calls hang already.
    """
    if len(_abandoned) >= MAX_ABANDONED:
        work.close()
        raise DatabaseUnavailableError("the database does not answer; earlier calls still hang")
    task = asyncio.create_task(work)
    try:
        done, _ = await asyncio.wait({task}, timeout=seconds)
    except asyncio.CancelledError:
        _abandon(task, on_abandon)
        raise
    if not done:
        _abandon(task, on_abandon)
        raise DatabaseTimeoutError(f"the database did not answer within {seconds:g} s")
    return task.result()


async def run_bounded(
    engine: AsyncEngine,
    work: Callable[[AsyncConnection], Awaitable[T]],
    *,
    seconds: float,
) -> T:
    """Run `work` in one transaction of a pooled connection, commit, and return what it returned.

    Raises:
        DatabaseTimeoutError: not done within `seconds`; the connection is terminated.
        DatabaseUnavailableError: no connection, or it broke.
        DBAPIError: the database refused a statement.
    """
    connection = engine.connect()

    async def transact() -> T:
        async with connection, connection.begin():
            return await work(connection)

    try:
        return await bounded(transact(), seconds, on_abandon=lambda: terminate(connection))
    except Exception as exc:
        if isinstance(exc, DatabaseUnavailableError) or not is_unavailable(exc):
            raise
        raise DatabaseUnavailableError(f"no connection to the database: {_reason(exc)}") from exc


def abandoned_count() -> int:
    """How many calls were walked away from and have not ended yet."""
    return len(_abandoned)


def terminate(connection: AsyncConnection) -> None:
    """Close the socket of a connection at once, without a word to the server."""
    raw = raw_connection(connection)
    if raw is not None:
        raw.terminate()


def sqlstate_of(error: BaseException) -> str | None:
    """PostgreSQL's five characters, from SQLAlchemy's error or asyncpg's; None without any."""
    origin = error.orig if isinstance(error, DBAPIError) else error
    state = getattr(origin, "sqlstate", None)
    return state if isinstance(state, str) else None


def is_unavailable(error: BaseException) -> bool:
    """Whether the server or the way to it is at fault, rather than the statement or its data."""
    if isinstance(error, DatabaseUnavailableError | OSError | TimeoutError | PoolTimeoutError):
        return True
    state = sqlstate_of(error)
    if state is not None:
        if state == _QUERY_CANCELED:
            return False
        return state in _UNAVAILABLE_STATES or state[:2] in _UNAVAILABLE_CLASSES
    if isinstance(error, DBAPIError):
        return error.connection_invalidated or isinstance(error.orig, OSError)
    return isinstance(error, asyncpg.InterfaceError)


def _abandon(task: "asyncio.Task[Any]", on_abandon: Callable[[], None] | None) -> None:
    _abandoned.add(task)
    task.add_done_callback(_see_the_end)
    if on_abandon is not None:
        on_abandon()
    task.cancel()


def _see_the_end(task: "asyncio.Task[Any]") -> None:
    _abandoned.discard(task)
    if not task.cancelled() and (error := task.exception()) is not None:
        _logger.debug("an abandoned call to the database ended: %s", type(error).__name__)


def _reason(error: BaseException) -> str:
    origin = error.orig if isinstance(error, DBAPIError) and error.orig is not None else error
    return str(origin) or type(origin).__name__
