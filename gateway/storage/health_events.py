"""What routing believed of providers over time: added by gateways, read by the dashboard."""

from collections.abc import Sequence
from datetime import datetime
from typing import Literal
from uuid import UUID

import msgspec
from sqlalchemy import delete
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncConnection

from gateway.storage.record_tables import health_event

HealthLevel = Literal["origin", "credential", "target", "share"]
HealthState = Literal["open", "half_open", "closed", "cooling"]


class StoredHealthEvent(msgspec.Struct, frozen=True, kw_only=True):
    """A row of `health_event`."""

    id: UUID
    at: datetime
    node: str
    level: HealthLevel
    provider: str
    endpoint: str | None = None
    """None where the level is of the whole provider."""
    credential: int | None = None
    """Its place among the provider's; None where the level is of all of them."""
    state: HealthState
    until: datetime | None = None
    reason: str | None = None


async def add_health_events(
    connection: AsyncConnection, events: Sequence[StoredHealthEvent]
) -> None:
    """Add those that are not there yet."""
    if not events:
        return
    rows = [msgspec.structs.asdict(event) for event in events]
    statement = insert(health_event).on_conflict_do_nothing(index_elements=[health_event.c.id])
    await connection.execute(statement, rows)


async def forget_health_events(connection: AsyncConnection, before: datetime) -> int:
    """Remove what is older; returns how many."""
    removed = await connection.execute(delete(health_event).where(health_event.c.at < before))
    return removed.rowcount
