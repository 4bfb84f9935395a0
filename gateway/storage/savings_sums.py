"""Savings against the baseline that was declared when requests were answered, from the sums."""

from collections.abc import Callable, Mapping
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import ColumnElement, Date, cast, func, literal, select, true
from sqlalchemy.ext.asyncio import AsyncConnection

from gateway.storage.keys import list_keys
from gateway.storage.rollup_tables import v_usage_request
from pricing.cost import difference_usd
from pricing.savings import Savings

STEP = timedelta(minutes=15)
"""What sums are kept by for years; periods of savings begin and end with it."""

_v = v_usage_request.c
_GROUPS: Mapping[str, Callable[[], ColumnElement[Any]]] = {
    "day": lambda: cast(func.timezone("UTC", _v.at), Date),
    "provider": lambda: _v.provider,
    "model": lambda: _v.model,
    "key": lambda: _v.key_id,
}


async def read_savings(
    connection: AsyncConnection, since: datetime, until: datetime, *, by: str | None
) -> dict[str | None, Savings]:
    """Savings of each group; of all together under None, where nothing is grouped by.

    Args:
        connection: any.
        since: inclusive, aware, a whole number of steps; so is the end.
        until: exclusive.
        by: ``day`` (of UTC), ``provider``, ``model`` or ``key``; None for the total.
    """
    group = literal(None) if by is None else _GROUPS[by]()
    # What callers pay themselves is nobody's saving.
    requests = func.sum(_v.requests - _v.caller_requests)
    rows = await connection.execute(
        select(
            group.label("group"),
            func.coalesce(requests, 0).label("requests"),
            func.coalesce(func.sum(_v.unpriced), 0).label("unpriced"),
            func.coalesce(func.sum(_v.baselined), 0).label("covered"),
            func.coalesce(func.sum(_v.baseline_usd), 0).label("baseline_usd"),
            func.coalesce(func.sum(_v.baselined_cost_usd), 0).label("covered_cost_usd"),
            func.coalesce(func.sum(_v.cost_usd), 0).label("cost_usd"),
        )
        .where(_v.at >= since, _v.at < until)
        .group_by(*(() if by is None else (group,)))
        .having(true() if by is None else requests > 0)
    )
    return {
        # Nobody served: '' in the sums, since None cannot be a part of a key.
        (None if row["group"] in {None, ""} else str(row["group"])): Savings(
            baseline_usd=row["baseline_usd"],
            cost_usd=row["covered_cost_usd"],
            saved_usd=difference_usd(row["baseline_usd"], row["covered_cost_usd"]),
            covered_requests=int(row["covered"]),
            requests=int(row["requests"]),
            uncovered_cost_usd=difference_usd(row["cost_usd"], row["covered_cost_usd"]),
            unpriced_requests=int(row["unpriced"]),
        )
        for row in rows.mappings()
    }


async def read_key_names(connection: AsyncConnection) -> dict[str, str]:
    """The names of keys, by their ids as text."""
    return {str(key.id): key.name for key in await list_keys(connection)}


def to_steps(since: datetime, until: datetime) -> tuple[datetime, datetime]:
    """The period widened to whole steps."""
    begin = since - (since - datetime.min.replace(tzinfo=since.tzinfo)) % STEP
    rest = (until - datetime.min.replace(tzinfo=until.tzinfo)) % STEP
    return begin, until if not rest else until + STEP - rest
