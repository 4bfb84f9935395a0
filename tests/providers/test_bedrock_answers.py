"""Whole and streamed answers of Converse say the same, however the stream is cut."""

import itertools
import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.domain.outcomes import Outcome
from gateway.providers.base import Completion, FaultError, StreamEvent
from gateway.simulator.bedrock_frames import message
from gateway.simulator.script import parse_behaviour
from gateway.simulator.wire import Answer
from pricing.endpoint import Endpoint
from pricing.usage import Usage
from tests.properties import many
from tests.providers.bedrock_judge import (
    ADAPTER,
    NOVA,
    OPUS,
    SONNET,
    ask,
    build,
    stream_bytes,
    target_of,
)
from tests.providers.conversations import SCHEMA, to_request

QUESTION = [{"role": "user", "content": "Where does the toll road lead?"}]
TOOLS = [{"type": "function", "function": {"name": "get_weather", "parameters": SCHEMA}}]
FORM = {"type": "json_schema", "json_schema": {"name": "trip", "schema": SCHEMA}}
NO_NATIVE = {name: value for name, value in SONNET.capabilities.items() if name != "text_format"}


def answer_to(
    endpoint: Endpoint = SONNET, do: str = "", **members: Any
) -> tuple[Completion, list[StreamEvent], Answer]:
    """The same answer, whole and as a stream, through the adapter."""
    body = {"model": "m", "messages": QUESTION} | members
    _, sent = build(to_request(body), endpoint)
    behaviour = parse_behaviour(do)
    target = target_of(endpoint)
    whole = ADAPTER.parse_response(200, {}, ask(sent, endpoint, behaviour).body, target)
    streamed = ask(sent, endpoint, behaviour, stream=True)
    return whole, decode(stream_bytes(streamed), endpoint), streamed


def decode(
    data: bytes, endpoint: Endpoint = SONNET, cuts: list[int] | None = None
) -> list[StreamEvent]:
    decoder = ADAPTER.open_stream(target_of(endpoint))
    positions = sorted({0, len(data), *(cut % (len(data) + 1) for cut in cuts or [])})
    events = [
        event
        for start, end in itertools.pairwise(positions)
        for event in decoder.feed(data[start:end])
    ]
    return events + decoder.end()


def joined(events: list[StreamEvent]) -> dict[str, Any]:
    """What a client puts together from the chunks of a stream."""
    said: dict[str, Any] = {"content": "", "reasoning": "", "calls": {}, "details": []}
    for event in events:
        for choice in json.loads(event.choices):
            delta = choice["delta"]
            said["content"] += delta.get("content") or ""
            said["reasoning"] += delta.get("reasoning") or ""
            said["details"] += delta.get("reasoning_details") or []
            pieces: list[dict[str, Any]] = delta.get("tool_calls") or []
            for piece in pieces:
                call = said["calls"].setdefault(piece["index"], {"arguments": ""})
                call |= {name: piece[name] for name in ("id",) if name in piece}
                call |= {"name": piece["function"]["name"]} if "name" in piece["function"] else {}
                call["arguments"] += piece["function"]["arguments"]
            if choice["finish_reason"] is not None:
                said["finish_reason"] = choice["finish_reason"]
                said["native"] = choice["native_finish_reason"]
    return said


def message_of(whole: Completion) -> dict[str, Any]:
    (choice,) = json.loads(whole.choices)
    return choice["message"] | {"finish_reason": choice["finish_reason"]}


def event(kind: str, **data: Any) -> bytes:
    headers = {":event-type": kind, ":content-type": "application/json", ":message-type": "event"}
    return message(headers, json.dumps(data).encode())


def exception(name: str, text: str) -> bytes:
    headers = {":exception-type": name, ":message-type": "exception"}
    return message(headers, json.dumps({"message": text}).encode())


START = event("messageStart", role="assistant")
TEXT = event("contentBlockDelta", contentBlockIndex=0, delta={"text": "By the"}, p="abc")
STOP = event("messageStop", stopReason="end_turn")
USAGE = event("metadata", usage={"inputTokens": 3, "outputTokens": 2, "totalTokens": 5}, metrics={})

CASES = [
    pytest.param({}, "", id="text"),
    pytest.param({"tools": TOOLS}, "tool_calls=3", id="parallel-calls"),
    pytest.param({"reasoning_effort": "low"}, "", id="reasoning"),
    pytest.param({"reasoning_effort": "low"}, "reasoning=hidden", id="encrypted-reasoning"),
    pytest.param({"response_format": FORM}, "", id="structured"),
    pytest.param({"max_tokens": 5}, "", id="cut-off"),
    pytest.param({}, "finish=guardrail_intervened", id="guardrail"),
    pytest.param({}, "finish=content_filtered", id="filtered"),
    pytest.param({}, "finish=model_context_window_exceeded", id="window"),
    pytest.param({}, "cached=2048", id="cached"),
    pytest.param({"service_tier": "flex"}, "", id="tier"),
]


@pytest.mark.parametrize(("members", "do"), CASES)
def test_a_stream_says_what_the_whole_answer_says(members: dict[str, Any], do: str) -> None:
    whole, events, _ = answer_to(do=do, **members)

    said, expected = joined(events), message_of(whole)
    assert said["content"] == (expected["content"] or "")
    assert said["reasoning"] == expected.get("reasoning", "")
    assert [said["calls"][index] for index in sorted(said["calls"])] == [
        {"id": call["id"], **call["function"]} for call in expected.get("tool_calls", [])
    ]
    assert said["finish_reason"] == expected["finish_reason"]
    assert said["native"] == whole.native_finish_reason
    last = events[-1]
    assert (last.usage, last.service_tier, last.is_terminal) == (
        whole.usage,
        whole.service_tier,
        True,
    )
    assert sum(one.text_bytes for one in events) == whole.text_bytes
    assert not any(one.fault for one in events)


@pytest.mark.parametrize(
    ("native", "reason"),
    [
        ("end_turn", "stop"),
        ("stop_sequence", "stop"),
        ("max_tokens", "length"),
        ("model_context_window_exceeded", "length"),
        ("guardrail_intervened", "content_filter"),
        ("content_filtered", "content_filter"),
        ("something_new", "stop"),
    ],
)
def test_stop_reasons_are_known(native: str, reason: str) -> None:
    whole, events, _ = answer_to(do=f"finish={native}")

    assert (whole.finish_reason, whole.native_finish_reason) == (reason, native)
    assert joined(events)["finish_reason"] == reason


def test_the_usage_is_disjoint_and_tells_how_long_writes_are_kept() -> None:
    text = [
        {
            "type": "text",
            "text": "toll " * 2000,
            "cache_control": {"type": "ephemeral", "ttl": "1h"},
        }
    ]

    whole, _, answer = answer_to(messages=[{"role": "user", "content": text}])

    usage = whole.usage
    assert usage is not None
    assert usage.cache_write_1h_tokens == answer.bill.cache_write_tokens > 2000
    assert usage.cache_write_tokens == 0
    total = usage.input_tokens + usage.cache_read_tokens + usage.cache_write_1h_tokens
    assert total == answer.bill.prompt_tokens


def test_a_schema_that_bedrock_cannot_hold_to_is_asked_for_as_a_call_and_comes_as_content() -> None:
    endpoint = Endpoint(
        id=SONNET.id,
        provider=SONNET.provider,
        provider_model=SONNET.provider_model,
        model=SONNET.model,
        capabilities=NO_NATIVE,
    )

    whole, events, _ = answer_to(endpoint, response_format=FORM)

    said = message_of(whole)
    assert set(json.loads(said["content"])) <= set(SCHEMA["properties"])
    assert said["finish_reason"] == "stop"
    assert "tool_calls" not in said
    assert joined(events)["content"] == said["content"]
    assert joined(events)["finish_reason"] == "stop"


def test_reasoning_and_its_signature_come_back_to_the_model_that_made_them() -> None:
    whole, events, _ = answer_to(tools=TOOLS, reasoning_effort="low")
    said = message_of(whole)
    pieces = joined(events)["details"]
    result = {"role": "tool", "tool_call_id": said["tool_calls"][0]["id"], "content": "Rain."}

    for details in (said["reasoning_details"], pieces):
        turn = {"role": "assistant", "content": None, "tool_calls": said["tool_calls"]}
        messages = [*QUESTION, turn | {"reasoning_details": details}, result]
        request = to_request(
            {"model": "m", "messages": messages, "tools": TOOLS, "reasoning_effort": "low"}
        )
        sent, body = build(request, SONNET)

        assert sent.warnings == ()
        block = body["messages"][1]["content"][0]["reasoningContent"]["reasoningText"]
        assert block["text"] == said["reasoning"]
        assert ask(body, SONNET).body


def test_encrypted_reasoning_comes_back_as_it_was() -> None:
    whole, _, _ = answer_to(do="reasoning=hidden", tools=TOOLS, reasoning_effort="low")
    said = message_of(whole)
    turn = {"role": "assistant", "content": None, "tool_calls": said["tool_calls"]}
    turn["reasoning_details"] = said["reasoning_details"]
    result = {"role": "tool", "tool_call_id": said["tool_calls"][0]["id"], "content": "Rain."}

    _, body = build(
        to_request(
            {
                "model": "m",
                "messages": [*QUESTION, turn, result],
                "tools": TOOLS,
                "reasoning_effort": "low",
            }
        ),
        SONNET,
    )

    assert body["messages"][1]["content"][0]["reasoningContent"]["redactedContent"]
    assert ask(body, SONNET).body


def test_reasoning_of_another_maker_is_not_sent() -> None:
    turn = {
        "role": "assistant",
        "content": "Hm.",
        "reasoning_details": [
            {"type": "reasoning.text", "text": "a", "signature": "b", "format": "acme-v1"}
        ],
    }

    _, body = build(
        to_request(
            {"model": "m", "messages": [*QUESTION, turn, *QUESTION], "reasoning_effort": "low"}
        ),
        SONNET,
    )

    assert body["messages"][1]["content"] == [{"text": "Hm."}]


@pytest.mark.parametrize(("members", "do"), CASES)
@given(cuts=st.lists(st.integers(0, 10**6), max_size=20))
@settings(max_examples=many(15))
def test_any_cutting_of_a_stream_gives_the_same_events(
    members: dict[str, Any], do: str, cuts: list[int]
) -> None:
    _, events, answer = answer_to(do=do, **members)
    data = stream_bytes(answer)

    assert decode(data, cuts=cuts) == events
    assert decode(data, cuts=list(range(len(data)))) == events


@given(st.integers(0, 10**6), st.integers(1, 255), st.lists(st.integers(0, 10**6), max_size=8))
@settings(max_examples=many(150))
def test_a_damaged_stream_is_a_fault_and_never_an_exception(
    where: int, change: int, cuts: list[int]
) -> None:
    data = bytearray(START + TEXT + STOP + USAGE)
    data[where % len(data)] ^= change

    events = decode(bytes(data), cuts=cuts)

    faults = [one.fault.outcome for one in events if one.fault is not None]
    # A length that grew makes the rest wait for more; damage after the stop reason is harmless.
    is_told = faults in ([Outcome.BAD_RESPONSE], [Outcome.TRUNCATED])
    is_late = any(one.finish_reason for one in events) and where % len(data) >= len(
        START + TEXT + STOP
    )
    assert is_told or is_late


@given(st.binary(max_size=300))
@settings(max_examples=many(150))
def test_no_bytes_at_all_make_the_adapter_raise(data: bytes) -> None:
    target = target_of(SONNET)

    events = decode(data)
    ADAPTER.parse_error(500, {}, data, target)
    with pytest.raises(FaultError):
        ADAPTER.parse_response(200, {}, data, target)

    assert [one.fault is not None for one in events] == [True]


@pytest.mark.parametrize(
    ("name", "outcome", "status"),
    [
        ("throttlingException", Outcome.RATE_LIMITED, 429),
        ("modelStreamErrorException", Outcome.SERVER_ERROR, 424),
        ("internalServerException", Outcome.SERVER_ERROR, 500),
        ("serviceUnavailableException", Outcome.OVERLOADED, 503),
        ("validationException", Outcome.INVALID_REQUEST, 400),
        ("somethingNewException", Outcome.SERVER_ERROR, 500),
    ],
)
@pytest.mark.parametrize("before", [b"", START, START + TEXT], ids=["first", "begun", "speaking"])
def test_an_exception_inside_a_stream_is_a_fault(
    before: bytes, name: str, outcome: Outcome, status: int
) -> None:
    *_, last = decode(before + exception(name, "It failed.") + STOP + USAGE)

    assert last.fault is not None
    assert (last.fault.outcome, last.fault.status_code) == (outcome, status)
    assert last.fault.code == name
    assert "It failed." in last.fault.message


def test_an_error_message_of_the_encoding_itself_is_a_fault() -> None:
    headers = {
        ":message-type": "error",
        ":error-code": "InternalFailure",
        ":error-message": "The stream broke.",
    }

    *_, last = decode(START + message(headers, b""))

    assert last.fault is not None
    assert last.fault.outcome is Outcome.SERVER_ERROR
    assert "The stream broke." in last.fault.message


def test_a_prompt_that_is_too_long_is_known_inside_a_stream_too() -> None:
    data = exception("validationException", "Input is too long for requested model.")

    (event_,) = decode(data)

    assert event_.fault is not None
    assert event_.fault.outcome is Outcome.CONTEXT_LENGTH


def test_an_exception_with_a_good_status_is_no_answer() -> None:
    body = json.dumps({"__type": "com.amazon#ThrottlingException", "message": "Slow down"})

    with pytest.raises(FaultError) as caught:
        ADAPTER.parse_response(200, {}, body.encode(), target_of(SONNET))

    assert caught.value.fault.outcome is Outcome.RATE_LIMITED


@pytest.mark.parametrize("native", ["malformed_model_output", "malformed_tool_use"])
def test_output_that_could_not_be_read_is_worth_another_try(native: str) -> None:
    with pytest.raises(FaultError) as caught:
        answer_to(do=f"finish={native}")
    events = decode(START + event("messageStop", stopReason=native))

    assert caught.value.fault.outcome is Outcome.BAD_RESPONSE
    assert events[-1].fault is not None
    assert events[-1].fault.outcome is Outcome.BAD_RESPONSE


def test_unknown_events_blocks_and_members_are_passed_over() -> None:
    strange = event("contentBlockDelta", contentBlockIndex=1, delta={"hologram": {"x": 1}})
    ping = event("somethingNew", x=1)

    events = decode(START + ping + strange + TEXT + STOP + USAGE)
    body: dict[str, Any] = {
        "output": {"message": {"role": "assistant", "content": [{"hologram": {}}, {"text": "Hi"}]}},
        "stopReason": "end_turn",
        "new": 1,
    }
    whole = ADAPTER.parse_response(200, {}, json.dumps(body).encode(), target_of(NOVA))

    assert joined(events)["content"] == "By the"
    assert message_of(whole)["content"] == "Hi"


def test_a_call_of_the_services_own_tools_is_not_the_clients() -> None:
    tool = {"toolUseId": "t1", "name": "nova_grounding", "type": "server_tool_use"}
    body: dict[str, Any] = {
        "output": {"message": {"content": [{"toolUse": tool | {"input": {}}}, {"text": "Hi"}]}},
        "stopReason": "end_turn",
    }

    whole = ADAPTER.parse_response(200, {}, json.dumps(body).encode(), target_of(NOVA))
    events = decode(
        START
        + event("contentBlockStart", contentBlockIndex=0, start={"toolUse": tool})
        + event("contentBlockDelta", contentBlockIndex=0, delta={"toolUse": {"input": "{}"}})
        + event("contentBlockStop", contentBlockIndex=0)
        + TEXT
        + STOP
    )

    assert "tool_calls" not in message_of(whole)
    assert joined(events)["calls"] == {}
    assert joined(events)["finish_reason"] == "stop"


def test_sources_on_the_web_become_annotations() -> None:
    source = {"title": "Tolls", "location": {"web": {"url": "https://example.com/tolls"}}}
    cited = {"content": [{"text": "It is far."}], "citations": [source]}
    body = {
        "output": {"message": {"content": [{"text": "Well. "}, {"citationsContent": cited}]}},
        "stopReason": "end_turn",
    }

    whole = ADAPTER.parse_response(200, {}, json.dumps(body).encode(), target_of(NOVA))

    said = message_of(whole)
    assert said["content"] == "Well. It is far."
    assert said["annotations"] == [
        {
            "type": "url_citation",
            "url_citation": {
                "url": "https://example.com/tolls",
                "title": "Tolls",
                "start_index": 6,
                "end_index": 16,
            },
        }
    ]


def test_a_stream_without_usage_is_whole_all_the_same() -> None:
    events = decode(START + TEXT + STOP)

    assert not any(one.fault for one in events)
    assert all(one.usage is None for one in events)


def test_early_usage_is_replaced_by_the_true_one() -> None:
    _, events, _ = answer_to(do="usage_twice")

    usages = [one.usage for one in events if one.usage is not None]
    assert len(usages) == 2
    assert usages[0].output_tokens < usages[1].output_tokens


@pytest.mark.parametrize(
    ("raw", "expected"),
    [
        pytest.param(
            {"inputTokens": 0, "outputTokens": 0, "totalTokens": 0},
            Usage(requests=1),
            id="zero-is-zero",
        ),
        pytest.param({}, None, id="nothing"),
        pytest.param(
            {
                "inputTokens": 7,
                "outputTokens": 3,
                "cacheDetails": [{"ttl": "5m", "inputTokens": 4}],
            },
            Usage(input_tokens=7, output_tokens=3, cache_write_tokens=4, requests=1),
            id="details-alone",
        ),
    ],
)
def test_usage_objects_of_many_forms(raw: dict[str, Any], expected: Usage | None) -> None:
    body = {
        "output": {"message": {"content": [{"text": "Hi"}]}},
        "stopReason": "end_turn",
        "usage": raw,
    }

    whole = ADAPTER.parse_response(200, {}, json.dumps(body).encode(), target_of(NOVA))

    assert whole.usage == expected
    assert not whole.is_usage_doubtful


@pytest.mark.parametrize("fault", ["usage_negative", "usage_huge", "usage_string", "usage_float"])
def test_usage_that_cannot_be_true_is_doubtful(fault: str) -> None:
    whole, events, _ = answer_to(do=fault)

    assert whole.is_usage_doubtful
    assert events[-1].is_usage_doubtful


def test_what_breaks_after_the_stop_reason_breaks_nothing() -> None:
    damaged = bytearray(USAGE)
    damaged[-1] ^= 1

    late = decode(START + TEXT + STOP + exception("internalServerException", "Oh"))
    broken = decode(START + TEXT + STOP + bytes(damaged))

    for events in (late, broken):
        assert not any(one.fault for one in events)
        assert events[-1].is_terminal


def test_thoughts_that_are_not_shown_come_back_by_their_signature() -> None:
    wish: dict[str, Any] = {"reasoning": {"effort": "low", "exclude": True}, "tools": TOOLS}
    whole, events, _ = answer_to(OPUS, **wish)
    said = message_of(whole)
    result = {"role": "tool", "tool_call_id": said["tool_calls"][0]["id"], "content": "Rain."}
    turn = {"role": "assistant", "content": None, "tool_calls": said["tool_calls"]}

    for details in (said["reasoning_details"], joined(events)["details"]):
        messages = [*QUESTION, turn | {"reasoning_details": details}, result]
        _, body = build(to_request({"model": "m", "messages": messages} | wish), OPUS)

        block = body["messages"][1]["content"][0]["reasoningContent"]["reasoningText"]
        assert block["text"] == ""
        assert block["signature"]
        assert ask(body, OPUS).body
