"""Canonical finish reasons."""

import pytest

from gateway.chat.finish import to_finish_reason


@pytest.mark.parametrize(
    ("native", "reason"),
    [
        (None, None),
        ("", None),
        ("stop", "stop"),
        ("STOP", "stop"),
        ("eos", "stop"),
        ("end_turn", "stop"),
        ("something_new", "stop"),
        ("length", "length"),
        ("max_tokens", "length"),
        ("MAX_TOKENS", "length"),
        ("model_length", "length"),
        ("tool_call", "tool_calls"),
        ("function_call", "function_call"),
        ("content_filter", "content_filter"),
        ("SAFETY", "content_filter"),
        ("insufficient_system_resource", "error"),
        ("error", "error"),
    ],
)
def test_native_words_become_ours(native: str | None, reason: str | None) -> None:
    assert to_finish_reason(native) == reason


def test_stop_after_tool_calls_means_tool_calls() -> None:
    assert to_finish_reason("stop", has_tool_calls=True) == "tool_calls"
    assert to_finish_reason("length", has_tool_calls=True) == "length"
