"""The data directory: private, used by one at a time, and clear about what is wrong with it."""

import os
import stat
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from gateway.processes.data_directory import DataDirectory, DataDirectoryError

HOLD = """
import sys
from pathlib import Path
from gateway.processes.data_directory import DataDirectory
directory = DataDirectory(Path(sys.argv[1]))
directory.prepare()
directory.lock("tollway up")
print("held", flush=True)
sys.stdin.read()
"""


def mode_of(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def opened(path: Path) -> DataDirectory:
    directory = DataDirectory(path)
    directory.prepare()
    return directory


def test_a_missing_directory_is_made_for_its_owner_alone(tmp_path: Path) -> None:
    opened(tmp_path / "a" / "b")

    assert mode_of(tmp_path / "a" / "b") == 0o700
    assert list((tmp_path / "a" / "b").iterdir()) == []


def test_a_directory_that_was_open_to_others_is_closed_to_them(tmp_path: Path) -> None:
    path = tmp_path / "data"
    path.mkdir(mode=0o755)
    path.chmod(0o755)
    opened(path)

    assert mode_of(path) == 0o700


def test_a_loose_umask_makes_it_no_looser(tmp_path: Path) -> None:
    before = os.umask(0)
    try:
        directory = opened(tmp_path / "data")
        directory.owner_token()
        directory.lock("tests")
    finally:
        os.umask(before)
    directory.close()

    assert mode_of(tmp_path / "data") == 0o700
    assert {mode_of(path) for path in (tmp_path / "data").iterdir()} == {0o600}


@pytest.mark.parametrize("below", ["", "data"])
def test_a_path_that_cannot_be_one_is_named_with_the_remedy(tmp_path: Path, below: str) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(DataDirectoryError) as caught:
        opened(tmp_path / "file" / below)

    assert str(tmp_path / "file") in str(caught.value)
    assert "TOLLWAY_DATA_DIR or --data-dir" in str(caught.value)


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root to become somebody else")
def test_a_directory_of_somebody_else_is_named_with_the_remedy() -> None:
    # Below pytest's own directory nobody else could reach it in the first place.
    with tempfile.TemporaryDirectory() as path:
        Path(path).chmod(0o755)
        # Imported before, since nobody else may be able to read the checkout.
        code = HOLD.replace("directory =", "import os; os.setuid(65534)\ndirectory =")
        done = subprocess.run(
            [sys.executable, "-c", code, path], capture_output=True, text=True, check=False
        )

    assert done.returncode != 0
    assert "the data directory cannot be used" in done.stderr


def test_the_second_process_is_told_who_holds_it(tmp_path: Path) -> None:
    with subprocess.Popen(
        [sys.executable, "-c", HOLD, str(tmp_path / "data")],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == "held\n"
        directory = opened(tmp_path / "data")
        with pytest.raises(DataDirectoryError) as caught:
            directory.lock("tollway serve")
        holder.kill()

    assert f"in use by tollway up (pid {holder.pid})" in str(caught.value)
    directory.lock("tollway serve")
    directory.close()


def test_a_lock_let_go_can_be_taken_by_another(tmp_path: Path) -> None:
    one, two = opened(tmp_path), opened(tmp_path)
    one.lock("one")
    with pytest.raises(DataDirectoryError, match=r"in use by one \(pid"):
        two.lock("two")
    one.close()
    one.close()
    two.lock("two")
    two.close()


def test_the_secret_is_made_once_and_kept_private(tmp_path: Path) -> None:
    directory = opened(tmp_path)
    pepper = directory.pepper(None)

    assert len(pepper) >= 32
    assert opened(tmp_path).pepper(None) == pepper
    assert mode_of(tmp_path / "secret") == 0o600


def test_a_configured_secret_is_used_and_no_file_made(tmp_path: Path) -> None:
    assert opened(tmp_path).pepper("configured") == b"configured"
    assert not (tmp_path / "secret").exists()


def test_secret_and_owner_token_are_different(tmp_path: Path) -> None:
    directory = opened(tmp_path)

    assert directory.owner_token().encode() != directory.pepper(None)
    assert directory.owner_token() == directory.owner_token()


@pytest.mark.parametrize("mode", [0o644, 0o640, 0o604, 0o660])
def test_a_secret_open_to_others_is_refused_with_the_remedy(tmp_path: Path, mode: int) -> None:
    directory = opened(tmp_path)
    secret = directory.pepper(None).decode()
    (tmp_path / "secret").chmod(mode)
    with pytest.raises(DataDirectoryError, match="chmod 600") as caught:
        directory.pepper(None)

    assert secret not in str(caught.value)


def test_an_empty_secret_is_refused_with_the_remedy(tmp_path: Path) -> None:
    directory = opened(tmp_path)
    directory.pepper(None)
    (tmp_path / "secret").write_text("\n")

    with pytest.raises(DataDirectoryError, match="is empty; delete it"):
        directory.pepper(None)


def test_processes_that_start_together_agree_on_the_secret(tmp_path: Path) -> None:
    code = (
        "import sys; from pathlib import Path\n"
        "from gateway.processes.data_directory import DataDirectory\n"
        "sys.stdin.read()\n"
        "print(DataDirectory(Path(sys.argv[1])).owner_token())\n"
    )
    opened(tmp_path / "data")
    started = [
        subprocess.Popen(
            [sys.executable, "-c", code, str(tmp_path / "data")],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        for _ in range(4)
    ]
    for process in started:
        assert process.stdin is not None
        process.stdin.close()
    said = set[str]()
    for process in started:
        assert process.stdout is not None
        said.add(process.stdout.read())
        process.stdout.close()
        assert process.wait() == 0

    assert len(said) == 1


def test_a_directory_says_which_process_holds_it(tmp_path: Path) -> None:
    directory = opened(tmp_path)
    assert directory.holder_pid() is None

    directory.lock("tollway up")

    assert opened(tmp_path).holder_pid() == os.getpid()
    directory.close()
    assert opened(tmp_path).holder_pid() is None
