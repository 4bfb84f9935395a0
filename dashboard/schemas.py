"""What the frames of `dashboard.source` look like, even when they are empty. Pure."""

import polars as pl

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
    "p50_ms": pl.Float64(),
    "p95_ms": pl.Float64(),
    "ttft_p95_ms": pl.Float64(),
}
"""Requests by bucket on the wall clock; the row whose bucket is null is the whole period."""

PROVIDERS: Schema = {
    "bucket": WALL_CLOCK,
    "provider": pl.String(),
    "attempts": pl.Int64(),
    "judged": pl.Int64(),
    "succeeded": pl.Int64(),
    "cost_usd": USD,
    "billable": pl.Int64(),
    "unpriced": pl.Int64(),
    "p50_ms": pl.Float64(),
    "p95_ms": pl.Float64(),
}
"""Attempts by provider and bucket; rows whose bucket is null are the whole period.

``cost_usd`` is the sum of what is known, null when nothing is.
"""

FIRST_TRIES: Schema = {
    "provider": pl.String(),
    "first_tried": pl.Int64(),
    "served_elsewhere": pl.Int64(),
}

FRESHNESS: Schema = {
    "worker": pl.String(),
    "updated_at": UTC_INSTANT,
    "last_record_at": UTC_INSTANT,
    "oldest_unshipped_at": UTC_INSTANT,
    "backlog_bytes": pl.Int64(),
}

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
}

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
    "usage_source": pl.String(),
    "cost_usd": USD,
    "cost_status": pl.String(),
    "cost_source": pl.String(),
    "price_version": pl.String(),
    "computed_cost_usd": USD,
    **dict.fromkeys(METERS, pl.Int64()),
    **dict.fromkeys(COST_COLUMNS, USD),
}
