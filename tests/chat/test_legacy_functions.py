"""Functions, the older form of tools, into tools and back."""

import json
from typing import Any

import pytest

from gateway.chat.decode import decode_chat_request
from gateway.chat.dialects import Dialect
from gateway.chat.legacy_functions import to_legacy_choices
from gateway.chat.request import ChatRequest
from gateway.domain.errors import InvalidRequestError

HELLO: list[dict[str, Any]] = [{"role": "user", "content": "hello"}]
F = {"name": "f"}
CALL = {"name": "f", "arguments": '{"x":1}'}
TOOL_CALL = {"id": "c1", "type": "function", "function": CALL}
OTHER_CALL = {"id": "c2", "type": "function", "function": {"name": "g", "arguments": "{}"}}


def request(**members: Any) -> ChatRequest:
    body = {"model": "m", "messages": HELLO, **members}
    return decode_chat_request(json.dumps(body).encode(), dialect=Dialect.FASTAPI)


def body_of(result: ChatRequest) -> dict[str, Any]:
    return {name: json.loads(bytes(raw)) for name, raw in result.body.items()}


def test_functions_become_tools_and_are_remembered() -> None:
    result = request(functions=[F], function_call={"name": "f"})

    assert result.uses_legacy_functions
    assert result.needs == {"tools"}
    assert result.parameters == {"tools", "tool_choice"}
    assert body_of(result)["tools"] == [{"type": "function", "function": F}]
    assert body_of(result)["tool_choice"] == {"type": "function", "function": F}


def test_no_functions_are_no_tools() -> None:
    result = request(functions=[], function_call="none")

    assert set(result.body) == {"model", "messages"}


def test_tools_are_not_the_older_form() -> None:
    assert not request(tools=[{"type": "function", "function": F}]).uses_legacy_functions
    assert not request(functions=None, function_call=None).uses_legacy_functions


@pytest.mark.parametrize(
    "members",
    [
        {"functions": [F], "tools": [{"type": "function", "function": F}]},
        {"functions": [F], "function_call": "auto", "tool_choice": "auto"},
    ],
)
def test_both_forms_at_once_are_refused(members: dict[str, Any]) -> None:
    with pytest.raises(InvalidRequestError) as caught:
        request(**members)

    assert "two forms of the same thing" in caught.value.message


def test_answers_belong_to_the_latest_call_of_their_name() -> None:
    messages = [
        *HELLO,
        {"role": "assistant", "content": None, "function_call": CALL},
        {"role": "function", "name": "f", "content": "1"},
        {"role": "assistant", "content": "hm", "function_call": CALL},
        {"role": "function", "name": "f", "content": None},
        {"role": "function", "name": "unasked", "content": "3"},
        {"role": "assistant", "content": "done", "function_call": None},
    ]

    sent = body_of(request(messages=messages))["messages"]

    def called(number: int) -> list[dict[str, Any]]:
        return [{"id": f"call_{number}", "type": "function", "function": CALL}]

    assert sent == [
        *HELLO,
        {"role": "assistant", "content": None, "tool_calls": called(1)},
        {"role": "tool", "content": "1", "tool_call_id": "call_1"},
        {"role": "assistant", "content": "hm", "tool_calls": called(3)},
        {"role": "tool", "content": "", "tool_call_id": "call_3"},
        {"role": "tool", "content": "3", "tool_call_id": "call_5"},
        {"role": "assistant", "content": "done"},
    ]


@pytest.mark.parametrize(
    ("message", "param"),
    [
        ({"role": "user", "content": "x", "function_call": CALL}, "messages.0.function_call"),
        ({"role": "assistant", "function_call": F}, "messages.0.function_call.arguments"),
        ({"role": "function", "content": "x"}, "messages.0.name"),
    ],
)
def test_wrong_messages_are_refused_by_name(message: dict[str, Any], param: str) -> None:
    with pytest.raises(InvalidRequestError) as caught:
        request(messages=[message])

    assert caught.value.param == param


def turned(choices: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return json.loads(to_legacy_choices(json.dumps(choices).encode()))


def test_a_whole_answer_turns_back() -> None:
    message = {"role": "assistant", "content": None, "refusal": None}
    choices = [
        {
            "index": 0,
            "message": message | {"tool_calls": [TOOL_CALL]},
            "logprobs": None,
            "finish_reason": "tool_calls",
        },
        {"index": 1, "message": message | {"content": "x"}, "finish_reason": "stop"},
    ]

    assert turned(choices) == [
        {
            "index": 0,
            "message": message | {"function_call": CALL},
            "logprobs": None,
            "finish_reason": "function_call",
        },
        choices[1],
    ]


def test_more_calls_than_the_older_form_holds_stay_tool_calls() -> None:
    choices = [{"message": {"tool_calls": [TOOL_CALL, OTHER_CALL]}, "finish_reason": "tool_calls"}]

    assert turned(choices) == [
        {
            "message": {"tool_calls": [OTHER_CALL], "function_call": CALL},
            "finish_reason": "function_call",
        }
    ]


def test_chunks_turn_back_one_by_one() -> None:
    first = {"index": 0, "id": "c1", "type": "function", "function": {"name": "f", "arguments": ""}}
    more = {"index": 0, "function": {"arguments": '{"x"'}}
    second = {"index": 1, "id": "c2", "function": {"name": "g", "arguments": ""}}

    def chunk(*calls: dict[str, Any], reason: str | None = None) -> list[dict[str, Any]]:
        return [{"index": 0, "delta": {"tool_calls": list(calls)}, "finish_reason": reason}]

    assert turned(chunk(first))[0]["delta"] == {"function_call": {"name": "f", "arguments": ""}}
    assert turned(chunk(more))[0]["delta"] == {"function_call": {"arguments": '{"x"'}}
    assert turned(chunk(second))[0]["delta"] == {"tool_calls": [second]}
    last: list[dict[str, Any]] = [{"index": 0, "delta": {}, "finish_reason": "tool_calls"}]
    assert turned(last)[0]["finish_reason"] == "function_call"


def test_answers_without_calls_come_back_byte_for_byte() -> None:
    choices = b'[ {"index":0,"delta":{"content":"x"},"finish_reason":null} ]'

    assert to_legacy_choices(choices) is choices
