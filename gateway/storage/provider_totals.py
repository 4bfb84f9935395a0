"""What we recorded of one provider, by UTC day and by its own name of the model."""

from datetime import UTC, date, datetime, time, timedelta
from typing import Any

from sqlalchemy import ColumnElement, Date, cast, func, select
from sqlalchemy.ext.asyncio import AsyncConnection

from gateway.storage.adjustments import attempt_adjustments, effective_usd, of_attempt
from gateway.storage.tables import attempt_record, cost_adjustment
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
        .where(
            columns.provider == provider,
            # An attempt may begin a moment after its request's day ended.
            columns.day.between(first - timedelta(days=1), last),
            columns.started_at >= datetime.combine(first, time(), UTC),
            columns.started_at < datetime.combine(last + timedelta(days=1), time(), UTC),
            columns[METERS[0]].is_not(None),
        )
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


def _tokens(meters: tuple[str, ...]) -> ColumnElement[Any]:
    columns = attempt_record.c
    total: ColumnElement[Any] = columns[meters[0]]
    for meter in meters[1:]:
        total = total + columns[meter]
    return func.coalesce(func.sum(total), 0)
