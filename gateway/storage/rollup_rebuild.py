"""Makes roll-ups anew from the rows, an hour at a time, while records go on arriving.

The rows of an hour are read once and summed up from there, by the statements that sum up arrivals.
"""

from datetime import UTC, datetime, time, timedelta

from sqlalchemy import and_, delete
from sqlalchemy.dialects.postgresql import Insert
from sqlalchemy.ext.asyncio import AsyncConnection

from gateway.storage.hour_rows import TAKEN, take_hour
from gateway.storage.partitions import first_partition_day
from gateway.storage.rollup_corrections import share_roll_ups
from gateway.storage.rollup_tables import (
    METRICS,
    ROLL_UPS,
    latency_key_hour,
    rollup_pending,
)
from gateway.storage.rollup_upkeep import hold_roll_ups, horizon, resum, set_horizon
from gateway.storage.rollups import additions, new_label_sets, new_providers

STEP = timedelta(hours=1)
_DAY = timedelta(days=1)

_SUMS: tuple[Insert, ...] = (
    new_label_sets(TAKEN.requests),
    new_label_sets(TAKEN.attempts),
    new_providers(TAKEN.attempts),
    *additions(TAKEN),
)


async def rebuildable_since(connection: AsyncConnection) -> datetime | None:
    """The earliest hour whose rows are all there; None without any rows."""
    kept_since = await horizon(connection, "rows")
    if kept_since is not None:
        # An attempt belongs to the day of its request, and may have begun on the next one.
        return kept_since + _DAY
    day = await first_partition_day(connection)
    return None if day is None else datetime.combine(day, time(), UTC)


async def give_up_rows(connection: AsyncConnection, before: datetime) -> None:
    """Say, ahead of dropping older rows, that no roll-ups can be made from them any more.

    Waits for who does so just now. ``before`` is a midnight of UTC.
    """
    day = await first_partition_day(connection)
    if day is not None and day < before.date():
        await share_roll_ups(connection)
        await set_horizon(connection, "rows", before)


async def rebuild_hour(connection: AsyncConnection, start: datetime) -> bool:
    """Make the roll-ups of one hour anew, in the caller's transaction. ``start`` begins an hour.

    Whoever brings records waits until the transaction ends. False: not all of its rows are there
    any more, so that it was left as it is.
    """
    await hold_roll_ups(connection)
    since = await rebuildable_since(connection)
    if since is None or start < since:
        return False
    end = start + STEP
    for roll_up in ROLL_UPS:
        minutes = roll_up.minute
        where = and_(minutes.c.at >= start, minutes.c.at < end)
        if "metric" in minutes.c:
            where = and_(minutes.c.metric.in_(METRICS), where)
        await connection.execute(delete(minutes).where(where))
    hours = latency_key_hour.c
    await connection.execute(
        delete(latency_key_hour).where(hours.metric.in_(METRICS), hours.at == start)
    )
    await connection.execute(
        delete(rollup_pending).where(rollup_pending.c.at >= start, rollup_pending.c.at < end)
    )
    await take_hour(connection, start, end)
    for statement in _SUMS:
        await connection.execute(statement)
    await resum(connection, start, end)
    kept_since = await horizon(connection, "minutes")
    if kept_since is not None and start < kept_since:
        for roll_up in ROLL_UPS:
            minutes = roll_up.minute
            await connection.execute(
                delete(minutes).where(minutes.c.at >= start, minutes.c.at < end)
            )
    return True
