"""Sums of hours and days, for charts of a long time: they follow from the quarters of an hour.

With many keys and endpoints, quarters are nearly as many as requests. An hour tells the provider
and what became of it, or the endpoint too, or the key and its labels, with the provider or without;
a day has all of them, and is one of UTC. `rollup_outdated` names those whose quarters have changed
since they were summed: the views read these from the quarters.
"""

from datetime import timedelta
from typing import Any

import msgspec
from sqlalchemy import Column, Table, Text

from gateway.storage.rollup_tables import (
    RollUp,
    histogram_table,
    latency,
    measure_column,
    packed_view_of,
    usage_attempt,
    usage_request,
    view_of,
)
from gateway.storage.table_kinds import Instant, metadata, views

HOUR, DAY = timedelta(hours=1), timedelta(days=1)
STEPS: dict[timedelta, str] = {HOUR: "hour", DAY: "day"}
"""As `rollup_outdated` calls them."""

rollup_outdated = Table(
    "rollup_outdated",
    metadata,
    Column("step", Text, primary_key=True),
    Column("at", Instant, primary_key=True),
)


class Coarse(msgspec.Struct, frozen=True, kw_only=True):
    """The sums of a roll-up by hours or days."""

    table: Table
    view: Table
    """The same, and complete."""
    packed: Table | None
    """Of histograms, the same with each of them in one row."""
    of: RollUp
    step: timedelta
    dimensions: tuple[str, ...]
    """Without ``at``; the others are summed over."""


def _coarse(name: str, of: RollUp, step: timedelta, dimensions: tuple[str, ...]) -> Coarse:
    quarter = of.quarter.c
    if of.is_histogram:
        # The metric comes first in each of them.
        table = histogram_table(
            name, *(Column(one, quarter[one].type, nullable=False) for one in dimensions[1:])
        )
    else:
        keys = {"at": Instant, **{one: quarter[one].type for one in dimensions}}
        sums: dict[str, Any] = {one: quarter[one].type for one in of.measures}
        table = Table(
            name,
            metadata,
            *(Column(one, kind, primary_key=True) for one, kind in keys.items()),
            *(measure_column(one, kind) for one, kind in sums.items()),
        )
    return Coarse(
        table=table,
        view=view_of(f"v_{name}", table),
        packed=packed_view_of(f"v_{name}_packed", table) if of.is_histogram else None,
        of=of,
        step=step,
        dimensions=dimensions,
    )


_ENDPOINT = ("provider", "model", "endpoint")
_WHOSE = ("key_id", "label_set")
_REQUEST = ("outcome", "is_fallback", "rule_version")
_ATTEMPT = ("outcome", "kind")
_OF_PROVIDER = ("provider", *_ATTEMPT)

COARSE: tuple[Coarse, ...] = (
    _coarse(
        "usage_request_provider_hour", usage_request, HOUR, ("provider", "outcome", "is_fallback")
    ),
    _coarse("usage_request_hour", usage_request, HOUR, (*_ENDPOINT, *_REQUEST)),
    _coarse("usage_request_key_hour", usage_request, HOUR, (*_REQUEST, *_WHOSE)),
    _coarse("usage_request_day", usage_request, DAY, usage_request.keys),
    _coarse("usage_attempt_provider_hour", usage_attempt, HOUR, _OF_PROVIDER),
    _coarse("usage_attempt_hour", usage_attempt, HOUR, (*_ENDPOINT, *_ATTEMPT)),
    _coarse("usage_attempt_key_hour", usage_attempt, HOUR, (*_ATTEMPT, *_WHOSE)),
    _coarse("usage_attempt_key_provider_hour", usage_attempt, HOUR, (*_OF_PROVIDER, *_WHOSE)),
    _coarse("usage_attempt_day", usage_attempt, DAY, usage_attempt.keys),
    _coarse("latency_hour", latency, HOUR, ("metric",)),
    _coarse("latency_endpoint_hour", latency, HOUR, latency.keys),
    _coarse("latency_day", latency, DAY, latency.keys),
)
"""Those of one roll-up stand in the order in which they are tried: the smallest first."""

__all__ = ["metadata", "views"]
