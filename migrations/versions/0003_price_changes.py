"""What the operator decides about prices, on top of the tables."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision: str = "0003"
down_revision: str | None = "0002"
branch_labels: str | None = None
depends_on: str | None = None

COLUMNS = """
    id, kind, target, effective_from, effective_to, terms, factor, endpoint, recorded_at,
    recorded_by, reason
"""
CREATE_VIEW = f"CREATE VIEW v_price_change AS SELECT {COLUMNS} FROM price_change"  # noqa: S608
GRANT_READER = """
DO $$
BEGIN
    IF EXISTS (SELECT FROM pg_roles WHERE rolname = 'tollway_reader') THEN
        GRANT SELECT ON v_price_change TO tollway_reader;
    END IF;
END
$$
"""


def upgrade() -> None:
    op.create_table(
        "price_change",
        sa.Column("id", sa.BigInteger, sa.Identity(), nullable=False),
        sa.Column("kind", sa.Text, nullable=False),
        sa.Column("target", sa.Text, nullable=False),
        sa.Column("effective_from", sa.DateTime(timezone=True), nullable=False),
        sa.Column("effective_to", sa.DateTime(timezone=True)),
        sa.Column("terms", postgresql.JSONB),
        sa.Column("factor", sa.Numeric(24, 12)),
        sa.Column("endpoint", postgresql.JSONB),
        sa.Column("recorded_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("recorded_by", sa.Text, nullable=False),
        sa.Column("reason", sa.Text, nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_price_change")),
        sa.CheckConstraint(
            "effective_to > effective_from", name=op.f("ck_price_change_ends_after_it_begins")
        ),
    )
    op.create_index("ix_price_change_target_id", "price_change", ["target", "id"])
    op.execute(CREATE_VIEW)
    op.execute(GRANT_READER)
