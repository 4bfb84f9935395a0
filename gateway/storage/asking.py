"""Asks Postgres one thing at a time, for rooms that do not know how statements are made."""

from collections.abc import Awaitable, Callable
from typing import TypeVar

from sqlalchemy.ext.asyncio import AsyncConnection

from gateway.storage.engine import make_engine
from gateway.storage.waiting import run_bounded

T = TypeVar("T")
_LONGER_S = 1.0
"""Whoever asks gives up first, and is told the same whatever it was that took so long."""


class Asker:
    """A small pool and a time limit. Never used on the path of a request to a model."""

    def __init__(self, database_url: str, *, within_s: float, application_name: str) -> None:
        self._engine = make_engine(
            database_url,
            pool_size=2,
            application_name=application_name,
            command_timeout_s=None,
            statement_timeout_s=within_s + _LONGER_S,
            lock_timeout_s=within_s + _LONGER_S,
        )
        self._within_s = within_s

    async def __call__(self, work: Callable[[AsyncConnection], Awaitable[T]]) -> T:
        """Run ``work`` in one transaction and commit.

        Raises:
            DatabaseUnavailableError: no answer in time, or no connection.
        """
        return await run_bounded(self._engine, work, seconds=self._within_s)

    async def aclose(self) -> None:
        await self._engine.dispose()
