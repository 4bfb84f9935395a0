"""Whoever asks Postgres with a time limit of their own is given that time, and no more."""

from collections.abc import Callable

import pytest
from sqlalchemy import func, select
from sqlalchemy.ext.asyncio import AsyncConnection

from gateway.storage.asking import Asker
from gateway.storage.waiting import DatabaseUnavailableError
from tests.storage.samples import engine_of

LOCK = 7


async def limits(connection: AsyncConnection) -> tuple[str, ...]:
    names = ("statement_timeout", "lock_timeout")
    row = await connection.execute(select(*(func.current_setting(name) for name in names)))
    return tuple(row.one())


async def take(connection: AsyncConnection) -> None:
    await connection.execute(select(func.pg_advisory_xact_lock(LOCK)))


@pytest.mark.anyio
async def test_the_server_gives_up_after_whoever_asks(postgres_dsn: Callable[..., str]) -> None:
    asker = Asker(postgres_dsn(), within_s=120.0, application_name="tests")

    assert await asker(limits) == ("121s", "121s")

    await asker.aclose()


@pytest.mark.anyio
async def test_a_lock_that_is_not_given_in_time_is_no_fault_of_the_statement(
    postgres_dsn: Callable[..., str],
) -> None:
    dsn = postgres_dsn()
    engine, asker = engine_of(dsn), Asker(dsn, within_s=0.2, application_name="tests")

    async with engine.begin() as other:
        await take(other)
        with pytest.raises(DatabaseUnavailableError):
            await asker(take)
    await asker(take)

    await asker.aclose()
    await engine.dispose()
