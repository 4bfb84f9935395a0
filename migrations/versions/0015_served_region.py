"""Where an attempt was processed, as its answer told: prices may depend on it."""

import sqlalchemy as sa
from alembic import op

revision: str = "0015"
down_revision: str | None = "0014"
branch_labels: str | None = None
depends_on: str | None = None

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

# Replacing a view keeps its grants, and allows new columns at its end alone.
ATTEMPT_COLUMNS = f"""
    request_id, day, number, started_at, key_id, labels, kind, provider, model, endpoint,
    provider_model, outcome, status_code, error_code, error_message, upstream_id, ttft_ms,
    duration_ms, retry_after_ms, finish_reason, native_finish_reason, service_tier, usage_source,
    {", ".join(METERS)},
    cost_usd, cost_status, cost_source, price_version, computed_cost_usd,
    {", ".join(COST_LINES)}, is_paid_by_caller, served_region
"""


def upgrade() -> None:
    op.add_column("attempt_record", sa.Column("served_region", sa.Text))
    op.execute(f"CREATE OR REPLACE VIEW v_attempt AS SELECT {ATTEMPT_COLUMNS} FROM attempt_record")  # noqa: S608
