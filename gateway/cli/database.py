"""The installation's database, for as long as a command or a server needs it."""

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import Self, TypeVar

from sqlalchemy.ext.asyncio import AsyncConnection

from gateway.cli.printing import CommandError, note
from gateway.processes.data_directory import DataDirectory
from gateway.settings.values import Settings
from gateway.storage.asking import Asker
from gateway.storage.embedded import EmbeddedPostgres
from gateway.storage.engine import libpq_url, shown_url
from gateway.storage.pg_process import EmbeddedPostgresError
from gateway.storage.waiting import DatabaseUnavailableError

T = TypeVar("T")
_COMMAND_S = 15.0
_LOOK_S = 1.0
_REVIVE_PAUSE_S = 10.0


class Database:
    """The configured database, or the embedded one, started if need be and kept running."""

    def __init__(self, settings: Settings, *, quiet: bool = False) -> None:
        self._settings = settings
        self._say = _silent if quiet else note
        self._server: EmbeddedPostgres | None = None
        self._url = settings.database_url
        self._revive_at_s = 0.0

    def __enter__(self) -> Self:
        """Start it.

        Raises:
            CommandError: the configured address is not one of PostgreSQL.
            DataDirectoryError: the data directory cannot be used.
            EmbeddedPostgresError: the embedded server cannot be started.
        """
        if self._url is not None:
            try:
                libpq_url(self._url)
            except ValueError as exc:
                raise CommandError(f"TOLLWAY_DATABASE_URL (or database_url): {exc}") from exc
        else:
            DataDirectory(self._settings.data_dir).prepare()
            self._server = EmbeddedPostgres(self._settings.data_dir)
            self._url = self._server.start(on_progress=self._say)
        return self

    def __exit__(self, *_: object) -> None:
        if self._server is not None:
            self._server.stop()

    @property
    def url(self) -> str:
        """Where it is, with the password: belongs in no log."""
        if self._url is None:
            raise CommandError("the database was not opened")
        return self._url

    def revive(self) -> None:
        """Start the embedded server again if it died; looks once a second at most."""
        now_s = time.monotonic()
        if self._server is None or now_s < self._revive_at_s:
            return
        self._revive_at_s = now_s + _LOOK_S
        if not self._server.is_running():
            note("PostgreSQL ended; starting it again")
            try:
                self._server.start(on_progress=self._say)
            except EmbeddedPostgresError as exc:
                # Requests go on without it; the next look tries again.
                note(f"PostgreSQL does not start: {exc}")
                self._revive_at_s = now_s + _REVIVE_PAUSE_S


def ask(
    database_url: str,
    work: Callable[[AsyncConnection], Awaitable[T]],
    *,
    within_s: float = _COMMAND_S,
) -> T:
    """Do something in one transaction.

    Raises:
        CommandError: the database does not answer.
    """

    async def run() -> T:
        asker = Asker(database_url, within_s=within_s, application_name="tollway command")
        try:
            return await asker(work)
        finally:
            await asker.aclose()

    try:
        return asyncio.run(run())
    except DatabaseUnavailableError as exc:
        raise CommandError(f"the database at {shown_url(database_url)}: {exc}") from exc


def _silent(_: str) -> None: ...
