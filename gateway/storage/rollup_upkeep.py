"""Keeps roll-ups in shape: minutes become quarters, these hours and days; old ones are forgotten.

All of it is safe at any time and by several at once: one does it, the others find nothing to do.
"""

from datetime import UTC, datetime, timedelta

from sqlalchemy import (
    ColumnElement,
    Subquery,
    Table,
    and_,
    column,
    delete,
    func,
    insert,
    or_,
    select,
    text,
    values,
)
from sqlalchemy.dialects.postgresql import insert as upsert
from sqlalchemy.ext.asyncio import AsyncConnection

from gateway.storage.coarse_tables import COARSE, DAY, HOUR, STEPS, rollup_outdated
from gateway.storage.histograms import compact
from gateway.storage.ingest import ROLL_UP_LOCK
from gateway.storage.rollup_source import quarter_of
from gateway.storage.rollup_tables import (
    METRICS,
    ROLL_UPS,
    RollUp,
    latency_key_hour,
    rollup_horizon,
    rollup_pending,
)
from gateway.storage.rollups import add_up, sum_columns, summed
from gateway.storage.table_kinds import Instant

QUARTER = timedelta(minutes=15)
_QUARTERS_AT_ONCE = 16
# A quarter is summed when it is over and the records of its last moments have arrived.
_SETTLED_AFTER = timedelta(seconds=60)
_STEP = timedelta(hours=1)
_COARSE_AT_ONCE = {HOUR: 24, DAY: 4}
_EPOCH = datetime(2000, 1, 1, tzinfo=UTC)
# Any number will do as long as it never changes; it keeps those who sum up apart.
_ADVISORY_LOCK = int.from_bytes(b"tw-sums")


async def sum_quarters(connection: AsyncConnection, now: datetime) -> int:
    """Sum up quarters that are over and whose minutes have changed, then hours and days.

    Returns how many; 0 also when somebody else is at it. A few at a time: call it until it
    returns 0.
    """
    if not await connection.scalar(select(func.pg_try_advisory_xact_lock(_ADVISORY_LOCK))):
        return 0
    until = now - _SETTLED_AFTER
    summed_count = await _sum_quarters(connection, until=until - QUARTER)
    for step, limit in _COARSE_AT_ONCE.items():
        summed_count = summed_count or await _sum_coarse(connection, step, until - step, limit)
    return summed_count


async def note_sizes(connection: AsyncConnection) -> None:
    """Let the planner know how large the roll-ups have become.

    After very many rows at once it would otherwise read whole tables for each quarter (measured:
    four times as slow) until the server's own upkeep comes round.
    """
    names = [table.name for one in ROLL_UPS for table in (one.minute, one.quarter)]
    names += [coarse.table.name for coarse in COARSE]
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
    quarters = [roll_up.quarter for roll_up in ROLL_UPS]
    removed = 0
    for table in (*quarters, latency_key_hour, *(coarse.table for coarse in COARSE)):
        where = _among(table, table.c.at < before)
        removed += (await connection.execute(delete(table).where(where))).rowcount
    await connection.execute(delete(rollup_outdated).where(rollup_outdated.c.at < before))
    # A part of these may be left.
    await note_outdated(connection, [before])
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
    """Make the quarters of a time anew from its minutes, which hold each histogram in one row.

    Both are edges of quarters.
    """
    quarters = [start + QUARTER * count for count in range(round((end - start) / QUARTER))]
    for roll_up in ROLL_UPS:
        await _replace(connection, roll_up, quarters)
    await note_outdated(connection, quarters)


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
            if roll_up.is_histogram:
                await _compact(connection, roll_up, replaced)
            await _replace(connection, roll_up, replaced)
        if added:
            await _move(connection, roll_up, added)
    await note_outdated(connection, [*replaced, *added])
    return len(replaced) + len(added)


async def _sum_coarse(
    connection: AsyncConnection, step: timedelta, until: datetime, limit: int
) -> int:
    outdated = rollup_outdated.c
    is_due = and_(outdated.step == STEPS[step], outdated.at <= until)
    chosen = select(outdated.at).where(is_due).order_by(outdated.at).limit(limit)
    taken = await connection.scalars(
        delete(rollup_outdated).where(is_due, outdated.at.in_(chosen)).returning(outdated.at)
    )
    spans = sorted(taken)
    for coarse in COARSE:
        if not spans or coarse.step != step:
            continue
        table, quarters = coarse.table, coarse.of.quarter
        await connection.execute(delete(table).where(_among(table, table.c.at.in_(spans))))
        rows = _within(quarters, spans, step)
        summed_up = summed(coarse.of, rows, rows.c.span, coarse.dimensions)
        names = sum_columns(coarse.of, coarse.dimensions)
        await connection.execute(insert(table).from_select(names, summed_up))
    return len(spans)


async def note_outdated(connection: AsyncConnection, instants: list[datetime]) -> None:
    """The hours and days in which these lie do not follow from their quarters any more."""
    notes = {(name, _origin_of(at, step)) for at in instants for step, name in STEPS.items()}
    if notes:
        await connection.execute(
            upsert(rollup_outdated)
            .values([{"step": name, "at": at} for name, at in sorted(notes)])
            .on_conflict_do_nothing()
        )


async def _replace(connection: AsyncConnection, roll_up: RollUp, quarters: list[datetime]) -> None:
    table, minutes = roll_up.quarter, roll_up.minute
    await connection.execute(delete(table).where(_among(table, table.c.at.in_(quarters))))
    rows = _within(minutes, quarters, QUARTER)
    summed_up = summed(roll_up, rows, rows.c.span, roll_up.keys)
    names = sum_columns(roll_up, roll_up.keys)
    await connection.execute(insert(table).from_select(names, summed_up))


async def _compact(connection: AsyncConnection, roll_up: RollUp, quarters: list[datetime]) -> None:
    """Every batch has left a row of each histogram: leave one."""
    minutes = roll_up.minute
    are_of_quarters = or_(
        *(and_(minutes.c.at >= start, minutes.c.at < end) for start, end in _spans(quarters))
    )
    await connection.execute(compact(minutes, _among(minutes, are_of_quarters)))
    hours = sorted({_hour_of(at) for at in quarters})
    is_of_hours = _among(latency_key_hour, latency_key_hour.c.at.in_(hours))
    await connection.execute(compact(latency_key_hour, is_of_hours))


async def _move(connection: AsyncConnection, roll_up: RollUp, quarters: list[datetime]) -> None:
    minutes = roll_up.minute
    for at in quarters:
        taken = (
            delete(minutes)
            .where(_among(minutes, _is_within(minutes, at)))
            .returning(*minutes.columns)
            .cte("taken")
        )
        rows = summed(roll_up, taken, quarter_of(taken.c.at), roll_up.keys)
        if roll_up.is_histogram:
            names = sum_columns(roll_up, roll_up.keys)
            await connection.execute(insert(roll_up.quarter).from_select(names, rows))
        else:
            await connection.execute(add_up(roll_up.quarter, rows, roll_up.measures))


def _spans(quarters: list[datetime]) -> list[tuple[datetime, datetime]]:
    """Sorted quarters as spans of time without gaps: mostly one."""
    spans: list[tuple[datetime, datetime]] = []
    for at in quarters:
        if spans and spans[-1][1] == at:
            spans[-1] = (spans[-1][0], at + QUARTER)
        else:
            spans.append((at, at + QUARTER))
    return spans


def _within(table: Table, starts: list[datetime], length: timedelta) -> Subquery:
    """The rows of these spans of time, each with the start of its ``span``."""
    wanted = values(column("at", Instant), name="wanted").data([(at,) for at in starts])
    is_within = and_(
        # Without these the planner expects a good part of the table for each, and reads all of it.
        table.c.at >= min(starts),
        table.c.at < max(starts) + length,
        table.c.at >= wanted.c.at,
        table.c.at < wanted.c.at + length,
    )
    return (
        select(wanted.c.at.label("span"), *table.columns)
        .select_from(wanted.join(table, _among(table, is_within)))
        .subquery()
    )


def _is_within(table: Table, quarter: datetime) -> ColumnElement[bool]:
    return and_(table.c.at >= quarter, table.c.at < quarter + QUARTER)


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
    return _origin_of(at, _STEP)


def _origin_of(at: datetime, step: timedelta) -> datetime:
    return at - (at - _EPOCH) % step
