"""Keeps roll-ups in shape: minutes become quarters of an hour, what is too old is forgotten.

All of it is safe at any time and by several at once: one does it, the others find nothing to do.
"""

from datetime import UTC, datetime, timedelta

from sqlalchemy import ColumnElement, Table, and_, delete, func, insert, select, text, values
from sqlalchemy.dialects.postgresql import insert as upsert
from sqlalchemy.ext.asyncio import AsyncConnection

from gateway.storage.ingest import ROLL_UP_LOCK
from gateway.storage.rollup_tables import (
    METRICS,
    ROLL_UPS,
    RollUp,
    latency_key_hour,
    rollup_horizon,
    rollup_pending,
)
from gateway.storage.rollups import add_up, summed

QUARTER = timedelta(minutes=15)
_QUARTERS_AT_ONCE = 16
# A quarter is summed when it is over and the records of its last moments have arrived.
_SETTLED_AFTER = timedelta(seconds=60)
_STEP = timedelta(hours=1)
# Any number will do as long as it never changes; it keeps those who sum up apart.
_ADVISORY_LOCK = int.from_bytes(b"tw-sums")


async def sum_quarters(connection: AsyncConnection, now: datetime) -> int:
    """Sum up quarters that are over and whose minutes have changed; returns how many.

    0 also when somebody else is at it. A few at a time: call it until it returns 0.
    """
    if not await connection.scalar(select(func.pg_try_advisory_xact_lock(_ADVISORY_LOCK))):
        return 0
    return await _sum_quarters(connection, until=now - QUARTER - _SETTLED_AFTER)


async def note_sizes(connection: AsyncConnection) -> None:
    """Let the planner know how large the roll-ups have become.

    After very many rows at once it would otherwise read whole tables for each quarter (measured:
    four times as slow) until the server's own upkeep comes round.
    """
    names = [table.name for one in ROLL_UPS for table in (one.minute, one.quarter)]
    await connection.execute(text(f"ANALYZE {', '.join([*names, rollup_pending.name])}"))


async def thin_pending(connection: AsyncConnection) -> None:
    """Leave one note for each quarter: with many batches a second, there come many."""
    older = rollup_pending.alias("older")
    p = rollup_pending.c
    await connection.execute(
        delete(rollup_pending).where(
            select(older.c.id)
            .where(older.c.at == p.at, older.c.is_addition == p.is_addition, older.c.id < p.id)
            .exists()
        )
    )


async def forget_minutes(connection: AsyncConnection, before: datetime) -> bool:
    """Remove an hour of minutes that are older; True while there may be more.

    What they held stays in the quarters. Nobody adds to roll-ups meanwhile.
    """
    if not await connection.scalar(select(func.pg_try_advisory_xact_lock(_ADVISORY_LOCK))):
        return False
    earliest = [await _earliest(connection, roll_up.minute) for roll_up in ROLL_UPS]
    first = min((at for at in earliest if at is not None), default=None)
    if first is None or first >= before:
        return False
    end = min(_hour_of(first) + _STEP, before)
    await connection.execute(select(func.pg_advisory_xact_lock(ROLL_UP_LOCK)))
    # What comes later is added to what the quarters hold, so they must hold all of it by now.
    await _sum_quarters(connection, until=end, limit=None)
    for roll_up in ROLL_UPS:
        await connection.execute(delete(roll_up.minute).where(roll_up.minute.c.at < end))
    await set_horizon(connection, "minutes", end)
    return True


async def forget_quarters(connection: AsyncConnection, before: datetime) -> int:
    """Remove what is older from the long grain; returns how many rows."""
    tables = [*(roll_up.quarter for roll_up in ROLL_UPS), latency_key_hour]
    removed = 0
    for table in tables:
        where = table.c.at < before
        if "metric" in table.c:
            where = and_(table.c.metric.in_(METRICS), where)
        removed += (await connection.execute(delete(table).where(where))).rowcount
    return removed


async def horizon(connection: AsyncConnection, name: str) -> datetime | None:
    """Since when ``minutes`` or ``rows`` are kept; None when nothing was ever removed."""
    return await connection.scalar(select(rollup_horizon.c.at).where(rollup_horizon.c.name == name))


async def set_horizon(connection: AsyncConnection, name: str, at: datetime) -> None:
    """Note that older ``minutes`` or ``rows`` were removed; it only ever moves on."""
    statement = upsert(rollup_horizon).values(name=name, at=at)
    await connection.execute(
        statement.on_conflict_do_update(
            index_elements=[rollup_horizon.c.name],
            set_={"at": func.greatest(rollup_horizon.c.at, statement.excluded.at)},
        )
    )


async def hold_roll_ups(connection: AsyncConnection) -> None:
    """Until the transaction ends, nobody else adds to roll-ups or sums them up."""
    await connection.execute(select(func.pg_advisory_xact_lock(_ADVISORY_LOCK)))
    await connection.execute(select(func.pg_advisory_xact_lock(ROLL_UP_LOCK)))


async def resum(connection: AsyncConnection, start: datetime, end: datetime) -> None:
    """Make the quarters of a time anew from its minutes. Both are edges of quarters."""
    quarters = [start + QUARTER * count for count in range(round((end - start) / QUARTER))]
    for roll_up in ROLL_UPS:
        await _replace(connection, roll_up, quarters)


async def _sum_quarters(
    connection: AsyncConnection, *, until: datetime, limit: int | None = _QUARTERS_AT_ONCE
) -> int:
    p = rollup_pending.c
    chosen = select(p.at).where(p.at < until).group_by(p.at).order_by(p.at).limit(limit)
    taken = await connection.execute(
        delete(rollup_pending).where(p.at.in_(chosen)).returning(p.at, p.is_addition)
    )
    found = taken.all()
    replaced = sorted({at.astimezone(UTC) for at, is_addition in found if not is_addition})
    added = sorted({at.astimezone(UTC) for at, is_addition in found if is_addition})
    for roll_up in ROLL_UPS:
        if replaced:
            await _replace(connection, roll_up, replaced)
        if added:
            await _move(connection, roll_up, added)
    return len(replaced) + len(added)


async def _replace(connection: AsyncConnection, roll_up: RollUp, quarters: list[datetime]) -> None:
    table = roll_up.quarter
    await connection.execute(delete(table).where(_among(table, table.c.at.in_(quarters))))
    names = ["at", *roll_up.dimensions, *roll_up.measures]
    minutes = roll_up.minute
    wanted = values(*(select(table.c.at).selected_columns), name="wanted").data(
        [(at,) for at in quarters]
    )
    of_quarter = and_(minutes.c.at >= wanted.c.at, minutes.c.at < wanted.c.at + QUARTER)
    rows = summed(roll_up, minutes).select_from(wanted.join(minutes, _among(minutes, of_quarter)))
    await connection.execute(insert(table).from_select(names, rows))


async def _move(connection: AsyncConnection, roll_up: RollUp, quarters: list[datetime]) -> None:
    minutes = roll_up.minute
    for at in quarters:
        taken = (
            delete(minutes)
            .where(_among(minutes, and_(minutes.c.at >= at, minutes.c.at < at + QUARTER)))
            .returning(*minutes.columns)
            .cte("taken")
        )
        await connection.execute(add_up(roll_up.quarter, summed(roll_up, taken), roll_up.measures))


def _among(table: Table, condition: ColumnElement[bool]) -> ColumnElement[bool]:
    # Its key begins with the metric: naming all of them lets the index find the time.
    return and_(table.c.metric.in_(METRICS), condition) if "metric" in table.c else condition


async def _earliest(connection: AsyncConnection, table: Table) -> datetime | None:
    if "metric" not in table.c:
        return await connection.scalar(select(func.min(table.c.at)))
    found = [
        await connection.scalar(select(func.min(table.c.at)).where(table.c.metric == metric))
        for metric in METRICS
    ]
    return min((at for at in found if at is not None), default=None)


def _hour_of(at: datetime) -> datetime:
    return at.astimezone(UTC).replace(minute=0, second=0, microsecond=0)
