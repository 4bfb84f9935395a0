"""Versions of the operator's rules, and what a request's own ``metadata`` said."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision: str = "0002"
down_revision: str | None = "0001"
branch_labels: str | None = None
depends_on: str | None = None

REQUEST_COLUMNS = """
    id, day, received_at, key_id, labels, dialect, stream, requested_model, requested_provider,
    used_model, used_provider, used_endpoint, underlying_used_model, status_code, outcome,
    error_kind, is_fallback, ttft_ms, duration_ms, overhead_ms, finish_reason, end_user, session_id,
    warnings, attempts_count, prompt_tokens, completion_tokens, cached_tokens, reasoning_tokens,
    cost_usd, cost_status, rule_version, catalogue_version, code_version, plan, tags
"""
RULE_SET_COLUMNS = """
    number, version, sha256, source, comment, created_at, created_by, is_active, activated_at
"""

# Replacing a view keeps its grants, and allows new columns at its end alone.
REPLACE_REQUEST_VIEW = (
    f"CREATE OR REPLACE VIEW v_request AS SELECT {REQUEST_COLUMNS} FROM request_record"  # noqa: S608
)
CREATE_RULE_VIEW = f"CREATE VIEW v_rule_set AS SELECT {RULE_SET_COLUMNS} FROM rule_set"  # noqa: S608
GRANT_READER = """
DO $$
BEGIN
    IF EXISTS (SELECT FROM pg_roles WHERE rolname = 'tollway_reader') THEN
        GRANT SELECT ON v_request, v_rule_set TO tollway_reader;
    END IF;
END
$$
"""


def upgrade() -> None:
    op.create_table(
        "rule_set",
        sa.Column("number", sa.BigInteger, sa.Identity(), nullable=False),
        sa.Column("version", sa.Text, nullable=False),
        sa.Column("sha256", sa.LargeBinary, nullable=False),
        sa.Column("source", sa.Text, nullable=False),
        sa.Column("comment", sa.Text),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("created_by", sa.Text, nullable=False),
        sa.Column("is_active", sa.Boolean, nullable=False),
        sa.Column("activated_at", sa.DateTime(timezone=True)),
        sa.PrimaryKeyConstraint("number", name=op.f("pk_rule_set")),
        sa.CheckConstraint("octet_length(sha256) = 32", name=op.f("ck_rule_set_digest_is_sha256")),
        sa.CheckConstraint(
            "octet_length(source) <= 1048576", name=op.f("ck_rule_set_source_is_bounded")
        ),
    )
    op.create_index(
        "uq_rule_set_active",
        "rule_set",
        ["is_active"],
        unique=True,
        postgresql_where=sa.text("is_active"),
    )
    # A constant default fills old rows without rewriting them; new rows always bring their own.
    op.add_column(
        "request_record",
        sa.Column("tags", postgresql.JSONB, nullable=False, server_default=sa.text("'{}'::jsonb")),
    )
    op.execute(REPLACE_REQUEST_VIEW)
    op.execute(CREATE_RULE_VIEW)
    op.execute(GRANT_READER)
