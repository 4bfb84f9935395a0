"""A long history to look at: the demo's past, copied until there are millions of requests.

``python -m tests.benchmarks.history [--requests N] [--full] [--database-url URL]`` writes the
demo's past with the parts that write it for ``tollway up --demo``, copies its rows inside the
database under new ids and a little later each time, and makes the roll-ups from the rows as
``tollway rollups rebuild`` does. Without an address it starts a server of its own and removes it.
"""

import argparse
import asyncio
import tempfile
import time
from collections.abc import Awaitable, Callable, Generator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

from rich.console import Console
from rich.progress import track
from sqlalchemy import func, select, text
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

import migrations
from gateway.cli.demo import make_past
from gateway.demo.scenario import DAYS
from gateway.storage.embedded import EmbeddedPostgres
from gateway.storage.engine import make_engine
from gateway.storage.partitions import ensure_partitions
from gateway.storage.rollup_rebuild import STEP, rebuild_hour
from gateway.storage.rollup_tables import latency, usage_attempt, usage_request
from gateway.storage.rows import ATTEMPT_COPY_COLUMNS, REQUEST_COPY_COLUMNS
from gateway.storage.tables import attempt_record, request_record

FULL = 10_000_000
DEFAULT = 200_000
_FIRST = 50_000
_LATER = timedelta(seconds=97)
_PEPPER = b"pepper of a benchmark, 32 bytes."
_NO_LIMIT_S = 3_600.0

# The id's 48 bits of milliseconds move with the time, the rest follows from the old id and the
# number of the copy, so that a request and its attempts agree.
_NEW_ID = """
    (lpad(to_hex(('x' || substr(replace({id}::text, '-', ''), 1, 12))::bit(48)::bigint
                 + {later_ms}), 12, '0')
     || '7' || substr(md5({id}::text || '{copy}'), 1, 3)
     || '8' || substr(md5({id}::text || '{copy}'), 4, 15))::uuid
"""


def main() -> None:
    """Print what it took."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--requests", type=int, default=DEFAULT)
    parser.add_argument("--full", action="store_true", help=f"{FULL:,} requests")
    parser.add_argument("--database-url", help="an empty database to leave the history in")
    arguments = parser.parse_args()
    requests: int = FULL if arguments.full else arguments.requests
    if arguments.database_url is not None:
        make_history(arguments.database_url, requests)
        return
    with tempfile.TemporaryDirectory(prefix="tollway-history-") as directory:
        server = EmbeddedPostgres(Path(directory))
        dsn = server.start()
        try:
            make_history(dsn, requests)
        finally:
            server.stop()


def make_history(dsn: str, requests: int) -> None:
    """Fill a database with about so many requests of the last two weeks, and sum them up."""
    migrations.upgrade(dsn)
    first = min(max(requests // 2, 1), _FIRST)
    with timed("written, planned, settled and stored", first):
        make_past(dsn, first, pepper=_PEPPER, with_rules=False, quiet=False)
    copies = round(requests / first) - 1
    if copies > 0:
        asyncio.run(_with_engine(dsn, lambda engine: _multiply(engine, copies)))
        with timed("summed up", first * (copies + 1)):
            asyncio.run(_with_engine(dsn, _sum_up))
    asyncio.run(_with_engine(dsn, _tell))


async def _multiply(engine: AsyncEngine, copies: int) -> None:
    async with engine.begin() as connection:
        rows = await connection.scalar(select(func.count()).select_from(request_record))
        newest = await connection.scalar(select(func.max(request_record.c.received_at)))
    today = (newest or datetime.now(UTC)).date()
    until = (newest or datetime.now(UTC)) + _LATER * copies
    async with engine.begin() as connection:
        days = [today + timedelta(days=ahead) for ahead in range((until.date() - today).days + 1)]
        await ensure_partitions(connection, days)
    with timed("copied", (rows or 0) * copies):
        for copy in track(range(1, copies + 1), description="Copying", console=_console()):
            async with engine.begin() as connection:
                await _copy(connection, copy, newest or datetime.now(UTC))


async def _copy(connection: AsyncConnection, copy: int, newest: datetime) -> None:
    # Only what was there first: copies lie later than their originals by less than it is long.
    later = _LATER * copy
    later_ms = round(later / timedelta(milliseconds=1))
    if copy == 1:
        for table in (request_record, attempt_record):
            await connection.execute(text(f"CREATE TABLE first_{table.name} AS TABLE {table.name}"))
    for table, columns, id_column, at in (
        (request_record, REQUEST_COPY_COLUMNS, "id", "received_at"),
        (attempt_record, ATTEMPT_COPY_COLUMNS, "request_id", "started_at"),
    ):
        new_id = _NEW_ID.format(id=id_column, later_ms=later_ms, copy=copy)
        moved = f"{at} + interval '{later_ms} milliseconds'"
        changed = {
            id_column: new_id,
            at: moved,
            # As the id has it, which is the request's time also for an attempt.
            "day": f"(to_timestamp((('x' || substr(replace({id_column}::text, '-', ''), 1, 12))"
            f"::bit(48)::bigint + {later_ms}) / 1000.0) AT TIME ZONE 'UTC')::date",
        }
        values = ", ".join(changed.get(column, column) for column in columns)
        await connection.execute(
            text(
                f"INSERT INTO {table.name} ({', '.join(columns)}) "
                f"SELECT {values} FROM first_{table.name}"
            )
        )


async def _sum_up(engine: AsyncEngine) -> None:
    async with engine.begin() as connection:
        for table in (request_record, attempt_record):
            await connection.execute(text(f"DROP TABLE first_{table.name}"))
        # The server's own upkeep has not come round yet, and the planner would read whole tables.
        await connection.execute(text("ANALYZE"))
        earliest = await connection.scalar(select(func.min(request_record.c.received_at)))
        latest = await connection.scalar(select(func.max(attempt_record.c.started_at)))
    if earliest is None or latest is None:
        return
    start = earliest.astimezone(UTC).replace(minute=0, second=0, microsecond=0)
    hours = [start + STEP * count for count in range((latest - start) // STEP + 1)]
    for hour in track(hours, description="Summing up", console=_console()):
        async with engine.begin() as connection:
            await rebuild_hour(connection, hour)


async def _tell(engine: AsyncEngine) -> None:
    print(f"{DAYS} days:")
    async with engine.connect() as connection:
        for table in (
            request_record,
            attempt_record,
            usage_request.minute,
            usage_request.quarter,
            usage_attempt.quarter,
            latency.quarter,
        ):
            count = await connection.scalar(select(func.count()).select_from(table))
            print(f"  {count or 0:>12,} rows in {table.name}")


async def _with_engine(dsn: str, work: Callable[[AsyncEngine], Awaitable[None]]) -> None:
    engine = make_engine(
        dsn,
        pool_size=1,
        application_name="benchmark",
        command_timeout_s=_NO_LIMIT_S,
        statement_timeout_s=_NO_LIMIT_S,
        lock_timeout_s=_NO_LIMIT_S,
    )
    try:
        await work(engine)
    finally:
        await engine.dispose()


@contextmanager
def timed(what: str, requests: int) -> Generator[None]:
    """Print what it took."""
    begun_s = time.perf_counter()
    yield
    took_s = time.perf_counter() - begun_s
    print(f"{requests:,} requests {what} in {took_s:.1f} s: {took_s / requests * 1e6:.0f} us each")


def _console() -> Console:
    return Console(stderr=True)


if __name__ == "__main__":
    main()
