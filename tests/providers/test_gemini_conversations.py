"""Any conversation that a client may have becomes a request that Gemini accepts."""

from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.properties import many
from tests.providers.conversations import bodies, to_request
from tests.providers.gemini_judge import (
    MODELS,
    STUDIO,
    VERTEX,
    build,
    decode,
    judge,
    message_of,
    put_together,
    stream_bytes,
    streamed,
    target_of,
    whole,
)

FEW = settings(max_examples=many(150), suppress_health_check=[HealthCheck.too_slow])
TOOL: dict[str, Any] = {
    "type": "function",
    "function": {
        "name": "measure",
        "parameters": {
            "type": "object",
            "properties": {"place": {"type": "string"}},
            "required": ["place"],
        },
    },
}
KINDS: list[Any] = [
    pytest.param({}, "", id="text"),
    pytest.param({"reasoning_effort": "low"}, "", id="reasoning"),
    pytest.param({"tools": [TOOL]}, "tool_calls=3", id="parallel-calls"),
    pytest.param({"web_search": True}, "", id="search"),
    pytest.param({"response_format": {"type": "json_object"}}, "", id="json"),
    pytest.param({"max_tokens": 30, "reasoning_effort": "none"}, "", id="length"),
    pytest.param({}, "finish=SAFETY", id="safety"),
    pytest.param({}, "finish=prompt:PROHIBITED_CONTENT", id="blocked"),
]


@given(bodies(), st.sampled_from(MODELS[1:]), st.sampled_from([STUDIO, VERTEX]))
@FEW
def test_any_conversation_is_accepted_by_the_strict_simulator(
    body: dict[str, Any], model: str, base_url: str
) -> None:
    request = to_request(body)

    _, sent = build(target_of(model, base_url=base_url), request)

    assert judge(sent).body


@given(bodies(remote_images=False))
@FEW
def test_any_conversation_is_accepted_by_a_model_that_takes_no_json_schema(
    body: dict[str, Any],
) -> None:
    _, sent = build(target_of("gemini-2.0-flash"), to_request(body))

    assert judge(sent).body


@pytest.mark.parametrize("model", ["gemini-2.5-flash", "gemini-3.8-flash"])
@pytest.mark.parametrize(("members", "do"), KINDS)
def test_a_stream_and_a_whole_answer_say_the_same(
    model: str, members: dict[str, Any], do: str
) -> None:
    target = target_of(model)

    completion = whole(target, do=do, **members)
    events = streamed(target, do=do, **members)

    said, pieces = message_of(completion), put_together(events)
    assert pieces["content"] == (said["content"] or "")
    assert pieces["reasoning"] == said.get("reasoning", "")
    assert pieces["tool_calls"] == said.get("tool_calls", [])
    assert pieces.get("annotations") == said.get("annotations")
    assert [event.finish_reason for event in events if event.finish_reason] == [
        completion.finish_reason
    ]
    assert events[-1].usage == completion.usage
    assert not any(event.fault for event in events)


@given(st.data())
@settings(max_examples=many(60))
def test_however_a_stream_is_cut_its_events_are_the_same(data: st.DataObject) -> None:
    target = target_of("gemini-3.8-flash")
    members: dict[str, Any] = data.draw(
        st.sampled_from([{"tools": [TOOL]}, {"web_search": True}, {"reasoning_effort": "low"}])
    )
    _, sent = build(target, stream=True, **members)
    wire = stream_bytes(judge(sent))
    places = sorted(data.draw(st.sets(st.integers(1, len(wire) - 1), max_size=40)))
    pieces = [wire[a:b] for a, b in zip([0, *places], [*places, len(wire)], strict=True)]

    assert decode(target, *pieces) == decode(target, wire)


def test_a_stream_byte_by_byte_is_the_same_stream() -> None:
    target = target_of("gemini-3.8-flash")
    _, sent = build(target, stream=True)
    wire = stream_bytes(judge(sent))

    assert decode(target, *(bytes([byte]) for byte in wire)) == decode(target, wire)
