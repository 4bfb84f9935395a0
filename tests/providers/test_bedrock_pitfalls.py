"""What users of other gateways ran into, row by row, as far as it concerns Bedrock.

The numbers are those of the collected threads on gateways and their translators.
"""

import json
from typing import Any

import pytest

from gateway.domain.outcomes import Outcome
from gateway.providers.base import FaultError
from pricing.usage import Usage
from tests.providers.bedrock_judge import ADAPTER, NOVA, SONNET, ask, build, target_of
from tests.providers.conversations import SCHEMA, to_request
from tests.providers.test_bedrock_answers import (
    START,
    STOP,
    TEXT,
    USAGE,
    answer_to,
    decode,
    event,
    exception,
    joined,
    message_of,
)

QUESTION = {"role": "user", "content": "How is the weather?"}
TOOLS = [
    {"type": "function", "function": {"name": name, "parameters": SCHEMA}}
    for name in ("get_weather", "look_up")
]


def called(*ids: str) -> dict[str, Any]:
    return {
        "role": "assistant",
        "content": None,
        "tool_calls": [
            {"id": id_, "type": "function", "function": {"name": "look_up", "arguments": "{}"}}
            for id_ in ids
        ],
    }


def answered(id_: str, content: Any = "42") -> dict[str, Any]:
    return {"role": "tool", "tool_call_id": id_, "content": content}


def built(*messages: dict[str, Any], **members: Any) -> tuple[dict[str, Any], tuple[str, ...]]:
    request = to_request({"model": "m", "messages": list(messages)} | members)
    wire, body = build(request, SONNET)
    ask(body, SONNET)
    return body, wire.warnings


def whole_of(**members: Any) -> bytes:
    body: dict[str, Any] = {
        "output": {"message": {"role": "assistant", "content": [{"text": "Hi"}]}},
        "stopReason": "end_turn",
    }
    return json.dumps(body | members).encode()


def usage_of(raw: dict[str, Any]) -> Usage | None:
    return ADAPTER.parse_response(200, {}, whole_of(usage=raw), target_of(SONNET)).usage


def test_pitfall_01_an_exception_in_mid_stream_does_not_end_it_silently() -> None:
    *_, last = decode(START + TEXT + exception("modelStreamErrorException", "It broke."))

    assert last.fault is not None
    assert last.fault.outcome is Outcome.SERVER_ERROR


def test_pitfall_04_a_stream_is_whole_with_its_stop_reason_and_cut_without() -> None:
    whole = decode(START + TEXT + STOP)
    *_, cut = decode(START + TEXT)
    *_, early = decode(START + TEXT + USAGE)

    assert not any(one.fault for one in whole)
    for last in (cut, early):
        assert last.fault is not None
        assert last.fault.outcome is Outcome.TRUNCATED


@pytest.mark.parametrize(
    "body",
    [
        b'{"__type":"ThrottlingException","message":"Too many requests"}',
        b'{"message":"Something went wrong"}',
        b'{"output":{},"stopReason":"end_turn"}',
        b'{"output":{"message":null},"stopReason":"end_turn"}',
        b'{"output":{"message":{"content":[{"text":"Hi"}]}}}',
        b"{}",
        b"",
    ],
)
def test_pitfall_05_an_error_inside_a_200_is_not_an_empty_answer(body: bytes) -> None:
    with pytest.raises(FaultError):
        ADAPTER.parse_response(200, {}, body, target_of(SONNET))


def test_pitfall_06_thinking_and_its_signature_survive_a_tool_loop() -> None:
    whole, _, _ = answer_to(tools=TOOLS, reasoning_effort="low")
    said = message_of(whole)
    turn = {name: said[name] for name in ("role", "content", "tool_calls", "reasoning_details")}

    body, warnings = built(
        QUESTION,
        turn,
        answered(said["tool_calls"][0]["id"]),
        tools=TOOLS,
        reasoning_effort="low",
    )

    assert "reasoningContent" in body["messages"][1]["content"][0]
    assert warnings == ()


def test_pitfall_06_a_loop_that_lost_its_thinking_goes_on_without_and_says_so() -> None:
    body, warnings = built(
        QUESTION, called("a"), answered("a"), tools=TOOLS, reasoning_effort="low"
    )

    assert "additionalModelRequestFields" not in body
    assert "reasoning was switched off" in warnings[0]


def test_pitfall_07_a_forced_call_wins_over_a_budget_and_that_is_said() -> None:
    body, warnings = built(QUESTION, tools=TOOLS, tool_choice="required", reasoning_effort="high")

    assert body["toolConfig"]["toolChoice"] == {"any": {}}
    assert "additionalModelRequestFields" not in body
    assert "forces a call" in warnings[0]


@pytest.mark.parametrize("blank", ["", " ", "\n\t", [{"type": "text", "text": ""}]])
def test_pitfall_08_blank_texts_are_not_sent(blank: Any) -> None:
    body, _ = built(
        {"role": "system", "content": blank},
        QUESTION,
        {"role": "assistant", "content": blank},
        {"role": "user", "content": blank},
        {"role": "user", "content": "Well?"},
        called("a"),
        answered("a", blank),
    )

    assert "system" not in body
    texts = [b["text"] for m in body["messages"] for b in m["content"] if "text" in b]
    assert all(one.strip() for one in texts)


def test_pitfall_09_parallel_results_are_one_message_with_the_results_first() -> None:
    body, _ = built(
        QUESTION,
        called("a", "b"),
        {"role": "user", "content": "Hurry."},
        answered("b"),
        answered("a"),
        tools=TOOLS,
    )

    assert [message["role"] for message in body["messages"]] == ["user", "assistant", "user"]
    first, second, third = body["messages"][2]["content"]
    assert [one["toolResult"]["toolUseId"] for one in (first, second)] == ["a", "b"]
    assert third == {"text": "Hurry."}


def test_pitfall_10_indices_of_calls_are_dense_whatever_the_blocks_are() -> None:
    def tool(index: int, id_: str) -> bytes:
        start = {"toolUse": {"toolUseId": id_, "name": "look_up"}}
        delta = {"toolUse": {"input": "{}"}}
        return (
            event("contentBlockStart", contentBlockIndex=index, start=start)
            + event("contentBlockDelta", contentBlockIndex=index, delta=delta)
            + event("contentBlockStop", contentBlockIndex=index)
        )

    stop = event("messageStop", stopReason="tool_use")

    events = decode(START + TEXT + tool(3, "t3") + tool(7, "t7") + stop + USAGE)

    calls = joined(events)["calls"]
    assert {index: call["id"] for index, call in calls.items()} == {0: "t3", 1: "t7"}


def test_pitfall_10_a_call_without_arguments_has_an_empty_object() -> None:
    start = {"toolUse": {"toolUseId": "t", "name": "look_up"}}

    events = decode(
        START
        + event("contentBlockStart", contentBlockIndex=0, start=start)
        + event("contentBlockDelta", contentBlockIndex=0, delta={"toolUse": {"input": ""}})
        + event("contentBlockStop", contentBlockIndex=0)
        + event("messageStop", stopReason="tool_use")
    )

    assert joined(events)["calls"][0]["arguments"] == "{}"


def test_pitfall_13_cached_tokens_are_counted_once_and_by_how_long_they_are_kept() -> None:
    usage = usage_of(
        {
            "inputTokens": 100,
            "outputTokens": 10,
            "totalTokens": 3110,
            "cacheReadInputTokens": 2000,
            "cacheWriteInputTokens": 1000,
            "cacheDetails": [{"ttl": "1h", "inputTokens": 400}, {"ttl": "5m", "inputTokens": 600}],
        }
    )

    assert usage == Usage(
        input_tokens=100,
        cache_read_tokens=2000,
        cache_write_tokens=600,
        cache_write_1h_tokens=400,
        output_tokens=10,
        requests=1,
    )
    assert usage is not None
    assert usage.prompt_tokens == 3100


def test_pitfall_13_writes_without_details_are_short_ones() -> None:
    usage = usage_of({"inputTokens": 5, "outputTokens": 1, "cacheWriteInputTokens": 7})

    assert usage is not None
    assert (usage.cache_write_tokens, usage.cache_write_1h_tokens) == (7, 0)


def test_pitfall_15_the_usage_of_a_stream_arrives() -> None:
    usages = [one.usage for one in decode(START + TEXT + STOP + USAGE) if one.usage is not None]

    assert usages == [Usage(input_tokens=3, output_tokens=2, requests=1)]


def test_pitfall_16_a_zero_is_a_zero_and_nothing_is_nothing() -> None:
    assert usage_of({"inputTokens": 0, "outputTokens": 0, "totalTokens": 0}) == Usage(requests=1)
    assert usage_of({}) is None


def test_pitfall_20_a_model_without_access_is_not_a_bad_credential() -> None:
    headers = {"x-amzn-errortype": "AccessDeniedException"}
    message = b'{"message":"You don\'t have access to the model with the specified model ID."}'

    model = ADAPTER.parse_error(403, headers, message, target_of(NOVA))
    credential = ADAPTER.parse_error(403, headers, b'{"message":"Denied"}', target_of(NOVA))

    assert model.outcome is Outcome.NOT_FOUND
    assert credential.outcome is Outcome.AUTH_FAILED
