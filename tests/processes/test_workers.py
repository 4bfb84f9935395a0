"""Worker processes: killed under load nothing answered is lost, and many streams begin quickly."""

import asyncio
import json
import resource
import signal
import threading
import time
from collections import Counter
from collections.abc import Generator, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from pathlib import Path

import httpx
import psutil
import pytest

from gateway.domain.outcomes import Outcome
from tests.installation import (
    MESSAGES,
    Gateway,
    Installation,
    SimulatorProcess,
    closed_port,
    installation,
    is_alive,
    provider_toml,
    wait_until,
)

CLIENTS = 20
LOAD_S = 2.0
SETTLED_S = 40.0
STREAMS = 1_500
FIRST_BYTE_S = 3.0
ROUNDS = 3
ENDPOINTS = {
    "test/quick": "quick!tokens=8",
    "test/slow": "slow!first_token_ms=150",
    "test/many": "bench-stream:6:500",
}


@pytest.fixture(scope="module")
def simulator() -> Iterator[SimulatorProcess]:
    with SimulatorProcess("--speed", "0") as running:
        yield running


@pytest.fixture
def place(
    tmp_path: Path, simulator: SimulatorProcess, request: pytest.FixtureRequest
) -> Iterator[Installation]:
    toml = provider_toml("alpha", f"{simulator.base_url}/v1", ENDPOINTS)
    toml += "[deadlines]\ndrain_streams_s = 1\n"
    with installation(tmp_path / "home", toml=toml) as site:
        yield site


def test_killed_workers_are_replaced_and_no_answered_request_is_lost(
    place: Installation,
) -> None:
    with place.serve("--workers", "2") as gateway:
        key = gateway.make_key()
        with load(gateway.url, key) as answered:
            for _ in range(2):
                await_answers(answered, more=50)
                victim = gateway.workers()[0]
                victim.send_signal(signal.SIGKILL)
                wait_until("it is gone", lambda one=victim: not is_alive(one))
                wait_until(
                    "another takes its place", lambda: len(gateway.workers()) == 2, within_s=15
                )
            wait_until("both answer", lambda: gateway.accepts(key), within_s=15)
            await_answers(answered, more=50)

        assert_every_answer_has_one_row(gateway, answered)
        assert gateway.stop() == 0
        assert_every_answer_has_one_row(gateway, answered)


def test_a_killed_installation_starts_again_and_no_answered_request_is_lost(
    place: Installation,
) -> None:
    port = closed_port()
    answered: list[str] = []
    with place.serve("--workers", "2", port=port) as gateway:
        key = gateway.make_key()
        with load(gateway.url, key) as before:
            await_answers(before, more=50)
            gateway.kill()
        answered += before
        # The port, the data directory and the database are free for the next start at once.
        with place.serve("--workers", "2", port=port) as again:
            wait_until("the key still works", lambda: again.accepts(key))
            with load(again.url, key) as after:
                await_answers(after, more=50)
            answered += after

            assert_every_answer_has_one_row(again, answered)
            assert again.stop() == 0
            assert_every_answer_has_one_row(again, answered)
        wait_until("nothing of the first is left", lambda: not gateway.family(), within_s=30)


def test_everything_killed_at_once_starts_again_and_no_answered_request_is_lost(
    place: Installation,
) -> None:
    answered: list[str] = []
    with place.serve("--workers", "2") as gateway:
        key = gateway.make_key()
        with load(gateway.url, key) as before:
            await_answers(before, more=50)
            # As when the machine's memory ran out: PostgreSQL's processes are killed as well.
            for process in [*gateway.workers(), *gateway.database_processes()]:
                # Some end by themselves when those they belong to are gone.
                with suppress(psutil.NoSuchProcess):
                    process.kill()
            gateway.kill()
        answered += before
        with place.serve("--workers", "2") as again:
            wait_until("the key still works", lambda: again.accepts(key))
            with load(again.url, key) as after:
                await_answers(after, more=20)
            answered += after

            assert_every_answer_has_one_row(again, answered)
            records = again.records()
            outcomes = Counter(record.outcome for record in records)
            assert set(outcomes) <= {
                Outcome.SUCCESS,
                Outcome.UNKNOWN_CRASH,
                Outcome.CLIENT_CANCELLED,
            }
            for record in records:
                if record.outcome is Outcome.UNKNOWN_CRASH:
                    assert record.cost_usd
                    assert record.attempts[0].usage_source == "estimated"


def test_the_embedded_database_is_started_again_when_it_is_killed(place: Installation) -> None:
    with place.serve() as gateway:
        key = gateway.make_key()
        with load(gateway.url, key) as answered:
            await_answers(answered, more=20)
            old = gateway.database_processes()
            old[0].kill()
            await_answers(answered, more=50)
        wait_until("it is gone", lambda: not any(is_alive(one) for one in old))

        assert_every_answer_has_one_row(gateway, answered)


def test_1500_streams_at_two_workers_all_begin_within_three_seconds(
    place: Installation, simulator: SimulatorProcess
) -> None:
    with open_files(4 * STREAMS), place.serve("--workers", "2") as gateway:
        key = gateway.make_key()
        slowest_s: list[float] = []
        # A machine that is busy with other tests as well gets a second and a third chance.
        while len(slowest_s) < ROUNDS and min(slowest_s, default=FIRST_BYTE_S + 1) > FIRST_BYTE_S:
            first_s, ends = asyncio.run(open_streams(gateway.port, key, STREAMS))
            assert ends == Counter({"[DONE]": STREAMS})
            slowest_s.append(max(first_s))

        assert min(slowest_s) <= FIRST_BYTE_S, slowest_s
        asked = len(slowest_s) * STREAMS
        wait_until(
            "each has its record", lambda: len(gateway.recorded_ids()) == asked, within_s=SETTLED_S
        )
        assert gateway.stop() == 0


@contextmanager
def load(url: str, key: str) -> Generator[list[str]]:
    """Clients that ask until the context ends; the ids of the answers they have seen complete."""
    is_over = threading.Event()
    answered: list[str] = []

    def ask(number: int) -> None:
        headers = {"authorization": f"Bearer {key}"}
        is_stream = number % 2 == 1
        body = {
            "model": ("test/quick", "test/slow")[number % 4 // 2],
            "messages": MESSAGES,
            "stream": is_stream,
        }
        with httpx.Client(headers=headers, timeout=10, trust_env=False) as client:
            while not is_over.is_set():
                try:
                    answer = client.post(f"{url}/v1/chat/completions", json=body)
                except httpx.TransportError:
                    # Cut off or refused: not answered, so nothing was promised.
                    is_over.wait(0.05)
                    continue
                if answer.status_code != 200:
                    is_over.wait(0.05)
                    continue
                if is_stream:
                    if answer.text.endswith("data: [DONE]\n\n") and '"error"' not in answer.text:
                        answered.append(answer.headers["x-generation-id"])
                else:
                    answered.append(answer.json()["id"])

    with ThreadPoolExecutor(CLIENTS) as pool:
        asking = [pool.submit(ask, number) for number in range(CLIENTS)]
        try:
            yield answered
        finally:
            is_over.set()
            for one in asking:
                one.result(30)


def await_answers(answered: list[str], *, more: int) -> None:
    goal = len(answered) + more
    wait_until(f"{more} more answers", lambda: len(answered) >= goal, within_s=30)


def assert_every_answer_has_one_row(gateway: Gateway, answered: list[str]) -> None:
    assert len(set(answered)) == len(answered)

    def missing() -> set[str]:
        counts = Counter(gateway.recorded_ids())
        assert not [one for one, count in counts.items() if count > 1]
        return set(answered) - set(counts)

    until_s = time.monotonic() + SETTLED_S
    while lost := missing():
        assert time.monotonic() < until_s, f"{len(lost)} of {len(answered)} have no row"
        time.sleep(0.2)


@contextmanager
def open_files(count: int) -> Generator[None]:
    """Let this process and those it starts open that many files."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard != resource.RLIM_INFINITY and hard < count:
        pytest.skip(f"at most {hard} files may be open here")
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, count), hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


async def open_streams(port: int, key: str, count: int) -> tuple[list[float], Counter[str]]:
    """Open streams all at once; seconds to the first byte of each body, and how each ended."""
    body = json.dumps({"model": "test/many", "messages": MESSAGES, "stream": True}).encode()
    request = (
        b"POST /v1/chat/completions HTTP/1.1\r\nhost: gateway\r\nconnection: close\r\n"
        b"content-type: application/json\r\n"
        + f"authorization: Bearer {key}\r\ncontent-length: {len(body)}\r\n\r\n".encode()
        + body
    )

    async def stream() -> tuple[float, str]:
        began_s = time.monotonic()
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        try:
            writer.write(request)
            head = await reader.readuntil(b"\r\n\r\n")
            if b" 200 " not in head.partition(b"\r\n")[0]:
                return float("inf"), head.decode()
            await reader.readuntil(b"data: ")
            first_s = time.monotonic() - began_s
            rest = await reader.read()
            return first_s, "[DONE]" if b"data: [DONE]\n\n" in rest else rest[-200:].decode()
        finally:
            writer.close()

    async with asyncio.timeout(60):
        outcomes = await asyncio.gather(*(stream() for _ in range(count)))
    return [first_s for first_s, _ in outcomes], Counter(end for _, end in outcomes)
