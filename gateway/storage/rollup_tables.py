"""The tables of sums that charts are drawn from, and the views by which they are read.

Every roll-up stands in two grains: a minute, kept for some weeks, and a quarter of an hour, kept
for years. The long grain is no hour, so that days are right in every time zone there is.
`rollup_pending` names the quarters whose minutes have changed since they were summed; the views
without a grain read those from the minutes and all others from the quarters, so that what they show
is complete with the very transaction that stored a record.
A request that nobody served has '' for provider, model and endpoint, and one without rules '' for
their version: unlike NULL, '' can be a part of a key.
"""

from typing import Any

import msgspec
from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    Identity,
    Index,
    SmallInteger,
    Table,
    Text,
    Uuid,
    text,
)
from sqlalchemy.dialects.postgresql import ARRAY, JSONB

from gateway.storage.table_kinds import Instant, Usd, metadata, views

LOWEST_BUCKET, HIGHEST_BUCKET = -400, 800
"""What lies beyond is counted in these: below 0.0000002 and above 4e13."""

METRICS = ("request", "request_ttft", "overhead", "added", "attempt", "attempt_ttft", "speed")
"""What `latency_*` measures: milliseconds, and tokens per second for the last.

``request``, ``request_ttft`` (of streams) and ``overhead`` are those of successful requests, by the
endpoint that served. ``added`` is how much later the serving attempt of a fallback began than the
first one. ``attempt``, ``attempt_ttft`` and ``speed`` are those of successful attempts.
"""
KEY_METRICS = METRICS[:2]
"""Those that `latency_key_hour` has."""

TOKEN_GROUPS: dict[str, tuple[str, ...]] = {
    "input": ("input_tokens", "audio_input_tokens", "image_input_tokens", "video_input_tokens"),
    "cache_read": ("cache_read_tokens", "audio_cache_read_tokens"),
    "cache_write": ("cache_write_tokens", "cache_write_1h_tokens"),
    "output": ("output_tokens", "audio_output_tokens", "image_output_tokens"),
    "reasoning": ("reasoning_tokens",),
}
"""The meters of `pricing.usage.Usage` that are summed together; the first three are the prompt's
tokens, the last two the completion's."""


_LATER = frozenset({"caller_requests"})
"""Measures that came when others were in use."""


class RollUp(msgspec.Struct, frozen=True, kw_only=True):
    """A roll-up in both grains; the first column after the dimensions is a count."""

    minute: Table
    quarter: Table
    dimensions: tuple[str, ...]
    """Without ``at``."""
    measures: tuple[str, ...]
    """All are sums."""
    is_histogram: bool = False
    """A row holds many buckets side by side, and a key may stand in several rows."""

    @property
    def keys(self) -> tuple[str, ...]:
        """The dimensions that are columns of the tables."""
        return tuple(name for name in self.dimensions if name in self.quarter.c)


def measure_column(name: str, kind: Any) -> Column[Any]:  # noqa: ANN401 - types and instances
    """A column of sums, in any table of a roll-up."""
    # A node of an older version still writes rows without it.
    default = text("0") if name in _LATER else None
    return Column(name, kind, nullable=False, server_default=default)


def _make(name: str, dimensions: dict[str, Any], measures: dict[str, Any]) -> RollUp:
    def table(grain: str, *, is_busy: bool) -> Table:
        keys = {"at": Instant, **dimensions}
        # Accounts of one key look far back; in the minutes they look at few.
        indexes = [Index(None, "key_id", "at")] if "key_id" in keys and not is_busy else []
        return Table(
            f"{name}_{grain}",
            metadata,
            *(Column(key, kind, primary_key=True) for key, kind in keys.items()),
            *(measure_column(measure, kind) for measure, kind in measures.items()),
            *indexes,
            # Room for a row's next version beside it, so that counting touches no index.
            postgresql_with={"fillfactor": 60 if is_busy else 100},
        )

    return RollUp(
        minute=table("minute", is_busy=True),
        quarter=table("quarter_hour", is_busy=False),
        dimensions=tuple(dimensions),
        measures=tuple(measures),
    )


_ENDPOINT = {"provider": Text, "model": Text, "endpoint": Text}
_WHOSE = {"key_id": Uuid, "label_set": Uuid}

usage_request = _make(
    "usage_request",
    {**_ENDPOINT, "outcome": Text, "is_fallback": Boolean, "rule_version": Text, **_WHOSE},
    {
        "requests": BigInteger,
        # Of these, those that reached a provider.
        "tried": BigInteger,
        "attempts": BigInteger,
        "prompt_tokens": BigInteger,
        "completion_tokens": BigInteger,
        "cached_tokens": BigInteger,
        "reasoning_tokens": BigInteger,
        # The sum of what is known, and how many requests are missing from it.
        "cost_usd": Usd,
        "unpriced": BigInteger,
        # Of the requests whose baseline and cost are both known, so that one can be subtracted from
        # the other.
        "baselined": BigInteger,
        "baseline_usd": Usd,
        "baselined_cost_usd": Usd,
        # Of `cost_usd`, what later corrections added; below 0 where they took away.
        "adjustment_usd": Usd,
        # What callers pay themselves, where it is known; no other sum of money has it.
        "caller_usd": Usd,
        # Requests that callers pay themselves, whether or not it is known what they cost.
        "caller_requests": BigInteger,
    },
)

usage_attempt = _make(
    "usage_attempt",
    {**_ENDPOINT, "outcome": Text, "kind": Text, **_WHOSE},
    {
        "attempts": BigInteger,
        # Attempts that were metered, or whose cost is not known.
        "billable": BigInteger,
        "unpriced": BigInteger,
        # First attempts of requests, of these those whose request another provider answered.
        "first_tries": BigInteger,
        "served_elsewhere": BigInteger,
        # Failed attempts whose request was served all the same.
        "rescued": BigInteger,
        **{f"{group}_tokens": BigInteger for group in TOKEN_GROUPS},
        "cost_usd": Usd,
        # Parts of `cost_usd`; `cost_other_usd` is whatever the others do not explain, and below 0
        # where a provider reports less than its prices say.
        **{f"cost_{group}_usd": Usd for group in TOKEN_GROUPS},
        "cost_other_usd": Usd,
        # Requests by the endpoints that were called for them; a call and its repeat are one.
        "requests": BigInteger,
        "adjustment_usd": Usd,
        "caller_usd": Usd,
    },
)

fallback = _make(
    "fallback",
    {
        "from_provider": Text,
        "from_endpoint": Text,
        "to_provider": Text,
        "to_endpoint": Text,
        "reason": Text,
    },
    {
        # Attempts that failed, or were overtaken, before another endpoint answered.
        "attempts": BigInteger,
        # Of these, first attempts: one for each request that fell back.
        "requests": BigInteger,
        "rescued": BigInteger,
        "added_us": BigInteger,
        "added_usd": Usd,
        "unpriced": BigInteger,
    },
)


def histogram_table(name: str, *dimensions: Column[Any]) -> Table:
    """A table of packed histograms by ``metric``, ``at`` and further dimensions."""
    # Without a key: counting is writing another row, which waits for nobody and reads nothing.
    return Table(
        name,
        metadata,
        Column("metric", Text, nullable=False),
        Column("at", Instant, nullable=False),
        *dimensions,
        # As many as each other: the buckets in their order, and what was counted in each.
        Column("buckets", ARRAY(SmallInteger), nullable=False),
        Column("samples", ARRAY(BigInteger), nullable=False),
        # Charts want one metric of a long time.
        Index(None, "metric", "at"),
    )


def _endpoint_columns() -> list[Column[Any]]:
    return [Column(name, kind, nullable=False) for name, kind in _ENDPOINT.items()]


latency = RollUp(
    minute=histogram_table("latency_minute", *_endpoint_columns()),
    quarter=histogram_table("latency_quarter_hour", *_endpoint_columns()),
    dimensions=("metric", *_ENDPOINT, "bucket"),
    measures=("samples",),
    is_histogram=True,
)

ROLL_UPS: tuple[RollUp, ...] = (usage_request, usage_attempt, fallback, latency)
"""In the order in which they are written and locked."""

latency_key_hour = histogram_table(
    "latency_key_hour",
    Column("key_id", Uuid, nullable=False),
    Column("provider", Text, nullable=False),
    Column("model", Text, nullable=False),
)

label_set = Table(
    "label_set",
    metadata,
    # Drawn from the labels themselves, so that it is the same wherever it is computed.
    Column("id", Uuid, primary_key=True),
    Column("labels", JSONB, nullable=False),
)

provider_seen = Table(
    "provider_seen",
    metadata,
    Column("provider", Text, primary_key=True),
    # Fixes the provider's colour, so it never changes, even when something older arrives.
    Column("first_seen_at", Instant, nullable=False),
)

rollup_pending = Table(
    "rollup_pending",
    metadata,
    # A row for each batch and quarter, written with the batch's minutes: whoever sees the row sees
    # the minutes too, and whoever removes it removes no word of later ones.
    Column("id", BigInteger, Identity(), primary_key=True),
    Column("at", Instant, nullable=False),
    # The older minutes of the quarter are gone: these come on top of what it holds.
    Column("is_addition", Boolean, nullable=False, server_default=text("false")),
)

rollup_horizon = Table(
    "rollup_horizon",
    metadata,
    Column("name", Text, primary_key=True),
    Column("at", Instant, nullable=False),
)
"""Since when there are ``minutes`` and ``rows``; without a row, nothing was ever removed."""


def _grainless(name: str, roll_up: RollUp) -> Table:
    return view_of(name, roll_up.quarter)


def packed_view_of(name: str, table: Table) -> Table:
    """The same of histograms, each of them in one row."""
    columns = {"at": Instant, **{column.name: column.type for column in table.columns}}
    return Table(name, views, *(Column(column, kind) for column, kind in columns.items()))


def view_of(name: str, table: Table) -> Table:
    """The columns by which a table is read: of histograms, a row for each bucket."""
    columns = {column.name: column.type for column in table.columns}
    if "buckets" in columns:
        keys = {name: kind for name, kind in columns.items() if name not in ("buckets", "samples")}
        columns = {"at": Instant, **keys, "bucket": SmallInteger(), "samples": BigInteger()}
    return Table(name, views, *(Column(column, kind) for column, kind in columns.items()))


v_usage_request = _grainless("v_usage_request", usage_request)
v_usage_attempt = _grainless("v_usage_attempt", usage_attempt)
v_fallback = _grainless("v_fallback", fallback)
v_latency = _grainless("v_latency", latency)
v_usage_request_minute = view_of("v_usage_request_minute", usage_request.minute)
v_usage_attempt_minute = view_of("v_usage_attempt_minute", usage_attempt.minute)
v_fallback_minute = view_of("v_fallback_minute", fallback.minute)
v_latency_minute = view_of("v_latency_minute", latency.minute)
v_latency_key_hour = view_of("v_latency_key_hour", latency_key_hour)
v_latency_packed = packed_view_of("v_latency_packed", latency.quarter)
v_latency_minute_packed = packed_view_of("v_latency_minute_packed", latency.minute)
v_latency_key_hour_packed = packed_view_of("v_latency_key_hour_packed", latency_key_hour)
v_label_set = view_of("v_label_set", label_set)
v_provider_seen = view_of("v_provider_seen", provider_seen)

__all__ = ["metadata", "views"]
