"""Connections to the database for many browser sessions, each of which is a thread."""

import contextlib
import logging
import queue
from collections.abc import Callable, Generator
from itertools import chain
from typing import Any, TypeAlias
from urllib.parse import parse_qsl, quote, urlencode, urlsplit, urlunsplit

import adbc_driver_manager
import adbc_driver_postgresql.dbapi  # pyright: ignore[reportMissingTypeStubs] - it has none
import polars as pl

_log = logging.getLogger("tollway.dashboard")
_DRIVER: Any = adbc_driver_postgresql.dbapi

_SETTINGS = (
    "-c statement_timeout=15000 -c default_transaction_read_only=on -c timezone=UTC "
    # Sums by key and label are sorted on disk within less, and compiled for longer than they run.
    "-c work_mem=32MB -c jit=off "
    "-c application_name=tollway-dashboard"
)
_CONNECT_WITHIN_S = "3"
_QUERY_CANCELED = "57014"
_UNDEFINED_TABLE = "42P01"
_INSUFFICIENT_PRIVILEGE = "42501"

Fold: TypeAlias = Callable[[pl.DataFrame], pl.DataFrame]


class SourceError(Exception):
    """The database cannot be read now. Holds what a reader is told, no address and no password."""

    def __init__(self, title: str, remedy: str) -> None:
        super().__init__(f"{title} {remedy}")
        self.title = title
        self.remedy = remedy


class Pool:
    """A few connections, made when first needed. One is never used by two threads: ADBC hangs.

    Half of them are for those who read ahead: see `dashboard.ahead`.
    """

    def __init__(self, database_url: str, *, size: int = 8, wait_s: float = 2.0) -> None:
        self._url = _with_settings(database_url)
        self._wait_s = wait_s
        self._slots: queue.LifoQueue[Any] = queue.LifoQueue()
        for _ in range(size):
            self._slots.put(None)

    def __repr__(self) -> str:
        return "Pool()"

    def read(self, sql: str, parameters: list[object], fold: Fold | None = None) -> pl.DataFrame:
        """The rows of one statement with ``$1``-style parameters.

        Args:
            sql: the statement.
            parameters: its parameters.
            fold: makes less of some thousands of rows as they come, so that not all of them are
                held at once; what it made of each lot is put together.

        Raises:
            SourceError: the server is away, refuses, is too slow, or all connections are busy.
        """
        try:
            return self._read(sql, parameters, fold)
        except _LostConnectionError as exc:
            # The server was restarted since the connection was made: a new one tells how it is.
            try:
                return self._read(sql, parameters, fold)
            except _LostConnectionError:
                raise _explain(exc.error) from exc.error

    def _read(self, sql: str, parameters: list[object], fold: Fold | None) -> pl.DataFrame:
        with self._connection() as connection, connection.cursor() as cursor:
            # Fetched through the driver: inside Polars its errors would lose their type and code.
            cursor.execute(sql, parameters)
            if fold is None:
                return pl.DataFrame(cursor.fetch_arrow_table())
            # What `fetch_record_batch` gives would raise errors of Arrow's, without type and code.
            reader = cursor._results.reader  # noqa: SLF001
            lots = chain([reader.schema.empty_table()], reader)
            return pl.concat(fold(pl.DataFrame(lot)) for lot in lots)

    def close(self) -> None:
        """Close what is idle."""
        with contextlib.suppress(queue.Empty):
            while True:
                connection = self._slots.get_nowait()
                if connection is not None:
                    connection.close()

    @contextlib.contextmanager
    def _connection(self) -> Generator[Any]:
        try:
            connection = self._slots.get(timeout=self._wait_s)
        except queue.Empty:
            raise SourceError(
                "The dashboard is busy.", "Every connection is in use; try again in a moment."
            ) from None
        is_sound, is_reused = False, connection is not None
        try:
            if connection is None:
                connection = _DRIVER.connect(self._url, autocommit=True)
            yield connection
            is_sound = True
        except adbc_driver_manager.Error as exc:
            if is_reused and _is_lost(exc):
                raise _LostConnectionError(exc) from exc
            raise _explain(exc) from exc
        finally:
            # After an error the connection refuses everything, so it is replaced.
            if not is_sound and connection is not None:
                with contextlib.suppress(adbc_driver_manager.Error):
                    connection.close()
                connection = None
            self._slots.put(connection)


class _LostConnectionError(Exception):
    """A connection that was good before is not any more."""

    def __init__(self, error: adbc_driver_manager.Error) -> None:
        super().__init__(str(error))
        self.error = error


def _is_lost(error: adbc_driver_manager.Error) -> bool:
    # Class 08 is the connection's, 57P the server's shutdown; without a code there was no answer.
    return error.sqlstate is None or error.sqlstate.startswith(("08", "57P"))


def _with_settings(database_url: str) -> str:
    parts = urlsplit(database_url)
    query = dict(parse_qsl(parts.query))
    query["options"] = f"{query.get('options', '')} {_SETTINGS}".strip()
    query.setdefault("connect_timeout", _CONNECT_WITHIN_S)
    # libpq reads a plus sign as itself, so spaces are written as %20.
    return urlunsplit(parts._replace(query=urlencode(query, quote_via=quote)))


def _explain(error: adbc_driver_manager.Error) -> SourceError:
    sqlstate = error.sqlstate
    # libpq's messages name host and user, never the password.
    _log.warning("PostgreSQL could not be read (%s): %s", sqlstate, error)
    if sqlstate == _QUERY_CANCELED:
        return SourceError(
            "This period takes too long to add up.", "Choose a shorter one, then try again."
        )
    if sqlstate in {_UNDEFINED_TABLE, _INSUFFICIENT_PRIVILEGE}:
        return SourceError(
            "The dashboard may not read Tollway's views.",
            "Run `tollway migrate` on this database, then try again.",
        )
    return SourceError(
        "PostgreSQL does not answer.",
        "Requests are still served and recorded meanwhile. See that the database runs, "
        "then try again; `tollway doctor` tells more.",
    )
