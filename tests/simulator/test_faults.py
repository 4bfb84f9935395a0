"""Every fault is seen by the caller as the table in script.py says."""

import email.utils
import gzip
import time

import pytest

from gateway.simulator.script import ENDINGS, FORMS, USAGE_FAULTS
from gateway.simulator.server import Simulator
from tests.simulator.caller import Reply, ask

pytestmark = pytest.mark.anyio

TOOLS = [
    {
        "type": "function",
        "function": {
            "name": "measure",
            "parameters": {
                "type": "object",
                "properties": {"place": {"type": "string"}, "metres": {"type": "integer"}},
                "required": ["place", "metres"],
            },
        },
    }
]


def texts(reply: Reply) -> list[str]:
    """The content pieces of a stream."""
    chunks = [event for event in reply.events() if event != "[DONE]" and event.get("choices")]
    deltas: list[dict[str, str]] = [chunk["choices"][0]["delta"] for chunk in chunks]
    return [delta["content"] for delta in deltas if delta.get("content")]


@pytest.mark.parametrize("status", [400, 402, 403, 404, 408, 413, 422, 429, 500, 502, 503, 529])
async def test_a_status_comes_with_an_error_in_the_providers_shape(
    simulator: Simulator, status: int
) -> None:
    reply = await ask(simulator, f"fast!{status}", stream=True)

    assert reply.status == status
    assert set(reply.json()["error"]) == {"message", "type", "param", "code"}
    assert simulator.ledger[0].outcome == "refused"


async def test_401_shows_a_part_of_the_key_as_the_real_one_does(simulator: Simulator) -> None:
    key = "sk-secretsecretsecretwxyz"

    reply = await ask(simulator, "fast!401", headers={"authorization": f"Bearer {key}"})

    assert reply.status == 401
    message = reply.json()["error"]["message"]
    assert message.startswith("Incorrect API key provided: sk-secre***")
    assert "wxyz" in message
    assert key not in message


@pytest.mark.parametrize(
    ("fault", "status", "code"),
    [
        ("context_length", 400, "context_length_exceeded"),
        ("insufficient_quota", 429, "insufficient_quota"),
        ("content_policy", 400, "content_policy_violation"),
    ],
)
async def test_named_refusals_have_their_codes(
    simulator: Simulator, fault: str, status: int, code: str
) -> None:
    reply = await ask(simulator, f"fast!{fault}")

    assert (reply.status, reply.json()["error"]["code"]) == (status, code)


@pytest.mark.parametrize("value", ["2", "0.5", "1e9", "-1", "nan"])
async def test_retry_after_goes_out_as_written(simulator: Simulator, value: str) -> None:
    reply = await ask(simulator, f"fast!429,retry_after={value},retry_after_ms={value}")

    assert reply.headers["retry-after"] == value
    assert reply.headers["retry-after-ms"] == value


async def test_retry_after_can_be_a_date(simulator: Simulator) -> None:
    reply = await ask(simulator, "fast!429,retry_after=date:30")

    moment = email.utils.parsedate_to_datetime(reply.headers["retry-after"])
    assert 25 < moment.timestamp() - time.time() < 31


@pytest.mark.parametrize(
    ("shape", "start"),
    [
        ("string", b'{"error":"'),
        ("detail", b'{"detail":"'),
        ("message", b'{"message":"'),
        ("array", b'[{"error":{'),
        ("html", b"<html>"),
        ("empty", b""),
    ],
)
async def test_error_bodies_come_in_other_shapes(
    simulator: Simulator, shape: str, start: bytes
) -> None:
    reply = await ask(simulator, f"fast!500,shape={shape}")

    assert reply.status == 500
    assert reply.body.startswith(start)
    assert (reply.body == b"") is (shape == "empty")


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize(
    ("fault", "status", "ended"),
    [
        ("hang", None, "open"),
        ("hang_headers", 200, "open"),
        ("hang_mid@2", 200, "open"),
        ("reset", None, "reset"),
        ("reset_mid@2", 200, "reset"),
        ("close", None, "fin"),
        ("truncated@2", 200, "fin"),
        ("truncated_clean@2", 200, "fin"),
        ("bad_chunk@2", 200, "fin"),
    ],
)
async def test_a_cut_answer_ends_as_its_fault_says(
    simulator: Simulator, fault: str, status: int | None, ended: str, *, stream: bool
) -> None:
    patience_s = 0.15 if ended == "open" else 5

    reply = await ask(simulator, f"fast!{fault}", stream=stream, patience_s=patience_s)

    assert (reply.status, reply.ended) == (status, ended)
    if "@" in fault:
        assert reply.body
        if stream:
            assert len(texts(reply)) == 2
        else:
            assert not reply.body.endswith(b"}")


async def test_a_silent_truncation_has_no_framing_to_miss(simulator: Simulator) -> None:
    reply = await ask(simulator, "fast!truncated_clean@2", stream=True)

    assert "transfer-encoding" not in reply.headers
    assert "content-length" not in reply.headers


async def test_a_position_beyond_the_answer_fails_after_its_last_content(
    simulator: Simulator,
) -> None:
    reply = await ask(simulator, "fast!tokens=8,truncated@999", stream=True)

    assert texts(reply)
    assert b'"finish_reason":"stop"' not in reply.body


async def test_position_zero_is_before_any_event(simulator: Simulator) -> None:
    reply = await ask(simulator, "fast!truncated@0", stream=True)

    assert (reply.status, reply.body, reply.ended) == (200, b"", "fin")


async def test_a_stream_may_lack_done_or_finish(simulator: Simulator) -> None:
    no_done = await ask(simulator, "fast!no_done", stream=True)
    no_finish = await ask(simulator, "fast!no_finish", stream=True)

    assert no_done.ended == no_finish.ended == "whole"
    assert "[DONE]" not in no_done.events()
    assert b'"finish_reason":"stop"' in no_done.body
    assert "[DONE]" not in no_finish.events()
    assert b'"finish_reason":"stop"' not in no_finish.body


async def test_an_endless_stream_goes_on(simulator: Simulator) -> None:
    reply = await ask(simulator, "fast!tokens=8,endless", stream=True, patience_s=0.2)

    assert reply.ended == "open"
    assert len(texts(reply)) > 10


async def test_json_is_cut_inside(simulator: Simulator) -> None:
    whole = await ask(simulator, "fast!malformed_json")
    stream = await ask(simulator, "fast!malformed_json@1", stream=True)

    with pytest.raises(ValueError, match=r"delimiter|Unterminated|Expecting"):
        whole.json()
    with pytest.raises(ValueError, match=r"delimiter|Unterminated|Expecting"):
        stream.events()
    assert whole.ended == stream.ended == "whole"


@pytest.mark.parametrize("stream", [False, True])
async def test_bad_utf8_does_not_decode(simulator: Simulator, *, stream: bool) -> None:
    reply = await ask(simulator, "fast!bad_utf8", stream=stream)

    with pytest.raises(UnicodeDecodeError):
        reply.body.decode()


async def test_an_error_comes_inside_200(simulator: Simulator) -> None:
    whole = await ask(simulator, "fast!error200,message=Sorry")
    first = await ask(simulator, "fast!error200", stream=True)
    later = await ask(simulator, "fast!error200@2", stream=True)

    assert (whole.status, whole.json()["error"]["message"]) == (200, "Sorry")
    assert [list(event) for event in first.events()] == [["error"]]
    assert len(texts(later)) == 2
    assert "error" in later.events()[-1]
    assert first.ended == later.ended == "whole"


async def test_an_error_or_nothing_comes_in_place_of_the_choice(simulator: Simulator) -> None:
    choice = (await ask(simulator, "fast!error_choice")).json()["choices"][0]
    last = (await ask(simulator, "fast!error_choice", stream=True)).events()[-2]["choices"][0]
    empty = await ask(simulator, "fast!no_choices")
    empty_stream = await ask(simulator, "fast!no_choices", stream=True)

    assert choice["finish_reason"] == last["finish_reason"] == "error"
    assert choice["error"]["code"] == last["error"]["code"] == 502
    assert empty.json()["choices"] == []
    assert empty_stream.events() == ["[DONE]"]


async def test_other_bodies_come_under_200(simulator: Simulator) -> None:
    html = await ask(simulator, "fast!html200", stream=True)
    nothing = await ask(simulator, "fast!empty200")
    json_for_stream = await ask(simulator, "fast!json_for_stream", stream=True)
    mislabelled = await ask(simulator, "fast!wrong_type", stream=True)

    assert (html.status, html.headers["content-type"]) == (200, "text/html")
    assert (nothing.status, nothing.body) == (200, b"")
    assert json_for_stream.json()["object"] == "chat.completion"
    assert mislabelled.headers["content-type"] == "text/plain"
    assert mislabelled.events()[-1] == "[DONE]"


async def test_comments_only_never_says_anything(simulator: Simulator) -> None:
    reply = await ask(simulator, "fast!comments_only,interval_ms=5", stream=True, patience_s=0.2)

    assert reply.ended == "open"
    assert reply.body.count(b": keep-alive\n\n") > 3
    assert reply.events() == []


async def test_slow_drip_is_a_good_answer_byte_by_byte(simulator: Simulator) -> None:
    slow = await ask(simulator, "fast!slow_drip", stream=True, patience_s=0.2)
    quick = await ask(simulator, "fast!slow_drip,interval_ms=0,tokens=4", stream=True)

    assert slow.ended == "open"
    assert 0 < len(slow.body) < 10
    assert quick.events()[-1] == "[DONE]"


@pytest.mark.parametrize("stream", [False, True])
async def test_a_huge_body_is_as_large_as_asked(simulator: Simulator, *, stream: bool) -> None:
    reply = await ask(simulator, "fast!huge_body,megabytes=2", stream=stream)

    assert len(reply.body) > 2 * 1024 * 1024
    assert reply.body.count(b"\n") == (2 if stream else 0)


async def test_a_gzip_bomb_is_small_and_valid(simulator: Simulator) -> None:
    reply = await ask(simulator, "fast!gzip_bomb,megabytes=8")

    assert reply.headers["content-encoding"] == "gzip"
    assert len(reply.body) < 20_000
    assert gzip.decompress(reply.body) == b" " * 8 * 1024 * 1024


@pytest.mark.parametrize("stream", [False, True])
async def test_a_header_is_huge_and_a_length_contradicts(
    simulator: Simulator, *, stream: bool
) -> None:
    huge = await ask(simulator, "fast!huge_header", stream=stream)
    double = await ask(simulator, "fast!length_and_chunked", stream=stream)

    assert len(huge.headers["x-huge"]) == 256 * 1024
    assert {"content-length", "transfer-encoding"} <= set(double.headers)


async def test_a_redirect_points_to_the_metadata_address(simulator: Simulator) -> None:
    reply = await ask(simulator, "fast!redirect")

    assert reply.status == 307
    assert reply.headers["location"].startswith("http://169.254.169.254/")


async def test_events_come_in_other_forms(simulator: Simulator) -> None:
    plain = await ask(simulator, "fast", stream=True)
    expected = texts(plain)

    crlf = await ask(simulator, "fast!crlf,no_space,comments", stream=True)
    cr = await ask(simulator, "fast!cr,bom", stream=True)
    many = await ask(simulator, "fast!multi_data", stream=True)
    sliced = await ask(simulator, "fast!split_utf8", stream=True)
    after = await ask(simulator, "fast!after_done", stream=True)

    assert crlf.body.startswith(b": keep-alive\r\n\r\ndata:{")
    assert texts(crlf) == expected
    assert cr.body.startswith(b"\xef\xbb\xbfdata: {")
    assert b"\n" not in cr.body
    assert b"}\r\rdata: [DONE]\r\r" in cr.body
    assert b'data: {\ndata:  "id"' in many.body
    assert texts(sliced) == expected
    assert after.events()[-2] == "[DONE]"
    assert after.events()[-1] != "[DONE]"


async def test_tool_calls_come_in_other_forms(simulator: Simulator) -> None:
    async def calls(forms: str) -> list[dict[str, object]]:
        reply = await ask(simulator, f"fast!tool_calls=2,{forms}", stream=True, tools=TOOLS)
        deltas = [event["choices"][0]["delta"] for event in reply.events()[:-1]]
        return [call for delta in deltas for call in delta.get("tool_calls", [])]

    plain = await calls("")
    whole = await calls("tool_whole")
    as_object = await calls("tool_object")

    assert {call["index"] for call in plain} == {0, 1}
    assert len(plain) > 2
    assert len(whole) == 2
    assert [type(call["function"]["arguments"]) for call in as_object] == [dict, dict]  # type: ignore[index]
    assert all("index" not in call for call in await calls("tool_no_index"))
    assert all("id" not in call for call in await calls("tool_no_id"))


@pytest.mark.parametrize(
    ("fault", "expected"),
    [
        ("usage_zero", 0),
        ("usage_negative", -1),
        ("usage_huge", 10**18),
        ("usage_string", "6"),
        ("usage_float", 6.0),
    ],
)
async def test_usage_is_wrong_on_request(
    simulator: Simulator, fault: str, expected: object
) -> None:
    whole = await ask(simulator, f"fast!{fault},tokens=6")
    stream = await ask(
        simulator, f"fast!{fault},tokens=6", stream=True, stream_options={"include_usage": True}
    )

    count = whole.json()["usage"]["completion_tokens"]
    assert (count, type(count)) == (expected, type(expected))
    assert stream.events()[-2]["usage"]["completion_tokens"] == expected
    assert simulator.ledger[0].completion_tokens == 6


async def test_usage_is_missing_or_comes_twice(simulator: Simulator) -> None:
    options = {"include_usage": True}

    whole = await ask(simulator, "fast!usage_missing")
    missing = await ask(simulator, "fast!usage_missing", stream=True, stream_options=options)
    twice = await ask(simulator, "fast!usage_twice", stream=True, stream_options=options)

    assert "usage" not in whole.json()
    assert b'"usage"' not in missing.body
    usages = [event["usage"] for event in twice.events()[:-1] if event["usage"]]
    assert len(usages) == 2
    assert usages[0]["completion_tokens"] < usages[1]["completion_tokens"]
    assert [entry.is_usage_sent for entry in simulator.ledger] == [False, False, True]


async def test_an_unknown_fault_is_refused_with_the_known_ones(simulator: Simulator) -> None:
    reply = await ask(simulator, "fast!hng")

    assert reply.status == 400
    message = reply.json()["error"]["message"]
    assert "did you mean `hang`?" in message
    assert all(name in message for name in (*ENDINGS, *FORMS, *USAGE_FAULTS))


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("name", sorted((*ENDINGS, *FORMS, *USAGE_FAULTS)))
async def test_every_fault_is_answered_and_entered(
    simulator: Simulator, name: str, *, stream: bool
) -> None:
    options = "tokens=8,interval_ms=1,megabytes=1"

    await ask(simulator, f"fast!{options},{name}", stream=stream, patience_s=0.05)

    entry = simulator.ledger[0]
    assert entry.behaviour.startswith(name)
