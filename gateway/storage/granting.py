"""Grants leases of budgets: one statement for any number of windows and of requests that wait.

The row of a window has the sum of its leases, so that what is left of it is told by it alone.
"""

from collections.abc import Sequence
from datetime import datetime, timedelta
from uuid import UUID

import msgspec
from sqlalchemy import (
    BigInteger,
    DateTime,
    Integer,
    Update,
    Uuid,
    and_,
    case,
    cast,
    func,
    select,
    true,
    update,
)
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncConnection

from gateway.storage.budget_tables import budget, budget_lease, budget_period
from gateway.storage.leases import NOTHING, OUTSTANDING, Holding, Key, rows_of


class Ask(msgspec.Struct, frozen=True, kw_only=True):
    """What a worker would like to hold of a window beside what it holds."""

    budget: UUID
    since: datetime
    needs: tuple[int, ...] = ()
    """Requests that wait: granted whole, in this order, up to the first that does not fit."""
    ahead: int = 0
    """For those to come; granted within what a fair share leaves."""
    unit: int = 1
    """What is granted ahead is a multiple of it, so that no useless remainder is held."""


async def acquire(
    connection: AsyncConnection, worker: str, asks: Sequence[Ask], *, ttl_s: float
) -> list[Holding]:
    """Grant what there is; deleted budgets have none and are left out of the answer.

    One statement, once the rows are there: requests wait for it.

    Args:
        connection: may be one that commits by itself; else in a transaction, which the caller
            commits.
        worker: who asks.
        asks: at most one per window.
        ttl_s: when the leases expire unless they are renewed.
    """
    found = await _grant(connection, worker, asks, ttl_s)
    missing = [ask for ask in asks if (ask.budget, ask.since) not in found]
    if missing:
        await _make_rows(connection, worker, missing, ttl_s)
        found |= await _grant(connection, worker, missing, ttl_s)
    return list(found.values())


async def _make_rows(
    connection: AsyncConnection, worker: str, asks: Sequence[Ask], ttl_s: float
) -> None:
    """Rows of windows, and leases of nothing, where there are none.

    A grant only ever adds to a lease that is there: one that the server finishes for a worker that
    was killed meanwhile, and whose leases were released, adds to nothing.
    """
    live = await connection.scalars(
        select(budget.c.id).where(
            budget.c.id.in_({ask.budget for ask in asks}), budget.c.deleted_at.is_(None)
        )
    )
    alive = set(live)
    keys = sorted((ask.budget, ask.since) for ask in asks if ask.budget in alive)
    if not keys:
        return
    rows = [{"budget_id": key[0], "since": key[1]} for key in keys]
    await connection.execute(insert(budget_period).values(rows).on_conflict_do_nothing())
    lease = {
        "worker": worker,
        "granted_nusd": NOTHING,
        "granted_at": func.now(),
        "expires_at": func.now() + timedelta(seconds=ttl_s),
    }
    await connection.execute(
        insert(budget_lease).values([row | lease for row in rows]).on_conflict_do_nothing()
    )


async def _grant(
    connection: AsyncConnection, worker: str, asks: Sequence[Ask], ttl_s: float
) -> dict[Key, Holding]:
    """What there is to be had now; windows without a row, or a lease, are left out."""
    rows = await connection.execute(granting(worker, asks, ttl_s))
    return {
        (row.budget_id, row.since): Holding(
            budget=row.budget_id,
            since=row.since,
            limit_nusd=row.limit_nusd,
            spent_nusd=row.spent_nusd,
            leased_nusd=row.leased_nusd,
            expired_nusd=int(row.expired or 0),
            granted_nusd=row.granted_nusd,
            lease_at=row.granted_at,
            others=row.others,
        )
        for row in rows
    }


def granting(worker: str, asks: Sequence[Ask], ttl_s: float) -> Update:
    """The one statement of a grant, for windows and leases whose rows are there.

    It holds the rows of the windows first: what is read of them afterwards is what holds now, also
    where another grant was waited for. Leases are looked at only for fairness.
    """
    ordered = sorted(asks, key=_key_of_ask)
    asked = rows_of(
        "asked",
        budget_id=(Uuid(), [ask.budget for ask in ordered]),
        since=(DateTime(timezone=True), [ask.since for ask in ordered]),
        ahead=(BigInteger(), [ask.ahead for ask in ordered]),
        unit=(BigInteger(), [ask.unit for ask in ordered]),
        number=(Integer(), list(range(len(ordered)))),
    )
    needs = [(number, need) for number, ask in enumerate(ordered) for need in ask.needs]
    needed = rows_of(
        "needed",
        number=(Integer(), [number for number, _ in needs]),
        nusd=(BigInteger(), [nusd for _, nusd in needs]),
        place=(Integer(), list(range(len(needs)))),
    )
    so_far = select(
        needed.c.number,
        func.sum(needed.c.nusd)
        .over(partition_by=needed.c.number, order_by=needed.c.place)
        .label("nusd"),
    ).cte("so_far")
    period, lease = budget_period.c, budget_lease.c
    held = (
        select(
            asked.c.number,
            asked.c.ahead,
            asked.c.unit,
            period.budget_id,
            period.since,
            period.leased_nusd,
            budget.c.limit_nusd,
            (budget.c.limit_nusd - period.spent_nusd - period.leased_nusd).label("left"),
        )
        .join_from(
            asked,
            budget_period,
            and_(period.budget_id == asked.c.budget_id, period.since == asked.c.since),
        )
        .join(budget, and_(budget.c.id == period.budget_id, budget.c.deleted_at.is_(None)))
        .order_by(period.budget_id, period.since)
        .with_for_update(key_share=True, of=budget_period)
        .cte("held")
    )
    others = (
        select(
            func.count()
            .filter(lease.worker != worker, lease.expires_at > func.now())
            .label("others"),
            func.sum(OUTSTANDING).filter(lease.expires_at < func.now()).label("expired"),
        )
        .where(lease.budget_id == held.c.budget_id, lease.since == held.c.since)
        .lateral("others")
    )
    wished = func.max(so_far.c.nusd)
    fits = wished.filter(so_far.c.nusd <= held.c.left)
    waiting = (
        select(
            cast(func.coalesce(wished, NOTHING), BigInteger).label("wished"),
            cast(func.coalesce(fits, NOTHING), BigInteger).label("fits"),
        )
        .where(so_far.c.number == held.c.number)
        .lateral("waiting")
    )
    share = (held.c.left - waiting.c.fits) // (2 * (1 + others.c.others))
    ahead = func.least(held.c.ahead, share, type_=BigInteger) // held.c.unit * held.c.unit
    grants = (
        select(
            held.c.budget_id,
            held.c.since,
            held.c.limit_nusd,
            others.c.others,
            others.c.expired,
            (waiting.c.fits + func.greatest(ahead, NOTHING)).label("nusd"),
            and_(waiting.c.fits < waiting.c.wished, held.c.leased_nusd > NOTHING).label("starved"),
        )
        .join_from(held, others, true())
        .join(waiting, true())
        .cte("grants")
    )
    before = func.greatest(lease.granted_nusd - grants.c.nusd - lease.shipped_nusd, NOTHING)
    taken = (
        update(budget_lease)
        .where(
            lease.budget_id == grants.c.budget_id,
            lease.since == grants.c.since,
            lease.worker == worker,
        )
        .values(
            granted_nusd=lease.granted_nusd + grants.c.nusd,
            expires_at=func.now() + timedelta(seconds=ttl_s),
        )
        .returning(
            lease.budget_id,
            lease.since,
            lease.granted_nusd,
            lease.granted_at,
            # What is granted works off a debt first.
            (OUTSTANDING - before).label("more"),
        )
        .cte("taken")
    )
    return (
        update(budget_period)
        .where(
            period.budget_id == grants.c.budget_id,
            period.since == grants.c.since,
            taken.c.budget_id == grants.c.budget_id,
            taken.c.since == grants.c.since,
        )
        .values(
            leased_nusd=period.leased_nusd + taken.c.more,
            wanted_at=case((grants.c.starved, func.now()), else_=period.wanted_at),
        )
        .returning(
            period.budget_id,
            period.since,
            period.spent_nusd,
            period.leased_nusd,
            grants.c.limit_nusd,
            grants.c.others,
            grants.c.expired,
            taken.c.granted_nusd,
            taken.c.granted_at,
        )
    )


def _key_of_ask(ask: Ask) -> Key:
    return ask.budget, ask.since
