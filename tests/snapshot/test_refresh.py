"""Keys follow a real Postgres, and work without it from the last good copy."""

import asyncio
import socket
import stat
import time
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path

import msgspec
import pytest
from sqlalchemy import insert, text

import migrations
from gateway.domain.keys import digest_key
from gateway.snapshot.refresh import KeyRefresh
from gateway.snapshot.snapshot import Snapshot, SnapshotHolder
from gateway.storage.changes import KEYS
from gateway.storage.engine import make_engine
from gateway.storage.key_issue import KeyWish, issue_key
from gateway.storage.keys import StoredKey, revoke_key
from gateway.storage.tables import config_epoch
from tests.pipeline.rig import until
from tests.routing.factories import make_catalogue_of

pytestmark = pytest.mark.anyio
PEPPER = b"pepper"


@pytest.fixture(scope="module")
def migrated(postgres_dsn: Callable[..., str]) -> str:
    """Only ever copied, so that nobody is connected to it."""
    dsn = postgres_dsn()
    migrations.upgrade(dsn)
    return dsn


@pytest.fixture
def dsn(postgres_dsn: Callable[..., str], migrated: str) -> str:
    return postgres_dsn(template=migrated)


@pytest.fixture
def unreachable() -> str:
    with socket.socket() as held:
        held.bind(("127.0.0.1", 0))
        port = held.getsockname()[1]
    return f"postgresql://u:p@127.0.0.1:{port}/d"


def make_holder() -> SnapshotHolder:
    return SnapshotHolder(Snapshot(catalogue=make_catalogue_of()))


def copy_in(directory: Path) -> Path:
    return directory / "snapshot" / "keys.msgpack"


async def issue(dsn: str, name: str = "one", **wish: object) -> tuple[StoredKey, str]:
    engine = make_engine(dsn, pool_size=1, application_name="tests")
    async with engine.begin() as connection:
        made = await issue_key(
            connection,
            msgspec.convert({"name": name, **wish}, KeyWish),
            pepper=PEPPER,
            actor="tests",
        )
    await engine.dispose()
    return made


async def revoke(dsn: str, kid: str) -> None:
    engine = make_engine(dsn, pool_size=1, application_name="tests")
    async with engine.begin() as connection:
        await revoke_key(connection, kid, at=datetime.now(UTC), actor="tests")
    await engine.dispose()


def knows(holder: SnapshotHolder, key: str) -> bool:
    return digest_key(key, PEPPER) in holder.current.callers


async def load(holder: SnapshotHolder, url: str, directory: Path) -> SnapshotHolder:
    """As at the start of a process."""
    refresh = KeyRefresh(holder, url, copy_in(directory))
    await refresh.load()
    await refresh.aclose()
    return holder


@asynccontextmanager
async def following(refresh: KeyRefresh) -> AsyncGenerator[None]:
    task = asyncio.create_task(refresh.run())
    try:
        yield
    finally:
        task.cancel()
        await asyncio.wait([task], timeout=5)


async def test_keys_that_exist_are_known_once_loaded(dsn: str, tmp_path: Path) -> None:
    stored, key = await issue(dsn, labels={"team": "one"}, allowed_models=["acme/*"])
    holder = await load(make_holder(), dsn, tmp_path)

    caller = holder.current.callers[digest_key(key, PEPPER)]
    assert (caller.key_id, caller.kid, caller.name) == (stored.id, stored.kid, "one")
    assert (caller.labels, caller.allowed_models) == ({"team": "one"}, ("acme/*",))
    assert holder.current.confirmed_at_s is not None
    assert abs(time.time() - holder.current.confirmed_at_s) < 5
    assert holder.current.epoch == 1


async def test_a_new_key_is_known_and_a_revoked_one_forgotten_within_a_second(
    dsn: str, tmp_path: Path
) -> None:
    holder = make_holder()
    refresh = KeyRefresh(holder, dsn, copy_in(tmp_path), poll_s=60)
    await refresh.load()
    async with following(refresh):
        first = holder.current.confirmed_at_s
        await until(lambda: holder.current.confirmed_at_s != first)
        stored, key = await issue(dsn)
        created_s = time.monotonic()
        await until(lambda: knows(holder, key))
        assert time.monotonic() - created_s < 1

        await revoke(dsn, stored.kid)
        revoked_s = time.monotonic()
        await until(lambda: not knows(holder, key))
        assert time.monotonic() - revoked_s < 1


async def test_a_change_nobody_announced_is_found_by_polling(dsn: str, tmp_path: Path) -> None:
    holder = make_holder()
    refresh = KeyRefresh(holder, dsn, copy_in(tmp_path), poll_s=0.05)
    await refresh.load()
    before = holder.current
    async with following(refresh):
        await until(lambda: holder.current.confirmed_at_s != before.confirmed_at_s)
        engine = make_engine(dsn, pool_size=1, application_name="tests")
        async with engine.begin() as connection:
            # As if its announcement had been lost on the way.
            await connection.execute(
                insert(config_epoch).values(name=KEYS, epoch=7, changed_at=datetime.now(UTC))
            )
        await engine.dispose()
        await until(lambda: holder.current.epoch == 7)


async def test_a_confirmation_alone_changes_nothing_but_its_time(dsn: str, tmp_path: Path) -> None:
    await issue(dsn)
    holder = make_holder()
    refresh = KeyRefresh(holder, dsn, copy_in(tmp_path), poll_s=0.02)
    await refresh.load()
    before = holder.current
    async with following(refresh):
        await until(lambda: holder.current.confirmed_at_s != before.confirmed_at_s)

    assert holder.current.callers is before.callers
    assert holder.current.catalogue is before.catalogue


async def test_without_postgres_the_last_good_copy_serves(
    dsn: str, unreachable: str, tmp_path: Path
) -> None:
    _, key = await issue(dsn, default_model="acme/large")
    first = await load(make_holder(), dsn, tmp_path)
    second = await load(make_holder(), unreachable, tmp_path)

    assert second.current.callers == first.current.callers
    assert second.current.confirmed_at_s == pytest.approx(first.current.confirmed_at_s, abs=1)
    assert key.encode() not in copy_in(tmp_path).read_bytes()


async def test_the_copy_is_as_fresh_as_its_last_confirmation_and_not_as_its_last_change(
    dsn: str, unreachable: str, tmp_path: Path
) -> None:
    await issue(dsn)
    holder = make_holder()
    refresh = KeyRefresh(holder, dsn, copy_in(tmp_path), poll_s=0.02, copy_s=0.1)
    await refresh.load()
    loaded_at_s = holder.current.confirmed_at_s
    assert loaded_at_s is not None
    written_ns = copy_in(tmp_path).stat().st_mtime_ns
    async with following(refresh):
        await until(lambda: copy_in(tmp_path).stat().st_mtime_ns > written_ns)
    later = await load(make_holder(), unreachable, tmp_path)

    assert later.current.confirmed_at_s is not None
    assert later.current.confirmed_at_s > loaded_at_s + 0.05
    assert later.current.callers == holder.current.callers


async def test_the_copy_is_its_owners_alone_and_leaves_no_draft(dsn: str, tmp_path: Path) -> None:
    await issue(dsn)
    await load(make_holder(), dsn, tmp_path)

    assert stat.S_IMODE(copy_in(tmp_path).stat().st_mode) == 0o600
    assert stat.S_IMODE(copy_in(tmp_path).parent.stat().st_mode) == 0o700
    assert [path.name for path in copy_in(tmp_path).parent.iterdir()] == ["keys.msgpack"]


async def test_without_postgres_and_without_a_copy_nobody_is_known_and_nothing_fails(
    unreachable: str, tmp_path: Path
) -> None:
    holder = await load(make_holder(), unreachable, tmp_path)

    assert holder.current.callers == {}
    assert holder.current.confirmed_at_s is None


@pytest.mark.parametrize("content", [b"", b"\xc1", b"not a copy", msgspec.msgpack.encode({"a": 1})])
async def test_a_damaged_copy_is_passed_over(
    unreachable: str, tmp_path: Path, content: bytes
) -> None:
    copy_in(tmp_path).parent.mkdir()
    copy_in(tmp_path).write_bytes(content)
    holder = await load(make_holder(), unreachable, tmp_path)

    assert holder.current.callers == {}


async def test_a_copy_that_cannot_be_written_keeps_nobody_out(dsn: str, tmp_path: Path) -> None:
    _, key = await issue(dsn)
    (tmp_path / "file").write_text("")
    holder = await load(make_holder(), dsn, tmp_path / "file")

    assert knows(holder, key)


async def test_a_postgres_that_never_answers_delays_a_start_by_less_than_three_seconds(
    tmp_path: Path,
) -> None:
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        silent.listen()
        port = silent.getsockname()[1]
        began_s = time.monotonic()
        url = f"postgresql://u:p@127.0.0.1:{port}/d"
        await load(make_holder(), url, tmp_path)

    assert time.monotonic() - began_s < 3


async def test_a_connection_that_breaks_is_made_anew(dsn: str, tmp_path: Path) -> None:
    holder = make_holder()
    refresh = KeyRefresh(holder, dsn, copy_in(tmp_path), poll_s=60)
    await refresh.load()
    before = holder.current
    async with following(refresh):
        await until(lambda: holder.current.confirmed_at_s != before.confirmed_at_s)
        engine = make_engine(dsn, pool_size=1, application_name="tests")
        async with engine.begin() as connection:
            await connection.execute(
                text(
                    "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
                    "WHERE datname = current_database() AND pid <> pg_backend_pid() "
                    # Whoever vacuums it meanwhile is not ours to end.
                    "AND backend_type = 'client backend'"
                )
            )
        await engine.dispose()
        _, key = await issue(dsn)
        await until(lambda: knows(holder, key))
