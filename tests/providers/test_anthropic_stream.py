"""Streams of Anthropic, however they are cut."""

import json
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from gateway.domain.outcomes import Outcome
from gateway.providers.base import StreamEvent
from gateway.providers.translation.structure import ANSWER_TOOL
from pricing.usage import Usage
from tests.properties import many
from tests.providers.claude import ADAPTER, ask, build, judge, target_of, wire_of
from tests.providers.conversations import SCHEMA

TOOL: dict[str, Any] = {
    "type": "function",
    "function": {"name": "get_weather", "parameters": SCHEMA},
}


def lines(*events: dict[str, Any]) -> bytes:
    return b"".join(
        b"event: %b\ndata: %b\n\n" % (event["type"].encode(), json.dumps(event).encode())
        for event in events
    )


START: dict[str, Any] = {
    "type": "message_start",
    "message": {
        "id": "msg_1",
        "type": "message",
        "model": "claude-sonnet-4-5",
        "content": [],
        "usage": {"input_tokens": 9, "cache_read_input_tokens": 4, "output_tokens": 1},
    },
}
STOP: dict[str, Any] = {"type": "message_stop"}


def begin(index: int, **block: Any) -> dict[str, Any]:
    return {"type": "content_block_start", "index": index, "content_block": block}


def delta(index: int, kind: str, **members: Any) -> dict[str, Any]:
    return {
        "type": "content_block_delta",
        "index": index,
        "delta": {"type": kind} | members,
    }


def close(index: int) -> dict[str, Any]:
    return {"type": "content_block_stop", "index": index}


def done(reason: str = "end_turn", **usage: int) -> dict[str, Any]:
    return {"type": "message_delta", "delta": {"stop_reason": reason}, "usage": usage}


def text(piece: str = "Hi") -> list[dict[str, Any]]:
    return [begin(0, type="text", text=""), delta(0, "text_delta", text=piece), close(0)]


def decode(data: bytes, size: int | None = None) -> list[StreamEvent]:
    decoder = ADAPTER.open_stream(target_of())
    step = size or len(data) or 1
    events = [
        event for at in range(0, len(data), step) for event in decoder.feed(data[at : at + step])
    ]
    return events + decoder.end()


def deltas(events: list[StreamEvent]) -> list[dict[str, Any]]:
    return [choice["delta"] for event in events for choice in json.loads(event.choices)]


def joined(events: list[StreamEvent], name: str) -> str:
    return "".join(one.get(name) or "" for one in deltas(events))


def fault_of(events: list[StreamEvent]) -> Outcome | None:
    fault = events[-1].fault
    return None if fault is None else fault.outcome


ASKED = [
    pytest.param({}, (), id="text"),
    pytest.param({"reasoning_effort": "low"}, (), id="thinking"),
    pytest.param({"reasoning_effort": "low"}, ("reasoning=hidden",), id="redacted"),
    pytest.param({"tools": [TOOL]}, ("tool_calls=3",), id="parallel-calls"),
    pytest.param({"tools": [TOOL], "reasoning_effort": "high"}, (), id="thinking-and-calls"),
    pytest.param({"max_tokens": 3}, (), id="cut"),
]


@pytest.mark.parametrize(("members", "do"), ASKED)
def test_a_stream_says_what_the_whole_answer_says(
    members: dict[str, Any], do: tuple[str, ...]
) -> None:
    answer = judge(build(ask(stream=True, **members)), do)
    whole = ADAPTER.parse_response(200, {}, answer.body, target_of())
    (choice,) = json.loads(whole.choices)
    said = choice["message"]

    events = decode(wire_of(answer))

    assert fault_of(events) is None
    assert joined(events, "content") == (said["content"] or "")
    assert joined(events, "reasoning") == (said.get("reasoning") or "")
    calls: dict[int, dict[str, str]] = {}
    for one in deltas(events):
        for piece in one.get("tool_calls", ()):
            call = calls.setdefault(piece["index"], {"id": piece.get("id", ""), "arguments": ""})
            call["arguments"] += piece["function"]["arguments"]
    assert list(calls) == list(range(len(said.get("tool_calls", ()))))
    assert [
        (call["id"], json.loads(call["function"]["arguments"]))
        for call in said.get("tool_calls", ())
    ] == [(call["id"], json.loads(call["arguments"])) for call in calls.values()]
    signatures = [
        detail.get("signature") or detail.get("data")
        for one in deltas(events)
        for detail in one.get("reasoning_details", ())
        if detail.get("signature") or detail.get("data")
    ]
    assert signatures == [
        detail.get("signature") or detail.get("data")
        for detail in said.get("reasoning_details", ())
    ]
    assert [event.usage for event in events if event.usage is not None] == [whole.usage]
    assert [event.finish_reason for event in events if event.finish_reason] == [whole.finish_reason]
    assert sum(event.text_bytes for event in events) == whole.text_bytes
    assert events[-1].is_terminal


STREAMS = [
    wire_of(judge(build(ask(stream=True, **members)), do))
    for members, do in (
        ({"reasoning_effort": "low"}, ()),
        ({"tools": [TOOL]}, ("tool_calls=2",)),
    )
]


@settings(max_examples=many(40), suppress_health_check=[HealthCheck.too_slow])
@given(stream=st.sampled_from(STREAMS), cuts=st.lists(st.floats(0, 1), max_size=12))
def test_any_re_chunking_yields_the_same_events(stream: bytes, cuts: list[float]) -> None:
    expected = decode(stream)
    decoder = ADAPTER.open_stream(target_of())
    places = sorted({0, len(stream), *(int(cut * len(stream)) for cut in cuts)})

    events = [
        event for begin_, end in pairwise(places) for event in decoder.feed(stream[begin_:end])
    ]

    assert events + decoder.end() == expected


def test_one_byte_at_a_time_yields_the_same_events() -> None:
    assert decode(STREAMS[0], 1) == decode(STREAMS[0])


@settings(max_examples=many(60))
@given(st.binary(max_size=200))
def test_no_bytes_make_it_raise(data: bytes) -> None:
    decode(b"data: " + data + b"\n\n" + lines(START) + data, 7)


class TestPitfalls:
    """Rows of the list of known pitfalls, by their numbers."""

    def test_4_an_end_without_a_stop_reason_is_a_truncation(self) -> None:
        assert fault_of(decode(lines(START, *text()))) is Outcome.TRUNCATED
        assert fault_of(decode(lines(START, *text(), STOP))) is Outcome.TRUNCATED

    def test_4_an_end_without_the_end_marker_is_an_answer_all_the_same(self) -> None:
        events = decode(lines(START, *text(), done(output_tokens=2)))

        assert fault_of(events) is None

    @pytest.mark.parametrize("before", [[], [START], [START, *text()]])
    def test_5_an_error_inside_the_stream_is_a_fault(self, before: list[dict[str, Any]]) -> None:
        error = {
            "type": "error",
            "error": {"type": "overloaded_error", "message": "Overloaded"},
        }

        assert fault_of(decode(lines(*before, error))) is Outcome.OVERLOADED

    def test_5_what_is_no_stream_is_a_fault(self) -> None:
        page = decode(b"<html><title>Bad gateway</title>")
        refusal = decode(b'{"type":"error","error":{"type":"api_error","message":"Broken"}}')

        assert fault_of(page) is Outcome.BAD_RESPONSE
        assert fault_of(refusal) is Outcome.SERVER_ERROR

    def test_6_the_signature_comes_with_the_detail_it_belongs_to(self) -> None:
        events = decode(
            lines(
                START,
                begin(0, type="thinking", thinking="", signature=""),
                delta(0, "thinking_delta", thinking="H"),
                delta(0, "thinking_delta", thinking="m."),
                delta(0, "signature_delta", signature="c2ln"),
                close(0),
                done(output_tokens=2),
            )
        )

        details = [d for one in deltas(events) for d in one.get("reasoning_details", ())]
        tag = {"type": "reasoning.text", "format": "anthropic-claude-v1", "index": 0}
        assert details == [
            tag | {"text": "H"},
            tag | {"text": "m."},
            tag | {"signature": "c2ln"},
        ]

    def test_10_calls_are_counted_from_zero_whatever_the_index_of_their_block(self) -> None:
        events = decode(
            lines(
                START,
                *text(),
                begin(1, type="tool_use", id="a", name="f", input={}),
                delta(1, "input_json_delta", partial_json=""),
                delta(1, "input_json_delta", partial_json='{"x":1}'),
                close(1),
                begin(2, type="tool_use", id="b", name="g", input={}),
                close(2),
                done("tool_use", output_tokens=2),
            )
        )

        pieces = [piece for one in deltas(events) for piece in one.get("tool_calls", ())]
        assert [piece["index"] for piece in pieces] == [0, 0, 1, 1]
        assert [piece["function"]["arguments"] for piece in pieces] == ["", '{"x":1}', "", "{}"]
        assert next(e.finish_reason for e in events if e.finish_reason) == "tool_calls"

    def test_15_a_count_that_is_left_out_later_stays(self) -> None:
        events = decode(lines(START, *text(), done(output_tokens=7)))

        assert [event.usage for event in events if event.usage is not None] == [
            Usage(input_tokens=9, cache_read_tokens=4, output_tokens=7, requests=1)
        ]

    def test_15_counts_are_cumulative_and_replace_each_other(self) -> None:
        early = {"type": "message_delta", "delta": {}, "usage": {"output_tokens": 3}}

        events = decode(lines(START, *text(), early, done(input_tokens=10, output_tokens=7)))

        last = [event.usage for event in events if event.usage is not None][-1]
        assert last is not None
        assert (last.input_tokens, last.output_tokens) == (10, 7)

    def test_17_the_placeholder_of_the_beginning_is_never_taken_for_usage(self) -> None:
        events = decode(lines(START, *text("A longer text")))

        assert all(event.usage is None for event in events)
        assert sum(event.text_bytes for event in events) == 13

    def test_18_comments_pings_and_unknown_events_are_skipped(self) -> None:
        ping, novelty = {"type": "ping"}, {"type": "amazon-bedrock-invocationMetrics", "x": 1}

        events = decode(
            b": hello\n\n" + lines(START, ping, *text(), novelty, done(output_tokens=2), ping, STOP)
        )

        assert joined(events, "content") == "Hi"
        assert events[-1].is_terminal


def test_a_forced_answer_streams_as_content() -> None:
    events = decode(
        lines(
            START,
            begin(0, type="tool_use", id="a", name=ANSWER_TOOL, input={}),
            delta(0, "input_json_delta", partial_json='{"city":'),
            delta(0, "input_json_delta", partial_json='"Oslo"}'),
            close(0),
            done("tool_use", output_tokens=2),
        )
    )

    assert joined(events, "content") == '{"city":"Oslo"}'
    assert next(e.finish_reason for e in events if e.finish_reason) == "stop"


def test_citations_come_when_their_text_is_complete() -> None:
    source = {"type": "web_search_result_location", "url": "https://a.example", "title": "A"}
    events = decode(
        lines(
            START,
            begin(0, type="server_tool_use", id="s", name="web_search", input={}),
            delta(0, "input_json_delta", partial_json='{"query":"q"}'),
            close(0),
            begin(1, type="text", text="", citations=[]),
            delta(1, "citations_delta", citation=source),
            delta(1, "text_delta", text="Hello"),
            close(1),
            done(output_tokens=2),
        )
    )

    (annotation,) = [a for one in deltas(events) for a in one.get("annotations", ())]
    assert annotation["url_citation"]["url"] == "https://a.example"
    assert annotation["url_citation"]["end_index"] == 5
    assert joined(events, "content") == "Hello"
    assert all("tool_calls" not in one for one in deltas(events))


def test_the_first_chunk_names_the_role_and_the_answer() -> None:
    events = decode(lines(START, *text(), done(output_tokens=2)))

    assert deltas(events)[0] == {"role": "assistant", "content": ""}
    assert events[0].upstream_id == "msg_1"
    assert events[0].has_content is False
    assert all("role" not in one for one in deltas(events)[1:])
