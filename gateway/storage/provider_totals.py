"""What we recorded of one provider, by UTC day and by its own name of the model.

What callers pay themselves is in no account of ours, and left out.
"""

from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from typing import Any

import msgspec
from sqlalchemy import ColumnElement, Date, cast, func, literal, not_, select
from sqlalchemy.ext.asyncio import AsyncConnection

from gateway.storage.adjusted import attempt_adjustments, effective_usd, of_attempt
from gateway.storage.record_tables import attempt_record, cost_adjustment
from gateway.storage.table_kinds import Usd
from pricing.cost import DRIFT_SHARE
from pricing.reconciling import Account
from pricing.usage import METERS, Usage

_PROMPT = tuple(name for name in METERS if Usage(**{name: 1}).prompt_tokens)
_COMPLETION = tuple(name for name in METERS if Usage(**{name: 1}).completion_tokens)


async def read_provider_totals(
    connection: AsyncConnection, provider: str, *, first: date, last: date
) -> list[Account]:
    """Attempts that were metered, copies and failed ones too, by the day on which they began.

    Costs have their corrections in them. An unknown one makes that of its day and model unknown.
    """
    columns = attempt_record.c
    adjustments = attempt_adjustments(
        cost_adjustment.c.provider == provider,
        cost_adjustment.c.day.between(first - timedelta(days=1), last),
    )
    usd = effective_usd(columns.cost_usd, adjustments)
    day = cast(func.timezone("UTC", columns.started_at), Date)
    statement = (
        select(
            day.label("day"),
            columns.provider_model.label("model"),
            func.sum(usd).label("cost_usd"),
            func.count().filter(usd.is_(None)).label("unpriced"),
            _tokens(_PROMPT).label("prompt_tokens"),
            _tokens(_COMPLETION).label("completion_tokens"),
            func.count().label("requests"),
        )
        .select_from(attempt_record)
        .outerjoin(adjustments, of_attempt(attempt_record, adjustments))
        .where(*_within(provider, first, last), columns[METERS[0]].is_not(None))
        .group_by(day, columns.provider_model)
    )
    rows = await connection.execute(statement)
    return [
        Account(
            day=row["day"],
            model=row["model"],
            cost_usd=None if row["unpriced"] else row["cost_usd"],
            prompt_tokens=int(row["prompt_tokens"]),
            completion_tokens=int(row["completion_tokens"]),
            requests=row["requests"],
        )
        for row in rows.mappings()
    ]


class ReportedTotals(msgspec.Struct, frozen=True, kw_only=True):
    """Costs that a provider told with its answers, beside ours for the same attempts."""

    day: date
    model: str
    """The provider's own name of it."""
    attempts: int
    theirs_usd: Decimal
    """What counts as their cost."""
    ours_usd: Decimal
    """Of the attempts that have a price here."""
    difference_usd: Decimal
    """Theirs less ours, of the attempts that have both."""
    adrift: int
    """Attempts whose two costs differ by more than 1 % of ours."""
    unpriced: int
    """Attempts without a price here: nothing to compare with."""


async def read_reported_totals(
    connection: AsyncConnection, provider: str, *, first: date, last: date
) -> list[ReportedTotals]:
    """Attempts whose cost the provider told, by the UTC day on which they began, in order."""
    columns = attempt_record.c
    day = cast(func.timezone("UTC", columns.started_at), Date)
    theirs, ours = columns.cost_usd, columns.computed_cost_usd
    is_known = ours.is_not(None)
    statement = (
        select(
            day.label("day"),
            columns.provider_model.label("model"),
            func.count().label("attempts"),
            func.sum(theirs).label("theirs_usd"),
            func.coalesce(func.sum(ours), literal(0, Usd)).label("ours_usd"),
            func.coalesce(func.sum(theirs - ours), literal(0, Usd)).label("difference_usd"),
            func.count()
            .filter(func.abs(theirs - ours) > ours * literal(DRIFT_SHARE, Usd))
            .label("adrift"),
            func.count().filter(not_(is_known)).label("unpriced"),
        )
        .where(
            *_within(provider, first, last),
            columns.cost_source == "provider_reported",
            theirs.is_not(None),
        )
        .group_by(day, columns.provider_model)
        .order_by(day, columns.provider_model)
    )
    rows = (await connection.execute(statement)).mappings()
    return [ReportedTotals(**row) for row in rows]


def _within(provider: str, first: date, last: date) -> list[ColumnElement[bool]]:
    columns = attempt_record.c
    return [
        columns.provider == provider,
        not_(columns.is_paid_by_caller),
        # An attempt may begin a moment after its request's day ended.
        columns.day.between(first - timedelta(days=1), last),
        columns.started_at >= datetime.combine(first, time(), UTC),
        columns.started_at < datetime.combine(last + timedelta(days=1), time(), UTC),
    ]


def _tokens(meters: tuple[str, ...]) -> ColumnElement[Any]:
    columns = attempt_record.c
    total: ColumnElement[Any] = columns[meters[0]]
    for meter in meters[1:]:
        total = total + columns[meter]
    return func.coalesce(func.sum(total), 0)
