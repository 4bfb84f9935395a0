"""Wrapped unions mean the same as plain ones."""

import json
from typing import Any

import pytest

from gateway.chat.decode import decode_chat_request
from gateway.chat.dialects import Dialect
from gateway.chat.unwrap import has_unions
from gateway.domain.errors import InvalidRequestError
from gateway.providers.base import Quirks, Target
from gateway.providers.openai import OpenAIAdapter
from pricing.catalogue import Endpoint

NOTHING: dict[str, Any] = {}
HELLO: list[dict[str, Any]] = [{"role": "user", "content": "hello"}]
TARGET = Target(
    endpoint=Endpoint(id="acme/one", provider="acme", provider_model="one", model="acme/one"),
    base_url="http://127.0.0.1:9/v1",
    quirks=Quirks(accepts_allowed_tools=True, accepts_developer_role=True),
)
FUNCTION = {"name": "f", "parameters": {"type": "object", "properties": {"OfText": NOTHING}}}
PLAIN_TOOL = {"type": "function", "function": FUNCTION}
GRAMMAR = {"type": "grammar", "grammar": {"definition": "a", "syntax": "lark"}}
NAMED = {"type": "function", "function": {"name": "f"}}


def upstream(dialect: Dialect = Dialect.OPENAI, **members: Any) -> dict[str, Any]:
    body = json.dumps({"model": "m", "messages": HELLO, **members}).encode()
    request = decode_chat_request(body, dialect=dialect)
    return json.loads(OpenAIAdapter().build_request(request, TARGET, "").body)


@pytest.mark.parametrize("dialect", tuple(Dialect))
@pytest.mark.parametrize(
    ("wrapped", "plain"),
    [
        pytest.param({"stop": {"OfString": "x"}}, {"stop": "x"}, id="stop"),
        pytest.param(
            {"stop": {"OfStringArray": ["x", "y"], "OfString": None}},
            {"stop": ["x", "y"]},
            id="stops",
        ),
        pytest.param({"stop": {"OfString": None, "OfStringArray": None}}, {}, id="none-set"),
        pytest.param(
            {"response_format": {"OfJSONObject": {"type": "json_object"}}},
            {"response_format": {"type": "json_object"}},
            id="json-object",
        ),
        pytest.param(
            {"response_format": {"OfJSONObject": NOTHING}},
            {"response_format": {"type": "json_object"}},
            id="constant-not-sent",
        ),
        pytest.param(
            {
                "response_format": {
                    "OfJSONSchema": {"json_schema": {"name": "s", "schema": NOTHING}}
                }
            },
            {
                "response_format": {
                    "type": "json_schema",
                    "json_schema": {"name": "s", "schema": NOTHING},
                }
            },
            id="json-schema",
        ),
        pytest.param(
            {"tools": [{"OfFunction": {"function": FUNCTION}}, PLAIN_TOOL]},
            {"tools": [PLAIN_TOOL, PLAIN_TOOL]},
            id="tools",
        ),
        pytest.param(
            {"tools": [{"OfCustom": {"custom": {"name": "n", "format": {"OfGrammar": GRAMMAR}}}}]},
            {"tools": [{"type": "custom", "custom": {"name": "n", "format": GRAMMAR}}]},
            id="custom-tool",
        ),
        pytest.param(
            {"tools": [PLAIN_TOOL], "tool_choice": {"OfAuto": "required"}},
            {"tools": [PLAIN_TOOL], "tool_choice": "required"},
            id="tool-choice-word",
        ),
        pytest.param(
            {
                "tools": [PLAIN_TOOL],
                "tool_choice": {"OfFunctionToolChoice": {"function": {"name": "f"}}},
            },
            {"tools": [PLAIN_TOOL], "tool_choice": NAMED},
            id="tool-choice",
        ),
        pytest.param(
            {
                "tools": [PLAIN_TOOL],
                "tool_choice": {
                    "OfAllowedTools": {
                        "allowed_tools": {"mode": "auto", "tools": [{"OfFunction": NAMED}]}
                    }
                },
            },
            {
                "tools": [PLAIN_TOOL],
                "tool_choice": {
                    "type": "allowed_tools",
                    "allowed_tools": {"mode": "auto", "tools": [NAMED]},
                },
            },
            id="allowed-tools",
        ),
        pytest.param(
            {"prediction": {"type": "content", "content": {"OfString": "x"}}},
            {"prediction": {"type": "content", "content": "x"}},
            id="prediction",
        ),
        pytest.param(
            {
                "prediction": {
                    "type": "content",
                    "content": {"OfArrayOfContentParts": [{"type": "text", "text": "x"}]},
                }
            },
            {"prediction": {"type": "content", "content": [{"type": "text", "text": "x"}]}},
            id="prediction-parts",
        ),
        pytest.param(
            {
                "messages": [
                    {"OfDeveloper": {"content": {"OfString": "be brief"}}},
                    {
                        "OfUser": {
                            "role": "user",
                            "content": {
                                "OfArrayOfContentParts": [
                                    {"OfText": {"text": "hi"}},
                                    {"OfImageURL": {"image_url": {"url": "https://x/y.png"}}},
                                ]
                            },
                        }
                    },
                ]
            },
            {
                "messages": [
                    {"role": "developer", "content": "be brief"},
                    {
                        "role": "user",
                        "content": [
                            {"type": "text", "text": "hi"},
                            {"type": "image_url", "image_url": {"url": "https://x/y.png"}},
                        ],
                    },
                ]
            },
            id="messages",
        ),
    ],
)
def test_wrapped_and_plain_unions_become_the_same_body(
    wrapped: dict[str, Any], plain: dict[str, Any], dialect: Dialect
) -> None:
    assert upstream(dialect, **wrapped) == upstream(dialect, **plain)


def test_text_and_schemas_that_look_wrapped_stay_as_they_are() -> None:
    members: dict[str, Any] = {
        "messages": [{"role": "user", "content": 'say {"OfString": "x"}'}],
        "tools": [PLAIN_TOOL],
    }

    assert upstream(**members) == {"model": "one", **members}


def test_only_members_are_taken_for_variants() -> None:
    assert has_unions(b'{"stop": {"OfString": "x"}}')
    assert has_unions(b'{"stop":{ "OfString":null,\n"OfStringArray":[]}}')
    assert not has_unions(b'{"messages":[{"content":"she said, \\"Of course\\""}]}')
    assert not has_unions(b'{"messages":[{"content":"Of course"}]}')


def test_two_variants_at_once_are_refused() -> None:
    with pytest.raises(InvalidRequestError) as caught:
        upstream(stop={"OfString": "x", "OfStringArray": ["y"]})

    assert caught.value.param == "stop"
    assert "`OfString` and `OfStringArray`" in caught.value.message
