"""How many requests a second reach the database: rows, roll-ups and histograms.

``python -m tests.benchmarks.shipping [--requests N] [--batch N]`` starts a server of its own, makes
records up, and stores them the way the shipper does.
"""

import argparse
import asyncio
import os
import random
import tempfile
import time
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path

import msgspec
from sqlalchemy import func, select
from sqlalchemy.ext.asyncio import AsyncEngine

import migrations
from gateway.domain.outcomes import Outcome
from gateway.domain.records import RequestRecord
from gateway.ledger.deadletters import DeadLetters
from gateway.ledger.reader import Found
from gateway.ledger.storing import RecordStore, ShipperState
from gateway.storage.embedded import EmbeddedPostgres
from gateway.storage.engine import make_engine
from gateway.storage.rollup_tables import latency, usage_attempt, usage_request
from gateway.storage.tables import request_record
from pricing.cost import Cost
from pricing.usage import Usage
from tests.storage.samples import make_attempt, make_record, request_id

_KEYS, _ENDPOINTS = 20, 12
_MICRO = Decimal("0.000001")


class ShippingFigures(msgspec.Struct, frozen=True, kw_only=True):
    """How fast made-up records were stored."""

    requests: int
    batch: int
    requests_per_s: float
    us_per_request: float
    own_us_per_request: float
    """Of this process; the rest is the server's."""
    load_average: float
    rows: dict[str, int]


def main() -> None:
    """Print requests per second."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--requests", type=int, default=40_000)
    parser.add_argument("--batch", type=int, default=1_000)
    parser.add_argument("--per-second", type=int, default=10_000, help="of the traffic made up")
    arguments = parser.parse_args()
    show(measure(arguments.requests, batch=arguments.batch, per_second=arguments.per_second))


def measure(requests: int, *, batch: int = 1_000, per_second: int = 10_000) -> ShippingFigures:
    """Store so many records in a new database, one batch after the other."""
    with tempfile.TemporaryDirectory(prefix="tollway-bench-") as directory:
        server = EmbeddedPostgres(Path(directory))
        dsn = server.start()
        try:
            migrations.upgrade(dsn)
            found = _made_up(requests, per_second)
            return asyncio.run(_store(dsn, Path(directory), found, batch))
        finally:
            server.stop()


def show(figures: ShippingFigures) -> None:
    """Print them."""
    print(
        f"{figures.requests_per_s:,.0f} requests/s stored; {figures.us_per_request:.0f} us each, "
        f"{figures.own_us_per_request:.0f} of them ours; load {figures.load_average:.1f}"
    )
    for name, count in figures.rows.items():
        print(f"  {count:>9,} rows in {name}")


def _made_up(count: int, per_second: int) -> list[Found]:
    draw = random.Random(7)
    keys = [request_id(datetime.now(UTC)) for _ in range(_KEYS)]
    start = datetime.now(UTC) - timedelta(seconds=count / per_second)
    records: list[RequestRecord] = []
    for index in range(count):
        at = start + timedelta(seconds=index / per_second)
        number = draw.randrange(_ENDPOINTS)
        provider, model = f"provider-{number % 5}", f"author/model-{number}"
        usage = Usage(
            input_tokens=draw.randint(100, 4_000), output_tokens=draw.randint(10, 900), requests=1
        )
        lines = {
            "input_tokens": usage.input_tokens * _MICRO,
            "output_tokens": usage.output_tokens * 4 * _MICRO,
        }
        duration_ms = draw.lognormvariate(7, 0.6)
        attempt = make_attempt(
            provider=provider,
            model=model,
            endpoint=f"{provider}/model-{number}",
            started_at=at,
            duration_ms=duration_ms,
            ttft_ms=duration_ms * 0.3,
            status_code=200,
            usage=usage,
            usage_source="reported",
            cost=Cost(total_usd=sum(lines.values(), Decimal(0)), lines=lines),
        )
        records.append(
            make_record(
                id=request_id(at),
                received_at=at,
                key_id=draw.choice(keys),
                labels={"team": f"team-{draw.randrange(6)}", "env": "prod"},
                stream=True,
                used_provider=provider,
                used_model=model,
                used_endpoint=attempt.endpoint,
                outcome=Outcome.SUCCESS,
                ttft_ms=attempt.ttft_ms,
                duration_ms=duration_ms,
                overhead_ms=draw.lognormvariate(0, 0.3),
                cost_usd=attempt.cost.total_usd,
                attempts=(attempt,),
            )
        )
    return [Found(record, b"", "bench", index, None) for index, record in enumerate(records)]


async def _store(dsn: str, directory: Path, found: list[Found], batch: int) -> ShippingFigures:
    engine = make_engine(dsn, pool_size=1, application_name="benchmark")
    dead = directory / "dead"
    dead.mkdir(exist_ok=True)
    store = RecordStore(engine, DeadLetters(dead), ShipperState())
    await store.store(found[:1])
    begun_s, cpu_s = time.perf_counter(), time.process_time()
    for start in range(0, len(found), batch):
        await store.store(found[start : start + batch])
    took_s, cpu_s = time.perf_counter() - begun_s, time.process_time() - cpu_s
    tables = (request_record, usage_request.minute, usage_attempt.minute, latency.minute)
    rows = {table.name: await _count(engine, table) for table in tables}
    await engine.dispose()
    return ShippingFigures(
        requests=len(found),
        batch=batch,
        requests_per_s=len(found) / took_s,
        us_per_request=took_s / len(found) * 1e6,
        own_us_per_request=cpu_s / len(found) * 1e6,
        load_average=os.getloadavg()[0],
        rows=rows,
    )


async def _count(engine: AsyncEngine, table: object) -> int:
    async with engine.connect() as connection:
        counted = select(func.count()).select_from(table)  # pyright: ignore[reportArgumentType]
        return int(await connection.scalar(counted) or 0)


if __name__ == "__main__":
    main()
