"""Budgets with their windows and leases, limits of keys, and notices for operators."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision: str = "0004"
down_revision: str | None = "0003"
branch_labels: str | None = None
depends_on: str | None = None

KEY_COLUMNS = """
    id, kid, last4, name, labels, allowed_models, allowed_providers, default_model,
    slash_pins_provider, has_hard_budget, created_at, created_by, expires_at, revoked_at,
    requests_per_minute, tokens_per_minute, concurrency
"""
VIEWS = {
    "budget": """
        id, name, key_id, labels, period, limit_nusd, mode, is_strict, created_at, created_by,
        deleted_at
    """,
    "budget_period": "budget_id, since, spent_nusd, told_percent, wanted_at",
    "budget_lease": """
        budget_id, since, worker, granted_nusd, shipped_nusd, granted_at, expires_at
    """,
}
GRANT_READER = """
DO $$
BEGIN
    IF EXISTS (SELECT FROM pg_roles WHERE rolname = 'tollway_reader') THEN
        GRANT SELECT ON v_budget, v_budget_period, v_budget_lease TO tollway_reader;
    END IF;
END
$$
"""


def upgrade() -> None:
    instant = sa.DateTime(timezone=True)
    for column in ("requests_per_minute", "tokens_per_minute", "concurrency"):
        op.add_column("api_key", sa.Column(column, sa.Integer))
    op.execute(f"CREATE OR REPLACE VIEW v_api_key AS SELECT {KEY_COLUMNS} FROM api_key")  # noqa: S608
    op.create_table(
        "budget",
        sa.Column("id", sa.Uuid, nullable=False),
        sa.Column("name", sa.Text, nullable=False),
        sa.Column("key_id", sa.Uuid),
        sa.Column("labels", postgresql.JSONB, nullable=False),
        sa.Column("period", sa.Text, nullable=False),
        sa.Column("limit_nusd", sa.BigInteger, nullable=False),
        sa.Column("mode", sa.Text, nullable=False),
        sa.Column("is_strict", sa.Boolean, nullable=False),
        sa.Column("created_at", instant, nullable=False),
        sa.Column("created_by", sa.Text, nullable=False),
        sa.Column("deleted_at", instant),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_budget")),
        sa.CheckConstraint("limit_nusd >= 0", name=op.f("ck_budget_limit_is_money")),
    )
    op.create_index(
        "uq_budget_name",
        "budget",
        ["name"],
        unique=True,
        postgresql_where=sa.text("deleted_at IS NULL"),
    )
    op.create_table(
        "budget_period",
        sa.Column("budget_id", sa.Uuid, nullable=False),
        sa.Column("since", instant, nullable=False),
        sa.Column("spent_nusd", sa.BigInteger, nullable=False, server_default=sa.text("0")),
        sa.Column("told_percent", sa.SmallInteger, nullable=False, server_default=sa.text("0")),
        sa.Column("wanted_at", instant),
        sa.PrimaryKeyConstraint("budget_id", "since", name=op.f("pk_budget_period")),
    )
    op.create_table(
        "budget_lease",
        sa.Column("budget_id", sa.Uuid, nullable=False),
        sa.Column("since", instant, nullable=False),
        sa.Column("worker", sa.Text, nullable=False),
        sa.Column("granted_nusd", sa.BigInteger, nullable=False),
        sa.Column("shipped_nusd", sa.BigInteger, nullable=False, server_default=sa.text("0")),
        sa.Column("granted_at", instant, nullable=False),
        sa.Column("expires_at", instant, nullable=False),
        sa.PrimaryKeyConstraint("budget_id", "since", "worker", name=op.f("pk_budget_lease")),
    )
    op.create_index("ix_budget_lease_worker", "budget_lease", ["worker"])
    op.create_table(
        "notice",
        sa.Column("id", sa.BigInteger, sa.Identity(), nullable=False),
        sa.Column("at", instant, nullable=False),
        sa.Column("kind", sa.Text, nullable=False),
        sa.Column("subject", sa.Text, nullable=False),
        sa.Column("details", postgresql.JSONB, nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_notice")),
    )
    for table, columns in VIEWS.items():
        op.execute(f"CREATE VIEW v_{table} AS SELECT {columns} FROM {table}")  # noqa: S608
    op.execute(GRANT_READER)
