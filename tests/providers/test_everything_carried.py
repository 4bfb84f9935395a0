"""What answers may hold beside text comes through whole and in streams, byte for byte."""

import json
from typing import Any

import pytest

from gateway.chat.answer import render_completion
from gateway.chat.decode import decode_chat_request
from gateway.chat.dialects import Dialect
from gateway.providers.base import Target
from gateway.providers.openai import OpenAIAdapter

ADAPTER = OpenAIAdapter()
TOKEN: dict[str, Any] = {"token": "4", "logprob": -0.1, "bytes": [52], "top_logprobs": []}
CITATION = {"start_index": 0, "end_index": 1, "title": "t", "url": "https://x"}
CUSTOM_CALL = {"id": "c1", "type": "custom", "custom": {"name": "note", "input": "a b"}}
FUNCTION_CALL = {"id": "c2", "type": "function", "function": {"name": "f", "arguments": "{}"}}
MESSAGES: dict[str, dict[str, Any]] = {
    "annotations": {
        "content": "4",
        "annotations": [{"type": "url_citation", "url_citation": CITATION}],
    },
    "audio": {
        "content": None,
        "audio": {"id": "a1", "data": "AAAA", "expires_at": 1, "transcript": "four"},
    },
    "images": {
        "content": "",
        "images": [{"type": "image_url", "image_url": {"url": "data:image/png;base64,AAAA"}}],
    },
    "reasoning": {
        "content": "4",
        "reasoning": "hm",
        "reasoning_details": [
            {"type": "reasoning.text", "text": "hm", "signature": "s", "id": None, "index": 0}
        ],
    },
    "refusal": {"content": None, "refusal": "I cannot say that."},
    "custom-call": {"content": None, "tool_calls": [CUSTOM_CALL]},
    "calls": {"content": None, "tool_calls": [FUNCTION_CALL, CUSTOM_CALL]},
}


@pytest.mark.parametrize("kind", MESSAGES)
def test_a_whole_answer_keeps_everything(kind: str, target: Target) -> None:
    said = {"role": "assistant"} | MESSAGES[kind]
    reason = "tool_calls" if "tool_calls" in said else "stop"
    choices = [
        {
            "index": index,
            "message": said,
            "logprobs": {"content": [TOKEN], "refusal": None},
            "finish_reason": reason,
        }
        for index in range(2)
    ]
    body = {
        "id": "x",
        "object": "chat.completion",
        "created": 1,
        "model": "native-1",
        "choices": choices,
        "system_fingerprint": "fp_1",
        "service_tier": "flex",
        "usage": {"prompt_tokens": 1, "completion_tokens": 2, "total_tokens": 3},
    }

    completion = ADAPTER.parse_response(200, {}, json.dumps(body).encode(), target)
    shown = json.loads(
        render_completion(
            id="gen-1",
            created=1,
            model="acme/one",
            provider="acme",
            choices=completion.choices,
            usage=b"null",
            metadata=b"{}",
            extras=completion.extras,
            service_tier=completion.service_tier,
        )
    )

    assert shown["choices"] == choices
    assert shown["system_fingerprint"] == "fp_1"
    assert shown["service_tier"] == "flex"
    assert completion.finish_reason == reason


def chunk(delta: dict[str, Any], reason: str | None = None, **more: Any) -> bytes:
    choice = {"index": 0, "delta": delta, "finish_reason": reason} | more
    return b"data: " + json.dumps({"id": "x", "choices": [choice]}).encode() + b"\n\n"


@pytest.mark.parametrize("kind", sorted(set(MESSAGES) - {"calls", "custom-call"}))
def test_a_stream_keeps_everything(kind: str, target: Target) -> None:
    delta = {"role": "assistant"} | MESSAGES[kind]
    decoder = ADAPTER.open_stream(target)

    events = decoder.feed(
        chunk(delta, logprobs={"content": [TOKEN]}) + chunk({}, "stop") + b"data: [DONE]\n\n"
    )

    assert json.loads(events[0].choices) == [
        {"index": 0, "delta": delta, "finish_reason": None, "logprobs": {"content": [TOKEN]}}
    ]
    assert events[0].has_content
    assert [event.fault for event in events] == [None] * 3


def deltas_of(decoder_output: list[Any]) -> list[dict[str, Any]]:
    return [
        call
        for event in decoder_output
        for choice in json.loads(event.choices)
        for call in choice["delta"].get("tool_calls", [])
    ]


def test_custom_calls_stream_in_order(target: Target) -> None:
    begin = {"index": 0, "id": "c1", "type": "custom", "custom": {"name": "note", "input": ""}}
    more = {"index": 0, "custom": {"input": "a b"}}
    other = {"index": 1, "id": "c2", "type": "custom", "custom": {"name": "note", "input": ""}}
    sent = [begin, more, other]

    events = ADAPTER.open_stream(target).feed(
        b"".join(chunk({"tool_calls": [call]}) for call in sent) + chunk({}, "tool_calls")
    )

    assert deltas_of(events) == sent
    assert events[-1].finish_reason == "tool_calls"


def test_custom_calls_all_at_index_zero_are_told_apart(target: Target) -> None:
    sent = [
        {"index": 0, "id": name, "type": "custom", "custom": {"name": "note", "input": name}}
        for name in ("c1", "c2")
    ]

    events = ADAPTER.open_stream(target).feed(
        b"".join(chunk({"tool_calls": [call]}) for call in sent)
    )

    assert [call["index"] for call in deltas_of(events)] == [0, 1]
    assert [call["custom"]["input"] for call in deltas_of(events)] == ["c1", "c2"]
    assert [event.text_bytes for event in events] == [6, 6]


def test_a_custom_call_without_an_id_gets_one(target: Target) -> None:
    call = {"index": 0, "custom": {"name": "note", "input": "x"}}

    (delta,) = deltas_of(ADAPTER.open_stream(target).feed(chunk({"tool_calls": [call]})))

    assert delta["type"] == "custom"
    assert delta["id"].startswith("call_")


def test_what_was_answered_can_be_sent_again(target: Target) -> None:
    messages = [
        {"role": "user", "content": "hello"},
        *({"role": "assistant", "name": "x"} | said for said in MESSAGES.values()),
        {"role": "tool", "tool_call_id": "c1", "content": "done"},
    ]
    request = decode_chat_request(
        json.dumps({"model": "m", "messages": messages}).encode(), dialect=Dialect.OPENAI
    )

    sent = json.loads(ADAPTER.build_request(request, target, "").body)["messages"]

    assert sent == messages


@pytest.mark.parametrize(
    ("native", "canonical"),
    [
        ("end_turn", "stop"),
        ("max_tokens", "length"),
        ("eos", "stop"),
        ("refusal", "content_filter"),
    ],
)
def test_strange_finish_reasons_become_canonical(
    native: str, canonical: str, target: Target
) -> None:
    choice = {"index": 0, "message": {"role": "assistant", "content": "x"}, "finish_reason": native}

    completion = ADAPTER.parse_response(200, {}, json.dumps({"choices": [choice]}).encode(), target)
    event = ADAPTER.open_stream(target).feed(chunk({"content": "x"}, native))[0]

    for choices in (completion.choices, event.choices):
        shown = json.loads(choices)[0]
        assert (shown["finish_reason"], shown["native_finish_reason"]) == (canonical, native)
