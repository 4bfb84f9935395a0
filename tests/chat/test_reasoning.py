"""One wish for reasoning from several fields, and answers without it."""

import json
from typing import Any

import pytest

from gateway.chat.decode import decode_chat_request
from gateway.chat.dialects import Dialect
from gateway.chat.reasoning import Reasoning, hide_reasoning
from gateway.chat.request import ChatRequest
from gateway.domain.errors import InvalidRequestError


def request(**members: Any) -> ChatRequest:
    body = {"model": "m", "messages": [{"role": "user", "content": "x"}], **members}
    return decode_chat_request(json.dumps(body).encode(), dialect=Dialect.OPENAI)


@pytest.mark.parametrize(
    ("members", "wish"),
    [
        ({}, None),
        ({"reasoning": {}}, None),
        ({"reasoning_effort": "low"}, Reasoning(effort="low")),
        ({"reasoning": {"effort": "low"}}, Reasoning(effort="low")),
        ({"reasoning": {"effort": "low"}, "reasoning_effort": "low"}, Reasoning(effort="low")),
        ({"reasoning": {"summary": "auto"}, "reasoning_effort": "low"},
         Reasoning(effort="low", summary="auto")),
        ({"reasoning": {"effort": "low", "max_tokens": 5}}, Reasoning(max_tokens=5)),
        ({"reasoning": {"enabled": True}}, Reasoning(effort="medium")),
        ({"reasoning": {"enabled": True, "effort": "high"}}, Reasoning(effort="high")),
        ({"reasoning": {"enabled": False}}, Reasoning(effort="none")),
        ({"reasoning_effort": "none"}, Reasoning(effort="none")),
        ({"reasoning": {"exclude": True}}, Reasoning(is_excluded=True)),
        ({"include_reasoning": False}, Reasoning(is_excluded=True)),
        ({"include_reasoning": True}, None),
        ({"include_reasoning": False, "reasoning": {"effort": "low"}},
         Reasoning(effort="low", is_excluded=True)),
    ],
)  # fmt: skip
def test_fields_make_one_wish(members: dict[str, Any], wish: Reasoning | None) -> None:
    result = request(**members)

    assert result.reasoning == wish
    assert result.warnings == ()


@pytest.mark.parametrize(
    ("members", "words"),
    [
        (
            {"reasoning_effort": "low", "reasoning": {"effort": "high"}},
            "`reasoning_effort` and `reasoning.effort` differ",
        ),
        (
            {"include_reasoning": True, "reasoning": {"exclude": True}},
            "`include_reasoning` and `reasoning.exclude` differ",
        ),
    ],
)
def test_contradictions_are_refused(members: dict[str, Any], words: str) -> None:
    with pytest.raises(InvalidRequestError, match=words):
        request(**members)


def test_switching_off_wins_with_a_warning() -> None:
    result = request(reasoning={"enabled": False, "max_tokens": 9})

    assert result.reasoning == Reasoning(effort="none")
    assert "`reasoning.enabled` is false" in result.warnings[0]


def hidden(choices: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return json.loads(hide_reasoning(json.dumps(choices).encode()))


NOTHING: list[Any] = []
THOUGHTS: dict[str, Any] = {
    "reasoning": "hm",
    "reasoning_content": "hm",
    "reasoning_details": [{"type": "reasoning.text", "text": "hm"}],
}


def test_reasoning_leaves_a_whole_answer() -> None:
    message: dict[str, Any] = {"role": "assistant", "content": "4", "annotations": []}

    choices = hidden([{"index": 0, "message": message | THOUGHTS, "finish_reason": "stop"}])

    assert choices == [{"index": 0, "message": message, "finish_reason": "stop"}]


def test_a_whole_answer_without_words_still_has_its_message() -> None:
    choices = hidden([{"index": 0, "message": THOUGHTS, "finish_reason": None}])

    assert choices == [{"index": 0, "message": {}, "finish_reason": None}]


@pytest.mark.parametrize(
    ("delta", "reason", "left"),
    [
        (THOUGHTS, None, None),
        (THOUGHTS | {"content": ""}, None, None),
        (THOUGHTS | {"content": None, "tool_calls": NOTHING}, None, None),
        (THOUGHTS | {"role": "assistant"}, None, {"role": "assistant"}),
        (THOUGHTS | {"content": "4"}, None, {"content": "4"}),
        (THOUGHTS, "stop", {}),
    ],
)
def test_chunks_of_reasoning_alone_need_not_be_sent(
    delta: dict[str, Any], reason: str | None, left: dict[str, Any] | None
) -> None:
    choices = hidden([{"index": 0, "delta": delta, "finish_reason": reason}])

    assert choices == (
        [] if left is None else [{"index": 0, "delta": left, "finish_reason": reason}]
    )


def test_chunks_without_reasoning_come_back_byte_for_byte() -> None:
    chunk = b'[ {"index":0,"delta":{"content":""},"finish_reason":null} ]'

    assert hide_reasoning(chunk) is chunk
