"""Budgets, what is spent of each in its windows, and what workers hold of that."""

from sqlalchemy import (
    BigInteger,
    Boolean,
    CheckConstraint,
    Column,
    Index,
    SmallInteger,
    Table,
    Text,
    Uuid,
    text,
)
from sqlalchemy.dialects.postgresql import JSONB

from gateway.storage.table_kinds import Instant, metadata, view_of_table

budget = Table(
    "budget",
    metadata,
    Column("id", Uuid, primary_key=True),
    Column("name", Text, nullable=False),
    Column("key_id", Uuid),
    Column("labels", JSONB, nullable=False),
    Column("period", Text, nullable=False),
    # Nano-dollars: sums of integers are exact and fast, and nobody's limit is above 9 billion.
    Column("limit_nusd", BigInteger, nullable=False),
    Column("mode", Text, nullable=False),
    Column("is_strict", Boolean, nullable=False),
    Column("created_at", Instant, nullable=False),
    Column("created_by", Text, nullable=False),
    Column("deleted_at", Instant),
    CheckConstraint("limit_nusd >= 0", name="limit_is_money"),
    Index("uq_budget_name", "name", unique=True, postgresql_where=text("deleted_at IS NULL")),
)

budget_period = Table(
    "budget_period",
    metadata,
    # One per budget and window. Whoever changes what may still be spent holds its row.
    Column("budget_id", Uuid, primary_key=True),
    Column("since", Instant, primary_key=True),
    Column("spent_nusd", BigInteger, nullable=False, server_default=text("0")),
    # The highest threshold that was told.
    Column("told_percent", SmallInteger, nullable=False, server_default=text("0")),
    # When a worker last asked in vain: others give back what they hold and do not use.
    Column("wanted_at", Instant),
    # What its leases add up to, so that a grant is one statement.
    Column("leased_nusd", BigInteger, nullable=False, server_default=text("0")),
)

budget_lease = Table(
    "budget_lease",
    metadata,
    # What a worker may spend of a window without asking: granted, less what of it has been shipped.
    Column("budget_id", Uuid, primary_key=True),
    Column("since", Instant, primary_key=True),
    Column("worker", Text, primary_key=True),
    Column("granted_nusd", BigInteger, nullable=False),
    Column("shipped_nusd", BigInteger, nullable=False, server_default=text("0")),
    Column("granted_at", Instant, nullable=False),
    Column("expires_at", Instant, nullable=False),
    Index(None, "worker"),
)

v_budget = view_of_table("v_budget", budget)
v_budget_period = view_of_table("v_budget_period", budget_period)
v_budget_lease = view_of_table("v_budget_lease", budget_lease)
