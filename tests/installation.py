"""Installations as real processes: started, asked and ended the way an operator does it."""

import json
import os
import shutil
import signal
import socket
import ssl
import subprocess
import sys
import time
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from select import select as select_ready
from typing import Any, Self, TypeVar

import httpx
import psutil
from sqlalchemy import select as sql_select
from sqlalchemy.ext.asyncio import AsyncConnection

from gateway.cli.database import Database, ask
from gateway.domain.ids import parse_generation_id, to_generation_id
from gateway.domain.records import RequestRecord
from gateway.settings.load import load_settings
from gateway.settings.values import Flags
from gateway.storage.queries import latest_records, read_record
from gateway.storage.tables import request_record

T = TypeVar("T")
ROOT = Path(__file__).resolve().parents[1]
"""What stands beside the tests is what they start."""
PAUSE_S = 0.02
READY_S = 60.0
END_S = 30.0
PLAIN = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
"""For clients that are made anew for each request: reading all authorities takes them 26 ms."""
MESSAGES = [{"role": "user", "content": "Hello"}]


def wait_until(what: str, is_so: Callable[[], T | None], *, within_s: float = 10.0) -> T:
    """The first true value of a condition; fails with ``what`` when it takes longer."""
    until_s = time.monotonic() + within_s
    while True:
        found = is_so()
        if found:
            return found
        if time.monotonic() > until_s:
            raise AssertionError(f"not within {within_s:g} s: {what}")
        time.sleep(PAUSE_S)


def closed_port() -> int:
    """A loopback port that nobody listened on a moment ago."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def clean_environment(home: Path, **more: str) -> dict[str, str]:
    """Nothing of the developer's: no credential, proxy or setting of theirs enables anything."""
    path = os.pathsep.join(filter(None, (more.pop("PYTHONPATH", ""), str(ROOT))))
    own = {"PATH": os.environ["PATH"], "HOME": str(home), "LANG": "C.UTF-8", "PYTHONPATH": path}
    return own | more


def tollway(
    home: Path,
    *arguments: str,
    environment: Mapping[str, str] | None = None,
    within_s: float = END_S,
) -> subprocess.CompletedProcess[str]:
    """Run a command to its end in ``home``."""
    return subprocess.run(
        [sys.executable, "-m", "gateway", *arguments],
        cwd=home,
        env=clean_environment(home, **(environment or {})),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=within_s,
        check=False,
    )


def provider_toml(
    name: str, base_url: str, endpoints: dict[str, str], *, options: Sequence[str] = ()
) -> str:
    """``[providers.NAME]`` with endpoints, our name to theirs; a million tokens cost 1 and 2 USD.

    Endpoints can do everything, so that no request is refused for what it needs.
    """
    lines = [f"[providers.{name}]", 'protocol = "openai"', f'base_url = "{base_url}"']
    lines += ["allow_private = true", *options]
    for model, upstream in endpoints.items():
        lines += [
            f"[[providers.{name}.endpoints]]",
            f'model = "{model}"',
            f'id = "{upstream}"',
            "context_tokens = 128_000",
            "max_output_tokens = 16_384",
            "input_usd_per_mtok = 1",
            "output_usd_per_mtok = 2",
            "cache_read_usd_per_mtok = 0.5",
            "capabilities = { tools = true, tool_choice = true, parallel_tool_calls = true, "
            "structured_outputs = true, json_mode = true, temperature = true }",
        ]
    return "\n".join(lines) + "\n"


class Gateway:
    """A started ``tollway up`` or ``tollway serve``; leaving the context ends all it started."""

    def __init__(self, home: Path, arguments: Sequence[str], environment: dict[str, str]) -> None:
        self.home = home
        self.data_dir = home / "data"
        self.environment = clean_environment(home, **environment)
        self.log_path = home / f"stderr-{time.monotonic_ns()}.log"
        self._seen: dict[int, psutil.Process] = {}
        with self.log_path.open("wb") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "gateway", *arguments],
                cwd=home,
                env=self.environment,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=log,
                # Ctrl-C at the test run's terminal is for the test run alone.
                start_new_session=True,
            )
        self.first_line = ""
        self.told: dict[str, Any] = {}

    def await_ready(self) -> Self:
        """Read the one line that says where everything is."""
        try:
            self.first_line = self.read_line()
            self.told = json.loads(self.first_line)
            self.family()
        except BaseException:
            self.clean_up()
            raise
        return self

    def read_line(self, *, within_s: float = READY_S) -> str:
        """One line of standard output."""
        until_s = time.monotonic() + within_s
        descriptor = self._stdout.fileno()
        line = b""
        while not line.endswith(b"\n"):
            readable, _, _ = select_ready([descriptor], [], [], until_s - time.monotonic())
            # One byte at a time: what comes after the line stays where it is.
            data = os.read(descriptor, 1) if readable else b""
            if not data:
                raise AssertionError(f"it said {line!r}, then nothing more:\n{self.log}")
            line += data
        return line.decode()

    def read_rest(self) -> str:
        """All further standard output of a process that has ended."""
        return self._stdout.read().decode()

    @property
    def _stdout(self) -> Any:
        if self.process.stdout is None:
            raise RuntimeError("started with a pipe")
        return self.process.stdout

    @property
    def log(self) -> str:
        """What all its processes wrote to standard error."""
        return self.log_path.read_text(errors="replace")

    @property
    def url(self) -> str:
        return str(self.told["gateway_url"])

    @property
    def port(self) -> int:
        return int(self.url.rpartition(":")[2])

    @property
    def admin_url(self) -> str:
        return str(self.told["admin_url"])

    @property
    def owner_headers(self) -> dict[str, str]:
        token = (self.data_dir / "owner-token").read_text().strip()
        return {"authorization": f"Bearer {token}"}

    def make_key(self, name: str = "test", labels: Mapping[str, str] | None = None) -> str:
        """A key that every worker accepts."""
        answer = httpx.post(
            f"{self.admin_url}/admin/keys",
            json={"name": name, "labels": labels or {}},
            headers=self.owner_headers,
            trust_env=False,
        )
        assert answer.status_code == 201, answer.text
        text = str(answer.json()["text"])
        wait_until("the key is known to all workers", lambda: self.accepts(text))
        return text

    def accepts(self, key: str, *, expected: int = 200) -> bool:
        """Whether the workers agree on a key; new connections spread over all of them."""
        return all(self.status_of_models(key) == expected for _ in range(12))

    def status_of_models(self, key: str) -> int:
        """0 when nobody answers."""
        headers = {"authorization": f"Bearer {key}"}
        try:
            answer = httpx.get(
                f"{self.url}/v1/models", headers=headers, trust_env=False, verify=PLAIN
            )
        except httpx.TransportError:
            return 0
        return answer.status_code

    def client(self, key: str, *, timeout_s: float = 20.0) -> httpx.Client:
        return httpx.Client(
            base_url=self.url,
            headers={"authorization": f"Bearer {key}"},
            timeout=timeout_s,
            trust_env=False,
            verify=PLAIN,
        )

    def admin(self, method: str, path: str, body: object = None) -> httpx.Response:
        """What the admin listener answers the owner; ``body`` goes as JSON."""
        return httpx.request(
            method,
            f"{self.admin_url}{path}",
            json=body,
            headers=self.owner_headers,
            trust_env=False,
            timeout=20,
        )

    def family(self) -> list[psutil.Process]:
        """All its living processes, without itself."""
        with suppress(psutil.NoSuchProcess):
            for one in psutil.Process(self.process.pid).children(recursive=True):
                self._seen.setdefault(one.pid, one)
        return [one for one in self._seen.values() if is_alive(one)]

    def workers(self) -> list[psutil.Process]:
        """Its worker processes, in the order in which they were started."""
        found = [one for one in self.family() if "gateway.processes.worker" in command_of(one)]
        return sorted(found, key=lambda one: (one.create_time(), one.pid))

    def database_processes(self) -> list[psutil.Process]:
        """The embedded PostgreSQL's own, the one that started the others first."""
        found = [one for one in self.family() if name_of(one).startswith("postgres")]
        return sorted(found, key=lambda one: (one.create_time(), one.pid))

    def stop(self, *, within_s: float = END_S) -> int:
        """SIGTERM; the exit code."""
        self.family()
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(within_s)

    def kill(self) -> None:
        """SIGKILL to the one process that was started; its children are left to themselves."""
        self.family()
        self.process.kill()
        self.process.wait()

    def ask(self, work: Callable[[AsyncConnection], Any]) -> Any:
        """Ask its database, which is started for as long as that takes if it does not run."""
        settings = load_settings(
            Flags(data_dir=self.data_dir), environment=self.environment, directory=self.home
        )
        with Database(settings, quiet=True) as database:
            return ask(database.url, work)

    def record(self, generation_id: str, *, within_s: float = 10.0) -> RequestRecord:
        """A request's record, once it has arrived in the database."""
        request_id = parse_generation_id(generation_id)

        def look() -> RequestRecord | None:
            return self.ask(lambda connection: read_record(connection, request_id))

        return wait_until(f"{generation_id} is in the database", look, within_s=within_s)

    def recorded_ids(self) -> list[str]:
        """The generation ids of all rows in the database."""

        async def look(connection: AsyncConnection) -> list[str]:
            rows = await connection.scalars(sql_select(request_record.c.id))
            return [to_generation_id(one) for one in rows]

        return self.ask(look)

    def records(self, limit: int = 100_000) -> list[RequestRecord]:
        """All records, newest first."""
        return self.ask(lambda connection: latest_records(connection, limit=limit))

    def clean_up(self) -> None:
        """End everything that is still there, by process id."""
        with suppress(psutil.NoSuchProcess):
            self.family()
        if self.process.poll() is None:
            self.process.terminate()
            with suppress(subprocess.TimeoutExpired):
                self.process.wait(END_S)
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait()
        for one in self._seen.values():
            with suppress(psutil.NoSuchProcess):
                if one.status() == psutil.STATUS_STOPPED:
                    one.resume()
        # PostgreSQL ends by itself once nobody uses it.
        _, left = psutil.wait_procs(
            [one for one in self._seen.values() if is_alive(one)], timeout=END_S
        )
        for one in left:
            with suppress(psutil.NoSuchProcess):
                one.kill()
        psutil.wait_procs(left, timeout=END_S)
        self._stdout.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.clean_up()


class Installation:
    """A directory with a ``tollway.toml`` and data, on which gateways are started."""

    def __init__(self, home: Path, *, toml: str = "", **environment: str) -> None:
        self.home = home
        self.environment = environment
        home.mkdir(parents=True, exist_ok=True)
        (home / "tollway.toml").write_text(_hasty(toml))

    def start(self, command: str, *arguments: str, port: int = 0) -> Gateway:
        """Start a command without waiting for anything."""
        ports = ["--port", str(port), "--admin-port", "0"]
        if command == "up":
            ports += ["--dashboard-port", "0"]
        return Gateway(
            self.home,
            [command, "--data-dir", str(self.home / "data"), *ports, *arguments],
            self.environment,
        )

    def serve(self, *arguments: str, port: int = 0) -> Gateway:
        """``tollway serve``, ready."""
        return self.start("serve", "--json", *arguments, port=port).await_ready()

    def up(self, *arguments: str, port: int = 0) -> Gateway:
        """``tollway up``, ready."""
        return self.start("up", "--json", *arguments, port=port).await_ready()

    def tollway(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """Another command on the same data."""
        return tollway(
            self.home,
            *arguments,
            "--data-dir",
            str(self.home / "data"),
            environment=self.environment,
        )


def _hasty(toml: str) -> str:
    """Without the pause in which balancers notice an end: here are none, unless a test says so."""
    if "drain_listen_s" in toml:
        return toml
    before, _, after = toml.partition("[deadlines]\n")
    return f"{before}\n[deadlines]\ndrain_listen_s = 0\n{after}"


@contextmanager
def installation(home: Path, *, toml: str = "", **environment: str) -> Generator[Installation]:
    """An installation whose data are removed at the end: embedded databases are large."""
    try:
        yield Installation(home, toml=toml, **environment)
    finally:
        shutil.rmtree(home / "data", ignore_errors=True)


class SimulatorProcess:
    """The simulated providers in a process of their own, steered over their port."""

    def __init__(self, *arguments: str) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-m", "gateway.simulator", "--until-stdin-closes", *arguments],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env={"PATH": os.environ["PATH"], "PYTHONPATH": str(ROOT)},
        )
        if self._process.stdout is None:
            raise RuntimeError("started with a pipe")
        self.base_url = str(json.loads(self._process.stdout.readline())["base_url"])

    def state(self) -> dict[str, int]:
        return httpx.get(f"{self.base_url}/_simulator/state", trust_env=False).json()

    def ledger(self, since: int = 0) -> list[dict[str, Any]]:
        """Its entries after number ``since``."""
        return httpx.get(
            f"{self.base_url}/_simulator/ledger", params={"since": since}, trust_env=False
        ).json()

    def stop(self) -> None:
        self._process.communicate(timeout=END_S)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()


def events_of(lines: Iterator[str]) -> Iterator[str]:
    """The data of a stream's events."""
    for line in lines:
        if line.startswith("data: "):
            yield line.removeprefix("data: ")


def is_alive(process: psutil.Process) -> bool:
    """Running, not merely waiting to be collected."""
    try:
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def name_of(process: psutil.Process) -> str:
    try:
        return process.name()
    except psutil.NoSuchProcess:
        return ""


def command_of(process: psutil.Process) -> str:
    try:
        return " ".join(process.cmdline())
    except (psutil.NoSuchProcess, psutil.AccessDenied):
        return ""
