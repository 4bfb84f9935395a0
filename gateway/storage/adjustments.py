"""Corrections of recorded costs: rows beside the records, never in them.

The cost that counts is what was recorded plus its adjustments, as `gateway.storage.adjusted` tells
it; roll-ups have them in their sums from the transaction on that records them.
"""

from collections.abc import Sequence
from datetime import date, datetime, timedelta
from decimal import Decimal
from typing import Any
from uuid import UUID

import msgspec
from sqlalchemy import (
    ColumnElement,
    RowMapping,
    delete,
    func,
    insert,
    select,
    tuple_,
)
from sqlalchemy.ext.asyncio import AsyncConnection

from gateway.domain.outcomes import Outcome
from gateway.storage.adjusted import attempt_adjustments, effective_usd, of_attempt
from gateway.storage.partitions import partition_days
from gateway.storage.record_tables import attempt_record, cost_adjustment
from gateway.storage.rollup_corrections import fold_in, share_roll_ups
from pricing.cost import sum_known
from pricing.rerating import Correction, RecordedAttempt
from pricing.usage import METERS, Usage

_LOCK = int.from_bytes(b"tw-rerat")
_ONE_DAY = timedelta(days=1)
_NEEDED = (
    "number",
    "kind",
    "provider",
    "model",
    "endpoint",
    "started_at",
    "service_tier",
    "served_region",
)


class Span(msgspec.Struct, frozen=True, kw_only=True):
    """Which attempts are looked at; `since` is inclusive, `until` is not, both aware UTC."""

    since: datetime
    until: datetime
    model: str | None = None
    provider: str | None = None


class RecordedRequest(msgspec.Struct, frozen=True, kw_only=True):
    """A request with everything that its cost depends on."""

    id: UUID
    day: date
    key_id: UUID
    attempts: tuple[RecordedAttempt, ...]
    chosen: tuple[int, ...]
    """Numbers of the attempts within the span."""


class Adjustment(msgspec.Struct, frozen=True, kw_only=True):
    """A correction as it was recorded."""

    number: int
    old_cost_usd: Decimal | None
    new_cost_usd: Decimal
    difference_usd: Decimal
    request_difference_usd: Decimal | None
    cost_status: str
    price_version: str | None
    recorded_at: datetime
    recorded_by: str
    reason: str


async def count_by_day(connection: AsyncConnection, span: Span) -> dict[date, int]:
    """How many attempts of the span are kept, by the UTC day of their requests, oldest first."""
    columns = attempt_record.c
    rows = await connection.execute(
        select(columns.day, func.count())
        .where(*_within(span))
        .group_by(columns.day)
        .order_by(columns.day)
    )
    return {row.day: row[1] for row in rows}


async def first_attempt_day(connection: AsyncConnection) -> date | None:
    """The oldest day of which attempts are kept; None when there are none."""
    columns = attempt_record.c
    # Their partitions tell the days; the smallest of all days would be looked for in every row.
    for day in await partition_days(connection, attempt_record):
        if await connection.scalar(select(columns.day).where(columns.day == day).limit(1)):
            return day
    return None


async def read_requests(
    connection: AsyncConnection, span: Span, day: date, *, after: UUID | None, limit: int
) -> list[RecordedRequest]:
    """The next requests of one day with an attempt within the span, in the order of their ids.

    Costs have every adjustment in them. Asked with the last one's id, it goes on from there.
    """
    columns = attempt_record.c
    page = select(columns.request_id).where(columns.day == day, *_within(span))
    if after is not None:
        page = page.where(columns.request_id > after)
    page = page.distinct().order_by(columns.request_id).limit(limit)
    ids = list(await connection.scalars(page))
    if not ids:
        return []
    adjustments = attempt_adjustments(
        cost_adjustment.c.day == day, cost_adjustment.c.request_id.in_(ids)
    )
    statement = (
        select(
            columns.request_id,
            columns.key_id,
            *attempt_columns(),
            effective_usd(columns.cost_usd, adjustments).label("cost_usd"),
        )
        .select_from(attempt_record)
        .outerjoin(adjustments, of_attempt(attempt_record, adjustments))
        .where(columns.day == day, columns.request_id.in_(ids))
        .order_by(columns.request_id, columns.number)
    )
    found: dict[UUID, list[RowMapping]] = {}
    for row in (await connection.execute(statement)).mappings():
        found.setdefault(row["request_id"], []).append(row)
    return [_request(request_id, day, rows, span) for request_id, rows in found.items()]


def attempt_columns() -> list[ColumnElement[Any]]:
    """What `recorded_attempt` needs of `attempt_record`, but for the cost."""
    columns = attempt_record.c
    further = ("is_paid_by_caller", "outcome", "usage_source", "cost_status", "cost_source")
    return [columns[name] for name in (*_NEEDED, *METERS, *further)]


def recorded_attempt(row: RowMapping, cost_usd: Decimal | None) -> RecordedAttempt:
    """An attempt of `attempt_columns`; ``cost_usd`` has every correction in it."""
    is_metered = row[METERS[0]] is not None
    return RecordedAttempt(
        **{name: row[name] for name in _NEEDED},
        usage=Usage(**{meter: row[meter] for meter in METERS}) if is_metered else None,
        is_estimated=row["usage_source"] == "estimated" or row["cost_status"] == "estimated",
        source=row["cost_source"],
        cost_usd=cost_usd,
        is_paid_by_caller=row["is_paid_by_caller"],
        is_bound=row["outcome"] == Outcome.UNKNOWN_CRASH and row["cost_status"] == "upper_bound",
    )


async def lock_adjustments(connection: AsyncConnection) -> None:
    """Until the transaction ends nobody else corrects costs: what was read stays true."""
    await connection.execute(select(func.pg_advisory_xact_lock(_LOCK)))


async def add_adjustments(
    connection: AsyncConnection,
    corrections: Sequence[tuple[RecordedRequest, Correction]],
    *,
    at: datetime,
    actor: str,
    reason: str,
) -> None:
    """Record corrections, in the roll-ups too.

    The caller holds `lock_adjustments` since it read what they correct.
    """
    if not corrections:
        return
    await share_roll_ups(connection)
    newest = await connection.scalar(select(func.max(cost_adjustment.c.id)))
    await connection.execute(
        insert(cost_adjustment),
        [
            {
                "request_id": request.id,
                "day": request.day,
                "number": correction.attempt.number,
                "started_at": correction.attempt.started_at,
                "kind": correction.attempt.kind,
                "key_id": request.key_id,
                "provider": correction.attempt.provider,
                "model": correction.attempt.model,
                "endpoint": correction.attempt.endpoint,
                "old_cost_usd": correction.attempt.cost_usd,
                "new_cost_usd": correction.cost.total_usd,
                "difference_usd": correction.difference_usd,
                "request_difference_usd": correction.request_difference_usd,
                "cost_status": correction.cost.status,
                "price_version": correction.cost.price_version,
                "lines": {
                    meter: format(amount, "f") for meter, amount in correction.cost.lines.items()
                },
                "recorded_at": at,
                "recorded_by": actor,
                "reason": reason,
            }
            for request, correction in corrections
        ],
    )
    by_day: dict[date, set[UUID]] = {}
    for request, _ in corrections:
        by_day.setdefault(request.day, set()).add(request.id)
    for day, requests in sorted(by_day.items()):
        await fold_in(connection, day, sorted(requests), after=newest or 0)


async def forget_adjustments(connection: AsyncConnection, before: date) -> int:
    """Remove the corrections of attempts that are kept no longer; what sums have of them stays."""
    # Older attempts may still be there, as long as somebody is about to drop them.
    until = min([before, *await partition_days(connection, attempt_record)])
    found = await connection.execute(delete(cost_adjustment).where(cost_adjustment.c.day < until))
    return found.rowcount


async def adjustments_of(
    connection: AsyncConnection, request_id: UUID, day: date
) -> list[Adjustment]:
    """The corrections of a request's attempts, in the order in which they were recorded."""
    columns, fields = cost_adjustment.c, Adjustment.__struct_fields__
    rows = await connection.execute(
        select(*(columns[field] for field in fields))
        .where(tuple_(columns.request_id, columns.day) == (request_id, day))
        .order_by(columns.id)
    )
    return [
        msgspec.convert({field: row[field] for field in fields}, Adjustment)
        for row in rows.mappings()
    ]


def effective_request_usd(
    recorded_usd: Decimal | None, adjustments: Sequence[Adjustment]
) -> Decimal | None:
    """What a request costs with its corrections: `effective_usd` for one that was read."""
    known = [
        one.request_difference_usd for one in adjustments if one.request_difference_usd is not None
    ]
    return sum_known(recorded_usd or Decimal(0), *known) if known else recorded_usd


def _within(span: Span) -> list[ColumnElement[bool]]:
    columns = attempt_record.c
    conditions = [
        # An attempt begins on its request's day or soon after; partitions are told by this alone.
        columns.day >= span.since.date() - _ONE_DAY,
        columns.day <= span.until.date(),
        columns.started_at >= span.since,
        columns.started_at < span.until,
    ]
    if span.model is not None:
        conditions.append(columns.model == span.model)
    if span.provider is not None:
        conditions.append(columns.provider == span.provider)
    return conditions


def _request(
    request_id: UUID, day: date, rows: Sequence[RowMapping], span: Span
) -> RecordedRequest:
    attempts = tuple(recorded_attempt(row, row["cost_usd"]) for row in rows)
    return RecordedRequest(
        id=request_id,
        day=day,
        key_id=rows[0]["key_id"],
        attempts=attempts,
        chosen=tuple(a.number for a in attempts if _is_within(a, span)),
    )


def _is_within(attempt: RecordedAttempt, span: Span) -> bool:
    return (
        span.since <= attempt.started_at < span.until
        and span.model in {None, attempt.model}
        and span.provider in {None, attempt.provider}
    )
