"""Our request as one OpenAI-compatible endpoint gets it."""

import json
from collections.abc import Callable
from typing import Any

import pytest

from gateway.chat.decode import decode_chat_request
from gateway.chat.dialects import Dialect
from gateway.chat.request import ChatRequest
from gateway.providers.base import Target
from gateway.providers.openai import OpenAIAdapter
from gateway.providers.registry import PROFILES, SUPPORTED_PROTOCOLS, adapter_for, quirks_of
from gateway.providers.usage import USAGE_FLAVOURS

ADAPTER = OpenAIAdapter(user_agent="tollway/test")
MakeTarget = Callable[..., Target]
HELLO: list[dict[str, Any]] = [{"role": "user", "content": "hello"}]


def make_request(**members: Any) -> ChatRequest:
    body = {"model": "acme/one", "messages": HELLO, **members}
    return decode_chat_request(json.dumps(body).encode(), dialect=Dialect.OPENAI)


def sent(request: ChatRequest, target: Target) -> dict[str, Any]:
    return json.loads(ADAPTER.build_request(request, target, "k").body)


def test_the_wire_request_is_complete(target: Target) -> None:
    wire = ADAPTER.build_request(make_request(temperature=0.5), target, "secret")

    assert (wire.method, wire.url) == ("POST", "http://127.0.0.1:9/v1/chat/completions")
    assert wire.headers == [
        ("Content-Type", "application/json"),
        ("Accept", "application/json"),
        ("Accept-Encoding", "identity"),
        ("User-Agent", "tollway/test"),
        ("Authorization", "Bearer secret"),
    ]
    assert json.loads(wire.body) == {"model": "native-1", "messages": HELLO, "temperature": 0.5}
    assert "secret" not in repr(wire)


def test_no_credential_is_sent_where_none_is_needed(target: Target) -> None:
    wire = ADAPTER.build_request(make_request(), target, "")

    assert "Authorization" not in dict(wire.headers)


def test_the_credential_goes_into_the_header_of_the_quirks(make_target: MakeTarget) -> None:
    target = make_target(auth_header="api-key", auth_prefix="", extra_headers=(("X-A", "b"),))

    headers = dict(ADAPTER.build_request(make_request(), target, "k").headers)

    assert headers["api-key"] == "k"
    assert headers["X-A"] == "b"
    assert "Authorization" not in headers


def test_members_of_routing_are_not_sent(target: Target) -> None:
    request = make_request(
        models=["x"],
        provider={"only": ["acme"]},
        session_id="s",
        metadata={"a": "b"},
        debug={"x": 1},
        route="fallback",
        plugins=[{"id": "web", "enabled": False}],
    )

    assert sent(request, target) == {"model": "native-1", "messages": HELLO}


def test_metadata_is_sent_only_to_be_stored(target: Target) -> None:
    body = sent(make_request(metadata={"a": "b"}, store=True), target)

    assert body["metadata"] == {"a": "b"}


def test_unknown_members_pass_byte_for_byte(target: Target) -> None:
    raw = b'{"messages":[{"role":"user","content":"\\u00e9"}],"tomorrow":{"x":1.10,"y":null}}'
    request = decode_chat_request(raw, dialect=Dialect.OPENAI)

    body = ADAPTER.build_request(request, target, "k").body

    assert b'"tomorrow":{"x":1.10,"y":null}' in body
    assert b'"content":"\\u00e9"' in body


def test_the_token_cap_has_the_name_that_the_service_knows(make_target: MakeTarget) -> None:
    newer = make_target(max_tokens_field="max_completion_tokens")
    older = make_target()

    for request in (make_request(max_tokens=5), make_request(max_completion_tokens=5)):
        assert "max_tokens" not in sent(request, newer)
        assert sent(request, newer)["max_completion_tokens"] == 5
        assert "max_completion_tokens" not in sent(request, older)
        assert sent(request, older)["max_tokens"] == 5


def test_streams_always_ask_for_usage(make_target: MakeTarget) -> None:
    request = make_request(stream=True, stream_options={"include_obfuscation": False})

    body = sent(request, make_target(accepts_obfuscation=True))

    assert body["stream"] is True
    assert body["stream_options"] == {"include_obfuscation": False, "include_usage": True}
    assert sent(request, make_target())["stream_options"] == {"include_usage": True}
    assert "stream_options" not in sent(request, make_target(sends_stream_options=False))
    assert sent(make_request(stream=True), make_target())["stream_options"] == {
        "include_usage": True
    }


def test_stream_options_without_a_stream_are_left_out(target: Target) -> None:
    request = make_request(stream=False, stream_options={"include_usage": True})

    assert sent(request, target) == {"model": "native-1", "messages": HELLO}


def test_developers_become_systems_where_they_are_unknown(make_target: MakeTarget) -> None:
    messages = [{"role": "developer", "content": 'say "developer"'}, *HELLO]

    body = sent(make_request(messages=messages), make_target())
    kept = sent(make_request(messages=messages), make_target(accepts_developer_role=True))

    assert body["messages"] == [{"role": "system", "content": 'say "developer"'}, *HELLO]
    assert kept["messages"] == messages


def test_nulls_inside_messages_are_not_sent_except_content(target: Target) -> None:
    calls = [{"id": "c", "type": "function", "function": {"name": "f", "arguments": "{}"}}]
    answer = {
        "role": "assistant",
        "content": None,
        "refusal": None,
        "audio": None,
        "tool_calls": calls,
    }
    messages = [*HELLO, answer, {"role": "tool", "tool_call_id": "c", "content": "null"}]

    body = sent(make_request(messages=messages), target)

    assert body["messages"][1] == {"role": "assistant", "content": None, "tool_calls": calls}
    assert body["messages"][2]["content"] == "null"


def test_what_other_services_answered_with_is_taken_out(make_target: MakeTarget) -> None:
    messages = [*HELLO, {"role": "assistant", "content": "reasoning", "reasoning": "hm"}, *HELLO]
    target = make_target(refused_message_members=frozenset({"reasoning"}))

    body = sent(make_request(messages=messages), target)

    assert body["messages"] == [*HELLO, {"role": "assistant", "content": "reasoning"}, *HELLO]


def test_what_an_endpoint_is_known_to_refuse_is_dropped_with_a_warning(
    make_target: MakeTarget,
) -> None:
    target = make_target(
        capabilities={"temperature": False, "reasoning": False},
        refused_parameters=frozenset({"logit_bias"}),
    )
    request = make_request(temperature=1, reasoning_effort="low", logit_bias={"1": 2}, top_p=0.5)

    wire = ADAPTER.build_request(request, target, "k")

    assert set(json.loads(wire.body)) == {"model", "messages", "top_p"}
    assert len(wire.warnings) == 3
    assert all("acme/native-1" in warning for warning in wire.warnings)


def test_unknown_capabilities_drop_nothing(make_target: MakeTarget) -> None:
    target = make_target(capabilities={"temperature": True})

    assert ADAPTER.build_request(make_request(temperature=1, seed=3), target, "k").warnings == ()


@pytest.mark.parametrize(
    ("reasoning", "effort"),
    [
        ({"effort": "high"}, "high"),
        ({"enabled": True}, "medium"),
        ({"enabled": False}, "none"),
        ({"max_tokens": 1000}, "low"),
        ({"max_tokens": 5000, "effort": "low"}, "medium"),
        ({"max_tokens": 20000}, "high"),
        ({"exclude": True}, None),
    ],
)
def test_the_reasoning_object_becomes_an_effort(
    target: Target, reasoning: dict[str, Any], effort: str | None
) -> None:
    body = sent(make_request(reasoning=reasoning), target)

    assert body.get("reasoning_effort") == effort
    assert "reasoning" not in body


def test_the_reasoning_object_passes_where_it_is_understood(make_target: MakeTarget) -> None:
    body = sent(
        make_request(reasoning={"max_tokens": 9}), make_target(accepts_reasoning_object=True)
    )

    assert body["reasoning"] == {"max_tokens": 9}
    assert "reasoning_effort" not in body


def test_tools_pass_byte_for_byte(target: Target) -> None:
    tools = [{"type": "function", "function": {"name": "f", "parameters": {"x": None}}}]

    body = sent(make_request(tools=tools, tool_choice="auto"), target)

    assert body["tools"] == tools
    assert body["tool_choice"] == "auto"


@pytest.mark.parametrize("provider", sorted(PROFILES))
def test_every_profile_makes_a_request(make_target: MakeTarget, provider: str) -> None:
    quirks = quirks_of(provider)
    target = make_target(
        provider=provider, **{name: getattr(quirks, name) for name in quirks.__struct_fields__}
    )

    body = sent(make_request(stream=True, max_tokens=3), target)

    assert quirks.usage_flavour in USAGE_FLAVOURS
    assert body["model"] == "native-1"
    assert body[quirks.max_tokens_field] == 3


def test_every_supported_protocol_has_an_adapter() -> None:
    for protocol in SUPPORTED_PROTOCOLS:
        assert adapter_for(protocol)
    with pytest.raises(ValueError, match=r"'smtp'.*openai"):
        adapter_for("smtp")


MARK = {"type": "ephemeral"}
MARKED: list[dict[str, Any]] = [
    {"role": "user", "content": [{"type": "text", "text": "cache_control", "cache_control": MARK}]},
    {
        "role": "assistant",
        "tool_calls": [
            {"id": "c", "type": "function", "function": {"name": "measure", "arguments": "{}"}}
        ],
    },
    {"role": "tool", "tool_call_id": "c", "content": "no", "is_error": True, "cache_control": MARK},
]
MARKED_TOOLS: list[dict[str, Any]] = [
    {
        "type": "function",
        "function": {"name": "measure", "parameters": {"type": "object"}},
        "cache_control": MARK,
    }
]


def test_marks_of_a_prompt_cache_are_taken_out_where_they_would_be_refused(target: Target) -> None:
    body = sent(make_request(messages=MARKED, tools=MARKED_TOOLS), target)

    assert body["messages"][0]["content"] == [{"type": "text", "text": "cache_control"}]
    assert body["messages"][2] == {"role": "tool", "tool_call_id": "c", "content": "no"}
    assert "cache_control" not in body["tools"][0]


def test_marks_of_a_prompt_cache_reach_services_that_understand_them(
    make_target: MakeTarget,
) -> None:
    target = make_target(accepts_cache_control=True)
    body = sent(make_request(messages=MARKED, tools=MARKED_TOOLS), target)

    assert body["messages"][0]["content"][0]["cache_control"] == MARK
    assert body["tools"][0]["cache_control"] == MARK
