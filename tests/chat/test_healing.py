"""Answers that should be JSON and nearly are."""

import json
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from gateway.chat.decode import decode_chat_request
from gateway.chat.dialects import Dialect
from gateway.chat.healing import FENCE, MAX_CHARACTERS, PROSE, heal, heal_choices
from gateway.chat.json_repair import (
    BARE_KEYS,
    COMMENTS,
    CUT,
    ESCAPES,
    MISSING_COMMAS,
    SINGLE_QUOTES,
    TRAILING_COMMAS,
    WORDS,
)
from gateway.chat.schema_check import find_misfit
from tests.properties import many

CITY = {
    "type": "object",
    "properties": {"city": {"type": "string"}, "people": {"type": "integer"}},
    "required": ["city"],
    "additionalProperties": False,
}


@pytest.mark.parametrize(
    ("text", "value", "repairs"),
    [
        pytest.param('```json\n{"a": 1}\n```', {"a": 1}, {FENCE}, id="fence"),
        pytest.param('```\n{"a": 1}', {"a": 1}, {FENCE}, id="fence-left-open"),
        pytest.param('Sure! {"a": 1} Done.', {"a": 1}, {PROSE}, id="prose"),
        pytest.param(
            'Here:\n```json\n{"a": "```x```"}\n```\nBye',
            {"a": "```x```"},
            {FENCE, PROSE},
            id="both",
        ),
        pytest.param('{"a": [1, 2,], }', {"a": [1, 2]}, {TRAILING_COMMAS}, id="trailing-commas"),
        pytest.param('{a: 1, b_c: "x"}', {"a": 1, "b_c": "x"}, {BARE_KEYS}, id="bare-keys"),
        pytest.param("{'a': 'it\"s'}", {"a": 'it"s'}, {SINGLE_QUOTES}, id="single-quotes"),
        pytest.param(
            "{'a': 'it\\'s'}", {"a": "it's"}, {SINGLE_QUOTES, ESCAPES}, id="escaped-quote"
        ),
        pytest.param("{“a”: “b”}", {"a": "b"}, {SINGLE_QUOTES}, id="curly-quotes"),
        pytest.param('{"a": 1 "b": 2}', {"a": 1, "b": 2}, {MISSING_COMMAS}, id="missing-comma"),
        pytest.param('{"a": "x\ny"}', {"a": "x\ny"}, {ESCAPES}, id="line-break"),
        pytest.param('{"a": "\\d+"}', {"a": "\\d+"}, {ESCAPES}, id="stray-backslash"),
        pytest.param('{"a": True, "b": None}', {"a": True, "b": None}, {WORDS}, id="python-words"),
        pytest.param(
            '{"a": 1, // one\n /* two */ "u": "http://x"}',
            {"a": 1, "u": "http://x"},
            {COMMENTS},
            id="comments",
        ),
        pytest.param('{"a": "hel', {"a": "hel"}, {CUT}, id="cut-in-text"),
        pytest.param('{"a": [1, {"b": 2', {"a": [1, {"b": 2}]}, {CUT}, id="cut-in-depth"),
        pytest.param('{"a": 1, "b', {"a": 1}, {CUT}, id="cut-in-key"),
        pytest.param('{"a": 1, "b":', {"a": 1}, {CUT}, id="cut-before-value"),
        pytest.param('{"a": 1, "b": tr', {"a": 1, "b": True}, {CUT}, id="cut-in-word"),
        pytest.param('{"a": 1, "b": 12.', {"a": 1, "b": 12}, {CUT}, id="cut-in-number"),
        pytest.param('{"a": [1, -', {"a": [1]}, {CUT}, id="cut-at-minus"),
        pytest.param('{"a": "x\\u00', {"a": "x"}, {CUT}, id="cut-in-escape"),
        pytest.param('{"a": "x\\', {"a": "x"}, {CUT}, id="cut-at-backslash"),
        pytest.param('[{"a": 1]', [{"a": 1}], {CUT}, id="left-open-inside"),
        pytest.param(
            "Sure:\n```json\n{name: 'Bo', tags: ['x', 'y',], \"n\": 1\n```",
            {"name": "Bo", "tags": ["x", "y"], "n": 1},
            {FENCE, PROSE, BARE_KEYS, SINGLE_QUOTES, TRAILING_COMMAS, CUT},
            id="all-at-once",
        ),
        pytest.param(
            'Use {name} like this: {"a": 1,}', {"a": 1}, {PROSE, TRAILING_COMMAS}, id="braces-first"
        ),
        pytest.param('{"a": {"b": 1}, }', {"a": {"b": 1}}, {TRAILING_COMMAS}, id="outermost-wins"),
    ],
)
def test_nearly_json_is_repaired_and_told(text: str, value: object, repairs: set[str]) -> None:
    healed = heal(text, None)

    assert json.loads(healed.text) == value
    assert set(healed.repairs) == repairs
    assert healed.problem is None


@pytest.mark.parametrize("text", ['{"a": 1}', " [1, 2]\n", '"x"', "3", '{"a": 1.10, "b": 1e400}'])
def test_json_is_never_touched(text: str) -> None:
    assert heal(text, None).text == text
    assert heal(text, None).repairs == ()


def test_numbers_are_copied_digit_by_digit() -> None:
    healed = heal('{"a": 123456789012345678901234567890.10,}', None)

    assert healed.text == '{"a":123456789012345678901234567890.10}'


@pytest.mark.parametrize("text", ["", "hello", "{", "a [see] b", "{x}", "[" * 500, "{NaN: NaN}"])
def test_what_is_no_json_stays_as_it_is(text: str) -> None:
    healed = heal(text, CITY)

    assert healed.text in {text, "{}"}
    assert healed.problem is not None


def test_the_value_that_fits_the_schema_is_chosen() -> None:
    text = 'From [1]: {"note": "x"} and {"city": "Graz", "people": 3,}'

    healed = heal(text, CITY)

    assert json.loads(healed.text) == {"city": "Graz", "people": 3}
    assert healed.problem is None


def test_json_that_does_not_fit_is_told() -> None:
    assert heal('{"people": 1}', CITY).problem == "`city` is missing"
    assert heal("{'city': 1}", CITY).problem == "`city` is not of the type string"


def test_very_long_answers_are_left_alone() -> None:
    text = '{"a": "' + "x" * MAX_CHARACTERS + '",}'

    assert heal(text, None).text == text


@pytest.mark.parametrize(
    ("value", "schema", "misfit"),
    [
        ({"city": "x"}, CITY, None),
        ({"city": "x", "zip": 1}, CITY, "`zip` is not allowed"),
        ({"city": "x", "people": 1.5}, CITY, "`people` is not of the type integer"),
        ({"city": "x", "people": 2.0}, CITY, None),
        (True, {"type": "integer"}, "the answer is not of the type integer"),
        (None, {"type": ["string", "null"]}, None),
        (["a", 1], {"items": {"type": "string"}}, "`1` is not of the type string"),
        ("c", {"enum": ["a", "b"]}, "the answer is not one of 'a', 'b'"),
        (True, {"enum": [1]}, "the answer is not one of 1"),
        (2, {"const": 1}, "the answer is not one of 1"),
        ({"a": 1}, {"additionalProperties": {"type": "string"}}, "`a` is not of the type string"),
        ({"a": 1}, {"properties": [], "required": "a", "type": 3, "items": 5}, None),
        (1, True, None),
        (1, False, "the answer is not allowed"),
    ],
)
def test_misfits_are_named(value: object, schema: object, misfit: str | None) -> None:
    assert find_misfit(value, schema) == misfit


def request(**members: Any) -> Any:
    body = {"model": "m", "messages": [{"role": "user", "content": "x"}], **members}
    return decode_chat_request(json.dumps(body).encode(), dialect=Dialect.OPENROUTER)


HEALING = [{"id": "response-healing"}]
SCHEMA = {"type": "json_schema", "json_schema": {"name": "city", "schema": CITY}}


def test_every_choice_is_healed_and_everything_else_is_kept() -> None:
    choices: list[dict[str, Any]] = [
        {"index": 0, "message": {"role": "assistant", "content": '{"city": "Graz"}'}},
        {"index": 1, "message": {"role": "assistant", "content": "{'city': 'Linz',}", "x": 1}},
        {"index": 2, "message": {"role": "assistant", "content": None}},
        {"index": 3, "message": {"role": "assistant", "content": "{", "tool_calls": [{"id": "c"}]}},
        {"index": 4, "message": {"role": "assistant", "content": "no"}},
    ]

    healed = heal_choices(
        json.dumps(choices).encode(), request(response_format=SCHEMA, plugins=HEALING)
    )

    choices[1]["message"]["content"] = '{"city":"Linz"}'
    assert json.loads(healed.choices) == choices
    assert healed.notes == (
        f"choice 1: {SINGLE_QUOTES}",
        f"choice 1: {TRAILING_COMMAS}",
        "choice 4 is still not what was asked for: the answer holds no JSON that could be repaired",
    )


def test_json_objects_must_be_objects() -> None:
    choices = b'[{"message":{"content":"see [1]: {\\"a\\":1}"}}]'

    healed = heal_choices(choices, request(response_format={"type": "json_object"}))

    assert json.loads(healed.choices)[0]["message"]["content"] == '{"a":1}'


def test_good_choices_come_back_byte_for_byte() -> None:
    choices = b'[ {"message": {"content": "{}"}} ]'

    healed = heal_choices(choices, request(response_format={"type": "json_object"}))

    assert healed.choices is choices
    assert healed.notes == ()


def test_the_plugin_applies_to_whole_json_answers_alone() -> None:
    assert request(response_format=SCHEMA, plugins=HEALING).heals_response
    for members in ({}, {"response_format": SCHEMA, "stream": True}):
        result = request(plugins=HEALING, **members)
        assert not result.heals_response
        assert "response-healing" in result.warnings[0]
    off = request(response_format=SCHEMA, plugins=[{"id": "response-healing", "enabled": False}])
    assert not off.heals_response
    assert off.warnings == ()


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=8),
    lambda inner: (
        st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=6), inner, max_size=4)
    ),
    max_leaves=12,
)


@given(value=st.dictionaries(st.text(max_size=5), JSON, min_size=1, max_size=4), data=st.data())
@settings(max_examples=many(150))
def test_every_beginning_of_an_object_is_healed(value: dict[str, Any], data: st.DataObject) -> None:
    text = json.dumps(value, ensure_ascii=data.draw(st.booleans()))
    cut = data.draw(st.integers(1, len(text)))

    healed = heal(text[:cut], {"type": "object"})

    assert healed.problem is None
    assert set(json.loads(healed.text)) <= set(value)


@given(text=st.text(alphabet="{}[]\",':abtruefalsn01.-e\\ /*`\n", max_size=40))
@example("{'a':'\\")
@settings(max_examples=many(300))
def test_any_text_is_healed_to_json_or_left_alone(text: str) -> None:
    healed = heal(text, None)

    if healed.problem is None:
        json.loads(healed.text)
    else:
        assert healed.text == text
