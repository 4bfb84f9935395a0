"""`keys revoke --kill` ends what is open of a key, in every worker; a plain revocation does not."""

import json
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Semaphore
from typing import Any

import httpx
import pytest

from gateway.domain.outcomes import Outcome
from gateway.domain.records import RequestRecord
from gateway.simulator.running import simulator_in_thread
from tests.installation import MESSAGES, Gateway, installation, provider_toml, wait_until

ENDPOINTS = {"test/slow": "slow!tokens=1200,tokens_per_s=40", "test/hang": "hang!hang"}
STREAMS = 4


@pytest.fixture(scope="module")
def gateway(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:
    home: Path = tmp_path_factory.mktemp("kill") / "home"
    with simulator_in_thread(speed=0) as simulator:
        toml = provider_toml("p", f"{simulator.base_url}/v1", ENDPOINTS)
        with installation(home, toml=toml) as place, place.serve("--workers", "2") as gateway:
            yield gateway


def test_streams_and_waiting_requests_of_the_key_are_ended_and_others_go_on(
    gateway: Gateway,
) -> None:
    key, other = gateway.make_key("leaked"), gateway.make_key("other")
    begun = Semaphore(0)
    with ThreadPoolExecutor(STREAMS + 2) as pool:
        streams = [pool.submit(read, gateway, key, begun) for _ in range(STREAMS)]
        whole = pool.submit(ask, gateway, key)
        kept = pool.submit(read, gateway, other, begun, most=60)
        for _ in range(STREAMS + 1):
            # One that has told nothing yet ends as an answer of its own, a 401 like any other.
            assert begun.acquire(timeout=20), "a stream has not begun"
        wait_until("all are open", lambda: open_requests(gateway) >= STREAMS + 2)
        kid = key.split("_")[2]

        answer = revoke(gateway, kid, end_requests=False)
        assert answer["ends_requests"] is False
        wait_until("new requests are refused", lambda: gateway.accepts(key, expected=401))
        assert not any(one.done() for one in [*streams, whole])
        answer = revoke(gateway, kid, end_requests=True)
        assert answer["ends_requests"] is True

        for one in streams:
            error = one.result(timeout=15)["error"]
            assert (error["type"], error["code"]) == ("authentication_error", "key_revoked")
            assert error["message"].endswith("the answer is not complete")
        status, body = whole.result(timeout=15)
        assert (status, body["error"]["code"]) == (401, "key_revoked")
        assert "error" not in kept.result(timeout=15)

    def of_the_key() -> list[RequestRecord] | None:
        found = [one for one in gateway.records() if one.error_kind == "key_revoked"]
        return found if len(found) == STREAMS + 1 else None

    records = wait_until("their records are stored", of_the_key)
    assert {(one.outcome, one.status_code) for one in records} == {(Outcome.CLIENT_CANCELLED, 401)}


def read(gateway: Gateway, key: str, begun: Semaphore, most: int = 100_000) -> dict[str, Any]:
    """The last event before the end, of so many lines at most; tells when it has the first."""
    last = ""
    body = {"model": "test/slow", "messages": MESSAGES, "stream": True}
    with (
        gateway.client(key, timeout_s=30) as client,
        client.stream("POST", "/v1/chat/completions", json=body) as answer,
    ):
        for number, line in enumerate(answer.iter_lines()):
            if line == "data: [DONE]" or number > most:
                break
            if line:
                if not last:
                    begun.release()
                last = line.removeprefix("data: ")
    return json.loads(last)


def ask(gateway: Gateway, key: str) -> tuple[int, dict[str, dict[str, str]]]:
    with gateway.client(key, timeout_s=30) as client:
        answer = client.post(
            "/v1/chat/completions", json={"model": "test/hang", "messages": MESSAGES}
        )
    return answer.status_code, answer.json()


def open_requests(gateway: Gateway) -> int:
    text = httpx.get(
        f"{gateway.admin_url}/metrics", headers=gateway.owner_headers, trust_env=False
    ).text
    lines = [line for line in text.splitlines() if line.startswith("tollway_requests_in_flight")]
    return sum(int(float(line.rpartition(" ")[2])) for line in lines)


def revoke(gateway: Gateway, kid: str, *, end_requests: bool) -> dict[str, object]:
    answer = httpx.delete(
        f"{gateway.admin_url}/admin/keys/{kid}",
        params={"end_requests": end_requests},
        headers=gateway.owner_headers,
        trust_env=False,
    )
    assert answer.status_code == 200, answer.text
    return answer.json()
