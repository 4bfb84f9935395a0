"""Signatures of tool calls, kept for clients that drop them."""

import json
from typing import Any
from uuid import UUID

from gateway.chat.request import Signature
from gateway.execution.signatures import Signatures
from tests.pipeline.rig import chat_request

KEY, OTHER = UUID(int=1), UUID(int=2)


def said(call_id: str, data: str = "c2lnbmVk", where: str = "message") -> bytes:
    detail = {"type": "reasoning.encrypted", "id": call_id, "data": data, "format": "maker"}
    return json.dumps([{"index": 0, where: {"reasoning_details": [detail]}}]).encode()


def body_with(*call_ids: str) -> dict[str, Any]:
    results = [{"role": "tool", "tool_call_id": one, "content": "42"} for one in call_ids]
    return chat_request(messages=[{"role": "user", "content": "x"}, *results]).body


def test_what_was_said_to_a_key_is_known_again_by_its_calls() -> None:
    signatures = Signatures()
    signatures.note(KEY, said("call_1"))
    signatures.note(KEY, said("call_2", where="delta"))

    known = Signature("maker", "c2lnbmVk")
    assert signatures.recall(KEY, body_with("call_1", "call_2", "call_3")) == {
        "call_1": known,
        "call_2": known,
    }
    assert signatures.recall(OTHER, body_with("call_1")) == {}
    assert signatures.recall(KEY, {}) == {}


def test_it_is_bounded_in_number_and_bytes() -> None:
    few = Signatures(most=2)
    for number in range(5):
        few.note(KEY, said(f"call_{number}"))
    small = Signatures(most_bytes=25)
    for number in range(5):
        small.note(KEY, said(f"call_{number}", "x" * 10))
    small.note(KEY, said("call_4", "y" * 20))
    small.note(KEY, said("call_5", "z" * 70_000))

    assert set(few.recall(KEY, body_with("call_2", "call_3", "call_4"))) == {"call_3", "call_4"}
    assert set(small.recall(KEY, body_with("call_3", "call_4", "call_5"))) == {"call_4"}
    assert len(small) == 1


def test_answers_without_signatures_are_not_even_read() -> None:
    signatures = Signatures()
    signatures.note(KEY, b"not JSON at all")
    assert len(signatures) == 0
