"""PostgreSQL stopped, and a spool that cannot be written: what is answered, and what is not."""

import resource
import statistics
import time
from collections.abc import Callable, Generator, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from pathlib import Path

import httpx
import msgspec
import psutil
import pytest

from gateway.domain.outcomes import Outcome
from gateway.simulator.running import simulator_in_thread
from gateway.simulator.server import Simulator
from tests.installation import (
    MESSAGES,
    PLAIN,
    Gateway,
    installation,
    provider_toml,
    wait_until,
)

ENDPOINTS = {"test/plain": "plain!tokens=8", "test/slow": "slow!tokens=200,tokens_per_s=400"}
WORKERS = 2
AWAY_S = 4.0
# Little more than one segment, so that the first to be shipped makes room.
SPOOL_BYTES = 20 * 1024 * 1024
# Labels stand in every record: with these the spool is full after some 1,600 requests.
LABELS = {f"label-{number}": "x" * 250 for number in range(16)}
CLIENTS = 8


class Site(msgspec.Struct, frozen=True, kw_only=True):
    gateway: Gateway
    key: str


@pytest.fixture(scope="module")
def simulator() -> Iterator[Simulator]:
    with simulator_in_thread(speed=0) as running:
        yield running


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory, simulator: Simulator) -> Iterator[Site]:
    home = tmp_path_factory.mktemp("away") / "home"
    with (
        installation(home, toml=toml_of(simulator)) as place,
        place.serve("--workers", f"{WORKERS}") as gateway,
    ):
        yield Site(gateway=gateway, key=gateway.make_key())


def test_a_stopped_database_delays_no_request_and_loses_no_record(site: Site) -> None:
    gateway = site.gateway
    with gateway.client(site.key) as client:
        before_s = [timed(client)[0] for _ in range(40)]
        answered: list[str] = []
        with stopped(gateway.database_processes()):
            until_s = time.monotonic() + AWAY_S
            during_s: list[float] = []
            while time.monotonic() < until_s:
                took_s, answer = timed(client)
                assert answer.status_code == 200, answer.text
                answered.append(answer.json()["id"])
                during_s.append(took_s)
                time.sleep(0.02)
            assert httpx.get(f"{gateway.url}/readyz", trust_env=False).status_code == 200
            # Not a single one waited for it.
            assert max(during_s) < 1.0
            assert statistics.median(during_s) < statistics.median(before_s) + 0.02

    wait_until("all rows are there", lambda: has_rows(gateway, answered), within_s=30)


def test_the_admin_listener_says_that_the_database_is_away(site: Site) -> None:
    gateway = site.gateway
    with stopped(gateway.database_processes()):
        began_s = time.monotonic()
        answer = httpx.get(
            f"{gateway.admin_url}/admin/keys",
            headers=gateway.owner_headers,
            timeout=20,
            trust_env=False,
        )
        assert time.monotonic() - began_s < 10
        assert answer.status_code == 503
        assert answer.json()["error"]["code"] == "database_unavailable"
    wait_until("it answers again", lambda: lists_keys(gateway), within_s=30)


def test_without_a_database_a_worker_ends_and_the_next_one_stores_its_rows(site: Site) -> None:
    gateway = site.gateway
    with stopped(gateway.database_processes()), gateway.client(site.key) as client:
        answered = [timed(client)[1].json()["id"] for _ in range(5)]
        for worker in gateway.workers():
            worker.terminate()
        _, left = psutil.wait_procs(gateway.workers(), timeout=16)
        assert not left
    wait_until("workers replace them", lambda: gateway.accepts(site.key), within_s=20)
    wait_until("all rows are there", lambda: has_rows(gateway, answered), within_s=30)


def test_a_spool_that_cannot_be_written_refuses_requests_until_it_can(site: Site) -> None:
    gateway = site.gateway
    wait_until("every worker listens", lambda: all_listen(gateway))
    with no_writing(gateway.workers()):
        # A worker finds it out with its first request.
        answers: list[httpx.Response] = []
        wait_until(
            "every worker refuses",
            lambda: all_of(answers, 24, lambda: asked_anew(gateway, site.key), status_code=503),
        )
        for refused in answers[-24:]:
            assert refused.json()["error"]["code"] == "spool_unwritable"
            assert int(refused.headers["retry-after"]) > 0
        assert readiness(gateway) == 503
        assert httpx.get(f"{gateway.url}/healthz", trust_env=False).status_code == 200

    answers.clear()
    wait_until(
        "requests are answered again",
        lambda: all_of(answers, 24, lambda: asked_anew(gateway, site.key), status_code=200),
    )
    assert readiness(gateway) == 200
    answered = {one.json()["id"] for one in answers if one.status_code == 200}
    wait_until("all rows are there", lambda: has_rows(gateway, answered), within_s=30)


def test_a_stream_that_cannot_be_remembered_ends_with_an_error(site: Site) -> None:
    gateway = site.gateway
    wait_until("every worker listens", lambda: all_listen(gateway))
    asked = {"model": "test/slow", "messages": MESSAGES, "stream": True}
    with (
        gateway.client(site.key) as client,
        client.stream("POST", "/v1/chat/completions", json=asked) as answer,
    ):
        assert answer.status_code == 200
        received = ""
        parts = answer.iter_text()
        received += next(parts)
        with no_writing(gateway.workers()), suppress(httpx.RemoteProtocolError):
            for part in parts:
                received += part

    # Nothing is answered whole that is not remembered: it ends with an error or is cut off.
    assert '"error"' in received or "[DONE]" not in received
    wait_until("it is ready again", lambda: readiness(gateway) == 200)


def test_a_full_spool_refuses_requests_until_it_is_shipped(
    tmp_path: Path, simulator: Simulator
) -> None:
    toml = toml_of(simulator) + f"[limits]\nspool_bytes = {SPOOL_BYTES}\n"
    with installation(tmp_path / "home", toml=toml) as place, place.serve() as gateway:
        key = gateway.make_key(labels=LABELS)
        with stopped(gateway.database_processes()):
            with ThreadPoolExecutor(CLIENTS) as pool:
                filled = [pool.submit(ask_until_refused, gateway, key) for _ in range(CLIENTS)]
                answered = {one for ids in filled for one in ids.result(60)}
            assert readiness(gateway) == 503

        wait_until(
            "requests are answered again",
            lambda: asked_anew(gateway, key).status_code == 200,
            within_s=50,
        )
        wait_until("all rows are there", lambda: has_rows(gateway, answered), within_s=60)
        assert {record.outcome for record in gateway.records()} == {Outcome.SUCCESS}


def ask_until_refused(gateway: Gateway, key: str) -> list[str]:
    """The ids of what was answered before."""
    answered: list[str] = []
    with gateway.client(key) as client:
        while (answer := timed(client)[1]).status_code == 200:
            answered.append(answer.json()["id"])
    assert answer.status_code == 503, answer.text
    return answered


def asked_anew(gateway: Gateway, key: str) -> httpx.Response:
    """Over a new connection, which any worker may take."""
    with gateway.client(key) as client:
        return timed(client)[1]


def all_of(
    answers: list[httpx.Response],
    count: int,
    ask: Callable[[], httpx.Response],
    *,
    status_code: int,
) -> bool:
    """Whether so many in a row are answered alike; keeps all answers."""
    for _ in range(count):
        answers.append(ask())
        if answers[-1].status_code != status_code:
            return False
    return True


def toml_of(simulator: Simulator) -> str:
    return provider_toml("alpha", f"{simulator.base_url}/v1", ENDPOINTS)


def timed(client: httpx.Client) -> tuple[float, httpx.Response]:
    began_s = time.monotonic()
    answer = client.post("/v1/chat/completions", json={"model": "test/plain", "messages": MESSAGES})
    return time.monotonic() - began_s, answer


def has_rows(gateway: Gateway, answered: Iterable[str]) -> bool:
    return set(answered) <= set(gateway.recorded_ids())


def readiness(gateway: Gateway) -> int:
    """200 when every worker is ready; new connections spread over all of them."""
    url = f"{gateway.url}/readyz"
    statuses = {httpx.get(url, trust_env=False, verify=PLAIN).status_code for _ in range(12)}
    return statuses.pop() if len(statuses) == 1 else 0


def all_listen(gateway: Gateway) -> bool:
    """Whether both workers have come so far as to take connections: one that begins must write."""
    workers = gateway.workers()
    ports = [{one.laddr.port for one in worker.net_connections("tcp")} for worker in workers]
    return len(workers) == WORKERS and all(gateway.port in found for found in ports)


def lists_keys(gateway: Gateway) -> bool:
    answer = httpx.get(
        f"{gateway.admin_url}/admin/keys",
        headers=gateway.owner_headers,
        timeout=20,
        trust_env=False,
    )
    return answer.status_code == 200


@contextmanager
def stopped(processes: list[psutil.Process]) -> Generator[None]:
    """Processes that exist and do nothing, not even refuse."""
    assert processes
    try:
        for process in processes:
            process.suspend()
        yield
    finally:
        for process in processes:
            with suppress(psutil.NoSuchProcess):
                process.resume()


@contextmanager
def no_writing(processes: list[psutil.Process]) -> Generator[None]:
    """No file of these processes may grow, whoever runs them: as on a disk that fails."""
    unlimited = resource.RLIM_INFINITY
    try:
        for process in processes:
            process.rlimit(psutil.RLIMIT_FSIZE, (0, unlimited))
        yield
    finally:
        for process in processes:
            # One that has ended needs nothing back, and the others do all the same.
            with suppress(psutil.NoSuchProcess):
                process.rlimit(psutil.RLIMIT_FSIZE, (unlimited, unlimited))
