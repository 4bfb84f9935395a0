"""Sums by the minute and by the quarter of an hour, histograms, and the views that join them."""

from typing import Any

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision: str = "0007"
down_revision: str | None = "0006"
branch_labels: str | None = None
depends_on: str | None = None

AT, USD = sa.DateTime(timezone=True), sa.Numeric(24, 12)
ENDPOINT = {"provider": sa.Text(), "model": sa.Text(), "endpoint": sa.Text()}
WHOSE = {"key_id": sa.Uuid(), "label_set": sa.Uuid()}
GROUPS = ("input", "cache_read", "cache_write", "output", "reasoning")
REQUEST_COUNTS = (
    "requests",
    "tried",
    "attempts",
    "prompt_tokens",
    "completion_tokens",
    "cached_tokens",
    "reasoning_tokens",
)
ATTEMPT_COUNTS = (
    "attempts",
    "billable",
    "unpriced",
    "first_tries",
    "served_elsewhere",
    "rescued",
    *(f"{group}_tokens" for group in GROUPS),
)

# Name, key, sums.
ROLL_UPS: tuple[
    tuple[str, dict[str, sa.types.TypeEngine[Any]], dict[str, sa.types.TypeEngine[Any]]], ...
] = (
    (
        "usage_request",
        {
            "at": AT,
            **ENDPOINT,
            "outcome": sa.Text(),
            "is_fallback": sa.Boolean(),
            "rule_version": sa.Text(),
            **WHOSE,
        },
        {
            **dict.fromkeys(REQUEST_COUNTS, sa.BigInteger()),
            "cost_usd": USD,
            "unpriced": sa.BigInteger(),
            "baselined": sa.BigInteger(),
            "baseline_usd": USD,
            "baselined_cost_usd": USD,
        },
    ),
    (
        "usage_attempt",
        {"at": AT, **ENDPOINT, "outcome": sa.Text(), "kind": sa.Text(), **WHOSE},
        {
            **dict.fromkeys(ATTEMPT_COUNTS, sa.BigInteger()),
            "cost_usd": USD,
            **dict.fromkeys((f"cost_{group}_usd" for group in GROUPS), USD),
            "cost_other_usd": USD,
        },
    ),
    (
        "fallback",
        {
            "at": AT,
            "from_provider": sa.Text(),
            "from_endpoint": sa.Text(),
            "to_provider": sa.Text(),
            "to_endpoint": sa.Text(),
            "reason": sa.Text(),
        },
        {
            "attempts": sa.BigInteger(),
            "requests": sa.BigInteger(),
            "rescued": sa.BigInteger(),
            "added_us": sa.BigInteger(),
            "added_usd": USD,
            "unpriced": sa.BigInteger(),
        },
    ),
    (
        "latency",
        {"metric": sa.Text(), "at": AT, **ENDPOINT, "bucket": sa.SmallInteger()},
        {"samples": sa.BigInteger()},
    ),
)
PLAIN_VIEWS = (
    *(f"{name}_minute" for name, _, _ in ROLL_UPS),
    "latency_key_hour",
    "label_set",
    "provider_seen",
)
GRANTED = (*(f"v_{name}" for name, _, _ in ROLL_UPS), *(f"v_{name}" for name in PLAIN_VIEWS))
GRANT_READER = f"""
DO $$
BEGIN
    IF EXISTS (SELECT FROM pg_roles WHERE rolname = 'tollway_reader') THEN
        GRANT SELECT ON {", ".join(GRANTED)} TO tollway_reader;
    END IF;
END
$$
"""


def upgrade() -> None:
    create_upkeep()
    plain: dict[str, tuple[str, ...]] = {
        "latency_key_hour": (
            "metric",
            "at",
            "key_id",
            "provider",
            "model",
            "bucket",
            "samples",
        ),
        "label_set": ("id", "labels"),
        "provider_seen": ("provider", "first_seen_at"),
    }
    for name, key, sums in ROLL_UPS:
        create(f"{name}_minute", key, sums, fillfactor=60)
        create(f"{name}_quarter_hour", key, sums, fillfactor=100)
        plain[f"{name}_minute"] = (*key, *sums)
        op.execute(joined_view(name, (*key, *sums)))
    for name in PLAIN_VIEWS:
        op.execute(f"CREATE VIEW v_{name} AS SELECT {', '.join(plain[name])} FROM {name}")  # noqa: S608
    op.execute(GRANT_READER)


def create(
    name: str,
    key: dict[str, sa.types.TypeEngine[Any]],
    sums: dict[str, sa.types.TypeEngine[Any]],
    *,
    fillfactor: int,
) -> None:
    op.create_table(
        name,
        *(sa.Column(column, kind, nullable=False) for column, kind in (key | sums).items()),
        sa.PrimaryKeyConstraint(*key, name=op.f(f"pk_{name}")),
        postgresql_with={"fillfactor": fillfactor},
    )


def joined_view(name: str, columns: tuple[str, ...]) -> str:
    """The quarters, but for those whose minutes have changed since: these come as minutes."""
    listed = ", ".join(columns)
    replaced = "SELECT at FROM rollup_pending WHERE NOT is_addition"
    changed = "SELECT at FROM rollup_pending"
    quarter = "date_bin('15 minutes', at, '2000-01-01 00:00:00+00')"
    # The second half says the same twice: once to be exact, once so that an index finds the rows.
    return (
        f"CREATE VIEW v_{name} AS "  # noqa: S608 - all of it is ours
        f"SELECT {listed} FROM {name}_quarter_hour WHERE at NOT IN ({replaced}) "
        f"UNION ALL SELECT {listed} FROM {name}_minute WHERE {quarter} IN ({changed}) "
        "AND at >= (SELECT min(at) FROM rollup_pending)"
    )


def create_upkeep() -> None:
    op.create_table(
        "latency_key_hour",
        sa.Column("metric", sa.Text, nullable=False),
        sa.Column("at", AT, nullable=False),
        sa.Column("key_id", sa.Uuid, nullable=False),
        sa.Column("provider", sa.Text, nullable=False),
        sa.Column("model", sa.Text, nullable=False),
        sa.Column("bucket", sa.SmallInteger, nullable=False),
        sa.Column("samples", sa.BigInteger, nullable=False),
        sa.PrimaryKeyConstraint(
            "metric",
            "at",
            "key_id",
            "provider",
            "model",
            "bucket",
            name=op.f("pk_latency_key_hour"),
        ),
        postgresql_with={"fillfactor": 60},
    )
    op.create_table(
        "label_set",
        sa.Column("id", sa.Uuid, nullable=False),
        sa.Column("labels", postgresql.JSONB, nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_label_set")),
    )
    op.create_table(
        "provider_seen",
        sa.Column("provider", sa.Text, nullable=False),
        sa.Column("first_seen_at", AT, nullable=False),
        sa.PrimaryKeyConstraint("provider", name=op.f("pk_provider_seen")),
    )
    op.create_table(
        "rollup_pending",
        sa.Column("id", sa.BigInteger, sa.Identity(), nullable=False),
        sa.Column("at", AT, nullable=False),
        sa.Column("is_addition", sa.Boolean, nullable=False, server_default=sa.text("false")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_rollup_pending")),
    )
    op.create_table(
        "rollup_horizon",
        sa.Column("name", sa.Text, nullable=False),
        sa.Column("at", AT, nullable=False),
        sa.PrimaryKeyConstraint("name", name=op.f("pk_rollup_horizon")),
    )
