"""Measures the gateway against a bare relay of the same parts, in one run on this machine.

    python -m tests.benchmarks.bench [--quick] [--full] [--json bench.json]

Then how fast records are stored, and how long the dashboard takes over a history of requests.

Load generator and provider share one core, what is measured has another. Targets take turns, so
that a noisy minute hits both; ratios are what to look at.
"""

import argparse
import contextlib
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Generator, Iterable, Sequence
from pathlib import Path

import httpx
import msgspec
from rich.console import Console
from rich.table import Table

from tests.benchmarks import history, micro, shipping, views
from tests.benchmarks.gateway import gateway_target
from tests.benchmarks.load import Load, Result
from tests.benchmarks.processes import (
    cpu_s,
    end,
    free_port,
    memory_mib,
    move_databases,
    start,
    wait_until_listening,
)
from tests.benchmarks.target import Target

LOAD_CORE = 0
TARGET_CORE = 1
STREAMS = 50
CHUNKS = 100
CHUNK_INTERVAL_MS = 10
_STORED, _QUICKLY_STORED = 40_000, 5_000


class Plan(msgspec.Struct, frozen=True, kw_only=True):
    """How often and how long, in seconds per target."""

    rounds: int = 3
    throughput_s: float = 4
    stream_s: float = 5
    latency_s: float = 6
    warm_up_s: float = 1.5


QUICK = Plan(rounds=1, throughput_s=2, stream_s=2.5, latency_s=2, warm_up_s=0.7)


class Figures(msgspec.Struct, kw_only=True):
    """What was measured of one target; None where it does not apply."""

    name: str
    requests_per_s: float | None = None
    p50_ms: float | None = None
    p99_ms: float | None = None
    cpu_us_per_request: float | None = None
    chunks_per_s: float | None = None
    cpu_us_per_chunk: float | None = None
    paced_p50_ms: float | None = None
    paced_p99_ms: float | None = None
    added_p50_ms: float | None = None
    added_p99_ms: float | None = None
    memory_mib: float | None = None
    errors: int = 0
    first_error: str = ""


class Report(msgspec.Struct, kw_only=True):
    """One run: targets against the first of them, and micro-timings."""

    direct: Figures
    targets: list[Figures]
    micro: list[micro.Timing]
    stored: shipping.ShippingFigures | None = None
    dashboard: views.HistoryFigures | None = None

    def ratio(self, figures: Figures, field: str) -> float | None:
        """A target's figure over the relay's."""
        of_relay, of_target = getattr(self.targets[0], field), getattr(figures, field)
        return of_target / of_relay if of_relay and of_target else None


def relay_target(upstream_url: str) -> Target:
    """The bare relay that every other target is compared with."""
    port = free_port()
    command = [sys.executable, "-m", "tests.benchmarks.relay", str(port), upstream_url]
    return Target(name="bare relay", command=command, port=port)


@contextlib.contextmanager
def canned_upstream() -> Generator[str]:
    """The URL of a provider that costs next to nothing."""
    options = ["--chunks", str(CHUNKS), "--interval-ms", str(CHUNK_INTERVAL_MS)]
    command = [sys.executable, "-m", "tests.benchmarks.upstream", *options]
    process = start(command, core=LOAD_CORE)
    try:
        if process.stdout is None or not (port := process.stdout.readline().strip()):
            raise RuntimeError("the canned provider did not start")
        yield f"http://127.0.0.1:{int(port)}/v1/chat/completions"
    finally:
        end(process)


def measure(upstream_url: str, targets: Sequence[Target], plan: Plan) -> Report:
    """Start the targets, take turns between them, end them whatever happens."""
    figures = [Figures(name=target.name) for target in targets]
    direct = Figures(name="provider, direct")
    with contextlib.ExitStack() as stack:
        running = [stack.enter_context(_running(target)) for target in targets]
        meters = [
            _Meter(target, process, of)
            for target, process, of in zip(targets, running, figures, strict=True)
        ]
        for meter in meters:
            meter.load("closed", plan.warm_up_s)
        _measure_throughput(meters, plan)
        _measure_streams(meters, plan)
        _measure_paced(upstream_url, meters, direct, plan)
        for meter in meters:
            meter.figures.memory_mib = memory_mib(meter.process)
    return Report(direct=direct, targets=figures, micro=micro.run())


class _Meter:
    """Puts load on one running target and reads its CPU clock around it."""

    def __init__(self, target: Target, process: subprocess.Popen[bytes], figures: Figures) -> None:
        self.target = target
        self.process = process
        self.figures = figures

    def load(self, mode: str, duration_s: float, connections: int = 32) -> tuple[Result, float]:
        """What came back, and the CPU seconds it took the target."""
        before_s = cpu_s(self.process)
        result = _run_load(
            Load(
                url=self.target.url,
                api_key=self.target.api_key,
                model=self.target.model,
                mode=mode,
                duration_s=duration_s,
                connections=connections,
            )
        )
        self.figures.errors += result.errors
        self.figures.first_error = self.figures.first_error or result.first_error
        return result, cpu_s(self.process) - before_s


def _measure_throughput(meters: Sequence[_Meter], plan: Plan) -> None:
    rounds = [
        [meter.load("closed", plan.throughput_s) for meter in meters] for _ in range(plan.rounds)
    ]
    for meter, taken in zip(meters, zip(*rounds, strict=True), strict=True):
        of = meter.figures
        of.requests_per_s = _median(result.requests / result.duration_s for result, _ in taken)
        of.p50_ms = _median(result.p50_ms for result, _ in taken)
        of.p99_ms = _median(result.p99_ms for result, _ in taken)
        of.cpu_us_per_request = _median(
            cpu / max(result.requests, 1) * 1e6 for result, cpu in taken
        )


def _measure_streams(meters: Sequence[_Meter], plan: Plan) -> None:
    rounds = [
        [meter.load("streams", plan.stream_s, STREAMS) for meter in meters]
        for _ in range(min(plan.rounds, 2))
    ]
    for meter, taken in zip(meters, zip(*rounds, strict=True), strict=True):
        of = meter.figures
        of.chunks_per_s = _median(result.events / result.duration_s for result, _ in taken)
        of.cpu_us_per_chunk = _median(cpu / max(result.events, 1) * 1e6 for result, cpu in taken)


def _measure_paced(
    upstream_url: str, meters: Sequence[_Meter], direct: Figures, plan: Plan
) -> None:
    load = Load(url=upstream_url, api_key="bench", mode="open", duration_s=plan.latency_s)
    alone = _run_load(load)
    direct.paced_p50_ms, direct.paced_p99_ms = alone.p50_ms, alone.p99_ms
    for meter in meters:
        result, _ = meter.load("open", plan.latency_s)
        of = meter.figures
        of.paced_p50_ms, of.paced_p99_ms = result.p50_ms, result.p99_ms
        of.added_p50_ms = result.p50_ms - alone.p50_ms
        of.added_p99_ms = result.p99_ms - alone.p99_ms


def _median(values: Iterable[float]) -> float:
    return statistics.median(values)


def _run_load(load: Load) -> Result:
    encoded = msgspec.json.encode(load).decode()
    process = start([sys.executable, "-m", "tests.benchmarks.load", encoded], core=LOAD_CORE)
    try:
        output, _ = process.communicate(timeout=load.duration_s + 30)
    finally:
        end(process)
    if process.returncode != 0:
        raise RuntimeError(f"the load generator ended with {process.returncode}")
    return msgspec.json.decode(output, type=Result)


@contextlib.contextmanager
def _running(target: Target) -> Generator[subprocess.Popen[bytes]]:
    with tempfile.TemporaryFile() as log:
        process = start(target.command, core=TARGET_CORE, env=target.env, log=log)
        try:
            wait_until_listening(target.port, process)
            if target.ready_path is not None:
                _wait_until_ready(f"http://127.0.0.1:{target.port}{target.ready_path}")
            move_databases(process, LOAD_CORE)
            yield process
        except BaseException:
            log.seek(0)
            sys.stderr.write(log.read()[-4_000:].decode(errors="replace"))
            raise
        finally:
            end(process)


def _wait_until_ready(url: str, within_s: float = 60) -> None:
    deadline = time.monotonic() + within_s
    while time.monotonic() < deadline:
        with contextlib.suppress(httpx.TransportError):
            if httpx.get(url, trust_env=False).is_success:
                return
        time.sleep(0.1)
    raise TimeoutError(f"{url} is not ready after {within_s:g} s")


_ROWS = (
    ("requests/s on one core", "requests_per_s", "{:,.0f}"),
    ("  p50, 32 connections, ms", "p50_ms", "{:.2f}"),
    ("  p99, 32 connections, ms", "p99_ms", "{:.2f}"),
    ("CPU per request, µs", "cpu_us_per_request", "{:.0f}"),
    ("CPU per streamed chunk, µs", "cpu_us_per_chunk", "{:.1f}"),
    (f"  chunks/s, {STREAMS} streams", "chunks_per_s", "{:,.0f}"),
    ("p50 at 200 requests/s, ms", "paced_p50_ms", "{:.2f}"),
    ("p99 at 200 requests/s, ms", "paced_p99_ms", "{:.2f}"),
    ("  added p50, ms", "added_p50_ms", "{:.2f}"),
    ("  added p99, ms", "added_p99_ms", "{:.2f}"),
    ("memory, MiB", "memory_mib", "{:.0f}"),
    ("errors", "errors", "{:,}"),
)


def show(report: Report, console: Console) -> None:
    """Print the figures, each beside its ratio to the relay's."""
    table = Table("", report.direct.name, title="Against a bare relay of the same parts")
    for figures in report.targets:
        table.add_column(figures.name, justify="right")
        if figures is not report.targets[0]:
            table.add_column("÷ relay", justify="right")
    for label, field, form in _ROWS:
        cells = [_cell(getattr(report.direct, field), form)]
        for figures in report.targets:
            cells.append(_cell(getattr(figures, field), form))
            if figures is not report.targets[0]:
                cells.append(_cell(report.ratio(figures, field), "{:.2f}"))
        table.add_row(label, *cells)
    console.print(table)
    for figures in report.targets:
        if figures.first_error:
            console.print(f"{figures.name}: {figures.first_error}", markup=False)
    if report.micro:
        timings = Table("one call", "median, µs", title="Micro-timings")
        for timing in report.micro:
            timings.add_row(timing.name, f"{timing.median_us:.2f}")
        console.print(timings)


def _cell(value: float | None, form: str) -> str:
    return "" if value is None else form.format(value)


TargetFactory = Callable[[str], contextlib.AbstractContextManager[Target]]
"""Given the provider's URL, prepares a target (files, keys) and cleans up after it."""

MORE_TARGETS: tuple[TargetFactory, ...] = (gateway_target,)


def main() -> None:
    """Run everything, print the tables, write the JSON."""
    arguments = argparse.ArgumentParser(description="Measures the gateway against a bare relay.")
    arguments.add_argument("--quick", action="store_true", help="about 20 s, rough figures")
    arguments.add_argument(
        "--history",
        type=int,
        default=history.DEFAULT,
        metavar="N",
        help=f"requests that the dashboard looks back on, {history.DEFAULT:,}; 0: leave that out",
    )
    arguments.add_argument("--full", action="store_true", help=f"as --history {history.FULL}")
    arguments.add_argument("--json", type=Path, default=Path("bench.json"), help="where to write")
    given = arguments.parse_args()
    console = Console()
    with contextlib.ExitStack() as stack:
        upstream_url = stack.enter_context(canned_upstream())
        targets = [relay_target(upstream_url)]
        targets += [stack.enter_context(prepare(upstream_url)) for prepare in MORE_TARGETS]
        with console.status("measuring"):
            report = measure(upstream_url, targets, QUICK if given.quick else Plan())
    show(report, console)
    report.stored = shipping.measure(_QUICKLY_STORED if given.quick else _STORED)
    shipping.show(report.stored)
    length: int = history.FULL if given.full else 0 if given.quick else given.history
    if length:
        report.dashboard = views.measure_new(length)
        views.show_figures(report.dashboard, console)
    given.json.write_bytes(msgspec.json.format(msgspec.json.encode(report)))


if __name__ == "__main__":
    main()
