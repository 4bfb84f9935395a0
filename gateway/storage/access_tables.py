"""Who may come in: API keys, and users with their sessions."""

from sqlalchemy import (
    Boolean,
    CheckConstraint,
    Column,
    ForeignKey,
    Index,
    Integer,
    LargeBinary,
    Table,
    Text,
    Uuid,
    text,
)
from sqlalchemy.dialects.postgresql import ARRAY, JSONB

from gateway.storage.table_kinds import Instant, metadata, view_of_table

api_key = Table(
    "api_key",
    metadata,
    Column("id", Uuid, primary_key=True),
    Column("kid", Text, nullable=False, unique=True),
    Column("digest", LargeBinary, nullable=False),
    Column("pepper_version", Integer, nullable=False),
    Column("last4", Text, nullable=False),
    Column("name", Text, nullable=False),
    Column("labels", JSONB, nullable=False),
    Column("allowed_models", ARRAY(Text), nullable=False),
    Column("allowed_providers", ARRAY(Text), nullable=False),
    Column("default_model", Text),
    Column("slash_pins_provider", Boolean),
    Column("has_hard_budget", Boolean, nullable=False),
    Column("created_at", Instant, nullable=False),
    Column("created_by", Text, nullable=False),
    Column("expires_at", Instant),
    Column("revoked_at", Instant),
    Column("requests_per_minute", Integer),
    Column("tokens_per_minute", Integer),
    Column("concurrency", Integer),
    Column("provider_configs_origins", ARRAY(Text), nullable=False, server_default="{}"),
    # Revoked at once: its open requests are ended, too.
    Column("ends_requests", Boolean, nullable=False, server_default=text("false")),
    CheckConstraint("octet_length(digest) = 32", name="digest_is_sha256"),
)

key_retiring = Table(
    "key_retiring",
    metadata,
    # The secrets that keys had before they were rotated, for as long as they still work.
    Column("digest", LargeBinary, primary_key=True),
    Column("key_id", Uuid, ForeignKey("api_key.id", ondelete="CASCADE"), nullable=False),
    Column("pepper_version", Integer, nullable=False),
    Column("last4", Text, nullable=False),
    Column("expires_at", Instant, nullable=False),
    CheckConstraint("octet_length(digest) = 32", name="digest_is_sha256"),
    Index(None, "key_id"),
)

app_user = Table(
    "app_user",
    metadata,
    Column("id", Uuid, primary_key=True),
    # Of revoked users too, so that the audit log never means two people by one name.
    Column("name", Text, nullable=False, unique=True),
    Column("role", Text, nullable=False),
    Column("password_hash", Text, nullable=False),
    Column("created_at", Instant, nullable=False),
    Column("created_by", Text, nullable=False),
    Column("password_changed_at", Instant, nullable=False),
    Column("last_sign_in_at", Instant),
    Column("revoked_at", Instant),
    CheckConstraint("role IN ('owner', 'operator', 'auditor')", name="role_is_known"),
)

app_session = Table(
    "app_session",
    metadata,
    # One that ended is deleted; the audit log remembers it.
    Column("id", Uuid, primary_key=True),
    Column("user_id", Uuid, ForeignKey("app_user.id", ondelete="CASCADE"), nullable=False),
    Column("digest", LargeBinary, nullable=False, unique=True),
    Column("created_at", Instant, nullable=False),
    Column("last_used_at", Instant, nullable=False),
    Column("expires_at", Instant, nullable=False),
    CheckConstraint("octet_length(digest) = 32", name="digest_is_sha256"),
    Index(None, "user_id"),
)

v_api_key = view_of_table("v_api_key", api_key, without=frozenset({"digest", "pepper_version"}))
