import asyncio
import os
import signal
import stat
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import adbc_driver_postgresql.dbapi as adbc  # pyright: ignore[reportMissingTypeStubs] - it has none
import asyncpg  # pyright: ignore[reportMissingTypeStubs] - it has none
import psutil
import pytest
from sqlalchemy import text
from sqlalchemy.engine import make_url
from sqlalchemy.ext.asyncio import create_async_engine

from gateway.storage.embedded import EmbeddedPostgres
from gateway.storage.pg_process import EmbeddedPostgresError

DRIVER: Any = asyncpg
ADBC: Any = adbc
FAST = {"fsync": "off"}


def query(url: str, *statements: str) -> Any:
    """Run statements one after the other; the value of the last one."""

    async def run() -> Any:
        connection = await DRIVER.connect(url, timeout=10)
        try:
            value = None
            for statement in statements:
                value = await connection.fetchval(statement)
            return value
        finally:
            await connection.close()

    return asyncio.run(run())


def wait_until(condition: Callable[[], bool], within_s: float = 20) -> None:
    deadline = time.monotonic() + within_s
    while not condition():
        assert time.monotonic() < deadline, "the condition did not come true in time"
        time.sleep(0.02)


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def run_starter(data_dir: Path, then: str) -> "subprocess.Popen[str]":
    """Another process that starts the server, prints its pid, and goes on with `then`."""
    code = (
        "import sys, time, os\n"
        "from pathlib import Path\n"
        "from gateway.storage.embedded import EmbeddedPostgres\n"
        "server = EmbeddedPostgres(Path(sys.argv[1]), settings={'fsync': 'off'})\n"
        "server.start()\n"
        "print(server.pid, flush=True)\n"
    )
    return subprocess.Popen(
        [sys.executable, "-c", code + then, str(data_dir)],
        stdout=subprocess.PIPE,
        text=True,
        cwd=Path(__file__).parents[2],
    )


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[EmbeddedPostgres]:
    """A running server for tests that only look."""
    embedded = EmbeddedPostgres(tmp_path_factory.mktemp("shared") / "tollway")
    embedded.start()
    yield embedded
    embedded.stop()


@pytest.fixture
def data_dir() -> Iterator[Path]:
    """A short one, wherever the tests run: long paths have tests of their own."""
    with tempfile.TemporaryDirectory(prefix="tw-") as directory:
        yield Path(directory) / "tollway"


@pytest.fixture
def own_server(data_dir: Path) -> Iterator[EmbeddedPostgres]:
    """A server that a test may break; not started."""
    embedded = EmbeddedPostgres(data_dir, settings=FAST)
    yield embedded
    embedded.stop()


def test_asyncpg_sqlalchemy_and_adbc_understand_the_url(server: EmbeddedPostgres) -> None:
    async def through_sqlalchemy() -> Any:
        engine = create_async_engine(make_url(server.url).set(drivername="postgresql+asyncpg"))
        async with engine.connect() as connection:
            value = (await connection.execute(text("SELECT current_user::text"))).scalar_one()
        await engine.dispose()
        return value

    with ADBC.connect(server.url) as connection, connection.cursor() as cursor:
        cursor.execute("SELECT current_user::text")
        through_adbc = cursor.fetchone()

    assert query(server.url, "SELECT current_user::text") == "tollway_owner"
    assert asyncio.run(through_sqlalchemy()) == "tollway_owner"
    assert through_adbc == ("tollway_owner",)
    assert server.dsn == server.url


@pytest.mark.anyio
async def test_it_starts_where_an_event_loop_is_running(server: EmbeddedPostgres) -> None:
    assert server.start() == server.url


@pytest.mark.parametrize(
    ("question", "answer"),
    [
        (
            "SELECT pg_get_userbyid(datdba) FROM pg_database WHERE datname = 'tollway'",
            "tollway_owner",
        ),
        ("SELECT pg_encoding_to_char(encoding) FROM pg_database WHERE datname = 'tollway'", "UTF8"),
        ("SELECT datlocale FROM pg_database WHERE datname = 'tollway'", "C.UTF-8"),
        ("SHOW server_version_num", "18"),
        ("SHOW data_checksums", "on"),
        ("SHOW TimeZone", "UTC"),
        ("SHOW listen_addresses", ""),
        ("SHOW fsync", "on"),
        ("SHOW synchronous_commit", "on"),
        ("SHOW shared_buffers", "128MB"),
        ("SHOW max_connections", "60"),
        ("SHOW max_wal_size", "1GB"),
    ],
)
def test_the_database_is_set_up_as_promised(
    server: EmbeddedPostgres, question: str, answer: str
) -> None:
    value = str(query(server.url, question))

    assert value.startswith(answer) if question.endswith("_num") else value == answer


def test_the_owner_may_create_roles_and_nothing_more(server: EmbeddedPostgres) -> None:
    row = query(
        server.url,
        "SELECT array[rolsuper, rolcreaterole, rolcreatedb, rolreplication, rolbypassrls]"
        " FROM pg_roles WHERE rolname = current_user",
    )

    assert row == [False, True, False, False, False]
    with pytest.raises(asyncpg.InsufficientPrivilegeError):
        query(server.url, "COPY (SELECT 1) TO PROGRAM 'true'")


def test_nobody_logs_in_without_the_password_nor_as_the_superuser(server: EmbeddedPostgres) -> None:
    url = make_url(server.url)

    def with_changes(**changes: str | None) -> str:
        return url.set(**changes).render_as_string(hide_password=False)  # pyright: ignore[reportArgumentType] - a plain mapping

    with pytest.raises(asyncpg.InvalidPasswordError):
        query(with_changes(password="wrong"), "SELECT 1")
    with pytest.raises(asyncpg.InvalidPasswordError):
        query(with_changes(password=""), "SELECT 1")
    with pytest.raises(asyncpg.InvalidAuthorizationSpecificationError, match="reject"):
        query(with_changes(username="tollway_admin"), "SELECT 1")


def test_it_listens_on_no_network_address(server: EmbeddedPostgres) -> None:
    assert server.pid is not None
    process = psutil.Process(server.pid)

    listening: list[object] = []
    for each in (process, *process.children(recursive=True)):
        # Autovacuum's workers come and go.
        with suppress(psutil.NoSuchProcess):
            listening += each.net_connections(kind="inet")

    assert listening == []


def test_the_password_is_nowhere_but_in_its_file_and_the_url(server: EmbeddedPostgres) -> None:
    password = make_url(server.url).password
    assert password
    assert server.pid is not None
    process = psutil.Process(server.pid)
    home = server.socket_dir.parent

    written = [
        path.name
        for path in home.rglob("*")
        if path.is_file() and password.encode() in path.read_bytes()
    ]

    assert written == ["password"]
    assert mode(home / "password") == 0o600
    assert password not in repr(server)
    for each in (process, *process.parents()[:1]):
        assert password not in " ".join(each.cmdline())


def test_the_child_has_a_clean_environment_no_stray_files_and_its_own_session(
    own_server: EmbeddedPostgres, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PGPORT", "1")
    monkeypatch.setenv("PGOPTIONS", "-c search_path=nowhere")
    monkeypatch.setenv("OPENAI_API_KEY", "secret")
    monkeypatch.setenv("LC_ALL", "de_DE.UTF-8")
    stray, other_end = os.pipe()
    os.set_inheritable(stray, True)

    own_server.start()

    assert own_server.pid is not None
    process = psutil.Process(own_server.pid)
    supervisor = process.parent()
    assert supervisor is not None
    assert process.environ() == {"PATH": "/usr/bin:/bin", "LC_ALL": "C", "TZ": "UTC"}
    assert "OPENAI_API_KEY" not in supervisor.environ()
    ours = Path(f"/proc/self/fd/{stray}").readlink()
    for each in (process, supervisor):
        directory = Path(f"/proc/{each.pid}/fd")
        assert ours not in [entry.readlink() for entry in directory.iterdir()]
        assert os.getsid(each.pid) != os.getsid(0)
    os.close(stray)
    os.close(other_end)


def test_directories_are_private_and_those_above_are_left_alone(tmp_path: Path) -> None:
    outer = tmp_path / "outer"
    outer.mkdir()
    outer.chmod(0o755)
    above = [tmp_path, outer, *tmp_path.parents]
    before = [mode(path) for path in above]
    embedded = EmbeddedPostgres(outer / "tollway", settings=FAST)

    embedded.start()
    embedded.stop()
    embedded.start()
    embedded.stop()

    assert [mode(path) for path in above] == before
    assert mode(outer / "tollway") == 0o700
    assert mode(outer / "tollway" / "postgres") == 0o700
    assert mode(outer / "tollway" / "postgres" / "data") == 0o700


def test_a_data_directory_of_somebody_elses_making_keeps_its_mode(data_dir: Path) -> None:
    data_dir.mkdir()
    data_dir.chmod(0o750)
    embedded = EmbeddedPostgres(data_dir, settings=FAST)

    embedded.start()
    embedded.stop()

    assert mode(data_dir) == 0o750
    assert mode(data_dir / "postgres") == 0o700


@pytest.mark.parametrize(
    "name",
    [
        pytest.param("x" * 150, id="150 characters"),
        pytest.param("a b,ü%20&c=d?e#f:g@h'i", id="awkward characters"),
    ],
)
def test_a_path_no_socket_or_url_can_hold_is_reached_through_a_private_link(
    tmp_path: Path, name: str
) -> None:
    embedded = EmbeddedPostgres(tmp_path / name, settings=FAST)

    url = embedded.start()
    adopter = EmbeddedPostgres(tmp_path / name)
    adopter_url = adopter.start()
    link = embedded.socket_dir

    assert query(url, "SELECT 1") == 1
    assert adopter_url == url
    assert len(str(link / ".s.PGSQL.5432")) <= 107
    assert mode(link.parent) == 0o700
    assert mode(link) == 0o700
    assert link.parent.stat().st_uid == os.geteuid()
    adopter.stop()
    assert query(url, "SELECT 2") == 2
    embedded.stop()
    assert not link.parent.exists()


def test_a_short_directory_that_others_can_write_is_not_used(tmp_path: Path) -> None:
    data_dir = tmp_path / ("x" * 150)
    first = EmbeddedPostgres(data_dir, settings=FAST)
    first.start()
    first.stop()
    planted = tmp_path / "planted"
    planted.mkdir()
    planted.chmod(0o777)
    (planted / "pg").symlink_to(tmp_path)
    (data_dir / "postgres" / "socket_path").write_text(str(planted / "pg"))
    again = EmbeddedPostgres(data_dir, settings=FAST)

    again.start()

    assert again.socket_dir.parent != planted
    again.stop()
    assert (planted / "pg").is_symlink()


def test_data_survives_a_stop_and_the_url_stays(own_server: EmbeddedPostgres) -> None:
    url = own_server.start()
    query(url, "CREATE TABLE kept (n int)", "INSERT INTO kept VALUES (7)")
    own_server.stop()
    assert not own_server.is_running()
    assert own_server.pid is None

    assert own_server.start() == url

    assert query(url, "SELECT n FROM kept") == 7


def test_start_and_stop_may_be_repeated(own_server: EmbeddedPostgres) -> None:
    own_server.stop()
    first = own_server.start(), own_server.pid
    second = own_server.start(), own_server.pid
    own_server.stop()
    own_server.stop()

    assert first == second
    assert not own_server.is_running()
    with pytest.raises(EmbeddedPostgresError, match="not been started"):
        _ = own_server.url


def test_progress_is_told_in_words(own_server: EmbeddedPostgres) -> None:
    told: list[str] = []

    own_server.start(on_progress=told.append)

    assert told == ["creating the database", "starting PostgreSQL"]


def test_a_second_tollway_adopts_the_server_and_the_last_one_stops_it(
    own_server: EmbeddedPostgres, data_dir: Path
) -> None:
    other = EmbeddedPostgres(data_dir)
    own_server.start()
    other.start()

    assert other.pid == own_server.pid
    own_server.stop()
    assert other.is_running()
    assert query(other.url, "SELECT 1") == 1
    other.stop()
    assert not other.is_running()


def test_starters_at_the_same_time_share_one_server(data_dir: Path) -> None:
    starters = [run_starter(data_dir, "sys.stdin.read()") for _ in range(3)]
    pids = {starter.stdout.readline() for starter in starters if starter.stdout}

    assert len(pids) == 1
    for starter in starters:
        starter.kill()
        starter.communicate()
    (pid,) = pids
    wait_until(lambda: not psutil.pid_exists(int(pid)))


def test_the_server_ends_with_a_killed_starter_and_the_next_one_finds_the_data(
    own_server: EmbeddedPostgres, data_dir: Path
) -> None:
    starter = run_starter(data_dir, "time.sleep(60)")
    assert starter.stdout
    pid = int(starter.stdout.readline())
    adopted = EmbeddedPostgres(data_dir)
    url = adopted.start()
    query(url, "CREATE TABLE kept (n int)", "INSERT INTO kept VALUES (7)")

    starter.kill()
    starter.communicate()

    assert adopted.pid == pid
    assert query(url, "SELECT n FROM kept") == 7
    adopted.stop()
    wait_until(lambda: not psutil.pid_exists(pid))
    assert query(own_server.start(), "SELECT n FROM kept") == 7


def test_a_killed_starter_without_successor_takes_the_server_along(data_dir: Path) -> None:
    starter = run_starter(data_dir, "time.sleep(60)")
    assert starter.stdout
    pid = int(starter.stdout.readline())

    starter.kill()
    starter.communicate()

    wait_until(lambda: not psutil.pid_exists(pid), within_s=5)


def test_the_server_ends_with_its_supervisor(own_server: EmbeddedPostgres) -> None:
    own_server.start()
    assert own_server.pid is not None
    supervisor = psutil.Process(own_server.pid).ppid()

    os.kill(supervisor, signal.SIGKILL)

    wait_until(lambda: not own_server.is_running())
    assert query(own_server.start(), "SELECT 1") == 1


def test_a_crashed_server_is_started_again_under_the_same_url(own_server: EmbeddedPostgres) -> None:
    url = own_server.start()
    query(url, "CREATE TABLE kept (n int)", "INSERT INTO kept VALUES (7)")
    assert own_server.pid is not None

    os.kill(own_server.pid, signal.SIGKILL)
    wait_until(lambda: not own_server.is_running())

    assert own_server.start() == url
    assert query(url, "SELECT n FROM kept") == 7


def test_a_stranger_with_the_old_process_id_is_not_taken_for_the_server(
    own_server: EmbeddedPostgres, data_dir: Path
) -> None:
    own_server.start()
    own_server.stop()
    pid_file = data_dir / "postgres" / "data" / "postmaster.pid"
    pid_file.write_text(f"{os.getpid()}\n/proc/self/cwd\n1\n5432\n.\n\n 1 2\nready   \n")
    told: list[str] = []

    own_server.start(on_progress=told.append)

    assert query(own_server.url, "SELECT 1") == 1
    assert any(f"process {os.getpid()}" in words for words in told)


def test_a_server_that_somebody_else_started_is_reported(
    own_server: EmbeddedPostgres, data_dir: Path
) -> None:
    own_server.start()
    own_server.stop()
    pid_file = data_dir / "postgres" / "data" / "postmaster.pid"
    # A process that is called `postgres` and may be signalled by the server's user.
    sleeper = run_starter(data_dir.with_name("other"), "time.sleep(60)")
    assert sleeper.stdout
    pid = int(sleeper.stdout.readline())
    pid_file.write_text(f"{pid}\n/proc/self/cwd\n1\n5432\n.\n\n 1 2\nready   \n")

    with pytest.raises(EmbeddedPostgresError, match="another program started a PostgreSQL there"):
        own_server.start()

    sleeper.kill()
    sleeper.communicate()
    wait_until(lambda: not psutil.pid_exists(pid))


def test_a_forked_child_does_not_stop_the_server_of_its_parent(data_dir: Path) -> None:
    then = (
        "child = os.fork()\n"
        "if child == 0:\n"
        "    server.stop()\n"
        "    os._exit(0)\n"
        "os.waitpid(child, 0)\n"
        "print(server.is_running(), flush=True)\n"
        "server.stop()\n"
        "print(server.is_running(), flush=True)\n"
    )

    output, _ = run_starter(data_dir, then).communicate(timeout=60)

    assert output.split()[1:] == ["True", "False"]


def test_a_half_made_cluster_is_made_again(own_server: EmbeddedPostgres, data_dir: Path) -> None:
    leftover = data_dir / "postgres" / "data.new"
    leftover.mkdir(parents=True)
    (leftover / "PG_VERSION").write_text("18\n")

    own_server.start()

    assert query(own_server.url, "SELECT 1") == 1
    assert not leftover.exists()


def test_a_lost_password_is_replaced(own_server: EmbeddedPostgres, data_dir: Path) -> None:
    before = own_server.start()
    own_server.stop()
    (data_dir / "postgres" / "password").unlink()

    after = own_server.start()

    assert after != before
    assert query(after, "SELECT 1") == 1


def test_a_wrong_password_is_explained(own_server: EmbeddedPostgres, data_dir: Path) -> None:
    own_server.start()
    own_server.stop()
    (data_dir / "postgres" / "password").write_text("wrong")

    with pytest.raises(EmbeddedPostgresError, match="delete `postgres/password`"):
        own_server.start()

    assert not own_server.is_running()


def test_a_cluster_of_another_version_is_refused_with_the_remedy(
    own_server: EmbeddedPostgres, data_dir: Path
) -> None:
    own_server.start()
    own_server.stop()
    (data_dir / "postgres" / "data" / "PG_VERSION").write_text("12\n")

    with pytest.raises(EmbeddedPostgresError, match=r"written by PostgreSQL 12.*dump") as caught:
        own_server.start()

    assert "TOLLWAY_DATABASE_URL" in str(caught.value)


def test_a_failing_server_is_reported_with_its_last_words(data_dir: Path) -> None:
    embedded = EmbeddedPostgres(data_dir, settings={"max_connections": "many"})

    with pytest.raises(EmbeddedPostgresError, match="max_connections"):
        embedded.start()

    assert not embedded.is_running()


def test_a_data_directory_that_is_a_file_is_an_error_with_a_remedy(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")

    with pytest.raises(EmbeddedPostgresError, match="set TOLLWAY_DATA_DIR"):
        EmbeddedPostgres(tmp_path / "file").start()


def test_log_files_do_not_pile_up(own_server: EmbeddedPostgres, data_dir: Path) -> None:
    own_server.start()
    own_server.stop()
    logs = data_dir / "postgres" / "data" / "log"
    for day in range(10, 30):
        (logs / f"postgresql-202001{day}T000000.log").touch()

    own_server.start()

    assert len(list(logs.iterdir())) <= 6
    assert not (logs / "postgresql-20200110T000000.log").exists()
