"""The demo's past in an installation that serves: nothing of it moves while it is looked at."""

import asyncio
from collections.abc import Callable, Generator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

import msgspec
from sqlalchemy import Executable

from gateway.cli.database import Database, ask
from gateway.cli.demo import make_past
from gateway.settings.load import load_settings
from gateway.settings.values import Flags
from gateway.storage.engine import Connection
from tests.installation import Gateway, installation

T = TypeVar("T")
REQUESTS = 8_000
"""Of the past, in two weeks: enough for every card of every view, made within seconds."""
_PEPPER = b"pepper of these tests, 32 bytes."


class Shown(msgspec.Struct, frozen=True, kw_only=True):
    """An installation with its dashboard, and the database behind it."""

    gateway: Gateway
    database_url: str

    @property
    def url(self) -> str:
        """Of the dashboard."""
        return str(self.gateway.told["dashboard_url"])

    def ask(self, statement: Executable) -> list[Any]:
        """The rows of a statement, each a named tuple."""

        async def read(connection: Connection) -> list[Any]:
            return list((await connection.execute(statement)).all())

        return _apart(lambda: ask(self.database_url, read))


@contextmanager
def shown(home: Path, *, requests: int = 0) -> Generator[Shown]:
    """``tollway up`` without live traffic, with so many requests in its past."""
    with installation(home) as place, place.up() as gateway:
        settings = load_settings(
            Flags(data_dir=gateway.data_dir), environment=gateway.environment, directory=home
        )
        with Database(settings, quiet=True) as database:
            url = database.url
            if requests:
                _apart(
                    lambda: make_past(url, requests, pepper=_PEPPER, with_rules=True, quiet=True)
                )
            yield Shown(gateway=gateway, database_url=url)


def _apart(work: Callable[[], T]) -> T:
    # Playwright keeps a loop running in the thread of the tests.
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return work()
    with ThreadPoolExecutor(1) as pool:
        return pool.submit(work).result()
