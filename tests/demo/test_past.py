"""The past is stored as real records are, once, and every view finds something in it."""

import asyncio
from collections.abc import Callable
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import msgspec
import pytest
from sqlalchemy import func, select

import migrations
from gateway.cli.database import ask
from gateway.cli.demo import live_senders, make_past
from gateway.demo.organisation import ACTOR, Past, find_past, found, key_text, read_world
from gateway.demo.scenario import HABITS, LIMITS
from gateway.demo.storing import make_partitions, store_hours
from gateway.demo.timetable import Slot, timetable
from gateway.demo.traffic import Author
from gateway.domain.keys import digest_key
from gateway.simulator.traffic import Sender
from gateway.storage.budgets import list_budgets, read_states
from gateway.storage.engine import Connection, make_engine
from gateway.storage.keys import load_callers
from gateway.storage.rollup_tables import provider_seen, rollup_pending, usage_attempt
from gateway.storage.rule_sets import active_rule_set, list_rule_sets
from gateway.storage.tables import attempt_record, health_event, request_record
from pricing.cost import from_nano_usd

REQUESTS = 1_500
PEPPER = b"pepper of these tests, 32 bytes."


@pytest.fixture(scope="module")
def database(postgres_dsn: Callable[..., str]) -> str:
    url = postgres_dsn()
    migrations.upgrade(url)
    make_past(url, REQUESTS, pepper=PEPPER, with_rules=True, quiet=True)
    return url


async def read_totals(connection: Connection) -> dict[str, Any]:
    request, attempt = request_record.c, attempt_record.c
    requests = select(func.count(), func.sum(request.cost_usd)).select_from(request_record)
    attempts = select(func.count(), func.sum(attempt.cost_usd)).select_from(attempt_record)
    of_requests = (await connection.execute(requests)).one()
    of_attempts = (await connection.execute(attempts)).one()
    return {"requests": of_requests, "attempts": of_attempts}


def test_everything_that_was_asked_for_is_there(database: str) -> None:
    totals = ask(database, read_totals)

    assert totals["requests"][0] == REQUESTS
    assert totals["attempts"][0] > REQUESTS * 0.95


def test_roll_ups_say_the_same_as_the_rows(database: str) -> None:
    async def read(connection: Connection) -> list[Decimal]:
        tables = (usage_attempt.minute, usage_attempt.quarter, attempt_record)
        sums = [await connection.scalar(select(func.sum(one.c.cost_usd))) for one in tables]
        return [Decimal(0) if one is None else one for one in sums]

    minutes, quarters, rows = ask(database, read)

    assert minutes == rows
    # The last quarter of an hour is not over yet.
    assert rows * Decimal("0.97") < quarters <= rows


def test_hardly_anything_is_left_to_be_summed_up(database: str) -> None:
    async def read(connection: Connection) -> int:
        counted = select(func.count(rollup_pending.c.at.distinct()))
        return int(await connection.scalar(counted) or 0)

    assert ask(database, read) <= 2


def test_a_second_start_adds_nothing(database: str) -> None:
    before = ask(database, read_totals)

    make_past(database, REQUESTS * 2, pepper=PEPPER, with_rules=True, quiet=True)

    assert ask(database, read_totals) == before


def test_keys_budgets_and_rules_are_really_there(database: str) -> None:
    callers = dict(ask(database, load_callers))
    budgets = ask(database, list_budgets)
    states = ask(database, lambda connection: read_states(connection, budgets, datetime.now(UTC)))
    spent = {
        one.budget.name: from_nano_usd(one.holding.spent_nusd) / one.budget.limit_usd
        for one in states
    }

    for habit in HABITS:
        caller = callers[digest_key(key_text(habit, PEPPER), PEPPER)]
        assert (caller.name, caller.labels) == (habit.name, habit.labels)
    assert set(spent) == {limit.name for limit in LIMITS}
    assert all(share <= Decimal("1.1") for share in spent.values())
    active = ask(database, active_rule_set)
    assert active is not None
    assert active.created_by == ACTOR
    assert len(ask(database, lambda connection: list_rule_sets(connection, limit=9))) == 2


def test_providers_were_seen_when_they_were_first_called(database: str) -> None:
    async def read(connection: Connection) -> int:
        return int(await connection.scalar(select(func.count()).select_from(provider_seen)) or 0)

    assert ask(database, read) == 5


def test_the_timeline_of_health_has_something_to_show(database: str) -> None:
    async def read(connection: Connection) -> set[str]:
        return set(await connection.scalars(select(health_event.c.state)))

    assert ask(database, read) >= {"cooling"}


def test_live_traffic_goes_on_with_the_same_keys(database: str) -> None:
    senders = msgspec.convert(live_senders(database, pepper=PEPPER), tuple[Sender, ...])

    assert [one.api_key for one in senders] == [key_text(habit, PEPPER) for habit in HABITS]


def test_a_past_that_was_broken_off_is_gone_on_with(postgres_dsn: Callable[..., str]) -> None:
    url = postgres_dsn()
    migrations.upgrade(url)
    past = Past(now=datetime.now(UTC).replace(microsecond=0), requests=400)
    slots = timetable(past.now, past.requests)
    ask(url, lambda connection: found(connection, past, pepper=PEPPER, with_rules=False))

    async def store(some: list[Slot]) -> None:
        engine = make_engine(url, pool_size=1)
        try:
            async with engine.connect() as connection:
                world = await read_world(connection, past)
            await make_partitions(engine, some)
            await store_hours(engine, Author(world), some, lambda _: None)
        finally:
            await engine.dispose()

    asyncio.run(store(slots[:200]))
    make_past(url, 900, pepper=PEPPER, with_rules=False, quiet=True)

    assert ask(url, find_past) == msgspec.structs.replace(past, is_complete=True)
    assert ask(url, read_totals)["requests"][0] == 400
