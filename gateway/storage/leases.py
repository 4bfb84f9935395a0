"""What workers hold of budgets: renewed, given back, and turned into spending as it ships.

What may still be spent of a window is its limit, less what is spent, less what is leased; a lease
counts for as much of it as was granted (`granting.py`) and is not shipped, and the window's row has
the sum of its leases. Whoever grants, charges or takes away holds that row, and rows of leases are
touched after it, both in the order of their keys.
"""

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

import msgspec
from sqlalchemy import (
    ARRAY,
    BigInteger,
    ColumnElement,
    DateTime,
    Select,
    TableValuedAlias,
    Uuid,
    and_,
    bindparam,
    cast,
    column,
    delete,
    func,
    literal,
    select,
    true,
    tuple_,
    update,
)
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncConnection

from gateway.domain.budgets import THRESHOLDS, percent_reached
from gateway.storage.budget_tables import budget, budget_lease, budget_period
from gateway.storage.notices import add_notice
from pricing.cost import from_nano_usd

Key = tuple[UUID, datetime]
"""A budget and where its window begins."""

BUDGET_THRESHOLD = "budget_threshold"
"""The kind of notice that tells of spending."""

NOTHING = 0


class Holding(msgspec.Struct, frozen=True, kw_only=True):
    """A window as Postgres knows it, and what this worker holds of it."""

    budget: UUID
    since: datetime
    limit_nusd: int
    spent_nusd: int
    leased_nusd: int = 0
    """By all workers, this one's included."""
    expired_nusd: int = 0
    """The part of it whose workers have not been heard of for too long."""
    granted_nusd: int = 0
    """To this worker, all in all."""
    lease_at: datetime | None = None
    """Since when it has its lease: another instant is another lease. None without one."""
    others: int = 0
    """How many other workers hold some of it and are alive."""
    is_wanted: bool = False
    """Another worker asked in vain a moment ago."""

    @property
    def available_nusd(self) -> int:
        """What nobody has spent or leased; below zero after a limit was lowered."""
        return self.limit_nusd - self.spent_nusd - self.leased_nusd


async def give_back(
    connection: AsyncConnection, worker: str, returned: Mapping[Key, int]
) -> list[Holding]:
    """Take back what a worker holds and does not need; never more than it holds."""
    keys = sorted(returned)
    await _hold(connection, keys)
    await connection.execute(
        update(budget_lease)
        .where(
            budget_lease.c.budget_id == bindparam("of_budget"),
            budget_lease.c.since == bindparam("of_since"),
            budget_lease.c.worker == worker,
        )
        .values(granted_nusd=budget_lease.c.granted_nusd - bindparam("nusd")),
        [{"of_budget": key[0], "of_since": key[1], "nusd": returned[key]} for key in keys],
    )
    await _sum_up(connection, keys)
    return list((await look(connection, worker, keys))[1].values())


async def renew(
    connection: AsyncConnection, worker: str, keys: Iterable[Key], *, ttl_s: float
) -> tuple[datetime, list[Holding]]:
    """Say that a worker is alive, and look at windows; returns the server's time too.

    Leases that hold nothing and are not among the windows are deleted.
    """
    wanted = sorted(keys)
    mine = budget_lease.c.worker == worker
    held = await connection.execute(
        select(budget_lease.c.budget_id, budget_lease.c.since)
        .where(mine)
        .order_by(budget_lease.c.budget_id, budget_lease.c.since)
        .with_for_update(key_share=True)
    )
    if held.first() is not None:
        await connection.execute(
            update(budget_lease)
            .where(mine)
            .values(expires_at=func.now() + timedelta(seconds=ttl_s))
        )
        is_idle = and_(mine, budget_lease.c.granted_nusd == budget_lease.c.shipped_nusd)
        if wanted:
            is_idle = and_(is_idle, ~_of(wanted, budget_lease.c.budget_id, budget_lease.c.since))
        await connection.execute(delete(budget_lease).where(is_idle))
    now, found = await look(connection, worker, wanted)
    return now, list(found.values())


async def look(
    connection: AsyncConnection, worker: str | None, keys: Sequence[Key]
) -> tuple[datetime, dict[Key, Holding]]:
    """The server's time, and windows as they stand; those of deleted budgets are missing."""
    asked = rows_of(
        "asked",
        budget_id=(Uuid(), [key[0] for key in keys]),
        since=(DateTime(timezone=True), [key[1] for key in keys]),
    )
    period, lease = budget_period.c, budget_lease.c
    leases = (
        select(
            func.sum(OUTSTANDING).filter(lease.expires_at < func.now()).label("expired"),
            func.sum(lease.granted_nusd).filter(lease.worker == worker).label("granted"),
            func.min(lease.granted_at).filter(lease.worker == worker).label("lease_at"),
            func.count()
            .filter(lease.worker.is_distinct_from(worker), lease.expires_at > func.now())
            .label("others"),
        )
        .where(lease.budget_id == asked.c.budget_id, lease.since == asked.c.since)
        .lateral("leases")
    )
    now = select(func.now().label("now")).subquery("now")
    rows = await connection.execute(
        select(
            now.c.now,
            asked.c.budget_id,
            asked.c.since,
            budget.c.limit_nusd,
            period.spent_nusd,
            period.leased_nusd,
            (period.wanted_at > func.now() - _WANTED_FOR).label("is_wanted"),
            leases.c.expired,
            leases.c.granted,
            leases.c.lease_at,
            leases.c.others,
        )
        # One row at least: it tells the time.
        .join_from(now, asked, true(), isouter=True)
        .join(
            budget,
            and_(budget.c.id == asked.c.budget_id, budget.c.deleted_at.is_(None)),
            isouter=True,
        )
        .join(
            budget_period,
            and_(period.budget_id == asked.c.budget_id, period.since == asked.c.since),
            isouter=True,
        )
        .join(leases, true(), isouter=True)
    )
    found: dict[Key, Holding] = {}
    at: datetime | None = None
    for row in rows:
        at = row.now
        if row.limit_nusd is not None:
            found[row.budget_id, row.since] = Holding(
                budget=row.budget_id,
                since=row.since,
                limit_nusd=row.limit_nusd,
                spent_nusd=row.spent_nusd or 0,
                leased_nusd=row.leased_nusd or 0,
                is_wanted=bool(row.is_wanted),
                expired_nusd=int(row.expired or 0),
                granted_nusd=int(row.granted or 0),
                lease_at=row.lease_at,
                others=row.others or 0,
            )
    if at is None:
        raise RuntimeError("the server tells the time whatever it is asked")
    return at, found


async def charge(connection: AsyncConnection, worker: str, charges: Mapping[Key, int]) -> None:
    """Turn what a worker's records cost into spending, and tell which thresholds that crosses.

    In the transaction that inserts the records, after them.
    """
    keys = sorted(charges)
    before = await _hold(connection, keys)
    told_of: dict[Key, int] = {}
    limits = await connection.execute(
        select(budget.c.id, budget.c.name, budget.c.limit_nusd, budget.c.mode).where(
            budget.c.id.in_({key[0] for key in keys}), budget.c.deleted_at.is_(None)
        )
    )
    limit_of = {row.id: row for row in limits}
    for key in keys:
        spent_nusd, told = before[key]
        told_of[key] = told
        row = limit_of.get(key[0])
        if row is None or charges[key] == 0:
            continue
        spent_nusd += charges[key]
        reached = percent_reached(spent_nusd, row.limit_nusd)
        told_of[key] = max(told, reached)
        for percent in THRESHOLDS:
            if told < percent <= reached:
                await add_notice(
                    connection,
                    kind=BUDGET_THRESHOLD,
                    subject=row.name,
                    details={
                        "budget": str(key[0]),
                        "mode": row.mode,
                        "percent": percent,
                        "since": key[1].isoformat(),
                        "spent_usd": f"{from_nano_usd(spent_nusd).normalize():f}",
                        "limit_usd": f"{from_nano_usd(row.limit_nusd).normalize():f}",
                    },
                )
    amounts = [
        {"of_budget": key[0], "of_since": key[1], "nusd": charges[key], "told": told_of[key]}
        for key in keys
    ]
    await connection.execute(
        _SHIP,
        [
            {"of_budget": key[0], "of_since": key[1], "of_worker": worker, "nusd": charges[key]}
            for key in keys
        ],
    )
    await connection.execute(_SPEND, amounts)


async def release_worker(connection: AsyncConnection, worker: str) -> None:
    """An ended worker whose records are all stored holds nothing any more."""
    await _take_away(connection, budget_lease.c.worker == worker)


async def free_expired(connection: AsyncConnection, budgets: Iterable[UUID]) -> int:
    """Take away what workers hold that were not heard of for too long; returns how much it was.

    Whatever they spent of it and did not ship is then beyond the limit.
    """
    return await _take_away(
        connection,
        and_(budget_lease.c.budget_id.in_(set(budgets)), budget_lease.c.expires_at < func.now()),
    )


async def free_all(connection: AsyncConnection, budget_id: UUID) -> int:
    """Take away what every worker holds of a budget; returns how much it was.

    For one that is enforced no more: what is spent from then on is of no lease, and would count as
    shipped of one.
    """
    return await _take_away(connection, budget_lease.c.budget_id == budget_id)


async def _take_away(connection: AsyncConnection, which: ColumnElement[bool]) -> int:
    """Delete leases, under the rows of their windows; returns what they held."""
    lease = budget_lease.c
    rows = await connection.execute(select(lease.budget_id, lease.since).where(which).distinct())
    keys = sorted((row.budget_id, row.since) for row in rows)
    if not keys:
        return 0
    await _hold(connection, keys)
    gone = await connection.scalars(
        delete(budget_lease)
        .where(which, _of(keys, lease.budget_id, lease.since))
        .returning(OUTSTANDING)
    )
    held_nusd = sum(gone)
    await _sum_up(connection, keys)
    return held_nusd


async def _sum_up(connection: AsyncConnection, keys: Sequence[Key]) -> None:
    """Note in windows, whose rows are held, what their leases add up to."""
    await connection.execute(
        update(budget_period)
        .where(_of(keys, budget_period.c.budget_id, budget_period.c.since))
        .values(leased_nusd=_LEASED)
    )


async def _hold(connection: AsyncConnection, keys: Sequence[Key]) -> dict[Key, tuple[int, int]]:
    """Make the rows of windows and hold them; what is spent, and what was told."""
    columns = budget_period.c
    held = await connection.execute(_held(keys))
    rows = {(row.budget_id, row.since): (row.spent_nusd, row.told_percent) for row in held}
    missing = [key for key in keys if key not in rows]
    if missing:
        await connection.execute(
            insert(budget_period)
            .values(
                [{columns.budget_id.name: key[0], columns.since.name: key[1]} for key in missing]
            )
            .on_conflict_do_nothing()
        )
        # All of them again: a row that somebody else made meanwhile stands in its place.
        held = await connection.execute(_held(keys))
        rows = {(row.budget_id, row.since): (row.spent_nusd, row.told_percent) for row in held}
    return rows


def _held(keys: Sequence[Key]) -> Select[UUID, datetime, int, int]:
    columns = budget_period.c
    return (
        select(columns.budget_id, columns.since, columns.spent_nusd, columns.told_percent)
        .where(_of(keys, columns.budget_id, columns.since))
        .order_by(columns.budget_id, columns.since)
        .with_for_update(key_share=True)
    )


def _of(
    keys: Iterable[Key], budget_id: ColumnElement[UUID], since: ColumnElement[datetime]
) -> ColumnElement[bool]:
    return tuple_(budget_id, since).in_(list(keys))


def rows_of(name: str, **columns: tuple[Any, Sequence[object]]) -> TableValuedAlias:
    """A table of parameters, by column its type and its values: one statement for any number."""
    arrays = [literal(list(values), ARRAY(kind)) for kind, values in columns.values()]
    return (
        func.unnest(*arrays)
        .table_valued(*(column(of, kind) for of, (kind, _) in columns.items()), name=name)
        .render_derived()
    )


OUTSTANDING = func.greatest(
    budget_lease.c.granted_nusd - budget_lease.c.shipped_nusd, NOTHING, type_=BigInteger
)
"""What a lease still holds of its window."""
_LEASED = (
    select(cast(func.coalesce(func.sum(OUTSTANDING), NOTHING), BigInteger))
    .where(
        budget_lease.c.budget_id == budget_period.c.budget_id,
        budget_lease.c.since == budget_period.c.since,
    )
    .scalar_subquery()
)
_WANTED_FOR = timedelta(seconds=5)
_SPEND = (
    update(budget_period)
    .where(
        budget_period.c.budget_id == bindparam("of_budget"),
        budget_period.c.since == bindparam("of_since"),
    )
    .values(
        spent_nusd=budget_period.c.spent_nusd + bindparam("nusd"),
        told_percent=bindparam("told"),
        leased_nusd=_LEASED,
    )
)
_SHIP = (
    update(budget_lease)
    .where(
        budget_lease.c.budget_id == bindparam("of_budget"),
        budget_lease.c.since == bindparam("of_since"),
        budget_lease.c.worker == bindparam("of_worker"),
    )
    .values(shipped_nusd=budget_lease.c.shipped_nusd + bindparam("nusd"))
)
