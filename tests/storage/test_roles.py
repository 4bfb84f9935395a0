import asyncio
from collections.abc import AsyncIterator, Callable

import pytest
from sqlalchemy import text
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import AsyncEngine

import migrations
from gateway.domain.keys import digest_key
from gateway.storage.engine import with_role
from gateway.storage.keys import insert_key
from gateway.storage.roles import READER, ReaderRoleError, ensure_reader, reader_password
from gateway.storage.tables import metadata
from tests.storage.samples import engine_of, make_full_record, make_stored_key, migrated, store

# The role belongs to the whole server, which tests share: all of them give it the same password.
PASSWORD = reader_password(b"the secret of the tests")
DIGEST = digest_key("a key", b"pepper")


@pytest.fixture(scope="module")
def reader_dsn(dsn: str) -> str:
    return ensure_reader(dsn, PASSWORD)


@pytest.fixture
async def reader(anyio_backend: str, reader_dsn: str) -> AsyncIterator[AsyncEngine]:
    engine = engine_of(reader_dsn, statement_timeout_s=0)
    yield engine
    await engine.dispose()


def owner(dsn: str, statement: str) -> list[tuple[object, ...]]:
    async def connect_and_run() -> list[tuple[object, ...]]:
        engine = engine_of(dsn)
        try:
            return await run(engine, statement)
        finally:
            await engine.dispose()

    return asyncio.run(connect_and_run())


async def run(engine: AsyncEngine, statement: str) -> list[tuple[object, ...]]:
    async with engine.begin() as connection:
        result = await connection.execute(text(statement))
        return [tuple(row) for row in result] if result.returns_rows else []


@pytest.mark.anyio
async def test_the_reader_sees_requests_attempts_and_keys(dsn: str, reader: AsyncEngine) -> None:
    engine = engine_of(dsn)
    async with engine.begin() as connection:
        await store(connection, make_full_record())
        await insert_key(connection, make_stored_key(), digest=DIGEST)
    await engine.dispose()

    assert await run(reader, "SELECT count(*) FROM v_request") == [(1,)]
    assert await run(reader, "SELECT count(*) FROM v_attempt") == [(2,)]
    assert await run(reader, "SELECT kid FROM v_api_key") == [("01234567",)]
    assert await run(reader, "SELECT count(*) FROM v_ship_watermark") == [(0,)]


@pytest.mark.anyio
@pytest.mark.parametrize("table", sorted([*metadata.tables, "alembic_version"]))
async def test_the_reader_cannot_read_any_table(reader: AsyncEngine, table: str) -> None:
    with pytest.raises(DBAPIError, match="permission denied"):
        await run(reader, f"SELECT * FROM {table}")


@pytest.mark.anyio
@pytest.mark.parametrize(
    "statement",
    [
        pytest.param("DELETE FROM v_request", id="delete"),
        pytest.param("UPDATE v_api_key SET name = 'x'", id="update"),
        pytest.param("INSERT INTO v_ship_watermark VALUES ('w', now())", id="insert"),
        pytest.param("CREATE TABLE mine (id int)", id="create"),
        pytest.param("SELECT set_config('role', 'tollway_owner', false)", id="become-owner"),
        pytest.param("SELECT pg_read_file('/etc/passwd')", id="files"),
        pytest.param("SELECT rolpassword FROM pg_authid", id="passwords"),
        pytest.param("SELECT digest FROM v_api_key", id="digest"),
    ],
)
async def test_the_reader_cannot_do_more_than_read_even_when_it_lifts_its_own_limits(
    reader: AsyncEngine, statement: str
) -> None:
    with pytest.raises(DBAPIError):
        await run(reader, statement)
    async with reader.connect() as connection:
        await connection.execute(text("SET default_transaction_read_only = off"))
        await connection.commit()
        with pytest.raises(DBAPIError):
            await connection.execute(text(statement))


@pytest.mark.anyio
async def test_the_reader_s_transactions_are_read_only(reader: AsyncEngine) -> None:
    assert await run(reader, "SHOW transaction_read_only") == [("on",)]


def test_making_sure_again_changes_nothing_and_gives_the_same_address(
    dsn: str, reader_dsn: str
) -> None:
    assert ensure_reader(dsn, PASSWORD) == reader_dsn


def test_rights_that_were_lost_are_given_again(postgres_dsn: Callable[..., str]) -> None:
    dsn = migrated(postgres_dsn)
    ensure_reader(dsn, PASSWORD)
    owner(dsn, f"REVOKE SELECT ON v_request FROM {READER}")

    reader_dsn = ensure_reader(dsn, PASSWORD)

    assert owner(reader_dsn, "SELECT count(*) FROM v_request") == [(0,)]


def test_a_role_that_may_not_set_up_the_reader_is_told_what_to_do(
    postgres_dsn: Callable[..., str],
) -> None:
    dsn = migrated(postgres_dsn)
    name = "weakling_" + dsn.partition("tollway_test_")[2][:12]
    owner(dsn, f"CREATE ROLE {name} LOGIN PASSWORD 'weak-s3cr3t'")

    with pytest.raises(ReaderRoleError) as caught:
        ensure_reader(with_role(dsn, user=name, password="weak-s3cr3t"), PASSWORD + "other")

    owner(dsn, f"DROP ROLE {name}")
    message = str(caught.value)
    assert "GRANT SELECT ON" in message
    assert "weak-s3cr3t" not in message
    assert PASSWORD not in message


def test_a_role_that_may_not_make_roles_can_still_migrate(postgres_dsn: Callable[..., str]) -> None:
    dsn = postgres_dsn()
    name = "plain_" + dsn.partition("tollway_test_")[2][:12]
    owner(dsn, f"CREATE ROLE {name} LOGIN PASSWORD 'plain'")
    owner(dsn, f"GRANT CREATE, USAGE ON SCHEMA public TO {name}")
    plain_dsn = with_role(dsn, user=name, password="plain")

    migrations.upgrade(plain_dsn)
    differences = migrations.check(plain_dsn)

    owner(dsn, f"GRANT {name} TO CURRENT_USER")
    owner(dsn, f"DROP OWNED BY {name} CASCADE")
    owner(dsn, f"DROP ROLE {name}")
    assert differences is None


def test_the_password_is_the_same_wherever_the_secret_is() -> None:
    assert reader_password(b"one") == reader_password(b"one")
    assert reader_password(b"one") != reader_password(b"two")
