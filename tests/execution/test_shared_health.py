"""Health that the workers of a node share: real processes, one table, and what a kill leaves."""

import json
import logging
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from msgspec.structs import replace

from gateway.domain.outcomes import Outcome
from gateway.execution.breaker import PRISTINE, LevelState
from gateway.execution.health import HealthBoard
from gateway.execution.shared_health import (
    MAX_NAME_BYTES,
    SharedTable,
    forget_table,
    open_table,
)
from tests.execution.samples import make_end
from tests.installation import ROOT
from tests.routing.factories import make_endpoint

ALPHA = make_endpoint("alpha")
SMALL = make_endpoint("alpha", "acme/small")
FAILED = Outcome.SERVER_ERROR


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "health.table"


@pytest.fixture
def table(path: Path) -> Iterator[SharedTable]:
    opened = opened_table(path)
    yield opened
    opened.close()


def opened_table(path: Path, capacity: int = 64) -> SharedTable:
    table = open_table(path, capacity=capacity)
    assert table is not None
    return table


class Node:
    """Two boards with mappings of their own of one table, and one clock."""

    def __init__(self, path: Path) -> None:
        self.now_s = 5_000.0
        self.boards = [self._board(path), self._board(path)]

    def _board(self, path: Path) -> HealthBoard:
        return HealthBoard(
            table=opened_table(path),
            clock=lambda: self.now_s,
            chance=lambda: 0.5,
            endpoints_of=lambda provider: [ALPHA.id, SMALL.id] if provider == "alpha" else [],
        )

    def report(self, worker: int, outcome: Outcome, **changes: Any) -> None:
        values: dict[str, Any] = {"endpoint": ALPHA, "duration_ms": 0.0}
        self.boards[worker].report(make_end(outcome, **(values | changes)))

    def seen(self, worker: int, endpoint: str = ALPHA.id) -> Any:
        return self.boards[worker].view(self.now_s * 1000)[endpoint]

    def close(self) -> None:
        for board in self.boards:
            board.close()


@pytest.fixture
def node(path: Path) -> Iterator[Node]:
    node = Node(path)
    yield node
    node.close()


def test_failures_in_a_row_are_counted_over_all_workers(node: Node) -> None:
    for worker in (0, 1, 0, 1):
        node.report(worker, FAILED)
    assert node.boards[0].may_try(ALPHA)
    node.report(0, FAILED)

    for worker in (0, 1):
        assert node.seen(worker).open_until_ms == 5_010_000
        assert not node.boards[worker].may_try(ALPHA)


def test_an_answer_in_one_worker_ends_the_row_of_both(node: Node) -> None:
    for _ in range(4):
        node.report(0, FAILED)
    assert node.seen(1).has_recent_outage
    node.report(1, Outcome.SUCCESS)
    node.report(0, FAILED)

    assert node.boards[0].may_try(ALPHA)


def test_a_cool_down_holds_for_all_workers(node: Node) -> None:
    node.report(0, Outcome.RATE_LIMITED, retry_after_ms=7_000)

    assert node.seen(1).cooling_until_ms == 5_007_000
    assert node.seen(1).is_rate_limited


def test_a_refused_credential_is_out_for_all_workers(node: Node) -> None:
    node.report(0, Outcome.AUTH_FAILED, status_code=401)

    assert node.boards[1].credential_is_out("alpha", 0)
    assert node.seen(1, SMALL.id).is_credential_refused, "also where nobody asked yet"


def test_an_origin_out_of_reach_is_so_for_all_models_of_all_workers(node: Node) -> None:
    for worker in (0, 1, 0):
        node.report(worker, Outcome.CONNECT_ERROR, status_code=0)

    assert node.seen(1, SMALL.id).open_until_ms == 5_010_000


def test_the_workers_have_one_probe_between_them(node: Node) -> None:
    for _ in range(5):
        node.report(0, FAILED)
    node.now_s += 10
    assert not node.seen(0).is_half_open, "it is due: it takes its place, and the probe with it"
    assert node.boards[1].may_try(ALPHA)
    assert not node.boards[0].may_try(ALPHA)
    assert not node.boards[1].may_try(ALPHA)
    assert node.seen(0).is_half_open
    node.report(1, Outcome.SUCCESS)
    assert node.boards[0].may_try(ALPHA)
    node.report(0, Outcome.SUCCESS)

    assert node.seen(1).open_until_ms is None
    assert node.seen(1).weight_factor == pytest.approx(0.1)
    node.now_s += 30
    assert node.seen(1).weight_factor == 1.0


def test_more_changes_than_the_ring_remembers_are_all_taken_over(path: Path) -> None:
    writer, reader = opened_table(path, 700), opened_table(path, 700)
    for number in range(600):
        changed = writer.change(f"target:p/{number}", None, failed_at(number))
        assert changed is not None

    seen = {reader.read(slot) for slot in reader.changed_since(0)}
    assert seen == {(f"target:p/{n}", LevelState(failed_at_ms=float(n + 1))) for n in range(600)}
    assert reader.changed_since(reader.counter) == []
    assert reader.changed_since(reader.counter - 2) == [598, 599]
    writer.close()
    reader.close()


def test_a_full_table_leaves_the_rest_to_each_process(path: Path) -> None:
    table = opened_table(path, 2)
    board = HealthBoard(table=table, clock=lambda: 50.0)
    for name in ("one", "two", "three"):
        board.report(make_end(FAILED, endpoint=make_endpoint(name)))

    assert table.used == 2
    assert all(health.has_recent_outage for health in board.view(50_000).values())
    assert len(board.view(50_000)) == 3
    table.close()


def test_a_name_too_long_for_the_table_is_minded_locally(table: SharedTable) -> None:
    assert table.change("target:" + "x" * MAX_NAME_BYTES, None, failed_at(1)) is None
    assert table.used == 0


def test_names_with_any_letters_come_back_as_they_were(table: SharedTable) -> None:
    changed = table.change("target:päpste/模型", None, failed_at(1))

    assert changed is not None
    assert table.read(changed[0])[0] == "target:päpste/模型"


def test_what_cannot_be_opened_costs_a_warning_and_nothing_else(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    foreign = tmp_path / "foreign"
    foreign.write_bytes(b"\xff" * 10_000)
    with caplog.at_level(logging.WARNING, "tollway.health"):
        assert open_table(tmp_path / "no" / "such" / "directory", capacity=8) is None
        assert open_table(tmp_path, capacity=8) is None
        assert open_table(foreign, capacity=8) is None

    assert len(caplog.records) == 3


def test_a_restart_begins_anew(path: Path, table: SharedTable) -> None:
    assert table.change("target:alpha/large", None, failed_at(1)) is not None
    forget_table(path)
    forget_table(path)

    anew = opened_table(path)
    assert anew.used == 0
    anew.close()


def test_a_lock_that_is_never_freed_delays_nobody_for_long(path: Path, table: SharedTable) -> None:
    holder = opened_table(path)
    assert holder._lock()  # pyright: ignore[reportPrivateUsage]
    board = HealthBoard(table=table)
    started_s = time.monotonic()
    for _ in range(1_000):
        board.report(make_end(FAILED, endpoint=ALPHA))

    assert time.monotonic() - started_s < 1.0
    assert not board.may_try(ALPHA)
    holder.close()


def test_a_slot_that_a_dying_writer_left_half_written_is_a_fresh_one(
    path: Path, table: SharedTable
) -> None:
    changed = table.change("target:alpha/large", None, failed_at(1))
    assert changed is not None
    slot = changed[0]
    with path.open("r+b") as file:
        file.seek(4_096 + slot * 384)
        file.write((7).to_bytes(8, sys.byteorder))

    assert table.read(slot) == ("target:alpha/large", PRISTINE)
    again = table.change("target:alpha/large", slot, failed_at(5))
    assert again == (slot, PRISTINE, LevelState(failed_at_ms=6.0))
    assert table.read(slot)[1] == LevelState(failed_at_ms=6.0)


def failed_at(number: int) -> Callable[[LevelState], LevelState]:
    return lambda state: replace(state, failed_at_ms=float(number + 1))


# What a worker process does, as a program: asks for the probe again and again.
PROBING = """
import json, sys, time
from pathlib import Path
from gateway.domain.outcomes import Outcome
from gateway.execution.breaker import BreakerRules
from gateway.execution.health import HealthBoard
from gateway.execution.shared_health import open_table
from tests.execution.samples import make_end, make_start
from tests.routing.factories import make_endpoint

ENDPOINT = make_endpoint("alpha")
board = HealthBoard(
    table=open_table(Path(sys.argv[1]), capacity=64),
    rules=BreakerRules(open_s=0.02, open_max_s=0.02, jitter=0),
)
mode = sys.argv[2]
print("ready", flush=True)
for line in sys.stdin:
    break
until_s = time.monotonic() + 1.0
probes = []
while time.monotonic() < until_s:
    if not board.may_try(ENDPOINT, 0):
        continue
    began_s = time.monotonic()
    board.begin(make_start(ENDPOINT))
    if mode == "hold":
        print("holding", flush=True)
        sys.stdin.readline()
    time.sleep(0.001)
    ended_s = time.monotonic()
    probes.append((began_s, ended_s))
    board.report(
        make_end(Outcome.SERVER_ERROR, endpoint=ENDPOINT, duration_ms=(ended_s - began_s) * 1000)
    )
print(json.dumps(probes), flush=True)
"""


class Program:
    """A process that probes; it begins when told to."""

    def __init__(self, path: Path, mode: str = "report") -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-c", PROBING, str(path), mode],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            cwd=ROOT,
            text=True,
        )
        assert self.line() == "ready"

    def begin(self) -> None:
        assert self._process.stdin is not None
        self._process.stdin.write("go\n")
        self._process.stdin.flush()

    def line(self) -> str:
        assert self._process.stdout is not None
        return self._process.stdout.readline().strip()

    def kill(self) -> None:
        self._process.kill()
        self._process.communicate()

    def end(self) -> None:
        self._process.communicate()


def half_open_now(path: Path) -> HealthBoard:
    """A board of this process for which alpha's breaker was opened, and the time is up."""
    table = opened_table(path)
    board = HealthBoard(table=table)
    for _ in range(5):
        board.report(make_end(FAILED, endpoint=ALPHA, duration_ms=0.0))
    now_ms = time.monotonic() * 1000
    table.change(f"target:{ALPHA.id}", None, lambda state: replace(state, open_until_ms=now_ms))
    return board


def test_processes_never_probe_at_the_same_time(path: Path) -> None:
    programs = [Program(path) for _ in range(3)]
    board = half_open_now(path)
    for program in programs:
        program.begin()

    found = [json.loads(program.line()) for program in programs]
    for program in programs:
        program.end()
    probes = sorted(tuple(probe) for probes in found for probe in probes)
    assert len(probes) > 10, "it was probed again and again"
    for (_, ended_s), (began_s, _) in pairwise(probes):
        assert began_s >= ended_s
    board.close()


def test_a_killed_worker_takes_its_probe_with_it(path: Path) -> None:
    board = half_open_now(path)
    program = Program(path, "hold")
    program.begin()
    assert program.line() == "holding"
    assert not board.may_try(ALPHA)

    program.kill()

    assert board.may_try(ALPHA)
    assert not board.may_try(ALPHA)
    board.close()
