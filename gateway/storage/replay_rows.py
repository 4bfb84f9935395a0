"""Reads logged requests in order to decide them again: the newest first, page by page."""

from collections.abc import Sequence
from datetime import date, datetime, timedelta
from typing import Any
from uuid import UUID

import msgspec
from sqlalchemy import ColumnElement, RowMapping, Text, cast, func, or_, select
from sqlalchemy.ext.asyncio import AsyncConnection

from gateway.domain.caller import Caller
from gateway.domain.ids import day_of
from gateway.domain.outcomes import Outcome
from gateway.routing.logged import Answer, LoggedRequest
from gateway.routing.replaying_history import Activation
from gateway.storage.adjusted import (
    attempt_adjustments,
    effective_usd,
    of_attempt,
    of_request,
    request_adjustments,
)
from gateway.storage.decision_tables import audit_entry
from gateway.storage.keys import list_keys
from gateway.storage.record_tables import attempt_record, cost_adjustment, request_record
from pricing.usage import METERS, Usage

_NEEDED = (
    "id",
    "received_at",
    "key_id",
    "dialect",
    "stream",
    "requested_model",
    "session_id",
    "tags",
    "rule_version",
    "error_kind",
    "used_model",
    "used_provider",
    "is_paid_by_caller",
)
_SHADOW = "shadow"
_BITS_BELOW_TIME = 80
_CLOCKS_STEP_BY = timedelta(minutes=10)
_CHANGES_OF_RULES = ("rules.apply", "rules.rollback")


class Window(msgspec.Struct, frozen=True, kw_only=True):
    """Which requests: `since` is inclusive, `until` is not, both aware UTC."""

    since: datetime
    until: datetime
    key_id: UUID | None = None
    model: str | None = None
    """As it was typed, or that which answered."""


async def count_logged(connection: AsyncConnection, window: Window, *, most: int) -> int:
    """How many requests there are, and `most` when there are more."""
    found = select(request_record.c.id).where(*_within(window)).limit(most).subquery()
    return await connection.scalar(select(func.count()).select_from(found)) or 0


async def read_logged(
    connection: AsyncConnection, window: Window, *, before: UUID | None, limit: int
) -> list[LoggedRequest]:
    """The newest requests that are older than `before`, newest first.

    Costs have every correction in them.
    """
    columns = request_record.c
    page = select(columns.id).where(*_within(window)).order_by(columns.id.desc()).limit(limit)
    if before is not None:
        page = page.where(columns.id < before, columns.day <= day_of(before))
    ids = list(await connection.scalars(page))
    return await _read(connection, ids) if ids else []


async def read_one_logged(connection: AsyncConnection, request_id: UUID) -> LoggedRequest | None:
    """One request; None when it is not there (yet). Looks into one partition only."""
    try:
        found = await _read(connection, [request_id])
    except (ValueError, OverflowError, OSError):
        # Not an id of ours, so that it holds no day.
        return None
    return found[0] if found else None


async def _read(connection: AsyncConnection, ids: Sequence[UUID]) -> list[LoggedRequest]:
    columns = request_record.c
    days = sorted({day_of(request_id) for request_id in ids})
    made = request_adjustments(
        cost_adjustment.c.day.in_(days), cost_adjustment.c.request_id.in_(ids)
    )
    rows = await connection.execute(
        select(
            *(columns[name] for name in _NEEDED),
            columns.end_user.label("user"),
            effective_usd(columns.cost_usd, made).label("cost_usd"),
            # Decoded one by one, where that can be interrupted.
            cast(columns.plan, Text).label("plan"),
        )
        .select_from(request_record.outerjoin(made, of_request(request_record, made)))
        .where(columns.day.in_(days), columns.id.in_(ids))
        .order_by(columns.id.desc())
    )
    answers = await _answers(connection, ids, days)
    return [_logged(row, answers.get(row["id"])) for row in rows.mappings()]


async def read_callers(connection: AsyncConnection) -> dict[UUID, Caller]:
    """Every key's caller, revoked and expired ones included."""
    fields = [name for name in Caller.__struct_fields__ if name != "key_id"]
    return {
        key.id: Caller(key_id=key.id, **{name: getattr(key, name) for name in fields})
        for key in await list_keys(connection)
    }


async def read_activations(connection: AsyncConnection) -> list[Activation]:
    """Every time that rules in the database came into force, the earliest first."""
    columns = audit_entry.c
    rows = await connection.execute(
        select(columns.at, columns.after)
        .where(columns.action.in_(_CHANGES_OF_RULES))
        .order_by(columns.at, columns.id)
    )
    return [
        Activation(
            at=row.at,
            number=row.after["number"],
            version=row.after["version"],
        )
        for row in rows
        if row.after is not None
    ]


def _within(window: Window) -> list[ColumnElement[bool]]:
    columns = request_record.c
    found = [
        # The planner leaves out partitions by the day alone.
        columns.day.between(window.since.date(), window.until.date()),
        # Ids are ordered by time, and the newest come by their index.
        columns.id >= _least_id(window.since - _CLOCKS_STEP_BY),
        columns.id < _least_id(window.until + _CLOCKS_STEP_BY),
        columns.received_at >= window.since,
        columns.received_at < window.until,
    ]
    if window.key_id is not None:
        found.append(columns.key_id == window.key_id)
    if window.model is not None:
        found.append(
            or_(columns.used_model == window.model, columns.requested_model == window.model)
        )
    return found


def _least_id(at: datetime) -> UUID:
    """Below every id of that instant and later, unless the clock that made it stepped back."""
    return UUID(int=int(at.timestamp() * 1000) << _BITS_BELOW_TIME)


async def _answers(
    connection: AsyncConnection, ids: Sequence[UUID], days: Sequence[date]
) -> dict[UUID, RowMapping]:
    """The attempt that answered, of each request that was answered."""
    columns = attempt_record.c
    made = attempt_adjustments(
        cost_adjustment.c.day.in_(days), cost_adjustment.c.request_id.in_(ids)
    )
    rows = await connection.execute(
        select(
            columns.request_id,
            columns.endpoint,
            columns.started_at,
            columns.service_tier,
            columns.served_region,
            *(columns[meter] for meter in METERS),
            effective_usd(columns.cost_usd, made).label("cost_usd"),
        )
        .select_from(attempt_record.outerjoin(made, of_attempt(attempt_record, made)))
        .where(
            columns.day.in_(days),
            columns.request_id.in_(ids),
            columns.outcome == Outcome.SUCCESS.value,
            columns.kind != _SHADOW,
        )
        .order_by(columns.request_id, columns.number)
    )
    # The last one, as settling has it.
    return {row["request_id"]: row for row in rows.mappings()}


def _logged(row: RowMapping, answer: RowMapping | None) -> LoggedRequest:
    fields: dict[str, Any] = dict(row)
    fields["plan"] = msgspec.Raw(row["plan"].encode())
    return LoggedRequest(**fields, answer=None if answer is None else _answer(answer))


def _answer(row: RowMapping) -> Answer:
    is_metered = row[METERS[0]] is not None
    return Answer(
        endpoint=row["endpoint"],
        started_at=row["started_at"],
        service_tier=row["service_tier"],
        served_region=row["served_region"],
        usage=Usage(**{meter: row[meter] for meter in METERS}) if is_metered else None,
        cost_usd=row["cost_usd"],
    )
