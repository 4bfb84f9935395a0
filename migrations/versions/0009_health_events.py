"""What routing believed of providers over time."""

import sqlalchemy as sa
from alembic import op

revision: str = "0009"
down_revision: str | None = "0008"
branch_labels: str | None = None
depends_on: str | None = None

COLUMNS = "id, at, node, level, provider, endpoint, credential, state, until, reason"
GRANT_READER = """
DO $$
BEGIN
    IF EXISTS (SELECT FROM pg_roles WHERE rolname = 'tollway_reader') THEN
        GRANT SELECT ON v_health_event TO tollway_reader;
    END IF;
END
$$
"""


def upgrade() -> None:
    op.create_table(
        "health_event",
        sa.Column("id", sa.Uuid, nullable=False),
        sa.Column("at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("node", sa.Text, nullable=False),
        sa.Column("level", sa.Text, nullable=False),
        sa.Column("provider", sa.Text, nullable=False),
        sa.Column("endpoint", sa.Text),
        sa.Column("credential", sa.SmallInteger),
        sa.Column("state", sa.Text, nullable=False),
        sa.Column("until", sa.DateTime(timezone=True)),
        sa.Column("reason", sa.Text),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_health_event")),
        sa.CheckConstraint(
            "level IN ('origin', 'credential', 'target', 'share')",
            name=op.f("ck_health_event_level_is_known"),
        ),
        sa.CheckConstraint(
            "state IN ('open', 'half_open', 'closed', 'cooling')",
            name=op.f("ck_health_event_state_is_known"),
        ),
    )
    op.create_index(op.f("ix_health_event_at"), "health_event", ["at"])
    op.execute(f"CREATE VIEW v_health_event AS SELECT {COLUMNS} FROM health_event")  # noqa: S608
    op.execute(GRANT_READER)
