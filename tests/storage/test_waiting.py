import asyncio
import time
from collections.abc import AsyncIterator, Callable
from urllib.parse import parse_qs, urlsplit

import pytest
from sqlalchemy import func, select, text
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import AsyncConnection

from gateway.storage import waiting
from gateway.storage.engine import asyncpg_kwargs, connect_raw, make_engine, shown_url, with_role
from gateway.storage.waiting import (
    DatabaseTimeoutError,
    DatabaseUnavailableError,
    abandoned_count,
    bounded,
    run_bounded,
    sqlstate_of,
)
from tests.storage.samples import engine_of

DEADLINE_S = 20.0


class Freezer:
    """Carries bytes to a server and back until told to freeze, as a stopped server would."""

    def __init__(self, socket_path: str) -> None:
        self._socket_path = socket_path
        self._moving = asyncio.Event()
        self._moving.set()
        self._tasks: set[asyncio.Task[None]] = set()
        self.port = 0

    async def serve(self) -> asyncio.Server:
        server = await asyncio.start_server(self._accept, "127.0.0.1", 0)
        self.port = server.sockets[0].getsockname()[1]
        return server

    def freeze(self) -> None:
        self._moving.clear()

    def stop(self) -> None:
        for task in self._tasks:
            task.cancel()

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        there = await asyncio.open_unix_connection(self._socket_path)
        for source, sink in ((reader, there[1]), (there[0], writer)):
            task = asyncio.create_task(self._carry(source, sink))
            self._tasks.add(task)

    async def _carry(self, source: asyncio.StreamReader, sink: asyncio.StreamWriter) -> None:
        try:
            while data := await source.read(65536):
                await self._moving.wait()
                sink.write(data)
        except ConnectionError:
            pass
        finally:
            sink.close()


@pytest.fixture(scope="module")
def dsn(postgres_dsn: Callable[..., str]) -> str:
    return postgres_dsn()


@pytest.fixture
async def freezer(anyio_backend: str, dsn: str) -> AsyncIterator[tuple[Freezer, str]]:
    """A freezer in front of the server, and the address that leads through it."""
    parts = urlsplit(dsn)
    query = parse_qs(parts.query)
    if "host" not in query:
        pytest.skip("the test server has no socket to stand in front of")
    freezer = Freezer(f"{query['host'][0]}/.s.PGSQL.{query.get('port', ['5432'])[0]}")
    server = await freezer.serve()
    login = parts.netloc.rpartition("@")[0]
    yield freezer, f"postgresql://{login}@127.0.0.1:{freezer.port}{parts.path}?sslmode=disable"
    freezer.stop()
    server.close()


async def nobody_is_left_behind() -> None:
    deadline = time.monotonic() + DEADLINE_S
    while abandoned_count():
        assert time.monotonic() < deadline, "an abandoned call still hangs"
        await asyncio.sleep(0.01)


async def one(connection: AsyncConnection) -> int:
    return int(await connection.scalar(select(1)) or 0)


@pytest.mark.anyio
async def test_a_server_that_freezes_is_walked_away_from_in_time(
    freezer: tuple[Freezer, str],
) -> None:
    ice, dsn = freezer
    engine = make_engine(dsn, pool_size=1)
    assert await run_bounded(engine, one, seconds=DEADLINE_S) == 1
    ice.freeze()

    started = time.monotonic()
    with pytest.raises(DatabaseTimeoutError):
        await run_bounded(engine, one, seconds=0.2)
    waited_s = time.monotonic() - started

    await nobody_is_left_behind()
    await engine.dispose()
    assert waited_s < 5


@pytest.mark.anyio
async def test_the_pool_works_again_after_a_statement_that_hung(
    anyio_backend: str, dsn: str
) -> None:
    engine = engine_of(dsn, pool_size=1)

    with pytest.raises(DatabaseTimeoutError):
        await run_bounded(
            engine, lambda connection: connection.execute(select(func.pg_sleep(8))), seconds=0.2
        )

    await nobody_is_left_behind()
    assert await run_bounded(engine, one, seconds=DEADLINE_S) == 1
    await engine.dispose()


@pytest.mark.anyio
async def test_a_cancelled_caller_does_not_wait_for_a_frozen_server(
    freezer: tuple[Freezer, str],
) -> None:
    ice, dsn = freezer
    engine = make_engine(dsn, pool_size=1)
    assert await run_bounded(engine, one, seconds=DEADLINE_S) == 1
    ice.freeze()
    task = asyncio.create_task(run_bounded(engine, one, seconds=600))
    await asyncio.sleep(0.05)

    task.cancel()
    done, _ = await asyncio.wait({task}, timeout=DEADLINE_S)

    assert done == {task}
    assert task.cancelled()
    await nobody_is_left_behind()
    await engine.dispose()


@pytest.mark.anyio
async def test_too_many_hanging_calls_are_not_added_to(
    anyio_backend: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    stubborn = asyncio.Event()

    async def hang() -> None:
        while not stubborn.is_set():
            try:
                await stubborn.wait()
            except asyncio.CancelledError:
                continue

    monkeypatch.setattr(waiting, "MAX_ABANDONED", 2)
    for _ in range(2):
        with pytest.raises(DatabaseTimeoutError):
            await bounded(hang(), 0.01)

    with pytest.raises(DatabaseUnavailableError, match="still hang"):
        await bounded(hang(), 0.01)

    stubborn.set()
    await nobody_is_left_behind()


@pytest.mark.anyio
async def test_work_is_committed_and_its_errors_come_through(anyio_backend: str, dsn: str) -> None:
    engine = engine_of(dsn)

    await run_bounded(engine, lambda c: c.execute(text("CREATE TABLE t (n int)")), seconds=30)
    with pytest.raises(DBAPIError) as caught:
        await run_bounded(engine, lambda c: c.execute(text("SELECT * FROM nowhere")), seconds=30)

    assert sqlstate_of(caught.value) == "42P01"
    assert (
        await run_bounded(engine, lambda c: c.scalar(text("SELECT count(*) FROM t")), seconds=30)
        == 0
    )
    await engine.dispose()


@pytest.mark.anyio
async def test_a_slow_statement_is_ended_by_the_server(anyio_backend: str, dsn: str) -> None:
    engine = engine_of(dsn, statement_timeout_s=0.1)

    with pytest.raises(DBAPIError) as caught:
        await run_bounded(engine, lambda c: c.execute(select(func.pg_sleep(9))), seconds=30)

    await engine.dispose()
    assert sqlstate_of(caught.value) == "57014"


@pytest.mark.anyio
@pytest.mark.parametrize("user", ["tollway_owner", "nobody_of_that_name"])
async def test_a_wrong_password_means_unavailable_and_is_not_repeated(
    anyio_backend: str, dsn: str, user: str
) -> None:
    engine = engine_of(with_role(dsn, user=user, password="s3cr3t-w0rd"))

    with pytest.raises(DatabaseUnavailableError) as caught:
        await run_bounded(engine, one, seconds=30)

    await engine.dispose()
    assert "s3cr3t-w0rd" not in str(caught.value)
    assert "s3cr3t-w0rd" not in repr(engine) + str(engine.url)


@pytest.mark.anyio
async def test_no_server_means_unavailable(anyio_backend: str, tmp_path: object) -> None:
    engine = engine_of(f"postgresql://u:p@/db?host={tmp_path}")

    with pytest.raises(DatabaseUnavailableError):
        await run_bounded(engine, one, seconds=30)

    await engine.dispose()


@pytest.mark.anyio
async def test_a_raw_connection_carries_our_settings(anyio_backend: str, dsn: str) -> None:
    connection = await connect_raw(
        asyncpg_kwargs(
            dsn.replace("postgresql://", "postgresql+asyncpg://")
            + ("&" if "?" in dsn else "?")
            + "connect_timeout=7",
            application_name="tests-raw",
            lock_timeout_s=3,
        )
    )

    command = await connection.execute(
        "DO $$ BEGIN ASSERT current_setting('lock_timeout') = '3s'; "
        "ASSERT current_setting('application_name') = 'tests-raw'; "
        "ASSERT current_setting('statement_timeout') = '10s'; END $$"
    )

    await connection.close()
    assert command == "DO"


@pytest.mark.parametrize(
    ("dsn", "shown"),
    [
        pytest.param("postgresql://u:p@db:5433/t?x=p", "postgresql://db:5433/t", id="tcp"),
        pytest.param("postgres://u:p@/t?host=/run/pg", "postgresql:///run/pg/t", id="socket"),
        pytest.param("postgresql+asyncpg:///t", "postgresql://localhost/t", id="nothing"),
    ],
)
def test_an_address_is_shown_without_its_secrets(dsn: str, shown: str) -> None:
    assert shown_url(dsn) == shown


@pytest.mark.parametrize(
    "dsn",
    [
        pytest.param("mysql://u:s3cr3t@h/d", id="other-database"),
        pytest.param("u:s3cr3t@h/d", id="no-scheme"),
        pytest.param("postgresql://u:s3cr3t@[h/d", id="broken"),
    ],
)
def test_an_address_that_cannot_be_used_is_refused_without_repeating_it(dsn: str) -> None:
    with pytest.raises(ValueError, match="database address") as caught:
        make_engine(dsn)

    assert "s3cr3t" not in str(caught.value)


def test_another_role_of_the_same_database() -> None:
    assert (
        with_role("postgresql://u:p@/d?host=/a%20b&password=p", user="r", password="x/y@z")
        == "postgresql://r:x%2Fy%40z@/d?host=/a%20b"
    )
    assert with_role("postgresql://h1:1,h2:2/d", user="r", password="x") == (
        "postgresql://r:x@h1:1,h2:2/d"
    )
