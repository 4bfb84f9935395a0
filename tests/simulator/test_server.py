"""Connections, the ledger, control, and running apart."""

import asyncio
import json
import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import httpx
import openai
import pytest

from gateway.simulator.ledger import Ledger
from gateway.simulator.running import simulator_in_thread
from gateway.simulator.script import parse_script
from gateway.simulator.server import Simulator
from tests.simulator.caller import QUESTION, Reply, ask, read_reply, request_bytes, until

pytestmark = pytest.mark.anyio

SLOW = "m!tokens=400,first_token_ms=1,tokens_per_s=400"


async def test_a_connection_serves_request_after_request(simulator: Simulator) -> None:
    body = {"model": "m", "messages": QUESTION}
    reader, writer = await asyncio.open_connection("127.0.0.1", simulator.port)

    replies: list[Reply] = []
    for stream in (False, True, False):
        writer.write(request_bytes({**body, "stream": stream}))
        replies.append(await read_reply(reader))
    writer.close()
    await writer.wait_closed()

    assert [reply.status for reply in replies] == [200, 200, 200]
    assert replies[0].json()["choices"] == replies[2].json()["choices"]


async def test_pipelined_requests_are_answered_in_order(simulator: Simulator) -> None:
    requests = [
        request_bytes({"model": f"m!text=answer {number}", "messages": QUESTION})
        for number in range(20)
    ]
    reader, writer = await asyncio.open_connection("127.0.0.1", simulator.port)

    writer.write(b"".join(requests))
    received = b""
    async with asyncio.timeout(5):
        while received.count(b"HTTP/1.1 200") < 20 or b"answer 19" not in received:
            received += await reader.read(1 << 16)
    writer.close()
    await writer.wait_closed()

    found = [received.find(f'"answer {number}"'.encode()) for number in range(20)]
    assert found == sorted(found)
    assert -1 not in found


async def test_a_chunked_request_body_is_read_in_any_slices(simulator: Simulator) -> None:
    body = json.dumps({"model": "m", "messages": QUESTION}).encode()
    chunked = b"".join(b"%x\r\n%b\r\n" % (1, bytes([byte])) for byte in body)
    raw = b"POST /v1/chat/completions HTTP/1.1\r\ntransfer-encoding: chunked\r\n\r\n" + chunked
    reader, writer = await asyncio.open_connection("127.0.0.1", simulator.port)

    for at in range(0, len(raw), 97):
        writer.write(raw[at : at + 97])
        await asyncio.sleep(0)
    writer.write(b"0\r\ntrailer: x\r\n\r\n")
    reply = await read_reply(reader)
    writer.close()
    await writer.wait_closed()

    assert reply.status == 200
    assert simulator.ledger[0].request["messages"] == QUESTION


@pytest.mark.parametrize(
    ("raw", "status"),
    [
        (b"nonsense\r\n\r\n", 400),
        (b"POST / HTTP/1.1\r\ntransfer-encoding: chunked\r\n\r\nzz\r\n", 400),
        (b"POST / HTTP/1.1\r\ncontent-length: 99999999999\r\n\r\n", 413),
        (b"GET / HTTP/1.1\r\nx: " + b"y" * 70_000, 431),
        (b"GET /v1/nothing HTTP/1.1\r\n\r\n", 404),
        (b"GET /v1/chat/completions HTTP/1.1\r\n\r\n", 404),
    ],
)
async def test_bad_requests_are_answered(simulator: Simulator, raw: bytes, status: int) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", simulator.port)

    writer.write(raw)
    reply = await read_reply(reader)
    writer.close()
    await writer.wait_closed()

    assert reply.status == status


async def test_a_stale_connection_is_reset_by_its_next_request(simulator: Simulator) -> None:
    request = request_bytes({"model": "m!stale", "messages": QUESTION})
    reader, writer = await asyncio.open_connection("127.0.0.1", simulator.port)

    writer.write(request)
    good = await read_reply(reader)
    writer.write(request)
    bad = await read_reply(reader)
    writer.close()

    assert (good.status, good.ended) == (200, "whole")
    assert (bad.status, bad.ended) == (None, "reset")


@pytest.mark.parametrize("stream", [False, True])
async def test_a_caller_that_hangs_up_is_seen_with_the_time(
    simulator: Simulator, *, stream: bool
) -> None:
    body = {"model": SLOW, "messages": QUESTION, "stream": stream}
    reader, writer = await asyncio.open_connection("127.0.0.1", simulator.port)
    writer.write(request_bytes(body))
    if stream:
        async with asyncio.timeout(5):
            for _ in range(4):
                await reader.readuntil(b"data: ")
    else:
        await until(lambda: simulator.open_requests == 1)
        await until(lambda: time.monotonic() - simulator.ledger[0].received_at > 0.03)

    hung_up_at = time.monotonic()
    writer.transport.abort()
    await until(lambda: simulator.ledger[0].outcome == "client_closed")

    entry = simulator.ledger[0]
    assert entry.closed_at is not None
    assert entry.closed_after_s is not None
    assert 0 <= entry.closed_at - hung_up_at < 0.1
    assert 0 < entry.completion_tokens < 400
    assert entry.is_usage_sent is False
    assert (simulator.open_connections, simulator.open_requests) == (0, 0)


async def test_the_ledger_keeps_no_credential(tmp_path: Path) -> None:
    path = tmp_path / "ledger.jsonl"
    key = "sk-canarycanarycanary"
    headers = {"authorization": f"Bearer {key}", "x-attempt-id": "a-7", "cookie": "c"}
    async with Simulator(speed=0, ledger_path=path) as simulator:
        await ask(simulator, "m!tokens=9", headers=headers)
        await ask(simulator, "m!truncated@2,tokens=40", headers={"x-api-key": key}, stream=True)
        entries = list(simulator.ledger)

    assert key not in path.read_text()
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    assert [line["outcome"] for line in lines] == ["completed", "faulted"]
    assert lines[0]["headers"] == {"x-attempt-id": "a-7"}
    assert (lines[0]["has_credential"], lines[0]["credential_last4"]) == (True, "nary")
    assert (lines[0]["completion_tokens"], lines[0]["is_usage_sent"]) == (9, True)
    assert 0 < lines[1]["completion_tokens"] < 40
    assert lines[1]["prompt_tokens"] == lines[0]["prompt_tokens"] > 0
    assert entries[0].request["messages"] == QUESTION


def test_the_ledger_is_bounded_by_the_size_of_bodies() -> None:
    ledger = Ledger()

    for _ in range(10):
        ledger.open(received_at=0, provider=None, path="/", headers={}, body_bytes=16 * 1024 * 1024)

    assert (len(ledger), ledger.received, ledger[0].number) == (4, 10, 7)


async def test_stop_ends_open_answers_and_enters_them(tmp_path: Path) -> None:
    path = tmp_path / "ledger.jsonl"
    simulator = Simulator(speed=0, ledger_path=path)
    await simulator.start()
    waiting = asyncio.create_task(ask(simulator, "m!hang"))
    await until(lambda: simulator.open_requests == 1)

    await simulator.stop()
    reply = await waiting

    assert reply.status is None
    assert json.loads(path.read_text())["outcome"] == "stopped"
    assert simulator.open_connections == 0


async def test_delays_follow_provider_speed_and_behaviour() -> None:
    async def seconds(simulator: Simulator, model: str) -> float:
        started = time.perf_counter()
        path = "/simulated-cedar/v1/chat/completions"
        await ask(simulator, model, path=path, stream=True)
        return time.perf_counter() - started

    async with Simulator(speed=1) as simulator:
        plain = await seconds(simulator, "fast!tokens=60")
        literal = await seconds(simulator, "fast!tokens=60,first_token_ms=250,tokens_per_s=0")
    async with Simulator(speed=0) as simulator:
        none = await seconds(simulator, "fast!tokens=60")

    # Cedar: 60 ms, then 600 tokens a second, with jitter from 0.8.
    assert plain > 0.12
    assert literal > 0.24
    assert none < plain


async def test_five_hundred_streams_run_side_by_side(simulator: Simulator) -> None:
    model = "m!tokens=40,first_token_ms=300,tokens_per_s=400"

    replies = await asyncio.gather(*(ask(simulator, model, stream=True) for _ in range(500)))

    assert all(reply.events()[-1] == "[DONE]" for reply in replies)
    await until(lambda: simulator.open_connections == 0)


async def test_the_bench_model_answers_constant_bytes(simulator: Simulator) -> None:
    options = {"include_usage": True}

    whole = [await ask(simulator, "bench:8") for _ in range(2)]
    stream = await ask(simulator, "bench:8", stream=True, stream_options=options)
    paced = await ask(simulator, "bench-stream:8:2", stream=True, stream_options=options)
    named = await ask(simulator, "bench", path="/simulated-atlas/v1/chat/completions", stream=True)

    assert whole[0] == whole[1]
    text = whole[0].json()["choices"][0]["message"]["content"]
    assert text == " every toll" * 8
    assert stream.events() == paced.events()
    assert len(stream.events()) == 8 + 4
    assert stream.events()[-2]["usage"] == whole[0].json()["usage"]
    assert len(named.events()) == 32 + 3
    assert (len(simulator.ledger), simulator.state()["bench_requests"]) == (0, 5)


async def test_a_paced_bench_stream_stops_when_the_caller_leaves(simulator: Simulator) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", simulator.port)
    writer.write(request_bytes({"model": "bench:9999:1", "stream": True}))
    await reader.readuntil(b"data: ")

    writer.transport.abort()

    await until(lambda: simulator.open_connections == 0)


async def test_a_script_decides_over_providers_and_models() -> None:
    script = parse_script(
        '[[rule]]\nprovider = "simulated-atlas"\nmodel = "fast"\nfirst = 1\n'
        'do = "429,retry_after=2"\n'
        '[[rule]]\nprovider = "stand-in"\nstream = true\ndo = "503"\n',
        "faults.toml",
    )
    async with Simulator(speed=0, script=script) as simulator:
        atlas = "/simulated-atlas/v1/chat/completions"
        replies = [
            await ask(simulator, "fast", path=atlas),
            await ask(simulator, "fast", path=atlas),
            await ask(simulator, "m", stream=True),
            await ask(simulator, "m"),
            await ask(simulator, "m!tokens=3", stream=True),
        ]

    assert [reply.status for reply in replies] == [429, 200, 503, 200, 503]
    assert replies[0].headers["retry-after"] == "2"


async def test_it_is_steered_over_its_own_port(simulator: Simulator) -> None:
    async with httpx.AsyncClient(base_url=simulator.base_url, trust_env=False) as http:
        wrong = await http.post("/_simulator/script", content='[[rule]]\ndo = "hng"\n')
        right = await http.post("/_simulator/script", content='[[rule]]\ndo = "500"\n')
        failed = await ask(simulator, "m")
        state = (await http.get("/_simulator/state")).json()
        entries = (await http.get("/_simulator/ledger?since=0")).json()
        nothing = (await http.get("/_simulator/ledger?since=1")).json()
        await http.post("/_simulator/reset")
        cured = await ask(simulator, "m")
        unknown = await http.get("/_simulator/else")

    assert (wrong.status_code, right.json()) == (400, {"rules": 1})
    assert wrong.json()["error"].startswith("script:2: rule 1, `do`: unknown fault `hng`")
    assert (failed.status, cured.status, unknown.status_code) == (500, 200, 404)
    assert (state["received"], state["open_requests"]) == (1, 1)
    assert [entry["behaviour"] for entry in entries] == ["500"]
    assert nothing == []


def test_it_runs_in_a_thread_for_callers_without_a_loop() -> None:
    message: Any = QUESTION
    with (
        simulator_in_thread(speed=0) as simulator,
        openai.OpenAI(
            base_url=f"{simulator.base_url}/v1",
            api_key="sk-x",
            max_retries=0,
            http_client=openai.DefaultHttpxClient(trust_env=False),
        ) as client,
    ):
        answer = client.chat.completions.create(model="m", messages=message)
        with client.chat.completions.create(model="m", messages=message, stream=True) as stream:
            chunks = list(stream)

    assert answer.choices[0].message.content
    assert len(chunks) > 5


def test_it_runs_as_a_process_that_ends_with_its_parent(tmp_path: Path) -> None:
    script = tmp_path / "faults.toml"
    script.write_text('[[rule]]\nfirst = 1\ndo = "503"\n')
    ledger = tmp_path / "ledger.jsonl"
    command = [sys.executable, "-m", "gateway.simulator", "--speed", "0", "--until-stdin-closes"]
    command += ["--script", str(script), "--ledger", str(ledger)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stdin is not None
        ready = json.loads(process.stdout.readline())
        with httpx.Client(base_url=ready["base_url"], trust_env=False) as http:
            body = {"model": "fast", "messages": QUESTION}
            statuses = [
                http.post("/simulated-dune/v1/chat/completions", json=body).status_code
                for _ in range(2)
            ]
        process.stdin.close()
        code = process.wait(5)

    assert statuses == [503, 200]
    assert "simulated-dune" in ready["providers"]
    assert code == 0
    assert len(ledger.read_text().splitlines()) == 2


def test_a_start_that_fails_says_why(tmp_path: Path) -> None:
    wrong = tmp_path / "faults.toml"
    wrong.write_text('[[rule]]\ndo = "hng"\n')
    command = [sys.executable, "-m", "gateway.simulator"]
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        busy = subprocess.run(
            [*command, "--port", str(port)], capture_output=True, text=True, check=False, timeout=10
        )
    bad = subprocess.run(
        [*command, "--script", str(wrong)], capture_output=True, text=True, check=False, timeout=10
    )

    assert (busy.returncode, bad.returncode) == (1, 1)
    assert str(port) in busy.stderr
    assert f"{wrong}:2: rule 1" in bad.stderr
    assert "Traceback" not in busy.stderr + bad.stderr
