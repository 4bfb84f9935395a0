"""Reads of what one key was used for: sums of money, and days by model and provider.

Costs have their later corrections in them.
"""

from datetime import date, timedelta
from decimal import Decimal
from typing import Any
from uuid import UUID

import msgspec
from sqlalchemy import ColumnElement, and_, func, select
from sqlalchemy.ext.asyncio import AsyncConnection

from gateway.storage.adjustments import (
    attempt_adjustments,
    effective_usd,
    of_attempt,
    of_request,
    request_adjustments,
)
from gateway.storage.tables import attempt_record, cost_adjustment, request_record
from pricing.usage import METERS

_PROMPT_METERS = (
    "input_tokens",
    "cache_read_tokens",
    "cache_write_tokens",
    "cache_write_1h_tokens",
    "audio_input_tokens",
    "audio_cache_read_tokens",
    "image_input_tokens",
    "video_input_tokens",
)
_COMPLETION_METERS = (
    "output_tokens",
    "reasoning_tokens",
    "audio_output_tokens",
    "image_output_tokens",
)


class Spent(msgspec.Struct, frozen=True, kw_only=True):
    """Money of a period."""

    usd: Decimal | None
    """Of the requests whose cost is known; None when there were requests and none is."""
    unpriced_requests: int
    """Those whose cost is not known and not in the sum."""


class KeyUsage(msgspec.Struct, frozen=True, kw_only=True):
    """What a key spent, as far back as records are kept."""

    total: Spent
    day: Spent
    week: Spent
    """Since Monday."""
    month: Spent


class DayOfUse(msgspec.Struct, frozen=True, kw_only=True):
    """What one endpoint did for a key on one UTC day."""

    day: date
    model: str
    provider: str
    endpoint: str
    requests: int
    cost_usd: Decimal | None
    """Of the attempts whose cost is known; None when there were attempts and none is."""
    unpriced_attempts: int
    prompt_tokens: int
    completion_tokens: int
    reasoning_tokens: int


async def read_key_usage(connection: AsyncConnection, key_id: UUID, today: date) -> KeyUsage:
    """What a key spent in all, and in the UTC day, week and month of ``today``.

    Costs a look at every record of the key that is kept.
    """
    columns = request_record.c
    adjustments = request_adjustments(cost_adjustment.c.key_id == key_id)
    usd = effective_usd(columns.cost_usd, adjustments)
    periods = {
        "total": None,
        "day": today,
        "week": today - timedelta(days=today.weekday()),
        "month": today.replace(day=1),
    }
    wanted: list[ColumnElement[Any]] = []
    for name, since in periods.items():
        sums = (
            func.sum(usd),
            func.count(),
            func.count().filter(usd.is_(None)),
        )
        if since is not None:
            sums = (
                func.sum(usd).filter(columns.day >= since),
                func.count().filter(columns.day >= since),
                func.count().filter(and_(columns.day >= since, usd.is_(None))),
            )
        wanted += [
            column.label(f"{name}_{what}")
            for column, what in zip(sums, ("usd", "count", "unpriced"), strict=True)
        ]
    rows = await connection.execute(
        select(*wanted)
        .select_from(request_record)
        .outerjoin(adjustments, of_request(request_record, adjustments))
        .where(columns.key_id == key_id)
    )
    row = rows.mappings().one()

    def spent(period: str) -> Spent:
        usd, requests = row[f"{period}_usd"], row[f"{period}_count"]
        return Spent(
            # A sum over nothing is NULL too, and then it is known.
            usd=Decimal(0) if usd is None and not requests else usd,
            unpriced_requests=row[f"{period}_unpriced"],
        )

    return KeyUsage(**{period: spent(period) for period in periods})


async def read_activity(
    connection: AsyncConnection, key_id: UUID, *, first: date, last: date
) -> list[DayOfUse]:
    """A key's days of use, both ends included, newest first, then by model and provider.

    Money and tokens stand with the endpoint that had them, failed attempts included, so that they
    add up to what the key spent. What its requests were mirrored to is the operator's spending.
    """
    requests, attempts = request_record.c, attempt_record.c
    adjustments = attempt_adjustments(
        cost_adjustment.c.key_id == key_id, cost_adjustment.c.day.between(first, last)
    )
    usd = effective_usd(attempts.cost_usd, adjustments)
    statement = (
        select(
            attempts.day,
            attempts.model,
            attempts.provider,
            attempts.endpoint,
            func.count(attempts.request_id.distinct()).label("requests"),
            func.sum(usd).label("cost_usd"),
            func.count().filter(usd.is_(None)).label("unpriced_attempts"),
            _tokens(_PROMPT_METERS).label("prompt_tokens"),
            _tokens(_COMPLETION_METERS).label("completion_tokens"),
            _tokens(("reasoning_tokens",)).label("reasoning_tokens"),
        )
        .join_from(
            request_record,
            attempt_record,
            and_(attempts.request_id == requests.id, attempts.day == requests.day),
        )
        .outerjoin(adjustments, of_attempt(attempt_record, adjustments))
        .where(
            requests.key_id == key_id,
            # Both sides, since the planner leaves out partitions by their own column alone.
            requests.day.between(first, last),
            attempts.day.between(first, last),
            attempts.kind != "shadow",
        )
        .group_by(attempts.day, attempts.model, attempts.provider, attempts.endpoint)
        .order_by(attempts.day.desc(), attempts.model, attempts.provider, attempts.endpoint)
    )
    rows = await connection.execute(statement)
    fields = DayOfUse.__struct_fields__
    return [
        msgspec.convert({field: row[field] for field in fields}, DayOfUse)
        for row in rows.mappings()
    ]


def _tokens(meters: tuple[str, ...]) -> ColumnElement[Any]:
    columns = attempt_record.c
    total: ColumnElement[Any] = columns[meters[0]]
    for meter in meters[1:]:
        total = total + columns[meter]
    # NUMERIC, as sums of BIGINT are, would come back as a Decimal.
    return func.coalesce(func.sum(total), 0).cast(attempt_record.c[METERS[0]].type)
