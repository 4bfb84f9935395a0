"""Histograms of hours by endpoint: what charts of weeks read when they are narrowed."""

from typing import Any

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision: str = "0017"
down_revision: str | None = "0016"
branch_labels: str | None = None
depends_on: str | None = None

NAME = "latency_endpoint_hour"
KEY = ("metric", "provider", "model", "endpoint")
METRICS = ("request", "request_ttft", "overhead", "added", "attempt", "attempt_ttft", "speed")
REPLACED = "SELECT at FROM rollup_pending WHERE NOT is_addition"
PENDING = "(SELECT DISTINCT at FROM rollup_pending) AS p"
UNPACKED = " CROSS JOIN LATERAL unnest(q.buckets, q.samples) AS u (bucket, samples)"
GRANT_READER = f"""
DO $$
BEGIN
    IF EXISTS (SELECT FROM pg_roles WHERE rolname = 'tollway_reader') THEN
        GRANT SELECT ON v_{NAME}, v_{NAME}_packed TO tollway_reader;
    END IF;
END
$$
"""


def upgrade() -> None:
    # Sorting on disk what many endpoints come to takes far longer.
    op.execute("SET LOCAL work_mem = '64MB'")
    create_table()
    # Hours that are outdated are read from the quarters until they are summed again.
    hour = start_of("at")
    op.execute(
        f"INSERT INTO {NAME} (at, {listed(KEY)}, buckets, samples) "  # noqa: S608
        f"SELECT at, {listed(KEY)}, array_agg(bucket ORDER BY bucket), "
        f"array_agg(samples ORDER BY bucket) FROM ("
        f"SELECT {hour} AS at, {listed(KEY)}, u.bucket, sum(u.samples)::bigint AS samples "
        f"FROM latency_quarter_hour AS q{UNPACKED} GROUP BY {hour}, {listed(KEY)}, u.bucket"
        f") AS found GROUP BY at, {listed(KEY)}"
    )
    op.execute(f"ANALYZE {NAME}")
    op.execute(f"CREATE VIEW v_{NAME} AS {complete((*KEY, 'u.bucket', 'u.samples'), UNPACKED)}")
    op.execute(f"CREATE VIEW v_{NAME}_packed AS {complete((*KEY, 'buckets', 'samples'), '')}")
    op.execute(GRANT_READER)


def create_table() -> None:
    others: tuple[sa.Column[Any], ...] = tuple(
        sa.Column(one, sa.Text, nullable=False) for one in KEY[1:]
    )
    op.create_table(
        NAME,
        sa.Column("metric", sa.Text, nullable=False),
        sa.Column("at", sa.DateTime(timezone=True), nullable=False),
        *others,
        sa.Column("buckets", postgresql.ARRAY(sa.SmallInteger), nullable=False),
        sa.Column("samples", postgresql.ARRAY(sa.BigInteger), nullable=False),
    )
    op.create_index(op.f(f"ix_{NAME}_metric_at"), NAME, ["metric", "at"])


def complete(columns: tuple[str, ...], unpacked: str) -> str:
    """Hours, and instead of those that are outdated their quarters and minutes; as in 0012."""
    of_pending = f"SELECT {start_of('at')} FROM rollup_pending"  # noqa: S608
    outdated = "SELECT at FROM rollup_outdated WHERE step = 'hour'"
    quarters = within("latency_quarter_hour", "o.at", "1 hour")
    minutes = within("latency_minute", "p.at", "15 minutes")
    return (
        f"SELECT q.at, {listed(columns)} FROM {NAME} AS q{unpacked} "  # noqa: S608
        f"WHERE q.at NOT IN ({outdated} UNION ALL {of_pending}) UNION ALL "
        f"SELECT o.at, {listed(columns)} FROM ({outdated} UNION {of_pending}) AS o {quarters}"
        f"{unpacked} WHERE q.at NOT IN ({REPLACED}) UNION ALL "
        f"SELECT {start_of('p.at')}, {listed(columns)} FROM {PENDING} {minutes}{unpacked}"
    )


def within(table: str, start: str, length: str) -> str:
    """A join with the rows of a span of time as `q`, found by their index; as in 0012."""
    metrics = ",".join(METRICS)
    return (
        f"CROSS JOIN LATERAL (SELECT * FROM {table} AS m "  # noqa: S608
        f"WHERE m.metric = ANY ('{{{metrics}}}') AND "
        f"m.at >= {start} AND m.at < {start} + interval '{length}' OFFSET 0) AS q"
    )


def start_of(at: str) -> str:
    return f"date_bin('1 hour', {at}, '2000-01-01 00:00:00+00')"


def listed(columns: tuple[str, ...]) -> str:
    return ", ".join(columns)
