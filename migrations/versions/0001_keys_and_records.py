"""Keys, partitioned request and attempt records, their upkeep, and the role that only reads."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql
from sqlalchemy.schema import CreateView

revision: str = "0001"
down_revision: str | None = None
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

REQUEST_COLUMNS = """
    id, day, received_at, key_id, labels, dialect, stream, requested_model, requested_provider,
    used_model, used_provider, used_endpoint, underlying_used_model, status_code, outcome,
    error_kind, is_fallback, ttft_ms, duration_ms, overhead_ms, finish_reason, end_user, session_id,
    warnings, attempts_count, prompt_tokens, completion_tokens, cached_tokens, reasoning_tokens,
    cost_usd, cost_status, rule_version, catalogue_version, code_version, plan
"""
ATTEMPT_COLUMNS = f"""
    request_id, day, number, started_at, key_id, labels, kind, provider, model, endpoint,
    provider_model, outcome, status_code, error_code, error_message, upstream_id, ttft_ms,
    duration_ms, retry_after_ms, finish_reason, native_finish_reason, service_tier, usage_source,
    {", ".join(METERS)},
    cost_usd, cost_status, cost_source, price_version, computed_cost_usd,
    {", ".join(COST_LINES)}
"""
KEY_COLUMNS = """
    id, kid, last4, name, labels, allowed_models, allowed_providers, default_model,
    slash_pins_provider, has_hard_budget, created_at, created_by, expires_at, revoked_at
"""
WATERMARK_COLUMNS = """
    worker, updated_at, segment, last_record_at, oldest_unshipped_at, backlog_bytes
"""
VIEWS = (
    ("v_request", "request_record", REQUEST_COLUMNS),
    ("v_attempt", "attempt_record", ATTEMPT_COLUMNS),
    ("v_api_key", "api_key", KEY_COLUMNS),
    ("v_ship_watermark", "ship_watermark", WATERMARK_COLUMNS),
)

# The role belongs to the whole server: another database may make it at the same moment. Where this
# role may not make roles, the dashboard's start says what to do about it.
CREATE_READER = """
DO $$
BEGIN
    IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = 'tollway_reader') THEN
        CREATE ROLE tollway_reader NOLOGIN;
    END IF;
EXCEPTION
    WHEN duplicate_object OR unique_violation THEN
        NULL;
    WHEN insufficient_privilege THEN
        RAISE WARNING 'role tollway_reader could not be created: %', SQLERRM;
END
$$
"""
GRANT_READER = """
DO $$
BEGIN
    IF EXISTS (SELECT FROM pg_roles WHERE rolname = 'tollway_reader') THEN
        EXECUTE format('GRANT USAGE ON SCHEMA %I TO tollway_reader', current_schema());
        GRANT SELECT ON v_request, v_attempt, v_api_key, v_ship_watermark TO tollway_reader;
    END IF;
END
$$
"""


def usd(name: str) -> sa.Column[object]:
    return sa.Column(name, sa.Numeric(24, 12))


def instant(name: str, *, nullable: bool = False) -> sa.Column[object]:
    return sa.Column(name, sa.DateTime(timezone=True), nullable=nullable)


def is_money(*columns: str) -> str:
    return " AND ".join(f"{column} >= 0 AND {column} < 'NaN'::numeric" for column in columns)


def upgrade() -> None:
    create_keys()
    create_request_records()
    create_attempt_records()
    create_upkeep()
    for name, source, columns in VIEWS:
        listed = (sa.column(column.strip(), sa.types.NullType()) for column in columns.split(","))
        op.execute(CreateView(sa.select(*listed).select_from(sa.table(source)), name))
    op.execute(CREATE_READER)
    op.execute(GRANT_READER)


def create_keys() -> None:
    op.create_table(
        "api_key",
        sa.Column("id", sa.Uuid, nullable=False),
        sa.Column("kid", sa.Text, nullable=False),
        sa.Column("digest", sa.LargeBinary, nullable=False),
        sa.Column("pepper_version", sa.Integer, nullable=False),
        sa.Column("last4", sa.Text, nullable=False),
        sa.Column("name", sa.Text, nullable=False),
        sa.Column("labels", postgresql.JSONB, nullable=False),
        sa.Column("allowed_models", postgresql.ARRAY(sa.Text), nullable=False),
        sa.Column("allowed_providers", postgresql.ARRAY(sa.Text), nullable=False),
        sa.Column("default_model", sa.Text),
        sa.Column("slash_pins_provider", sa.Boolean),
        sa.Column("has_hard_budget", sa.Boolean, nullable=False),
        instant("created_at"),
        sa.Column("created_by", sa.Text, nullable=False),
        instant("expires_at", nullable=True),
        instant("revoked_at", nullable=True),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_api_key")),
        sa.UniqueConstraint("kid", name=op.f("uq_api_key_kid")),
        sa.CheckConstraint("octet_length(digest) = 32", name=op.f("ck_api_key_digest_is_sha256")),
    )


def create_request_records() -> None:
    op.create_table(
        "request_record",
        sa.Column("id", sa.Uuid, nullable=False),
        sa.Column("day", sa.Date, nullable=False),
        instant("received_at"),
        sa.Column("key_id", sa.Uuid, nullable=False),
        sa.Column("labels", postgresql.JSONB, nullable=False),
        sa.Column("dialect", sa.Text, nullable=False),
        sa.Column("stream", sa.Boolean, nullable=False),
        sa.Column("requested_model", sa.Text, nullable=False),
        sa.Column("requested_provider", sa.Text),
        sa.Column("used_model", sa.Text),
        sa.Column("used_provider", sa.Text),
        sa.Column("used_endpoint", sa.Text),
        sa.Column("underlying_used_model", sa.Text),
        sa.Column("status_code", sa.Integer, nullable=False),
        sa.Column("outcome", sa.Text, nullable=False),
        sa.Column("error_kind", sa.Text),
        sa.Column("is_fallback", sa.Boolean, nullable=False),
        sa.Column("ttft_ms", sa.Double),
        sa.Column("duration_ms", sa.Double, nullable=False),
        sa.Column("overhead_ms", sa.Double),
        sa.Column("finish_reason", sa.Text),
        sa.Column("end_user", sa.Text),
        sa.Column("session_id", sa.Text),
        sa.Column("warnings", postgresql.ARRAY(sa.Text), nullable=False),
        sa.Column("attempts_count", sa.Integer, nullable=False),
        sa.Column("prompt_tokens", sa.BigInteger),
        sa.Column("completion_tokens", sa.BigInteger),
        sa.Column("cached_tokens", sa.BigInteger),
        sa.Column("reasoning_tokens", sa.BigInteger),
        usd("cost_usd"),
        sa.Column("cost_status", sa.Text, nullable=False),
        sa.Column("rule_version", sa.Text),
        sa.Column("catalogue_version", sa.Text, nullable=False),
        sa.Column("code_version", sa.Text, nullable=False),
        sa.Column("plan", postgresql.JSONB, nullable=False),
        sa.PrimaryKeyConstraint("id", "day", name=op.f("pk_request_record")),
        sa.CheckConstraint(is_money("cost_usd"), name=op.f("ck_request_record_cost_is_money")),
        postgresql_partition_by="RANGE (day)",
    )
    op.create_index(
        op.f("ix_request_record_received_at"),
        "request_record",
        ["received_at"],
        postgresql_using="brin",
    )
    op.create_index(
        op.f("ix_request_record_key_id_received_at"), "request_record", ["key_id", "received_at"]
    )
    op.create_index(
        op.f("ix_request_record_session_id_received_at"),
        "request_record",
        ["session_id", "received_at"],
        postgresql_where=sa.text("session_id IS NOT NULL"),
    )


def create_attempt_records() -> None:
    op.create_table(
        "attempt_record",
        sa.Column("request_id", sa.Uuid, nullable=False),
        sa.Column("day", sa.Date, nullable=False),
        sa.Column("number", sa.SmallInteger, nullable=False),
        instant("started_at"),
        sa.Column("key_id", sa.Uuid, nullable=False),
        sa.Column("labels", postgresql.JSONB, nullable=False),
        sa.Column("kind", sa.Text, nullable=False),
        sa.Column("provider", sa.Text, nullable=False),
        sa.Column("model", sa.Text, nullable=False),
        sa.Column("endpoint", sa.Text, nullable=False),
        sa.Column("provider_model", sa.Text, nullable=False),
        sa.Column("outcome", sa.Text, nullable=False),
        sa.Column("status_code", sa.Integer, nullable=False),
        sa.Column("error_code", sa.Text),
        sa.Column("error_message", sa.Text),
        sa.Column("upstream_id", sa.Text),
        sa.Column("ttft_ms", sa.Double),
        sa.Column("duration_ms", sa.Double, nullable=False),
        sa.Column("retry_after_ms", sa.Double),
        sa.Column("finish_reason", sa.Text),
        sa.Column("native_finish_reason", sa.Text),
        sa.Column("service_tier", sa.Text),
        sa.Column("usage_source", sa.Text),
        *(sa.Column(meter, sa.BigInteger) for meter in METERS),
        usd("cost_usd"),
        sa.Column("cost_status", sa.Text, nullable=False),
        sa.Column("cost_source", sa.Text, nullable=False),
        sa.Column("price_version", sa.Text),
        usd("computed_cost_usd"),
        *(usd(column) for column in COST_LINES),
        sa.PrimaryKeyConstraint("request_id", "day", "number", name=op.f("pk_attempt_record")),
        sa.CheckConstraint(
            is_money("cost_usd", "computed_cost_usd", *COST_LINES),
            name=op.f("ck_attempt_record_costs_are_money"),
        ),
        postgresql_partition_by="RANGE (day)",
    )
    op.create_index(
        op.f("ix_attempt_record_started_at"),
        "attempt_record",
        ["started_at"],
        postgresql_using="brin",
    )


def create_upkeep() -> None:
    op.create_table(
        "config_epoch",
        sa.Column("name", sa.Text, nullable=False),
        sa.Column("epoch", sa.BigInteger, nullable=False),
        instant("changed_at"),
        sa.PrimaryKeyConstraint("name", name=op.f("pk_config_epoch")),
    )
    op.create_table(
        "ship_watermark",
        sa.Column("worker", sa.Text, nullable=False),
        instant("updated_at"),
        sa.Column("segment", sa.Text),
        instant("last_record_at", nullable=True),
        instant("oldest_unshipped_at", nullable=True),
        sa.Column("backlog_bytes", sa.BigInteger, nullable=False),
        sa.PrimaryKeyConstraint("worker", name=op.f("pk_ship_watermark")),
    )
    op.create_table(
        "ingest_error",
        sa.Column("id", sa.BigInteger, sa.Identity(), nullable=False),
        instant("seen_at"),
        sa.Column("segment", sa.Text, nullable=False),
        sa.Column("frame_offset", sa.BigInteger, nullable=False),
        sa.Column("record_id", sa.Uuid),
        sa.Column("sqlstate", sa.Text),
        sa.Column("reason", sa.Text, nullable=False),
        sa.Column("frame", sa.LargeBinary),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_ingest_error")),
        sa.UniqueConstraint(
            "segment", "frame_offset", name=op.f("uq_ingest_error_segment_frame_offset")
        ),
        sa.CheckConstraint(
            "octet_length(frame) <= 1049600", name=op.f("ck_ingest_error_frame_is_bounded")
        ),
    )
    op.create_table(
        "audit_entry",
        sa.Column("id", sa.BigInteger, sa.Identity(), nullable=False),
        instant("at"),
        sa.Column("actor", sa.Text, nullable=False),
        sa.Column("action", sa.Text, nullable=False),
        sa.Column("subject", sa.Text, nullable=False),
        sa.Column("before", postgresql.JSONB),
        sa.Column("after", postgresql.JSONB),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_audit_entry")),
    )
