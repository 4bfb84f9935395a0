import os
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path

import pytest
from anyio import create_task_group
from anyio.to_thread import run_sync as in_thread
from sqlalchemy import Connection, inspect, text

import migrations
from gateway.storage.partitions import days_ahead, ensure_partitions
from gateway.storage.tables import PARTITIONED, views
from tests.storage.samples import NOW, engine_of, make_full_record, migrated, store


async def run(dsn: str, statement: str) -> None:
    engine = engine_of(dsn)
    async with engine.begin() as connection:
        await connection.execute(text(statement))
    await engine.dispose()


def test_an_empty_database_is_brought_to_the_newest_revision(
    postgres_dsn: Callable[..., str],
) -> None:
    dsn = postgres_dsn()
    assert migrations.current(dsn) is None

    migrations.upgrade(dsn)
    migrations.upgrade(dsn)

    assert migrations.current(dsn) == migrations.head()
    assert migrations.check(dsn) is None


@pytest.mark.anyio
async def test_the_check_is_green_with_partitions_and_rows(
    anyio_backend: str, postgres_dsn: Callable[..., str]
) -> None:
    dsn = await in_thread(migrated, postgres_dsn)
    engine = engine_of(dsn)
    async with engine.begin() as connection:
        await ensure_partitions(connection, days_ahead(NOW.date()))
        await store(connection, make_full_record())
    await engine.dispose()

    assert await in_thread(migrations.check, dsn) is None


@pytest.mark.anyio
@pytest.mark.parametrize(
    "change",
    [
        pytest.param("ALTER TABLE api_key ADD COLUMN tenant text", id="column-too-many"),
        pytest.param("DROP TABLE audit_entry", id="table-missing"),
        pytest.param("DROP INDEX ix_attempt_record_started_at", id="index-missing"),
        pytest.param("ALTER TABLE config_epoch ALTER epoch TYPE int", id="other-type"),
        pytest.param("ALTER TABLE api_key ALTER name DROP NOT NULL", id="nullable"),
        pytest.param("CREATE TABLE stranger (id int)", id="table-too-many"),
    ],
)
async def test_the_check_notices_drift(
    anyio_backend: str, postgres_dsn: Callable[..., str], change: str
) -> None:
    dsn = await in_thread(migrated, postgres_dsn)
    await run(dsn, change)

    assert await in_thread(migrations.check, dsn) is not None


def test_many_upgrades_at_once_leave_one_result(postgres_dsn: Callable[..., str]) -> None:
    dsn = postgres_dsn()
    program = "import migrations, sys; migrations.upgrade(sys.argv[1])"
    root = Path(migrations.__file__).parent.parent
    starters = [
        subprocess.Popen(
            [sys.executable, "-c", program, dsn], cwd=root, stderr=subprocess.PIPE, text=True
        )
        for _ in range(3)
    ]
    threads = [threading.Thread(target=migrations.upgrade, args=(dsn,)) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)

    complaints = [starter.communicate(timeout=60)[1] for starter in starters]

    assert complaints == ["", "", ""]
    assert [starter.returncode for starter in starters] == [0, 0, 0]
    assert migrations.check(dsn) is None


@pytest.mark.anyio
async def test_a_database_of_a_newer_version_is_left_alone(
    anyio_backend: str, postgres_dsn: Callable[..., str]
) -> None:
    dsn = await in_thread(migrated, postgres_dsn)
    await run(dsn, "UPDATE alembic_version SET version_num = '9999'")

    with pytest.raises(migrations.MigrationError, match="newer Tollway"):
        await in_thread(migrations.upgrade, dsn)


def test_an_unmigrated_database_is_not_compared(postgres_dsn: Callable[..., str]) -> None:
    with pytest.raises(migrations.MigrationError, match="tollway migrate"):
        migrations.check(postgres_dsn())


def test_a_server_that_is_away_is_named_without_its_password(tmp_path: Path) -> None:
    with pytest.raises(migrations.MigrationError) as caught:
        migrations.upgrade(f"postgresql://someone:s3cr3t@/tollway?host={tmp_path}")

    assert str(tmp_path) in str(caught.value)
    assert "s3cr3t" not in str(caught.value)


def test_the_migrations_come_with_the_package_whatever_the_working_directory(
    postgres_dsn: Callable[..., str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)

    migrations.upgrade(postgres_dsn())


@pytest.mark.anyio
async def test_the_tables_are_partitioned_without_a_default(
    anyio_backend: str, postgres_dsn: Callable[..., str]
) -> None:
    dsn = await in_thread(migrated, postgres_dsn)
    engine = engine_of(dsn)
    async with engine.connect() as connection:
        kinds = await connection.execute(
            text("SELECT partrelid::regclass::text, partstrat, partdefid FROM pg_partitioned_table")
        )
        found = sorted(tuple(row) for row in kinds)
    await engine.dispose()

    assert found == sorted((table.name, b"r", 0) for table in PARTITIONED)


@pytest.mark.anyio
async def test_the_views_have_the_columns_that_readers_are_told(
    anyio_backend: str, postgres_dsn: Callable[..., str]
) -> None:
    dsn = await in_thread(migrated, postgres_dsn)
    engine = engine_of(dsn)
    async with engine.connect() as connection:
        found = await connection.run_sync(
            lambda sync: {
                name: [column["name"] for column in inspect(sync).get_columns(name)]
                for name in inspect(sync).get_view_names()
            }
        )
    await engine.dispose()

    assert found == {view.name: list(view.columns.keys()) for view in views.sorted_tables}


@pytest.mark.anyio
async def test_partitions_are_made_once_by_many_makers_with_all_their_indexes(
    anyio_backend: str, postgres_dsn: Callable[..., str]
) -> None:
    dsn = await in_thread(migrated, postgres_dsn)
    days = days_ahead(NOW.date(), 3)

    async def make() -> None:
        engine = engine_of(dsn)
        async with engine.begin() as connection:
            await ensure_partitions(connection, days)
        await engine.dispose()

    async with create_task_group() as tasks:
        for _ in range(4):
            tasks.start_soon(make)

    engine = engine_of(dsn)
    async with engine.connect() as connection:
        found = await connection.scalars(
            text("SELECT relname::text FROM pg_class WHERE relispartition AND relkind = 'r'")
        )
        names = sorted(found)
        counts = await connection.run_sync(index_counts)
    await engine.dispose()
    assert names == sorted(f"{table.name}_{day:%Y%m%d}" for table in PARTITIONED for day in days)
    assert counts == {"request_record_20261121": 4, "attempt_record_20261121": 1}


def index_counts(connection: Connection) -> dict[str, int]:
    """Beside the primary key."""
    names = ("request_record_20261121", "attempt_record_20261121")
    return {name: len(inspect(connection).get_indexes(name)) for name in names}


@pytest.mark.anyio
async def test_a_partition_keeps_the_checks_and_the_key_of_its_table(
    anyio_backend: str, postgres_dsn: Callable[..., str]
) -> None:
    dsn = await in_thread(migrated, postgres_dsn)
    engine = engine_of(dsn)
    async with engine.begin() as connection:
        await ensure_partitions(connection, [NOW.date()])
        found = await connection.scalars(
            text(
                "SELECT contype FROM pg_constraint "
                "WHERE conrelid = 'attempt_record_20261121'::regclass AND contype IN ('c', 'p')"
            )
        )
        kinds = sorted(found)
    await engine.dispose()

    assert kinds == [b"c", b"p"]


def test_the_alembic_command_works_from_the_checkout(postgres_dsn: Callable[..., str]) -> None:
    root = Path(migrations.__file__).parent.parent
    environment = {**os.environ, "TOLLWAY_DATABASE_URL": postgres_dsn()}

    for arguments in (["upgrade", "head"], ["check"]):
        done = subprocess.run(
            [sys.executable, "-m", "alembic", *arguments],
            cwd=root,
            env=environment,
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stderr
