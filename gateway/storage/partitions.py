"""The daily partitions of the record tables: made before their first row, dropped when too old.

There is no DEFAULT partition, because it would forbid `DETACH … CONCURRENTLY`.
"""

from collections.abc import Iterable
from datetime import date, timedelta

from sqlalchemy import Table, column, func, select, table, text
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from gateway.storage.record_tables import PARTITIONED

# Any number will do as long as it never changes; it keeps makers of partitions apart.
_ADVISORY_LOCK = int.from_bytes(b"tw-days")
_DROP_LOCK = int.from_bytes(b"tw-drop")
_PG_CLASS = table(
    "pg_class", column("oid"), column("relname"), column("relispartition"), column("relkind")
)
_PG_INHERITS = table("pg_inherits", column("inhrelid"), column("inhdetachpending"))
_ATTACHED, _DETACHING, _DETACHED = "attached", "detaching", "detached"


def partition_name(parent: Table, day: date) -> str:
    """What the partition of a day is called."""
    return f"{parent.name}_{day:%Y%m%d}"


def days_ahead(today: date, count: int = 7) -> tuple[date, ...]:
    """Today and the `count` days after it."""
    return tuple(today + timedelta(days=ahead) for ahead in range(count + 1))


async def ensure_partitions(connection: AsyncConnection, days: Iterable[date]) -> None:
    """Make the partitions of both record tables for these UTC days, where they do not exist.

    Safe while others do the same; visible to them once the caller's transaction commits, so give it
    a transaction of its own. Readers and writers of the other days are not held up.
    """
    wanted = {
        partition_name(parent, day): (parent, day) for day in set(days) for parent in PARTITIONED
    }
    if not await _missing(connection, set(wanted)):
        return
    await connection.execute(select(func.pg_advisory_xact_lock(_ADVISORY_LOCK)))
    for name in sorted(await _missing(connection, set(wanted))):
        await _create(connection, name, *wanted[name])


async def first_partition_day(connection: AsyncConnection) -> date | None:
    """The earliest UTC day that has partitions; None without any."""
    days = [day for parent in PARTITIONED for day in await partition_days(connection, parent)]
    return min(days, default=None)


async def partition_days(connection: AsyncConnection, parent: Table) -> list[date]:
    """The UTC days that have a partition of a record table, oldest first."""
    prefix = f"{parent.name}_"
    names = await connection.scalars(
        select(_PG_CLASS.c.relname).where(
            _PG_CLASS.c.relname.regexp_match(f"^{prefix}[0-9]{{8}}$"),
            _PG_CLASS.c.relispartition,
            func.pg_table_is_visible(_PG_CLASS.c.oid),
        )
    )
    return sorted(date.fromisoformat(name.removeprefix(prefix)) for name in names)


async def drop_days(engine: AsyncEngine, before: date) -> int:
    """Drop the partitions of older days; returns how many. Readers of other days are not held up.

    Takes no part in any transaction, as detaching without a lock demands; what was broken off
    halfway is finished. 0 also when somebody else is at it.
    """
    async with engine.connect() as plain:
        connection = await plain.execution_options(isolation_level="AUTOCOMMIT")
        if not await connection.scalar(select(func.pg_try_advisory_lock(_DROP_LOCK))):
            return 0
        try:
            dropped = 0
            for parent in PARTITIONED:
                for name, state in await _older_partitions(connection, parent, before):
                    if state != _DETACHED:
                        how = "FINALIZE" if state == _DETACHING else "CONCURRENTLY"
                        await connection.execute(
                            text(f"ALTER TABLE {parent.name} DETACH PARTITION {name} {how}")
                        )
                    await connection.execute(text(f"DROP TABLE {name}"))
                    dropped += 1
            return dropped
        finally:
            await connection.execute(select(func.pg_advisory_unlock(_DROP_LOCK)))


async def _older_partitions(
    connection: AsyncConnection, parent: Table, before: date
) -> list[tuple[str, str]]:
    prefix = f"{parent.name}_"
    rows = await connection.execute(
        select(_PG_CLASS.c.relname, _PG_CLASS.c.relispartition, _PG_INHERITS.c.inhdetachpending)
        .select_from(_PG_CLASS.outerjoin(_PG_INHERITS, _PG_INHERITS.c.inhrelid == _PG_CLASS.c.oid))
        .where(
            _PG_CLASS.c.relname.regexp_match(f"^{prefix}[0-9]{{8}}$"),
            _PG_CLASS.c.relkind == "r",
            func.pg_table_is_visible(_PG_CLASS.c.oid),
        )
        .order_by(_PG_CLASS.c.relname)
    )
    return [
        (name, _DETACHING if is_detaching else _ATTACHED if is_partition else _DETACHED)
        for name, is_partition, is_detaching in rows
        if date.fromisoformat(name.removeprefix(prefix)) < before
    ]


async def _missing(connection: AsyncConnection, names: set[str]) -> set[str]:
    existing = await connection.scalars(
        select(_PG_CLASS.c.relname).where(
            _PG_CLASS.c.relname.in_(sorted(names)),
            _PG_CLASS.c.relispartition,
            func.pg_table_is_visible(_PG_CLASS.c.oid),
        )
    )
    return names - set(existing)


async def _create(connection: AsyncConnection, name: str, parent: Table, day: date) -> None:
    # Attaching locks the parent far more lightly than CREATE TABLE … PARTITION OF, which waits for
    # every reader of the whole table and makes the next ones wait behind it. Names and dates are
    # ours, never input.
    end = day + timedelta(days=1)
    await connection.execute(text(f"CREATE TABLE {name} (LIKE {parent.name} INCLUDING ALL)"))
    await connection.execute(
        text(
            f"ALTER TABLE {parent.name} ATTACH PARTITION {name} "
            f"FOR VALUES FROM ('{day.isoformat()}') TO ('{end.isoformat()}')"
        )
    )
