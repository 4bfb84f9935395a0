"""Versions of rules in Postgres."""

import asyncio
from collections.abc import AsyncIterator, Callable
from datetime import UTC, datetime

import pytest
from anyio.to_thread import run_sync as in_thread
from sqlalchemy import func, select
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from gateway.storage.changes import RULES, read_epoch
from gateway.storage.rule_sets import (
    StoredRuleSet,
    active_rule_set,
    add_rule_set,
    list_rule_sets,
    read_rule_set,
    roll_back,
)
from gateway.storage.tables import audit_entry, rule_set
from tests.storage.samples import engine_of, migrated

pytestmark = pytest.mark.anyio
AT = datetime(2026, 11, 21, 12, tzinfo=UTC)


@pytest.fixture
async def engine(
    anyio_backend: str, postgres_dsn: Callable[..., str]
) -> AsyncIterator[AsyncEngine]:
    engine = engine_of(await in_thread(migrated, postgres_dsn))
    yield engine
    await engine.dispose()


async def add(connection: AsyncConnection, text: str, comment: str | None = None) -> StoredRuleSet:
    return await add_rule_set(
        connection, source=text, version=f"v-{text}", comment=comment, at=AT, actor="tests"
    )


async def test_nothing_is_in_force_at_first(engine: AsyncEngine) -> None:
    async with engine.connect() as connection:
        assert await active_rule_set(connection) is None
        assert await roll_back(connection, None, at=AT, actor="tests") is None


async def test_what_was_applied_last_is_in_force_and_the_rest_is_kept(engine: AsyncEngine) -> None:
    async with engine.begin() as connection:
        first = await add(connection, "one", "begin")
        second = await add(connection, "two")

    async with engine.connect() as connection:
        found = await list_rule_sets(connection, limit=10)
        assert await active_rule_set(connection) == second
        assert await read_epoch(connection, RULES) == 2
    assert [one.number for one in found] == [second.number, first.number]
    assert (found[1].source, found[1].comment, found[1].is_active) == ("one", "begin", False)


async def test_the_text_in_force_applied_again_makes_no_version(engine: AsyncEngine) -> None:
    async with engine.begin() as connection:
        first = await add(connection, "one")
        assert await add(connection, "one") == first
        assert await read_epoch(connection, RULES) == 1


async def test_rolling_back_goes_to_the_version_before_or_to_a_named_one(
    engine: AsyncEngine,
) -> None:
    async with engine.begin() as connection:
        numbers = [(await add(connection, text)).number for text in ("one", "two", "three")]

        back = await roll_back(connection, None, at=AT, actor="tests")
        again = await roll_back(connection, None, at=AT, actor="tests")
        nothing = await roll_back(connection, None, at=AT, actor="tests")
        forth = await roll_back(connection, numbers[2], at=AT, actor="tests")
        unknown = await roll_back(connection, 10_000, at=AT, actor="tests")

        assert back is not None
        assert again is not None
        assert forth is not None
        assert (back.number, again.number, forth.number) == (numbers[1], numbers[0], numbers[2])
        assert nothing is None
        assert unknown is None
        read = await read_rule_set(connection, numbers[2])
        assert read is not None
        assert read.is_active


async def test_each_change_is_audited_without_the_text(engine: AsyncEngine) -> None:
    async with engine.begin() as connection:
        first = await add(connection, "one", "begin")
        await add(connection, "two")
        await roll_back(connection, first.number, at=AT, actor="someone")

        entries = (
            await connection.execute(select(audit_entry).order_by(audit_entry.c.id))
        ).mappings()
        told = [(one["actor"], one["action"], one["subject"]) for one in entries]
        before = await connection.scalar(
            select(audit_entry.c.before).where(audit_entry.c.actor == "someone")
        )

    assert told == [
        ("tests", "rules.apply", str(first.number)),
        ("tests", "rules.apply", str(first.number + 1)),
        ("someone", "rules.rollback", str(first.number)),
    ]
    assert before == {"number": first.number + 1, "version": "v-two", "comment": None}


async def test_many_at_once_leave_one_in_force(engine: AsyncEngine) -> None:
    async def apply(number: int) -> None:
        async with engine.begin() as connection:
            await add(connection, f"text {number}")

    await asyncio.gather(*(apply(number) for number in range(4)))

    async with engine.connect() as connection:
        active = select(func.count()).select_from(rule_set).where(rule_set.c.is_active)
        assert await connection.scalar(active) == 1
        assert len(await list_rule_sets(connection, limit=10)) == 4
