"""The databases that other tests are given."""

import asyncio
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import asyncpg  # pyright: ignore[reportMissingTypeStubs] - it has none
import pytest

DRIVER: Any = asyncpg


def query(url: str, statement: str) -> Any:
    async def run() -> Any:
        connection = await DRIVER.connect(url, timeout=10)
        try:
            return await connection.fetchval(statement)
        finally:
            await connection.close()

    return asyncio.run(run())


def test_every_call_gives_an_empty_database_of_its_own(postgres_dsn: Callable[..., str]) -> None:
    first = postgres_dsn()
    second = postgres_dsn()
    query(first, "CREATE TABLE mine (n int)")

    assert query(first, "SELECT count(*) FROM mine") == 0
    assert query(second, "SELECT to_regclass('mine') IS NULL")


def test_a_template_is_copied_with_its_tables(postgres_dsn: Callable[..., str]) -> None:
    template = postgres_dsn()
    query(template, "CREATE TABLE migrated AS SELECT 7 AS n")

    copy = postgres_dsn(template=template)

    assert query(copy, "SELECT n FROM migrated") == 7


@pytest.mark.anyio
async def test_an_asynchronous_test_may_ask_for_one_too(postgres_dsn: Callable[..., str]) -> None:
    connection = await DRIVER.connect(postgres_dsn(), timeout=10)

    assert await connection.fetchval("SELECT 1") == 1
    await connection.close()


def test_a_given_server_is_used_and_left_as_it_was(
    postgres_dsn: Callable[..., str],
    database_server: Any,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:
    given = postgres_dsn()
    count = "SELECT count(*) FROM pg_database WHERE datname LIKE 'tollway_test_%'"
    before = query(given, count)
    monkeypatch.setenv("TOLLWAY_TEST_DATABASE_URL", given)

    make_test_server = sys.modules[type(database_server).__module__].make_test_server
    server = make_test_server(tmp_path)
    server.create_database()

    assert query(given, count) == before + 1
    server.close()
    assert query(given, count) == before
    assert list(tmp_path.iterdir()) == []
