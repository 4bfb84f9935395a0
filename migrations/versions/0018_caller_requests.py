"""How many requests callers pay themselves: no savings could cover them."""

import sqlalchemy as sa
from alembic import op

revision: str = "0018"
down_revision: str | None = "0017"
branch_labels: str | None = None
depends_on: str | None = None

COLUMN, OF = "caller_requests", "usage_request"
SUMS = (
    "requests",
    "tried",
    "attempts",
    "prompt_tokens",
    "completion_tokens",
    "cached_tokens",
    "reasoning_tokens",
    "cost_usd",
    "unpriced",
    "baselined",
    "baseline_usd",
    "baselined_cost_usd",
    "adjustment_usd",
    "caller_usd",
    COLUMN,
)
ENDPOINT, WHOSE = ("provider", "model", "endpoint"), ("key_id", "label_set")
OUTCOME, RULE = ("outcome", "is_fallback"), ("rule_version",)
KEY = (*ENDPOINT, *OUTCOME, *RULE, *WHOSE)
# Table, step, key.
COARSE: tuple[tuple[str, str, tuple[str, ...]], ...] = (
    (f"{OF}_provider_hour", "hour", ("provider", *OUTCOME)),
    (f"{OF}_hour", "hour", (*ENDPOINT, *OUTCOME, *RULE)),
    (f"{OF}_key_hour", "hour", (*OUTCOME, *RULE, *WHOSE)),
    (f"{OF}_day", "day", KEY),
)
REPLACED = "SELECT at FROM rollup_pending WHERE NOT is_addition"
PENDING = "(SELECT DISTINCT at FROM rollup_pending) AS p"


def upgrade() -> None:
    for table in (f"{OF}_minute", f"{OF}_quarter_hour", *(name for name, *_ in COARSE)):
        # A node of the version before writes rows without it. What was stored until now is told
        # apart by `tollway rollups rebuild`.
        op.add_column(
            table, sa.Column(COLUMN, sa.BigInteger, nullable=False, server_default=sa.text("0"))
        )
    listed = ", ".join((*KEY, *SUMS))
    op.execute(f"CREATE OR REPLACE VIEW v_{OF}_minute AS SELECT at, {listed} FROM {OF}_minute")  # noqa: S608
    op.execute(
        f"CREATE OR REPLACE VIEW v_{OF} AS "  # noqa: S608
        f"SELECT q.at, {listed} FROM {OF}_quarter_hour AS q WHERE q.at NOT IN ({REPLACED}) "
        f"UNION ALL SELECT q.at, {listed} FROM {PENDING} "
        f"{within(f'{OF}_minute', 'p.at', '15 minutes')}"
    )
    for name, step, key in COARSE:
        op.execute(f"CREATE OR REPLACE VIEW v_{name} AS {complete(name, step, (*key, *SUMS))}")


def complete(name: str, step: str, columns: tuple[str, ...]) -> str:
    """Hours or days, and instead of those that are outdated what they follow from; as in 0012."""
    listed = ", ".join(columns)
    of_pending = f"SELECT {start_of(step, 'at')} FROM rollup_pending"  # noqa: S608
    outdated = f"SELECT at FROM rollup_outdated WHERE step = '{step}'"  # noqa: S608
    quarters = within(f"{OF}_quarter_hour", "o.at", f"1 {step}")
    minutes = within(f"{OF}_minute", "p.at", "15 minutes")
    return (
        f"SELECT q.at, {listed} FROM {name} AS q "  # noqa: S608
        f"WHERE q.at NOT IN ({outdated} UNION ALL {of_pending}) UNION ALL "
        f"SELECT o.at, {listed} FROM ({outdated} UNION {of_pending}) AS o {quarters} "
        f"WHERE q.at NOT IN ({REPLACED}) UNION ALL "
        f"SELECT {start_of(step, 'p.at')}, {listed} FROM {PENDING} {minutes}"
    )


def within(table: str, start: str, length: str) -> str:
    """A join with the rows of a span of time as `q`, found by their index; as in 0012."""
    return (
        f"CROSS JOIN LATERAL (SELECT * FROM {table} AS m WHERE "  # noqa: S608
        f"m.at >= {start} AND m.at < {start} + interval '{length}' OFFSET 0) AS q"
    )


def start_of(step: str, at: str) -> str:
    return f"date_bin('1 {step}', {at}, '2000-01-01 00:00:00+00')"
