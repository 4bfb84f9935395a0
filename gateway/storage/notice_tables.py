"""What operators are told of, and the webhooks that bring it to them."""

from sqlalchemy import (
    BigInteger,
    Column,
    ForeignKey,
    Identity,
    Index,
    Integer,
    Table,
    Text,
    UniqueConstraint,
    Uuid,
    text,
)
from sqlalchemy.dialects.postgresql import ARRAY, JSONB

from gateway.storage.table_kinds import Instant, metadata

notice = Table(
    "notice",
    metadata,
    # What operators are to be told of; few, and the oldest are deleted beyond a number.
    Column("id", BigInteger, Identity(), primary_key=True),
    Column("at", Instant, nullable=False),
    Column("kind", Text, nullable=False),
    Column("subject", Text, nullable=False),
    Column("details", JSONB, nullable=False),
)

webhook = Table(
    "webhook",
    metadata,
    # Its secret is derived from its id and the installation's own secret, so none stands here.
    Column("id", Uuid, primary_key=True),
    Column("url", Text, nullable=False),
    Column("kinds", ARRAY(Text), nullable=False),
    Column("created_at", Instant, nullable=False),
    Column("created_by", Text, nullable=False),
)

webhook_delivery = Table(
    "webhook_delivery",
    metadata,
    Column("id", BigInteger, Identity(), primary_key=True),
    Column("webhook_id", Uuid, ForeignKey("webhook.id", ondelete="CASCADE"), nullable=False),
    # No reference: old notices are forgotten, and a test of a webhook has none.
    Column("notice_id", BigInteger),
    Column("event", JSONB, nullable=False),
    Column("created_at", Instant, nullable=False),
    Column("next_try_at", Instant, nullable=False),
    Column("tries", Integer, nullable=False),
    Column("delivered_at", Instant),
    Column("gave_up_at", Instant),
    Column("status_code", Integer),
    Column("problem", Text),
    # However many nodes look at a notice, each webhook is told once.
    UniqueConstraint("webhook_id", "notice_id"),
    Index(
        "ix_webhook_delivery_due",
        "next_try_at",
        postgresql_where=text("delivered_at IS NULL AND gave_up_at IS NULL"),
    ),
)
