"""What the frames of `dashboard.source` look like, even when they are empty. Pure."""

import polars as pl

from gateway.storage.rollup_tables import TOKEN_GROUPS
from gateway.storage.tables import COST_COLUMNS, USD_SCALE
from pricing.usage import METERS

Schema = dict[str, pl.DataType]

UTC_INSTANT = pl.Datetime("us", "UTC")
WALL_CLOCK = pl.Datetime("us")
USD = pl.Decimal(38, USD_SCALE)

TRAFFIC: Schema = {
    "bucket": WALL_CLOCK,
    "requests": pl.Int64(),
    "tried": pl.Int64(),
    "judged": pl.Int64(),
    "succeeded": pl.Int64(),
    "fell_back": pl.Int64(),
    "rescued": pl.Int64(),
    "tokens": pl.Int64(),
    "prompt_tokens": pl.Int64(),
    "cached_tokens": pl.Int64(),
    "caller_requests": pl.Int64(),
    "baselined": pl.Int64(),
    "baseline_usd": USD,
    "baselined_cost_usd": USD,
    "p50_ms": pl.Float64(),
    "p95_ms": pl.Float64(),
    "ttft_p95_ms": pl.Float64(),
}
"""Requests by bucket on the wall clock; the row whose bucket is null is the whole period.

``baseline_usd`` is what ``baselined`` requests would have cost, ``baselined_cost_usd`` what they
did cost. Of ``caller_requests`` the callers pay what they cost.
"""

PROVIDERS: Schema = {
    "bucket": WALL_CLOCK,
    "provider": pl.String(),
    "attempts": pl.Int64(),
    "judged": pl.Int64(),
    "succeeded": pl.Int64(),
    "cost_usd": USD,
    "billable": pl.Int64(),
    "unpriced": pl.Int64(),
    "first_tried": pl.Int64(),
    "served_elsewhere": pl.Int64(),
    "p50_ms": pl.Float64(),
    "p95_ms": pl.Float64(),
}
"""Attempts by provider and bucket; rows whose bucket is null are the whole period, and have
percentiles. ``cost_usd`` is the sum of what is known; when nothing is, ``unpriced`` says so.
"""

ATTEMPT_SUMS: Schema = {
    "attempts": pl.Int64(),
    "billable": pl.Int64(),
    "unpriced": pl.Int64(),
    "first_tried": pl.Int64(),
    "served_elsewhere": pl.Int64(),
    "rescued": pl.Int64(),
    **{f"{group}_tokens": pl.Int64() for group in TOKEN_GROUPS},
    "cost_usd": USD,
    **{f"cost_{group}_usd": USD for group in TOKEN_GROUPS},
    "cost_other_usd": USD,
}
"""Sums over attempts; ``cost_usd`` is of what is known, ``unpriced`` is missing from it."""

FALLBACKS: Schema = {
    "from_provider": pl.String(),
    "to_provider": pl.String(),
    "reason": pl.String(),
    "attempts": pl.Int64(),
    "requests": pl.Int64(),
    "rescued": pl.Int64(),
    "added_us": pl.Int64(),
    "added_usd": USD,
    "unpriced": pl.Int64(),
}

HISTOGRAM: Schema = {
    "bucket": pl.Int64(),
    "samples": pl.Int64(),
}
"""Of `gateway.storage.rollup_tables`; further columns say of what."""

DIMENSIONS: Schema = {"kind": pl.String(), "value": pl.String()}
"""What may be chosen: ``kind`` is provider, model, key, label or rule."""

PROVIDERS_SEEN: Schema = {"provider": pl.String()}

FRESHNESS: Schema = {
    "worker": pl.String(),
    "updated_at": UTC_INSTANT,
    "last_record_at": UTC_INSTANT,
    "oldest_unshipped_at": UTC_INSTANT,
    "backlog_bytes": pl.Int64(),
    "backlog_records": pl.Int64(),
}

DEAD_LETTERS: Schema = {"dead_letters": pl.Int64()}

REQUESTS: Schema = {
    "id": pl.String(),
    "received_at": UTC_INSTANT,
    "requested_model": pl.String(),
    "used_model": pl.String(),
    "used_provider": pl.String(),
    "outcome": pl.String(),
    "error_kind": pl.String(),
    "status_code": pl.Int64(),
    "is_fallback": pl.Boolean(),
    "cost_usd": USD,
    "cost_status": pl.String(),
    "duration_ms": pl.Float64(),
    "ttft_ms": pl.Float64(),
    "prompt_tokens": pl.Int64(),
    "completion_tokens": pl.Int64(),
    "key_name": pl.String(),
    "labels": pl.String(),
}

REQUEST: Schema = REQUESTS | {
    "dialect": pl.String(),
    "stream": pl.Boolean(),
    "requested_provider": pl.String(),
    "used_endpoint": pl.String(),
    "underlying_used_model": pl.String(),
    "overhead_ms": pl.Float64(),
    "finish_reason": pl.String(),
    "end_user": pl.String(),
    "session_id": pl.String(),
    "warnings": pl.List(pl.String()),
    "cached_tokens": pl.Int64(),
    "reasoning_tokens": pl.Int64(),
    "rule_version": pl.String(),
    "catalogue_version": pl.String(),
    "code_version": pl.String(),
    "plan": pl.String(),
    "tags": pl.String(),
    "is_paid_by_caller": pl.Boolean(),
    "baseline_cost_usd": USD,
}

ADJUSTMENTS: Schema = {
    "request_id": pl.String(),
    "number": pl.Int64(),
    "old_cost_usd": USD,
    "new_cost_usd": USD,
    "difference_usd": USD,
    "request_difference_usd": USD,
    "cost_status": pl.String(),
    "price_version": pl.String(),
    "recorded_at": UTC_INSTANT,
    "recorded_by": pl.String(),
    "reason": pl.String(),
}
"""Corrections of recorded costs. ``difference_usd`` is what one adds to its attempt's cost,
``request_difference_usd`` to its request's; null while that one stays unknown.
"""

ATTEMPTS: Schema = {
    "request_id": pl.String(),
    "number": pl.Int64(),
    "started_at": UTC_INSTANT,
    "kind": pl.String(),
    "provider": pl.String(),
    "model": pl.String(),
    "endpoint": pl.String(),
    "outcome": pl.String(),
    "status_code": pl.Int64(),
    "error_code": pl.String(),
    "error_message": pl.String(),
    "ttft_ms": pl.Float64(),
    "duration_ms": pl.Float64(),
    "retry_after_ms": pl.Float64(),
    "finish_reason": pl.String(),
    "service_tier": pl.String(),
    "served_region": pl.String(),
    "usage_source": pl.String(),
    "cost_usd": USD,
    "cost_status": pl.String(),
    "cost_source": pl.String(),
    "price_version": pl.String(),
    "computed_cost_usd": USD,
    **dict.fromkeys(METERS, pl.Int64()),
    **dict.fromkeys(COST_COLUMNS, USD),
}
