"""Changes what a budget limits its callers to: how much, how strictly, and what happens then."""

from datetime import datetime
from decimal import Decimal

import msgspec
from msgspec import UNSET, UnsetType
from sqlalchemy.ext.asyncio import AsyncConnection

from gateway.domain.budgets import BudgetMode
from gateway.storage.budget_issue import check_limit
from gateway.storage.budgets import StoredBudget, find_budget, put_changed


class BudgetChange(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What should be otherwise about a budget; what is left out stays.

    Its window and whose spending it limits stay: what it counted belongs to them.
    """

    limit_usd: Decimal | UnsetType = UNSET
    mode: BudgetMode | UnsetType = UNSET
    strict: bool | UnsetType = UNSET


async def change_budget(
    connection: AsyncConnection, name: str, change: BudgetChange, *, at: datetime, actor: str
) -> StoredBudget | None:
    """Change a budget; None when there is none of that name or id.

    What workers hold of it, and what is under way, may still be spent. Nothing is recorded of no
    change.

    Raises:
        WishError: the limit is none.
    """
    found = await find_budget(connection, name)
    if found is None:
        return None
    limit, mode, strict = change.limit_usd, change.mode, change.strict
    changed = msgspec.structs.replace(
        found,
        limit_nusd=found.limit_nusd if limit is UNSET else check_limit(limit),
        mode=found.mode if mode is UNSET else mode,
        is_strict=found.is_strict if strict is UNSET else strict,
    )
    if changed != found:
        await put_changed(connection, found, changed, at=at, actor=actor)
    return changed
