"""What the leases of a window add up to stands beside what is spent of it."""

import sqlalchemy as sa
from alembic import op

revision: str = "0010"
down_revision: str | None = "0009"
branch_labels: str | None = None
depends_on: str | None = None

SUM_UP = """
UPDATE budget_period SET leased_nusd = coalesce((
    SELECT sum(greatest(granted_nusd - shipped_nusd, 0)) FROM budget_lease
    WHERE budget_lease.budget_id = budget_period.budget_id
    AND budget_lease.since = budget_period.since
), 0)
"""
VIEW = """
CREATE OR REPLACE VIEW v_budget_period AS
SELECT budget_id, since, spent_nusd, told_percent, wanted_at, leased_nusd FROM budget_period
"""


def upgrade() -> None:
    op.add_column(
        "budget_period",
        sa.Column("leased_nusd", sa.BigInteger, nullable=False, server_default=sa.text("0")),
    )
    op.execute(SUM_UP)
    op.execute(VIEW)
