"""Gemini from the client's request to the record, through HTTP and the strict simulator."""

import json
from decimal import Decimal
from typing import Any
from uuid import UUID

import httpx
import msgspec
import pytest
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from gateway.domain.errors import GatewayError
from gateway.execution.google_token import GoogleTokens, ServiceAccount
from gateway.providers.gemini_contents import DUMMY_SIGNATURE
from gateway.simulator.server import Simulator
from pricing.endpoint import Endpoint
from tests.pipeline.rig import Offer, Rig, asked, read_all, rig_on, text_of
from tests.providers.conversations import PNG
from tests.providers.gemini_judge import endpoint_of
from tests.routing.factories import make_caller, make_price

pytestmark = pytest.mark.anyio

KEY = "AIzaSyCanary0123456789abcdefghijk"
TOKEN = "ya29.canary-0123456789"
TOOLS = [
    {
        "type": "function",
        "function": {
            "name": "measure",
            "parameters": {
                "type": "object",
                "properties": {"place": {"type": "string", "pattern": ".+"}},
                "required": ["place"],
            },
        },
    }
]


def priced(model: str) -> Endpoint:
    """0.30 in, 2.50 out, 0.03 read, per million tokens, and 0.035 for a search."""
    price = make_price(
        "0.3", "2.5", cache_read_usd_per_mtok=Decimal("0.03"), web_search_usd=Decimal("0.035")
    )
    return endpoint_of(model, prices=(price,))


SECOND, THIRD = priced("gemini-2.5-flash"), priced("gemini-3.8-flash")


def gemini(do: str = "", like: Endpoint = SECOND, **fields: Any) -> Offer:
    return Offer(do=do, like=like, protocol="gemini", secret=KEY, **fields)


def choice_of(event: Any) -> dict[str, Any]:
    """The choice of a chunk; empty when it has none."""
    if event == "[DONE]" or not event["choices"]:
        return {}
    return event["choices"][0]


def deltas_of(events: list[Any]) -> list[dict[str, Any]]:
    return [choice_of(event).get("delta", {}) for event in events]


def reason_of(event: Any) -> str | None:
    return choice_of(event).get("finish_reason")


def dollars(number: Any) -> Decimal:
    return Decimal(str(number))


def use_tokens(rig: Rig, answer: httpx.Response) -> None:
    """Let the first provider have a service account in the place of its key."""
    key = rsa.generate_private_key(public_exponent=65_537, key_size=2048)
    pem = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode()
    account = ServiceAccount(client_email="robot@tolls.example", private_key=pem)
    tokens = GoogleTokens(account, httpx.MockTransport(lambda _: answer))
    rig.providers["p1"] = msgspec.structs.replace(rig.providers["p1"], secret="", secret_of=tokens)


async def test_a_whole_answer_costs_what_the_provider_counted(simulator: Simulator) -> None:
    async with rig_on(simulator, gemini("tokens=40,cached=4")) as rig:
        _, body = await rig.whole()

    (entry,) = asked(simulator)
    assert (
        entry.path
        == "/gemini/v1beta/models/gemini-2.5-flash%21tokens%3D40%2Ccached%3D4:generateContent"
    )
    usage = body["usage"]
    assert usage["completion_tokens"] == entry.completion_tokens > 40
    assert usage["completion_tokens_details"]["reasoning_tokens"] == entry.reasoning_tokens > 0
    expected = (
        (entry.prompt_tokens - 4) * Decimal("0.3")
        + 4 * Decimal("0.03")
        + entry.completion_tokens * Decimal("2.5")
    ) / 1_000_000
    assert dollars(usage["cost_usd_total"]) == expected == rig.ledger.only.cost_usd
    assert usage["cost_status"] == "exact"


async def test_a_stream_says_and_costs_what_a_whole_answer_does(simulator: Simulator) -> None:
    async with rig_on(simulator, gemini()) as rig:
        _, body = await rig.whole()
        events = await read_all(await rig.stream())

    assert text_of(events) == body["choices"][0]["message"]["content"]
    last = next(event for event in reversed(events) if event != "[DONE]")
    assert last["usage"]["cost_usd_total"] == body["usage"]["cost_usd_total"]
    assert [one.outcome.value for one in rig.ledger.records] == ["success", "success"]


async def test_the_key_goes_in_a_header_alone(simulator: Simulator) -> None:
    async with rig_on(simulator, gemini()) as rig:
        await rig.whole()

    (entry,) = asked(simulator)
    assert entry.credential_last4 == KEY[-4:]
    assert KEY not in entry.path


async def test_tools_go_round_with_their_signatures(simulator: Simulator) -> None:
    question = {"role": "user", "content": "How far is it to both?"}
    async with rig_on(simulator, gemini("tool_calls=2", THIRD)) as rig:
        _, body = await rig.whole(messages=[question], tools=TOOLS)
        said = body["choices"][0]["message"]
        results = [
            {"role": "tool", "tool_call_id": call["id"], "content": "42"}
            for call in reversed(said["tool_calls"])
        ]
        _, answer = await rig.whole(messages=[question, said, *results], tools=TOOLS)
        del said["reasoning_details"]
        _, forgetful = await rig.whole(messages=[question, said, *results], tools=TOOLS)

    assert body["choices"][0]["finish_reason"] == "tool_calls"
    assert answer["choices"][0]["finish_reason"] == "stop"
    assert forgetful["choices"][0]["message"]["content"]


@pytest.mark.parametrize("stream", [False, True])
async def test_pitfall_12_signatures_come_back_for_a_client_that_drops_them(
    simulator: Simulator, stream: bool
) -> None:
    question = {"role": "user", "content": "How far is it to both?"}
    stranger = msgspec.structs.replace(make_caller(), key_id=UUID(int=77))
    async with rig_on(simulator, gemini("tool_calls=2", THIRD)) as rig:
        if stream:
            deltas = deltas_of(await read_all(await rig.stream(messages=[question], tools=TOOLS)))
            calls = [call for delta in deltas for call in delta.get("tool_calls", [])]
            calls = [{k: v for k, v in call.items() if k != "index"} for call in calls]
            calls = [call for call in calls if call.get("id")]
        else:
            _, body = await rig.whole(messages=[question], tools=TOOLS)
            calls = body["choices"][0]["message"]["tool_calls"]
        said = {"role": "assistant", "content": None, "tool_calls": calls}
        results = [{"role": "tool", "tool_call_id": call["id"], "content": "42"} for call in calls]
        history = [question, said, *results]
        await rig.whole(messages=history, tools=TOOLS)
        await rig.whole(messages=history, tools=TOOLS, caller=stranger)

    entries = asked(simulator)
    mine, others = (entry.request["contents"][1]["parts"] for entry in entries[1:])
    assert mine[0]["thoughtSignature"] != DUMMY_SIGNATURE
    assert others[0]["thoughtSignature"] == DUMMY_SIGNATURE


async def test_tools_go_round_through_streams_too(simulator: Simulator) -> None:
    async with rig_on(simulator, gemini("tool_calls=2", THIRD)) as rig:
        events = await read_all(await rig.stream(tools=TOOLS))

    deltas = deltas_of(events)
    calls = [call for delta in deltas for call in delta.get("tool_calls", [])]
    details = [one for delta in deltas for one in delta.get("reasoning_details", [])]
    assert [call["index"] for call in calls] == [0, 1]
    assert all(json.loads(call["function"]["arguments"])["place"] for call in calls)
    assert details[0]["id"] == calls[0]["id"]


async def test_structured_output_has_its_form(simulator: Simulator) -> None:
    schema = {"type": "object", "properties": {"days": {"type": "integer"}}, "required": ["days"]}
    form = {"type": "json_schema", "json_schema": {"name": "trip", "schema": schema}}
    async with rig_on(simulator, gemini()) as rig:
        _, body = await rig.whole(response_format=form)

    assert isinstance(json.loads(body["choices"][0]["message"]["content"])["days"], int)


async def test_images_are_counted_as_such(simulator: Simulator) -> None:
    content = [
        {"type": "text", "text": "What is this?"},
        {"type": "image_url", "image_url": {"url": PNG}},
    ]
    async with rig_on(simulator, gemini()) as rig:
        await rig.whole(messages=[{"role": "user", "content": content}])

    usage = rig.ledger.only.attempts[0].usage
    assert usage is not None
    assert usage.image_input_tokens == 256


async def test_a_search_is_priced_and_cited(simulator: Simulator) -> None:
    async with rig_on(simulator, gemini()) as rig:
        _, body = await rig.whole(web_search=True)

    message = body["choices"][0]["message"]
    assert body["usage"]["cost_usd_web_search"] == 0.035
    cited = message["annotations"][0]["url_citation"]
    assert 0 <= cited["start_index"] < cited["end_index"] <= len(message["content"])


@pytest.mark.parametrize(
    ("do", "reason"),
    [
        ("finish=SAFETY", "content_filter"),
        ("finish=prompt:SAFETY", "content_filter"),
        ("finish=MAX_TOKENS", "length"),
    ],
)
async def test_why_an_answer_ended_is_told(simulator: Simulator, do: str, reason: str) -> None:
    async with rig_on(simulator, gemini(do)) as rig:
        _, body = await rig.whole()
        events = await read_all(await rig.stream())

    assert body["choices"][0]["finish_reason"] == reason
    assert [one for one in map(reason_of, events) if one] == [reason]


@pytest.mark.parametrize(
    "do",
    [
        "429",
        "insufficient_quota",
        "500",
        "503",
        "401",
        "error200",
        "error_choice",
        "no_choices",
        "malformed_json@0",
        "reset",
        "html200",
    ],
)
@pytest.mark.parametrize("stream", [False, True])
async def test_the_next_endpoint_answers_when_gemini_does_not(
    simulator: Simulator, do: str, stream: bool
) -> None:
    async with rig_on(simulator, gemini(do), gemini()) as rig:
        if stream:
            assert text_of(await read_all(await rig.stream()))
        else:
            _, body = await rig.whole()
            assert body["choices"][0]["message"]["content"]

    first, second = rig.ledger.only.attempts
    assert first.outcome.value != "success"
    assert second.outcome.value == "success"


async def test_a_stream_cut_after_content_ends_with_an_error(simulator: Simulator) -> None:
    async with rig_on(simulator, gemini("truncated_clean@3"), gemini()) as rig:
        events = await read_all(await rig.stream())

    assert any("error" in event for event in events if isinstance(event, dict))
    assert len(rig.ledger.only.attempts) == 1


async def test_a_rate_limit_says_when_to_come_back(simulator: Simulator) -> None:
    async with rig_on(simulator, gemini("429")) as rig:
        with pytest.raises(GatewayError) as caught:
            await rig.whole()

    assert caught.value.status == 429
    assert caught.value.retry_after_s == pytest.approx(7, abs=1.5)


async def test_vertex_answers_with_a_token_of_a_service_account(simulator: Simulator) -> None:
    base_url = f"{simulator.base_url}/gemini/v1/projects/p/locations/global/publishers/google"
    async with rig_on(simulator, gemini(base_url=base_url)) as rig:
        use_tokens(rig, httpx.Response(200, json={"access_token": TOKEN, "expires_in": 3599}))
        _, body = await rig.whole()
        events = await read_all(await rig.stream())

    first, _ = asked(simulator)
    assert first.credential_last4 == TOKEN[-4:]
    assert body["choices"][0]["message"]["content"] == text_of(events)


async def test_a_refused_service_account_moves_on_to_the_next_endpoint(
    simulator: Simulator,
) -> None:
    async with rig_on(simulator, gemini(), gemini()) as rig:
        use_tokens(rig, httpx.Response(400, json={"error": "invalid_grant"}))
        await rig.whole()

    first, second = rig.ledger.only.attempts
    assert (first.outcome.value, first.error_code) == ("auth_failed", "invalid_grant")
    assert second.outcome.value == "success"
    assert len(asked(simulator)) == 1


async def test_no_message_repeats_a_key_that_the_provider_echoes(simulator: Simulator) -> None:
    async with rig_on(simulator, gemini(f"400,message=bad key {KEY}")) as rig:
        with pytest.raises(GatewayError) as caught:
            await rig.whole()

    told = f"{rig.ledger.only.attempts[0].error_message} {caught.value}"
    assert "bad key" in told
    assert KEY not in told
