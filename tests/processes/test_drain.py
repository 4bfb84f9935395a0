"""SIGTERM: open answers end with an explicit error and are remembered; the exit code is 0."""

import json
import signal
import socket
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx
import pytest

from gateway.domain.outcomes import Outcome
from gateway.simulator.running import simulator_in_thread
from gateway.simulator.server import Simulator
from tests.installation import (
    MESSAGES,
    Gateway,
    Installation,
    events_of,
    installation,
    provider_toml,
    wait_until,
)

STREAMS = 12
ENDPOINTS = {
    "test/endless": "endless!endless,tokens_per_s=100",
    "test/idle": "idle!hang_mid@3",
    "test/silent": "silent!hang",
    "test/short": "short!first_token_ms=700",
}


@pytest.fixture(scope="module")
def simulator() -> Iterator[Simulator]:
    with simulator_in_thread(speed=0) as running:
        yield running


@pytest.fixture
def place(
    tmp_path: Path, simulator: Simulator, postgres_dsn: Callable[..., str]
) -> Iterator[Callable[..., Installation]]:
    """Makes an installation with the given deadlines in seconds."""

    def make(*, listen_s: float, streams_s: float) -> Installation:
        toml = provider_toml("alpha", f"{simulator.base_url}/v1", ENDPOINTS)
        toml += f"[deadlines]\ndrain_listen_s = {listen_s}\ndrain_streams_s = {streams_s}\n"
        return Installation(tmp_path / "home", toml=toml, TOLLWAY_DATABASE_URL=postgres_dsn())

    with installation(tmp_path / "home"):
        yield make


def test_open_streams_end_with_an_error_event_within_the_drain_time(
    place: Callable[..., Installation],
) -> None:
    site = place(listen_s=0.2, streams_s=0.8)
    with site.serve("--workers", "2") as gateway, ThreadPoolExecutor(STREAMS) as pool:
        key = gateway.make_key()
        streams = [
            Stream(pool, gateway, key, ("test/endless", "test/idle")[number % 2])
            for number in range(STREAMS)
        ]
        for stream in streams:
            stream.await_first()

        began_s = time.monotonic()
        code = gateway.stop()
        took_s = time.monotonic() - began_s
        ended = [stream.result() for stream in streams]

        assert code == 0
        # Listening, streams, farewells, and the records' way to the database.
        assert 1.0 <= took_s <= 6.0
        for events in ended:
            assert_bidden_farewell(events)
        records = {str(record.id): record for record in gateway.records()}
        assert len(records) == STREAMS
        for record in records.values():
            assert record.outcome is Outcome.GATEWAY_SHUTDOWN
            assert [attempt.outcome for attempt in record.attempts] == [Outcome.GATEWAY_SHUTDOWN]
            assert record.cost_usd
        assert_nothing_is_left(gateway)


def test_a_second_signal_does_not_wait_for_streams(place: Callable[..., Installation]) -> None:
    site = place(listen_s=20, streams_s=40)
    with site.serve() as gateway, ThreadPoolExecutor(2) as pool:
        key = gateway.make_key()
        stream = Stream(pool, gateway, key, "test/endless")
        stream.await_first()

        began_s = time.monotonic()
        gateway.process.send_signal(signal.SIGTERM)
        wait_until("it is not ready any more", lambda: status_of(gateway, "/readyz") == 503)
        assert status_of(gateway, "/healthz") == 200
        gateway.process.send_signal(signal.SIGTERM)

        assert gateway.process.wait(15) == 0
        assert time.monotonic() - began_s <= 10
        assert_bidden_farewell(stream.result())
        (record,) = gateway.records()
        assert record.outcome is Outcome.GATEWAY_SHUTDOWN


def test_while_draining_it_listens_for_a_while_and_lets_open_answers_finish(
    place: Callable[..., Installation],
) -> None:
    site = place(listen_s=1.5, streams_s=10)
    with site.serve() as gateway, ThreadPoolExecutor(4) as pool:
        key = gateway.make_key()
        stream = Stream(pool, gateway, key, "test/short")
        whole = pool.submit(ask, gateway, key, "test/short")
        gateway.process.send_signal(signal.SIGTERM)
        wait_until("it is not ready any more", lambda: status_of(gateway, "/readyz") == 503)
        late = pool.submit(ask, gateway, key, "test/short")

        assert whole.result(10).status_code == 200
        assert late.result(10).status_code == 200
        events = stream.result()
        assert events[-1] == "[DONE]"
        assert "error" not in json.loads(events[-2])
        # Nobody is waited for any more, so the whole drain time is not used.
        assert gateway.process.wait(10) == 0
        assert {record.outcome for record in gateway.records()} == {Outcome.SUCCESS}
        assert len(gateway.records()) == 3


def test_a_waiting_caller_is_told_that_the_gateway_goes(
    place: Callable[..., Installation], simulator: Simulator
) -> None:
    site = place(listen_s=0, streams_s=0.5)
    before = simulator.ledger.received
    with site.serve() as gateway, ThreadPoolExecutor(1) as pool:
        key = gateway.make_key()
        waiting = pool.submit(ask, gateway, key, "test/silent")
        wait_until("the provider has it", lambda: simulator.ledger.received > before)

        assert gateway.stop() == 0

        answer = waiting.result(10)
        assert answer.status_code == 503
        assert answer.json()["error"]["code"] == "server_shutdown"
        assert answer.headers["x-should-retry"] == "true"
        (record,) = gateway.records()
        assert record.outcome is Outcome.GATEWAY_SHUTDOWN
        assert record.status_code == 503


def test_a_client_that_does_not_read_does_not_keep_it_alive(
    place: Callable[..., Installation],
) -> None:
    site = place(listen_s=0, streams_s=0.3)
    with site.serve() as gateway:
        key = gateway.make_key()
        body = json.dumps({"model": "test/endless", "messages": MESSAGES, "stream": True}).encode()
        with socket.create_connection(("127.0.0.1", gateway.port)) as caller:
            caller.sendall(
                b"POST /v1/chat/completions HTTP/1.1\r\nhost: gateway\r\n"
                b"content-type: application/json\r\n"
                + f"authorization: Bearer {key}\r\n".encode()
                + f"content-length: {len(body)}\r\n\r\n".encode()
                + body
            )
            caller.recv(1)

            assert gateway.stop(within_s=12) == 0
        assert [record.outcome for record in gateway.records()] == [Outcome.GATEWAY_SHUTDOWN]


class Stream:
    """A stream that is read in a thread until it ends."""

    def __init__(self, pool: ThreadPoolExecutor, gateway: Gateway, key: str, model: str) -> None:
        self._has_begun = threading.Event()
        self._events: Future[list[str]] = pool.submit(self._read, gateway, key, model)

    def await_first(self) -> None:
        assert self._has_begun.wait(10), "the stream did not begin"

    def result(self) -> list[str]:
        return self._events.result(15)

    def _read(self, gateway: Gateway, key: str, model: str) -> list[str]:
        asked: dict[str, Any] = {"model": model, "messages": MESSAGES, "stream": True}
        events: list[str] = []
        with (
            gateway.client(key) as client,
            client.stream("POST", "/v1/chat/completions", json=asked) as answer,
        ):
            for event in events_of(answer.iter_lines()):
                events.append(event)
                self._has_begun.set()
        return events


def ask(gateway: Gateway, key: str, model: str) -> httpx.Response:
    with gateway.client(key) as client:
        return client.post("/v1/chat/completions", json={"model": model, "messages": MESSAGES})


def status_of(gateway: Gateway, path: str) -> int:
    return httpx.get(gateway.url + path, trust_env=False).status_code


def assert_bidden_farewell(events: list[str]) -> None:
    """Content, then the error that says why, then the end: never silence."""
    assert events[-1] == "[DONE]"
    last = json.loads(events[-2])
    assert last["error"]["code"] == "server_shutdown"
    assert last["choices"][0]["finish_reason"] == "error"
    assert len(events) > 2


def assert_nothing_is_left(gateway: Gateway) -> None:
    wait_until("all its processes have ended", lambda: not gateway.family())
