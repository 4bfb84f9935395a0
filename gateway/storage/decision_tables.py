"""What operators decided: rules, prices, what is proposed to them, and the audit log of it all."""

from sqlalchemy import (
    BigInteger,
    Boolean,
    CheckConstraint,
    Column,
    Identity,
    Index,
    LargeBinary,
    Table,
    Text,
    text,
)
from sqlalchemy.dialects.postgresql import ARRAY, JSONB

from gateway.storage.table_kinds import Instant, Usd, metadata, view_of_table

MAX_RULES_BYTES = 1 << 20
"""The most that the text of a rule set may hold."""

rule_set = Table(
    "rule_set",
    metadata,
    Column("number", BigInteger, Identity(), primary_key=True),
    Column("version", Text, nullable=False),
    Column("sha256", LargeBinary, nullable=False),
    Column("source", Text, nullable=False),
    Column("comment", Text),
    Column("created_at", Instant, nullable=False),
    Column("created_by", Text, nullable=False),
    Column("is_active", Boolean, nullable=False),
    Column("activated_at", Instant),
    CheckConstraint("octet_length(sha256) = 32", name="digest_is_sha256"),
    CheckConstraint(f"octet_length(source) <= {MAX_RULES_BYTES}", name="source_is_bounded"),
    # At most one is in force.
    Index("uq_rule_set_active", "is_active", unique=True, postgresql_where=text("is_active")),
)

price_change = Table(
    "price_change",
    metadata,
    Column("id", BigInteger, Identity(), primary_key=True),
    Column("kind", Text, nullable=False),
    Column("target", Text, nullable=False),
    Column("effective_from", Instant, nullable=False),
    Column("effective_to", Instant),
    # Amounts in JSON are texts: whoever reads them must not meet a binary float.
    Column("terms", JSONB),
    Column("factor", Usd),
    Column("endpoint", JSONB),
    Column("recorded_at", Instant, nullable=False),
    Column("recorded_by", Text, nullable=False),
    Column("reason", Text, nullable=False),
    CheckConstraint("effective_to > effective_from", name="ends_after_it_begins"),
    Index(None, "target", "id"),
)

price_proposal = Table(
    "price_proposal",
    metadata,
    Column("id", BigInteger, Identity(), primary_key=True),
    Column("created_at", Instant, nullable=False),
    Column("source", Text, nullable=False),
    # Of what was read: its own version where it has one, and its digest.
    Column("source_version", Text, nullable=False),
    Column("target", Text, nullable=False),
    Column("effective_from", Instant),
    # Amounts in JSON are texts, as in `price_change`.
    Column("rates", JSONB, nullable=False),
    Column("terms", JSONB),
    Column("differences", JSONB, nullable=False),
    # Why a person has to say yes to this one by its number; empty: nothing is suspicious.
    Column("gates", ARRAY(Text), nullable=False),
    Column("status", Text, nullable=False),
    Column("decided_at", Instant),
    Column("decided_by", Text),
    Column("comment", Text),
    Column("change_id", BigInteger),
    CheckConstraint(
        "status IN ('open', 'accepted', 'refused', 'superseded')", name="status_is_known"
    ),
    # A source has one open proposal for an endpoint: a newer one takes its place.
    Index(
        "uq_price_proposal_open",
        "source",
        "target",
        unique=True,
        postgresql_where=text("status = 'open'"),
    ),
)

config_epoch = Table(
    "config_epoch",
    metadata,
    Column("name", Text, primary_key=True),
    Column("epoch", BigInteger, nullable=False),
    Column("changed_at", Instant, nullable=False),
)

audit_entry = Table(
    "audit_entry",
    metadata,
    Column("id", BigInteger, Identity(), primary_key=True),
    Column("at", Instant, nullable=False),
    Column("actor", Text, nullable=False),
    Column("action", Text, nullable=False),
    Column("subject", Text, nullable=False),
    Column("before", JSONB),
    Column("after", JSONB),
)

v_rule_set = view_of_table("v_rule_set", rule_set)
v_price_change = view_of_table("v_price_change", price_change)
v_price_proposal = view_of_table("v_price_proposal", price_proposal)
