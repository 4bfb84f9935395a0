"""Bedrock from the client's request to the record, through HTTP and the strict simulator."""

import json
from collections.abc import AsyncGenerator
from decimal import Decimal
from typing import Any

import httpx
import msgspec
import pytest

from gateway.answers import StreamedAnswer
from gateway.domain.errors import GatewayError
from gateway.execution.aws_signing import AwsCredential, make_signer
from gateway.simulator.bedrock_frames import message
from gateway.simulator.bedrock_signature import (
    ACCESS_KEY_ID,
    SECRET_ACCESS_KEY,
    SESSION_TOKEN,
)
from gateway.simulator.server import Simulator
from pricing.endpoint import Endpoint
from tests.pipeline.rig import QUICK, Offer, Rig, asked, read_all, rig_on, text_of
from tests.providers.bedrock_judge import NOVA, SONNET
from tests.providers.conversations import PDF, PNG, SCHEMA
from tests.routing.factories import make_price

pytestmark = pytest.mark.anyio

KEY = "bedrock-api-key-canary-0123456789"
TOOLS = [{"type": "function", "function": {"name": "get_weather", "parameters": SCHEMA}}]
# Claude Sonnet 4.5 on Bedrock: 3 in, 15 out, 0.30 read, 3.75 and 6 written, per million tokens.
PRICED = msgspec.structs.replace(
    SONNET,
    prices=(
        make_price(
            "3",
            "15",
            cache_read_usd_per_mtok=Decimal("0.3"),
            cache_write_usd_per_mtok=Decimal("3.75"),
            cache_write_1h_usd_per_mtok=Decimal(6),
        ),
    ),
)
CHEAP_NOVA = msgspec.structs.replace(NOVA, prices=(make_price("0.3", "2.5"),))


def bedrock(do: str = "", like: Endpoint = PRICED, **fields: Any) -> Offer:
    return Offer(do=do, like=like, protocol="bedrock", secret=KEY, **fields)


def dollars(number: Any) -> Decimal:
    return Decimal(str(number))


def sign_with(rig: Rig, *, secret: str = SECRET_ACCESS_KEY, token: str | None = None) -> None:
    """Let the first provider sign in the place of its key."""
    credential = AwsCredential(
        access_key_id=ACCESS_KEY_ID,
        secret_access_key=secret,
        session_token=token,
        region="eu-west-1",
    )
    rig.providers["p1"] = msgspec.structs.replace(
        rig.providers["p1"], secret="", sign=make_signer(credential)
    )


async def test_a_whole_answer_costs_what_the_provider_counted(simulator: Simulator) -> None:
    async with rig_on(simulator, bedrock("tokens=40")) as rig:
        _, body = await rig.whole()

    (entry,) = asked(simulator)
    assert entry.path.endswith(
        "/model/us.anthropic.claude-sonnet-4-5-20250929-v1%3A0%21tokens%3D40/converse"
    )
    assert (entry.provider, entry.outcome) == ("bedrock", "completed")
    assert body["choices"][0]["finish_reason"] == "stop"
    assert body["usage"]["prompt_tokens"] == entry.prompt_tokens
    expected = (
        entry.prompt_tokens * Decimal(3) + entry.completion_tokens * Decimal(15)
    ) / 1_000_000
    assert dollars(body["usage"]["cost_usd_total"]) == expected
    assert rig.ledger.only.attempts[0].cost.total_usd == expected


async def test_a_stream_says_and_costs_the_same(simulator: Simulator) -> None:
    async with rig_on(simulator, bedrock("tokens=40")) as rig:
        _, whole = await rig.whole()
        events = await read_all(await rig.stream())

    assert text_of(events) == whole["choices"][0]["message"]["content"]
    assert events[-1] == "[DONE]"
    usage = events[-2]["usage"]
    assert usage["cost_usd_total"] == whole["usage"]["cost_usd_total"]
    assert asked(simulator)[1].is_stream


@pytest.mark.parametrize("stream", [False, True])
async def test_a_tool_loop_with_reasoning_goes_round(simulator: Simulator, stream: bool) -> None:
    wish: dict[str, Any] = {"tools": TOOLS, "reasoning_effort": "low", "max_tokens": 8000}
    question = {"role": "user", "content": "How is the weather?"}
    async with rig_on(simulator, bedrock("tool_calls=2")) as rig:
        if stream:
            said = put_together(await read_all(await rig.stream(messages=[question], **wish)))
        else:
            _, body = await rig.whole(messages=[question], **wish)
            said = body["choices"][0]["message"]
        calls = said["tool_calls"]
        results = [
            {"role": "tool", "tool_call_id": call["id"], "content": f"Result {n}"}
            for n, call in enumerate(calls)
        ]
        turn = {
            "role": "assistant",
            "content": None,
            "tool_calls": calls,
            "reasoning_details": said["reasoning_details"],
        }
        answer, body = await rig.whole(messages=[question, turn, *results], **wish)

    assert len(calls) == 2
    assert answer.status == 200
    assert body["choices"][0]["finish_reason"] == "stop"
    second = asked(simulator)[1].request
    assert "reasoningContent" in second["messages"][1]["content"][0]
    assert [block["toolResult"]["toolUseId"] for block in second["messages"][2]["content"]] == [
        call["id"] for call in calls
    ]


def put_together(events: list[Any]) -> dict[str, Any]:
    """The message that a client makes of a stream's chunks."""
    said: dict[str, Any] = {"tool_calls": [], "reasoning_details": []}
    for event in events:
        choices: list[dict[str, Any]] = [] if event == "[DONE]" else event["choices"]
        for choice in choices:
            delta: dict[str, Any] = choice["delta"]
            said["reasoning_details"] += delta.get("reasoning_details", [])
            pieces: list[dict[str, Any]] = delta.get("tool_calls", [])
            for piece in pieces:
                if "id" in piece:
                    said["tool_calls"].append(piece)
                else:
                    call = said["tool_calls"][piece["index"]]
                    call["function"]["arguments"] += piece["function"]["arguments"]
    return said


async def test_images_files_and_a_schema_pass(simulator: Simulator) -> None:
    parts = [
        {"type": "text", "text": "What is this?"},
        {"type": "image_url", "image_url": {"url": PNG}},
        {"type": "file", "file": {"filename": "tolls.pdf", "file_data": PDF}},
    ]
    form = {"type": "json_schema", "json_schema": {"name": "trip", "schema": SCHEMA}}
    seeing = msgspec.structs.replace(
        PRICED,
        capabilities=PRICED.capabilities | {"vision": True, "pdf_input": True},
        modalities_in=("text", "image", "pdf"),
    )
    async with rig_on(simulator, bedrock(like=seeing)) as rig:
        _, body = await rig.whole(
            messages=[{"role": "user", "content": parts}], response_format=form
        )

    assert set(json.loads(body["choices"][0]["message"]["content"])) <= set(SCHEMA["properties"])
    assert "outputConfig" in asked(simulator)[0].request


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize(
    ("fault", "outcome", "status"),
    [
        ("429,retry_after=3", "rate_limited", 429),
        ("500", "server_error", 500),
        ("503", "overloaded", 503),
        ("408", "first_token_timeout", 408),
        ("401", "auth_failed", 401),
        ("insufficient_quota", "quota_exhausted", 400),
        ("error200@0,finish=throttlingException", "rate_limited", 429),
        ("html200", "bad_response", 200),
        ("empty200", "bad_response", 200),
        ("reset", "connect_error", 0),
        ("truncated@0", "read_error", 200),
    ],
)
async def test_a_failure_before_any_content_goes_on_to_the_next(
    simulator: Simulator,
    stream: bool,
    fault: str,
    outcome: str,
    status: int,
) -> None:
    async with rig_on(simulator, bedrock(fault), bedrock(like=CHEAP_NOVA)) as rig:
        if stream:
            events = await read_all(await rig.stream())
            said = text_of(events)
        else:
            _, body = await rig.whole()
            said = body["choices"][0]["message"]["content"]

    first, second = rig.ledger.only.attempts
    assert said
    assert second.outcome.value == "success"
    if fault == "reset":
        assert first.outcome.value in {"connect_error", "read_error"}
        return
    if fault.startswith("error200") and not stream:
        # A whole answer does not name its exception.
        assert first.outcome.value == "server_error"
        return
    if fault == "truncated@0" or (fault == "empty200" and stream):
        assert first.outcome.value in {"read_error", "truncated", "bad_response"}
        return
    assert (first.outcome.value, first.status_code) == (outcome, status)


@pytest.mark.parametrize(
    ("fault", "outcome"),
    [
        ("error200@2,finish=modelStreamErrorException", "server_error"),
        ("error200@2,finish=throttlingException", "rate_limited"),
        ("bad_checksum@3", "bad_response"),
        ("malformed_json@3", "bad_response"),
        ("hang_mid@2", "idle_timeout"),
        ("reset_mid@2", "read_error"),
        ("truncated_clean@2", "truncated"),
        ("no_finish", "truncated"),
    ],
)
async def test_a_failure_after_content_is_told_and_nobody_else_speaks(
    simulator: Simulator, fault: str, outcome: str
) -> None:
    slow = f"{fault},tokens_per_s=200"
    async with rig_on(simulator, bedrock(slow), bedrock(like=CHEAP_NOVA), deadlines=QUICK) as rig:
        answer = await rig.stream()
        assert isinstance(answer, StreamedAnswer)
        events = await read_all(answer)

    failed = [event for event in events if event != "[DONE]" and "error" in event]
    assert len(failed) == 1
    assert failed[0]["choices"][0]["finish_reason"] == "error"
    assert text_of(events[:-2])
    (attempt,) = rig.ledger.only.attempts
    assert attempt.outcome.value == outcome
    assert len(asked(simulator)) == 1


async def test_a_prompt_that_is_too_long_is_the_clients_to_know(simulator: Simulator) -> None:
    async with rig_on(simulator, bedrock("context_length"), bedrock(like=CHEAP_NOVA)) as rig:
        with pytest.raises(GatewayError) as caught:
            await rig.whole()

    assert caught.value.status == 400
    assert len(rig.ledger.only.attempts) == 1


@pytest.mark.parametrize("token", [None, SESSION_TOKEN])
@pytest.mark.parametrize("stream", [False, True])
async def test_signed_requests_pass(
    simulator: Simulator,
    token: str | None,
    stream: bool,
) -> None:
    async with rig_on(simulator, bedrock()) as rig:
        sign_with(rig, token=token)
        if stream:
            assert text_of(await read_all(await rig.stream()))
        else:
            answer, _ = await rig.whole()
            assert answer.status == 200

    (entry,) = asked(simulator)
    assert entry.has_credential
    assert "x-amz-security-token" not in entry.headers


@pytest.mark.parametrize(
    ("secret", "token"),
    [("wrong-secret", None), (SECRET_ACCESS_KEY, "expired")],
    ids=["wrong", "expired"],
)
async def test_credentials_that_are_refused_take_the_next_and_are_not_told(
    simulator: Simulator, secret: str, token: str | None
) -> None:
    async with rig_on(simulator, bedrock(), bedrock(like=CHEAP_NOVA)) as rig:
        sign_with(rig, secret=secret, token=token)
        answer, _ = await rig.whole()

    first, _ = rig.ledger.only.attempts
    assert answer.status == 200
    assert (first.outcome.value, first.status_code) == ("auth_failed", 403)
    told = msgspec.json.encode(rig.ledger.only) + answer.body
    assert secret.encode() not in told
    assert KEY.encode() not in told


class _Served(httpx.AsyncByteStream):
    def __init__(self, data: bytes) -> None:
        self._data = data

    async def __aiter__(self) -> AsyncGenerator[bytes]:
        yield self._data

    async def aclose(self) -> None: ...


RAW_USAGE = {
    "inputTokens": 2048,
    "outputTokens": 503,
    "totalTokens": 4599,
    "cacheReadInputTokens": 1800,
    "cacheWriteInputTokens": 248,
    "cacheDetails": [{"ttl": "1h", "inputTokens": 100}, {"ttl": "5m", "inputTokens": 148}],
}


def raw_whole() -> tuple[str, bytes]:
    body = {
        "output": {"message": {"role": "assistant", "content": [{"text": "North."}]}},
        "stopReason": "end_turn",
        "usage": RAW_USAGE,
        "metrics": {"latencyMs": 900},
    }
    return "application/json", json.dumps(body).encode()


def raw_stream() -> tuple[str, bytes]:
    def event(kind: str, **data: Any) -> bytes:
        headers = {":event-type": kind, ":message-type": "event"}
        return message(headers, json.dumps(data).encode())

    return "application/vnd.amazon.eventstream", b"".join(
        [
            event("messageStart", role="assistant"),
            event("contentBlockDelta", contentBlockIndex=0, delta={"text": "North."}),
            event("contentBlockStop", contentBlockIndex=0),
            event("messageStop", stopReason="end_turn"),
            event("metadata", usage=RAW_USAGE, metrics={"latencyMs": 900}),
        ]
    )


@pytest.mark.parametrize("stream", [False, True])
async def test_golden_cost_of_sonnet_with_both_kinds_of_cache_writes(stream: bool) -> None:
    """2048 · 3 + 1800 · 0.3 + 148 · 3.75 + 100 · 6 + 503 · 15 = 15,384 micro-USD, by hand."""

    def answer(request: httpx.Request) -> httpx.Response:
        content_type, data = raw_stream() if stream else raw_whole()
        headers = {"content-type": content_type}
        return httpx.Response(200, headers=headers, stream=_Served(data), request=request)

    async with rig_on(None, bedrock(), transport=httpx.MockTransport(answer)) as rig:
        if stream:
            usage = (await read_all(await rig.stream()))[-2]["usage"]
        else:
            _, body = await rig.whole()
            usage = body["usage"]

    assert dollars(usage["cost_usd_total"]) == Decimal("0.015384")
    assert usage["prompt_tokens"] == 4096
    assert usage["prompt_tokens_details"]["cached_tokens"] == 1800
    assert usage["prompt_tokens_details"]["cache_write_tokens"] == 248
    assert usage["completion_tokens"] == 503
    assert rig.ledger.only.attempts[0].cost.total_usd == Decimal("0.015384")


async def test_the_cache_is_counted_and_priced_once_through_the_simulator(
    simulator: Simulator,
) -> None:
    text = {"type": "text", "text": "toll " * 2000, "cache_control": {"type": "ephemeral"}}
    messages = [{"role": "user", "content": [text]}]
    async with rig_on(simulator, bedrock()) as rig:
        await rig.whole(messages=messages)
        _, body = await rig.whole(messages=messages)

    first, second = asked(simulator)
    assert first.cache_write_tokens > 2000
    assert second.cached_tokens > 2000
    uncached = second.prompt_tokens - second.cached_tokens - second.cache_write_tokens
    expected = (
        uncached * Decimal(3)
        + second.cached_tokens * Decimal("0.3")
        + second.cache_write_tokens * Decimal("3.75")
        + second.completion_tokens * Decimal(15)
    ) / 1_000_000
    assert dollars(body["usage"]["cost_usd_total"]) == expected
