"""Users with their sessions, secrets of keys that are about to expire, webhooks."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision: str = "0006"
down_revision: str | None = "0005"
branch_labels: str | None = None
depends_on: str | None = None

INSTANT = sa.DateTime(timezone=True)


def upgrade() -> None:
    _create_retiring()
    _create_users()
    _create_webhooks()


def _create_retiring() -> None:
    op.create_table(
        "key_retiring",
        sa.Column("digest", sa.LargeBinary, nullable=False),
        sa.Column("key_id", sa.Uuid, nullable=False),
        sa.Column("pepper_version", sa.Integer, nullable=False),
        sa.Column("last4", sa.Text, nullable=False),
        sa.Column("expires_at", INSTANT, nullable=False),
        sa.PrimaryKeyConstraint("digest", name=op.f("pk_key_retiring")),
        sa.ForeignKeyConstraint(
            ["key_id"],
            ["api_key.id"],
            name=op.f("fk_key_retiring_key_id_api_key"),
            ondelete="CASCADE",
        ),
        sa.CheckConstraint(
            "octet_length(digest) = 32", name=op.f("ck_key_retiring_digest_is_sha256")
        ),
    )
    op.create_index("ix_key_retiring_key_id", "key_retiring", ["key_id"])


def _create_users() -> None:
    op.create_table(
        "app_user",
        sa.Column("id", sa.Uuid, nullable=False),
        sa.Column("name", sa.Text, nullable=False),
        sa.Column("role", sa.Text, nullable=False),
        sa.Column("password_hash", sa.Text, nullable=False),
        sa.Column("created_at", INSTANT, nullable=False),
        sa.Column("created_by", sa.Text, nullable=False),
        sa.Column("password_changed_at", INSTANT, nullable=False),
        sa.Column("last_sign_in_at", INSTANT),
        sa.Column("revoked_at", INSTANT),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_app_user")),
        sa.UniqueConstraint("name", name=op.f("uq_app_user_name")),
        sa.CheckConstraint(
            "role IN ('owner', 'operator', 'auditor')", name=op.f("ck_app_user_role_is_known")
        ),
    )
    op.create_table(
        "app_session",
        sa.Column("id", sa.Uuid, nullable=False),
        sa.Column("user_id", sa.Uuid, nullable=False),
        sa.Column("digest", sa.LargeBinary, nullable=False),
        sa.Column("created_at", INSTANT, nullable=False),
        sa.Column("last_used_at", INSTANT, nullable=False),
        sa.Column("expires_at", INSTANT, nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_app_session")),
        sa.ForeignKeyConstraint(
            ["user_id"],
            ["app_user.id"],
            name=op.f("fk_app_session_user_id_app_user"),
            ondelete="CASCADE",
        ),
        sa.UniqueConstraint("digest", name=op.f("uq_app_session_digest")),
        sa.CheckConstraint(
            "octet_length(digest) = 32", name=op.f("ck_app_session_digest_is_sha256")
        ),
    )
    op.create_index("ix_app_session_user_id", "app_session", ["user_id"])


def _create_webhooks() -> None:
    op.create_table(
        "webhook",
        sa.Column("id", sa.Uuid, nullable=False),
        sa.Column("url", sa.Text, nullable=False),
        sa.Column("kinds", postgresql.ARRAY(sa.Text), nullable=False),
        sa.Column("created_at", INSTANT, nullable=False),
        sa.Column("created_by", sa.Text, nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_webhook")),
    )
    op.create_table(
        "webhook_delivery",
        sa.Column("id", sa.BigInteger, sa.Identity(), nullable=False),
        sa.Column("webhook_id", sa.Uuid, nullable=False),
        sa.Column("notice_id", sa.BigInteger),
        sa.Column("event", postgresql.JSONB, nullable=False),
        sa.Column("created_at", INSTANT, nullable=False),
        sa.Column("next_try_at", INSTANT, nullable=False),
        sa.Column("tries", sa.Integer, nullable=False),
        sa.Column("delivered_at", INSTANT),
        sa.Column("gave_up_at", INSTANT),
        sa.Column("status_code", sa.Integer),
        sa.Column("problem", sa.Text),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_webhook_delivery")),
        sa.ForeignKeyConstraint(
            ["webhook_id"],
            ["webhook.id"],
            name=op.f("fk_webhook_delivery_webhook_id_webhook"),
            ondelete="CASCADE",
        ),
        sa.UniqueConstraint(
            "webhook_id", "notice_id", name=op.f("uq_webhook_delivery_webhook_id_notice_id")
        ),
    )
    op.create_index(
        "ix_webhook_delivery_due",
        "webhook_delivery",
        ["next_try_at"],
        postgresql_where=sa.text("delivered_at IS NULL AND gave_up_at IS NULL"),
    )
