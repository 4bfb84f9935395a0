"""Changes of health on their way to a real Postgres, and what becomes of them while it is away."""

import asyncio
from collections.abc import AsyncIterator, Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from anyio.to_thread import run_sync as in_thread
from sqlalchemy import select

import migrations
from gateway.domain.outcomes import Outcome
from gateway.execution.health import HealthBoard
from gateway.execution.health_events import HealthEvents
from gateway.execution.shared_health import open_table
from gateway.notices.health_log import HealthLog, as_row
from gateway.storage.asking import Asker
from gateway.storage.health_events import StoredHealthEvent, forget_health_events
from gateway.storage.tables import health_event
from gateway.storage.waiting import DatabaseUnavailableError
from tests.api.edge import NO_DATABASE
from tests.execution.samples import make_end
from tests.routing.factories import make_endpoint

pytestmark = pytest.mark.anyio

LARGE = make_endpoint("alpha", "acme/large")


@pytest.fixture
async def ask(anyio_backend: str, postgres_dsn: Callable[..., str]) -> AsyncIterator[Asker]:
    dsn = postgres_dsn()
    await in_thread(migrations.upgrade, dsn)
    asker = Asker(dsn, within_s=10.0, application_name="tests")
    yield asker
    await asker.aclose()


async def rows_of(ask: Asker) -> list[StoredHealthEvent]:
    found = await ask(
        lambda c: c.execute(select(health_event).order_by(health_event.c.at, health_event.c.id))
    )
    return [StoredHealthEvent(**row) for row in found.mappings()]


def log_of(ask: Asker, events: HealthEvents, node: str = "here:8080") -> HealthLog:
    return HealthLog(ask, since=events.since, node=node, look_s=0.01, away_s=0.01)


async def test_a_change_that_workers_share_is_one_row(ask: Asker, tmp_path: Path) -> None:
    boards = [
        HealthBoard(table=open_table(tmp_path / "health", capacity=16), chance=lambda: 0.5)
        for _ in range(2)
    ]
    logs = [log_of(ask, board.events) for board in boards]

    for number in range(8):
        boards[number % 2].report(
            make_end(Outcome.SERVER_ERROR, endpoint=LARGE, status_code=500, duration_ms=0.0)
        )
    for board in boards:
        assert not board.may_try(LARGE)
    for log in logs:
        await log.write()

    (row,) = await rows_of(ask)
    assert (row.level, row.provider, row.endpoint) == ("target", "alpha", LARGE.id)
    assert (row.state, row.reason, row.node) == ("open", "server_error", "here:8080")
    assert row.until is not None
    assert timedelta(seconds=9) < row.until - row.at <= timedelta(seconds=10)
    for board in boards:
        board.close()


async def test_every_level_says_whose_it_is_and_nothing_of_the_credential(ask: Asker) -> None:
    events = HealthEvents()
    events.note("origin:acme", "opened", outcome="connect_error", for_s=10)
    events.note("credential:acme#1", "credential out", outcome="auth", for_s=600)
    events.note("target:acme/odd#name", "half-open")
    events.note("share:acme/large#0", "cooled down", outcome="rate_limited", for_s=2)
    events.note("origin:acme", "closed")

    await log_of(ask, events).write()

    found = sorted(
        (row.level, row.provider, row.endpoint, row.credential, row.state)
        for row in await rows_of(ask)
    )
    assert found == sorted(
        [
            ("origin", "acme", None, None, "open"),
            ("credential", "acme", None, 1, "open"),
            ("target", "acme", "acme/odd#name", None, "half_open"),
            ("share", "acme", "acme/large", 0, "cooling"),
            ("origin", "acme", None, None, "closed"),
        ]
    )


async def test_what_postgres_did_not_take_is_stored_once_when_it_is_back(ask: Asker) -> None:
    events = HealthEvents()
    is_away = True

    async def sometimes(work: Callable[..., object]) -> object:
        if is_away:
            raise DatabaseUnavailableError("away")
        await ask(work)  # pyright: ignore[reportArgumentType] - any work
        if len(events.since(0)) == 3:
            # It was committed, but nobody heard so.
            events.note("origin:acme", "closed")
            raise DatabaseUnavailableError("the answer was lost")
        return None

    log = log_of(sometimes, events)  # pyright: ignore[reportArgumentType] - asks the same way
    for _ in range(3):
        events.note("origin:acme", "opened", for_s=10)
    with pytest.raises(DatabaseUnavailableError):
        await log.write()
    is_away = False
    with pytest.raises(DatabaseUnavailableError):
        await log.write()
    await log.write()

    rows = await rows_of(ask)
    assert sorted(row.state for row in rows) == ["closed", "open", "open", "open"]
    assert log.lost == 0


async def test_more_than_is_kept_while_postgres_is_away_is_counted_as_lost(ask: Asker) -> None:
    events = HealthEvents(is_logged=False)
    log = log_of(ask, events)
    for _ in range(2_100):
        events.note("target:acme/large", "cooled down", for_s=1)

    await log.write()

    assert len(await rows_of(ask)) == 2_048
    assert log.lost == 2_100 - 2_048


async def test_it_goes_on_by_itself_and_ends_in_time_without_a_database(ask: Asker) -> None:
    events = HealthEvents()
    log = log_of(ask, events)
    task = asyncio.create_task(log.run())
    events.note("origin:acme", "opened", for_s=10)
    async with asyncio.timeout(10):
        while not await rows_of(ask):
            pass
    task.cancel()
    await asyncio.wait([task])

    away = Asker(NO_DATABASE, within_s=0.2, application_name="tests")
    await log_of(away, events).write_rest(within_s=0.2)
    await away.aclose()


async def test_old_changes_are_forgotten(ask: Asker) -> None:
    now = datetime.now(UTC)
    old_s, new_s = (now - timedelta(days=31)).timestamp(), now.timestamp()
    events = HealthEvents(wall_clock=iter((old_s, new_s)).__next__)
    for _ in range(2):
        events.note("origin:acme", "opened", for_s=10)
    await log_of(ask, events).write()

    removed = await ask(lambda c: forget_health_events(c, now - timedelta(days=30)))

    assert removed == 1
    assert [row.at for row in await rows_of(ask)] == [as_row(events.since(1)[0], node="", run=1).at]
