"""Every metric there is: its name, what it means, its labels, and how workers add up."""

from collections.abc import Callable, Iterable
from typing import Literal

import msgspec


class Family(msgspec.Struct, frozen=True, kw_only=True):
    """One metric."""

    name: str
    help: str
    labels: tuple[str, ...] = ()


class GaugeFamily(Family, frozen=True, kw_only=True):
    """One that goes up and down."""

    merge: Literal["sum", "max", "min"] = "sum"
    """What a node's value is, of those of its workers."""


class HistogramFamily(Family, frozen=True, kw_only=True):
    """How something is spread, in seconds."""

    bounds: tuple[float, ...]
    """Upper ends of the buckets, inclusive; what is above the last is counted too."""


REQUESTS = "tollway_requests"
ATTEMPTS = "tollway_attempts"
TOKENS = "tollway_tokens"
COST = "tollway_cost_usd"
UNPRICED = "tollway_unpriced_attempts"
CALLER_COST = "tollway_caller_cost_usd"
REPORTED = "tollway_reported_costs"
RECORDS = "tollway_records"
SHIPPED = "tollway_shipped_records"
DEAD_LETTERS = "tollway_dead_letters"
CORRUPT_FRAMES = "tollway_corrupt_frames"
REPEATS_REFUSED = "tollway_repeats_refused"
SHADOWS = "tollway_shadows"
UNCOUNTED = "tollway_uncounted_records"
REFUSED = "tollway_requests_refused"
OVERRUNS = "tollway_budget_overruns"
UNCHECKED = "tollway_limits_unchecked"

COUNTERS: dict[str, Family] = {
    family.name: family
    for family in (
        Family(
            name=REQUESTS,
            help="Requests that left a record, by what their caller was answered.",
            labels=("dialect", "status", "outcome"),
        ),
        Family(
            name=ATTEMPTS,
            help="Calls to providers that are over.",
            labels=("provider", "outcome", "kind"),
        ),
        Family(
            name=TOKENS,
            help="Tokens of all attempts, reported or estimated.",
            labels=("provider", "model", "meter"),
        ),
        Family(
            name=COST,
            help="Cost of all attempts in USD, where it is known; a float, for graphs only. "
            "Without what callers pay themselves.",
            labels=("provider", "model"),
        ),
        Family(
            name=UNPRICED,
            help="Attempts whose cost is not known, but for those that callers pay themselves.",
            labels=("provider", "model"),
        ),
        Family(
            name=CALLER_COST,
            help="Cost in USD of attempts with credentials that callers brought along.",
            labels=("provider", "model"),
        ),
        Family(
            name=REPORTED,
            help="Attempts whose cost their provider told, by how that is off our own figure: "
            "within 1 %, above, below, or unknown without a price of ours.",
            labels=("provider", "model", "drift"),
        ),
        Family(name=RECORDS, help="Records written to the spool, late attempts included."),
        Family(name=SHIPPED, help="Records brought to PostgreSQL, again after a failure too."),
        Family(name=DEAD_LETTERS, help="Records that PostgreSQL will never take; set aside."),
        Family(name=CORRUPT_FRAMES, help="Damaged places in spool files."),
        Family(name=REPEATS_REFUSED, help="Repeats and hedges that no budget was left for."),
        Family(
            name=SHADOWS,
            help="Mirrored requests: started, dropped as too many, or unfit for their endpoint.",
            labels=("what",),
        ),
        Family(
            name=REFUSED,
            help="Requests that a budget or a limit of a key refused; those with shadow were let "
            "through.",
            labels=("why",),
        ),
        Family(name=OVERRUNS, help="Attempts that cost more than a budget had reserved for them."),
        Family(name=UNCHECKED, help="Requests whose key's limits could not be looked up in time."),
        Family(name=UNCOUNTED, help="Records that these metrics had no room for."),
    )
}

_FAST_S = (0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 1.0)
_SLOW_S = (0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 120.0, 300.0, 600.0)

DURATION = "tollway_request_duration_seconds"
FIRST_TOKEN = "tollway_time_to_first_token_seconds"  # noqa: S105 - a token of text
ATTEMPT_DURATION = "tollway_attempt_duration_seconds"
OVERHEAD = "tollway_gateway_overhead_seconds"
LOOP_LAG = "tollway_event_loop_lag_seconds"

HISTOGRAMS: dict[str, HistogramFamily] = {
    family.name: family
    for family in (
        HistogramFamily(
            name=DURATION,
            help="From a request's arrival to its record.",
            labels=("mode",),
            bounds=_SLOW_S,
        ),
        HistogramFamily(
            name=FIRST_TOKEN,
            help="From an attempt's start to its first content; streams only.",
            labels=("provider",),
            bounds=_SLOW_S,
        ),
        HistogramFamily(
            name=ATTEMPT_DURATION,
            help="From an attempt's start to its end.",
            labels=("provider",),
            bounds=_SLOW_S,
        ),
        HistogramFamily(
            name=OVERHEAD,
            help="From a request's arrival to the first byte sent upstream.",
            bounds=_FAST_S,
        ),
        HistogramFamily(
            name=LOOP_LAG,
            help="How late the event loop wakes a task that sleeps.",
            bounds=_FAST_S,
        ),
    )
}

IN_FLIGHT = "tollway_requests_in_flight"
SHADOWS_RUNNING = "tollway_shadows_running"
SPOOL_BYTES = "tollway_spool_bytes"
SPOOL_MAX_BYTES = "tollway_spool_max_bytes"
SPOOL_WAITING = "tollway_spool_waiting_bytes"
SPOOL_AGE = "tollway_spool_oldest_unshipped_seconds"
SPOOL_WRITABLE = "tollway_spool_writable"
POSTGRES_UP = "tollway_postgres_up"
SNAPSHOT_AGE = "tollway_snapshot_age_seconds"
BREAKER = "tollway_breaker_state"
RESTING = "tollway_endpoint_resting"
WORKERS = "tollway_workers"
BUDGET_FREE = "tollway_budget_free_usd"
BUDGET_RESERVED = "tollway_budget_reserved_usd"

GAUGES: dict[str, GaugeFamily] = {
    family.name: family
    for family in (
        GaugeFamily(name=IN_FLIGHT, help="Requests that are open."),
        GaugeFamily(name=SHADOWS_RUNNING, help="Mirrored requests under way."),
        GaugeFamily(name=SPOOL_BYTES, help="Disk that the spool takes.", merge="max"),
        GaugeFamily(name=SPOOL_MAX_BYTES, help="Disk that the spool may take.", merge="max"),
        GaugeFamily(name=SPOOL_WAITING, help="Bytes of records not in PostgreSQL yet."),
        GaugeFamily(
            name=SPOOL_AGE, help="Age of the oldest record not in PostgreSQL yet.", merge="max"
        ),
        GaugeFamily(
            name=SPOOL_WRITABLE, help="1 while requests can be recorded, else 0.", merge="min"
        ),
        GaugeFamily(name=POSTGRES_UP, help="1 while records reach PostgreSQL.", merge="min"),
        GaugeFamily(
            name=SNAPSHOT_AGE, help="Since the keys were last confirmed, seconds.", merge="max"
        ),
        GaugeFamily(
            name=BREAKER,
            help="0 closed, 1 half-open, 2 open; endpoints that were asked lately.",
            labels=("endpoint",),
            merge="max",
        ),
        GaugeFamily(
            name=RESTING,
            help="1 while an endpoint rests: a rate limit, another rest, or its credentials.",
            labels=("endpoint", "reason"),
            merge="max",
        ),
        GaugeFamily(
            name=BUDGET_FREE, help="What this node has leased of budgets and not spent, in USD."
        ),
        GaugeFamily(
            name=BUDGET_RESERVED, help="What open requests have reserved of budgets, in USD."
        ),
        GaugeFamily(name=WORKERS, help="Worker processes of this node that tell of themselves."),
    )
}

MERGES: dict[str, Callable[[Iterable[float]], float]] = {"sum": sum, "max": max, "min": min}
