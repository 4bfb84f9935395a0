"""Whatever is sent to the Messages API is answered, or refused in its one shape of errors."""

import base64
import copy
import json
from collections.abc import AsyncIterator
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.api.messages import COUNT_PATHS, MESSAGES_PATHS
from gateway.simulator.server import Simulator
from tests.api.edge import Edge
from tests.conformance.asgi import Answered, call
from tests.conformance.test_any_body import ABLE, JSON, places, replaced
from tests.pipeline.rig import Offer, rig_on
from tests.properties import many

pytestmark = pytest.mark.anyio
PATHS = st.sampled_from((*MESSAGES_PATHS, *COUNT_PATHS))
PIXEL = base64.b64encode(b"\x89PNG\r\n\x1a\n" + b"p" * 40).decode()
HELLO: list[Any] = [{"role": "user", "content": "Hello"}]
TOOL: dict[str, Any] = {"name": "measure", "input_schema": {"type": "object", "properties": {}}}
LOOP: list[Any] = [
    {"role": "user", "content": [{"type": "text", "text": "How far?"}]},
    {
        "role": "assistant",
        "content": [
            {"type": "thinking", "thinking": "Measure.", "signature": "c2ln"},
            {"type": "tool_use", "id": "toolu_1", "name": "measure", "input": {"a": 1}},
        ],
    },
    {
        "role": "user",
        "content": [
            {
                "type": "tool_result",
                "tool_use_id": "toolu_1",
                "content": [{"type": "text", "text": "9"}],
                "is_error": False,
            },
            {
                "type": "image",
                "source": {"type": "base64", "media_type": "image/png", "data": PIXEL},
            },
        ],
    },
]
MEMBERS: tuple[dict[str, Any], ...] = (
    {},
    {"stream": True},
    {"system": [{"type": "text", "text": "Be brief.", "cache_control": {"type": "ephemeral"}}]},
    {"tools": [TOOL], "tool_choice": {"type": "auto", "disable_parallel_tool_use": True}},
    {"tools": [TOOL], "messages": LOOP},
    {"thinking": {"type": "enabled", "budget_tokens": 1024}, "max_tokens": 4000},
    {"temperature": 0.5, "top_p": 0.9, "top_k": 4, "stop_sequences": ["END"]},
    {"metadata": {"user_id": "u-1"}, "service_tier": "auto", "models": ["acme/large"]},
)
GOOD = tuple({"model": "acme/large", "max_tokens": 50, "messages": HELLO} | one for one in MEMBERS)


@pytest.fixture(scope="module")
async def edge() -> AsyncIterator[Edge]:
    """One in front of a strict simulated provider."""
    async with (
        Simulator(speed=0) as simulator,
        rig_on(simulator, Offer(do="tokens=4", capabilities=ABLE | {"vision": True})) as rig,
    ):
        yield Edge(rig)


@st.composite
def mutated(draw: st.DrawFn) -> bytes:
    """A good request with strange text in one place."""
    body = copy.deepcopy(draw(st.sampled_from(GOOD)))
    text = replaced(body, draw(st.sampled_from(places(body))), draw(JSON))
    return text.encode("utf-8", "surrogatepass")


async def send(edge: Edge, path: str, body: bytes) -> None:
    answered = await call(edge.app, path, body, headers={"x-api-key": edge.key})
    if answered.status != 200:
        check_refusal(answered)
    elif path in COUNT_PATHS:
        assert answered.json()["input_tokens"] >= 0
    elif answered.kind == "text/event-stream":
        names = [line[7:] for line in answered.body.decode().split("\n") if line[:7] == "event: "]
        assert (names[0], names[-1]) == ("message_start", "message_stop")
    else:
        assert answered.json()["type"] == "message"


def check_refusal(answered: Answered) -> None:
    """The one shape that the Messages API has for errors."""
    assert 400 <= answered.status < 500, (answered.status, answered.body[:500])
    assert answered.kind == "application/json"
    body = answered.json()
    assert body["type"] == "error"
    assert body["error"]["type"].endswith("_error")
    assert body["error"]["message"]
    assert "request_id" in body
    assert answered.headers["x-request-id"]


@pytest.mark.parametrize("body", GOOD, ids=lambda body: "-".join(sorted(body))[:40])
async def test_good_requests_are_answered(edge: Edge, body: dict[str, Any]) -> None:
    answered = await call(
        edge.app, "/v1/messages", json.dumps(body).encode(), headers={"x-api-key": edge.key}
    )
    assert answered.status == 200, answered.body


@given(path=PATHS, body=mutated())
@settings(max_examples=many(150))
async def test_a_good_request_with_something_strange_in_it(
    edge: Edge, path: str, body: bytes
) -> None:
    await send(edge, path, body)


@given(path=PATHS, text=JSON)
@settings(max_examples=many(60))
async def test_any_json_and_what_resembles_it(edge: Edge, path: str, text: str) -> None:
    await send(edge, path, text.encode("utf-8", "surrogatepass"))


@given(path=PATHS, body=st.binary(max_size=200))
@settings(max_examples=many(40))
async def test_any_bytes(edge: Edge, path: str, body: bytes) -> None:
    await send(edge, path, body)
