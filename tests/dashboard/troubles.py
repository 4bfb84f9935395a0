"""Changes of health, stored as gateways store them, and a lot of traffic."""

import asyncio
from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

import msgspec
from sqlalchemy.ext.asyncio import AsyncEngine

from gateway.domain.records import RequestRecord
from gateway.storage.health_events import StoredHealthEvent, add_health_events
from gateway.storage.ingest import insert_absent
from gateway.storage.partitions import ensure_partitions
from gateway.storage.rows import attempt_rows, record_day, request_row
from tests.storage.samples import engine_of

_AT_ONCE = 2_000


def change(at: datetime, state: str, number: int = 1, **changes: Any) -> StoredHealthEvent:
    values: dict[str, Any] = {
        "id": UUID(int=number),
        "at": at,
        "node": "here:8080",
        "level": "target",
        "provider": "groq",
        "endpoint": "groq/llama-3.3-70b-instruct",
        "state": state,
        "until": at + timedelta(seconds=10) if state in {"open", "cooling"} else None,
        "reason": "overloaded" if state == "open" else None,
    }
    return StoredHealthEvent(**(values | changes))


def troubles(end: datetime) -> list[StoredHealthEvent]:
    """An outage yesterday, a rest of today, and a credential that is out now."""
    begun = end - timedelta(hours=26)
    rows: list[StoredHealthEvent] = []
    for round_number in range(6):
        at = begun + timedelta(minutes=5 * round_number)
        rows.append(change(at, "open", until=at + timedelta(minutes=4)))
        rows.append(change(at + timedelta(minutes=4, seconds=30), "half_open"))
    rows.append(change(begun + timedelta(minutes=31), "closed"))
    rows.append(
        change(
            end - timedelta(minutes=50),
            "cooling",
            level="share",
            credential=0,
            until=end - timedelta(minutes=49),
            reason="rate_limited",
        )
    )
    rows.append(
        change(
            end - timedelta(minutes=5),
            "open",
            level="credential",
            provider="openai",
            endpoint=None,
            credential=1,
            until=end + timedelta(minutes=5),
            reason="auth_error",
        )
    )
    return [
        msgspec.structs.replace(row, id=UUID(int=number))
        for number, row in enumerate(rows, start=1)
    ]


def fill_health(dsn: str, events: Sequence[StoredHealthEvent]) -> None:
    """Blocks."""

    async def work(engine: AsyncEngine) -> None:
        async with engine.begin() as connection:
            await add_health_events(connection, events)

    asyncio.run(_with_engine(dsn, work))


def add(dsn: str, records: Sequence[RequestRecord]) -> None:
    """More records for a database that has a key already; blocks."""

    async def work(engine: AsyncEngine) -> None:
        for start in range(0, len(records), _AT_ONCE):
            part = records[start : start + _AT_ONCE]
            async with engine.begin() as connection:
                await ensure_partitions(connection, {record_day(one) for one in part})
            async with engine.begin() as connection:
                await insert_absent(
                    connection,
                    [request_row(one) for one in part],
                    [row for one in part for row in attempt_rows(one)],
                )

    asyncio.run(_with_engine(dsn, work))


async def _with_engine(dsn: str, work: Any) -> None:
    engine = engine_of(dsn)
    try:
        await work(engine)
    finally:
        await engine.dispose()
