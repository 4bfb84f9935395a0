"""With the first endpoint dead the next one answers, and both attempts are remembered."""

import json
from collections.abc import Callable, Iterator
from typing import Any

import msgspec
import pytest

from gateway.domain.outcomes import Outcome
from gateway.domain.records import RequestRecord
from gateway.simulator.running import simulator_in_thread
from gateway.simulator.server import Simulator
from tests.installation import (
    MESSAGES,
    Gateway,
    closed_port,
    events_of,
    installation,
    provider_toml,
)

# How the first endpoint fails -> what its attempt is recorded as, with the provider's status.
FAULTS = {
    "refused": (Outcome.CONNECT_ERROR, 0),
    "500": (Outcome.SERVER_ERROR, 500),
    "hang": (Outcome.FIRST_TOKEN_TIMEOUT, 0),
    "hang_headers": (Outcome.FIRST_TOKEN_TIMEOUT, 200),
    "429": (Outcome.RATE_LIMITED, 429),
    "html200": (Outcome.BAD_RESPONSE, 200),
}
MODES = ("whole", "stream")
LATE_S = 0.4


class Site(msgspec.Struct, frozen=True, kw_only=True):
    """A gateway with three providers: one refuses connections, one fails, one answers."""

    gateway: Gateway
    key: str
    simulator: Simulator


def model_of(fault: str, mode: str) -> str:
    """Each case has a model of its own, so that none meets the health that another left."""
    return f"case/{fault}-{mode}"


@pytest.fixture(scope="module")
def site(
    tmp_path_factory: pytest.TempPathFactory, postgres_dsn: Callable[..., str]
) -> Iterator[Site]:
    cases = [(fault, mode) for fault in FAULTS for mode in MODES]
    with simulator_in_thread(speed=0) as simulator:
        base_url = f"{simulator.base_url}/v1"
        refused = {model_of(f, m): f"dead-{m}" for f, m in cases if f == "refused"}
        failing = {model_of(f, m): f"{m}!{f}" for f, m in cases if f != "refused"}
        failing["case/cut"] = "cut!reset_mid@3,tokens_per_s=200"
        answering = {model_of(f, m): f"good-{f}-{m}" for f, m in cases} | {"case/cut": "good"}
        late = (f"first_token_s = {LATE_S}", f"whole_answer_s = {LATE_S}")
        toml = provider_toml("gone", f"http://127.0.0.1:{closed_port()}/v1", refused)
        toml += provider_toml("failing", base_url, failing, options=late)
        toml += provider_toml("answering", base_url, answering)
        home = tmp_path_factory.mktemp("fallback") / "home"
        with (
            installation(home, toml=toml, TOLLWAY_DATABASE_URL=postgres_dsn()) as place,
            place.serve() as gateway,
        ):
            yield Site(gateway=gateway, key=gateway.make_key(), simulator=simulator)


@pytest.mark.parametrize("fault", FAULTS)
def test_a_whole_answer_comes_from_the_next_endpoint(site: Site, fault: str) -> None:
    with site.gateway.client(site.key) as client:
        answer = client.post("/v1/chat/completions", json=request_of(model_of(fault, "whole")))

    assert answer.status_code == 200, answer.text
    body = answer.json()
    assert body["choices"][0]["message"]["content"]
    assert answer.headers["x-tollway-attempts"] == "2"
    assert_told(body["metadata"], fault)
    assert_recorded(site.gateway.record(body["id"]), fault)


@pytest.mark.parametrize("fault", FAULTS)
def test_a_stream_comes_from_the_next_endpoint_before_its_first_token(
    site: Site, fault: str
) -> None:
    asked = request_of(model_of(fault, "stream"), stream=True)
    with (
        site.gateway.client(site.key) as client,
        client.stream("POST", "/v1/chat/completions", json=asked) as answer,
    ):
        assert answer.status_code == 200
        events = list(events_of(answer.iter_lines()))

    assert events[-1] == "[DONE]"
    chunks = [json.loads(event) for event in events[:-1]]
    assert {chunk["provider"] for chunk in chunks} == {"answering"}
    assert "".join(said(chunk) for chunk in chunks)
    assert_told(chunks[-1]["metadata"], fault)
    assert_recorded(site.gateway.record(chunks[0]["id"]), fault)


def test_after_the_first_token_nobody_else_goes_on(site: Site) -> None:
    before = site.simulator.ledger.received
    with (
        site.gateway.client(site.key) as client,
        client.stream(
            "POST", "/v1/chat/completions", json=request_of("case/cut", stream=True)
        ) as answer,
    ):
        events = list(events_of(answer.iter_lines()))

    assert events[-1] == "[DONE]"
    chunks = [json.loads(event) for event in events[:-1]]
    assert "".join(said(chunk) for chunk in chunks[:-1])
    assert chunks[-1]["error"]["message"]
    assert chunks[-1]["choices"][0]["finish_reason"] == "error"
    assert site.simulator.ledger.received - before == 1
    record = site.gateway.record(chunks[0]["id"])
    assert record.outcome is Outcome.READ_ERROR
    assert [attempt.outcome for attempt in record.attempts] == [Outcome.READ_ERROR]
    assert record.attempts[0].usage_source == "estimated"
    assert record.cost_usd


def request_of(model: str, *, stream: bool = False) -> dict[str, Any]:
    return {
        "model": model,
        "messages": MESSAGES,
        "stream": stream,
        "provider": {"order": ["gone", "failing", "answering"]},
    }


def said(chunk: dict[str, Any]) -> str:
    return "".join(choice["delta"].get("content") or "" for choice in chunk["choices"])


def assert_told(metadata: dict[str, Any], fault: str) -> None:
    """The client sees who failed, how, and who answered."""
    outcome, _ = FAULTS[fault]
    first = "gone" if fault == "refused" else "failing"
    steps = [(step["provider"], step["outcome"], step["succeeded"]) for step in metadata["routing"]]
    assert steps == [(first, outcome.value, False), ("answering", "success", True)]
    assert metadata["used_provider"] == "answering"


def assert_recorded(record: RequestRecord, fault: str) -> None:
    """Both attempts are in the database; only the second is paid for in full."""
    outcome, status_code = FAULTS[fault]
    assert record.outcome is Outcome.SUCCESS
    assert record.is_fallback
    assert record.used_provider == "answering"
    dead, good = record.attempts
    assert dead.outcome is outcome
    assert dead.kind == "primary"
    assert dead.status_code == status_code
    assert (good.outcome, good.kind, good.status_code) == (Outcome.SUCCESS, "fallback", 200)
    assert good.cost.total_usd
    assert good.cost.price_version
    if outcome is Outcome.FIRST_TOKEN_TIMEOUT:
        # Timers of the event loop count in whole milliseconds.
        assert dead.duration_ms >= LATE_S * 1000 - 5
