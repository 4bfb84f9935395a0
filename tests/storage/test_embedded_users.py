"""Who may run the embedded server and who may reach it; most of it can only be seen as root."""

import os
import shutil
import stat
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from gateway.storage.embedded import EmbeddedPostgres
from gateway.storage.pg_process import EmbeddedPostgresError

REPOSITORY = Path(__file__).parents[2]
ORDINARY_UID = 1
"""``daemon`` on every Unix: an ordinary user with an entry in /etc/passwd."""

as_root = pytest.mark.skipif(os.geteuid() != 0, reason="needs root to become other users")

BECOME_ORDINARY = """
import asyncio, encodings.idna, os, shutil, sys
from pathlib import Path
import asyncpg, asyncpg.connect_utils
from gateway.storage.embedded import EmbeddedPostgres
from gateway.storage.pg_process import EmbeddedPostgresError

async def log_in(url):
    connection = await asyncpg.connect(url, timeout=10)
    value = await connection.fetchval("SELECT 41 + 1")
    await connection.close()
    return value

uid = int(sys.argv[1])
os.setgroups([])
os.setresgid(uid, uid, uid)
os.setresuid(uid, uid, uid)
"""


def run_as(uid: int, code: str, *arguments: str) -> "subprocess.CompletedProcess[str]":
    """Run Python as another user, with our modules loaded before root is given up."""
    return subprocess.run(
        [sys.executable, "-c", BECOME_ORDINARY + code, str(uid), *arguments],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
        cwd=REPOSITORY,
    )


def python_for(uid: int) -> str:
    """An interpreter that the user can execute: ours may lie in root's home."""
    probe = "import ctypes, fcntl, json"
    for candidate in (sys.executable, shutil.which("python3", path="/usr/local/bin:/usr/bin")):
        if candidate is None:
            continue
        try:
            found = subprocess.run(
                [candidate, "-I", "-S", "-c", probe],
                user=uid,
                group=uid,
                extra_groups=[],
                check=False,
                cwd="/",
            )
        except PermissionError:
            continue
        if found.returncode == 0:
            return candidate
    pytest.skip("no Python that an ordinary user can execute")


@pytest.fixture
def open_dir() -> Iterator[Path]:
    """A directory everybody can walk into, unlike pytest's own."""
    directory = Path(tempfile.mkdtemp(prefix="tollway-test-"))
    directory.chmod(0o755)
    yield directory
    shutil.rmtree(directory)


@as_root
def test_as_root_the_programs_run_as_nobody_below_a_closed_directory(tmp_path: Path) -> None:
    closed = tmp_path / "closed"
    closed.mkdir(mode=0o700)
    embedded = EmbeddedPostgres(closed / "tollway")

    embedded.start()

    assert embedded.pid is not None
    process = psutil.Process(embedded.pid)
    cluster = closed / "tollway" / "postgres" / "data"
    assert process.uids().real == process.uids().saved == cluster.stat().st_uid != 0
    assert process.gids().real != 0
    status = Path(f"/proc/{process.pid}/status").read_text()
    assert "CapPrm:\t0000000000000000" in status
    assert "CapEff:\t0000000000000000" in status
    for path in (closed, closed / "tollway", closed / "tollway" / "postgres"):
        assert path.stat().st_uid == 0
        assert stat.S_IMODE(path.stat().st_mode) == 0o700
    embedded.stop()


@as_root
@pytest.mark.parametrize("uid", [ORDINARY_UID, 65534, 54321])
def test_another_user_cannot_connect_even_with_the_password(open_dir: Path, uid: int) -> None:
    for name in ("tollway", "x" * 150):
        embedded = EmbeddedPostgres(open_dir / name, settings={"fsync": "off"})
        embedded.start()
        code = "print(asyncio.run(log_in(sys.argv[2])))"

        connecting = run_as(uid, code, embedded.url)
        reading = run_as(uid, "print(os.listdir(sys.argv[2]))", str(embedded.socket_dir))
        over_tcp = run_as(uid, code, embedded.url.replace("@/", "@127.0.0.1/").partition("?")[0])

        embedded.stop()
        assert "PermissionError" in connecting.stderr
        assert "PermissionError" in reading.stderr
        assert over_tcp.returncode != 0
        assert "42" not in over_tcp.stdout + connecting.stdout


@as_root
def test_an_ordinary_user_runs_it_in_a_directory_of_their_own(open_dir: Path) -> None:
    own = open_dir / "own"
    own.mkdir(mode=0o700)
    os.chown(own, ORDINARY_UID, ORDINARY_UID)
    code = (
        "sys.executable = sys.argv[3]\n"
        "for name in ('tollway', 'x' * 150):\n"
        "    server = EmbeddedPostgres(Path(sys.argv[2]) / name)\n"
        "    print(asyncio.run(log_in(server.start())))\n"
        "    print(os.stat(f'/proc/{server.pid}').st_uid)\n"
        "    server.stop()\n"
        "    print(server.is_running())\n"
    )

    result = run_as(ORDINARY_UID, code, str(own), python_for(ORDINARY_UID))

    assert result.stdout.split() == ["42", str(ORDINARY_UID), "False"] * 2, result.stderr
    assert stat.S_IMODE((own / "tollway").stat().st_mode) == 0o700
    with pytest.raises(EmbeddedPostgresError, match=f"belongs to user id {ORDINARY_UID}"):
        EmbeddedPostgres(own / "tollway").start()


@as_root
def test_a_data_directory_that_is_not_writable_is_an_error_with_a_remedy(open_dir: Path) -> None:
    code = (
        "try:\n"
        "    EmbeddedPostgres(Path(sys.argv[2])).start()\n"
        "except EmbeddedPostgresError as exc:\n"
        "    print(exc)\n"
    )

    result = run_as(ORDINARY_UID, code, str(open_dir / "tollway"))

    assert "cannot be used: Permission denied" in result.stdout
    assert "set TOLLWAY_DATA_DIR" in result.stdout


@as_root
def test_a_user_unknown_to_the_system_is_told_what_to_do(open_dir: Path) -> None:
    os.chown(open_dir, 54321, 54321)
    code = (
        "try:\n"
        "    EmbeddedPostgres(Path(sys.argv[2])).start()\n"
        "except EmbeddedPostgresError as exc:\n"
        "    print(exc)\n"
    )

    result = run_as(54321, code, str(open_dir / "tollway"))

    assert "user id 54321 has no entry in /etc/passwd" in result.stdout


@as_root
def test_a_cluster_copied_by_root_is_refused_with_the_command_that_mends_it(tmp_path: Path) -> None:
    embedded = EmbeddedPostgres(tmp_path / "tollway", settings={"fsync": "off"})
    embedded.start()
    embedded.stop()
    cluster = tmp_path / "tollway" / "postgres" / "data"
    nobody = cluster.stat().st_uid
    os.chown(cluster, 0, 0)

    with pytest.raises(EmbeddedPostgresError, match=f"chown -R {nobody} "):
        embedded.start()
