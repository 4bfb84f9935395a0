"""Histograms side by side in one row, and sums of hours and days that follow from the quarters."""

from typing import Any

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision: str = "0012"
down_revision: str | None = "0011"
branch_labels: str | None = None
depends_on: str | None = None

AT, USD = sa.DateTime(timezone=True), sa.Numeric(24, 12)
TYPES: dict[str, sa.types.TypeEngine[Any]] = {
    "at": AT,
    "is_fallback": sa.Boolean(),
    "key_id": sa.Uuid(),
    "label_set": sa.Uuid(),
    "bucket": sa.SmallInteger(),
}
GROUPS = ("input", "cache_read", "cache_write", "output", "reasoning")
ENDPOINT, WHOSE = ("provider", "model", "endpoint"), ("key_id", "label_set")
OF_REQUEST, OF_ATTEMPT = ("outcome", "is_fallback", "rule_version"), ("outcome", "kind")
FALLBACK = ("from_provider", "from_endpoint", "to_provider", "to_endpoint", "reason")
HISTOGRAM = ("metric", *ENDPOINT)
HISTOGRAM_OF_KEY = ("metric", "key_id", "provider", "model")
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
    "fallback": ("attempts", "requests", "rescued", "added_us", "added_usd", "unpriced"),
    "latency": ("samples",),
}
KEYS: dict[str, tuple[str, ...]] = {
    "usage_request": (*ENDPOINT, *OF_REQUEST, *WHOSE),
    "usage_attempt": (*ENDPOINT, *OF_ATTEMPT, *WHOSE),
    "fallback": FALLBACK,
    "latency": HISTOGRAM,
}
# Name, what it follows from, step, key.
COARSE: tuple[tuple[str, str, str, tuple[str, ...]], ...] = (
    ("usage_request_hour", "usage_request", "hour", (*ENDPOINT, *OF_REQUEST)),
    ("usage_request_key_hour", "usage_request", "hour", (*OF_REQUEST, *WHOSE)),
    ("usage_request_day", "usage_request", "day", KEYS["usage_request"]),
    ("usage_attempt_hour", "usage_attempt", "hour", (*ENDPOINT, *OF_ATTEMPT)),
    ("usage_attempt_key_hour", "usage_attempt", "hour", (*OF_ATTEMPT, *WHOSE)),
    ("usage_attempt_day", "usage_attempt", "day", KEYS["usage_attempt"]),
    ("latency_hour", "latency", "hour", ("metric",)),
    ("latency_day", "latency", "day", HISTOGRAM),
)
METRICS = ("request", "request_ttft", "overhead", "added", "attempt", "attempt_ttft", "speed")
REPLACED = "SELECT at FROM rollup_pending WHERE NOT is_addition"
GRANTED = (
    *(f"v_{name}" for name in KEYS),
    *("v_latency_minute", "v_latency_key_hour"),
    *(f"v_{name}" for name, _, _, _ in COARSE),
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
    for name in (*KEYS, "latency_minute", "latency_key_hour"):
        op.execute(f"DROP VIEW v_{name}")
    pack("latency_minute", HISTOGRAM)
    pack("latency_quarter_hour", HISTOGRAM)
    pack("latency_key_hour", HISTOGRAM_OF_KEY)
    op.create_table(
        "rollup_outdated",
        sa.Column("step", sa.Text, nullable=False),
        sa.Column("at", AT, nullable=False),
        sa.PrimaryKeyConstraint("step", "at", name=op.f("pk_rollup_outdated")),
    )
    for name, of, _, key in COARSE:
        if of == "latency":
            create_histogram(name, key)
        else:
            create_sums(name, of, key)
    for name in KEYS:
        op.execute(f"CREATE VIEW v_{name} AS {' UNION ALL '.join(joined(name))}")
    for name, key in (("latency_minute", HISTOGRAM), ("latency_key_hour", HISTOGRAM_OF_KEY)):
        op.execute(
            f"CREATE VIEW v_{name} AS SELECT at, {listed(key)}, bucket, u.samples "  # noqa: S608
            f"FROM {name}, {unnested(name)}"
        )
    for name, of, step, key in COARSE:
        op.execute(f"CREATE VIEW v_{name} AS {coarse_view(name, of, step, key)}")
    for step in ("hour", "day"):
        starts = " UNION ".join(
            f"SELECT {start_of(step, 'at')} FROM {of}_quarter_hour"  # noqa: S608
            for of in ("usage_request", "usage_attempt", "latency")
        )
        op.execute(f"INSERT INTO rollup_outdated SELECT '{step}', * FROM ({starts}) AS found")  # noqa: S608
    op.execute(GRANT_READER)


def pack(name: str, key: tuple[str, ...]) -> None:
    """Make a row of each histogram out of the rows of its buckets."""
    op.execute(f"ALTER TABLE {name} RENAME TO old_{name}")
    create_histogram(name, key)
    op.execute(
        f"INSERT INTO {name} (at, {listed(key)}, buckets, samples) "  # noqa: S608
        f"SELECT at, {listed(key)}, array_agg(bucket ORDER BY bucket), "
        f"array_agg(samples ORDER BY bucket) FROM old_{name} GROUP BY at, {listed(key)}"
    )
    op.execute(f"DROP TABLE old_{name}")


def create_histogram(name: str, key: tuple[str, ...]) -> None:
    metric, *others = key
    op.create_table(
        name,
        *(sa.Column(column, type_of(column), nullable=False) for column in (metric, "at", *others)),
        sa.Column("buckets", postgresql.ARRAY(sa.SmallInteger), nullable=False),
        sa.Column("samples", postgresql.ARRAY(sa.BigInteger), nullable=False),
    )
    op.create_index(op.f(f"ix_{name}_metric_at"), name, ["metric", "at"])


def create_sums(name: str, of: str, key: tuple[str, ...]) -> None:
    op.create_table(
        name,
        *(sa.Column(column, type_of(column), nullable=False) for column in ("at", *key)),
        *(
            sa.Column(column, USD if column.endswith("_usd") else sa.BigInteger, nullable=False)
            for column in SUMS[of]
        ),
        sa.PrimaryKeyConstraint("at", *key, name=op.f(f"pk_{name}")),
    )


def joined(name: str) -> tuple[str, str]:
    """The quarters, and instead of those whose minutes have changed since, these minutes."""
    columns = f"{listed(KEYS[name])}, {sums_of(name)}"
    minutes = within(f"{name}_minute", "p.at", "15 minutes")
    return (
        f"SELECT q.at, {columns} FROM {name}_quarter_hour AS q{unpacked(name)} "  # noqa: S608
        f"WHERE q.at NOT IN ({REPLACED})",
        f"SELECT q.at, {columns} FROM {pending_quarters()} {minutes}{unpacked(name)}",  # noqa: S608
    )


def coarse_view(name: str, of: str, step: str, key: tuple[str, ...]) -> str:
    """Hours or days, and instead of those that are outdated their quarters and minutes."""
    columns = f"{listed(key)}, {sums_of(of)}"
    of_pending = f"SELECT {start_of(step, 'at')} FROM rollup_pending"  # noqa: S608
    outdated = f"SELECT at FROM rollup_outdated WHERE step = '{step}'"  # noqa: S608
    quarters = within(f"{of}_quarter_hour", "o.at", f"1 {step}")
    minutes = within(f"{of}_minute", "p.at", "15 minutes")
    return " UNION ALL ".join(
        (
            f"SELECT q.at, {columns} FROM {name} AS q{unpacked(of)} "  # noqa: S608
            f"WHERE q.at NOT IN ({outdated} UNION ALL {of_pending})",
            f"SELECT o.at, {columns} FROM ({outdated} UNION {of_pending}) AS o {quarters}"  # noqa: S608
            f"{unpacked(of)} WHERE q.at NOT IN ({REPLACED})",
            f"SELECT {start_of(step, 'p.at')}, {columns} FROM {pending_quarters()} {minutes}"  # noqa: S608
            f"{unpacked(of)}",
        )
    )


def within(table: str, start: str, length: str) -> str:
    """A join with the rows of a span of time as `q`, found by their index however few it expects.

    Without OFFSET the planner takes the join apart and reads the whole table, since it cannot know
    how few spans there are.
    """
    metric = f"m.metric = ANY ('{{{','.join(METRICS)}}}') AND " if "latency" in table else ""
    return (
        f"CROSS JOIN LATERAL (SELECT * FROM {table} AS m WHERE {metric}"  # noqa: S608
        f"m.at >= {start} AND m.at < {start} + interval '{length}' OFFSET 0) AS q"
    )


def unpacked(of: str) -> str:
    return f" CROSS JOIN {unnested('q')}" if of == "latency" else ""


def pending_quarters() -> str:
    return "(SELECT DISTINCT at FROM rollup_pending) AS p"


def sums_of(name: str) -> str:
    return "u.bucket, u.samples" if name == "latency" else listed(SUMS[name])


def unnested(of: str) -> str:
    return f"LATERAL unnest({of}.buckets, {of}.samples) AS u (bucket, samples)"


def start_of(step: str, at: str) -> str:
    return f"date_bin('1 {step}', {at}, '2000-01-01 00:00:00+00')"


def listed(columns: tuple[str, ...]) -> str:
    return ", ".join(columns)


def type_of(column: str) -> sa.types.TypeEngine[Any]:
    return TYPES.get(column, sa.Text())
