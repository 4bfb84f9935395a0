"""Requests to Anthropic: what is sent, what is left out, and that a strict service takes it."""

import json
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from msgspec import Raw, structs

from gateway.domain.outcomes import Outcome
from gateway.providers.base import FaultError
from gateway.providers.translation.reading import NO_RESULT
from gateway.providers.translation.structure import ANSWER_TOOL
from gateway.simulator.anthropic_messages import signature_of
from tests.properties import many
from tests.providers.claude import (
    ADAPTER,
    GENERATIONS,
    as_request,
    ask,
    build,
    judge,
    sent,
    target_of,
    warned,
)
from tests.providers.conversations import PDF, PNG, SCHEMA, TEXT_FILE, bodies

TOOL: dict[str, Any] = {
    "type": "function",
    "function": {"name": "get_weather", "parameters": SCHEMA, "description": "The weather."},
}
FORM: dict[str, Any] = {
    "type": "json_schema",
    "json_schema": {"name": "trip", "schema": SCHEMA, "strict": True},
}
OTHER_TOOL: dict[str, Any] = {"type": "function", "function": {"name": "look_up"}}


def call(id_: str, name: str = "get_weather", arguments: str = '{"city":"Oslo"}') -> dict[str, Any]:
    return {"id": id_, "type": "function", "function": {"name": name, "arguments": arguments}}


def loop(*details: dict[str, Any], results: int = 2) -> list[dict[str, Any]]:
    """A conversation in the middle of two parallel calls."""
    messages: list[dict[str, Any]] = [
        {"role": "user", "content": "Oslo and Bergen?"},
        {
            "role": "assistant",
            "content": None,
            "tool_calls": [call("c1"), call("c2")],
            "reasoning_details": list(details),
        },
        {"role": "tool", "tool_call_id": "c2", "content": "rain"},
        {"role": "tool", "tool_call_id": "c1", "content": "snow"},
    ]
    return messages[: 2 + results]


@settings(
    max_examples=many(150),
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
)
@given(body=bodies(), model=st.sampled_from(GENERATIONS))
def test_any_valid_conversation_becomes_a_request_that_the_strict_service_takes(
    body: dict[str, Any], model: str
) -> None:
    answer = judge(build(body, model))

    assert answer.body


def test_a_request_says_who_asks_in_which_version_and_where() -> None:
    request = build(ask())

    assert request.url == "http://127.0.0.1:9/v1/messages"
    headers = {name.lower(): value for name, value in request.headers}
    assert headers["anthropic-version"] == "2023-06-01"
    assert headers["x-api-key"] == "sk-ant-key"
    assert "authorization" not in headers
    assert "anthropic-beta" not in headers


def test_system_and_developer_messages_are_system_blocks_in_their_order() -> None:
    body = sent(
        messages=[
            {"role": "system", "content": "One"},
            {"role": "user", "content": "Hi"},
            {"role": "developer", "content": "Two"},
        ]
    )

    assert body["system"] == [{"type": "text", "text": "One"}, {"type": "text", "text": "Two"}]
    assert body["messages"] == [{"role": "user", "content": [{"type": "text", "text": "Hi"}]}]


class TestMaxTokens:
    def test_without_a_wish_the_cap_of_the_model_is_sent(self) -> None:
        assert sent("claude-opus-4-1")["max_tokens"] == 32_000

    def test_more_than_the_cap_is_cut_with_a_warning(self) -> None:
        assert sent("claude-3-haiku", max_tokens=9000)["max_tokens"] == 4096
        assert "`max_tokens` 9000" in warned("claude-3-haiku", max_tokens=9000)


class TestContent:
    def test_images_are_base64_with_their_true_type_or_addresses(self) -> None:
        parts = [
            {"type": "image_url", "image_url": {"url": PNG, "detail": "low"}},
            {"type": "image_url", "image_url": {"url": "https://example.com/a.png"}},
        ]

        first, second = sent(messages=[{"role": "user", "content": parts}])["messages"][0][
            "content"
        ]

        assert first["source"]["type"] == "base64"
        assert first["source"]["media_type"] == "image/png"
        assert second["source"] == {"type": "url", "url": "https://example.com/a.png"}

    def test_documents_are_pdf_or_text(self) -> None:
        parts = [
            {"type": "file", "file": {"filename": "a.pdf", "file_data": PDF}},
            {"type": "file", "file": {"filename": "a.txt", "file_data": TEXT_FILE}},
        ]

        first, second = sent(messages=[{"role": "user", "content": parts}])["messages"][0][
            "content"
        ]

        assert first["source"]["media_type"] == "application/pdf"
        assert first["title"] == "a.pdf"
        assert second["source"] == {
            "type": "text",
            "media_type": "text/plain",
            "data": "Toll roads",
        }

    def test_a_file_id_switches_its_beta_on(self) -> None:
        part = {"type": "file", "file": {"file_id": "file_1"}}

        request = build(ask(messages=[{"role": "user", "content": [part]}]))

        assert ("anthropic-beta", "files-api-2025-04-14") in request.headers

    def test_sound_is_refused_as_unsupported(self) -> None:
        part = {"type": "input_audio", "input_audio": {"data": "AAAA", "format": "wav"}}

        with pytest.raises(FaultError) as caught:
            build(ask(messages=[{"role": "user", "content": [part]}]))

        assert caught.value.fault.outcome is Outcome.UNSUPPORTED


class TestTools:
    def test_choices_in_their_words(self) -> None:
        named = {"type": "function", "function": {"name": "look_up"}}
        tools = [TOOL, OTHER_TOOL]

        assert "tool_choice" not in sent(tools=tools)
        assert sent(tools=tools, tool_choice="none")["tool_choice"] == {"type": "none"}
        assert sent(tools=tools, tool_choice="required")["tool_choice"] == {"type": "any"}
        assert sent(tools=tools, tool_choice=named)["tool_choice"] == {
            "type": "tool",
            "name": "look_up",
        }
        assert sent(tools=tools, parallel_tool_calls=False)["tool_choice"] == {
            "type": "auto",
            "disable_parallel_tool_use": True,
        }

    def test_allowed_tools_narrow_the_tools(self) -> None:
        choice = {
            "type": "allowed_tools",
            "allowed_tools": {
                "mode": "required",
                "tools": [{"type": "function", "function": {"name": "look_up"}}],
            },
        }

        body = sent(tools=[TOOL, OTHER_TOOL], tool_choice=choice)

        assert [tool["name"] for tool in body["tools"]] == ["look_up"]
        assert body["tool_choice"] == {"type": "any"}

    def test_calls_in_the_history_without_tools_get_minimal_definitions(self) -> None:
        body = sent(messages=loop())

        assert body["tools"] == [
            {"name": "get_weather", "input_schema": {"type": "object", "properties": {}}}
        ]
        assert body["tool_choice"] == {"type": "none"}

    def test_alternatives_at_the_top_of_a_schema_are_merged(self) -> None:
        schema = {
            "anyOf": [
                {"properties": {"a": {"type": "string"}}, "required": ["a"]},
                {"properties": {"b": {"type": "string"}}},
            ]
        }
        tool = {"type": "function", "function": {"name": "f", "parameters": schema}}

        (written,) = sent(tools=[tool])["tools"]

        assert written["input_schema"] == {
            "type": "object",
            "properties": {"a": {"type": "string"}, "b": {"type": "string"}},
        }

    def test_a_web_search_is_a_tool_of_the_service(self) -> None:
        body = sent(
            "claude-sonnet-4-6",
            web_search_options={
                "user_location": {"type": "approximate", "approximate": {"city": "Oslo"}}
            },
        )

        assert body["tools"] == [
            {
                "type": "web_search_20250305",
                "name": "web_search",
                "user_location": {"type": "approximate", "city": "Oslo"},
            }
        ]


class TestPitfalls:
    """Rows of the list of known pitfalls, by their numbers."""

    def test_6_signed_thinking_is_sent_back_in_a_tool_loop(self) -> None:
        detail = {
            "type": "reasoning.text",
            "text": "Hm.",
            "signature": signature_of("Hm."),
            "format": "anthropic-claude-v1",
            "index": 0,
        }

        request = build(
            ask(
                messages=loop(detail), tools=[TOOL], reasoning={"max_tokens": 2000}, max_tokens=9000
            )
        )

        body = json.loads(request.body)
        assert body["thinking"] == {"type": "enabled", "budget_tokens": 2000}
        assert body["messages"][1]["content"][0] == {
            "type": "thinking",
            "thinking": "Hm.",
            "signature": signature_of("Hm."),
        }
        assert judge(request).body

    def test_6_pieces_of_thinking_from_a_stream_are_put_together(self) -> None:
        pieces = [
            {"type": "reasoning.text", "text": text, "format": "anthropic-claude-v1", "index": 0}
            for text in ("H", "m.")
        ]
        last = pieces[0] | {"text": None, "signature": signature_of("Hm.")}

        request = build(
            ask(messages=loop(*pieces, last), tools=[TOOL], reasoning={"max_tokens": 2000})
        )

        assert json.loads(request.body)["messages"][1]["content"][0]["thinking"] == "Hm."
        assert judge(request).body

    def test_6_foreign_thinking_is_left_out_and_reasoning_off_instead_of_a_400(self) -> None:
        foreign = {"type": "reasoning.text", "text": "Hm.", "signature": "x", "format": "acme-v1"}
        asked = ask(messages=loop(foreign), tools=[TOOL], reasoning={"max_tokens": 2000})

        request = build(asked)

        assert "thinking" not in json.loads(request.body)
        assert "without signed thinking" in " ".join(request.warnings)
        assert judge(request).body

    def test_6_models_that_adapt_go_on_thinking_without_earlier_thoughts(self) -> None:
        body = sent("claude-opus-4-6", messages=loop(), tools=[TOOL], reasoning_effort="high")

        assert body["thinking"] == {"type": "adaptive", "display": "summarized"}
        assert body["output_config"] == {"effort": "high"}

    def test_7_a_forced_call_wins_over_a_budget_for_thinking_with_a_warning(self) -> None:
        asked: dict[str, Any] = {
            "tools": [TOOL],
            "tool_choice": "required",
            "reasoning_effort": "high",
        }

        body = sent(**asked)

        assert body["tool_choice"] == {"type": "any"}
        assert "thinking" not in body
        assert "`tool_choice` forces a call" in warned(**asked)

    def test_7_a_forced_call_goes_together_with_adaptive_thinking(self) -> None:
        body = sent("claude-opus-4-6", tools=[TOOL], tool_choice="required", reasoning_effort="low")

        assert body["tool_choice"] == {"type": "any"}
        assert body["thinking"] == {"type": "adaptive", "display": "summarized"}

    def test_8_empty_text_blocks_are_left_out(self) -> None:
        body = sent(
            messages=[
                {
                    "role": "user",
                    "content": [{"type": "text", "text": ""}, {"type": "text", "text": "Hi"}],
                },
                {"role": "assistant", "content": " "},
                {"role": "user", "content": "\n"},
            ]
        )

        assert body["messages"] == [{"role": "user", "content": [{"type": "text", "text": "Hi"}]}]

    def test_9_parallel_results_are_one_message_before_any_text(self) -> None:
        messages = [*loop(), {"role": "user", "content": "Well?"}]

        body = sent(messages=messages, tools=[TOOL])

        assert [block["type"] for block in body["messages"][2]["content"]] == [
            "tool_result",
            "tool_result",
            "text",
        ]
        assert [block["tool_use_id"] for block in body["messages"][2]["content"][:2]] == [
            "c1",
            "c2",
        ]

    def test_9_a_missing_result_is_told_as_an_error_and_an_orphan_left_out(self) -> None:
        orphan = {"role": "tool", "tool_call_id": "nobody", "content": "42"}

        request = build(ask(messages=[*loop(results=1), orphan], tools=[TOOL]))

        first, second = json.loads(request.body)["messages"][2]["content"]
        assert first["is_error"] is True
        assert first["content"] == [{"type": "text", "text": NO_RESULT}]
        assert second["tool_use_id"] == "c2"
        assert judge(request).body


class TestThinking:
    @pytest.mark.parametrize(
        ("wish", "max_tokens", "budget"),
        [
            pytest.param({"reasoning_effort": "minimal"}, 64_000, 6400, id="minimal"),
            pytest.param({"reasoning_effort": "low"}, 10_000, 2000, id="low"),
            pytest.param({"reasoning_effort": "medium"}, 10_000, 5000, id="medium"),
            pytest.param({"reasoning_effort": "high"}, 10_000, 8000, id="high"),
            pytest.param({"reasoning_effort": "xhigh"}, 10_000, 9500, id="xhigh"),
            pytest.param({"reasoning_effort": "low"}, 2000, 1024, id="never-below-the-least"),
            pytest.param({"reasoning": {"max_tokens": 4096}}, 4096, 3891, id="budget-below-cap"),
            pytest.param({"reasoning": {"max_tokens": 500}}, 4096, 1024, id="budget-too-small"),
            pytest.param({"reasoning_effort": "high"}, 1025, 1024, id="just-room"),
            pytest.param({"reasoning_effort": "high"}, 1024, None, id="no-room"),
        ],
    )
    def test_budget_and_cap_are_always_a_valid_pair(
        self, wish: dict[str, Any], max_tokens: int, budget: int | None
    ) -> None:
        body = sent(max_tokens=max_tokens, **wish)

        assert body["max_tokens"] == max_tokens
        assert body.get("thinking", {}).get("budget_tokens") == budget

    def test_efforts_that_a_model_does_not_know_become_the_nearest(self) -> None:
        asked = {"reasoning_effort": "xhigh"}

        assert sent("claude-opus-4-6", **asked)["output_config"] == {"effort": "high"}
        assert "'xhigh'" in warned("claude-opus-4-6", **asked)
        assert sent("claude-opus-4-7", **asked)["output_config"] == {"effort": "xhigh"}

    def test_thoughts_that_nobody_wants_to_see_are_not_sent(self) -> None:
        wish = {"effort": "low", "exclude": True}

        assert sent("claude-opus-4-7", reasoning=wish)["thinking"]["display"] == "omitted"

    def test_no_reasoning_is_asked_for_where_none_is_wanted(self) -> None:
        assert "thinking" not in sent(reasoning_effort="none")
        assert "thinking" not in sent("claude-opus-4-6", reasoning={"enabled": False})

    def test_models_that_cannot_think_are_not_asked_to(self) -> None:
        assert "thinking" not in sent("claude-3-haiku", reasoning_effort="high")
        assert "`reasoning`" in warned("claude-3-haiku", reasoning_effort="high")

    def test_the_effort_of_the_answer_is_conveyed_where_the_model_knows_one(self) -> None:
        assert sent("claude-opus-4-5", effort="low")["output_config"] == {"effort": "low"}
        assert "output_config" not in sent("claude-sonnet-4-5", effort="low")
        assert "`effort`" in warned("claude-sonnet-4-5", effort="low")


class TestSampling:
    def test_temperature_is_cut_to_one_with_a_warning(self) -> None:
        assert sent(temperature=1.7)["temperature"] == 1
        assert "`temperature` 1.7" in warned(temperature=1.7)

    def test_sampling_is_left_out_while_thinking(self) -> None:
        body = sent(temperature=0.2, top_k=5, top_p=0.5, reasoning_effort="high")

        assert not {"temperature", "top_k", "top_p"} & set(body)

    def test_one_of_temperature_and_top_p_where_both_are_refused(self) -> None:
        both = {"temperature": 0.5, "top_p": 0.5}

        assert {"temperature", "top_p"} & set(sent("claude-opus-4-1", **both)) == {"temperature"}
        assert {"temperature", "top_p"} <= set(sent("claude-3-haiku", **both))

    def test_models_with_fixed_sampling_get_none(self) -> None:
        assert "temperature" not in sent("claude-opus-4-7", temperature=0.5)
        assert "`temperature`" in warned("claude-opus-4-7", temperature=0.5)

    def test_what_the_protocol_has_no_word_for_is_left_out_with_a_warning(self) -> None:
        members: dict[str, Any] = {
            "seed": 7,
            "n": 2,
            "logprobs": True,
            "logit_bias": {"1": 1},
            "presence_penalty": 1,
            "frequency_penalty": 1,
        }

        body = sent(**members)

        assert not set(members) & set(body)
        for name in members:
            assert f"`{name}` is not supported" in warned(**members)


class TestStructuredOutput:
    def test_schemas_are_closed_and_without_what_is_refused(self) -> None:
        form = sent(response_format=FORM)["output_config"]["format"]

        assert form["type"] == "json_schema"
        assert form["schema"]["additionalProperties"] is False
        assert form["schema"]["properties"]["days"] == {
            "type": "integer",
            "description": "(minimum: 1, maximum: 14)",
        }

    def test_older_models_are_forced_to_call_the_answer(self) -> None:
        body = sent("claude-opus-4-1", response_format=FORM)

        assert body["tool_choice"] == {"type": "tool", "name": ANSWER_TOOL}
        assert body["tools"][0]["input_schema"] == SCHEMA

    def test_older_models_with_tools_are_told_in_words(self) -> None:
        body = sent("claude-opus-4-1", response_format=FORM, tools=[TOOL])

        assert [tool["name"] for tool in body["tools"]] == ["get_weather"]
        assert "JSON Schema" in body["system"][-1]["text"]

    def test_any_json_is_asked_for_in_words(self) -> None:
        body = sent(response_format={"type": "json_object"})

        assert "JSON object" in body["system"][0]["text"]
        assert "output_config" not in body

    def test_a_schema_that_refers_to_itself_is_not_sent_natively(self) -> None:
        tree = {
            "type": "object",
            "properties": {"next": {"$ref": "#"}, "name": {"type": "string"}},
            "required": ["name"],
        }
        form = {"type": "json_schema", "json_schema": {"name": "tree", "schema": tree}}

        request = build(ask(response_format=form))

        assert "output_config" not in json.loads(request.body)
        assert judge(request).body


class TestCacheMarks:
    def test_the_earliest_of_more_than_four_marks_go(self) -> None:
        parts = [
            {"type": "text", "text": f"{n}", "cache_control": {"type": "ephemeral"}}
            for n in range(6)
        ]

        content = sent(messages=[{"role": "user", "content": parts}])["messages"][0]["content"]

        assert ["cache_control" in block for block in content] == [False, False] + [True] * 4

    def test_a_long_mark_after_a_short_one_becomes_short(self) -> None:
        parts = [
            {"type": "text", "text": "a", "cache_control": {"type": "ephemeral", "ttl": "1h"}},
            {"type": "text", "text": "b", "cache_control": {"type": "ephemeral"}},
            {"type": "text", "text": "c", "cache_control": {"type": "ephemeral", "ttl": "1h"}},
        ]

        content = sent(messages=[{"role": "user", "content": parts}])["messages"][0]["content"]

        assert [block["cache_control"].get("ttl") for block in content] == ["1h", None, None]

    def test_a_hint_that_a_prompt_comes_again_sets_marks(self) -> None:
        body = sent(
            messages=[{"role": "system", "content": "S"}, {"role": "user", "content": "U"}],
            prompt_cache_key="road",
        )

        assert body["system"][-1]["cache_control"] == {"type": "ephemeral"}
        assert body["messages"][-1]["content"][-1]["cache_control"] == {"type": "ephemeral"}


class TestBeginningsOfAnswers:
    PREFILL: tuple[dict[str, Any], ...] = (
        {"role": "user", "content": "Hi"},
        {"role": "assistant", "content": "The road leads to "},
    )

    def test_they_lose_the_space_at_their_end(self) -> None:
        body = sent(messages=list(self.PREFILL))

        assert body["messages"][-1]["content"] == [{"type": "text", "text": "The road leads to"}]

    def test_models_that_refuse_them_get_another_turn(self) -> None:
        body = sent("claude-opus-4-6", messages=list(self.PREFILL))

        assert body["messages"][-1]["role"] == "user"
        assert "does not go on" in warned("claude-opus-4-6", messages=list(self.PREFILL))


def test_who_asks_is_told_as_a_hash() -> None:
    body = sent(user="ada@example.com")

    assert len(body["metadata"]["user_id"]) == 32
    assert "ada" not in body["metadata"]["user_id"]


def test_a_schema_that_cannot_be_read_is_the_clients_mistake() -> None:
    request = as_request(ask(tools=[TOOL]))
    tool = b'{"type":"function","function":{"name":"f","parameters":{"x":"\\ud800"}}}'
    carried = structs.replace(request, body=request.body | {"tools": Raw(b"[%b]" % tool)})

    with pytest.raises(FaultError) as caught:
        ADAPTER.build_request(carried, target_of(), "")

    assert caught.value.fault.outcome is Outcome.INVALID_REQUEST
