"""Streamed answers, event by event."""

import json
from collections.abc import Callable
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.domain.outcomes import Outcome
from gateway.providers.base import Quirks, StreamEvent, Target
from gateway.providers.openai_stream import OpenAIStreamDecoder
from pricing.catalogue import Endpoint
from pricing.usage import Usage
from tests.properties import many

MakeTarget = Callable[..., Target]


def chunk(delta: dict[str, Any] | None, finish: str | None = None, **members: Any) -> bytes:
    choices = [] if delta is None else [{"index": 0, "delta": delta, "finish_reason": finish}]
    return event({"id": "c1", "object": "chat.completion.chunk", "choices": choices, **members})


def event(value: Any) -> bytes:
    return b"data: " + json.dumps(value).encode() + b"\n\n"


DONE = b"data: [DONE]\n\n"
ROLE = chunk({"role": "assistant", "content": ""})
HELLO = chunk({"content": "hé"})
STOP = chunk({}, "stop")
USAGE = chunk(None, usage={"prompt_tokens": 3, "completion_tokens": 2, "total_tokens": 5})


def run(target: Target, *parts: bytes) -> list[StreamEvent]:
    decoder = OpenAIStreamDecoder(target)
    events = [event for part in parts for event in decoder.feed(part)]
    return events + decoder.end()


def choices_of(events: list[StreamEvent]) -> list[Any]:
    return [choice for event in events for choice in json.loads(event.choices)]


def test_an_ordinary_stream(target: Target) -> None:
    events = run(target, ROLE, HELLO, STOP, USAGE, DONE)

    assert events == [
        StreamEvent(
            choices=b'[{"index": 0, "delta": {"role": "assistant", "content": ""}, '
            b'"finish_reason": null}]',
            upstream_id="c1",
        ),
        StreamEvent(
            choices=b'[{"index": 0, "delta": {"content": "h\\u00e9"}, "finish_reason": null}]',
            has_content=True,
            text_bytes=3,
        ),
        StreamEvent(
            choices=b'[{"index": 0, "delta": {}, "finish_reason": "stop"}]',
            finish_reason="stop",
            native_finish_reason="stop",
        ),
        StreamEvent(usage=Usage(input_tokens=3, output_tokens=2, requests=1)),
        StreamEvent(is_terminal=True),
    ]


def test_a_stream_without_its_end_marker_is_whole_when_it_finished(target: Target) -> None:
    events = run(target, HELLO, STOP)

    assert [event.fault for event in events] == [None, None]


@pytest.mark.parametrize(
    "parts",
    [
        pytest.param([], id="nothing"),
        pytest.param([HELLO], id="no-finish"),
        pytest.param([HELLO, DONE], id="marker-alone"),
        pytest.param([HELLO, b'data: {"choices":[{"ind'], id="cut-in-an-event"),
        pytest.param([b": ping\n\n"], id="comments-only"),
        pytest.param([chunk({"content": "x"}, "")], id="empty-finish"),
        pytest.param(
            [event({"choices": [{"index": n, "delta": {}} for n in (0, 1)]}), STOP], id="one-of-two"
        ),
    ],
)
def test_a_stream_without_a_finish_reason_is_cut_off(target: Target, parts: list[bytes]) -> None:
    last = run(target, *parts)[-1]

    assert last.fault is not None
    assert last.fault.outcome in {Outcome.TRUNCATED, Outcome.BAD_RESPONSE}
    if parts and parts[0] != b": ping\n\n":
        assert last.fault.outcome is Outcome.TRUNCATED


def test_nothing_after_the_end_counts(target: Target) -> None:
    events = run(target, HELLO, STOP, DONE + b"data: {broken\n\n", HELLO)

    assert events[-1] == StreamEvent(is_terminal=True)


def test_a_last_event_without_its_blank_line_counts(target: Target) -> None:
    events = run(target, HELLO, STOP.rstrip())

    assert events[-1].finish_reason == "stop"


def test_finish_reasons_are_translated_with_the_native_kept(target: Target) -> None:
    events = run(target, HELLO, chunk({}, "eos"))

    assert (events[-1].finish_reason, events[-1].native_finish_reason) == ("stop", "eos")
    assert choices_of(events)[-1] == {
        "index": 0,
        "delta": {},
        "finish_reason": "stop",
        "native_finish_reason": "eos",
    }


def test_reasoning_content_is_also_called_reasoning(target: Target) -> None:
    events = run(target, chunk({"reasoning_content": "hm"}), STOP)

    assert events[0].has_content
    assert events[0].text_bytes == 2
    assert choices_of(events)[0]["delta"] == {"reasoning_content": "hm", "reasoning": "hm"}


@pytest.mark.parametrize(
    ("delta", "has_content"),
    [
        ({"role": "assistant"}, False),
        ({"content": ""}, False),
        ({"content": None, "tool_calls": []}, False),
        ({"content": "x"}, True),
        ({"reasoning": "x"}, True),
        ({"refusal": "x"}, True),
        ({"tool_calls": [{"index": 0, "id": "a", "function": {"name": "f"}}]}, True),
        ({"function_call": {"name": "f", "arguments": ""}}, True),
        ({"audio": {"id": "a"}}, True),
        ({"images": [{"type": "image_url"}]}, True),
    ],
)
def test_content_is_what_a_client_may_have_shown(
    target: Target, delta: dict[str, Any], has_content: bool
) -> None:
    assert run(target, chunk(delta))[0].has_content is has_content


def test_a_message_where_a_delta_belongs_is_moved(target: Target) -> None:
    call = {"id": "a", "type": "function", "function": {"name": "f", "arguments": "{}"}}
    choice = {
        "index": 0,
        "message": {"content": "x", "tool_calls": [call]},
        "finish_reason": "stop",
    }

    events = run(target, event({"choices": [choice]}))

    assert events[0].has_content
    assert choices_of(events) == [
        {
            "index": 0,
            "delta": {"content": "x", "tool_calls": [{**call, "index": 0}]},
            "finish_reason": "tool_calls",
            "native_finish_reason": "stop",
        }
    ]


def test_further_members_are_passed_on(target: Target) -> None:
    events = run(target, chunk({"content": "x"}, system_fingerprint="fp", service_tier="flex"))

    assert events[0].extras == b',"system_fingerprint":"fp","service_tier":"flex"'
    assert events[0].service_tier == "flex"


def test_usage_may_ride_on_the_last_chunk_or_inside_x_groq(target: Target) -> None:
    usage = {"prompt_tokens": 3, "completion_tokens": 2}
    expected = Usage(input_tokens=3, output_tokens=2, requests=1)

    assert run(target, chunk({}, "stop", usage=usage))[0].usage == expected
    groq = run(target, chunk({}, "stop", x_groq={"id": "r", "usage": usage}))[0]
    assert groq.usage == expected
    assert groq.extras == b""
    assert run(target, chunk({}, "stop", usage=None))[0].usage is None


@pytest.mark.parametrize(
    ("part", "outcome", "status"),
    [
        pytest.param(
            event({"error": {"message": "x", "code": 429}}), "rate_limited", 429, id="429"
        ),
        pytest.param(event({"error": "boom"}), "server_error", 200, id="text"),
        pytest.param(
            event({"error": {"message": "x", "code": "insufficient_quota"}}),
            "quota_exhausted",
            200,
            id="quota",
        ),
        pytest.param(
            b'event: error\ndata: {"message":"overloaded"}\n\n', "overloaded", 200, id="event-name"
        ),
        pytest.param(chunk({"content": ""}, "error"), "server_error", 200, id="finish-error"),
        pytest.param(
            event({"choices": [{"index": 0, "delta": {}, "error": {"code": 502, "message": "x"}}]}),
            "server_error",
            502,
            id="choice-error",
        ),
        pytest.param(b"data: {broken\n\n", "bad_response", 200, id="broken"),
        pytest.param(b"data: 7\n\n", "bad_response", 200, id="number"),
        pytest.param(b'data: {"choices":"\xff"}\n\n', "bad_response", 200, id="utf8"),
        pytest.param(b"data: " + b"x" * 1_100_000 + b"\n\n", "bad_response", 200, id="huge"),
    ],
)
def test_an_error_ends_the_stream(target: Target, part: bytes, outcome: str, status: int) -> None:
    events = run(target, HELLO, part, STOP, DONE)

    assert len(events) == 2
    assert events[1].fault is not None
    assert events[1].fault.outcome == outcome
    assert events[1].fault.status_code == status


@pytest.mark.parametrize(
    ("body", "outcome"),
    [
        (b'{"error":{"message":"slow","code":429}}', Outcome.RATE_LIMITED),
        (b"<html>busy</html>", Outcome.BAD_RESPONSE),
        (b'{"error":{"message":"cut in the mid', Outcome.BAD_RESPONSE),
    ],
)
def test_a_body_that_is_not_a_stream_is_recognised(
    target: Target, body: bytes, outcome: Outcome
) -> None:
    events = run(target, body[:9], body[9:])

    assert [event.fault.outcome if event.fault else None for event in events] == [outcome]


def tool(index: int | None, call_id: str | None, name: str | None, arguments: Any) -> bytes:
    function: dict[str, Any] = {"arguments": arguments}
    if name is not None:
        function["name"] = name
    call: dict[str, Any] = {"function": function}
    if index is not None:
        call["index"] = index
    if call_id is not None:
        call |= {"id": call_id, "type": "function"}
    return chunk({"tool_calls": [call]})


def assemble(events: list[StreamEvent]) -> list[tuple[str | None, str, str]]:
    """Calls as the official clients put them together: by index."""
    calls: dict[int, list[Any]] = {}
    for choice in choices_of(events):
        for piece in choice["delta"].get("tool_calls") or ():
            call = calls.setdefault(piece["index"], [None, "", ""])
            call[0] = call[0] or piece.get("id")
            call[1] += piece["function"].get("name") or ""
            call[2] += piece["function"].get("arguments") or ""
    return [(call[0], call[1], call[2]) for _, call in sorted(calls.items())]


def test_ordinary_tool_calls_pass_unchanged(target: Target) -> None:
    parts = [
        tool(0, "a", "f", ""),
        tool(0, None, None, '{"x":'),
        tool(0, None, None, "1}"),
        tool(1, "b", "g", ""),
        tool(1, None, None, "{}"),
        chunk({}, "tool_calls"),
    ]

    events = run(target, *parts)

    assert [event.choices for event in events] == [
        json.dumps(json.loads(part[6:])["choices"]).encode() for part in parts
    ]
    assert assemble(events) == [("a", "f", '{"x":1}'), ("b", "g", "{}")]


@pytest.mark.parametrize(
    ("parts", "calls"),
    [
        pytest.param(
            [tool(0, "a", "f", "{}"), tool(0, "b", "g", "{}")],
            [("a", "f", "{}"), ("b", "g", "{}")],
            id="index-always-0",
        ),
        pytest.param(
            [tool(None, "a", "f", ""), tool(None, None, None, "{}"), tool(None, "b", "g", "[]")],
            [("a", "f", "{}"), ("b", "g", "[]")],
            id="no-index",
        ),
        pytest.param(
            [tool(0, "a", "f", '{"x"'), tool(0, "a", None, ":1}")],
            [("a", "f", '{"x":1}')],
            id="id-repeated",
        ),
        pytest.param(
            [tool(0, "a", "f", '{"x"'), tool(0, "other", None, ":1}")],
            [("a", "f", '{"x":1}')],
            id="id-changes-without-a-name",
        ),
        pytest.param(
            [tool(1, "a", "f", "{"), tool(1, None, None, "}")],
            [("a", "f", "{}")],
            id="index-from-1",
        ),
        pytest.param([tool(0, "a", "f", {"x": 1})], [("a", "f", '{"x": 1}')], id="object"),
        pytest.param(
            [tool(0, "a", "f", ""), tool(0, "", None, "{}")], [("a", "f", "{}")], id="empty-id"
        ),
    ],
)
def test_tool_calls_are_repaired(
    target: Target, parts: list[bytes], calls: list[tuple[str, str, str]]
) -> None:
    events = run(target, *parts, chunk({}, "stop"))

    assert assemble(events) == calls
    assert events[-1].finish_reason == "tool_calls"


def test_calls_without_ids_get_one_each(target: Target) -> None:
    events = run(
        target, tool(0, None, "f", '{"a":1}'), tool(0, None, "g", '{"b":2}'), chunk({}, "stop")
    )

    (first_id, *first), (second_id, *second) = assemble(events)
    assert (first, second) == (["f", '{"a":1}'], ["g", '{"b":2}'])
    assert first_id is not None
    assert first_id.startswith("call_")
    assert first_id != second_id


STREAM = b"".join(
    [
        b": hello\r\n\r\n",
        ROLE,
        HELLO.replace(b"\n", b"\r\n"),
        'data: {"choices":[{"index":0,"delta":{"content":"é€😀"}}]}\n\n'.encode(),
        tool(0, "a", "f", "{}"),
        STOP,
        USAGE,
        DONE,
        b"data: junk\n\n",
    ]
)


@given(cuts=st.lists(st.integers(0, len(STREAM)), max_size=10))
@settings(max_examples=many(120))
def test_any_way_of_cutting_gives_the_same_events(cuts: list[int]) -> None:
    target = plain_target()
    edges = [0, *sorted(cuts), len(STREAM)]

    parts = [STREAM[a:b] for a, b in pairwise(edges)]

    assert run(target, *parts) == run(target, STREAM)


def plain_target() -> Target:
    endpoint = Endpoint(id="a/b", provider="a", provider_model="b", model="a/b")
    return Target(endpoint=endpoint, base_url="http://x", quirks=Quirks())


JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-2, 3) | st.text(max_size=4),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(
                ["error", "delta", "content", "tool_calls", "function", "usage", "index", "id"]
            ),
            inner,
            max_size=4,
        )
    ),
    max_leaves=10,
)


@given(
    parts=st.lists(
        JSON.map(event)
        | JSON.map(lambda value: event({"choices": [{"index": 0, "delta": value}]}))
        | JSON.map(lambda value: event({"choices": [{"delta": {"tool_calls": [value]}}]}))
        | st.binary(max_size=20),
        max_size=4,
    )
)
@settings(max_examples=many(250))
def test_no_bytes_make_it_raise(parts: list[bytes]) -> None:
    for found in run(plain_target(), *parts):
        json.loads(found.choices)
