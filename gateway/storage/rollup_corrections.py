"""Takes corrections of costs into the roll-ups: what rows come to now, less what they came to then.

Both are told by the statements that sum up arrivals, so that whoever makes the roll-ups anew from
the rows finds the same.
"""

from collections.abc import Collection
from datetime import date
from typing import Any, TypeAlias
from uuid import UUID

from sqlalchemy import (
    ARRAY,
    ColumnElement,
    Select,
    Uuid,
    any_,
    cast,
    func,
    literal,
    or_,
    select,
    union_all,
)
from sqlalchemy.ext.asyncio import AsyncConnection

from gateway.storage.adjusted import adjusted_attempts, adjusted_requests
from gateway.storage.ingest import ROLL_UP_LOCK
from gateway.storage.record_tables import attempt_record, cost_adjustment, request_record
from gateway.storage.rollup_source import Source
from gateway.storage.rollup_tables import RollUp
from gateway.storage.rollups import add_up, note_changed, with_costs

_Select: TypeAlias = Select[*tuple[Any, ...]]


async def share_roll_ups(connection: AsyncConnection) -> None:
    """Until the transaction ends nobody makes roll-ups anew; others add to them meanwhile."""
    await connection.execute(select(func.pg_advisory_xact_lock_shared(ROLL_UP_LOCK)))


async def fold_in(
    connection: AsyncConnection, day: date, requests: Collection[UUID], *, after: int
) -> None:
    """Add to the roll-ups what the newest corrections of some requests changed.

    Args:
        connection: in the transaction that recorded the corrections and holds `share_roll_ups`.
        day: of all of the requests.
        requests: those that were corrected.
        after: the id of the last correction that roll-ups have in them.
    """
    ids = literal(list(requests), ARRAY(Uuid))
    before, now = _rows(day, ids, until=after), _rows(day, ids, until=None)
    for (roll_up, old), (_, new) in zip(with_costs(before), with_costs(now), strict=True):
        await connection.execute(
            add_up(roll_up.minute, _difference(roll_up, old, new), roll_up.measures)
        )
    r, a = request_record.c, attempt_record.c
    requests_of_day = select(r.received_at).where(r.day == day, r.id == any_(ids))
    attempts_of_day = select(a.started_at).where(a.day == day, a.request_id == any_(ids))
    await connection.execute(note_changed(requests_of_day.subquery(), attempts_of_day.subquery()))


def _rows(day: date, ids: ColumnElement[Any], *, until: int | None) -> Source:
    r, a, made = request_record.c, attempt_record.c, cost_adjustment.c
    adjustments = [made.day == day, made.request_id == any_(ids)]
    if until is not None:
        adjustments.append(made.id <= until)
    requests = adjusted_requests([r.day == day, r.id == any_(ids)], adjustments)
    attempts = adjusted_attempts([a.day == day, a.request_id == any_(ids)], adjustments)
    return Source(
        requests.subquery("requests"),
        attempts.subquery("attempts"),
        requests.subquery("all_requests"),
        attempts.subquery("all_attempts"),
    )


def _difference(roll_up: RollUp, old: _Select, new: _Select) -> _Select:
    """One row for each key where something is another sum now."""
    keys = ("at", *roll_up.dimensions)
    was, is_now = old.subquery("was"), new.subquery("is_now")
    both = union_all(
        select(*(was.c[name] for name in keys), *((-was.c[name]) for name in roll_up.measures)),
        select(*(is_now.c[name] for name in (*keys, *roll_up.measures))),
    ).subquery("both")
    columns = dict(zip((*keys, *roll_up.measures), both.c, strict=True))
    sums = {
        name: cast(func.sum(columns[name]), roll_up.minute.c[name].type)
        for name in roll_up.measures
    }
    dimensions = [columns[name] for name in keys]
    return (
        select(
            *(columns[name].label(name) for name in keys),
            *(total.label(name) for name, total in sums.items()),
        )
        .group_by(*dimensions)
        .having(or_(*(func.sum(columns[name]) != 0 for name in roll_up.measures)))
    )
