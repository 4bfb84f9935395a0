"""Starts, pins, meters and ends the processes of a benchmark."""

import os
import socket
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import IO

import psutil

ROOT = Path(__file__).resolve().parents[2]


def pin_to(core: int) -> None:
    """Keep this process, and what it starts, on one core; no effect where there is only one."""
    cores = sorted(os.sched_getaffinity(0))
    if len(cores) > 1:
        os.sched_setaffinity(0, {cores[core % len(cores)]})


def start(
    command: Sequence[str],
    *,
    core: int,
    env: Mapping[str, str] | None = None,
    log: IO[bytes] | None = None,
) -> subprocess.Popen[bytes]:
    """Start a command pinned to a core, its first output on a pipe unless a log takes it."""
    program = [sys.executable, "-m", "tests.benchmarks.pinned", str(core), *command]
    return subprocess.Popen(
        program,
        cwd=ROOT,
        env={**os.environ, **(env or {})},
        stdout=log or subprocess.PIPE,
        stderr=log,
    )


def end(process: subprocess.Popen[bytes], within_s: float = 10) -> None:
    """End a process and everything it started."""
    try:
        family = [*psutil.Process(process.pid).children(recursive=True)]
    except psutil.NoSuchProcess:
        family = []
    process.terminate()
    try:
        process.wait(within_s)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
    for member in psutil.wait_procs(family, timeout=within_s)[1]:
        member.kill()
    if process.stdout is not None:
        process.stdout.close()


def wait_until_listening(port: int, process: subprocess.Popen[bytes], within_s: float = 60) -> None:
    """Return when the port accepts connections; raise when the process ends before."""
    deadline = time.monotonic() + within_s
    while time.monotonic() < deadline:
        if process.poll() is not None:
            raise RuntimeError(f"`{process.args!r}` ended with {process.returncode}")
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                return
        time.sleep(0.05)
    raise TimeoutError(f"nothing listens on port {port} after {within_s:g} s")


def free_port() -> int:
    """A loopback port nobody listened on a moment ago."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def cpu_s(process: subprocess.Popen[bytes]) -> float:
    """User and system seconds of a process and its descendants, without their databases."""
    return sum(_cpu_ticks(m.pid) for m in _gateway_processes(process)) / os.sysconf("SC_CLK_TCK")


def memory_mib(process: subprocess.Popen[bytes]) -> float:
    """Proportional set size of the same processes."""
    return sum(_pss_kib(member.pid) for member in _gateway_processes(process)) / 1024


def move_databases(process: subprocess.Popen[bytes], core: int) -> None:
    """Give PostgreSQL processes below a process another core, so that it is not weighed with it."""
    cores = sorted(os.sched_getaffinity(0))
    for member in psutil.Process(process.pid).children(recursive=True):
        if _is_database(member):
            member.cpu_affinity([cores[core % len(cores)]])


def _gateway_processes(process: subprocess.Popen[bytes]) -> list[psutil.Process]:
    top = psutil.Process(process.pid)
    return [top, *(m for m in top.children(recursive=True) if not _is_database(m))]


def _is_database(process: psutil.Process) -> bool:
    try:
        return process.name().startswith("postgres")
    except psutil.NoSuchProcess:
        return False


def _cpu_ticks(pid: int) -> int:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return int(fields[11]) + int(fields[12])


def _pss_kib(pid: int) -> int:
    for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
        if line.startswith("Pss:"):
            return int(line.split()[1])
    return 0
