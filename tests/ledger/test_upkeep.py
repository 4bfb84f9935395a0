"""What is kept in shape, and what is forgotten in time, on a real server."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy import func, insert, select

from gateway.ledger.upkeep import Retention, Upkeep
from gateway.storage.partitions import drop_days, ensure_partitions, partition_days
from gateway.storage.rollup_rebuild import rebuild_hour, rebuildable_since
from gateway.storage.rollup_tables import usage_request, v_usage_request
from gateway.storage.rollup_upkeep import horizon
from gateway.storage.tables import attempt_record, cost_adjustment, request_record
from gateway.storage.waiting import run_bounded
from tests.storage.samples import (
    KEY_ID,
    engine_of,
    make_attempt,
    make_record,
    migrated,
    request_id,
)
from tests.storage.test_rollups import store

NOW = datetime(2026, 11, 21, 10, 30, tzinfo=UTC)
KEPT = Retention(rows_days=3, minutes_days=2, sums_days=10)


@pytest.fixture
def dsn(postgres_dsn: Callable[..., str]) -> str:
    return migrated(postgres_dsn)


def correction(at: datetime) -> dict[str, object]:
    return {
        "request_id": request_id(at),
        "day": at.date(),
        "number": 1,
        "started_at": at,
        "kind": "primary",
        "key_id": KEY_ID,
        "provider": "openai",
        "model": "openai/gpt-4o-mini",
        "endpoint": "openai/gpt-4o-mini",
        "new_cost_usd": 1,
        "difference_usd": 1,
        "cost_status": "exact",
        "lines": {},
        "recorded_at": NOW,
        "recorded_by": "ann",
        "reason": "their invoice",
    }


@pytest.mark.anyio
async def test_each_table_forgets_after_its_own_time(dsn: str) -> None:
    engine = engine_of(dsn)
    ages = (0, 2, 4, 12)
    for age in ages:
        at = NOW - timedelta(days=age)
        await store(
            engine,
            make_record(id=request_id(at), received_at=at, attempts=(make_attempt(started_at=at),)),
        )
        async with engine.begin() as connection:
            await connection.execute(insert(cost_adjustment).values(correction(at)))
    upkeep = Upkeep(dsn, KEPT)

    await upkeep.sum_up(NOW + timedelta(hours=1))
    for _ in range(2):
        await upkeep.forget(NOW)
    await upkeep.aclose()

    async with engine.connect() as connection:
        for table in (request_record, attempt_record):
            days = await partition_days(connection, table)
            assert days == [(NOW - timedelta(days=age)).date() for age in (2, 0)]
        at = list(await connection.scalars(select(v_usage_request.c.at)))
        minutes = await connection.scalar(select(func.count()).select_from(usage_request.minute))
        since = await rebuildable_since(connection)
        corrected = list(await connection.scalars(select(cost_adjustment.c.day)))
    assert sorted(corrected) == [(NOW - timedelta(days=age)).date() for age in (2, 0)]
    assert sorted(at) == [NOW - timedelta(days=age) for age in (4, 2, 0)]
    assert minutes == 2
    assert since == datetime(2026, 11, 19, tzinfo=UTC)
    await engine.dispose()


@pytest.mark.anyio
async def test_partitions_that_were_detached_and_not_dropped_go_too(
    dsn: str,
) -> None:
    engine = engine_of(dsn)
    day = NOW.date() - timedelta(days=5)
    await run_bounded(
        engine, lambda connection: ensure_partitions(connection, {day, NOW.date()}), seconds=30
    )
    async with engine.begin() as connection:
        await connection.exec_driver_sql(
            f"ALTER TABLE request_record DETACH PARTITION request_record_{day:%Y%m%d}"
        )

    assert await drop_days(engine, NOW.date()) == 2
    assert await drop_days(engine, NOW.date()) == 0

    async with engine.connect() as connection:
        assert await partition_days(connection, request_record) == [NOW.date()]
    await engine.dispose()


@pytest.mark.anyio
async def test_a_rebuild_leaves_alone_what_was_summed_of_rows_that_are_gone(dsn: str) -> None:
    engine, upkeep = engine_of(dsn), Upkeep(dsn, KEPT)
    at = NOW - timedelta(days=4)
    record = make_record(id=request_id(at), received_at=at, attempts=(make_attempt(started_at=at),))
    await store(engine, record)
    await upkeep.sum_up(NOW)
    await upkeep.forget(NOW)
    await upkeep.aclose()

    hour = at.replace(minute=0)
    assert not await run_bounded(
        engine, lambda connection: rebuild_hour(connection, hour), seconds=30
    )

    async with engine.connect() as connection:
        assert await connection.scalar(select(func.sum(v_usage_request.c.requests))) == 1
    await engine.dispose()


@pytest.mark.anyio
async def test_rows_that_somebody_else_is_still_dropping_keep_their_corrections(dsn: str) -> None:
    engine, upkeep = engine_of(dsn), Upkeep(dsn, KEPT)
    at = NOW - timedelta(days=4)
    await store(engine, make_record(id=request_id(at), received_at=at))
    async with engine.begin() as connection:
        await connection.execute(insert(cost_adjustment).values(correction(at)))

    async def left() -> tuple[int | None, datetime | None]:
        async with engine.connect() as connection:
            corrections = await connection.scalar(select(func.count()).select_from(cost_adjustment))
            return corrections, await horizon(connection, "rows")

    async with engine.connect() as other:
        # Held by whoever drops.
        await other.execute(select(func.pg_advisory_lock(int.from_bytes(b"tw-drop"))))
        await upkeep.forget(NOW)
        # Whoever it is may be gone before it can say so.
        assert await left() == (1, datetime(2026, 11, 18, tzinfo=UTC))
        await other.execute(select(func.pg_advisory_unlock_all()))
    await upkeep.forget(NOW)
    await upkeep.aclose()

    assert (await left())[0] == 0
    await engine.dispose()
