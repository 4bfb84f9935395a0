"""Budgets in Postgres: made, changed, deleted, and loaded for the snapshot."""

from contextlib import suppress
from datetime import datetime
from decimal import Decimal
from typing import Any
from uuid import UUID

import msgspec
from sqlalchemy import ColumnElement, RowMapping, insert, or_, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from gateway.domain.budgets import Budget, percent_reached, window_of
from gateway.storage.budget_tables import budget, budget_period
from gateway.storage.changes import BUDGETS, record_change
from gateway.storage.leases import Holding, free_all, free_expired, look
from pricing.cost import from_nano_usd


class StoredBudget(Budget, frozen=True, kw_only=True):
    """A budget with who made it."""

    created_by: str

    @property
    def limit_usd(self) -> Decimal:
        """The limit in USD, exactly."""
        return from_nano_usd(self.limit_nusd)


class BudgetState(msgspec.Struct, frozen=True, kw_only=True):
    """A budget in the window of a moment."""

    budget: StoredBudget
    since: datetime
    until: datetime | None
    """When it begins anew; None is never."""
    holding: Holding


_COLUMNS = tuple(budget.c[field] for field in StoredBudget.__struct_fields__)
_IS_LIVE: ColumnElement[bool] = budget.c.deleted_at.is_(None)


async def insert_budget(connection: AsyncConnection, new: StoredBudget) -> int:
    """Store a new budget, with its change counted and audited; returns the new epoch of budgets.

    Raises:
        IntegrityError: a budget of that name exists.
    """
    values = {field: getattr(new, field) for field in StoredBudget.__struct_fields__}
    await connection.execute(insert(budget).values(**values))
    return await record_change(
        connection,
        BUDGETS,
        at=new.created_at,
        actor=new.created_by,
        action="budget.create",
        subject=new.name,
        after=_audited(new),
    )


async def find_budget(connection: AsyncConnection, name: str) -> StoredBudget | None:
    """The budget of a name, or else of an id; None when there is none."""
    which = budget.c.name == name
    with suppress(ValueError):
        which = or_(which, budget.c.id == UUID(name))
    rows = await connection.execute(
        select(*_COLUMNS).where(which, _IS_LIVE).order_by((budget.c.name == name).desc())
    )
    row = rows.mappings().first()
    return None if row is None else _stored(row)


async def list_budgets(connection: AsyncConnection) -> list[StoredBudget]:
    """Every budget that is not deleted, by name."""
    rows = await connection.execute(select(*_COLUMNS).where(_IS_LIVE).order_by(budget.c.name))
    return [_stored(row) for row in rows.mappings()]


async def load_budgets(connection: AsyncConnection) -> list[Budget]:
    """Every budget that is not deleted, in the order of their ids: workers reserve in it."""
    fields = Budget.__struct_fields__
    columns = (budget.c[field] for field in fields)
    rows = await connection.execute(select(*columns).where(_IS_LIVE).order_by(budget.c.id))
    return [
        msgspec.convert({field: row[field] for field in fields}, Budget) for row in rows.mappings()
    ]


async def delete_budget(
    connection: AsyncConnection, name: str, *, at: datetime, actor: str
) -> StoredBudget | None:
    """Delete a budget; None when there is none of that name. What it counted stays on record."""
    found = await find_budget(connection, name)
    if found is None:
        return None
    await connection.execute(update(budget).where(budget.c.id == found.id).values(deleted_at=at))
    await record_change(
        connection,
        BUDGETS,
        at=at,
        actor=actor,
        action="budget.delete",
        subject=found.name,
        before=_audited(found),
    )
    return found


async def put_changed(
    connection: AsyncConnection,
    before: StoredBudget,
    after: StoredBudget,
    *,
    at: datetime,
    actor: str,
) -> None:
    """Store another limit, mode or strictness of a budget, counted and audited."""
    changed = {
        field: getattr(after, field)
        for field in ("limit_nusd", "mode", "is_strict")
        if getattr(after, field) != getattr(before, field)
    }
    if changed:
        await connection.execute(update(budget).where(budget.c.id == before.id).values(**changed))
    if after.limit_nusd != before.limit_nusd:
        await _tell_anew(connection, after, at)
    if after.mode != before.mode:
        await free_all(connection, before.id)
    await record_change(
        connection,
        BUDGETS,
        at=at,
        actor=actor,
        action="budget.change",
        subject=before.name,
        before=_audited(before),
        after=_audited(after),
    )


async def release_expired(
    connection: AsyncConnection, name: str, *, at: datetime, actor: str
) -> int | None:
    """Give back what workers hold that were not heard of for too long; None without such a budget.

    Whatever they spent of it and did not ship is then beyond the limit: for nodes that are known to
    be gone for good.
    """
    found = await find_budget(connection, name)
    if found is None:
        return None
    released_nusd = await free_expired(connection, [found.id])
    await record_change(
        connection,
        BUDGETS,
        at=at,
        actor=actor,
        action="budget.release",
        subject=found.name,
        after={"released_usd": f"{from_nano_usd(released_nusd).normalize():f}"},
    )
    return released_nusd


async def read_states(
    connection: AsyncConnection, budgets: list[StoredBudget], at: datetime
) -> list[BudgetState]:
    """Budgets in their windows of the aware instant ``at``."""
    windows = {one.id: window_of(one.period, at) for one in budgets}
    _, found = await look(connection, None, [(one.id, windows[one.id].since) for one in budgets])
    return [
        BudgetState(
            budget=one,
            since=windows[one.id].since,
            until=windows[one.id].until,
            holding=found.get(
                (one.id, windows[one.id].since),
                Holding(
                    budget=one.id,
                    since=windows[one.id].since,
                    limit_nusd=one.limit_nusd,
                    spent_nusd=0,
                ),
            ),
        )
        for one in budgets
    ]


async def _tell_anew(connection: AsyncConnection, changed: StoredBudget, at: datetime) -> None:
    """Thresholds of the new limit that are not reached yet are told when they are."""
    key: tuple[UUID, datetime] = (changed.id, window_of(changed.period, at).since)
    period = budget_period.c
    is_now = (period.budget_id == key[0], period.since == key[1])
    spent_nusd = await connection.scalar(
        select(period.spent_nusd).where(*is_now).with_for_update(key_share=True)
    )
    if spent_nusd is not None:
        reached = percent_reached(spent_nusd, changed.limit_nusd)
        await connection.execute(update(budget_period).where(*is_now).values(told_percent=reached))


def _stored(row: RowMapping) -> StoredBudget:
    fields = StoredBudget.__struct_fields__
    return msgspec.convert({field: row[field] for field in fields}, StoredBudget)


def _audited(one: StoredBudget) -> dict[str, Any]:
    return msgspec.to_builtins(one)
