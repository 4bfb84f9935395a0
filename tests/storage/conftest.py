"""One PostgreSQL for the whole test run, and as many fresh databases on it as tests want."""

import asyncio
import os
import secrets
import shutil
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit, urlunsplit

import asyncpg  # pyright: ignore[reportMissingTypeStubs] - it has none

from gateway.storage.embedded import EmbeddedPostgres

DRIVER: Any = asyncpg
CREATE_S = 30.0
DROP_S = 5.0
_DROPS_AT_ONCE = 12

# Durability is what these settings give up, and tests can do without.
FAST_SETTINGS = {
    "fsync": "off",
    "synchronous_commit": "off",
    "full_page_writes": "off",
    "max_connections": "200",
}


class DatabaseServer:
    """Makes databases on one server and drops them at the end."""

    def __init__(self, url: str, stop: Callable[[], None]) -> None:
        self._url = url
        self._stop = stop
        self._made: list[str] = []

    def create_database(self, template: str | None = None) -> str:
        """The URL of a new database: empty, or a copy of the one whose URL is given.

        Nobody may be connected to the template meanwhile.
        """
        name = f"tollway_test_{secrets.token_hex(6)}"
        copied = f" TEMPLATE {database_name(template)}" if template is not None else ""
        deadline = time.monotonic() + CREATE_S
        while True:
            try:
                self._execute(f"CREATE DATABASE {name}{copied}")
            except DRIVER.ObjectInUseError:
                # Autovacuum at work in the template: on a busy machine the server gives up on it.
                if time.monotonic() > deadline:
                    raise
            else:
                break
        self._made.append(name)
        return urlunsplit(urlsplit(self._url)._replace(path=f"/{name}"))

    def close(self) -> None:
        # Each drop waits for a checkpoint; those that wait together share one.
        with ThreadPoolExecutor(_DROPS_AT_ONCE) as pool:
            list(pool.map(self._drop, self._made))
        self._stop()

    def _drop(self, name: str) -> None:
        """Autovacuum, which only a superuser may end, can be at work in it: it is soon done."""
        deadline = time.monotonic() + DROP_S
        while True:
            try:
                self._execute(f"DROP DATABASE IF EXISTS {name} WITH (FORCE)")
            except (DRIVER.InsufficientPrivilegeError, DRIVER.ObjectInUseError):
                # Left behind, a database of a finished run does no harm.
                if time.monotonic() > deadline:
                    return
                time.sleep(0.05)
            else:
                return

    def _execute(self, statement: str) -> None:
        async def connect_and_execute() -> None:
            connection = await DRIVER.connect(self._url, timeout=30)
            try:
                await connection.execute(statement)
            finally:
                await connection.close()

        # In a thread: an asynchronous test has a loop running in this one.
        with ThreadPoolExecutor(1) as pool:
            pool.submit(lambda: asyncio.run(connect_and_execute())).result()


def database_name(url: str) -> str:
    return urlsplit(url).path.removeprefix("/")


def make_test_server(shared_dir: Path) -> DatabaseServer:
    """A server for tests: TOLLWAY_TEST_DATABASE_URL, else an embedded one in the given directory.

    Processes that are given the same directory share the server; the last one to close stops it.
    """
    given = os.environ.get("TOLLWAY_TEST_DATABASE_URL")
    if given:
        return DatabaseServer(given, stop=lambda: None)
    data_dir = shared_dir / "embedded"
    embedded = EmbeddedPostgres(data_dir, allow_createdb=True, settings=FAST_SETTINGS)

    def stop() -> None:
        embedded.stop()
        # Another worker of pytest-xdist may be about to start it anew.
        if "PYTEST_XDIST_WORKER" not in os.environ:
            shutil.rmtree(data_dir, ignore_errors=True)

    return DatabaseServer(embedded.start(), stop=stop)
