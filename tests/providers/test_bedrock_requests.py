"""What Converse is asked for, member by member, and what is said of the rest."""

import base64
from typing import Any

import msgspec
import pytest

from gateway.domain.outcomes import Outcome
from gateway.providers.base import FaultError
from pricing.endpoint import Endpoint
from tests.providers.bedrock_judge import (
    ADAPTER,
    GPT_OSS,
    LLAMA,
    NOVA,
    OPUS,
    SECRET,
    SONNET,
    ask,
    build,
    make_endpoint,
    target_of,
)
from tests.providers.conversations import PDF, PNG, SCHEMA, to_request

QUESTION = {"role": "user", "content": "Where does the toll road lead?"}
TOOL = {"type": "function", "function": {"name": "get_weather", "parameters": SCHEMA}}
CALL = {"id": "call_1", "type": "function", "function": {"name": "get_weather", "arguments": "{}"}}
CALLED = [
    QUESTION,
    {"role": "assistant", "content": None, "tool_calls": [CALL]},
    {"role": "tool", "tool_call_id": "call_1", "content": "Rain."},
]
FORM = {"type": "json_schema", "json_schema": {"name": "trip", "schema": SCHEMA}}


def sent(
    endpoint: Endpoint = SONNET, messages: list[dict[str, Any]] | None = None, **members: Any
) -> tuple[dict[str, Any], tuple[str, ...]]:
    """The body, accepted by the strict simulator, and the warnings."""
    request = to_request({"model": "m", "messages": messages or [QUESTION]} | members)
    wire, body = build(request, endpoint)
    ask(body, endpoint)
    return body, wire.warnings


@pytest.mark.parametrize(
    ("model", "path"),
    [
        ("anthropic.claude-v2:1", "anthropic.claude-v2%3A1"),
        ("us.amazon.nova-pro-v1:0", "us.amazon.nova-pro-v1%3A0"),
        (
            "arn:aws:bedrock:us-east-1:123456789012:inference-profile/eu.anthropic.claude-opus-5",
            "arn%3Aaws%3Abedrock%3Aus-east-1%3A123456789012%3Ainference-profile"
            "%2Feu.anthropic.claude-opus-5",
        ),
    ],
)
def test_the_model_is_one_segment_of_the_path(model: str, path: str) -> None:
    target = target_of(make_endpoint(model))
    base = "https://bedrock-runtime.us-east-1.amazonaws.com"

    whole = ADAPTER.build_request(to_request({"model": "m", "messages": [QUESTION]}), target, "")
    streamed = ADAPTER.build_request(
        to_request({"model": "m", "messages": [QUESTION], "stream": True}), target, ""
    )

    assert whole.url == f"{base}/model/{path}/converse"
    assert streamed.url == f"{base}/model/{path}/converse-stream"
    assert ("Accept", "application/vnd.amazon.eventstream") in streamed.headers
    assert "Authorization" not in dict(whole.headers)


def test_a_key_goes_out_as_a_bearer_token_and_is_not_shown() -> None:
    request, _ = build(to_request({"model": "m", "messages": [QUESTION]}), SONNET)

    assert ("Authorization", f"Bearer {SECRET}") in request.headers
    assert SECRET not in repr(request)


def test_system_texts_stand_apart() -> None:
    body, _ = sent(
        messages=[
            {"role": "system", "content": "Be kind."},
            QUESTION,
            {"role": "developer", "content": "Be brief."},
        ]
    )

    assert body["system"] == [{"text": "Be kind."}, {"text": "Be brief."}]
    assert body["messages"] == [{"role": "user", "content": [{"text": QUESTION["content"]}]}]


def test_models_without_system_texts_are_told_first_of_all() -> None:
    plain = make_endpoint("mistral.mistral-7b", capabilities={"system_messages": False})

    body, _ = sent(plain, [{"role": "system", "content": "Be kind."}, QUESTION])

    assert "system" not in body
    assert body["messages"][0]["content"][0] == {"text": "Be kind."}


def test_limits_and_sampling_have_their_places() -> None:
    body, warnings = sent(NOVA, max_tokens=9, temperature=0.5, top_p=0.9, top_k=40, stop=["END"])

    assert body["inferenceConfig"] == {
        "maxTokens": 9,
        "temperature": 0.5,
        "topP": 0.9,
        "stopSequences": ["END"],
    }
    assert body["additionalModelRequestFields"] == {"inferenceConfig": {"topK": 40}}
    assert warnings == ()


def test_what_a_model_refuses_of_sampling_is_left_out_and_said() -> None:
    newest, said = sent(OPUS, temperature=0.5, top_p=0.9, top_k=40)
    both, told = sent(SONNET, temperature=0.5, top_p=0.9)
    hot, warned = sent(LLAMA, temperature=1.8, top_k=3)

    assert "inferenceConfig" not in newest
    assert len(said) == 3
    assert both["inferenceConfig"] == {"temperature": 0.5}
    assert any("`top_p`" in one for one in told)
    assert hot["inferenceConfig"] == {"temperature": 1.0}
    assert any("1.8" in one for one in warned)
    assert any("`top_k`" in one for one in warned)


def test_more_than_the_model_writes_is_not_asked_for() -> None:
    body, warnings = sent(SONNET, max_tokens=100_000)

    assert body["inferenceConfig"]["maxTokens"] == 64_000
    assert "64000" in warnings[0]


def test_what_converse_has_no_word_for_is_named() -> None:
    body, warnings = sent(seed=1, frequency_penalty=0.5, logit_bias={"1": 1}, n=2, user="u")

    assert set(body) == {"messages"}
    named = {one.split("`")[1] for one in warnings}
    assert named == {"seed", "frequency_penalty", "logit_bias", "n"}


@pytest.mark.parametrize(
    ("asked", "expected"),
    [
        ("auto", None),
        ("default", None),
        ("flex", {"type": "flex"}),
        ("priority", {"type": "priority"}),
    ],
)
def test_service_tiers_are_asked_for_by_bedrocks_names(asked: str, expected: Any) -> None:
    body, warnings = sent(service_tier=asked)

    assert body.get("serviceTier") == expected
    assert warnings == ()


def test_an_unknown_tier_is_left_out_and_said() -> None:
    body, warnings = sent(service_tier="scale")

    assert "serviceTier" not in body
    assert "`service_tier`" in warnings[0]


@pytest.mark.parametrize(
    ("choice", "expected"),
    [
        (None, None),
        ("auto", None),
        ("required", {"any": {}}),
        (
            {"type": "function", "function": {"name": "get_weather"}},
            {"tool": {"name": "get_weather"}},
        ),
    ],
)
def test_choices_among_tools(choice: Any, expected: Any) -> None:
    members: dict[str, Any] = {"tools": [TOOL]} | ({"tool_choice": choice} if choice else {})

    body, warnings = sent(**members)

    assert body["toolConfig"].get("toolChoice") == expected
    assert body["toolConfig"]["tools"][0]["toolSpec"]["name"] == "get_weather"
    assert warnings == ()


def test_no_tool_at_all_means_no_tools() -> None:
    body, _ = sent(tools=[TOOL], tool_choice="none")
    with_calls, warnings = sent(messages=CALLED, tools=[TOOL], tool_choice="none")

    assert "toolConfig" not in body
    assert "toolChoice" not in with_calls["toolConfig"]
    assert "'none'" in warnings[0]


def test_a_model_that_cannot_be_made_to_call_is_asked_and_that_is_said() -> None:
    body, warnings = sent(LLAMA, tools=[TOOL], tool_choice="required")

    assert "toolChoice" not in body["toolConfig"]
    assert "cannot be made to call" in warnings[0]


def test_calls_in_the_history_bring_definitions_along() -> None:
    body, _ = sent(messages=CALLED)

    (tool,) = body["toolConfig"]["tools"]
    assert tool["toolSpec"]["name"] == "get_weather"
    assert body["messages"][1]["content"] == [
        {"toolUse": {"toolUseId": "call_1", "name": "get_weather", "input": {}}}
    ]


def test_results_that_are_errors_say_so_where_that_is_taken() -> None:
    failed = [*CALLED[:2], CALLED[2] | {"is_error": True}]

    claude, _ = sent(messages=failed, tools=[TOOL])
    llama, _ = sent(LLAMA, failed, tools=[TOOL])

    assert claude["messages"][2]["content"][0]["toolResult"]["status"] == "error"
    assert "status" not in llama["messages"][2]["content"][0]["toolResult"]


def test_a_tool_name_that_is_not_taken_is_unsupported() -> None:
    tool = {"type": "function", "function": {"name": "weather.now"}}
    request = to_request({"model": "m", "messages": [QUESTION], "tools": [tool]})

    with pytest.raises(FaultError) as caught:
        build(request, SONNET)

    assert caught.value.fault.outcome is Outcome.UNSUPPORTED
    assert "weather.now" in caught.value.fault.message


def test_images_are_sent_by_what_they_are() -> None:
    part = {"type": "image_url", "image_url": {"url": PNG}}

    body, _ = sent(messages=[{"role": "user", "content": [part]}])

    (block,) = body["messages"][0]["content"]
    assert block["image"]["format"] == "png"
    assert base64.b64decode(block["image"]["source"]["bytes"]).startswith(b"\x89PNG")


def test_objects_in_s3_are_named_by_their_address() -> None:
    part = {"type": "image_url", "image_url": {"url": "s3://bucket/bridge.png"}}

    body, _ = sent(messages=[{"role": "user", "content": [part]}])

    assert body["messages"][0]["content"] == [
        {"image": {"format": "png", "source": {"s3Location": {"uri": "s3://bucket/bridge.png"}}}}
    ]


@pytest.mark.parametrize(
    "part",
    [
        {"type": "image_url", "image_url": {"url": "https://example.com/bridge.png"}},
        {"type": "image_url", "image_url": {"url": "data:image/tiff;base64,AAAA"}},
        {"type": "file", "file": {"file_id": "file-1"}},
        {
            "type": "file",
            "file": {"filename": "a.exe", "file_data": "data:application/x-a;base64,AA"},
        },
        {"type": "input_audio", "input_audio": {"data": "AAAA", "format": "midi"}},
    ],
    ids=["remote", "tiff", "file-id", "exe", "midi"],
)
def test_what_cannot_be_sent_is_unsupported_and_says_what_can(part: dict[str, Any]) -> None:
    request = to_request({"model": "m", "messages": [{"role": "user", "content": [part]}]})

    with pytest.raises(FaultError) as caught:
        build(request, SONNET)

    assert caught.value.fault.outcome is Outcome.UNSUPPORTED
    assert "send " in caught.value.fault.message


@pytest.mark.parametrize(
    ("filename", "name"),
    [
        ("tolls.pdf", "tolls"),
        ("Q3_report  (final)!.v2.pdf", "Q3 report (final) v2"),
        ("Größe.pdf", "Gr e"),
        ("....pdf", "document"),
        (None, "document"),
    ],
)
def test_documents_have_names_of_the_characters_that_are_allowed(
    filename: str | None, name: str
) -> None:
    file = {"file_data": PDF} | ({"filename": filename} if filename else {})

    body, _ = sent(messages=[{"role": "user", "content": [{"type": "file", "file": file}]}])

    document = body["messages"][0]["content"][0]["document"]
    assert (document["name"], document["format"]) == (name, "pdf")


def test_documents_have_names_of_their_own_and_a_text_beside_them() -> None:
    part = {"type": "file", "file": {"filename": "a.pdf", "file_data": PDF}}

    body, _ = sent(messages=[{"role": "user", "content": [part, part]}])

    first, second, text = body["messages"][0]["content"]
    assert [first["document"]["name"], second["document"]["name"]] == ["a", "a (2)"]
    assert text["text"]


def mark(text: str, **more: str) -> dict[str, Any]:
    return {"type": "text", "text": text, "cache_control": {"type": "ephemeral"} | more}


def test_cache_marks_become_cache_points_in_the_order_and_number_that_are_taken() -> None:
    parts = [mark(f"part {n}", **({"ttl": "1h"} if n == 4 else {})) for n in range(6)]

    body, _ = sent(messages=[{"role": "user", "content": parts}])

    points = [
        block["cachePoint"] for block in body["messages"][0]["content"] if "cachePoint" in block
    ]
    assert points == [{"type": "default"}] * 4


def test_an_hour_is_asked_for_where_it_is_taken() -> None:
    system = {"role": "system", "content": [mark("Be kind.", ttl="1h")]}

    claude, _ = sent(SONNET, [system, QUESTION])
    nova, _ = sent(NOVA, [system, QUESTION])
    llama, _ = sent(LLAMA, [system, QUESTION])

    assert claude["system"][1] == {"cachePoint": {"type": "default", "ttl": "1h"}}
    assert nova["system"][1] == {"cachePoint": {"type": "default"}}
    assert llama["system"] == [{"text": "Be kind."}]


@pytest.mark.parametrize(
    ("endpoint", "wish", "fields"),
    [
        pytest.param(
            SONNET,
            {"reasoning": {"max_tokens": 2000}},
            {"thinking": {"type": "enabled", "budget_tokens": 2000}},
            id="claude-budget",
        ),
        pytest.param(
            OPUS,
            {"reasoning_effort": "high"},
            {
                "thinking": {"type": "adaptive", "display": "summarized"},
                "output_config": {"effort": "high"},
            },
            id="claude-adaptive",
        ),
        pytest.param(
            NOVA,
            {"reasoning_effort": "medium"},
            {"reasoningConfig": {"type": "enabled", "maxReasoningEffort": "medium"}},
            id="nova",
        ),
        pytest.param(GPT_OSS, {"reasoning_effort": "low"}, {"reasoning_effort": "low"}, id="gpt"),
    ],
)
def test_each_family_is_told_to_think_in_its_own_words(
    endpoint: Endpoint, wish: dict[str, Any], fields: dict[str, Any]
) -> None:
    body, warnings = sent(endpoint, max_tokens=8000, **wish)

    assert body["additionalModelRequestFields"] == fields
    assert warnings == ()


def test_a_budget_is_always_below_the_largest_answer() -> None:
    unsaid, _ = sent(SONNET, reasoning_effort="high")
    small, warnings = sent(SONNET, reasoning_effort="high", max_tokens=500)

    budget = unsaid["additionalModelRequestFields"]["thinking"]["budget_tokens"]
    assert budget < unsaid["inferenceConfig"]["maxTokens"]
    assert "additionalModelRequestFields" not in small
    assert "reasoning" in warnings[0]


def test_novas_highest_effort_takes_no_limits() -> None:
    free, _ = sent(NOVA, reasoning_effort="high", temperature=0.5)
    bounded, warnings = sent(NOVA, reasoning_effort="high", max_tokens=100)

    assert "inferenceConfig" not in free
    assert bounded["inferenceConfig"] == {"maxTokens": 100}
    config = bounded["additionalModelRequestFields"]["reasoningConfig"]
    assert config["maxReasoningEffort"] == "medium"
    assert any("'medium'" in one for one in warnings)


def test_models_that_do_not_reason_are_not_told_to() -> None:
    body, warnings = sent(LLAMA, reasoning_effort="high")
    silent, quiet = sent(LLAMA, reasoning_effort="none")

    assert "additionalModelRequestFields" not in body
    assert "`reasoning`" in warnings[0]
    assert "additionalModelRequestFields" not in silent
    assert quiet == ()


def test_the_maker_is_found_behind_prefixes_and_arns() -> None:
    account = "arn:aws:bedrock:us-east-1:123456789012"
    for model, canonical in [
        (f"{account}:inference-profile/us.anthropic.claude-sonnet-4-5", "acme/one"),
        (f"{account}:application-inference-profile/abc123", "anthropic/claude-sonnet-4.5"),
    ]:
        endpoint = msgspec.structs.replace(SONNET, provider_model=model, model=canonical)

        request = to_request(
            {"model": "m", "messages": [QUESTION], "reasoning": {"max_tokens": 2000}}
        )

        assert "thinking" in build(request, endpoint)[1]["additionalModelRequestFields"]


def test_a_schema_is_held_to_natively_where_that_is_known() -> None:
    native, _ = sent(SONNET, response_format=FORM)
    forced, _ = sent(NOVA, response_format=FORM)
    told, _ = sent(LLAMA, response_format=FORM)
    loose, _ = sent(SONNET, response_format={"type": "json_object"})

    form = native["outputConfig"]["textFormat"]
    assert form["type"] == "json_schema"
    assert msgspec.json.decode(form["structure"]["jsonSchema"]["schema"])["type"] == "object"
    assert forced["toolConfig"]["toolChoice"] == {"tool": {"name": "tollway_answer"}}
    assert "JSON" in told["system"][-1]["text"]
    assert "JSON" in loose["system"][-1]["text"]


def test_the_beginning_of_an_answer_goes_where_it_is_taken() -> None:
    begun = [QUESTION, {"role": "assistant", "content": "It leads to "}]

    taken, _ = sent(SONNET, begun)
    closed, warnings = sent(OPUS, begun)

    assert taken["messages"][-1] == {"role": "assistant", "content": [{"text": "It leads to"}]}
    assert closed["messages"][-1]["role"] == "user"
    assert "beginning of an answer" in warnings[0]
