"""Budgets as operators and callers are shown them: in USD, in the window of a moment."""

from datetime import datetime
from decimal import Decimal
from uuid import UUID

import msgspec
from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncConnection

from gateway.domain.budgets import BudgetMode, BudgetPeriod
from gateway.domain.caller import Caller
from gateway.storage.access_tables import api_key
from gateway.storage.budgets import (
    BudgetState,
    StoredBudget,
    find_budget,
    list_budgets,
    read_states,
)
from pricing.cost import from_nano_usd


class BudgetView(msgspec.Struct, frozen=True, kw_only=True):
    """A budget and how it stands."""

    id: UUID
    name: str
    kid: str | None
    """Of the one key that it is for; None goes by the labels."""
    labels: dict[str, str]
    everyone: bool
    period: BudgetPeriod
    mode: BudgetMode
    strict: bool
    limit_usd: Decimal
    spent_usd: Decimal
    """By records that are in the database."""
    leased_usd: Decimal
    """Held by workers: reserved, spent and not yet in the database, or free."""
    expired_usd: Decimal
    """The part of it whose workers were not heard of for too long; an operator may release it."""
    remaining_usd: Decimal
    """The limit less what is spent; never below zero."""
    since: datetime
    resets_at: datetime | None
    """None is never."""
    created_at: datetime
    created_by: str


async def view_budgets(connection: AsyncConnection, at: datetime) -> list[BudgetView]:
    """Every budget in its window of the aware instant ``at``, by name."""
    return await _views(connection, await list_budgets(connection), at)


async def view_budget(connection: AsyncConnection, name: str, at: datetime) -> BudgetView | None:
    """One of them, by its name or else its id; None when there is none."""
    found = await find_budget(connection, name)
    return None if found is None else (await _views(connection, [found], at))[0]


async def view_budgets_of(
    connection: AsyncConnection, caller: Caller, at: datetime
) -> list[BudgetView]:
    """Those that limit a caller or warn it, the one with the least left first."""
    mine = [
        one
        for one in await list_budgets(connection)
        if one.mode != "shadow" and one.applies_to(caller)
    ]
    return sorted(await _views(connection, mine, at), key=_urgency)


async def _views(
    connection: AsyncConnection, budgets: list[StoredBudget], at: datetime
) -> list[BudgetView]:
    ids = {one.key_id for one in budgets if one.key_id is not None}
    kids: dict[UUID, str] = {}
    if ids:
        rows = await connection.execute(
            select(api_key.c.id, api_key.c.kid).where(api_key.c.id.in_(ids))
        )
        kids = {row.id: row.kid for row in rows}
    return [_view(state, kids) for state in await read_states(connection, budgets, at)]


def _view(state: BudgetState, kids: dict[UUID, str]) -> BudgetView:
    one, holding = state.budget, state.holding
    return BudgetView(
        id=one.id,
        name=one.name,
        kid=None if one.key_id is None else kids.get(one.key_id),
        labels=one.labels,
        everyone=one.key_id is None and not one.labels,
        period=one.period,
        mode=one.mode,
        strict=one.is_strict,
        limit_usd=_usd(one.limit_nusd),
        spent_usd=_usd(holding.spent_nusd),
        leased_usd=_usd(holding.leased_nusd),
        expired_usd=_usd(holding.expired_nusd),
        remaining_usd=_usd(max(0, one.limit_nusd - holding.spent_nusd)),
        since=state.since,
        resets_at=state.until,
        created_at=one.created_at,
        created_by=one.created_by,
    )


def _usd(nusd: int) -> Decimal:
    return from_nano_usd(nusd)


def _urgency(view: BudgetView) -> tuple[bool, Decimal]:
    return view.mode != "hard", view.remaining_usd
