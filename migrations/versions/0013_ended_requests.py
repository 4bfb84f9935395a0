"""Whether the revocation of a key ends its open requests."""

import sqlalchemy as sa
from alembic import op

revision: str = "0013"
down_revision: str | None = "0012"
branch_labels: str | None = None
depends_on: str | None = None

KEY_COLUMNS = """
    id, kid, last4, name, labels, allowed_models, allowed_providers, default_model,
    slash_pins_provider, has_hard_budget, created_at, created_by, expires_at, revoked_at,
    requests_per_minute, tokens_per_minute, concurrency, provider_configs_origins, ends_requests
"""


def upgrade() -> None:
    op.add_column(
        "api_key",
        sa.Column("ends_requests", sa.Boolean, nullable=False, server_default=sa.text("false")),
    )
    op.execute(f"CREATE OR REPLACE VIEW v_api_key AS SELECT {KEY_COLUMNS} FROM api_key")  # noqa: S608
