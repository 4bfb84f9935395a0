"""Finish reasons: the words that providers use, and the few that our clients know."""

from typing import Final

FINISH_REASONS: Final = frozenset(
    {"stop", "length", "tool_calls", "content_filter", "error", "function_call"}
)
"""What an answer may end with; ``function_call`` is the legacy form of ``tool_calls``."""

_CANONICAL: Final[dict[str, str]] = {
    "eos": "stop",
    "eos_token": "stop",
    "end_turn": "stop",
    "stop_sequence": "stop",
    "completed": "stop",
    "complete": "stop",
    "done": "stop",
    "finished": "stop",
    "end": "stop",
    "max_tokens": "length",
    "max_output_tokens": "length",
    "model_length": "length",
    "model_context_window_exceeded": "length",
    "max_length": "length",
    "token_limit": "length",
    "tool_call": "tool_calls",
    "tool_use": "tool_calls",
    "safety": "content_filter",
    "recitation": "content_filter",
    "blocklist": "content_filter",
    "prohibited_content": "content_filter",
    "spii": "content_filter",
    "refusal": "content_filter",
    "sensitive": "content_filter",
    "guardrail_intervened": "content_filter",
    # DeepSeek's word for running out of capacity in mid-answer.
    "insufficient_system_resource": "error",
    "network_error": "error",
    "malformed_function_call": "error",
    "abort": "error",
    "engine_overloaded": "error",
}


def to_finish_reason(native: str | None, *, has_tool_calls: bool = False) -> str | None:
    """The canonical finish reason; None while there is none (absent, ``null`` or empty).

    An unknown word means that the answer ended, so it becomes ``stop``. An answer with tool calls
    that says ``stop`` means ``tool_calls``.
    """
    if not native:
        return None
    reason = native if native in FINISH_REASONS else _CANONICAL.get(native.lower())
    if reason is None:
        lowered = native.lower()
        reason = lowered if lowered in FINISH_REASONS else "stop"
    if reason == "stop" and has_tool_calls:
        return "tool_calls"
    return reason
