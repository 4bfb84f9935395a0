"""The daily partitions of the record tables, made before their first row by whoever needs them.

There is no DEFAULT partition, because it would forbid `DETACH … CONCURRENTLY`.
"""

from collections.abc import Iterable
from datetime import date, timedelta

from sqlalchemy import Table, column, func, select, table, text
from sqlalchemy.ext.asyncio import AsyncConnection

from gateway.storage.tables import PARTITIONED

# Any number will do as long as it never changes; it keeps makers of partitions apart.
_ADVISORY_LOCK = int.from_bytes(b"tw-days")
_PG_CLASS = table("pg_class", column("oid"), column("relname"), column("relispartition"))


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


async def first_day(connection: AsyncConnection) -> date | None:
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
