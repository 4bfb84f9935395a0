"""The wheel alone is enough: installed away from the checkout, it starts, answers and remembers."""

import json
import os
import select
import signal
import subprocess
import sys
import sysconfig
import time
import zipfile
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest

ROOT = Path(__file__).parents[2]
PACKAGES = ("gateway", "pricing", "dashboard", "migrations")
READY_S = 60.0
END_S = 20.0


@pytest.fixture(name="wheel", scope="module")
def build_wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Built by the installed backend, without isolation and therefore without a network."""
    directory = tmp_path_factory.mktemp("wheel")
    _run(sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(directory), cwd=ROOT)
    return next(directory.glob("tollway-*.whl"))


@pytest.fixture(name="environment", scope="module")
def install_wheel(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A virtual environment that holds the wheel, and beside it the dependencies of this one.

    The dependencies are made visible by a line in a ``.pth`` file instead of being installed again,
    which would need the network. Python does not read the ``.pth`` files of a directory that is
    added that way, so the editable installation of the checkout stays invisible.
    """
    directory = tmp_path_factory.mktemp("clean") / "venv"
    _run(sys.executable, "-m", "venv", "--without-pip", str(directory))
    python = str(directory / "bin/python")
    install = ("install", "--quiet", "--no-deps", "--no-index", "--disable-pip-version-check")
    _run(sys.executable, "-m", "pip", "--python", python, *install, str(wheel))
    own = Path(_run(python, "-c", "import sysconfig; print(sysconfig.get_path('purelib'))").strip())
    (own / "dependencies.pth").write_text(f"{sysconfig.get_path('purelib')}\n")
    return directory


def test_the_wheel_holds_every_file_of_the_packages(wheel: Path) -> None:
    in_wheel = set(zipfile.ZipFile(wheel).namelist())

    in_checkout = {
        str(path.relative_to(ROOT))
        for package in PACKAGES
        for path in (ROOT / package).rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }
    assert not in_checkout - in_wheel
    assert "pricing/tables/openai.toml" in in_wheel
    assert any(name.startswith("migrations/versions/0001_") for name in in_wheel)
    assert any(name.endswith(".dist-info/licenses/LICENSE") for name in in_wheel)


def test_what_runs_is_the_wheel_and_not_the_checkout(environment: Path, tmp_path: Path) -> None:
    code = (
        "import gateway, pricing, dashboard, migrations, importlib.metadata as m;"
        "from pathlib import Path;"
        "print(m.version('tollway'));"
        "print(*(p.__path__[0] for p in (gateway, pricing, dashboard, migrations)), sep='\\n');"
        "print(len(list(Path(pricing.__path__[0], 'tables').glob('*.toml'))));"
        "print(migrations.head())"
    )

    said = _run(str(environment / "bin/python"), "-c", code, cwd=tmp_path).splitlines()

    _version, *places, tables, head = said
    assert all(Path(place).is_relative_to(environment) for place in places)
    assert int(tables) == len(list((ROOT / "pricing/tables").glob("*.toml")))
    assert head


@pytest.mark.timeout(90)
def test_the_installed_wheel_answers_a_request_and_remembers_it(
    environment: Path, tmp_path: Path
) -> None:
    data_dir = tmp_path / "data"

    with _up(environment, data_dir, cwd=tmp_path) as told:
        answer = httpx.post(
            f"{told['gateway_url']}/v1/chat/completions",
            headers={"Authorization": f"Bearer {told['api_key']}"},
            json={"model": "simulated/fast", "messages": [{"role": "user", "content": "Hello"}]},
            timeout=20,
            trust_env=False,
        )
        dashboard = httpx.get(told["dashboard_url"], timeout=20, trust_env=False)
        shown = _run(
            str(environment / "bin/tollway"),
            *("requests", "show", answer.json()["id"], "--data-dir", str(data_dir), "--json"),
            cwd=tmp_path,
        )

    assert set(told) == {"gateway_url", "admin_url", "dashboard_url", "api_key", "providers"}
    assert all(name.startswith("simulated-") for name in told["providers"])
    assert answer.status_code == 200, answer.text
    body = answer.json()
    assert body["usage"]["cost_usd_total"] > 0
    assert len(body["metadata"]["routing"]) == 1
    assert dashboard.status_code == 200
    record = json.loads(shown)
    assert record["generation_id"] == body["id"]
    assert record["cost_usd"] == pytest.approx(body["usage"]["cost_usd_total"])


@contextmanager
def _up(environment: Path, data_dir: Path, *, cwd: Path) -> Generator[dict[str, Any]]:
    """``tollway up`` until the block ends; what its one line of JSON tells."""
    ports = ("--port", "0", "--admin-port", "0", "--dashboard-port", "0")
    log = cwd / "up.log"
    with log.open("wb") as errors:
        process = subprocess.Popen(
            [environment / "bin/tollway", "up", "--json", *ports, "--data-dir", data_dir],
            cwd=cwd,
            env=_environment(),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=errors,
        )
    try:
        line = _first_line(process)
        assert line, log.read_text()
        yield json.loads(line)
        process.send_signal(signal.SIGTERM)
        assert process.wait(END_S) == 0, log.read_text()
    finally:
        if process.poll() is None:
            process.terminate()
            try:
                process.wait(END_S)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
        if process.stdout is not None:
            process.stdout.close()


def _first_line(process: subprocess.Popen[bytes]) -> bytes:
    """The first line of its output; what there is when it ends or is not ready in time."""
    assert process.stdout is not None
    until_s = time.monotonic() + READY_S
    line = b""
    while not line.endswith(b"\n"):
        left_s = until_s - time.monotonic()
        ready, _, _ = select.select([process.stdout], [], [], max(0.0, left_s))
        piece = os.read(process.stdout.fileno(), 65_536) if ready else b""
        if not piece:
            return b""
        line += piece
    return line


def _environment() -> dict[str, str]:
    """Ours without what would lead back to the checkout or to real providers."""
    kept = ("PATH", "HOME", "LANG", "TMPDIR")
    return {name: os.environ[name] for name in kept if name in os.environ}


def _run(*command: str, cwd: Path | None = None) -> str:
    done = subprocess.run(
        command,
        cwd=cwd,
        env=_environment(),
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout
