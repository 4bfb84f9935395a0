"""Choices in our shape: canonical finish reasons, ``reasoning``, tool arguments as text.

Most answers need no change, and then the provider's own bytes are passed on. Only what differs is
taken apart.
"""

import msgspec
from msgspec import Raw

from gateway.chat.finish import to_finish_reason
from gateway.providers.tool_deltas import ToolCalls, ToolDelta, arguments_as_text

Members = dict[str, Raw]

_ENCODER = msgspec.json.Encoder()
_CHOICES = msgspec.json.Decoder(list[Members])
_MEMBERS = msgspec.json.Decoder(Members)
_CALLS = msgspec.json.Decoder(list[Members])
_NULL = Raw(b"null")
_ABSENT = Raw()


class Said(msgspec.Struct, kw_only=True, gc=False):
    """What a message or a delta holds, as far as it matters here."""

    content: str | list[Raw] | None = None
    reasoning: str | Members | None = None
    reasoning_content: str | None = None
    reasoning_details: list[Raw] | None = None
    refusal: str | None = None
    tool_calls: list[ToolDelta] | None = None
    function_call: Members | None = None
    audio: Members | None = None
    images: list[Raw] | None = None


class Choice(msgspec.Struct, kw_only=True, gc=False):
    """One choice of an answer or of a chunk."""

    index: int | None = None
    message: Said | None = None
    delta: Said | None = None
    finish_reason: str | None = None
    error: Raw = _ABSENT


CHOICES = msgspec.json.Decoder(list[Choice])


def has_error(choice: Choice) -> bool:
    """Whether the choice is an error in disguise."""
    error = choice.error
    return (error is not _ABSENT and error != _NULL) or choice.finish_reason == "error"


def is_content(said: Said) -> bool:
    """Whether this is something a client may already have shown."""
    return bool(
        said.content
        or said.reasoning
        or said.reasoning_content
        or said.tool_calls
        or said.refusal
        or said.audio
        or said.function_call
        or said.images
        or said.reasoning_details
    )


def text_bytes(said: Said) -> int:
    """UTF-8 bytes of generated text, tool arguments included."""
    total = 0
    for text in (said.content, said.reasoning or said.reasoning_content, said.refusal):
        if isinstance(text, str):
            total += len(text) if text.isascii() else len(text.encode())
    for call in said.tool_calls or ():
        if call.function is not None:
            total += len(call.function.name or "") + len(memoryview(call.function.arguments))
        elif call.custom is not None:
            total += len(call.custom.name or "") + len((call.custom.input or "").encode())
    return total


def is_in_our_shape(choice: Choice, said: Said, reason: str | None) -> bool:
    """Whether a choice can be passed on as it came."""
    native = choice.finish_reason
    return (native == reason or (not native and reason is None)) and (
        said.reasoning_content is None or said.reasoning is not None
    )


def rewrite_answer(choices: bytes | Raw, reasons: list[str], natives: list[str | None]) -> bytes:
    """Choices of a whole answer with the given finish reasons."""
    members = _CHOICES.decode(choices)
    for choice, reason, native in zip(members, reasons, natives, strict=True):
        _set_reason(choice, reason, native)
        message = _MEMBERS.decode(choice["message"])
        _alias_reasoning(message)
        calls = message.get("tool_calls")
        if calls is not None and calls != _NULL:
            message["tool_calls"] = _calls_with_text(calls)
        choice["message"] = Raw(_ENCODER.encode(message))
    return _ENCODER.encode(members)


def _calls_with_text(raw: Raw) -> Raw:
    calls = _CALLS.decode(raw)
    for call in calls:
        function = call.get("function")
        if function is not None and function != _NULL:
            members = _MEMBERS.decode(function)
            if "arguments" in members:
                members["arguments"] = arguments_as_text(members["arguments"])
            call["function"] = Raw(_ENCODER.encode(members))
    return Raw(_ENCODER.encode(calls))


class ChoiceState:
    """What a stream has seen of one choice."""

    __slots__ = ("calls", "is_finished", "seed")

    def __init__(self, seed: str) -> None:
        self.calls: ToolCalls | None = None
        self.is_finished = False
        self.seed = seed

    def place_calls(self, deltas: list[ToolDelta]) -> list[Members] | None:
        """New members for each piece, by its position; None when all can stay as they are."""
        if self.calls is None:
            self.calls = ToolCalls(self.seed)
        placements = [self.calls.place(delta) for delta in deltas]
        if all(placement.is_as_sent for placement in placements):
            return None
        changes: list[Members] = []
        for delta, placement in zip(deltas, placements, strict=True):
            change: Members = {"index": Raw(b"%d" % placement.index)}
            if placement.new_id is not None:
                change["id"] = Raw(_ENCODER.encode(placement.new_id))
                change["type"] = Raw(b'"function"' if delta.custom is None else b'"custom"')
            changes.append(change)
        return changes

    def finish_reason(self, native: str | None) -> str | None:
        """The canonical reason; remembers that there was one."""
        reason = to_finish_reason(native, has_tool_calls=self.calls is not None)
        if reason is not None:
            self.is_finished = True
        return reason


def rewrite_chunk(
    choices: bytes | Raw,
    reasons: list[str | None],
    natives: list[str | None],
    changes: list[list[Members] | None],
) -> bytes:
    """Choices of a chunk with the given finish reasons and tool-call members."""
    members = _CHOICES.decode(choices)
    for choice, reason, native, calls in zip(members, reasons, natives, changes, strict=True):
        _set_reason(choice, reason, native)
        # Some services send whole messages as chunks.
        message = choice.pop("message", _NULL)
        raw = choice.get("delta", _NULL)
        raw = message if raw == _NULL else raw
        delta = {} if raw == _NULL else _MEMBERS.decode(raw)
        _alias_reasoning(delta)
        if calls is not None:
            pieces = _CALLS.decode(delta["tool_calls"])
            for piece, change in zip(pieces, calls, strict=True):
                _change_piece(piece, change)
            delta["tool_calls"] = Raw(_ENCODER.encode(pieces))
        choice["delta"] = Raw(_ENCODER.encode(delta))
    return _ENCODER.encode(members)


def _change_piece(piece: Members, change: Members) -> None:
    piece.update(change)
    function = piece.get("function")
    if function is not None and function != _NULL:
        members = _MEMBERS.decode(function)
        if "arguments" in members:
            members["arguments"] = arguments_as_text(members["arguments"])
        piece["function"] = Raw(_ENCODER.encode(members))


def _set_reason(choice: Members, reason: str | None, native: str | None) -> None:
    choice["finish_reason"] = _NULL if reason is None else Raw(_ENCODER.encode(reason))
    if native and native != reason:
        choice["native_finish_reason"] = Raw(_ENCODER.encode(native))


def _alias_reasoning(said: Members) -> None:
    """``reasoning_content`` (DeepSeek, Qwen, vLLM, Moonshot) also under the name that ours use."""
    text = said.get("reasoning_content")
    if text is not None and text != _NULL and said.get("reasoning", _NULL) == _NULL:
        said["reasoning"] = text
