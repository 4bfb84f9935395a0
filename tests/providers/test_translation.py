"""What all translators share: budgets, efforts, schemas, and chunks written by hand."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec import Raw

from gateway.chat.reasoning import Reasoning
from gateway.providers.translation.structure import strict_schema
from gateway.providers.translation.thinking import SHARES, budget_for, effort_for
from gateway.providers.translation.turns import ReasoningDetail
from gateway.providers.translation.writing import (
    Choice,
    ChunkWriter,
    Message,
    make_call,
    reasoning_tail,
    render_choices,
    size_of,
)
from pricing.endpoint import EFFORTS, Thinking
from tests.providers.conversations import REFERRING_SCHEMA, SCHEMA

wishes = st.one_of(
    st.sampled_from([*SHARES, "odd"]).map(lambda effort: Reasoning(effort=effort)),
    st.integers(1, 200_000).map(lambda tokens: Reasoning(max_tokens=tokens)),
)


@given(
    wish=wishes,
    max_tokens=st.integers(1, 300_000),
    least=st.integers(1, 2048),
    most=st.integers(2048, 200_000),
)
def test_a_budget_and_a_cap_are_always_a_valid_pair(
    wish: Reasoning, max_tokens: int, least: int, most: int
) -> None:
    budget = budget_for(
        wish, max_tokens, Thinking(style="budget", min_tokens=least, max_tokens=most)
    )

    if budget is None:
        assert max_tokens <= least
    else:
        assert least <= budget <= most
        assert budget < max_tokens


@pytest.mark.parametrize(
    ("effort", "budget"),
    [("minimal", 4000), ("low", 8000), ("medium", 20_000), ("high", 32_000), ("xhigh", 38_000)],
)
def test_an_effort_is_a_share_of_the_largest_answer(effort: str, budget: int) -> None:
    assert budget_for(Reasoning(effort=effort), 40_000) == budget


@given(
    word=st.sampled_from([word for word in EFFORTS if word != "none"]),
    efforts=st.lists(st.sampled_from(EFFORTS), unique=True, min_size=1).map(
        lambda words: tuple(sorted(words, key=EFFORTS.index))
    ),
)
def test_none_is_never_the_answer_to_a_wish_to_think(word: str, efforts: tuple[str, ...]) -> None:
    taken = effort_for(Reasoning(effort=word), efforts)

    assert taken in efforts
    assert taken != "none" or efforts == ("none",)
    assert word not in efforts or taken == word


def test_a_wished_budget_becomes_the_word_of_the_nearest_share() -> None:
    assert effort_for(Reasoning(max_tokens=9000), ("low", "medium", "high"), 10_000) == "high"
    assert effort_for(Reasoning(max_tokens=2500), ("low", "medium", "high"), 10_000) == "low"


KEYWORDS = frozenset({"minLength", "minimum", "maximum", "maxItems", "$schema"})


def closed(schema: dict[str, Any]) -> dict[str, Any] | None:
    made = strict_schema(Raw(json.dumps(schema).encode()), KEYWORDS, frozenset({"date"}))
    return None if made is None else json.loads(bytes(made))


def test_every_object_of_a_strict_schema_is_closed_and_what_is_dropped_is_told() -> None:
    made = closed(SCHEMA)
    referring = closed(REFERRING_SCHEMA)

    assert made is not None
    assert referring is not None
    assert made["properties"]["city"] == {"type": "string", "description": "Where (minLength: 1)"}
    assert made["properties"]["unit"] == {"enum": ["C", "F"], "default": "C"}
    assert referring["additionalProperties"] is False
    assert referring["$defs"]["place"]["additionalProperties"] is False
    assert "$schema" not in referring


@pytest.mark.parametrize(
    "schema",
    [
        pytest.param({"type": "object", "properties": {"a": {"$ref": "#"}}}, id="itself"),
        pytest.param(
            {"$ref": "#/$defs/a", "$defs": {"a": {"items": {"$ref": "#/$defs/a"}}}}, id="a-part"
        ),
        pytest.param({"type": "object"}, id="any-object"),
        pytest.param({"type": "object", "additionalProperties": {"type": "string"}}, id="a-map"),
    ],
)
def test_what_cannot_be_closed_is_not_made_strict(schema: dict[str, Any]) -> None:
    assert closed(schema) is None


texts = st.text(st.characters(codec="utf-8"), max_size=30)


@given(texts)
def test_chunks_are_json_whatever_the_text(text: str) -> None:
    writer = ChunkWriter(2)
    chunks = [
        writer.text(text),
        writer.refusal(text),
        writer.reasoning_piece(text, reasoning_tail("acme-v1", 3)),
        writer.reasoning(text, ReasoningDetail(type="reasoning.text", text=text)),
        writer.call(0, text, text),
        writer.arguments(0, text),
        writer.finish("stop", text),
    ]

    choices = [json.loads(chunk)[0] for chunk in chunks]

    assert {choice["index"] for choice in choices} == {2}
    deltas = [choice["delta"] for choice in choices]
    assert deltas[0] == {"role": "assistant", "content": text}
    assert deltas[1] == {"content": None, "refusal": text}
    assert deltas[2] == {
        "reasoning": text,
        "reasoning_details": [
            {"type": "reasoning.text", "text": text, "format": "acme-v1", "index": 3}
        ],
    }
    assert deltas[4]["tool_calls"][0]["function"] == {"name": text, "arguments": ""}
    assert deltas[5]["tool_calls"] == [{"index": 0, "function": {"arguments": text}}]
    assert choices[-1] | {"index": 0} == {
        "index": 0,
        "delta": {},
        "finish_reason": "stop",
        "native_finish_reason": text,
    }


def test_a_stream_that_only_finishes_names_its_role() -> None:
    assert json.loads(ChunkWriter().finish("stop", None)) == [
        {
            "index": 0,
            "delta": {"role": "assistant"},
            "finish_reason": "stop",
            "native_finish_reason": None,
        }
    ]


def test_a_whole_choice_holds_only_what_was_said() -> None:
    said = Message(content=None, tool_calls=[make_call("c", "f", "")])

    choices = render_choices([Choice(index=0, message=said, finish_reason="tool_calls")])

    assert json.loads(choices) == [
        {
            "index": 0,
            "message": {
                "role": "assistant",
                "content": None,
                "tool_calls": [
                    {"id": "c", "type": "function", "function": {"name": "f", "arguments": "{}"}}
                ],
            },
            "finish_reason": "tool_calls",
        }
    ]
    assert size_of(said) == 3
