"""Answers in the chat shape, whole and streamed, as Messages clients read them."""

import json
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from gateway.chat.messages_api.answer import render_message
from gateway.chat.messages_api.events import MessageFrame
from gateway.chat.messages_api.usage import render_messages_usage
from pricing.cost import Cost
from pricing.usage import Usage

Events = list[tuple[str, dict[str, Any]]]


def whole(message: dict[str, Any], finish_reason: str = "stop") -> dict[str, Any]:
    choices = [{"index": 0, "message": message, "finish_reason": finish_reason}]
    return json.loads(
        render_message(
            id="gen-1",
            created=1,
            model="acme/large",
            provider="acme",
            choices=json.dumps(choices).encode(),
            usage=b'{"input_tokens":1,"output_tokens":2}',
            metadata=b"{}",
        )
    )


def streamed(*deltas: dict[str, Any], finish_reason: str = "stop") -> Events:
    frame = MessageFrame(
        id="gen-1", created=1, model="acme/large", provider="acme", prompt_tokens=7
    )
    sent = [frame.chunk(chunk(delta)) for delta in deltas]
    usage = b'{"input_tokens":1,"output_tokens":2}'
    sent.append(frame.with_usage(chunk({}, finish_reason), b"", usage, b"{}"))
    return events_of(b"".join(sent) + frame.done)


def chunk(delta: dict[str, Any], finish_reason: str | None = None) -> bytes:
    return json.dumps([{"index": 0, "delta": delta, "finish_reason": finish_reason}]).encode()


def events_of(sent: bytes) -> Events:
    events: Events = []
    for event in sent.decode().split("\n\n")[:-1]:
        name, data = event.split("\n")
        value = json.loads(data.removeprefix("data: "))
        assert value["type"] == name.removeprefix("event: ")
        events.append((value["type"], value))
    return events


def put_together(events: Events) -> tuple[list[dict[str, Any]], str | None]:
    """The blocks that a client holds at the end, as the official clients add them up."""
    blocks: dict[int, dict[str, Any]] = {}
    arguments: dict[int, str] = {}
    is_open: set[int] = set()
    stop_reason = None
    assert events[0][0] == "message_start"
    for kind, event in events[1:]:
        index = event.get("index", -1)
        if kind == "content_block_start":
            assert index == len(blocks)
            blocks[index] = event["content_block"]
            is_open.add(index)
        elif kind == "content_block_delta":
            assert index in is_open
            delta = event["delta"]
            if delta["type"] == "text_delta":
                blocks[index]["text"] += delta["text"]
            elif delta["type"] == "thinking_delta":
                blocks[index]["thinking"] += delta["thinking"]
            elif delta["type"] == "signature_delta":
                blocks[index]["signature"] = delta["signature"]
            elif delta["type"] == "input_json_delta":
                arguments[index] = arguments.get(index, "") + delta["partial_json"]
        elif kind == "content_block_stop":
            is_open.remove(index)
        elif kind == "message_delta":
            stop_reason = event["delta"]["stop_reason"]
    assert not is_open
    assert events[-1][0] == "message_stop"
    for index, text in arguments.items():
        blocks[index]["input"] = json.loads(text)
    return list(blocks.values()), stop_reason


def test_thoughts_text_and_calls_are_blocks_in_that_order() -> None:
    answer = whole(
        {
            "role": "assistant",
            "content": "Here.",
            "reasoning": "Hm",
            "reasoning_details": [
                {"type": "reasoning.text", "text": "Hm", "signature": "s", "format": "other-v1"},
                {"type": "reasoning.encrypted", "data": "d", "format": "anthropic-claude-v1"},
            ],
            "tool_calls": [
                {
                    "id": "c1",
                    "type": "function",
                    "function": {"name": "measure", "arguments": '{"a": 1.50}'},
                }
            ],
        },
        "tool_calls",
    )

    thinking, redacted, text, call = answer["content"]
    assert thinking == {"type": "thinking", "thinking": "Hm", "signature": "tollway:other-v1:s"}
    assert redacted == {"type": "redacted_thinking", "data": "d"}
    assert text == {"type": "text", "text": "Here."}
    assert call == {"type": "tool_use", "id": "c1", "name": "measure", "input": {"a": 1.5}}
    assert answer["stop_reason"] == "tool_use"


def test_arguments_that_are_no_object_are_kept_inside_one() -> None:
    message = {"tool_calls": [{"id": "c", "function": {"name": "m", "arguments": "{broken"}}]}

    assert whole(message)["content"][0]["input"] == {"_raw": "{broken"}


def test_reasons_to_stop_have_anthropics_words() -> None:
    reasons = {
        "stop": "end_turn",
        "length": "max_tokens",
        "tool_calls": "tool_use",
        "content_filter": "refusal",
    }

    assert {reason: whole({}, reason)["stop_reason"] for reason in reasons} == reasons


def test_pages_that_an_answer_rests_on_are_citations() -> None:
    note = {"type": "url_citation", "url_citation": {"url": "https://example.com", "title": "T"}}

    (block,) = whole({"content": "So.", "annotations": [note]})["content"]
    assert block["citations"][0]["url"] == "https://example.com"


def test_an_empty_stream_is_an_empty_message() -> None:
    assert put_together(streamed()) == ([], "end_turn")


def test_parallel_calls_whose_pieces_alternate_are_put_together() -> None:
    def piece(index: int, arguments: str, **head: Any) -> dict[str, Any]:
        call = {"index": index, "function": {"arguments": arguments, **head.pop("named", {})}}
        return {"tool_calls": [call | head]}

    events = streamed(
        {"role": "assistant", "content": "Two calls."},
        piece(0, "", id="a", named={"name": "first"}),
        piece(1, '{"y"', id="b", named={"name": "second"}),
        piece(0, '{"x":1}'),
        piece(1, ":2}"),
        finish_reason="tool_calls",
    )

    blocks, stop_reason = put_together(events)
    assert stop_reason == "tool_use"
    assert [block.get("input") for block in blocks] == [None, {"x": 1}, {"y": 2}]


def test_the_first_event_estimates_and_the_last_one_knows() -> None:
    events = streamed({"content": "x"})

    assert events[0][1]["message"]["usage"] == {"input_tokens": 7, "output_tokens": 0}
    assert events[-2][1]["usage"] == {"input_tokens": 1, "output_tokens": 2}


PIECES = st.lists(
    st.one_of(
        st.text(max_size=8).map(lambda text: {"content": text}),
        st.text(max_size=8).map(lambda text: {"reasoning": text}),
        st.text(min_size=1, max_size=8).map(
            lambda text: {"reasoning_details": [{"type": "reasoning.text", "text": text}]}
        ),
        st.just({"reasoning_details": [{"type": "reasoning.text", "signature": "s"}]}),
        st.integers(0, 2).map(
            lambda index: {
                "tool_calls": [
                    {"index": index, "id": f"c{index}", "function": {"name": "m", "arguments": ""}}
                ]
            }
        ),
    ),
    max_size=20,
)


@given(PIECES)
def test_any_deltas_make_blocks_that_open_once_and_close(pieces: list[dict[str, Any]]) -> None:
    blocks, _ = put_together(streamed(*pieces))

    said = "".join(piece.get("content", "") for piece in pieces)
    assert "".join(block["text"] for block in blocks if block["type"] == "text") == said


def test_usage_excludes_what_the_cache_holds_and_costs_stand_beside() -> None:
    usage = Usage(
        input_tokens=10,
        cache_read_tokens=100,
        cache_write_tokens=20,
        cache_write_1h_tokens=5,
        output_tokens=3,
        reasoning_tokens=4,
        web_searches=2,
    )

    shown = json.loads(render_messages_usage(usage, Cost(total_usd=None, status="unpriced")))

    assert shown["input_tokens"] == 10
    assert shown["cache_read_input_tokens"] == 100
    assert shown["cache_creation_input_tokens"] == 25
    assert shown["cache_creation"]["ephemeral_1h_input_tokens"] == 5
    assert shown["output_tokens"] == 7
    assert shown["server_tool_use"] == {"web_search_requests": 2}
    assert shown["cost_usd_total"] is None
