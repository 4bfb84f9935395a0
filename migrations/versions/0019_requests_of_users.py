"""The requests of a user by an index, newest first: among millions, a search read them all.

Ten million rows take about 20 seconds, during which records wait in their spools.
"""

import sqlalchemy as sa
from alembic import op

revision: str = "0019"
down_revision: str | None = "0018"
branch_labels: str | None = None
depends_on: str | None = None


def upgrade() -> None:
    op.create_index(
        op.f("ix_request_record_end_user_id"),
        "request_record",
        ["end_user", "id"],
        postgresql_where=sa.text("end_user IS NOT NULL"),
    )
