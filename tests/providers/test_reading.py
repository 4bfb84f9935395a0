"""Conversations become turns that every protocol accepts."""

from typing import Any

from hypothesis import HealthCheck, given, settings
from msgspec import Raw, json

from gateway.providers.translation.reading import NO_RESULT, read_arguments, read_conversation
from gateway.providers.translation.turns import (
    PLACEHOLDER,
    AssistantTurn,
    Conversation,
    ImagePart,
    TextPart,
    UserTurn,
)
from tests.properties import many
from tests.providers.conversations import JPEG_CALLED_PNG, bodies, to_request


def read(*messages: dict[str, Any]) -> tuple[Conversation, list[str]]:
    warnings: list[str] = []
    return read_conversation(Raw(json.encode(messages)), warnings), warnings


def called(*ids: str) -> dict[str, Any]:
    calls = [
        {"id": id_, "type": "function", "function": {"name": f"f_{n}", "arguments": "{}"}}
        for n, id_ in enumerate(ids)
    ]
    return {"role": "assistant", "content": None, "tool_calls": calls}


def result(id_: str, content: str) -> dict[str, Any]:
    return {"role": "tool", "tool_call_id": id_, "content": content}


@settings(
    max_examples=many(150),
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
)
@given(bodies())
def test_any_conversation_becomes_alternating_turns_whose_calls_are_answered(
    body: dict[str, Any],
) -> None:
    conversation = read_conversation(to_request(body).body["messages"], [])

    assert isinstance(conversation.turns[0], UserTurn)
    ids: list[str] = []
    for number, turn in enumerate(conversation.turns):
        following = conversation.turns[number + 1 : number + 2]
        assert all(type(turn) is not type(after) for after in following)
        if isinstance(turn, AssistantTurn):
            assert turn.parts or turn.calls
            ids += [call.id for call in turn.calls]
            answered = [
                one.call_id
                for after in following
                if isinstance(after, UserTurn)
                for one in after.results
            ]
            assert answered == [call.id for call in turn.calls]
        else:
            assert turn.results or turn.parts
    assert len(ids) == len(set(ids))


def test_parallel_results_are_one_turn_in_the_order_of_the_calls_before_any_text() -> None:
    conversation, warnings = read(
        {"role": "user", "content": "Both, please"},
        called("a", "b"),
        result("b", "second"),
        {"role": "user", "content": "Well?"},
        result("a", "first"),
    )

    turn = conversation.turns[2]
    assert isinstance(turn, UserTurn)
    assert [one.text for one in turn.results] == ["first", "second"]
    assert [one.name for one in turn.results] == ["f_0", "f_1"]
    assert turn.parts == (TextPart(text="Well?"),)
    assert warnings == []


def test_a_call_without_a_result_gets_one_and_a_result_without_a_call_goes() -> None:
    conversation, warnings = read(
        {"role": "user", "content": "Go"}, called("a"), result("nobody", "42")
    )

    turn = conversation.turns[2]
    assert isinstance(turn, UserTurn)
    assert [(one.text, one.is_error, one.is_missing) for one in turn.results] == [
        (NO_RESULT, True, True)
    ]
    assert len(warnings) == 2


def test_system_texts_are_lifted_in_their_order() -> None:
    conversation, _ = read(
        {"role": "system", "content": "One"},
        {"role": "user", "content": "Hello"},
        {"role": "developer", "content": [{"type": "text", "text": "Two"}]},
    )

    assert conversation.system == (TextPart(text="One"), TextPart(text="Two"))
    assert len(conversation.turns) == 1


def test_blank_texts_go_and_neighbours_of_a_role_are_one_turn() -> None:
    conversation, _ = read(
        {"role": "user", "content": "One"},
        {"role": "assistant", "content": "  "},
        {
            "role": "user",
            "content": [{"type": "text", "text": ""}, {"type": "text", "text": "Two"}],
        },
    )

    assert conversation.turns == (UserTurn(parts=(TextPart(text="One"), TextPart(text="Two"))),)


def test_a_conversation_that_begins_with_the_assistant_gets_a_user_before_it() -> None:
    conversation, _ = read(
        {"role": "assistant", "content": "Welcome"}, {"role": "user", "content": "Hi"}
    )

    assert conversation.turns[0] == UserTurn(parts=(TextPart(text=PLACEHOLDER),))


def test_ids_that_occur_twice_or_hold_odd_characters_are_made_fit() -> None:
    conversation, _ = read(
        {"role": "user", "content": "Go"},
        called("functions.f:0"),
        result("functions.f:0", "one"),
        called("functions.f:0"),
        result("functions.f:0", "two"),
    )

    calls = [
        c for turn in conversation.turns if isinstance(turn, AssistantTurn) for c in turn.calls
    ]
    assert [call.sent_id for call in calls] == ["functions.f:0", "functions.f:0"]
    assert calls[0].id != calls[1].id
    last = conversation.turns[-1]
    assert isinstance(last, UserTurn)
    assert last.results[0].text == "two"


def test_names_are_told_only_where_there_is_somebody_to_tell_apart() -> None:
    alone, _ = read({"role": "user", "name": "ada", "content": "Hi"})
    several, _ = read(
        {"role": "user", "name": "ada", "content": "Hi"},
        {"role": "user", "name": "bob", "content": "Ho"},
    )

    assert alone.turns[0] == UserTurn(parts=(TextPart(text="Hi"),))
    assert several.turns[0] == UserTurn(parts=(TextPart(text="ada: Hi"), TextPart(text="bob: Ho")))


def test_an_image_has_the_type_that_its_bytes_say() -> None:
    conversation, _ = read(
        {
            "role": "user",
            "content": [{"type": "image_url", "image_url": {"url": JPEG_CALLED_PNG}}],
        }
    )

    (part,) = conversation.turns[0].parts
    assert isinstance(part, ImagePart)
    assert part.media_type == "image/jpeg"


def test_arguments_are_an_object_whatever_the_model_wrote() -> None:
    sent = ["", "null", '{"a":1}', '"{\\"a\\":1}"', "no", "[1]", {"a": 1}, None]

    read_ = [bytes(read_arguments(one)) for one in sent]

    assert read_ == [
        b"{}",
        b"{}",
        b'{"a":1}',
        b'{"a":1}',
        b'{"_raw":"no"}',
        b'{"_raw":"[1]"}',
        b'{"a":1}',
        b"{}",
    ]
