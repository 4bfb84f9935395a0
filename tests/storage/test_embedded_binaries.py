import os
import shutil
import stat
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from gateway.storage.pg_binaries import Install, choose_install, find_installs, make_runnable
from gateway.storage.pg_cluster import explain
from gateway.storage.pg_process import Account, EmbeddedPostgresError, choose_account

as_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root runs the programs as another")


@pytest.fixture
def reachable_dir() -> Iterator[Path]:
    directory = Path(tempfile.mkdtemp(prefix="tollway-test-"))
    directory.chmod(0o755)
    yield directory
    shutil.rmtree(directory)


def make_package(directory: Path, content: bytes, *, mode: int = 0o755) -> Path:
    """A package whose only PostgreSQL consists of the given file, twice."""
    root = directory / "pginstall18"
    (root / "bin").mkdir(parents=True)
    (root / "share").mkdir()
    (root / "share" / "postgres.bki").touch()
    for name in ("postgres", "initdb"):
        (root / "bin" / name).write_bytes(content)
        (root / "bin" / name).chmod(mode)
    return directory


def test_the_wheel_is_found_and_its_newest_version_comes_first() -> None:
    installs = find_installs()

    assert installs[0].major == 18
    assert [install.major for install in installs] == sorted(
        (install.major for install in installs), reverse=True
    )


def test_an_existing_cluster_gets_its_own_version(tmp_path: Path) -> None:
    installs = (Install(root=Path("/new"), major=18), Install(root=Path("/old"), major=16))
    (tmp_path / "PG_VERSION").write_text("16\n")

    assert choose_install(installs, tmp_path).major == 16
    assert choose_install(installs, tmp_path / "missing").major == 18


@pytest.mark.parametrize(
    ("content", "mode", "said"),
    [
        pytest.param(b"\x7fELF\x02\x01\x01 no program", 0o755, "another platform", id="platform"),
        pytest.param(b"#!/bin/sh\necho no such library", 0o755, "no such library", id="library"),
        pytest.param(b"#!/bin/sh\n", 0o644, "Permission denied", id="mode"),
    ],
)
def test_programs_that_do_not_run_are_a_half_installed_environment(
    tmp_path: Path, content: bytes, mode: int, said: str
) -> None:
    package_dir = make_package(tmp_path / "package", content, mode=mode)

    with pytest.raises(EmbeddedPostgresError, match="half-installed") as caught:
        find_installs(package_dir)

    assert said in str(caught.value)
    assert "TOLLWAY_DATABASE_URL" in str(caught.value)


def test_a_package_without_programs_is_a_half_installed_environment(tmp_path: Path) -> None:
    (tmp_path / "pginstall18" / "bin").mkdir(parents=True)

    with pytest.raises(EmbeddedPostgresError, match="half-installed"):
        find_installs(tmp_path)


def test_programs_that_the_account_can_run_are_used_where_they_are() -> None:
    install = Install(root=find_installs()[0].root, major=18)

    assert make_runnable(install, Account(uid=None, gid=None)) is install


@as_root
def test_programs_in_a_closed_directory_are_copied_to_where_nobody_can_run_them(
    tmp_path: Path, reachable_dir: Path
) -> None:
    original = find_installs()[0]
    package_dir = original.root.parent
    closed = tmp_path / "closed"
    shutil.copytree(original.root, closed / package_dir.name / original.root.name)
    libraries = package_dir.with_name(f"{package_dir.name}.libs")
    if libraries.is_dir():
        shutil.copytree(libraries, closed / libraries.name)
    closed.chmod(0o700)
    install = Install(root=closed / package_dir.name / original.root.name, major=original.major)
    account = choose_account()
    umask = os.umask(0o077)

    try:
        copy = make_runnable(install, account, cache_dir=reachable_dir / "cache")
        again = make_runnable(install, account, cache_dir=reachable_dir / "cache")
    finally:
        os.umask(umask)

    assert copy.root.is_relative_to(reachable_dir)
    assert again == copy
    assert len(list((reachable_dir / "cache").iterdir())) == 1
    assert stat.S_IMODE(closed.stat().st_mode) == 0o700
    assert all(path.stat().st_uid == 0 for path in reachable_dir.rglob("*"))


@as_root
def test_a_cache_that_others_can_write_is_not_trusted(tmp_path: Path, reachable_dir: Path) -> None:
    package_dir = make_package(tmp_path / "closed", b"#!/bin/sh\n")
    package_dir.chmod(0o700)
    install = Install(root=package_dir / "pginstall18", major=18)
    (reachable_dir / "cache").mkdir()
    (reachable_dir / "cache").chmod(0o777)

    with pytest.raises(EmbeddedPostgresError, match="we alone can write"):
        make_runnable(install, choose_account(), cache_dir=reachable_dir / "cache")


@pytest.mark.parametrize(
    ("output", "remedy"),
    [
        ("initdb: error: could not write: No space left on device", "the disk is full"),
        ("ERROR:  could not extend file\nHINT:  Check free disk space.", "the disk is full"),
        ("could not create shared memory segment", "shared memory"),
        ("FATAL: something else\n", "something else"),
        ("", "no output"),
    ],
)
def test_what_a_program_wrote_is_turned_into_a_remedy(output: str, remedy: str) -> None:
    assert remedy in explain(output, Path("/data"))
