"""A Messages request becomes the chat request that asks for the same."""

import json
from typing import Any

import pytest

from gateway.chat.dialects import Dialect
from gateway.chat.messages_api.read import decode_messages_request
from gateway.chat.request import ChatRequest
from gateway.domain.errors import InvalidRequestError


def read(**members: Any) -> ChatRequest:
    asked: dict[str, Any] = {
        "model": "claude-sonnet-4.5",
        "max_tokens": 100,
        "messages": [{"role": "user", "content": "Hello"}],
    }
    return decode_messages_request(json.dumps(asked | members).encode(), headers={})


def messages_of(request: ChatRequest) -> list[dict[str, Any]]:
    return json.loads(bytes(request.body["messages"]))


def member(request: ChatRequest, name: str) -> Any:
    return json.loads(bytes(request.body[name]))


def turns(*contents: Any) -> list[dict[str, Any]]:
    roles = ("user", "assistant")
    return [{"role": roles[i % 2], "content": content} for i, content in enumerate(contents)]


def test_the_cap_the_stops_and_the_sampling_are_the_same() -> None:
    request = read(temperature=0.5, top_p=0.9, top_k=40, stop_sequences=["END"], stream=True)

    assert request.dialect is Dialect.ANTHROPIC
    assert request.max_output_tokens == 100
    assert request.stream
    assert member(request, "temperature") == 0.5
    assert member(request, "top_k") == 40
    assert member(request, "stop") == ["END"]


def test_the_system_prompt_becomes_the_first_message_with_its_cache_marks() -> None:
    mark = {"type": "ephemeral", "ttl": "1h"}
    request = read(system=[{"type": "text", "text": "Be brief.", "cache_control": mark}])

    assert messages_of(request)[0] == {
        "role": "system",
        "content": [{"type": "text", "text": "Be brief.", "cache_control": mark}],
    }


def test_calls_and_their_results_are_joined_by_id_results_before_text() -> None:
    request = read(
        tools=[{"name": "measure", "input_schema": {"type": "object"}}],
        messages=turns(
            "How far?",
            [
                {"type": "text", "text": "Let me see."},
                {"type": "tool_use", "id": "t1", "name": "measure", "input": {"a": 1}},
                {"type": "tool_use", "id": "t2", "name": "measure", "input": {}},
            ],
            [
                {"type": "text", "text": "There."},
                {"type": "tool_result", "tool_use_id": "t1", "content": "one"},
                {
                    "type": "tool_result",
                    "tool_use_id": "t2",
                    "is_error": True,
                    "content": [{"type": "text", "text": "two"}],
                },
            ],
        ),
    )

    _, called, first, second, said = messages_of(request)
    assert called["content"] == "Let me see."
    assert [call["id"] for call in called["tool_calls"]] == ["t1", "t2"]
    assert json.loads(called["tool_calls"][0]["function"]["arguments"]) == {"a": 1}
    assert first == {"role": "tool", "tool_call_id": "t1", "content": "one"}
    assert second == {"role": "tool", "tool_call_id": "t2", "content": "two", "is_error": True}
    assert said == {"role": "user", "content": "There."}


def test_thoughts_keep_their_signature_and_where_it_is_from() -> None:
    request = read(
        messages=turns(
            "Why?",
            [
                {"type": "thinking", "thinking": "Since", "signature": "abc"},
                {"type": "thinking", "thinking": "so", "signature": "tollway:google-gemini-v1:x:y"},
                {"type": "redacted_thinking", "data": "hidden"},
                {"type": "text", "text": "Because."},
            ],
            "Go on",
        )
    )

    details = messages_of(request)[1]["reasoning_details"]
    assert [detail["type"] for detail in details] == [
        "reasoning.text",
        "reasoning.text",
        "reasoning.encrypted",
    ]
    assert (details[0]["format"], details[0]["signature"]) == ("anthropic-claude-v1", "abc")
    assert (details[1]["format"], details[1]["signature"]) == ("google-gemini-v1", "x:y")
    assert details[2]["data"] == "hidden"


def test_pictures_and_documents_are_what_a_chat_has_for_them() -> None:
    request = read(
        messages=turns(
            [
                {
                    "type": "image",
                    "source": {"type": "base64", "media_type": "image/webp", "data": "QUJD"},
                },
                {"type": "image", "source": {"type": "url", "url": "https://example.com/a.png"}},
                {
                    "type": "document",
                    "title": "tolls.pdf",
                    "source": {
                        "type": "base64",
                        "media_type": "application/pdf",
                        "data": "JVBERi0=",
                    },
                },
            ]
        )
    )

    inline, linked, document = messages_of(request)[0]["content"]
    assert inline["image_url"]["url"] == "data:image/webp;base64,QUJD"
    assert linked["image_url"]["url"] == "https://example.com/a.png"
    assert document["file"]["filename"] == "tolls.pdf"
    assert {"vision", "pdf_input"} <= request.needs


@pytest.mark.parametrize(
    ("sent", "expected"),
    [
        ({"type": "auto"}, "auto"),
        ({"type": "any"}, "required"),
        ({"type": "none"}, "none"),
        ({"type": "tool", "name": "m"}, {"type": "function", "function": {"name": "m"}}),
    ],
)
def test_a_choice_among_tools_is_carried(sent: Any, expected: Any) -> None:
    tools = [{"name": "m", "input_schema": {"type": "object"}}]
    request = read(tools=tools, tool_choice=sent | {"disable_parallel_tool_use": True})

    assert member(request, "tool_choice") == expected
    assert member(request, "parallel_tool_calls") is False


def test_a_search_of_anthropics_is_a_wish_for_any_providers_search() -> None:
    request = read(
        tools=[{"type": "web_search_20250305", "name": "web_search", "max_uses": 3}],
    )

    assert request.web_search is not None
    assert request.web_search.max_uses == 3


def test_thinking_is_a_budget_an_effort_or_off() -> None:
    budget = read(max_tokens=4000, thinking={"type": "enabled", "budget_tokens": 2000}).reasoning
    adaptive = read(thinking={"type": "adaptive"}, output_config={"effort": "max"}).reasoning
    off = read(thinking={"type": "disabled"}).reasoning

    assert budget is not None
    assert budget.max_tokens == 2000
    assert adaptive is not None
    assert adaptive.effort == "max"
    assert off is not None
    assert off.is_off


def test_a_schema_for_the_answer_is_a_response_format() -> None:
    schema: dict[str, Any] = {"type": "object", "additionalProperties": False}
    request = read(output_config={"format": {"type": "json_schema", "schema": schema}})

    assert member(request, "response_format")["json_schema"]["schema"] == schema
    assert "structured_outputs" in request.needs


def test_routing_members_of_a_chat_are_understood() -> None:
    request = read(models=["gpt-4o"], provider={"only": ["openai"]}, session_id="s1")

    assert request.models == ("claude-sonnet-4.5", "gpt-4o")
    assert request.provider.only == ("openai",)
    assert request.session_id == "s1"


def test_who_the_request_is_for_is_its_user() -> None:
    assert read(metadata={"user_id": "u-1"}).user == "u-1"


def test_what_cannot_be_passed_on_is_said() -> None:
    request = read(
        context_management={"edits": []},
        messages=turns(
            "Look it up",
            [
                {"type": "server_tool_use", "id": "s1", "name": "web_search", "input": {"q": 1}},
                {"type": "web_search_tool_result", "tool_use_id": "s1", "content": []},
                {"type": "text", "text": "Found."},
            ],
            "Thanks",
        ),
    )

    said = " ".join(request.warnings)
    assert "context_management" in said
    assert "web_search_tool_result" in said
    assert messages_of(request)[1] == {"role": "assistant", "content": "Found."}


WRONG: list[tuple[dict[str, Any], str]] = [
    ({"max_tokens": None}, "max_tokens"),
    ({"max_tokens": 0}, "max_tokens"),
    ({"messages": []}, "messages"),
    ({"messages": [{"role": "system", "content": "x"}]}, "messages.0.role"),
    ({"temperature": 1.5}, "temperature"),
    ({"stop_sequences": ["a", "b", "c", "d", "e"]}, "stop_sequences"),
    ({"messages": turns([{"type": "video"}])}, "messages.0.content.0"),
    ({"messages": turns([{"type": "image"}])}, "messages.0.content.0.source"),
    (
        {"messages": turns([{"type": "image", "source": {"type": "file", "file_id": "f"}}])},
        "messages.0.content.0.source",
    ),
    ({"messages": turns([{"type": "tool_result"}])}, "messages.0.content.0.tool_use_id"),
    ({"messages": turns("a", [{"type": "image"}])}, "messages.1.content.0"),
    ({"messages": turns("a", [{"type": "tool_use", "id": "t"}])}, "messages.1.content.0"),
    ({"tools": [{"name": "bash", "type": "bash_20250124"}]}, "tools.0.type"),
    ({"tools": [{"name": "measure"}]}, "tools.0.input_schema"),
    (
        {
            "tools": [{"name": "m", "input_schema": {}}],
            "tool_choice": {"type": "tool"},
        },
        "tool_choice.name",
    ),
    ({"thinking": {"type": "enabled"}}, "thinking.budget_tokens"),
    ({"thinking": {"type": "enabled", "budget_tokens": 2000}}, "thinking.budget_tokens"),
    ({"mcp_servers": [{"url": "https://example.com"}]}, "mcp_servers"),
    ({"provider": {"onyl": []}}, "provider.onyl"),
]


@pytest.mark.parametrize(("members", "param"), WRONG)
def test_a_wrong_member_is_named(members: dict[str, Any], param: str) -> None:
    with pytest.raises(InvalidRequestError) as caught:
        read(**members)

    assert caught.value.param == param
