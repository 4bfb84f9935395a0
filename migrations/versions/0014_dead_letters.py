"""What the dashboard tells of records that wait, and of those that were set aside."""

import sqlalchemy as sa
from alembic import op

revision: str = "0014"
down_revision: str | None = "0013"
branch_labels: str | None = None
depends_on: str | None = None

# Replacing a view keeps its grants, and allows new columns at its end alone.
WATERMARK_COLUMNS = """
    worker, updated_at, segment, last_record_at, oldest_unshipped_at, backlog_bytes, backlog_records
"""
# Without the frame: it is a whole record.
DEAD_COLUMNS = "id, seen_at, segment, frame_offset, record_id, sqlstate, reason"
GRANT_READER = """
DO $$
BEGIN
    IF EXISTS (SELECT FROM pg_roles WHERE rolname = 'tollway_reader') THEN
        GRANT SELECT ON v_ingest_error TO tollway_reader;
    END IF;
END
$$
"""


def upgrade() -> None:
    op.add_column(
        "ship_watermark",
        sa.Column("backlog_records", sa.BigInteger, nullable=False, server_default=sa.text("0")),
    )
    op.execute(
        f"CREATE OR REPLACE VIEW v_ship_watermark AS SELECT {WATERMARK_COLUMNS} FROM ship_watermark"  # noqa: S608
    )
    op.execute(f"CREATE VIEW v_ingest_error AS SELECT {DEAD_COLUMNS} FROM ingest_error")  # noqa: S608
    op.execute(GRANT_READER)
