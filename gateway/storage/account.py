"""Reads of what one key was used for: sums of money, and days by model and provider.

They come from the roll-ups, as far back as these are kept, and have later corrections in them.
"""

from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from typing import Any
from uuid import UUID

import msgspec
from sqlalchemy import BigInteger, ColumnElement, Date, RowMapping, cast, func, select
from sqlalchemy.ext.asyncio import AsyncConnection

from gateway.storage.rollup_tables import v_usage_attempt, v_usage_request
from gateway.storage.table_kinds import Usd

_ONE_DAY = timedelta(days=1)


class Spent(msgspec.Struct, frozen=True, kw_only=True):
    """Money of a period."""

    usd: Decimal | None
    """Of the requests whose cost is known; None when there were requests and none is."""
    unpriced_requests: int
    """Those whose cost is not known and not in the sum."""
    caller_usd: Decimal = Decimal(0)
    """What providers were paid by the key's holder, where it is known; not in the sum."""


class KeyUsage(msgspec.Struct, frozen=True, kw_only=True):
    """What a key spent, as far back as roll-ups are kept."""

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
    """A request counts at each endpoint that was called for it."""
    cost_usd: Decimal | None
    """Of the attempts whose cost is known; None when there were attempts and none is."""
    caller_usd: Decimal
    """What the provider was paid by the key's holder, where it is known."""
    unpriced_attempts: int
    prompt_tokens: int
    completion_tokens: int
    reasoning_tokens: int


async def read_key_usage(connection: AsyncConnection, key_id: UUID, today: date) -> KeyUsage:
    """What a key spent in all, and in the UTC day, week and month of ``today``."""
    v = v_usage_request.c
    periods = {
        "total": None,
        "day": today,
        "week": today - timedelta(days=today.weekday()),
        "month": today.replace(day=1),
    }
    measures = (v.requests, v.cost_usd, v.unpriced, v.caller_usd)
    wanted: list[ColumnElement[Any]] = []
    for name, since in periods.items():
        for measure in measures:
            total = func.sum(measure)
            if since is not None:
                total = total.filter(v.at >= _midnight(since))
            wanted.append(_as_measured(total, measure).label(f"{name}_{measure.name}"))
    rows = await connection.execute(select(*wanted).where(v.key_id == key_id))
    row = rows.mappings().one()

    def spent(period: str) -> Spent:
        requests, unpriced = row[f"{period}_requests"], row[f"{period}_unpriced"]
        return Spent(
            usd=None if unpriced and unpriced == requests else row[f"{period}_cost_usd"],
            unpriced_requests=unpriced,
            caller_usd=row[f"{period}_caller_usd"],
        )

    return KeyUsage(**{period: spent(period) for period in periods})


async def read_activity(
    connection: AsyncConnection, key_id: UUID, *, first: date, last: date
) -> list[DayOfUse]:
    """A key's days of use, both ends included, newest first, then by model and provider.

    Money and tokens stand with the endpoint that had them, failed attempts included, so that they
    add up to what the key spent, on the day on which the attempt began. What its requests were
    mirrored to is the operator's spending.
    """
    v = v_usage_attempt.c
    day = cast(func.timezone("UTC", v.at), Date).label("day")
    places = (v.model, v.provider, v.endpoint)

    def total(*measures: ColumnElement[Any]) -> ColumnElement[Any]:
        sums = [_as_measured(func.sum(measure), measure) for measure in measures]
        return sum(sums[1:], sums[0])

    statement = (
        select(
            day,
            *places,
            total(v.attempts).label("attempts"),
            total(v.requests).label("requests"),
            total(v.cost_usd).label("cost_usd"),
            total(v.caller_usd).label("caller_usd"),
            total(v.unpriced).label("unpriced_attempts"),
            total(v.input_tokens, v.cache_read_tokens, v.cache_write_tokens).label("prompt_tokens"),
            total(v.output_tokens, v.reasoning_tokens).label("completion_tokens"),
            total(v.reasoning_tokens).label("reasoning_tokens"),
        )
        .where(
            v.key_id == key_id,
            v.at >= _midnight(first),
            v.at < _midnight(last + _ONE_DAY),
            v.kind != "shadow",
        )
        .group_by(day, *places)
        .order_by(day.desc(), *places)
    )
    return [_day_of_use(row) for row in (await connection.execute(statement)).mappings()]


def _day_of_use(row: RowMapping) -> DayOfUse:
    fields: dict[str, Any] = {name: row[name] for name in DayOfUse.__struct_fields__}
    if row["unpriced_attempts"] and row["unpriced_attempts"] == row["attempts"]:
        fields["cost_usd"] = None
    return DayOfUse(**fields)


def _midnight(day: date) -> datetime:
    return datetime.combine(day, time(), UTC)


def _as_measured(total: ColumnElement[Any], measure: ColumnElement[Any]) -> ColumnElement[Any]:
    # A sum over nothing is nothing, and the sum of BIGINT would come as a Decimal.
    kind = Usd if str(measure.name).endswith("_usd") else BigInteger
    return cast(func.coalesce(total, 0), kind)
