"""Which origins a key may call with credentials that its requests bring along."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision: str = "0008"
down_revision: str | None = "0007"
branch_labels: str | None = None
depends_on: str | None = None

KEY_COLUMNS = """
    id, kid, last4, name, labels, allowed_models, allowed_providers, default_model,
    slash_pins_provider, has_hard_budget, created_at, created_by, expires_at, revoked_at,
    requests_per_minute, tokens_per_minute, concurrency, provider_configs_origins
"""


def upgrade() -> None:
    op.add_column(
        "api_key",
        sa.Column(
            "provider_configs_origins",
            postgresql.ARRAY(sa.Text),
            nullable=False,
            server_default="{}",
        ),
    )
    op.execute(f"CREATE OR REPLACE VIEW v_api_key AS SELECT {KEY_COLUMNS} FROM api_key")  # noqa: S608
