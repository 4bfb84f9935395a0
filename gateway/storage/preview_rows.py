"""Reads for a preview of prices: what endpoints cost in a period, and their newest attempts."""

from collections.abc import Collection, Mapping
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from uuid import UUID

import msgspec
from sqlalchemy import BigInteger, RowMapping, cast, func, select, tuple_
from sqlalchemy.ext.asyncio import AsyncConnection

from gateway.storage.adjusted import attempt_adjustments
from gateway.storage.adjustments import attempt_columns, recorded_attempt
from gateway.storage.rollup_source import quarter_of
from gateway.storage.rollup_tables import v_usage_attempt
from gateway.storage.tables import Usd, attempt_record, cost_adjustment
from pricing.cost import sum_known
from pricing.previewing import EndpointSpend
from pricing.rerating import RecordedAttempt

QUARTER = timedelta(minutes=15)
_ONE_DAY = timedelta(days=1)

Place = tuple[datetime, UUID, int]
"""Of an attempt: when it began, of which request it is, and its number there."""


class Page(msgspec.Struct, frozen=True, kw_only=True):
    """Some attempts, newest first."""

    attempts: list[RecordedAttempt]
    last: Place | None
    """Where the next page begins; None behind the last one."""


def whole_quarters(since: datetime, until: datetime) -> tuple[datetime, datetime]:
    """The quarters of an hour that a period touches, which are what roll-ups tell exactly."""
    begins = _quarter(since)
    ends = _quarter(until)
    return begins, ends if ends == until else ends + QUARTER


async def read_spend(
    connection: AsyncConnection, since: datetime, until: datetime
) -> list[EndpointSpend]:
    """What every endpoint was asked and cost, mirrored requests included."""
    v = v_usage_attempt.c
    rows = await connection.execute(
        select(
            v.endpoint,
            func.max(v.provider).label("provider"),
            # An endpoint that was given to another model meanwhile is still one.
            func.max(v.model).label("model"),
            cast(func.sum(v.attempts), BigInteger).label("attempts"),
            cast(func.sum(v.cost_usd), Usd).label("recorded_usd"),
            cast(func.sum(v.unpriced), BigInteger).label("unpriced"),
        )
        .where(v.at >= since, v.at < until)
        .group_by(v.endpoint)
        .order_by(v.endpoint)
    )
    return [EndpointSpend(**row) for row in rows.mappings()]


async def busy_quarters(
    connection: AsyncConnection, endpoints: Collection[str], since: datetime, until: datetime
) -> list[datetime]:
    """The quarters of an hour in which any of the endpoints was asked, newest first."""
    v = v_usage_attempt.c
    at = quarter_of(v.at)
    rows = await connection.scalars(
        select(at)
        .where(v.at >= since, v.at < until, v.endpoint.in_(list(endpoints)))
        .group_by(at)
        .order_by(at.desc())
    )
    return [one.astimezone(UTC) for one in rows]


async def read_quarter(
    connection: AsyncConnection,
    endpoints: Collection[str],
    at: datetime,
    *,
    before: Place | None,
    limit: int,
) -> Page:
    """The next attempts of a quarter of an hour, newest first, with their corrections."""
    c = attempt_record.c
    place = (c.started_at, c.request_id, c.number)
    days = (at.date() - _ONE_DAY, at.date())
    statement = (
        select(*attempt_columns(), c.request_id, c.day, c.cost_usd)
        .where(
            # An attempt belongs to the day of its request, and may have begun on the next one.
            c.day.between(*days),
            c.started_at >= at,
            c.started_at < at + QUARTER,
            c.endpoint.in_(list(endpoints)),
        )
        .order_by(*(one.desc() for one in place))
        .limit(limit)
    )
    if before is not None:
        statement = statement.where(tuple_(*place) < before)
    rows = (await connection.execute(statement)).mappings().all()
    if not rows:
        return Page(attempts=[], last=None)
    ids = sorted({row["request_id"] for row in rows})
    made = attempt_adjustments(
        cost_adjustment.c.day.between(*days), cost_adjustment.c.request_id.in_(ids)
    )
    found = await connection.execute(
        select(made.c.request_id, made.c.number, made.c.difference_usd)
    )
    corrections = {(one.request_id, one.number): one.difference_usd for one in found}

    last = rows[-1]
    return Page(
        attempts=[recorded_attempt(row, _cost_of(row, corrections)) for row in rows],
        last=(last["started_at"], last["request_id"], last["number"])
        if len(rows) == limit
        else None,
    )


def _cost_of(row: RowMapping, corrections: Mapping[tuple[UUID, int], Decimal]) -> Decimal | None:
    recorded: Decimal | None = row["cost_usd"]
    correction = corrections.get((row["request_id"], row["number"]))
    return recorded if correction is None else sum_known(recorded or Decimal(0), correction)


def _quarter(at: datetime) -> datetime:
    at = at.astimezone(UTC)
    return at.replace(minute=at.minute - at.minute % 15, second=0, microsecond=0)
