"""The same request gets the same answer, whatever protocol the endpoint speaks.

Four strict simulators are made to say the same thing, each in its own words; what the client gets
is compared with one expectation written by hand, whole and streamed.
"""

import json
from typing import Any

import pytest

from gateway.domain.errors import GatewayError
from gateway.providers.registry import quirks_of
from gateway.simulator.server import Simulator
from pricing.endpoint import Endpoint
from tests.pipeline.rig import STAND_INS, Offer, Rig, asked, read_all, rig_on
from tests.providers.bedrock_judge import SONNET
from tests.providers.claude import CATALOGUE
from tests.providers.conversations import PNG
from tests.routing.factories import make_endpoint

pytestmark = pytest.mark.anyio

PROTOCOLS = tuple(STAND_INS)
MODES = pytest.mark.parametrize("stream", [False, True], ids=["whole", "stream"])
SPOKEN = pytest.mark.parametrize("protocol", PROTOCOLS)
QUESTION = {"role": "user", "content": "Where does the road lead?"}
ONE_PLACE = {
    "type": "object",
    "properties": {"place": {"type": "string", "enum": ["Toll Bridge"]}},
    "required": ["place"],
    "additionalProperties": False,
}
TOOL = {"type": "function", "function": {"name": "measure", "parameters": ONE_PLACE}}
CALL = ("measure", {"place": "Toll Bridge"})
FORMAT = {"type": "json_schema", "json_schema": {"name": "place", "schema": ONE_PLACE}}
ABLE = {
    "tools": True,
    "parallel_tool_calls": True,
    "structured_outputs": True,
    "json_mode": True,
    "vision": True,
    "reasoning": True,
}


MODELS: dict[str, Endpoint] = {
    "openai": make_endpoint("openai", "acme/large", "gpt-5-large", capabilities=ABLE),
    "anthropic": CATALOGUE.endpoints_by_id["anthropic/claude-sonnet-4-5"],
    "gemini": CATALOGUE.endpoints_by_id["google/gemini-3.8-flash"],
    "bedrock": SONNET,
}


def speaking(protocol: str, do: str = "") -> Offer:
    return Offer(do=do, protocol=protocol, like=MODELS[protocol], quirks=quirks_of(protocol))


def put_together(events: list[Any]) -> tuple[dict[str, Any], str | None]:
    """The message and the finish reason that the chunks of a stream amount to."""
    message: dict[str, Any] = {"role": None, "content": None}
    calls: dict[int, dict[str, Any]] = {}
    finish = None
    for event in events:
        for choice in event["choices"] if event != "[DONE]" else ():
            finish = choice.get("finish_reason") or finish
            delta = choice["delta"]
            message["role"] = delta.get("role") or message["role"]
            for name in ("content", "reasoning"):
                if delta.get(name):
                    message[name] = (message.get(name) or "") + delta[name]
            for detail in delta.get("reasoning_details", ()):
                message.setdefault("reasoning_details", []).append(detail)
            for piece in delta.get("tool_calls", ()):
                call = calls.setdefault(
                    piece["index"],
                    {"type": "function", "function": {"name": "", "arguments": ""}},
                )
                if piece.get("id"):
                    call["id"] = piece["id"]
                said = piece.get("function", {})
                call["function"]["name"] += said.get("name") or ""
                call["function"]["arguments"] += said.get("arguments") or ""
    assert list(calls) == list(range(len(calls)))
    if calls:
        message["tool_calls"] = list(calls.values())
    return message, finish


async def ask(rig: Rig, *, stream: bool, **members: Any) -> tuple[dict[str, Any], str | None]:
    """Message and finish reason, as a client has them in the end."""
    members = {"messages": [QUESTION], "max_tokens": 8000} | members
    if stream:
        return put_together(await read_all(await rig.stream(**members)))
    _, body = await rig.whole(**members)
    (choice,) = body["choices"]
    return choice["message"], choice["finish_reason"]


def calls_of(message: dict[str, Any]) -> list[tuple[str, Any]]:
    return [
        (call["function"]["name"], json.loads(call["function"]["arguments"]))
        for call in message["tool_calls"]
    ]


@MODES
@SPOKEN
async def test_text_is_the_same(simulator: Simulator, protocol: str, stream: bool) -> None:
    async with rig_on(simulator, speaking(protocol, "text=To the harbour.")) as rig:
        message, finish = await ask(rig, stream=stream)

    assert (message["role"], message["content"], finish) == (
        "assistant",
        "To the harbour.",
        "stop",
    )
    assert not message.get("tool_calls")


@MODES
@SPOKEN
async def test_usage_adds_up_the_same_way(
    simulator: Simulator, protocol: str, stream: bool
) -> None:
    async with rig_on(simulator, speaking(protocol, "tokens=40,cached=4")) as rig:
        await ask(rig, stream=stream)

    (entry,) = asked(simulator)
    usage = rig.ledger.only.attempts[0].usage
    assert usage is not None
    assert usage.cache_read_tokens == 4
    assert usage.output_tokens == 40
    assert usage.prompt_tokens == entry.prompt_tokens
    assert usage.completion_tokens == entry.completion_tokens == 40 + usage.reasoning_tokens


@MODES
@SPOKEN
async def test_parallel_calls_and_their_results_go_round(
    simulator: Simulator, protocol: str, stream: bool
) -> None:
    async with rig_on(simulator, speaking(protocol, "tool_calls=2")) as rig:
        message, finish = await ask(rig, stream=stream, tools=[TOOL])
        assert (calls_of(message), finish) == ([CALL, CALL], "tool_calls")
        assert message["content"] is None
        ids = [call["id"] for call in message["tool_calls"]]
        assert len(set(ids)) == 2
        results = [
            {"role": "tool", "tool_call_id": one, "content": f"{number} miles"}
            for number, one in reversed(list(enumerate(ids)))
        ]
        history = [QUESTION, message, *results]
        answer, finish = await ask(rig, stream=stream, tools=[TOOL], messages=history)

    assert answer["content"]
    assert finish == "stop"
    assert [entry.outcome for entry in asked(simulator)] == ["completed", "completed"]


@MODES
@SPOKEN
async def test_a_named_call_is_made(simulator: Simulator, protocol: str, stream: bool) -> None:
    choice = {"type": "function", "function": {"name": "measure"}}
    async with rig_on(simulator, speaking(protocol)) as rig:
        message, finish = await ask(rig, stream=stream, tools=[TOOL], tool_choice=choice)

    assert calls_of(message) == [CALL]
    # OpenAI says `stop` of a call that was demanded by name; all others are told alike.
    assert finish == "tool_calls"


@MODES
@SPOKEN
async def test_structured_output_is_the_same(
    simulator: Simulator, protocol: str, stream: bool
) -> None:
    async with rig_on(simulator, speaking(protocol)) as rig:
        message, finish = await ask(rig, stream=stream, response_format=FORMAT)

    assert json.loads(message["content"]) == {"place": "Toll Bridge"}
    assert finish == "stop"
    assert not message.get("tool_calls")


@MODES
@SPOKEN
async def test_an_image_is_taken(simulator: Simulator, protocol: str, stream: bool) -> None:
    picture = {"type": "image_url", "image_url": {"url": PNG}}
    content = [{"type": "text", "text": "What is it?"}, picture]
    async with rig_on(simulator, speaking(protocol, "text=A road.")) as rig:
        message, finish = await ask(
            rig, stream=stream, messages=[{"role": "user", "content": content}]
        )

    assert (message["content"], finish) == ("A road.", "stop")
    assert PNG[-40:] in json.dumps(asked(simulator)[0].request)


@MODES
@SPOKEN
async def test_reasoning_comes_and_goes_back_with_its_signature(
    simulator: Simulator, protocol: str, stream: bool
) -> None:
    do = "tool_calls=1" + (",reasoning=reasoning_content" if protocol == "openai" else "")
    wish: dict[str, Any] = {"tools": [TOOL], "reasoning_effort": "low"}
    async with rig_on(simulator, speaking(protocol, do)) as rig:
        message, finish = await ask(rig, stream=stream, **wish)
        assert message["reasoning"]
        assert (calls_of(message), finish) == ([CALL], "tool_calls")
        result = {
            "role": "tool",
            "tool_call_id": message["tool_calls"][0]["id"],
            "content": "9 miles",
        }
        answer, finish = await ask(rig, stream=stream, messages=[QUESTION, message, result], **wish)

    assert (bool(answer["content"]), finish) == (True, "stop")
    again = asked(simulator)[1].request
    signed = {"anthropic": "signature", "bedrock": "signature", "gemini": "thoughtSignature"}
    if protocol in signed:
        (detail, *_) = [
            one.get("signature") or one.get("data") for one in message["reasoning_details"]
        ][::-1]
        assert f'"{signed[protocol]}": {json.dumps(detail)}' in json.dumps(again)


REASONS = {
    "stop": ("stop", "end_turn", "STOP", "end_turn"),
    "length": ("length", "max_tokens", "MAX_TOKENS", "max_tokens"),
    "content_filter": ("content_filter", "refusal", "SAFETY", "guardrail_intervened"),
}


@MODES
@SPOKEN
@pytest.mark.parametrize("reason", REASONS)
async def test_an_answer_ends_for_the_same_reason(
    simulator: Simulator, protocol: str, reason: str, stream: bool
) -> None:
    native = REASONS[reason][PROTOCOLS.index(protocol)]
    async with rig_on(simulator, speaking(protocol, f"text=To the,finish={native}")) as rig:
        message, finish = await ask(rig, stream=stream)

    assert (message["content"], finish) == ("To the", reason)
    assert rig.ledger.only.attempts[0].finish_reason == reason


# What the endpoint does, and what the client is told: status, type and code.
ERRORS: dict[str, tuple[int, str, str]] = {
    "400": (400, "invalid_request_error", "invalid_request"),
    "context_length": (400, "invalid_request_error", "context_length_exceeded"),
    "content_policy": (403, "permission_error", "content_policy_violation"),
    "401": (502, "api_error", "provider_auth"),
    "403": (502, "api_error", "provider_auth"),
    "insufficient_quota": (502, "api_error", "provider_quota"),
    "404": (502, "api_error", "model_not_found_upstream"),
    "413": (413, "invalid_request_error", "request_too_large"),
    "429,retry_after=7": (429, "rate_limit_error", "upstream_rate_limited"),
    "500": (502, "api_error", "upstream_error"),
    "503": (503, "service_unavailable", "upstream_overloaded"),
    "error200": (502, "api_error", "upstream_error"),
    "html200": (502, "api_error", "upstream_error"),
    "empty200": (502, "api_error", "upstream_error"),
    "no_choices": (502, "api_error", "upstream_error"),
    "malformed_json": (502, "api_error", "upstream_error"),
    "reset": (502, "api_error", "upstream_error"),
}


SAID_OTHERWISE: dict[tuple[str, str], tuple[int, str, str]] = {
    # Bedrock's 403 is about the access to one model, not about the credential.
    ("bedrock", "403"): ERRORS["404"],
    # Claude's error inside a 200 is an overload.
    ("anthropic", "error200"): ERRORS["503"],
}
ENDS_EMPTY = {("anthropic", "no_choices"), ("bedrock", "no_choices")}
"""Streams that end properly and said nothing: an empty answer, where no error was told."""


@MODES
@SPOKEN
@pytest.mark.parametrize("fault", ERRORS)
async def test_an_error_is_told_the_same_way(
    simulator: Simulator, protocol: str, fault: str, stream: bool
) -> None:
    async with rig_on(simulator, speaking(protocol, fault), max_attempts=1) as rig:
        if stream and (protocol, fault) in ENDS_EMPTY:
            message, finish = await ask(rig, stream=stream)
            assert (message["content"], finish) == (None, "stop")
            return
        with pytest.raises(GatewayError) as caught:
            await ask(rig, stream=stream)

    error = caught.value
    expected = SAID_OTHERWISE.get((protocol, fault), ERRORS[fault])
    assert (error.status, error.kind, error.code) == expected
    assert error.should_retry is not True
    if fault.startswith("429"):
        assert error.retry_after_s == 7


@SPOKEN
# Not soon after its first token: what breaks in the read that brings that is tried again.
@pytest.mark.parametrize("fault", ["error200@15", "reset_mid@15", "truncated@15", "no_finish"])
async def test_a_stream_that_breaks_ends_the_same_way(
    simulator: Simulator, protocol: str, fault: str
) -> None:
    do = f"{fault},tokens=40,tokens_per_s=200"
    async with rig_on(simulator, speaking(protocol, do)) as rig:
        events = await read_all(await rig.stream(messages=[QUESTION], max_tokens=8000))

    *_, error, done = events
    assert done == "[DONE]"
    said = SAID_OTHERWISE.get((protocol, fault.partition("@")[0]))
    assert error["error"]["code"] == (said[2] if said else "upstream_error")
    assert error["choices"][0]["finish_reason"] == "error"
    assert len(rig.ledger.only.attempts) == 1
