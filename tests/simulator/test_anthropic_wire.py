"""The simulated Anthropic refuses what the real one refuses, and writes what it writes."""

import json
from typing import Any

import anthropic
import pytest

from gateway.simulator.anthropic_messages import redacted, signature_of
from gateway.simulator.server import Simulator
from tests.simulator.caller import ask

pytestmark = pytest.mark.anyio

PATH = "/anthropic/v1/messages"
HEADERS = {"anthropic-version": "2023-06-01", "x-api-key": "sk-ant-1"}
USER: dict[str, Any] = {"role": "user", "content": "Hello"}
CALL: dict[str, Any] = {
    "role": "assistant",
    "content": [{"type": "tool_use", "id": "t1", "name": "f", "input": {}}],
}
RESULT: dict[str, Any] = {
    "role": "user",
    "content": [{"type": "tool_result", "tool_use_id": "t1", "content": "42"}],
}
TOOL: dict[str, Any] = {"name": "f", "input_schema": {"type": "object", "properties": {}}}
THINKS: dict[str, Any] = {"thinking": {"type": "enabled", "budget_tokens": 1024}}


def marked(text: str, ttl: str = "5m") -> dict[str, Any]:
    return {"type": "text", "text": text, "cache_control": {"type": "ephemeral", "ttl": ttl}}


def strict(schema: dict[str, Any]) -> dict[str, Any]:
    return {"output_config": {"format": {"type": "json_schema", "schema": schema}}}


REFUSED = [
    pytest.param({"max_tokens": None}, "max_tokens: Field required", id="no-cap"),
    pytest.param({"speed": "fast"}, "speed: Extra inputs are not permitted", id="no-fast-beta"),
    pytest.param({"inference_geo": "mars"}, "inference_geo: Input should be", id="geo"),
    pytest.param({"max_tokens": 99_999}, "maximum allowed number of output", id="cap"),
    pytest.param({"messages": []}, "at least one message", id="no-messages"),
    pytest.param({"messages": [CALL | {"content": "x"}]}, "first message", id="assistant-first"),
    pytest.param({"messages": [USER, USER]}, "roles must alternate", id="same-role-twice"),
    pytest.param(
        {"messages": [{"role": "system", "content": "x"}]}, "top-level `system`", id="system-role"
    ),
    pytest.param({"messages": [USER | {"content": ""}]}, "non-empty content", id="empty-message"),
    pytest.param(
        {"messages": [USER | {"content": [{"type": "text", "text": " "}]}]},
        "non-whitespace",
        id="blank-text",
    ),
    pytest.param({"system": [{"type": "text", "text": ""}]}, "non-empty", id="blank-system"),
    pytest.param(
        {"messages": [USER, CALL, USER], "tools": [TOOL]},
        "without `tool_result` blocks immediately after: t1",
        id="unanswered-call",
    ),
    pytest.param(
        {"messages": [RESULT], "tools": [TOOL]}, "unexpected `tool_use_id`", id="orphan-result"
    ),
    pytest.param({"messages": [USER, CALL, RESULT]}, "must define tools", id="no-tools"),
    pytest.param(
        {
            "messages": [
                USER,
                CALL,
                RESULT | {"content": [{"type": "text", "text": "x"}, *RESULT["content"]]},
            ],
            "tools": [TOOL],
        },
        "must come before",
        id="text-before-results",
    ),
    pytest.param({"temperature": 1.2}, "range: 0..1", id="temperature"),
    pytest.param({"temperature": 0.5, "top_p": 0.5}, "only one", id="both-samplings"),
    pytest.param({"seed": 7}, "Extra inputs", id="unknown-parameter"),
    pytest.param(THINKS | {"temperature": 0.5}, "only be set to 1", id="temperature-and-thinking"),
    pytest.param(THINKS | {"max_tokens": 1024}, "must be greater than", id="budget-above-cap"),
    pytest.param(
        {"thinking": {"type": "enabled", "budget_tokens": 100}}, "1024", id="budget-too-small"
    ),
    pytest.param({"thinking": {"type": "adaptive"}}, "not supported", id="adaptive-too-early"),
    pytest.param(
        THINKS | {"tools": [TOOL], "tool_choice": {"type": "any"}},
        "forces tool use",
        id="forced-call-and-thinking",
    ),
    pytest.param(
        THINKS | {"messages": [USER, CALL, RESULT], "tools": [TOOL]},
        "Expected `thinking`",
        id="loop-without-thinking",
    ),
    pytest.param(
        {
            "messages": [
                USER,
                {
                    "role": "assistant",
                    "content": [{"type": "thinking", "thinking": "Hm.", "signature": "mine"}],
                },
                USER,
            ]
        },
        "Invalid `signature`",
        id="foreign-signature",
    ),
    pytest.param(
        THINKS | {"messages": [USER, {"role": "assistant", "content": "So"}]},
        "prefilled",
        id="prefill-and-thinking",
    ),
    pytest.param(
        {"messages": [USER, {"role": "assistant", "content": "So "}]},
        "trailing whitespace",
        id="prefill-with-space",
    ),
    pytest.param(
        {"messages": [USER | {"content": [marked(str(n)) for n in range(5)]}]},
        "maximum of 4",
        id="five-cache-marks",
    ),
    pytest.param(
        {"messages": [USER | {"content": [marked("a"), marked("b", "1h")]}]},
        "must not come after",
        id="long-mark-after-short",
    ),
    pytest.param(
        {"tools": [TOOL | {"input_schema": {"anyOf": [{"type": "object"}]}}]},
        "'object'",
        id="schema-type",
    ),
    pytest.param({"tool_choice": {"type": "any"}}, "while providing tools", id="choice-alone"),
    pytest.param(strict({"type": "object"}), "additionalProperties", id="open-object"),
    pytest.param(
        strict({"type": "integer", "minimum": 1}), "'minimum' is not supported", id="keyword"
    ),
    pytest.param({"stop_sequences": [" "]}, "non-whitespace", id="blank-stop"),
    pytest.param({"metadata": {"team": "x"}}, "Extra inputs", id="metadata"),
]


async def say(
    simulator: Simulator, model: str = "claude-sonnet-4-5", **fields: Any
) -> tuple[int | None, Any]:
    asked: dict[str, Any] = {"max_tokens": 2000, "messages": [USER]} | fields
    present: dict[str, Any] = {name: value for name, value in asked.items() if value is not None}
    reply = await ask(simulator, model, path=PATH, headers=HEADERS, **present)
    return reply.status, reply.json()


@pytest.mark.parametrize(("fields", "words"), REFUSED)
async def test_it_refuses_in_anthropics_words(
    simulator: Simulator, fields: dict[str, Any], words: str
) -> None:
    status, body = await say(simulator, **fields)

    assert status == 400
    assert body["type"] == "error"
    assert body["error"]["type"] == "invalid_request_error"
    assert words in body["error"]["message"]


async def test_newer_models_refuse_budgets_sampling_and_beginnings(simulator: Simulator) -> None:
    refused: tuple[dict[str, Any], ...] = (
        THINKS,
        {"temperature": 0.5},
        {"messages": [USER, {"role": "assistant", "content": "So"}]},
    )
    for fields in refused:
        status, _ = await say(simulator, "claude-opus-4-7", **fields)
        assert status == 400


async def test_a_version_and_the_right_key_are_demanded() -> None:
    async with Simulator(speed=0, api_key="sk-ant-1") as simulator:
        fields: dict[str, Any] = {"path": PATH, "max_tokens": 5}
        unversioned = await ask(simulator, "claude", headers={"x-api-key": "sk-ant-1"}, **fields)
        wrong = await ask(simulator, "claude", headers=HEADERS | {"x-api-key": "no"}, **fields)
        right = await ask(simulator, "claude", headers=HEADERS, **fields)

    assert unversioned.status == 400
    assert "anthropic-version" in unversioned.json()["error"]["message"]
    assert wrong.status == 401
    assert wrong.json()["error"] == {"type": "authentication_error", "message": "invalid x-api-key"}
    assert right.status == 200


async def test_its_own_thoughts_are_taken_back(simulator: Simulator) -> None:
    thoughts = [
        {"type": "thinking", "thinking": "Hm.", "signature": signature_of("Hm.")},
        {"type": "redacted_thinking", "data": redacted("Größe")},
    ]
    messages: list[dict[str, Any]] = [
        USER,
        {"role": "assistant", "content": [*thoughts, *CALL["content"]]},
        RESULT,
    ]

    status, _ = await say(simulator, messages=messages, tools=[TOOL], **THINKS)

    assert status == 200


async def test_the_official_client_reads_its_streams(simulator: Simulator) -> None:
    async with (
        anthropic.AsyncAnthropic(
            base_url=f"{simulator.base_url}/anthropic",
            api_key="sk-ant-1",
            max_retries=0,
            http_client=anthropic.DefaultAsyncHttpxClient(trust_env=False),
        ) as client,
        client.messages.stream(
            model="claude",
            max_tokens=4000,
            messages=[{"role": "user", "content": "Hello"}],
            thinking={"type": "enabled", "budget_tokens": 1024},
        ) as stream,
    ):
        streamed = await stream.get_final_message()

    assert [block.type for block in streamed.content] == ["thinking", "text"]
    assert streamed.stop_reason == "end_turn"
    assert streamed.usage.output_tokens > 1


async def test_events_are_named_and_usage_is_a_placeholder_first(simulator: Simulator) -> None:
    reply = await ask(
        simulator,
        "claude-sonnet-4-5",
        stream=True,
        path=PATH,
        headers=HEADERS,
        max_tokens=500,
        messages=[USER],
    )

    text = reply.body.decode()
    names = [line[7:] for line in text.splitlines() if line.startswith("event: ")]
    events = reply.events()
    assert names == [event["type"] for event in events]
    assert names[0] == "message_start"
    assert names[-2:] == ["message_delta", "message_stop"]
    assert "ping" in names
    assert events[0]["message"]["usage"]["output_tokens"] == 1
    assert events[-2]["usage"]["output_tokens"] > 1
    assert json.dumps(events[-2]["delta"]) == '{"stop_reason": "end_turn", "stop_sequence": null}'


async def test_a_marked_prompt_is_written_once_and_read_after(simulator: Simulator) -> None:
    messages = [USER | {"content": [marked("A long road. " * 1000, "1h")]}]

    _, first = await say(simulator, messages=messages)
    _, second = await say(simulator, messages=messages)

    written = first["usage"]["cache_creation"]["ephemeral_1h_input_tokens"]
    assert written > 3000
    assert second["usage"]["cache_read_input_tokens"] > 3000
