"""Upgrades of databases that are in use: rows in every table, and none of them is lost."""

from collections.abc import Callable
from decimal import Decimal
from typing import Any

import pytest
from anyio.to_thread import run_sync as in_thread
from sqlalchemy import Connection, text
from sqlalchemy.exc import IntegrityError

import migrations
from gateway.storage.partitions import ensure_partitions
from gateway.storage.roles import READER, ensure_reader
from tests.storage.samples import NOW, engine_of, migrated
from tests.storage.test_roles import PASSWORD

pytestmark = pytest.mark.anyio


BEFORE = "0008"
BY_TYPE = {
    "uuid": "'0199d1e0-0000-7000-8000-000000000001'",
    "text": "'x'",
    "character varying": "'x'",
    "character": "'x'",
    "bigint": "7",
    "integer": "7",
    "smallint": "7",
    "numeric": "1.5",
    "double precision": "1.5",
    "boolean": "false",
    "timestamp with time zone": f"'{NOW:%Y-%m-%d} 10:30:00+00'",
    "date": f"'{NOW:%Y-%m-%d}'",
    "jsonb": "'{}'",
    "bytea": f"decode('{'ab' * 32}', 'hex')",
    "ARRAY": "'{}'",
}
BY_COLUMN = {
    ("rule_set", "status"): "'active'",
    ("price_change", "effective_to"): "NULL",
    ("price_change", "kind"): "'price'",
    ("price_proposal", "status"): "'open'",
    ("app_user", "role"): "'owner'",
    ("budget_lease", "granted_nusd"): "900",
    ("budget_lease", "shipped_nusd"): "250",
}
MOVED = {"latency_minute", "latency_quarter_hour", "latency_key_hour"}
"""Rows of buckets before, rows of histograms after."""
SUMMED = {
    f"{of}_{grain}"
    for of in ("usage_request", "usage_attempt")
    for grain in ("quarter_hour", "hour")
}
HOURS_BY_PROVIDER = (
    "v_usage_request_provider_hour",
    "v_usage_attempt_provider_hour",
    "v_usage_attempt_key_provider_hour",
)
TABLES = """
SELECT relname::text FROM pg_class JOIN pg_namespace AS n ON n.oid = relnamespace
WHERE n.nspname = 'public' AND relkind IN ('r', 'p') AND NOT relispartition
AND relname <> 'alembic_version' ORDER BY relname
"""
COLUMNS = """
SELECT table_name::text, column_name::text, data_type::text FROM information_schema.columns
WHERE table_schema = 'public' AND is_identity = 'NO' AND is_generated = 'NEVER'
ORDER BY table_name, ordinal_position
"""
VIEWS = "SELECT viewname::text FROM pg_views WHERE schemaname = 'public'"


def tables_of(connection: Connection) -> list[str]:
    return list(connection.scalars(text(TABLES)))


def fill(connection: Connection) -> None:
    """A row in every table, those that others refer to first; a table's checks may need a word."""
    columns: dict[str, dict[str, str]] = {}
    for table, column, kind in connection.execute(text(COLUMNS)):
        value = BY_COLUMN.get((table, column), BY_TYPE[kind])
        columns.setdefault(table, {})[column] = value
    waiting = tables_of(connection)
    while waiting:
        left: list[str] = []
        for table in waiting:
            row = columns[table]
            names, values = ", ".join(row), ", ".join(row.values())
            try:
                with connection.begin_nested():
                    insert = f"INSERT INTO {table} ({names}) VALUES ({values})"
                    connection.execute(text(insert.replace(":", r"\:")))
            except IntegrityError as exc:
                if "violates foreign key" not in str(exc.orig):
                    raise
                left.append(table)
        assert left != waiting
        waiting = left


def counts(connection: Connection, tables: list[str]) -> dict[str, Any]:
    return {
        table: connection.scalar(text(f"SELECT count(*) FROM {table}"))
        for table in tables
        if table != "rollup_outdated"
    }


async def filled(dsn: str) -> dict[str, Any]:
    await in_thread(migrations.upgrade, dsn, BEFORE)
    engine = engine_of(dsn)
    async with engine.begin() as connection:
        await ensure_partitions(connection, [NOW.date()])
        await connection.run_sync(fill)
        found = await connection.run_sync(lambda sync: counts(sync, tables_of(sync)))
    await engine.dispose()
    return found


async def test_a_database_in_use_is_brought_up_to_date_without_losing_a_row(
    anyio_backend: str, postgres_dsn: Callable[..., str]
) -> None:
    dsn = postgres_dsn()
    before = await filled(dsn)
    assert set(before.values()) == {1}

    await in_thread(migrations.upgrade, dsn)

    assert await in_thread(migrations.check, dsn) is None
    engine = engine_of(dsn)
    async with engine.connect() as connection:
        after = await connection.run_sync(lambda sync: counts(sync, list(before)))
        leased = await connection.scalar(text("SELECT leased_nusd FROM budget_period"))
        histograms = await connection.execute(
            text(" UNION ALL ".join(f"SELECT buckets, samples FROM {name}" for name in MOVED))
        )
        packed = [tuple(row) for row in histograms]
        cost = await connection.scalar(text("SELECT sum(cost_usd) FROM v_usage_attempt"))
    await engine.dispose()
    assert after == before
    assert leased == 900 - 250
    assert packed == [([7], [7])] * 3
    assert cost == Decimal("1.5")


async def test_readers_see_every_view_after_an_upgrade(
    anyio_backend: str, postgres_dsn: Callable[..., str]
) -> None:
    # The role belongs to the whole server: there is one once any database was given it.
    newest = await in_thread(migrated, postgres_dsn)
    await in_thread(ensure_reader, newest, PASSWORD)
    dsn = postgres_dsn()
    await filled(dsn)
    engine = engine_of(dsn)
    async with engine.begin() as connection:
        views = await connection.scalars(text(VIEWS))
        await connection.execute(text(f"GRANT SELECT ON {', '.join(views)} TO {READER}"))

    await in_thread(migrations.upgrade, dsn)

    async with engine.connect() as connection:
        unseen = await connection.scalars(
            text(
                f"{VIEWS} AND NOT has_table_privilege("
                f"'{READER}', format('%I.%I', schemaname, viewname), 'SELECT')"
            )
        )
        assert list(unseen) == []
    await engine.dispose()


async def test_hours_by_provider_hold_what_was_counted_before_there_were_any(
    anyio_backend: str, postgres_dsn: Callable[..., str]
) -> None:
    dsn = postgres_dsn()
    await in_thread(migrations.upgrade, dsn, "0015")
    engine = engine_of(dsn)
    async with engine.begin() as connection:
        await connection.run_sync(count_at_two_endpoints)

    await in_thread(migrations.upgrade, dsn)

    async with engine.connect() as connection:
        for view in HOURS_BY_PROVIDER:
            found = await connection.execute(
                text(f"SELECT to_char(at, 'HH24:MI'), provider, cost_usd FROM {view}")
            )
            assert [tuple(row) for row in found] == [("10:00", "x", Decimal(3))], view
    await engine.dispose()


def count_at_two_endpoints(connection: Connection) -> None:
    rows: dict[str, dict[str, str]] = {}
    for table, column, kind in connection.execute(text(COLUMNS)):
        if table in SUMMED:
            rows.setdefault(table, {})[column] = BY_TYPE[kind]
    for table, row in rows.items():
        for endpoint in ("'x/one'", "'x/two'"):
            values = ", ".join((row | {"endpoint": endpoint}).values())
            insert = f"INSERT INTO {table} ({', '.join(row)}) VALUES ({values})"
            connection.execute(text(insert.replace(":", r"\:")))


async def test_hours_of_latency_hold_what_was_counted_before_there_were_any(
    anyio_backend: str, postgres_dsn: Callable[..., str]
) -> None:
    dsn = postgres_dsn()
    await in_thread(migrations.upgrade, dsn, "0016")
    engine = engine_of(dsn)
    async with engine.begin() as connection:
        await connection.execute(
            text(
                "INSERT INTO latency_quarter_hour "
                "(metric, at, provider, model, endpoint, buckets, samples) VALUES "
                "('attempt', '2026-11-20 10:00Z', 'x', 'm', 'x/m', '{1,2}', '{5,7}'), "
                "('attempt', '2026-11-20 10:45Z', 'x', 'm', 'x/m', '{2,9}', '{10,1}'), "
                "('attempt', '2026-11-20 11:00Z', 'x', 'm', 'x/m', '{2}', '{3}')"
            )
        )

    await in_thread(migrations.upgrade, dsn)

    async with engine.connect() as connection:
        found = await connection.execute(
            text(
                "SELECT to_char(at AT TIME ZONE 'UTC', 'HH24:MI'), endpoint, buckets, samples "
                "FROM v_latency_endpoint_hour_packed ORDER BY at"
            )
        )
        assert [tuple(row) for row in found] == [
            ("10:00", "x/m", [1, 2, 9], [5, 17, 1]),
            ("11:00", "x/m", [2], [3]),
        ]
    await engine.dispose()
