"""Everything that the published APIs answer comes through on every path, whole and in streams."""

import json
from decimal import Decimal
from typing import Any

import pytest

from gateway.api.paths import CHAT_PATHS
from tests.conformance.asgi import Answered
from tests.conformance.provider import Gateway, Told
from tests.providers.test_everything_carried import MESSAGES, TOKEN
from tests.routing.factories import make_price

pytestmark = pytest.mark.anyio
QUESTION: dict[str, Any] = {
    "model": "acme/one",
    "messages": [{"role": "user", "content": "Where does the toll road lead?"}],
}
SAID_BESIDE = {"system_fingerprint": "fp_1", "service_tier": "flex"}
# 100 prompt tokens, of them 30 read from a cache and 20 written to it; 50 answered, 10 of thought.
USAGE: dict[str, Any] = {
    "prompt_tokens": 100,
    "completion_tokens": 50,
    "total_tokens": 150,
    "prompt_tokens_details": {"cached_tokens": 30, "cache_write_tokens": 20, "audio_tokens": 0},
    "completion_tokens_details": {
        "reasoning_tokens": 10,
        "audio_tokens": 0,
        "accepted_prediction_tokens": 4,
        "rejected_prediction_tokens": 3,
    },
}
PRICE = make_price(
    "1",
    "4",
    cache_read_usd_per_mtok=Decimal("0.5"),
    cache_write_usd_per_mtok=Decimal(2),
    request_usd=Decimal("0.001"),
)
# 50 at 1, 30 at 0.5, 20 at 2 and 50 at 4 USD per million tokens, and the fee.
COSTS = {
    "cost_usd_input": "0.00005",
    "cost_usd_cached_input": "0.000015",
    "cost_usd_cache_write": "0.00004",
    "cost_usd_output": "0.0002",
    "cost_usd_request": "0.001",
    "cost_usd_web_search": "0",
}
TOTAL = "0.001305"


async def ask(gateway: Gateway, path: str, *, stream: bool, **more: Any) -> Answered:
    answered = await gateway.post(path, QUESTION | {"stream": stream} | more)
    assert answered.status == 200, answered.body
    return answered


@pytest.mark.parametrize("path", CHAT_PATHS)
@pytest.mark.parametrize("kind", MESSAGES)
async def test_a_message_comes_back_whole(gateway: Gateway, kind: str, path: str) -> None:
    message = {"role": "assistant"} | MESSAGES[kind]
    reason = "tool_calls" if "tool_calls" in message else "stop"
    logprobs = {"content": [TOKEN], "refusal": None}
    gateway.become(
        Told(
            message=message,
            choice={"logprobs": logprobs},
            beside=SAID_BESIDE,
            finish_reason=reason,
        )
    )

    answer = (await ask(gateway, path, stream=False)).json()

    (choice,) = answer["choices"]
    assert choice["message"] == message
    assert (choice["finish_reason"], choice["logprobs"]) == (reason, logprobs)
    assert answer["object"] == "chat.completion"
    assert answer["id"].startswith("gen-")
    assert isinstance(answer["created"], int)
    assert {name: answer[name] for name in SAID_BESIDE} == SAID_BESIDE


@pytest.mark.parametrize("path", CHAT_PATHS)
@pytest.mark.parametrize("kind", MESSAGES)
async def test_a_message_comes_back_in_a_stream(gateway: Gateway, kind: str, path: str) -> None:
    delta: dict[str, Any] = {"role": "assistant"} | MESSAGES[kind]
    if "tool_calls" in delta:
        delta["tool_calls"] = [
            {"index": index, **call} for index, call in enumerate(delta["tool_calls"])
        ]
    reason = "tool_calls" if "tool_calls" in delta else "stop"
    logprobs = {"content": [TOKEN], "refusal": None}
    gateway.become(
        Told(message=delta, choice={"logprobs": logprobs}, beside=SAID_BESIDE, finish_reason=reason)
    )

    chunks = (await ask(gateway, path, stream=True)).chunks()

    assert {chunk["object"] for chunk in chunks} == {"chat.completion.chunk"}
    assert len({chunk["id"] for chunk in chunks}) == 1
    choices = [choice for chunk in chunks for choice in chunk["choices"]]
    said: dict[str, Any] = {}
    for choice in choices:
        said |= choice["delta"]
    assert said == delta
    assert [choice["logprobs"] for choice in choices if choice.get("logprobs")] == [logprobs]
    assert [choice["finish_reason"] for choice in choices][-1] == reason
    assert all(chunk[name] == said for chunk in chunks for name, said in SAID_BESIDE.items())


@pytest.mark.parametrize("path", CHAT_PATHS)
async def test_a_legacy_call_is_answered_in_the_form_in_which_it_was_asked(
    gateway: Gateway, path: str
) -> None:
    call = {"name": "look_up", "arguments": "{}"}
    tool_call = {"id": "c1", "type": "function", "function": call}
    gateway.become(
        Told(
            message={"role": "assistant", "content": None, "tool_calls": [tool_call]},
            finish_reason="tool_calls",
        ),
        capabilities={"tools": True},
    )

    answered = await ask(gateway, path, stream=False, functions=[{"name": "look_up"}])

    (choice,) = answered.json()["choices"]
    assert choice["message"]["function_call"] == call
    assert choice["finish_reason"] == "function_call"


@pytest.mark.parametrize("path", CHAT_PATHS)
@pytest.mark.parametrize("stream", [False, True])
async def test_a_finish_reason_is_canonical_beside_the_providers_own(
    gateway: Gateway, path: str, stream: bool
) -> None:
    gateway.become(Told(finish_reason="max_tokens"))

    answered = await ask(gateway, path, stream=stream)

    shown = answered.chunks() if stream else [answered.json()]
    last = [choice for one in shown for choice in one["choices"]][-1]
    assert (last["finish_reason"], last["native_finish_reason"]) == ("length", "max_tokens")


@pytest.mark.parametrize("path", CHAT_PATHS)
@pytest.mark.parametrize("how", ["whole", "stream", "stream with usage"])
async def test_usage_has_every_name_of_every_number(gateway: Gateway, path: str, how: str) -> None:
    gateway.become(Told(usage=USAGE), price=PRICE)
    stream = how != "whole"
    options = {"stream_options": {"include_usage": True}} if how == "stream with usage" else {}

    answered = await ask(gateway, path, stream=stream, **options)

    text = answered.body.decode()
    if stream:
        (text,) = [line for line in text.split("\n\n") if '"usage":{' in line]
        text = text.removeprefix("data: ")
    usage: dict[str, Any] = json.loads(text, parse_float=Decimal)["usage"]
    assert {name: usage[name] for name in USAGE if not name.endswith("_details")} == {
        "prompt_tokens": 100,
        "completion_tokens": 50,
        "total_tokens": 150,
    }
    assert usage["prompt_tokens_details"] == USAGE["prompt_tokens_details"]
    assert usage["completion_tokens_details"] == USAGE["completion_tokens_details"]
    assert usage["reasoning_tokens"] == 10
    assert usage["cache_read_input_tokens"] == 30
    assert usage["cache_creation_input_tokens"] == 20
    assert {name: Decimal(usage[name]) for name in COSTS} == {
        name: Decimal(amount) for name, amount in COSTS.items()
    }
    assert usage["cost"] == usage["cost_usd_total"] == Decimal(TOTAL)
    assert usage["is_byok"] is False
    assert usage["cost_details"] == {
        "upstream_inference_cost": Decimal(TOTAL),
        "upstream_inference_prompt_cost": Decimal("0.000105"),
        "upstream_inference_completions_cost": Decimal("0.0002"),
    }
    assert usage["cost_status"] == "exact"
    check_identities(usage)
    if not stream:
        assert answered.headers["x-tollway-cost-usd"] == TOTAL


def check_identities(usage: dict[str, Any]) -> None:
    prompt, completion = usage["prompt_tokens_details"], usage["completion_tokens_details"]
    assert usage["total_tokens"] == usage["prompt_tokens"] + usage["completion_tokens"]
    assert prompt["cached_tokens"] + prompt["cache_write_tokens"] <= usage["prompt_tokens"]
    assert completion["reasoning_tokens"] <= usage["completion_tokens"]
    assert sum(Decimal(usage[name]) for name in COSTS) == usage["cost_usd_total"] == usage["cost"]


@pytest.mark.parametrize("path", CHAT_PATHS)
@pytest.mark.parametrize("stream", [False, True])
async def test_an_unknown_price_is_null_in_every_name_of_the_cost(
    gateway: Gateway, path: str, stream: bool
) -> None:
    gateway.become(Told(usage=USAGE), price=make_price(None, None))

    answered = await ask(gateway, path, stream=stream)

    shown = answered.chunks()[-1] if stream else answered.json()
    usage = shown["usage"]
    assert usage["prompt_tokens"] == 100
    assert {usage[name] for name in ("cost", "cost_usd_total", *COSTS)} == {None}
    assert set(usage["cost_details"].values()) == {None}
    assert usage["cost_status"] == "unpriced"
    if not stream:
        assert answered.headers["x-tollway-cost-usd"] == "null"


@pytest.mark.parametrize("path", CHAT_PATHS)
@pytest.mark.parametrize("stream", [False, True])
async def test_metadata_tells_who_was_asked_and_who_answered(
    gateway: Gateway, path: str, stream: bool
) -> None:
    answered = await ask(gateway, path, stream=stream)

    shown = answered.chunks()[-1] if stream else answered.json()
    metadata = shown["metadata"]
    assert shown["provider"] == "acme"
    # Under `/v1` the author is also the provider here, and `a/b` pins it.
    is_pinned = path in {"/v1/chat/completions", "/chat/completions"}
    assert metadata["requested_model"] == ("one" if is_pinned else "acme/one")
    assert metadata["requested_provider"] == ("acme" if is_pinned else None)
    assert (metadata["used_model"], metadata["used_provider"]) == ("acme/one", "acme")
    assert metadata["underlying_used_model"] == "native-1"
    (attempt,) = metadata["routing"]
    assert (attempt["status_code"], attempt["error_type"], attempt["succeeded"]) == (
        200,
        "none",
        True,
    )
    assert answered.headers["x-tollway-provider"] == "acme"
    assert answered.headers["x-tollway-model"] == "acme/one"
    assert answered.headers["x-tollway-attempts"] == "1"
    assert answered.headers["x-generation-id"] == shown["id"]
