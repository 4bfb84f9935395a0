"""Millions of made-up requests of ninety days, in partitions, sums and histograms.

``python -m tests.benchmarks.history [--requests N | --full] [--directory D | --database-url URL]``
draws every day inside the database and sums it up from its rows, by the statements that sum up
what the shipper brings. Without a directory and an address it says what it took and keeps nothing.
"""

import argparse
import asyncio
import os
import tempfile
import time
from collections.abc import AsyncGenerator, Callable, Generator
from contextlib import asynccontextmanager, contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, TypeAlias

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from sqlalchemy import MetaData, Select, Table, func, insert, quoted_name, select, text
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine
from sqlalchemy.schema import CreateIndex

import migrations
from gateway.storage.coarse_tables import COARSE
from gateway.storage.embedded import EmbeddedPostgres
from gateway.storage.engine import make_engine
from gateway.storage.histograms import PACKED
from gateway.storage.rollup_latency import histograms
from gateway.storage.rollup_source import Source, quarter_of
from gateway.storage.rollup_tables import (
    ROLL_UPS,
    RollUp,
    latency,
    latency_key_hour,
    usage_attempt,
    usage_request,
)
from gateway.storage.rollup_upkeep import (
    note_outdated,
    note_sizes,
    set_horizon,
    sum_quarters,
)
from gateway.storage.rollups import (
    new_label_sets,
    new_providers,
    sum_columns,
    summed,
    with_costs,
)
from gateway.storage.tables import api_key, attempt_record, request_record, ship_watermark
from tests.benchmarks import history_sql

_Select: TypeAlias = Select[*tuple[Any, ...]]

FULL = 10_000_000
DEFAULT = 100_000
MINUTES_KEPT = timedelta(days=30)
LANES = 2
_NO_LIMIT_S = 3_600.0
# The data directory of a benchmark need not survive a crash, and sorts of a day fit into memory.
_SERVER = {
    "fsync": "off",
    "full_page_writes": "off",
    "synchronous_commit": "off",
    "max_wal_size": "8GB",
    "autovacuum": "off",
}
_SESSION = (
    "SET work_mem = '256MB'",
    "SET maintenance_work_mem = '512MB'",
    "SET synchronous_commit = off",
    # Samples of thousands of rows, for two hundred partitions, would take as long as all the rest.
    "SET default_statistics_target = 25",
)


def main() -> None:
    """Make it and print what it took."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--requests", type=int, default=DEFAULT)
    parser.add_argument("--full", action="store_true", help=f"{FULL:,} requests")
    parser.add_argument("--days", type=int, default=history_sql.DAYS)
    parser.add_argument("--directory", type=Path, help="keep the server's data there")
    parser.add_argument("--database-url", help="an empty database to leave the history in")
    arguments = parser.parse_args()
    requests: int = FULL if arguments.full else arguments.requests
    if arguments.database_url is not None:
        make_history(arguments.database_url, requests, days=arguments.days)
        return
    with _directory(arguments.directory) as directory:
        make_in(directory, requests, days=arguments.days)


def make_in(directory: Path, requests: int, *, days: int = history_sql.DAYS) -> None:
    """Make a history in a directory of its own, with a server that has stopped afterwards."""
    server = EmbeddedPostgres(directory, settings=_SERVER)
    try:
        make_history(server.start(), requests, days=days)
    finally:
        server.stop()


def make_history(
    dsn: str, requests: int, *, days: int = history_sql.DAYS, is_quiet: bool = False
) -> None:
    """Fill an empty database with about so many requests that end now."""
    migrations.upgrade(dsn)
    began_s = time.perf_counter()
    asyncio.run(_make(dsn, requests, days, Console(stderr=True, quiet=is_quiet)))
    if is_quiet:
        return
    took_s = time.perf_counter() - began_s
    load = ", ".join(f"{one:.1f}" for one in os.getloadavg())
    print(f"{requests:,} requests of {days} days in {took_s:.0f} s; load average {load}")


async def _make(dsn: str, requests: int, days: int, console: Console) -> None:
    async with _engine(dsn) as engine:
        async with engine.begin() as connection:
            await _make_world(connection)
        now = datetime.now(UTC)
        midnight = now.replace(hour=0, minute=0, second=0, microsecond=0)
        waiting = [midnight - timedelta(days=back) for back in range(days)]
        part_of_today = (now - midnight) / timedelta(days=1)
        per_day = round(requests / (days - 1 + part_of_today))
        columns = (
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TimeRemainingColumn(),
        )
        with Progress(*columns, console=console) as progress:
            drawn = progress.add_task("Drawing days", total=days)

            async def lane() -> None:
                while waiting:
                    day = waiting.pop()
                    async with engine.begin() as connection:
                        await _make_day(connection, day, now, per_day)
                    progress.advance(drawn)

            async with asyncio.TaskGroup() as group:
                for _ in range(LANES):
                    group.create_task(lane())
            async with engine.begin() as connection:
                await note_sizes(connection)
            task = progress.add_task("Summing hours and days", total=days * 25)
            await _sum_coarse(engine, now, lambda count: progress.advance(task, count))
            task = progress.add_task("Looking at sizes", total=1)
            await _settle(engine, now)
            progress.advance(task)
        if not console.quiet:
            await _tell(engine)


async def _make_world(connection: AsyncConnection) -> None:
    for statement in history_sql.WORLD.split(";"):
        if statement.strip():
            await connection.execute(text(statement))
    offers = history_sql.offers()
    habits = history_sql.habits(len(offers))
    for name, rows in (("offer", offers), ("habit", habits)):
        places = ", ".join(f"${place}" for place in range(1, len(rows[0]) + 1))
        for row in rows:
            await connection.exec_driver_sql(f"INSERT INTO made_up.{name} VALUES ({places})", row)
    await connection.execute(text("ANALYZE made_up.offer, made_up.habit"))
    keys: list[dict[str, Any]] = [
        {
            "id": history_sql.key_id(number),
            "kid": f"{number:08}",
            "digest": bytes(32),
            "pepper_version": 1,
            "last4": "0000",
            "name": f"key {number:02}",
            "labels": {},
            "allowed_models": [],
            "allowed_providers": [],
            "has_hard_budget": False,
            "created_at": datetime.now(UTC),
            "created_by": "benchmark",
        }
        for number in range(1, history_sql.KEYS + 1)
    ]
    await connection.execute(insert(api_key), keys)


async def _make_day(
    connection: AsyncConnection, day: datetime, now: datetime, per_day: int
) -> None:
    hours = history_sql.hours(day, now, per_day)
    for statement in _SESSION:
        await connection.execute(text(statement))
    tables = [_partition(parent, day) for parent in (request_record, attempt_record)]
    for parent, table in zip((request_record, attempt_record), tables, strict=True):
        # Made here, so that its rows need not be written to the log, and indexed when it is full.
        await connection.execute(
            text(
                f"CREATE TABLE {table.name} (LIKE {parent.name} "
                "INCLUDING DEFAULTS INCLUDING CONSTRAINTS)"
            )
        )
    if hours:
        seed = (day.toordinal() % 1_000) / 1_000
        for statement in history_sql.draw(hours, seed):
            await connection.execute(text(statement))
        request_table, attempt_table = tables
        await connection.execute(text(history_sql.attempts(attempt_table.name)))
        await connection.execute(text(f"ANALYZE {attempt_table.name}"))
        await connection.execute(text(history_sql.requests(request_table.name, attempt_table.name)))
    for table in tables:
        keys = ", ".join(column.name for column in table.primary_key)
        await connection.execute(text(f"ALTER TABLE {table.name} ADD PRIMARY KEY ({keys})"))
        for index in table.indexes:
            await connection.execute(CreateIndex(index))
    await connection.execute(text(f"ANALYZE {tables[0].name}"))
    if hours:
        await _sum_day(connection, Source(*tables, *tables), day, now)
    end = day + timedelta(days=1)
    for parent, table in zip((request_record, attempt_record), tables, strict=True):
        await connection.execute(
            text(
                f"ALTER TABLE {parent.name} ATTACH PARTITION {table.name} "
                f"FOR VALUES FROM ('{day.date()}') TO ('{end.date()}')"
            )
        )


def _partition(parent: Table, day: datetime) -> Table:
    table = parent.to_metadata(MetaData(), name=f"{parent.name}_{day:%Y%m%d}")
    for index in table.indexes:
        index.name = quoted_name(str(index.name).replace(parent.name, table.name), quote=None)
    return table


async def _sum_day(
    connection: AsyncConnection, source: Source, day: datetime, now: datetime
) -> None:
    has_minutes = day >= now - MINUTES_KEPT
    for statement in (
        new_label_sets(source.requests),
        new_label_sets(source.attempts),
        new_providers(source.attempts),
    ):
        await connection.execute(statement)
    packed = dict(histograms(source))
    for roll_up, rows in (*with_costs(source), (latency, packed.pop(latency.minute))):
        await _sum_roll_up(connection, roll_up, rows, has_minutes=has_minutes)
    for table, rows in packed.items():
        keys = [column.name for column in table.columns if column.name not in PACKED]
        await connection.execute(insert(table).from_select([*keys, *PACKED], rows))
    starts = [day + timedelta(hours=hour) for hour in range(24)]
    await note_outdated(connection, starts)


async def _sum_roll_up(
    connection: AsyncConnection, roll_up: RollUp, rows: _Select, *, has_minutes: bool
) -> None:
    minutes = roll_up.minute.to_metadata(MetaData(), name=f"day_{roll_up.minute.name}")
    names = [column.name for column in roll_up.minute.columns]
    await connection.execute(
        text(f"CREATE TEMPORARY TABLE {minutes.name} (LIKE {roll_up.minute.name}) ON COMMIT DROP")
    )
    found = rows.subquery()
    await connection.execute(
        insert(minutes).from_select(names, select(*(found.c[name] for name in names)))
    )
    quarters = summed(roll_up, minutes, quarter_of(minutes.c.at), roll_up.keys)
    columns = sum_columns(roll_up, roll_up.keys)
    await connection.execute(insert(roll_up.quarter).from_select(columns, quarters))
    if has_minutes:
        kept = select(*(minutes.c[name] for name in names))
        await connection.execute(insert(roll_up.minute).from_select(names, kept))


async def _sum_coarse(engine: AsyncEngine, now: datetime, on_summed: Callable[[int], None]) -> None:
    while True:
        async with engine.begin() as connection:
            for statement in _SESSION:
                await connection.execute(text(statement))
            count = await sum_quarters(connection, now)
        if not count:
            return
        on_summed(count)


async def _settle(engine: AsyncEngine, now: datetime) -> None:
    async with engine.begin() as connection:
        since = (now - MINUTES_KEPT).replace(hour=0, minute=0, second=0, microsecond=0)
        await set_horizon(connection, "minutes", since + timedelta(days=1))
        await connection.execute(
            insert(ship_watermark).values(
                worker="benchmark/1", updated_at=now, last_record_at=now, backlog_bytes=0
            )
        )
        await connection.execute(text("DROP SCHEMA made_up CASCADE"))
    async with engine.connect() as plain:
        connection = await plain.execution_options(isolation_level="AUTOCOMMIT")
        names = [table.name for one in ROLL_UPS for table in (one.minute, one.quarter)]
        names += [latency_key_hour.name, *(coarse.table.name for coarse in COARSE)]
        await connection.execute(text(f"VACUUM (ANALYZE) {', '.join(names)}"))
        # Otherwise it is autovacuum that is measured, which reads all of what was just written.
        await connection.execute(text(f"VACUUM {request_record.name}, {attempt_record.name}"))


async def _tell(engine: AsyncEngine) -> None:
    async with engine.connect() as connection:
        size = await connection.scalar(select(func.pg_database_size(func.current_database())))
        print(f"{(size or 0) / 2**30:.1f} GiB")
        for table in (
            request_record,
            attempt_record,
            usage_request.minute,
            usage_request.quarter,
            usage_attempt.quarter,
            latency.minute,
            latency.quarter,
        ):
            count = await connection.scalar(select(func.count()).select_from(table))
            print(f"  {count or 0:>12,} rows in {table.name}")


@asynccontextmanager
async def _engine(dsn: str) -> AsyncGenerator[AsyncEngine]:
    engine = make_engine(
        dsn,
        pool_size=LANES,
        application_name="benchmark",
        command_timeout_s=_NO_LIMIT_S,
        statement_timeout_s=_NO_LIMIT_S,
        lock_timeout_s=_NO_LIMIT_S,
    )
    try:
        yield engine
    finally:
        await engine.dispose()


@contextmanager
def _directory(given: Path | None) -> Generator[Path]:
    if given is not None:
        given.mkdir(parents=True, exist_ok=True)
        yield given
        return
    with tempfile.TemporaryDirectory(prefix="tollway-history-") as directory:
        yield Path(directory)


if __name__ == "__main__":
    main()
