"""Corrections of costs, proposed prices, and what answers would have cost at a baseline."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision: str = "0005"
down_revision: str | None = "0004"
branch_labels: str | None = None
depends_on: str | None = None

REQUEST_COLUMNS = """
    id, day, received_at, key_id, labels, dialect, stream, requested_model, requested_provider,
    used_model, used_provider, used_endpoint, underlying_used_model, status_code, outcome,
    error_kind, is_fallback, ttft_ms, duration_ms, overhead_ms, finish_reason, end_user, session_id,
    warnings, attempts_count, prompt_tokens, completion_tokens, cached_tokens, reasoning_tokens,
    cost_usd, cost_status, rule_version, catalogue_version, code_version, plan, tags,
    baseline_cost_usd
"""
PROPOSAL_COLUMNS = """
    id, created_at, source, source_version, target, effective_from, rates, terms, differences,
    gates, status, decided_at, decided_by, comment, change_id
"""
ADJUSTMENT_COLUMNS = """
    id, request_id, day, number, started_at, kind, key_id, provider, model, endpoint, old_cost_usd,
    new_cost_usd, difference_usd, request_difference_usd, cost_status, price_version, lines,
    recorded_at, recorded_by, reason
"""

# Replacing a view keeps its grants, and allows new columns at its end alone.
REPLACE_REQUEST_VIEW = (
    f"CREATE OR REPLACE VIEW v_request AS SELECT {REQUEST_COLUMNS} FROM request_record"  # noqa: S608
)
CREATE_PROPOSAL_VIEW = (
    f"CREATE VIEW v_price_proposal AS SELECT {PROPOSAL_COLUMNS} FROM price_proposal"  # noqa: S608
)
CREATE_ADJUSTMENT_VIEW = (
    f"CREATE VIEW v_cost_adjustment AS SELECT {ADJUSTMENT_COLUMNS} FROM cost_adjustment"  # noqa: S608
)
GRANT_READER = """
DO $$
BEGIN
    IF EXISTS (SELECT FROM pg_roles WHERE rolname = 'tollway_reader') THEN
        GRANT SELECT ON v_request, v_price_proposal, v_cost_adjustment TO tollway_reader;
    END IF;
END
$$
"""


def _is_money(*columns: str) -> str:
    return " AND ".join(f"{column} >= 0 AND {column} < 'NaN'::numeric" for column in columns)


def upgrade() -> None:
    op.add_column("request_record", sa.Column("baseline_cost_usd", sa.Numeric(24, 12)))
    op.create_check_constraint(
        op.f("ck_request_record_baseline_is_money"),
        "request_record",
        _is_money("baseline_cost_usd"),
    )
    op.execute(REPLACE_REQUEST_VIEW)
    _create_proposals()
    _create_adjustments()
    op.execute(CREATE_PROPOSAL_VIEW)
    op.execute(CREATE_ADJUSTMENT_VIEW)
    op.execute(GRANT_READER)


def _create_proposals() -> None:
    op.create_table(
        "price_proposal",
        sa.Column("id", sa.BigInteger, sa.Identity(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("source", sa.Text, nullable=False),
        sa.Column("source_version", sa.Text, nullable=False),
        sa.Column("target", sa.Text, nullable=False),
        sa.Column("effective_from", sa.DateTime(timezone=True)),
        sa.Column("rates", postgresql.JSONB, nullable=False),
        sa.Column("terms", postgresql.JSONB),
        sa.Column("differences", postgresql.JSONB, nullable=False),
        sa.Column("gates", postgresql.ARRAY(sa.Text), nullable=False),
        sa.Column("status", sa.Text, nullable=False),
        sa.Column("decided_at", sa.DateTime(timezone=True)),
        sa.Column("decided_by", sa.Text),
        sa.Column("comment", sa.Text),
        sa.Column("change_id", sa.BigInteger),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_price_proposal")),
        sa.CheckConstraint(
            "status IN ('open', 'accepted', 'refused', 'superseded')",
            name=op.f("ck_price_proposal_status_is_known"),
        ),
    )
    op.create_index(
        "uq_price_proposal_open",
        "price_proposal",
        ["source", "target"],
        unique=True,
        postgresql_where=sa.text("status = 'open'"),
    )


def _create_adjustments() -> None:
    op.create_table(
        "cost_adjustment",
        sa.Column("id", sa.BigInteger, sa.Identity(), nullable=False),
        sa.Column("request_id", sa.Uuid, nullable=False),
        sa.Column("day", sa.Date, nullable=False),
        sa.Column("number", sa.SmallInteger, nullable=False),
        sa.Column("started_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("kind", sa.Text, nullable=False),
        sa.Column("key_id", sa.Uuid, nullable=False),
        sa.Column("provider", sa.Text, nullable=False),
        sa.Column("model", sa.Text, nullable=False),
        sa.Column("endpoint", sa.Text, nullable=False),
        sa.Column("old_cost_usd", sa.Numeric(24, 12)),
        sa.Column("new_cost_usd", sa.Numeric(24, 12), nullable=False),
        sa.Column("difference_usd", sa.Numeric(24, 12), nullable=False),
        sa.Column("request_difference_usd", sa.Numeric(24, 12)),
        sa.Column("cost_status", sa.Text, nullable=False),
        sa.Column("price_version", sa.Text),
        sa.Column("lines", postgresql.JSONB, nullable=False),
        sa.Column("recorded_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("recorded_by", sa.Text, nullable=False),
        sa.Column("reason", sa.Text, nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_cost_adjustment")),
        sa.CheckConstraint(
            _is_money("old_cost_usd", "new_cost_usd"),
            name=op.f("ck_cost_adjustment_costs_are_money"),
        ),
    )
    op.create_index(
        "ix_cost_adjustment_request_id_day_number",
        "cost_adjustment",
        ["request_id", "day", "number"],
    )
    op.create_index("ix_cost_adjustment_key_id_day", "cost_adjustment", ["key_id", "day"])
