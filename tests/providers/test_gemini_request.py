"""What the Gemini adapter makes of a request."""

import json
from typing import Any

import pytest

from gateway.domain.outcomes import Outcome
from gateway.providers.base import FaultError
from gateway.providers.gemini_contents import DUMMY_SIGNATURE
from tests.providers.conversations import PNG
from tests.providers.gemini_judge import VERTEX, build, judge, target_of

USER: dict[str, Any] = {"role": "user", "content": "How far is it?"}
SCHEMA: dict[str, Any] = {
    "type": "object",
    "properties": {"place": {"type": "string"}},
    "required": ["place"],
}


def tool(name: str = "measure", parameters: dict[str, Any] | None = None) -> dict[str, Any]:
    return {"type": "function", "function": {"name": name, "parameters": parameters or SCHEMA}}


def called(*ids: str, name: str = "measure", **members: Any) -> dict[str, Any]:
    calls = [
        {"id": id_, "type": "function", "function": {"name": name, "arguments": '{"place":"x"}'}}
        for id_ in ids
    ]
    return {"role": "assistant", "content": None, "tool_calls": calls} | members


def result(id_: str, content: Any = "42") -> dict[str, Any]:
    return {"role": "tool", "tool_call_id": id_, "content": content}


def signature(id_: str | None, data: str, provider: str = "google") -> dict[str, Any]:
    detail = {"type": "reasoning.encrypted", "data": data, "format": f"google-gemini-v1:{provider}"}
    return detail | ({"id": id_} if id_ else {})


def test_the_key_stands_in_a_header_and_never_in_the_address() -> None:
    _, sent = build()

    assert ("x-goog-api-key", "key") in sent.headers
    assert "key" not in sent.url
    assert sent.url.endswith("/v1beta/models/gemini-2.5-flash:generateContent")


def test_a_stream_is_asked_for_as_server_sent_events() -> None:
    _, sent = build(stream=True)

    assert sent.url.endswith("/models/gemini-2.5-flash:streamGenerateContent?alt=sse")


def test_vertex_is_reached_under_its_project_with_a_bearer_token() -> None:
    _, sent = build(target_of(base_url=VERTEX))

    assert sent.url == f"{VERTEX}/models/gemini-2.5-flash:generateContent"
    assert ("Authorization", "Bearer key") in sent.headers
    assert all(name != "x-goog-api-key" for name, _ in sent.headers)


def test_every_system_and_developer_message_becomes_the_one_system_instruction() -> None:
    messages = [
        {"role": "system", "content": "One."},
        USER,
        {"role": "developer", "content": "Two."},
    ]

    body, _ = build(messages=messages)

    assert body["systemInstruction"] == {"parts": [{"text": "One."}, {"text": "Two."}]}
    assert body["contents"] == [{"role": "user", "parts": [{"text": "How far is it?"}]}]


def test_a_model_without_system_instructions_is_told_at_the_beginning() -> None:
    target = target_of(capabilities={"system_messages": False})

    body, _ = build(target, messages=[{"role": "system", "content": "Be brief."}, USER])

    assert "systemInstruction" not in body
    assert body["contents"][0]["parts"][0] == {"text": "Be brief."}


def test_pitfall_8_empty_text_blocks_are_left_out() -> None:
    messages = [
        {"role": "user", "content": [{"type": "text", "text": ""}, {"type": "text", "text": "Hi"}]}
    ]

    body, _ = build(messages=messages)

    assert body["contents"] == [{"role": "user", "parts": [{"text": "Hi"}]}]


def test_pitfall_9_parallel_results_are_one_content_in_the_order_of_the_calls() -> None:
    messages = [USER, called("a", "b"), result("b", "two"), result("a", "one"), USER]

    body, _ = build(messages=messages, tools=[tool()])

    parts = body["contents"][2]["parts"]
    responses = [part["functionResponse"]["response"] for part in parts[:2]]
    assert responses == [{"output": "one"}, {"output": "two"}]
    assert parts[2] == {"text": "How far is it?"}
    assert len(body["contents"]) == 3


def test_the_name_of_a_response_is_found_in_the_history() -> None:
    body, _ = build(messages=[USER, called("a", name="look_up"), result("a")])

    assert body["contents"][2]["parts"][0]["functionResponse"]["name"] == "look_up"


@pytest.mark.parametrize(
    ("content", "response"),
    [
        pytest.param('{"metres": 42}', {"metres": 42}, id="object"),
        pytest.param("42", {"output": "42"}, id="number"),
        pytest.param("[1]", {"output": "[1]"}, id="list"),
        pytest.param("far", {"output": "far"}, id="text"),
        pytest.param(
            '{"a": {"$ref": "#/x"}}', {"output": '{"a": {"$ref": "#/x"}}'}, id="pitfall-11-ref"
        ),
    ],
)
def test_a_result_is_always_an_object(content: str, response: dict[str, Any]) -> None:
    body, _ = build(messages=[USER, called("a"), result("a", content)])

    assert body["contents"][2]["parts"][0]["functionResponse"]["response"] == response


def test_pitfall_12_a_signature_comes_back_at_the_call_it_came_with() -> None:
    details = [signature("a", "c2lnbmVk")]
    messages = [USER, called("a", "b", reasoning_details=details), result("a"), result("b")]

    body, _ = build(target_of("gemini-3.8-flash"), messages=messages, tools=[tool()])

    first, second = body["contents"][1]["parts"]
    assert first["thoughtSignature"] == "c2lnbmVk"
    assert "thoughtSignature" not in second


@pytest.mark.parametrize(
    "details",
    [
        pytest.param([], id="lost"),
        pytest.param([signature("a", "c2lnbmVk", "google-vertex")], id="of-another-provider"),
        pytest.param(
            [{"type": "reasoning.text", "signature": "x", "text": "Hm", "format": "anthropic"}],
            id="of-another-maker",
        ),
    ],
)
def test_pitfall_12_a_missing_or_foreign_signature_becomes_the_documented_dummy(
    details: list[dict[str, Any]],
) -> None:
    messages = [USER, called("a", "b", reasoning_details=details), result("a"), result("b")]

    body, sent = build(target_of("gemini-3.8-flash"), messages=messages, tools=[tool()])

    first, second = body["contents"][1]["parts"]
    assert first["thoughtSignature"] == DUMMY_SIGNATURE
    assert "thoughtSignature" not in second
    assert judge(sent)


def test_each_step_of_the_turn_under_way_is_signed_and_earlier_turns_are_not() -> None:
    step = [called("a"), result("a"), called("b"), result("b")]
    messages = [
        USER,
        called("z"),
        result("z"),
        {"role": "assistant", "content": "Far."},
        USER,
        *step,
    ]

    body, _ = build(target_of("gemini-3.8-flash"), messages=messages, tools=[tool()])

    signed = [
        "thoughtSignature" in part
        for content in body["contents"]
        for part in content["parts"]
        if "functionCall" in part
    ]
    assert signed == [False, True, True]


def test_models_that_sign_nothing_are_sent_no_dummy() -> None:
    body, _ = build(messages=[USER, called("a"), result("a")], tools=[tool()])

    assert "thoughtSignature" not in body["contents"][1]["parts"][0]


def test_a_signature_of_a_text_stands_at_the_text_again() -> None:
    said = {"role": "assistant", "content": "Far.", "reasoning_details": [signature(None, "c2ln")]}

    body, _ = build(target_of("gemini-3.8-flash"), messages=[USER, said, USER])

    assert body["contents"][1]["parts"] == [{"text": "Far.", "thoughtSignature": "c2ln"}]


def test_names_that_gemini_refuses_are_marked() -> None:
    tools = [tool("1st_try"), tool("-dash"), tool("plain")]
    choice = {"type": "function", "function": {"name": "-dash"}}

    body, sent = build(tools=tools, tool_choice=choice)

    (declared,) = body["tools"]
    names = [one["name"] for one in declared["functionDeclarations"]]
    assert names == ["_0_1st_try", "_0_-dash", "plain"]
    config = body["toolConfig"]["functionCallingConfig"]
    assert config == {"mode": "ANY", "allowedFunctionNames": ["_0_-dash"]}
    assert judge(sent)


@pytest.mark.parametrize(
    ("choice", "mode"), [("none", "NONE"), ("required", "ANY"), ("auto", None), (None, None)]
)
def test_the_choice_among_tools(choice: str | None, mode: str | None) -> None:
    members: dict[str, Any] = {"tool_choice": choice} if choice else {}

    body, _ = build(tools=[tool()], **members)

    found = body.get("toolConfig", {}).get("functionCallingConfig", {}).get("mode")
    assert found == mode


def test_sampling_limits_and_stops_are_said_in_geminis_words() -> None:
    body, sent = build(
        temperature=1.5,
        top_p=0.9,
        top_k=40,
        max_tokens=100,
        stop=["a", "b"],
        n=2,
        seed=7,
        presence_penalty=0.5,
        frequency_penalty=2,
        logprobs=True,
        top_logprobs=3,
        user="u",
    )

    assert body["generationConfig"] == {
        "temperature": 1.5,
        "topP": 0.9,
        "topK": 40,
        "maxOutputTokens": 100,
        "stopSequences": ["a", "b"],
        "candidateCount": 2,
        "seed": 7,
        "presencePenalty": 0.5,
        "frequencyPenalty": 1.99,
        "responseLogprobs": True,
        "logprobs": 3,
    }
    assert sent.warnings == ()


def test_a_seed_beyond_32_bits_is_folded_and_said_so() -> None:
    body, sent = build(seed=2**40 + 5)

    assert body["generationConfig"]["seed"] == 5
    assert "`seed`" in sent.warnings[0]


def test_what_gemini_has_no_word_for_is_left_out_with_a_warning() -> None:
    body, sent = build(logit_bias={"5": 1}, parallel_tool_calls=False, tools=[tool()])

    assert "logit_bias" not in json.dumps(body)
    assert any("`logit_bias`" in warning for warning in sent.warnings)
    assert any("`parallel_tool_calls`" in warning for warning in sent.warnings)


def test_a_larger_answer_than_the_model_gives_is_lowered() -> None:
    body, sent = build(max_tokens=100_000)

    assert body["generationConfig"]["maxOutputTokens"] == 65_536
    assert "`max_tokens`" in sent.warnings[0]


@pytest.mark.parametrize(
    ("model", "members", "thinking"),
    [
        pytest.param("gemini-2.5-flash", {}, None, id="unasked"),
        pytest.param(
            "gemini-2.5-flash", {"reasoning_effort": "none"}, {"thinkingBudget": 0}, id="off"
        ),
        pytest.param(
            "gemini-2.5-pro", {"reasoning_effort": "none"}, {"thinkingBudget": 128}, id="never-off"
        ),
        pytest.param(
            "gemini-2.5-flash",
            {"reasoning_effort": "medium", "max_tokens": 4000},
            {"thinkingBudget": 2000, "includeThoughts": True},
            id="share-of-the-answer",
        ),
        pytest.param(
            "gemini-2.5-flash",
            {"reasoning_effort": "high"},
            {"thinkingBudget": 24_576, "includeThoughts": True},
            id="at-most",
        ),
        pytest.param(
            "gemini-2.5-flash-lite",
            {"reasoning": {"max_tokens": 100}},
            {"thinkingBudget": 512, "includeThoughts": True},
            id="at-least",
        ),
        pytest.param(
            "gemini-2.5-flash",
            {"reasoning": {"max_tokens": 1000, "exclude": True}},
            {"thinkingBudget": 1000},
            id="hidden",
        ),
        pytest.param(
            "gemini-3.8-flash",
            {"reasoning_effort": "minimal"},
            {"thinkingLevel": "LOW", "includeThoughts": True},
            id="nearest-level",
        ),
        pytest.param(
            "gemini-3.5-flash",
            {"reasoning_effort": "none"},
            {"thinkingLevel": "MINIMAL"},
            id="least-level",
        ),
        pytest.param("gemini-2.0-flash", {"reasoning_effort": "high"}, None, id="cannot-think"),
    ],
)
def test_how_much_to_think_follows_the_model(
    model: str, members: dict[str, Any], thinking: dict[str, Any] | None
) -> None:
    body, sent = build(target_of(model), **members)

    assert body.get("generationConfig", {}).get("thinkingConfig") == thinking
    assert judge(sent)


def test_a_schema_is_enforced_as_json_schema_or_in_the_older_form() -> None:
    form = {"type": "json_schema", "json_schema": {"name": "trip", "schema": SCHEMA}}

    newer, _ = build(response_format=form)
    older, _ = build(target_of("gemini-2.0-flash"), response_format=form)

    config = newer["generationConfig"]
    assert config["responseMimeType"] == "application/json"
    assert config["responseJsonSchema"] == SCHEMA
    assert older["generationConfig"]["responseSchema"]["type"] == "OBJECT"


def test_json_beside_functions_is_only_described_where_both_are_refused() -> None:
    form = {"type": "json_schema", "json_schema": {"name": "trip", "schema": SCHEMA}}

    second, sent = build(response_format=form, tools=[tool()])
    third, _ = build(target_of("gemini-3.8-flash"), response_format=form, tools=[tool()])

    assert "generationConfig" not in second
    assert "JSON" in second["systemInstruction"]["parts"][-1]["text"]
    assert any("`response_format`" in warning for warning in sent.warnings)
    assert third["generationConfig"]["responseMimeType"] == "application/json"


def test_a_search_is_googles_own() -> None:
    body, _ = build(web_search_options={})

    assert body["tools"] == [{"googleSearch": {}}]


def test_a_search_beside_functions_needs_a_model_that_does_both() -> None:
    older, sent = build(web_search=True, tools=[tool()])
    newer, _ = build(target_of("gemini-3.8-flash"), web_search=True, tools=[tool()])

    assert len(older["tools"]) == 1
    assert any("cannot search beside the functions" in warning for warning in sent.warnings)
    assert newer["tools"][1] == {"googleSearch": {}}
    assert newer["toolConfig"] == {
        "includeServerSideToolInvocations": True,
        "functionCallingConfig": {"mode": "VALIDATED"},
    }


def user(*parts: dict[str, Any]) -> dict[str, Any]:
    return {"role": "user", "content": [{"type": "text", "text": "Look."}, *parts]}


@pytest.mark.parametrize(
    ("part", "sent"),
    [
        pytest.param(
            {"type": "image_url", "image_url": {"url": PNG}},
            {"inlineData": {"mimeType": "image/png", "data": PNG.partition(",")[2]}},
            id="image",
        ),
        pytest.param(
            {"type": "input_audio", "input_audio": {"data": "SUQz", "format": "mp3"}},
            {"inlineData": {"mimeType": "audio/mp3", "data": "SUQz"}},
            id="sound",
        ),
        pytest.param(
            {
                "type": "file",
                "file": {"filename": "a.pdf", "file_data": "data:application/pdf;base64,JVBERi0="},
            },
            {"inlineData": {"mimeType": "application/pdf", "data": "JVBERi0="}},
            id="pdf",
        ),
        pytest.param(
            {"type": "image_url", "image_url": {"url": "https://example.com/a.png"}},
            {"fileData": {"fileUri": "https://example.com/a.png", "mimeType": "image/png"}},
            id="remote-image",
        ),
        pytest.param(
            {"type": "video_url", "video_url": {"url": "https://youtu.be/abc"}},
            {"fileData": {"fileUri": "https://youtu.be/abc"}},
            id="youtube",
        ),
    ],
)
def test_media_go_inline_or_as_the_address_that_google_fetches(
    part: dict[str, Any], sent: dict[str, Any]
) -> None:
    body, request = build(messages=[user(part)])

    assert body["contents"][0]["parts"][1] == sent
    assert judge(request)


def test_vertex_takes_files_of_cloud_storage_with_their_type() -> None:
    part = {"type": "image_url", "image_url": {"url": "gs://bucket/a.webp"}}

    body, _ = build(target_of(base_url=VERTEX), messages=[user(part)])

    assert body["contents"][0]["parts"][1] == {
        "fileData": {"fileUri": "gs://bucket/a.webp", "mimeType": "image/webp"}
    }


@pytest.mark.parametrize(
    ("model", "url"),
    [
        pytest.param("gemini-2.5-flash", "gs://bucket/a.png", id="cloud-storage-on-ai-studio"),
        pytest.param("gemini-2.5-flash", "http://example.com/a.png", id="not-encrypted"),
        pytest.param("gemini-2.0-flash", "https://example.com/a.png", id="old-model"),
        pytest.param("gemini-2.5-flash", "data:image/gif;base64,R0lGODlh", id="gif"),
    ],
)
def test_media_that_cannot_be_read_are_refused_before_sending(model: str, url: str) -> None:
    part = {"type": "image_url", "image_url": {"url": url}}

    with pytest.raises(FaultError) as caught:
        build(target_of(model), messages=[user(part)])

    assert caught.value.fault.outcome is Outcome.UNSUPPORTED
    assert "send" in caught.value.fault.message


def test_images_and_sound_are_asked_for() -> None:
    image = target_of(modalities_out=("text", "image"))
    speech = target_of(modalities_out=("audio",))

    drawn, _ = build(image, modalities=["text", "image"], image_config={"aspect_ratio": "16:9"})
    spoken, _ = build(
        speech, modalities=["text", "audio"], audio={"voice": "Kore", "format": "wav"}
    )

    assert drawn["generationConfig"] == {
        "responseModalities": ["TEXT", "IMAGE"],
        "imageConfig": {"aspectRatio": "16:9"},
    }
    assert spoken["generationConfig"]["responseModalities"] == ["AUDIO"]
    voice = spoken["generationConfig"]["speechConfig"]["voiceConfig"]
    assert voice == {"prebuiltVoiceConfig": {"voiceName": "Kore"}}


def test_the_service_tier_goes_into_the_body_or_into_headers() -> None:
    studio, _ = build(service_tier="flex")
    _, vertex = build(target_of(base_url=VERTEX), service_tier="priority")
    _, unknown = build(service_tier="scale")

    assert studio["serviceTier"] == "flex"
    assert ("X-Vertex-AI-LLM-Shared-Request-Type", "priority") in vertex.headers
    assert "serviceTier" not in json.loads(vertex.body)
    assert any("`service_tier`" in warning for warning in unknown.warnings)
