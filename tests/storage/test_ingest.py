import asyncio
from collections.abc import AsyncIterator, Callable
from datetime import timedelta

import msgspec
import pytest
from sqlalchemy import Table, func, select
from sqlalchemy.ext.asyncio import AsyncEngine

from gateway.domain.records import RequestRecord
from gateway.storage.ingest import (
    DeadRow,
    Watermark,
    insert_absent,
    note_dead,
    note_watermark,
)
from gateway.storage.partitions import ensure_partitions
from gateway.storage.queries import read_record
from gateway.storage.rows import attempt_rows, record_day, request_row
from gateway.storage.tables import (
    MAX_FRAME_BYTES,
    attempt_record,
    ingest_error,
    request_record,
    ship_watermark,
)
from gateway.storage.waiting import run_bounded
from tests.storage.samples import (
    NOW,
    make_attempt,
    make_full_record,
    make_record,
    migrated,
    patient_engine_of,
)

DEADLINE_S = 30.0


@pytest.fixture(scope="module")
def template(postgres_dsn: Callable[..., str]) -> str:
    return migrated(postgres_dsn)


@pytest.fixture
async def engine(
    anyio_backend: str, template: str, postgres_dsn: Callable[..., str]
) -> AsyncIterator[AsyncEngine]:
    """On a database of its own, with the partitions of the samples' day."""
    engine = patient_engine_of(postgres_dsn(template=template))
    await run_bounded(
        engine, lambda connection: ensure_partitions(connection, {NOW.date()}), seconds=DEADLINE_S
    )
    yield engine
    await engine.dispose()


async def store(engine: AsyncEngine, records: list[RequestRecord]) -> int:
    requests = [request_row(record) for record in records]
    attempts = [row for record in records for row in attempt_rows(record)]
    return await run_bounded(
        engine,
        lambda connection: insert_absent(connection, requests, attempts),
        seconds=DEADLINE_S,
    )


async def count(engine: AsyncEngine, table: Table) -> int:
    async with engine.connect() as connection:
        return int(await connection.scalar(select(func.count()).select_from(table)) or 0)


def make_answered(number: int) -> list[RequestRecord]:
    return [make_record(attempts=(make_attempt(),)) for _ in range(number)]


@pytest.mark.anyio
async def test_a_record_is_read_back_as_it_was_stored(engine: AsyncEngine) -> None:
    record = make_full_record()
    assert await store(engine, [record]) == 1

    async with engine.connect() as connection:
        read = await read_record(connection, record.id)

    assert read == record


@pytest.mark.anyio
async def test_storing_again_changes_nothing(engine: AsyncEngine) -> None:
    records = make_answered(10)
    assert await store(engine, records[:6]) == 6
    changed = [msgspec.structs.replace(record, status_code=500) for record in records]
    assert await store(engine, changed) == 4
    assert await store(engine, records) == 0

    async with engine.connect() as connection:
        statuses = list(
            await connection.scalars(
                select(request_record.c.status_code).order_by(request_record.c.id)
            )
        )
    assert statuses.count(200) == 6
    assert statuses.count(500) == 4
    assert await count(engine, attempt_record) == 10


@pytest.mark.anyio
async def test_a_record_twice_in_one_batch_is_stored_once(engine: AsyncEngine) -> None:
    (record,) = make_answered(1)
    assert await store(engine, [record, record]) == 1
    assert await count(engine, request_record) == 1
    assert await count(engine, attempt_record) == 1


@pytest.mark.anyio
async def test_nothing_to_store_is_no_problem(engine: AsyncEngine) -> None:
    assert await store(engine, []) == 0


@pytest.mark.anyio
async def test_a_bad_row_takes_the_whole_batch_with_it_and_leaves_the_connection_usable(
    engine: AsyncEngine,
) -> None:
    records = make_answered(3)
    negative = tuple(
        -5 if value is None and name == "cost_usd" else value
        for name, value in zip(
            request_record.columns.keys(), request_row(make_record(cost_usd=None)), strict=True
        )
    )
    rows = [*map(request_row, records), negative]
    with pytest.raises(Exception, match="ck_request_record_cost_is_money"):
        await run_bounded(
            engine, lambda connection: insert_absent(connection, rows, []), seconds=DEADLINE_S
        )

    assert await count(engine, request_record) == 0
    assert await store(engine, records) == 3


@pytest.mark.anyio
async def test_many_who_store_the_same_rows_store_each_once(engine: AsyncEngine) -> None:
    records = make_answered(600)

    stored = await asyncio.gather(store(engine, records), store(engine, records[::-1]))

    assert sum(stored) == 600
    assert await count(engine, request_record) == 600
    assert await count(engine, attempt_record) == 600


@pytest.mark.anyio
async def test_two_who_store_the_same_rows_wait_for_each_other_in_turn(
    engine: AsyncEngine,
) -> None:
    first, second = make_answered(2)
    async with engine.connect() as connection, connection.begin():
        await insert_absent(connection, [request_row(first)], [])
        # Taken in as they come, `second` would be held by the other, who waits for `first`.
        other = asyncio.create_task(store(engine, [second, first]))
        await asyncio.wait({other}, timeout=0.5)
        assert await insert_absent(connection, [request_row(second)], []) == 1

    assert await other == 0
    assert await count(engine, request_record) == 2


@pytest.mark.anyio
@pytest.mark.parametrize(("configured", "used"), [("off", "local"), ("on", "on")])
async def test_what_is_committed_is_on_the_servers_disk_however_it_is_configured(
    engine: AsyncEngine, configured: str, used: str
) -> None:
    setting = func.current_setting("synchronous_commit")
    (record,) = make_answered(1)
    async with engine.connect() as connection:
        await connection.execute(select(func.set_config("synchronous_commit", configured, False)))
        await connection.commit()
        await insert_absent(connection, [request_row(record)], attempt_rows(record))
        assert await connection.scalar(select(setting)) == used
        await connection.commit()
        assert await connection.scalar(select(setting)) == configured


@pytest.mark.anyio
async def test_others_have_their_turn_while_a_batch_is_encoded(engine: AsyncEngine) -> None:
    await store(engine, make_answered(1))
    records = make_answered(1_000)
    storing = asyncio.create_task(store(engine, records))
    turns = 0
    while not storing.done():
        turns += 1
        await asyncio.sleep(0)

    assert await storing == 1_000
    assert turns >= 60


@pytest.mark.anyio
async def test_days_are_those_of_the_ids(engine: AsyncEngine) -> None:
    later = NOW + timedelta(days=3)
    record = make_record(received_at=later)
    assert record_day(record) == later.date()
    with pytest.raises(Exception, match="no partition"):
        await store(engine, [record])
    await run_bounded(
        engine,
        lambda connection: ensure_partitions(connection, {later.date()}),
        seconds=DEADLINE_S,
    )
    assert await store(engine, [record]) == 1


@pytest.mark.anyio
async def test_a_watermark_keeps_the_last_record_of_an_idle_worker(engine: AsyncEngine) -> None:
    busy = Watermark(
        worker="a",
        at=NOW,
        segment="a-1",
        last_record_at=NOW,
        oldest_unshipped_at=NOW,
        backlog_bytes=7,
        backlog_records=1,
    )
    idle = Watermark(
        worker="a",
        at=NOW + timedelta(seconds=5),
        segment=None,
        last_record_at=None,
        oldest_unshipped_at=None,
        backlog_bytes=0,
    )
    for mark in (busy, idle):
        await run_bounded(
            engine,
            lambda connection, mark=mark: note_watermark(connection, mark),
            seconds=DEADLINE_S,
        )
    async with engine.connect() as connection:
        rows = [tuple(row) for row in await connection.execute(select(ship_watermark))]
    assert rows == [("a", NOW + timedelta(seconds=5), None, NOW, None, 0, 0)]


@pytest.mark.anyio
async def test_a_dead_letter_is_noted_once_and_within_bounds(engine: AsyncEngine) -> None:
    dead = DeadRow(
        seen_at=NOW,
        segment="a-1",
        offset=100,
        record_id=None,
        sqlstate="22P05",
        reason="x" * 5_000,
        frame=bytes(MAX_FRAME_BYTES + 1),
    )
    for _ in range(2):
        await run_bounded(
            engine, lambda connection: note_dead(connection, dead), seconds=DEADLINE_S
        )
    async with engine.connect() as connection:
        (row,) = (await connection.execute(select(ingest_error))).all()
    assert len(row.reason) == 1_000
    assert len(row.frame) == MAX_FRAME_BYTES
    assert row.sqlstate == "22P05"
