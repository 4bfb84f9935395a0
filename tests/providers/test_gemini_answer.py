"""What the Gemini adapter makes of answers, whole and streamed."""

import base64
import json
from typing import Any

import pytest

from gateway.domain.outcomes import Outcome
from gateway.providers.base import Completion, FaultError
from gateway.simulator.gemini_speech import PNG
from tests.providers.gemini_judge import (
    ADAPTER,
    answer_of,
    as_events,
    build,
    decode,
    deltas,
    judge,
    message_of,
    put_together,
    streamed,
    target_of,
    whole,
)

TARGET = target_of()
THIRD = target_of("gemini-3.8-flash")
CALL: dict[str, Any] = {"functionCall": {"name": "measure", "args": {"place": "here"}}}
TOOL: dict[str, Any] = {"type": "function", "function": {"name": "measure"}}


def read(body: bytes, headers: dict[str, str] | None = None) -> Completion:
    return ADAPTER.parse_response(200, headers or {}, body, TARGET)


def fault_of(body: bytes) -> Any:
    with pytest.raises(FaultError) as caught:
        read(body)
    return caught.value.fault


def test_thoughts_are_reasoning_and_the_rest_is_content() -> None:
    completion = read(
        answer_of({"text": "Hm.", "thought": True}, {"text": "Far "}, {"text": "off"})
    )

    message = message_of(completion)
    assert message["content"] == "Far off"
    assert message["reasoning"] == "Hm."
    assert message["reasoning_details"] == [
        {"type": "reasoning.text", "text": "Hm.", "format": "google-gemini-v1:google", "index": 0}
    ]


def test_calls_end_an_answer_for_their_sake_and_get_ids() -> None:
    bare = {"functionCall": {"name": "_0_1st"}}

    completion = read(answer_of(CALL, bare))

    first, second = message_of(completion)["tool_calls"]
    assert (completion.finish_reason, completion.native_finish_reason) == ("tool_calls", "STOP")
    assert json.loads(first["function"]["arguments"]) == {"place": "here"}
    assert second["function"] == {"name": "1st", "arguments": "{}"}
    assert first["id"] != second["id"]
    assert message_of(read(answer_of(CALL, bare)))["tool_calls"][0]["id"] == first["id"]


def test_pitfall_10_calls_of_a_stream_have_dense_indices_and_steady_ids() -> None:
    wire = as_events(answer_of(CALL, finish=None), answer_of(CALL, finish=None), answer_of())

    message = put_together(decode(TARGET, wire))

    assert len({call["id"] for call in message["tool_calls"]}) == 2
    assert message["tool_calls"] == put_together(decode(TARGET, wire))["tool_calls"]


def test_pitfall_6_signatures_make_the_round_trip() -> None:
    completion = whole(THIRD, tools=[TOOL], do="tool_calls=2")
    said = message_of(completion)
    results = [
        {"role": "tool", "tool_call_id": call["id"], "content": "42"} for call in said["tool_calls"]
    ]
    question = {"role": "user", "content": "How far is the bridge?"}

    body, sent = build(THIRD, messages=[question, said, *results], tools=[TOOL])

    (detail,) = said["reasoning_details"]
    parts = body["contents"][1]["parts"]
    assert parts[0]["thoughtSignature"] == detail["data"]
    assert parts[0]["functionCall"]["id"] == detail["id"] == said["tool_calls"][0]["id"]
    assert judge(sent)


def test_pitfall_6_signatures_make_the_round_trip_through_a_stream() -> None:
    said = put_together(streamed(THIRD, tools=[TOOL], do="tool_calls=2"))
    said["role"] = "assistant"
    results = [
        {"role": "tool", "tool_call_id": call["id"], "content": "42"} for call in said["tool_calls"]
    ]

    body, sent = build(THIRD, messages=[{"role": "user", "content": "x"}, said, *results])

    assert (
        body["contents"][1]["parts"][0]["thoughtSignature"] == said["reasoning_details"][0]["data"]
    )
    assert judge(sent)


def test_a_signature_in_an_empty_text_at_the_end_of_a_stream_is_kept() -> None:
    last = answer_of({"text": "", "thoughtSignature": "c2ln"})

    events = decode(THIRD, as_events(answer_of({"text": "Far."}, finish=None), last))

    details = [detail for delta in deltas(events) for detail in delta.get("reasoning_details", [])]
    assert [detail["data"] for detail in details] == ["c2ln"]
    assert put_together(events)["content"] == "Far."


@pytest.mark.parametrize(
    ("native", "reason"),
    [
        ("STOP", "stop"),
        ("MAX_TOKENS", "length"),
        ("SAFETY", "content_filter"),
        ("RECITATION", "content_filter"),
        ("BLOCKLIST", "content_filter"),
        ("PROHIBITED_CONTENT", "content_filter"),
        ("SPII", "content_filter"),
        ("IMAGE_SAFETY", "content_filter"),
        ("MODEL_ARMOR", "content_filter"),
        ("OTHER", "stop"),
        ("SOMETHING_NEW", "stop"),
    ],
)
def test_finish_reasons(native: str, reason: str) -> None:
    body = answer_of({"text": "Far."}, finish=native)

    completion = read(body)
    events = decode(TARGET, as_events(body))

    assert (completion.finish_reason, completion.native_finish_reason) == (reason, native)
    assert (events[-1].finish_reason, events[-1].native_finish_reason) == (reason, native)


@pytest.mark.parametrize("native", ["MALFORMED_FUNCTION_CALL", "UNEXPECTED_TOOL_CALL", "NO_IMAGE"])
def test_an_answer_that_broke_off_is_a_failure_that_may_be_repeated(native: str) -> None:
    body = answer_of(finish=native, candidate={"finishMessage": "print("})

    fault = fault_of(body)
    (event,) = decode(TARGET, as_events(body))

    assert fault.outcome is Outcome.BAD_RESPONSE
    assert fault.code == native
    assert event.fault is not None
    assert event.fault.outcome is Outcome.BAD_RESPONSE


def test_a_stream_that_breaks_off_after_content_ends_with_an_error() -> None:
    wire = as_events(
        answer_of({"text": "Far"}, finish=None), answer_of(finish="MALFORMED_FUNCTION_CALL")
    )

    events = decode(TARGET, wire)

    assert events[-1].finish_reason == "error"
    assert events[-1].fault is None


def test_a_blocked_prompt_is_an_answer_and_not_an_exception() -> None:
    body = json.dumps({"promptFeedback": {"blockReason": "PROHIBITED_CONTENT"}}).encode()

    completion = read(body)
    (event,) = decode(TARGET, as_events(body))

    assert message_of(completion)["content"] == ""
    assert completion.finish_reason == event.finish_reason == "content_filter"
    assert event.native_finish_reason == "PROHIBITED_CONTENT"


def test_a_candidate_without_content_is_an_empty_answer() -> None:
    completion = read(answer_of(finish="MAX_TOKENS"))

    assert message_of(completion)["content"] == ""
    assert completion.finish_reason == "length"


@pytest.mark.parametrize(
    ("body", "outcome"),
    [
        pytest.param(b"{}", Outcome.BAD_RESPONSE, id="nothing"),
        pytest.param(b'{"candidates":[]}', Outcome.BAD_RESPONSE, id="no-candidates"),
        pytest.param(b'{"candidates":[{}]}', Outcome.BAD_RESPONSE, id="nothing-said"),
        pytest.param(b"<html>", Outcome.BAD_RESPONSE, id="html"),
        pytest.param(b"", Outcome.BAD_RESPONSE, id="empty"),
        pytest.param(b'{"candidates":5}', Outcome.BAD_RESPONSE, id="other-form"),
        pytest.param(
            b'{"error":{"code":503,"message":"overloaded","status":"UNAVAILABLE"}}',
            Outcome.OVERLOADED,
            id="error",
        ),
        pytest.param(
            b'[{"error":{"code":429,"message":"slow down","status":"RESOURCE_EXHAUSTED"}}]',
            Outcome.RATE_LIMITED,
            id="error-in-an-array",
        ),
    ],
)
def test_pitfall_5_errors_inside_a_200_are_not_answers(body: bytes, outcome: Outcome) -> None:
    assert fault_of(body).outcome is outcome


def test_pitfall_4_a_stream_without_a_finish_reason_is_truncated() -> None:
    events = decode(TARGET, as_events(answer_of({"text": "Far"}, finish=None)))

    assert events[-1].fault is not None
    assert events[-1].fault.outcome is Outcome.TRUNCATED


def test_pitfall_4_a_stream_with_a_finish_reason_needs_no_end_marker() -> None:
    events = decode(TARGET, as_events(answer_of({"text": "Far"})))

    assert not any(event.fault for event in events)


def test_pitfall_5_an_error_in_the_middle_of_a_stream_ends_it() -> None:
    error = b'{"error":{"code":503,"message":"The model is overloaded.","status":"UNAVAILABLE"}}'

    events = decode(TARGET, as_events(answer_of({"text": "Far"}, finish=None), error, answer_of()))

    assert events[-1].fault is not None
    assert events[-1].fault.outcome is Outcome.OVERLOADED


def test_pitfall_18_comments_and_odd_line_ends_are_read() -> None:
    body = answer_of({"text": "Far"})

    events = decode(TARGET, b": keep-alive\r\r\ndata:" + body + b"\r\n\r\n")

    assert put_together(events)["content"] == "Far"


def test_half_an_event_at_the_end_is_a_cut() -> None:
    wire = as_events(answer_of({"text": "Far"}, finish=None)) + b'data: {"candidates":[{"con'

    events = decode(TARGET, wire)

    assert events[-1].fault is not None
    assert events[-1].fault.outcome is Outcome.TRUNCATED


def usage(**counts: int) -> dict[str, Any]:
    return {"usageMetadata": counts}


def test_pitfall_15_what_a_later_chunk_leaves_out_stands_as_it_was() -> None:
    first = usage(promptTokenCount=2000, cachedContentTokenCount=1500, totalTokenCount=2000)
    last = usage(promptTokenCount=2000, candidatesTokenCount=10, totalTokenCount=2010)

    events = decode(
        TARGET,
        as_events(answer_of({"text": "Far"}, finish=None, **first), answer_of(**last)),
    )

    found = events[-1].usage
    assert found is not None
    assert (found.cache_read_tokens, found.input_tokens, found.output_tokens) == (1500, 500, 10)


def test_pitfall_17_a_count_of_nothing_on_the_way_is_not_taken_for_the_truth() -> None:
    early = usage(promptTokenCount=8, totalTokenCount=8)

    events = decode(TARGET, as_events(answer_of({"text": "Far"}, finish=None, **early)))

    assert all(event.usage is None for event in events)


def test_pitfall_16_a_reported_zero_stays_zero() -> None:
    completion = read(answer_of(**usage(promptTokenCount=0, candidatesTokenCount=0)))

    assert completion.usage is not None
    assert completion.usage.total_tokens == 0


def test_places_in_bytes_become_places_in_characters() -> None:
    text = "Größe 東京: far"
    segment = {"startIndex": 8, "endIndex": 14, "text": "東京"}
    grounding = {
        "webSearchQueries": ["a", "b", "a", ""],
        "groundingChunks": [{"web": {"uri": "https://example.com", "title": "Example"}}],
        "groundingSupports": [{"segment": segment, "groundingChunkIndices": [0, 7]}],
    }
    body = answer_of(
        {"text": text},
        candidate={"groundingMetadata": grounding},
        **usage(promptTokenCount=1, candidatesTokenCount=5),
    )

    (annotation,) = message_of(read(body))["annotations"]
    events = decode(TARGET, as_events(answer_of({"text": "Größe "}, finish=None), body))

    cited = annotation["url_citation"]
    assert text[cited["start_index"] : cited["end_index"]] == "東京"
    assert cited["url"] == "https://example.com"
    assert put_together(events)["annotations"]


def test_searches_are_counted_as_the_model_bills_them() -> None:
    grounding = {"webSearchQueries": ["a", "b", "a", ""]}
    body = answer_of(
        {"text": "x"}, candidate={"groundingMetadata": grounding}, **usage(promptTokenCount=1)
    )

    by_answer = ADAPTER.parse_response(200, {}, body, TARGET).usage
    by_query = ADAPTER.parse_response(200, {}, body, THIRD).usage

    assert by_answer is not None
    assert by_query is not None
    assert (by_answer.web_searches, by_query.web_searches) == (1, 2)


def test_images_come_out_as_data_urls() -> None:
    target = target_of("gemini-2.5-flash", modalities_out=("text", "image"))
    part = {"inlineData": {"mimeType": "image/png", "data": PNG}}
    body = answer_of({"text": "Here."}, part)

    (image,) = message_of(ADAPTER.parse_response(200, {}, body, target))["images"]

    assert image["image_url"]["url"] == f"data:image/png;base64,{PNG}"
    assert put_together(decode(target, as_events(body)))["images"] == [image]


def test_an_image_larger_than_other_events_passes_through_a_stream() -> None:
    target = target_of("gemini-2.5-flash", modalities_out=("text", "image"))
    data = "A" * (2 * 1024 * 1024)
    body = answer_of({"inlineData": {"mimeType": "image/png", "data": data}})

    drawn = decode(target, as_events(body))
    written = decode(TARGET, as_events(body))

    assert len(put_together(drawn)["images"][0]["image_url"]["url"]) > len(data)
    assert written[-1].fault is not None


def test_sound_comes_out_as_a_wav_file() -> None:
    samples = base64.b64encode(b"\x01\x00" * 4).decode()
    blob = {"mimeType": "audio/L16;codec=pcm;rate=16000", "data": samples}

    audio = message_of(read(answer_of({"inlineData": blob})))["audio"]

    wav = base64.b64decode(audio["data"])
    assert wav[:4] == b"RIFF"
    assert int.from_bytes(wav[24:28], "little") == 16_000
    assert wav.endswith(b"\x01\x00" * 4)


def test_log_probabilities_have_openais_form() -> None:
    completion = whole(TARGET, logprobs=True, top_logprobs=2)

    logprobs = json.loads(completion.choices)[0]["logprobs"]["content"]
    assert logprobs[0]["token"] == logprobs[0]["top_logprobs"][0]["token"]
    assert len(logprobs[0]["top_logprobs"]) == 2
    assert bytes(logprobs[0]["bytes"]).decode() == logprobs[0]["token"]


def test_two_candidates_are_two_choices() -> None:
    choices = json.loads(whole(TARGET, n=2).choices)
    events = streamed(TARGET, n=2)

    assert [choice["index"] for choice in choices] == [0, 1]
    indices = {choice["index"] for event in events for choice in json.loads(event.choices)}
    assert indices == {0, 1}
    assert sum(event.finish_reason is not None for event in events) == 2


def test_the_tier_that_served_is_told() -> None:
    vertex = answer_of(
        {"text": "x"}, usageMetadata={"promptTokenCount": 1, "trafficType": "ON_DEMAND_PRIORITY"}
    )

    assert read(answer_of({"text": "x"}), {"x-gemini-service-tier": "flex"}).service_tier == "flex"
    assert read(vertex).service_tier == "priority"
    assert whole(TARGET).service_tier == "default"
