"""Through the whole gateway to a strict Anthropic and back."""

import json
from collections.abc import AsyncIterator
from decimal import Decimal
from typing import Any

import httpx
import pytest

from gateway.domain.errors import GatewayError
from gateway.domain.outcomes import Outcome
from gateway.simulator.server import Simulator
from tests.pipeline.rig import Offer, asked, read_all, rig_on, text_of
from tests.providers.claude import CATALOGUE
from tests.providers.conversations import PNG, SCHEMA
from tests.providers.test_anthropic_answer import GOLDEN, TEXT, message

pytestmark = pytest.mark.anyio

TOOL: dict[str, Any] = {
    "type": "function",
    "function": {"name": "get_weather", "parameters": SCHEMA},
}


@pytest.fixture
async def simulator(anyio_backend: str) -> AsyncIterator[Simulator]:
    async with Simulator(speed=0) as running:
        yield running


def claude(do: str = "", model: str = "claude-sonnet-4-5") -> Offer:
    return Offer(do=do, protocol="anthropic", like=CATALOGUE.endpoints_by_id[f"anthropic/{model}"])


def said(body: dict[str, Any]) -> dict[str, Any]:
    return body["choices"][0]["message"]


def assembled(events: list[Any]) -> dict[str, Any]:
    """The message that a client puts together from chunks, details and all."""
    built: dict[str, Any] = {"role": "assistant", "content": "", "reasoning_details": []}
    calls: dict[int, dict[str, Any]] = {}
    for event in events:
        for choice in event["choices"] if event != "[DONE]" else ():
            change = choice["delta"]
            built["content"] += change.get("content") or ""
            built["reasoning_details"] += change.get("reasoning_details", [])
            for piece in change.get("tool_calls", ()):
                call = calls.setdefault(
                    piece["index"],
                    {"type": "function", "function": {"name": "", "arguments": ""}},
                )
                if "id" in piece:
                    call["id"] = piece["id"]
                    call["function"]["name"] = piece["function"]["name"]
                call["function"]["arguments"] += piece["function"]["arguments"]
    return built | {"tool_calls": list(calls.values())}


@pytest.mark.parametrize("is_stream", [False, True], ids=["whole", "stream"])
@pytest.mark.parametrize("do", ["tool_calls=2", "tool_calls=2,reasoning=hidden"])
async def test_a_tool_loop_with_signed_thinking_goes_round(
    simulator: Simulator, do: str, *, is_stream: bool
) -> None:
    """Pitfall 6, for whole answers and for streams: what was thought comes back as it was."""
    first: list[dict[str, Any]] = [{"role": "user", "content": "Oslo and Bergen?"}]
    options: dict[str, Any] = {"tools": [TOOL], "reasoning_effort": "low"}
    async with rig_on(simulator, claude(do)) as rig:
        if is_stream:
            answer = assembled(await read_all(await rig.stream(messages=first, **options)))
        else:
            _, body = await rig.whole(messages=first, **options)
            answer = said(body)
        assert len(answer["tool_calls"]) == 2
        results = [
            {"role": "tool", "tool_call_id": call["id"], "content": "snow"}
            for call in reversed(answer["tool_calls"])
        ]

        _, body = await rig.whole(messages=[*first, answer, *results], **options)

    assert said(body)["content"]
    replayed = asked(simulator)[-1].request
    assert replayed is not None
    assert replayed["messages"][1]["content"][0]["type"] in {"thinking", "redacted_thinking"}
    assert replayed["thinking"]["type"] == "enabled"


@pytest.mark.parametrize("model", ["claude-sonnet-4-5", "claude-opus-4-1"])
@pytest.mark.parametrize("is_stream", [False, True], ids=["whole", "stream"])
async def test_an_answer_in_json_fits_its_schema(
    simulator: Simulator, model: str, *, is_stream: bool
) -> None:
    form = {"type": "json_schema", "json_schema": {"name": "trip", "schema": SCHEMA}}
    async with rig_on(simulator, claude(model=model)) as rig:
        if is_stream:
            content = text_of(await read_all(await rig.stream(response_format=form)))
        else:
            _, body = await rig.whole(response_format=form)
            assert body["choices"][0]["finish_reason"] == "stop"
            content = said(body)["content"]

    assert "city" in json.loads(content)


async def test_an_image_is_seen_and_counted(simulator: Simulator) -> None:
    parts = [{"type": "text", "text": "What?"}, {"type": "image_url", "image_url": {"url": PNG}}]
    async with rig_on(simulator, claude()) as rig:
        _, body = await rig.whole(messages=[{"role": "user", "content": parts}])

    assert body["usage"]["prompt_tokens"] > 256


@pytest.mark.parametrize("is_stream", [False, True], ids=["whole", "stream"])
@pytest.mark.parametrize(
    ("native", "reason"),
    [("refusal", "content_filter"), ("max_tokens", "length"), ("pause_turn", "stop")],
)
async def test_stop_reasons_arrive_in_our_words(
    simulator: Simulator, native: str, reason: str, *, is_stream: bool
) -> None:
    async with rig_on(simulator, claude(f"finish={native}")) as rig:
        if is_stream:
            events = await read_all(await rig.stream())
            choices = [c for event in events[:-1] for c in event["choices"]]
            (choice,) = [one for one in choices if one["finish_reason"]]
        else:
            _, body = await rig.whole()
            (choice,) = body["choices"]

    assert choice["finish_reason"] == reason
    assert choice["native_finish_reason"] == native


async def test_a_web_search_is_counted_and_cited(simulator: Simulator) -> None:
    async with rig_on(simulator, claude(model="claude-sonnet-4-6")) as rig:
        _, body = await rig.whole(web_search_options={})

    assert Decimal(str(body["usage"]["cost_usd_web_search"])) == Decimal("0.01")
    (annotation,) = said(body)["annotations"]
    assert annotation["url_citation"]["url"] == "https://example.com/tolls"


async def test_cache_writes_and_reads_are_told_apart(simulator: Simulator) -> None:
    part = {
        "type": "text",
        "text": "A long road. " * 1000,
        "cache_control": {"type": "ephemeral", "ttl": "1h"},
    }
    async with rig_on(simulator, claude()) as rig:
        messages = [{"role": "user", "content": [part]}]
        _, first = await rig.whole(messages=messages)
        _, second = await rig.whole(messages=messages)

    written = first["usage"]["prompt_tokens_details"]["cache_write_tokens"]
    assert written > 3000
    assert rig.ledger.records[0].attempts[0].usage is not None
    assert rig.ledger.records[0].attempts[0].usage.cache_write_1h_tokens == written
    assert second["usage"]["prompt_tokens_details"]["cached_tokens"] > 3000


@pytest.mark.parametrize("is_stream", [False, True], ids=["whole", "stream"])
@pytest.mark.parametrize(
    ("do", "outcome"),
    [
        ("529", Outcome.OVERLOADED),
        ("429,retry_after=1", Outcome.RATE_LIMITED),
        ("401", Outcome.AUTH_FAILED),
        ("insufficient_quota", Outcome.QUOTA_EXHAUSTED),
        ("error200", Outcome.OVERLOADED),
        ("truncated@0", Outcome.READ_ERROR),
        ("html200", Outcome.BAD_RESPONSE),
        ("malformed_json@0", Outcome.BAD_RESPONSE),
    ],
)
async def test_1_another_endpoint_answers_when_one_fails_before_its_first_word(
    simulator: Simulator, do: str, outcome: Outcome, *, is_stream: bool
) -> None:
    """Pitfalls 1 and 20: streams fall back too, and a refused credential is ours, not theirs."""
    async with rig_on(simulator, claude(do), claude()) as rig:
        if is_stream:
            events = await read_all(await rig.stream())
            assert text_of(events)
            assert events[-1] == "[DONE]"
        else:
            _, body = await rig.whole()
            assert said(body)["content"]

    tried = [attempt.outcome for attempt in rig.ledger.only.attempts]
    assert tried == [outcome, Outcome.SUCCESS]


@pytest.mark.parametrize(
    "form", ["comments", "crlf", "cr", "no_space", "multi_data", "split_utf8", "bom", "after_done"]
)
async def test_18_streams_are_read_in_any_form(simulator: Simulator, form: str) -> None:
    async with rig_on(simulator, claude(f"{form},text=Größe 東京")) as rig:
        events = await read_all(await rig.stream())

    assert text_of(events) == "Größe 東京"
    assert events[-1] == "[DONE]"


@pytest.mark.parametrize("is_stream", [False, True], ids=["whole", "stream"])
@pytest.mark.parametrize("fault", ["usage_missing", "usage_negative", "usage_huge", "usage_string"])
async def test_15_usage_that_cannot_be_trusted_makes_the_cost_an_estimate(
    simulator: Simulator, fault: str, *, is_stream: bool
) -> None:
    async with rig_on(simulator, claude(fault)) as rig:
        if is_stream:
            await read_all(await rig.stream())
        else:
            await rig.whole()

    (attempt,) = rig.ledger.only.attempts
    assert attempt.outcome is Outcome.SUCCESS
    assert attempt.cost.status == "estimated"
    assert attempt.usage is not None
    assert attempt.usage.output_tokens > 1


async def test_20_a_refused_credential_is_a_502_to_the_client(simulator: Simulator) -> None:
    async with rig_on(simulator, claude("401")) as rig:
        with pytest.raises(GatewayError) as caught:
            await rig.whole()

    assert caught.value.status == 502


async def test_4_an_error_in_mid_stream_ends_it_with_an_error(simulator: Simulator) -> None:
    async with rig_on(simulator, claude("error200@3,tokens_per_s=100"), claude()) as rig:
        events = await read_all(await rig.stream())

    assert "error" in events[-2]
    assert events[-2]["choices"][0]["finish_reason"] == "error"
    assert rig.ledger.only.attempts[-1].outcome is Outcome.OVERLOADED
    assert len(rig.ledger.only.attempts) == 1


async def test_17_a_stream_that_breaks_off_is_billed_by_its_text(simulator: Simulator) -> None:
    async with rig_on(simulator, claude("truncated_clean@9")) as rig:
        await read_all(await rig.stream())

    (attempt,) = rig.ledger.only.attempts
    assert attempt.outcome is Outcome.TRUNCATED
    assert attempt.usage is not None
    assert attempt.usage.output_tokens > 1
    assert attempt.usage_source == "estimated"


async def test_17_what_went_in_is_billed_as_told_when_the_caller_hangs_up(
    simulator: Simulator,
) -> None:
    law = {"type": "text", "text": "Tolls are two. " * 800, "cache_control": {"type": "ephemeral"}}
    messages = [{"role": "system", "content": [law]}, {"role": "user", "content": "Why?"}]
    async with rig_on(simulator, claude("tokens=400,tokens_per_s=200")) as rig:
        answer = await rig.stream(messages=messages)
        await anext(answer.events)
        await answer.events.aclose()

    (attempt,) = rig.ledger.only.attempts
    (entry,) = asked(simulator)
    assert attempt.usage is not None
    assert (attempt.outcome, attempt.usage_source) == (Outcome.CLIENT_CANCELLED, "estimated")
    assert attempt.usage.cache_write_tokens == entry.cache_write_tokens > 0
    assert attempt.usage.prompt_tokens == entry.prompt_tokens
    assert attempt.usage.output_tokens > 0


async def test_a_request_that_the_api_cannot_take_names_what(simulator: Simulator) -> None:
    part = {"type": "input_audio", "input_audio": {"data": "AAAA", "format": "wav"}}
    async with rig_on(simulator, claude()) as rig:
        with pytest.raises(GatewayError) as caught:
            await rig.whole(messages=[{"role": "user", "content": [part]}])

    assert caught.value.status in {400, 404}
    assert asked(simulator) == []


@pytest.mark.parametrize("example", GOLDEN[:3], ids=lambda example: example["id"])
async def test_golden_costs_reach_the_client(example: dict[str, Any]) -> None:
    def answer(_: httpx.Request) -> httpx.Response:
        body = message(TEXT, usage=example["usage"])
        return httpx.Response(200, content=body, headers={"content-type": "application/json"})

    offer = claude(model=example["model"])
    async with rig_on(None, offer, transport=httpx.MockTransport(answer)) as rig:
        _, body = await rig.whole()

    assert Decimal(str(body["usage"]["cost_usd_total"])) == Decimal(example["usd"])
    assert body["usage"]["cost_status"] == "exact"
