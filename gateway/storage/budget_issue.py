"""From what an operator wants a budget to be to a budget that holds together."""

from datetime import UTC, datetime
from decimal import Decimal
from typing import Annotated
from uuid import uuid4

import msgspec
from msgspec import Meta
from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncConnection

from gateway.domain.budgets import BudgetMode, BudgetPeriod
from gateway.domain.wishes import WishError, is_one_line
from gateway.storage.access_tables import api_key
from gateway.storage.budgets import StoredBudget, find_budget, insert_budget
from pricing.cost import from_nano_usd, to_nano_usd

MOST_USD = Decimal(1_000_000_000)
_NAME_CHARACTERS = 128
_TEXT_CHARACTERS = 256


class BudgetWish(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What a new budget should be. Exactly one of ``kid``, ``labels`` and ``everyone`` is given."""

    name: str
    limit_usd: Decimal
    period: BudgetPeriod = "month"
    kid: Annotated[str, Meta(description="the public part of one key")] | None = None
    labels: dict[str, str] = {}
    """For every key that has all of these."""
    everyone: bool = False
    mode: BudgetMode = "hard"
    strict: bool = False
    """Reserve the longest answer that is possible, instead of one that 95 % do not exceed."""


async def issue_budget(
    connection: AsyncConnection, wish: BudgetWish, *, actor: str
) -> StoredBudget:
    """Make and store a budget.

    Raises:
        WishError: the wish contradicts itself, names a key that is not there, or a name that is
            taken; the message begins with the field.
    """
    _check(wish)
    key_id = None
    if wish.kid is not None:
        key_id = await connection.scalar(select(api_key.c.id).where(api_key.c.kid == wish.kid))
        if key_id is None:
            raise WishError(f"kid: there is no key {wish.kid!r}; 'tollway keys list' shows them")
    if await find_budget(connection, wish.name) is not None:
        raise WishError(f"name: there is a budget {wish.name!r} already; delete it, or change it")
    made = StoredBudget(
        id=uuid4(),
        name=wish.name,
        key_id=key_id,
        labels=wish.labels,
        period=wish.period,
        limit_nusd=to_nano_usd(wish.limit_usd),
        mode=wish.mode,
        is_strict=wish.strict,
        created_at=datetime.now(UTC),
        created_by=actor,
    )
    await insert_budget(connection, made)
    return made


def check_limit(limit_usd: Decimal) -> int:
    """The limit in nano-dollars.

    Raises:
        WishError: it is no amount that a budget can have.
    """
    if not limit_usd.is_finite() or not 0 <= limit_usd <= MOST_USD:
        raise WishError(f"limit_usd: give an amount in USD from 0 to {MOST_USD:,}")
    limit_nusd = to_nano_usd(limit_usd)
    if from_nano_usd(limit_nusd) != limit_usd:
        raise WishError(f"limit_usd: {limit_usd:f} is too exact; give at most 9 decimals")
    return limit_nusd


def _check(wish: BudgetWish) -> None:
    if not wish.name.strip() or len(wish.name) > _NAME_CHARACTERS or not is_one_line(wish.name):
        # Callers of a soft budget are told it in a header.
        raise WishError(
            f"name: give 1 to {_NAME_CHARACTERS} characters, no line breaks or other controls"
        )
    if "/" in wish.name or wish.name in (".", ".."):
        # /admin/budgets/NAME would be another address, however it is written.
        raise WishError("name: must not hold a slash, nor be '.' or '..'; write '-' instead")
    check_limit(wish.limit_usd)
    if [wish.kid is not None, bool(wish.labels), wish.everyone].count(True) != 1:
        raise WishError(
            "kid: say whose spending it limits by exactly one of `kid`, `labels` and `everyone`"
        )
    for name, value in wish.labels.items():
        if (
            not name
            or max(len(name), len(value)) > _TEXT_CHARACTERS
            or not is_one_line(name + value)
        ):
            raise WishError(
                f"labels: names and values have 1 to {_TEXT_CHARACTERS} characters, no line breaks "
                "or other controls"
            )
