"""Corrections and callers' own costs in the sums, and whose spending a record is."""

from typing import Any

import sqlalchemy as sa
from alembic import op

revision: str = "0011"
down_revision: str | None = "0010"
branch_labels: str | None = None
depends_on: str | None = None

AT, USD = sa.DateTime(timezone=True), sa.Numeric(24, 12)
METERS = (
    "input_tokens",
    "cache_read_tokens",
    "cache_write_tokens",
    "cache_write_1h_tokens",
    "output_tokens",
    "reasoning_tokens",
    "audio_input_tokens",
    "audio_cache_read_tokens",
    "audio_output_tokens",
    "image_input_tokens",
    "image_output_tokens",
    "video_input_tokens",
    "citation_tokens",
    "requests",
    "web_searches",
    "images",
)
COST_LINES = tuple(f"cost_{meter.removesuffix('_tokens')}_usd" for meter in METERS)
GROUPS = ("input", "cache_read", "cache_write", "output", "reasoning")
ENDPOINT = ("provider", "model", "endpoint")

# Replacing a view keeps its grants, and allows new columns at its end alone.
REQUEST_COLUMNS = """
    id, day, received_at, key_id, labels, dialect, stream, requested_model, requested_provider,
    used_model, used_provider, used_endpoint, underlying_used_model, status_code, outcome,
    error_kind, is_fallback, ttft_ms, duration_ms, overhead_ms, finish_reason, end_user, session_id,
    warnings, attempts_count, prompt_tokens, completion_tokens, cached_tokens, reasoning_tokens,
    cost_usd, cost_status, rule_version, catalogue_version, code_version, plan, tags,
    baseline_cost_usd, is_paid_by_caller
"""
ATTEMPT_COLUMNS = f"""
    request_id, day, number, started_at, key_id, labels, kind, provider, model, endpoint,
    provider_model, outcome, status_code, error_code, error_message, upstream_id, ttft_ms,
    duration_ms, retry_after_ms, finish_reason, native_finish_reason, service_tier, usage_source,
    {", ".join(METERS)},
    cost_usd, cost_status, cost_source, price_version, computed_cost_usd,
    {", ".join(COST_LINES)}, is_paid_by_caller
"""
SUM_COLUMNS = {
    "usage_request": (
        "at",
        *ENDPOINT,
        "outcome",
        "is_fallback",
        "rule_version",
        "key_id",
        "label_set",
        "requests",
        "tried",
        "attempts",
        "prompt_tokens",
        "completion_tokens",
        "cached_tokens",
        "reasoning_tokens",
        "cost_usd",
        "unpriced",
        "baselined",
        "baseline_usd",
        "baselined_cost_usd",
    ),
    "usage_attempt": (
        "at",
        *ENDPOINT,
        "outcome",
        "kind",
        "key_id",
        "label_set",
        "attempts",
        "billable",
        "unpriced",
        "first_tries",
        "served_elsewhere",
        "rescued",
        *(f"{group}_tokens" for group in GROUPS),
        "cost_usd",
        *(f"cost_{group}_usd" for group in GROUPS),
        "cost_other_usd",
    ),
}
NEW_SUMS: dict[str, dict[str, sa.types.TypeEngine[Any]]] = {
    "usage_request": {"adjustment_usd": USD, "caller_usd": USD},
    "usage_attempt": {"requests": sa.BigInteger(), "adjustment_usd": USD, "caller_usd": USD},
}
GRAINS = ("minute", "quarter_hour")


def upgrade() -> None:
    for table in ("request_record", "attempt_record"):
        op.add_column(
            table,
            sa.Column(
                "is_paid_by_caller", sa.Boolean, nullable=False, server_default=sa.text("false")
            ),
        )
    op.execute(f"CREATE OR REPLACE VIEW v_request AS SELECT {REQUEST_COLUMNS} FROM request_record")  # noqa: S608
    op.execute(f"CREATE OR REPLACE VIEW v_attempt AS SELECT {ATTEMPT_COLUMNS} FROM attempt_record")  # noqa: S608
    for name, sums in NEW_SUMS.items():
        for grain in GRAINS:
            add_sums(f"{name}_{grain}", sums)
        op.create_index(
            op.f(f"ix_{name}_quarter_hour_key_id_at"), f"{name}_quarter_hour", ["key_id", "at"]
        )
        columns = (*SUM_COLUMNS[name], *sums)
        op.execute(
            f"CREATE OR REPLACE VIEW v_{name}_minute AS "  # noqa: S608 - all of it is ours
            f"SELECT {', '.join(columns)} FROM {name}_minute"
        )
        op.execute(joined_view(name, columns))
    op.drop_index(op.f("ix_cost_adjustment_request_id_day_number"), "cost_adjustment")
    op.create_index(
        op.f("ix_cost_adjustment_day_request_id_number"),
        "cost_adjustment",
        ["day", "request_id", "number"],
    )


def add_sums(table: str, sums: dict[str, sa.types.TypeEngine[object]]) -> None:
    """Costs that were corrected before, and repeats, are right after `tollway rollups rebuild`."""
    for column, kind in sums.items():
        op.add_column(table, sa.Column(column, kind, nullable=False, server_default=sa.text("0")))
    if "requests" in sums:
        op.execute(f"UPDATE {table} SET requests = attempts WHERE kind <> 'shadow'")  # noqa: S608
    for column in sums:
        op.alter_column(table, column, server_default=None)


def joined_view(name: str, columns: tuple[str, ...]) -> str:
    """The quarters, but for those whose minutes have changed since: these come as minutes."""
    listed = ", ".join(columns)
    replaced = "SELECT at FROM rollup_pending WHERE NOT is_addition"
    changed = "SELECT at FROM rollup_pending"
    quarter = "date_bin('15 minutes', at, '2000-01-01 00:00:00+00')"
    return (
        f"CREATE OR REPLACE VIEW v_{name} AS "  # noqa: S608 - all of it is ours
        f"SELECT {listed} FROM {name}_quarter_hour WHERE at NOT IN ({replaced}) "
        f"UNION ALL SELECT {listed} FROM {name}_minute WHERE {quarter} IN ({changed}) "
        "AND at >= (SELECT min(at) FROM rollup_pending)"
    )
