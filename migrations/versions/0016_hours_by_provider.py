"""Sums of hours by provider, with and without the key; histograms that are read as they stand."""

from typing import Any

import sqlalchemy as sa
from alembic import op

revision: str = "0016"
down_revision: str | None = "0015"
branch_labels: str | None = None
depends_on: str | None = None

AT, USD = sa.DateTime(timezone=True), sa.Numeric(24, 12)
TYPES: dict[str, sa.types.TypeEngine[Any]] = {
    "at": AT,
    "is_fallback": sa.Boolean(),
    "key_id": sa.Uuid(),
    "label_set": sa.Uuid(),
}
GROUPS = ("input", "cache_read", "cache_write", "output", "reasoning")
SUMS: dict[str, tuple[str, ...]] = {
    "usage_request": (
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
    ),
    "usage_attempt": (
        "attempts",
        "billable",
        "unpriced",
        "first_tries",
        "served_elsewhere",
        "rescued",
        *(f"{group}_tokens" for group in GROUPS),
        "cost_usd",
        *(f"cost_{group}_usd" for group in GROUPS),
        "cost_other_usd",
        "requests",
        "adjustment_usd",
        "caller_usd",
    ),
}
OF_REQUEST, OF_ATTEMPT = ("provider", "outcome", "is_fallback"), ("provider", "outcome", "kind")
# Name, what it follows from, what it is filled from, key.
HOURS: tuple[tuple[str, str, str, tuple[str, ...]], ...] = (
    ("usage_request_provider_hour", "usage_request", "usage_request_hour", OF_REQUEST),
    ("usage_attempt_provider_hour", "usage_attempt", "usage_attempt_hour", OF_ATTEMPT),
    (
        "usage_attempt_key_provider_hour",
        "usage_attempt",
        "usage_attempt_quarter_hour",
        (*OF_ATTEMPT, "key_id", "label_set"),
    ),
)
METRICS = ("request", "request_ttft", "overhead", "added", "attempt", "attempt_ttft", "speed")
ENDPOINT = ("provider", "model", "endpoint")
# Tables of histograms and what tells their rows apart beside metric and time.
AS_THEY_STAND: dict[str, tuple[str, ...]] = {
    "latency_minute": ENDPOINT,
    "latency_key_hour": ("key_id", "provider", "model"),
}
OF_STEPS: dict[str, tuple[str, tuple[str, ...]]] = {
    "latency_hour": ("hour", ()),
    "latency_day": ("day", ENDPOINT),
}
REPLACED = "SELECT at FROM rollup_pending WHERE NOT is_addition"
PENDING = "(SELECT DISTINCT at FROM rollup_pending) AS p"
GRANTED = (
    *(f"v_{name}" for name, *_ in HOURS),
    *(f"v_{name}_packed" for name in (*AS_THEY_STAND, *OF_STEPS, "latency")),
)
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
    # Sorting on disk what two hundred sets of labels come to in a quarter takes far longer.
    op.execute("SET LOCAL work_mem = '64MB'")
    for name, of, source, key in HOURS:
        op.create_table(
            name,
            *(sa.Column(column, type_of(column), nullable=False) for column in ("at", *key)),
            *(
                sa.Column(column, USD if column.endswith("_usd") else sa.BigInteger, nullable=False)
                for column in SUMS[of]
            ),
            sa.PrimaryKeyConstraint("at", *key, name=op.f(f"pk_{name}")),
        )
        # Hours that are outdated are read from the quarters until they are summed again.
        op.execute(
            f"INSERT INTO {name} (at, {listed(key)}, {listed(SUMS[of])}) "  # noqa: S608
            f"SELECT {start_of('hour', 'at')}, {listed(key)}, "
            f"{', '.join(f'sum({one})' for one in SUMS[of])} "
            f"FROM {source} GROUP BY {start_of('hour', 'at')}, {listed(key)}"
        )
        op.execute(f"ANALYZE {name}")
        op.execute(f"CREATE VIEW v_{name} AS {of_step(name, of, 'hour', (*key, *SUMS[of]))}")
    for name, key in AS_THEY_STAND.items():
        columns = listed(histogram(key))
        op.execute(f"CREATE VIEW v_{name}_packed AS SELECT at, {columns} FROM {name}")  # noqa: S608
    op.execute(f"CREATE VIEW v_latency_packed AS {of_quarters('latency', histogram(ENDPOINT))}")
    for name, (step, key) in OF_STEPS.items():
        complete = of_step(name, "latency", step, histogram(key))
        op.execute(f"CREATE VIEW v_{name}_packed AS {complete}")
    op.execute(GRANT_READER)


def of_quarters(of: str, columns: tuple[str, ...]) -> str:
    """Quarters, and instead of those whose minutes have changed these minutes; as in 0012."""
    minutes = within(f"{of}_minute", "p.at", "15 minutes")
    return (
        f"SELECT q.at, {listed(columns)} FROM {of}_quarter_hour AS q "  # noqa: S608
        f"WHERE q.at NOT IN ({REPLACED}) UNION ALL "
        f"SELECT q.at, {listed(columns)} FROM {PENDING} {minutes}"
    )


def of_step(name: str, of: str, step: str, columns: tuple[str, ...]) -> str:
    """Hours or days, and instead of those that are outdated what they follow from; as in 0012."""
    of_pending = f"SELECT {start_of(step, 'at')} FROM rollup_pending"  # noqa: S608
    outdated = f"SELECT at FROM rollup_outdated WHERE step = '{step}'"  # noqa: S608
    quarters = within(f"{of}_quarter_hour", "o.at", f"1 {step}")
    minutes = within(f"{of}_minute", "p.at", "15 minutes")
    return (
        f"SELECT q.at, {listed(columns)} FROM {name} AS q "  # noqa: S608
        f"WHERE q.at NOT IN ({outdated} UNION ALL {of_pending}) UNION ALL "
        f"SELECT o.at, {listed(columns)} FROM ({outdated} UNION {of_pending}) AS o {quarters} "
        f"WHERE q.at NOT IN ({REPLACED}) UNION ALL "
        f"SELECT {start_of(step, 'p.at')}, {listed(columns)} FROM {PENDING} {minutes}"
    )


def histogram(key: tuple[str, ...]) -> tuple[str, ...]:
    return ("metric", *key, "buckets", "samples")


def within(table: str, start: str, length: str) -> str:
    """A join with the rows of a span of time as `q`, found by their index; as in 0012."""
    metric = f"m.metric = ANY ('{{{','.join(METRICS)}}}') AND " if "latency" in table else ""
    return (
        f"CROSS JOIN LATERAL (SELECT * FROM {table} AS m WHERE {metric}"  # noqa: S608
        f"m.at >= {start} AND m.at < {start} + interval '{length}' OFFSET 0) AS q"
    )


def start_of(step: str, at: str) -> str:
    return f"date_bin('1 {step}', {at}, '2000-01-01 00:00:00+00')"


def listed(columns: tuple[str, ...]) -> str:
    return ", ".join(columns)


def type_of(column: str) -> sa.types.TypeEngine[Any]:
    return TYPES.get(column, sa.Text())
