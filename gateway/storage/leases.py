"""What workers hold of budgets: granted, renewed, given back, and turned into spending as it ships.

What may still be spent of a window is its limit, less what is spent, less what is leased; a lease
counts for as much of it as was granted and is not shipped. Whoever grants or charges holds the
window's row, and rows of leases are touched after it, both in the order of their keys.
"""

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime, timedelta
from uuid import UUID

import msgspec
from sqlalchemy import ColumnElement, Select, and_, bindparam, delete, func, select, tuple_, update
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncConnection

from gateway.domain.budgets import THRESHOLDS, percent_reached
from gateway.storage.notices import add_notice
from gateway.storage.tables import budget, budget_lease, budget_period
from pricing.cost import from_nano_usd

Key = tuple[UUID, datetime]
"""A budget and where its window begins."""

BUDGET_THRESHOLD = "budget_threshold"
"""The kind of notice that tells of spending."""

_NOTHING = 0


class Ask(msgspec.Struct, frozen=True, kw_only=True):
    """What a worker would like to hold of a window beside what it holds."""

    budget: UUID
    since: datetime
    needs: tuple[int, ...] = ()
    """Requests that wait: each is granted whole or not at all, in this order."""
    ahead: int = 0
    """For those to come; granted within what a fair share leaves."""
    unit: int = 1
    """What is granted ahead is a multiple of it, so that no useless remainder is held."""


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
    others: int = 0
    """How many other workers hold some of it and are alive."""
    is_wanted: bool = False
    """Another worker asked in vain a moment ago."""

    @property
    def available_nusd(self) -> int:
        """What nobody has spent or leased; below zero after a limit was lowered."""
        return self.limit_nusd - self.spent_nusd - self.leased_nusd


async def acquire(
    connection: AsyncConnection,
    worker: str,
    asks: Sequence[Ask],
    *,
    ttl_s: float,
    releases_expired: bool = False,
) -> list[Holding]:
    """Grant what there is; deleted budgets have none and are left out of the answer.

    Args:
        connection: in a transaction, which the caller commits.
        worker: who asks.
        asks: at most one per window.
        ttl_s: when the leases expire unless they are renewed.
        releases_expired: give back what expired leases held, although what their workers spent of
            it may still be on its way.
    """
    by_key = {(ask.budget, ask.since): ask for ask in asks}
    keys = sorted(by_key)
    await _hold(connection, keys)
    if releases_expired:
        expired = _of(keys, budget_lease.c.budget_id, budget_lease.c.since)
        await connection.execute(
            delete(budget_lease).where(expired, budget_lease.c.expires_at < func.now())
        )
    found = await look(connection, worker, keys)
    grants: dict[Key, int] = {}
    for key, holding in found.items():
        ask = by_key[key]
        left, granted = holding.available_nusd, 0
        for need in ask.needs:
            if need <= left:
                left, granted = left - need, granted + need
        ahead = min(ask.ahead, left // (2 * (1 + holding.others))) // ask.unit * ask.unit
        grants[key] = granted + max(_NOTHING, ahead)
    await _grant(connection, worker, grants, ttl_s)
    starved = [
        key
        for key, holding in found.items()
        if by_key[key].needs and grants[key] < sum(by_key[key].needs) and holding.leased_nusd
    ]
    if starved:
        await connection.execute(
            update(budget_period)
            .where(_of(starved, budget_period.c.budget_id, budget_period.c.since))
            .values(wanted_at=func.now())
        )
    return [
        msgspec.structs.replace(
            holding,
            granted_nusd=holding.granted_nusd + grants[key],
            leased_nusd=holding.leased_nusd + grants[key],
        )
        for key, holding in found.items()
    ]


async def give_back(
    connection: AsyncConnection, worker: str, returned: Mapping[Key, int]
) -> list[Holding]:
    """Take back what a worker holds and does not need; never more than it holds."""
    keys = sorted(returned)
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
    return list((await look(connection, worker, keys)).values())


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
    now = (await connection.scalars(select(func.now()))).one()
    found = await look(connection, worker, wanted) if wanted else {}
    return now, list(found.values())


async def look(
    connection: AsyncConnection, worker: str | None, keys: Sequence[Key]
) -> dict[Key, Holding]:
    """Windows as they stand; those of deleted budgets are missing."""
    if not keys:
        return {}
    limits = await connection.execute(
        select(budget.c.id, budget.c.limit_nusd).where(
            budget.c.id.in_({key[0] for key in keys}), budget.c.deleted_at.is_(None)
        )
    )
    limit_of: dict[UUID, int] = {row.id: row.limit_nusd for row in limits}
    periods = await connection.execute(
        select(
            budget_period,
            (budget_period.c.wanted_at > func.now() - _WANTED_FOR).label("is_wanted"),
        ).where(_of(keys, budget_period.c.budget_id, budget_period.c.since))
    )
    period_of = {(row.budget_id, row.since): row for row in periods}
    leases = await connection.execute(_leases(keys, worker))
    lease_of = {(row.budget_id, row.since): row for row in leases}
    found: dict[Key, Holding] = {}
    for key in keys:
        limit_nusd = limit_of.get(key[0])
        if limit_nusd is None:
            continue
        period, lease = period_of.get(key), lease_of.get(key)
        found[key] = Holding(
            budget=key[0],
            since=key[1],
            limit_nusd=limit_nusd,
            spent_nusd=period.spent_nusd if period is not None else 0,
            is_wanted=bool(period.is_wanted) if period is not None else False,
            leased_nusd=int(lease.leased) if lease is not None else 0,
            expired_nusd=int(lease.expired or 0) if lease is not None else 0,
            granted_nusd=int(lease.granted or 0) if lease is not None else 0,
            others=int(lease.others) if lease is not None else 0,
        )
    return found


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
                        "spent_usd": f"{from_nano_usd(spent_nusd):f}",
                        "limit_usd": f"{from_nano_usd(row.limit_nusd):f}",
                    },
                )
    amounts = [
        {"of_budget": key[0], "of_since": key[1], "nusd": charges[key], "told": told_of[key]}
        for key in keys
    ]
    await connection.execute(_SPEND, amounts)
    await connection.execute(
        _SHIP,
        [
            {"of_budget": key[0], "of_since": key[1], "of_worker": worker, "nusd": charges[key]}
            for key in keys
        ],
    )


async def release_worker(connection: AsyncConnection, worker: str) -> None:
    """An ended worker whose records are all stored holds nothing any more."""
    await connection.execute(delete(budget_lease).where(budget_lease.c.worker == worker))


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


async def _grant(
    connection: AsyncConnection, worker: str, grants: Mapping[Key, int], ttl_s: float
) -> None:
    if not grants:
        return
    expires_at = func.now() + timedelta(seconds=ttl_s)
    statement = insert(budget_lease).values(
        [
            {
                "budget_id": key[0],
                "since": key[1],
                "worker": worker,
                "granted_nusd": grants[key],
                "granted_at": func.now(),
                "expires_at": expires_at,
            }
            for key in sorted(grants)
        ]
    )
    await connection.execute(
        statement.on_conflict_do_update(
            index_elements=[*budget_lease.primary_key],
            set_={
                "granted_nusd": budget_lease.c.granted_nusd + statement.excluded.granted_nusd,
                "expires_at": statement.excluded.expires_at,
            },
        )
    )


def _of(
    keys: Iterable[Key], budget_id: ColumnElement[UUID], since: ColumnElement[datetime]
) -> ColumnElement[bool]:
    return tuple_(budget_id, since).in_(list(keys))


def _leases(keys: Sequence[Key], worker: str | None) -> Select[UUID, datetime, int, int, int, int]:
    columns = budget_lease.c
    outstanding = func.greatest(columns.granted_nusd - columns.shipped_nusd, 0)
    return (
        select(
            columns.budget_id,
            columns.since,
            func.sum(outstanding).label("leased"),
            func.sum(outstanding).filter(columns.expires_at < func.now()).label("expired"),
            func.sum(columns.granted_nusd).filter(columns.worker == worker).label("granted"),
            func.count()
            .filter(columns.worker != worker, columns.expires_at > func.now())
            .label("others"),
        )
        .where(_of(keys, columns.budget_id, columns.since))
        .group_by(columns.budget_id, columns.since)
    )


_WANTED_FOR = timedelta(seconds=5)
_SPEND = (
    update(budget_period)
    .where(
        budget_period.c.budget_id == bindparam("of_budget"),
        budget_period.c.since == bindparam("of_since"),
    )
    .values(
        spent_nusd=budget_period.c.spent_nusd + bindparam("nusd"), told_percent=bindparam("told")
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
