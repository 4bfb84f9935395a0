import asyncio
import errno
import os
import random
import signal
import time
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager, suppress
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any
from uuid import UUID

import msgspec
import psutil
import pytest
from sqlalchemy import func, select, text
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import AsyncEngine

import migrations
from gateway.domain.records import RequestRecord
from gateway.ledger import shipper as shipper_module
from gateway.ledger import storing
from gateway.ledger.frames import make_file_start, parse_file_start
from gateway.ledger.orphans import Orphans
from gateway.ledger.pressure import Pressure
from gateway.ledger.shipper import Shipper
from gateway.ledger.spool import Spool
from gateway.ledger.writers import Writer
from gateway.storage.embedded import EmbeddedPostgres
from gateway.storage.partitions import partition_name
from gateway.storage.tables import (
    attempt_record,
    ingest_error,
    request_record,
    ship_watermark,
)
from tests.ledger.samples import make_answered, make_begun, segments_of, write_shadow
from tests.storage.conftest import FAST_SETTINGS
from tests.storage.samples import engine_of, make_attempt, migrated, request_id

pytestmark = pytest.mark.anyio

DEADLINE_S = 30.0
NOWHERE = "postgresql://nobody:nothing@127.0.0.1:1/nothing"


@pytest.fixture(scope="module")
def template(postgres_dsn: Callable[..., str]) -> str:
    return migrated(postgres_dsn)


@pytest.fixture
def dsn(template: str, postgres_dsn: Callable[..., str]) -> str:
    return postgres_dsn(template=template)


@pytest.fixture
async def engine(dsn: str) -> AsyncIterator[AsyncEngine]:
    engine = engine_of(dsn)
    yield engine
    await engine.dispose()


@pytest.fixture(autouse=True)
def impatience(monkeypatch: pytest.MonkeyPatch) -> None:
    """What waits for seconds in production does not have to here."""
    monkeypatch.setattr(shipper_module, "FLUSH_S", 0.02)
    monkeypatch.setattr(shipper_module, "_BACKOFF_S", (0.01, 0.05))
    monkeypatch.setattr(shipper_module, "_SCHEMA_PAUSE_S", 0.05)
    monkeypatch.setattr(shipper_module, "_ADOPT_S", 0.05)
    monkeypatch.setattr(shipper_module, "_WATERMARK_S", 0.05)
    monkeypatch.setattr(shipper_module, "_CLEAN_S", 0.05)


@pytest.fixture
def spool(tmp_path: Path) -> Iterator[Spool]:
    spool = Spool(tmp_path / "spool", worker=0)
    yield spool
    spool.close()
    spool.writer.release()


@asynccontextmanager
async def shipping(spool: Spool, dsn: str) -> AsyncGenerator[Shipper]:
    shipper = Shipper(spool, dsn)
    task = asyncio.create_task(shipper.run())
    try:
        yield shipper
    finally:
        # Between two batches: asyncpg leaves futures unawaited when it is cut off in the middle.
        async with shipper._shipping:  # pyright: ignore[reportPrivateUsage] - no such handle else
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task


async def until(condition: Callable[[], Awaitable[bool]]) -> None:
    give_up_s = time.monotonic() + DEADLINE_S
    while not await condition():
        assert time.monotonic() < give_up_s, "it never came true"
        await asyncio.sleep(0.02)


async def stored_ids(engine: AsyncEngine) -> list[UUID]:
    async with engine.connect() as connection:
        return list(await connection.scalars(select(request_record.c.id)))


async def count(engine: AsyncEngine, table: Any) -> int:
    async with engine.connect() as connection:
        return await connection.scalar(select(func.count()).select_from(table)) or 0


def has_stored(engine: AsyncEngine, number: int) -> Callable[[], Awaitable[bool]]:
    async def is_so() -> bool:
        return len(await stored_ids(engine)) >= number

    return is_so


def end(spool: Spool) -> None:
    """As if its process had died."""
    spool.close()
    spool.writer.release()


def leave_orphan(directory: Path, records: list[RequestRecord], worker: int = 7) -> Writer:
    orphan = Spool(directory, worker=worker)
    for record in records:
        orphan.append_record(record)
    end(orphan)
    return orphan.writer


async def test_records_arrive_with_their_attempts_and_the_watermark_tells(
    spool: Spool, dsn: str, engine: AsyncEngine
) -> None:
    records = [make_answered() for _ in range(300)]
    for record in records:
        spool.append_begun(make_begun(record.id))
        spool.append_record(record)
    async with shipping(spool, dsn) as shipper:
        await until(has_stored(engine, 300))

        async def is_told() -> bool:
            async with engine.connect() as connection:
                row = (await connection.execute(select(ship_watermark))).first()
            return row is not None and row.backlog_bytes == 0 and row.last_record_at is not None

        await until(is_told)
        assert shipper.state.shipped_records == 300
        assert shipper.state.oldest_unshipped_at is None
        assert shipper.state.last_error is None

    assert sorted(await stored_ids(engine)) == sorted(record.id for record in records)
    assert await count(engine, attempt_record) == 300


async def test_what_is_shipped_again_and_again_is_stored_once(
    spool: Spool, dsn: str, engine: AsyncEngine
) -> None:
    records = [make_answered() for _ in range(50)]
    for _ in range(3):
        leave_orphan(spool.directory, records, worker=1)
        leave_orphan(spool.directory, records, worker=2)
        async with shipping(spool, dsn) as shipper:

            async def is_shipped(shipper: Shipper = shipper) -> bool:
                return shipper.state.shipped_records >= 100

            await until(is_shipped)
        for path in spool.directory.glob("*.pos"):
            path.unlink()

    assert await count(engine, request_record) == 50
    assert await count(engine, attempt_record) == 50


async def test_two_shippers_bring_the_same_records_in_opposite_orders(
    tmp_path: Path, dsn: str, engine: AsyncEngine
) -> None:
    records = [make_answered() for _ in range(3_000)]
    spools = [Spool(tmp_path / f"spool-{n}", worker=n) for n in range(2)]
    for spool, ordered in zip(spools, (records, records[::-1]), strict=True):
        for record in ordered:
            spool.append_record(record)
    async with shipping(spools[0], dsn) as one, shipping(spools[1], dsn) as other:

        async def are_both_done() -> bool:
            return one.state.shipped_records >= 3_000 <= other.state.shipped_records

        await until(are_both_done)
    for spool in spools:
        end(spool)

    assert await count(engine, request_record) == 3_000
    assert await count(engine, attempt_record) == 3_000


async def test_connections_that_are_cut_again_and_again_lose_and_double_nothing(
    spool: Spool, dsn: str, engine: AsyncEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    records = [make_answered() for _ in range(2_000)]
    cut = (
        "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity "
        "WHERE application_name = 'tollway shipper' AND datname = current_database()"
    )
    cuts = 0
    async with shipping(spool, dsn):
        for start in range(0, 2_000, 100):
            for record in records[start : start + 100]:
                spool.append_record(record)
            await asyncio.sleep(random.uniform(0.0, 0.06))
            async with engine.connect() as connection:
                cuts += await connection.scalar(text(cut)) or 0
        await until(has_stored(engine, 2_000))

    assert cuts > 3
    assert sorted(await stored_ids(engine)) == sorted(record.id for record in records)
    assert await count(engine, attempt_record) == 2_000


async def test_one_row_that_postgres_refuses_is_set_aside_and_the_others_are_stored(
    spool: Spool, dsn: str, engine: AsyncEngine
) -> None:
    async with engine.begin() as connection:
        await connection.execute(
            text("ALTER TABLE request_record ADD CHECK (requested_model <> 'poison')")
        )
    poison = make_answered(requested_model="poison")
    records = [make_answered() for _ in range(999)]
    for record in [*records[:400], poison, *records[400:]]:
        spool.append_record(record)
    async with shipping(spool, dsn) as shipper:
        await until(has_stored(engine, 999))

        async def is_told() -> bool:
            return await count(engine, ingest_error) > 0

        await until(is_told)
        assert shipper.state.dead_letters == 1

    assert set(await stored_ids(engine)) == {record.id for record in records}
    async with engine.connect() as connection:
        [error] = (await connection.execute(select(ingest_error))).all()
    assert error.record_id == poison.id
    assert error.sqlstate == "23514"
    [letters] = (spool.directory.parent / "deadletter").iterdir()
    assert poison.id.bytes in letters.read_bytes()


async def test_a_record_that_no_row_may_hold_is_set_aside_even_when_it_fills_its_frame(
    spool: Spool, dsn: str, engine: AsyncEngine
) -> None:
    almost = "x" * ((1 << 20) - 10_000)
    spool.append_record(make_answered(duration_ms=float("nan"), plan={"filler": almost}))
    spool.append_record(
        make_answered(attempts=(make_attempt(number=99_999),), cost_usd=Decimal(-1))
    )
    good = make_answered()
    spool.append_record(good)
    async with shipping(spool, dsn) as shipper:
        await until(has_stored(engine, 1))

        async def are_told() -> bool:
            return await count(engine, ingest_error) == 2

        await until(are_told)
        assert shipper.state.last_error is None

    assert await stored_ids(engine) == [good.id]


async def test_a_partition_that_was_dropped_is_made_again(
    spool: Spool, dsn: str, engine: AsyncEngine
) -> None:
    spool.append_record(make_answered())
    async with shipping(spool, dsn) as shipper:
        await until(has_stored(engine, 1))
        async with engine.begin() as connection:
            for table in (attempt_record, request_record):
                name = partition_name(table, datetime.now(UTC).date())
                await connection.execute(text(f"DROP TABLE {name}"))
        late = make_answered()
        spool.append_record(late)
        await until(has_stored(engine, 1))

        assert shipper.state.dead_letters == 0
    assert await stored_ids(engine) == [late.id]


async def test_records_of_days_long_past_have_partitions_of_their_own(
    spool: Spool, dsn: str, engine: AsyncEngine
) -> None:
    at = datetime(2026, 2, 3, 23, 59, 59, tzinfo=UTC)
    spool.append_record(make_answered(received_at=at, id=request_id(at)))
    async with shipping(spool, dsn):
        await until(has_stored(engine, 1))


async def test_all_orphans_are_shipped_though_postgres_was_away_at_first(
    spool: Spool, dsn: str, engine: AsyncEngine
) -> None:
    records = [make_answered() for _ in range(6)]
    for number in range(3):
        leave_orphan(spool.directory, records[2 * number : 2 * number + 2], worker=number)
    async with shipping(spool, NOWHERE) as shipper:

        async def has_failed() -> bool:
            return shipper.state.last_error is not None and shipper.state.backlog_bytes > 0

        await until(has_failed)
        assert shipper.state.oldest_unshipped_at is not None
        assert not shipper.state.is_connected
    async with shipping(spool, dsn):
        await until(has_stored(engine, 6))

    assert sorted(await stored_ids(engine)) == sorted(record.id for record in records)


async def test_records_of_today_are_shipped_while_a_long_backlog_is_brought_in(
    spool: Spool, dsn: str, engine: AsyncEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("gateway.ledger.reader.MAX_FRAMES", 20)
    leave_orphan(spool.directory, [make_answered() for _ in range(2_000)])
    async with shipping(spool, dsn):
        await until(has_stored(engine, 20))
        record = make_answered()
        spool.append_record(record)

        async def is_stored() -> bool:
            return record.id in await stored_ids(engine)

        await until(is_stored)
        assert await count(engine, request_record) < 2_000
        await until(has_stored(engine, 2_001))


async def test_an_orphan_of_another_release_holds_nobody_up(
    spool: Spool, dsn: str, engine: AsyncEngine
) -> None:
    stranger = leave_orphan(spool.directory, [make_answered()], worker=1)
    path = stranger.segment_path(1)
    header, start = parse_file_start(path.read_bytes())
    newer = msgspec.structs.replace(header, schema_version=99)
    path.write_bytes(make_file_start(newer) + path.read_bytes()[start:])
    record = make_answered()
    leave_orphan(spool.directory, [record], worker=2)
    async with shipping(spool, dsn):
        await until(has_stored(engine, 1))

    assert await stored_ids(engine) == [record.id]
    assert path.exists()


async def test_an_attempt_whose_process_died_is_recorded_as_crashed_once(
    spool: Spool, dsn: str, engine: AsyncEngine
) -> None:
    begun = make_begun(request_id(datetime.now(UTC)))
    orphan = Spool(spool.directory, worker=3)
    orphan.append_begun(begun)
    end(orphan)
    for _ in range(2):
        async with shipping(spool, dsn) as shipper:

            async def is_shipped(shipper: Shipper = shipper) -> bool:
                return shipper.state.shipped_records == 1

            await until(is_shipped)
        # As if the one who shipped it had died before it could note that.
        for path in spool.directory.glob("*.settled"):
            path.unlink()

    async with engine.connect() as connection:
        [row] = (await connection.execute(select(request_record))).all()
        [attempt] = (await connection.execute(select(attempt_record))).all()
    assert (row.id, row.outcome, row.cost_status) == (
        begun.request_id,
        "unknown_crash",
        "estimated",
    )
    assert attempt.cost_usd == begun.estimated_cost.total_usd
    assert attempt.usage_source == "estimated"


async def test_what_was_shipped_is_kept_a_while_and_then_deleted(
    spool: Spool, dsn: str, engine: AsyncEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    orphan = leave_orphan(spool.directory, [make_answered()])
    async with shipping(spool, dsn):
        await until(has_stored(engine, 1))
        await asyncio.sleep(0.2)
        assert orphan.segment_path(1).exists()
        monkeypatch.setattr(shipper_module, "KEEP_S", -1.0)

        async def is_gone() -> bool:
            return not list(spool.directory.glob(f"{orphan.name}*"))

        await until(is_gone)
    assert len(segments_of(spool.directory)) == 1


async def test_drain_ships_everything_even_what_never_got_its_record(
    spool: Spool, dsn: str, engine: AsyncEngine
) -> None:
    shipper = Shipper(spool, dsn)
    task = asyncio.create_task(shipper.run())
    for _ in range(500):
        spool.append_record(make_answered())
    spool.append_begun(make_begun(request_id(datetime.now(UTC))))
    spool.close()
    is_done = await shipper.drain(10.0)
    task.cancel()
    await asyncio.wait({task})

    assert is_done
    assert await count(engine, request_record) == 501
    # The next start has nothing to do but to delete it when its time has come.
    orphans = Orphans(spool.directory)
    orphans.adopt(keep_s=600.0)
    assert not orphans.held
    assert segments_of(spool.directory)
    orphans.adopt(keep_s=0.0)
    assert not list(spool.directory.iterdir())


async def test_drain_gives_up_in_time_and_leaves_all_to_the_next_start(
    spool: Spool, dsn: str, engine: AsyncEngine
) -> None:
    record = make_answered()
    spool.append_record(record)
    spool.close()
    began_s = time.monotonic()
    is_done = await Shipper(spool, NOWHERE).drain(0.3)
    took_s = time.monotonic() - began_s
    following = Spool(spool.directory, worker=0)
    async with shipping(following, dsn):
        await until(has_stored(engine, 1))
    end(following)

    assert not is_done
    assert took_s < 2.0
    assert await stored_ids(engine) == [record.id]


async def test_a_wrong_schema_stops_shipping_loudly_until_it_is_right(
    spool: Spool, dsn: str, engine: AsyncEngine
) -> None:
    async with engine.begin() as connection:
        await connection.execute(text("ALTER TABLE request_record RENAME COLUMN dialect TO tongue"))
    spool.append_record(make_answered())
    async with shipping(spool, dsn) as shipper:

        async def has_stopped() -> bool:
            return "dialect" in (shipper.state.last_error or "")

        await until(has_stopped)
        async with engine.begin() as connection:
            await connection.execute(
                text("ALTER TABLE request_record RENAME COLUMN tongue TO dialect")
            )
        await until(has_stored(engine, 1))
        assert shipper.state.dead_letters == 0


async def test_an_orphan_that_cannot_be_read_holds_nobody_up(
    spool: Spool, dsn: str, engine: AsyncEngine
) -> None:
    unreadable = leave_orphan(spool.directory, [make_answered()])
    unreadable.segment_path(1).unlink()
    unreadable.segment_path(1).mkdir()
    record = make_answered()
    leave_orphan(spool.directory, [record], worker=8)
    async with shipping(spool, dsn) as shipper:
        await until(has_stored(engine, 1))
        assert shipper.state.refused_writers == 1

    assert await stored_ids(engine) == [record.id]
    assert unreadable.segment_path(1).exists()


async def test_a_full_disk_does_not_keep_records_from_being_shipped_and_making_room(
    tmp_path: Path, dsn: str, engine: AsyncEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> None:
        raise OSError(errno.ENOSPC, "no space left on device")

    monkeypatch.setattr(Writer, "save_position", fail)
    spool = Spool(tmp_path / "spool", worker=0, max_bytes=40_000, segment_bytes=4_000)
    while spool.is_writable:
        spool.append_record(make_answered())
    written = len(segments_of(spool.directory))
    async with shipping(spool, dsn) as shipper:

        async def has_room() -> bool:
            return spool.is_writable

        await until(has_room)
        assert shipper.state.backlog_bytes == 0
        assert shipper.state.last_error is None
    assert len(segments_of(spool.directory)) < written
    end(spool)


async def test_what_is_shipped_makes_room_also_while_postgres_is_away(
    tmp_path: Path, dsn: str, engine: AsyncEngine
) -> None:
    spool = Spool(tmp_path / "spool", worker=0, max_bytes=60_000, segment_bytes=4_000)
    for _ in range(20):
        spool.append_record(make_answered())
    async with shipping(spool, dsn):
        await until(has_stored(engine, 20))
        kept = len(segments_of(spool.directory))
        async with engine.begin() as connection:
            await connection.execute(text("ALTER TABLE request_record RENAME TO away"))
        while spool.is_writable:
            spool.append_record(make_answered())

        async def has_room() -> bool:
            return spool.is_writable

        await until(has_room)
    assert kept > 3
    end(spool)


async def test_what_an_open_request_began_outlives_a_spool_that_fills(
    tmp_path: Path, dsn: str, engine: AsyncEngine
) -> None:
    spool = Spool(tmp_path / "spool", worker=0, max_bytes=60_000, segment_bytes=4_000)
    begun = make_begun(request_id(datetime.now(UTC)))
    spool.append_begun(begun)
    while spool.is_writable:
        spool.append_record(make_answered())
    async with shipping(spool, dsn) as shipper:

        async def is_empty() -> bool:
            return shipper.state.shipped_records > 0 and not shipper.state.backlog_bytes

        await until(is_empty)
        await asyncio.sleep(0.2)
    end(spool)
    following = Spool(tmp_path / "spool", worker=1)
    async with shipping(following, dsn):

        async def has_crashed() -> bool:
            return begun.request_id in await stored_ids(engine)

        await until(has_crashed)
    end(following)


async def test_a_table_that_is_locked_for_a_while_is_no_fault_of_the_schema(
    spool: Spool, dsn: str, engine: AsyncEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shipper_module, "_SCHEMA_PAUSE_S", 600.0)
    async with shipping(spool, dsn) as shipper:
        spool.append_record(make_answered())
        await until(has_stored(engine, 1))
        async with engine.begin() as connection:
            await connection.execute(text("LOCK TABLE request_record IN ACCESS EXCLUSIVE MODE"))
            spool.append_record(make_answered())

            async def was_in_vain() -> bool:
                return "lock timeout" in (shipper.state.last_error or "")

            await until(was_in_vain)
        await until(has_stored(engine, 2))
        assert shipper.state.dead_letters == 0


async def test_a_trickle_of_records_is_shipped_in_few_batches(
    spool: Spool, dsn: str, engine: AsyncEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shipper_module, "FLUSH_S", 0.2)
    batches: list[object] = []
    real_save = Writer.save_position

    def save(self: Writer, position: Any) -> None:
        batches.append(position)
        real_save(self, position)

    monkeypatch.setattr(Writer, "save_position", save)
    async with shipping(spool, dsn):
        for _ in range(100):
            spool.append_record(make_answered())
            await asyncio.sleep(0.01)
        await until(has_stored(engine, 100))

    assert len(batches) <= 20


async def test_a_server_that_hangs_dies_and_comes_back_loses_nothing(
    spool: Spool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(storing, "_STORE_S", 0.5)
    monkeypatch.setattr(shipper_module, "_TELL_S", 0.5)
    # What it committed must survive its end, or the loss would not be ours.
    settings = {**FAST_SETTINGS, "synchronous_commit": "on"}
    server = EmbeddedPostgres(tmp_path / "own", settings=settings)
    dsn = await asyncio.to_thread(server.start)
    await asyncio.to_thread(migrations.upgrade, dsn)
    engine = engine_of(dsn)
    try:
        async with shipping(spool, dsn) as shipper:
            spool.append_record(make_answered())
            await until(has_stored(engine, 1))
            assert server.pid is not None
            stopped = [psutil.Process(server.pid), *psutil.Process(server.pid).children()]
            for process in stopped:
                process.suspend()
            spool.append_record(make_answered())

            async def has_noticed() -> bool:
                return "did not answer" in (shipper.state.last_error or "")

            await until(has_noticed)
            worst_s = await stall_while(asyncio.sleep(0.3))
            for process in stopped:
                process.resume()
            await until(has_stored(engine, 2))
            # All of it at once, as when the machine's memory runs out.
            for process in stopped:
                with suppress(ProcessLookupError):
                    os.kill(process.pid, signal.SIGKILL)
            spool.append_record(make_answered())

            async def has_lost_it() -> bool:
                return not shipper.state.is_connected

            await until(has_lost_it)
            assert spool.is_writable
            assert spool.pressure is Pressure.GREEN
            assert await asyncio.to_thread(server.start) == dsn

            async def are_all_there() -> bool:
                try:
                    return len(await stored_ids(engine)) == 3
                except (DBAPIError, OSError):
                    return False

            await until(are_all_there)
    finally:
        await engine.dispose()
        await asyncio.to_thread(server.stop)

    assert worst_s < 0.2


async def stall_while(work: Awaitable[object]) -> float:
    """The longest that the event loop was held up meanwhile, in seconds."""
    worst_s, task = 0.0, asyncio.ensure_future(work)
    while not task.done():
        before_s = time.monotonic()
        await asyncio.sleep(0.005)
        worst_s = max(worst_s, time.monotonic() - before_s)
    await task
    return worst_s


@pytest.mark.parametrize("ends", [True, False])
async def test_a_shadow_is_stored_once_beside_its_request_which_it_does_not_change(
    spool: Spool, dsn: str, engine: AsyncEngine, ends: bool
) -> None:
    orphan = Spool(spool.directory, worker=3)
    record, _ = write_shadow(orphan, ends=ends)
    end(orphan)
    for _ in range(2):
        async with shipping(spool, dsn):

            async def is_shipped() -> bool:
                settled = [*spool.directory.glob(f"{orphan.writer.name}.settled")]
                return bool(settled) and await count(engine, attempt_record) == 2

            await until(is_shipped)
        # As if the one who shipped it had died before it could note anything.
        for path in spool.directory.glob(f"{orphan.writer.name}*"):
            if path.suffix not in {".seg", ".lock"}:
                path.unlink()

    async with engine.connect() as connection:
        [row] = (await connection.execute(select(request_record))).all()
        attempts = (
            await connection.execute(select(attempt_record).order_by(attempt_record.c.number))
        ).all()
    assert (row.id, row.outcome, row.cost_usd) == (record.id, "success", record.cost_usd)
    assert row.attempts_count == 1
    assert [(a.number, a.kind) for a in attempts] == [(1, "primary"), (2, "shadow")]
    assert attempts[1].outcome == ("success" if ends else "unknown_crash")
    assert attempts[1].cost_usd is not None
