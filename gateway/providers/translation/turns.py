"""A conversation as a translator needs it: system texts, then turns of user and assistant.

Turns alternate and begin with the user. Every call of an assistant is answered in the turn after
it. Texts are never blank. `read_conversation` makes it so, whatever a client sent.
"""

from typing import Literal

import msgspec
from msgspec import Raw

PLACEHOLDER = "."
"""Stands where a protocol demands text and the client sent none."""

Ttl = Literal["5m", "1h"]


class CacheMark(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """``cache_control``: what stands up to here is worth keeping. None leaves the time to them."""

    ttl: Ttl | None = None


class TextPart(msgspec.Struct, frozen=True, kw_only=True, gc=False, tag=True):
    """Text that is not blank."""

    text: str
    cache: CacheMark | None = None


class ImagePart(msgspec.Struct, frozen=True, kw_only=True, gc=False, tag=True):
    """An image: base64 ``data`` with its true media type, or the address of a remote one."""

    media_type: str | None = None
    data: str | None = None
    url: str | None = None
    detail: str | None = None
    cache: CacheMark | None = None


class AudioPart(msgspec.Struct, frozen=True, kw_only=True, gc=False, tag=True):
    """Sound as base64; ``format`` is a word such as wav or mp3."""

    format: str
    data: str
    cache: CacheMark | None = None

    @property
    def media_type(self) -> str:
        return {"mp3": "audio/mpeg", "pcm16": "audio/pcm"}.get(self.format, f"audio/{self.format}")


class VideoPart(msgspec.Struct, frozen=True, kw_only=True, gc=False, tag=True):
    """A video: base64 ``data`` with its media type, or the address of a remote one."""

    media_type: str | None = None
    data: str | None = None
    url: str | None = None
    cache: CacheMark | None = None


class FilePart(msgspec.Struct, frozen=True, kw_only=True, gc=False, tag=True):
    """A document: base64 ``data``, the address of a remote one, or the provider's own id of one."""

    filename: str | None = None
    media_type: str | None = None
    data: str | None = None
    url: str | None = None
    file_id: str | None = None
    cache: CacheMark | None = None


Part = TextPart | ImagePart | AudioPart | VideoPart | FilePart


class ReasoningDetail(msgspec.Struct, frozen=True, kw_only=True, gc=False, omit_defaults=True):
    """One of ``reasoning_details``, as clients get it and send it back."""

    type: str
    """``reasoning.text``, ``reasoning.summary`` or ``reasoning.encrypted``."""
    text: str | None = None
    summary: str | None = None
    data: str | None = None
    signature: str | None = None
    id: str | None = None
    format: str | None = None
    """Who made it; a signature is good there alone."""
    index: int | None = None


class ToolCall(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """A call that the assistant made."""

    id: str
    """Unique in the conversation, and of the form that every protocol accepts (`WIRE_ID`)."""
    sent_id: str
    """As the client calls it."""
    name: str
    arguments: Raw
    """A JSON object; what is none is wrapped as ``{"_raw": text}``, and free text as ``input``."""


class ToolResult(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """What a call came to. Without parts it said nothing."""

    call_id: str
    """The `ToolCall.id` that it answers."""
    sent_id: str
    name: str
    """Of the function, from its call."""
    parts: tuple[Part, ...] = ()
    is_error: bool = False
    is_missing: bool = False
    """The client sent no result; ``parts`` say so."""
    cache: CacheMark | None = None

    @property
    def text(self) -> str:
        """All text of it; empty when there is none."""
        return "\n".join(part.text for part in self.parts if isinstance(part, TextPart))


class UserTurn(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """Results first, in the order of the calls, one for each; then what the user says."""

    results: tuple[ToolResult, ...] = ()
    parts: tuple[Part, ...] = ()


class AssistantTurn(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """What the model said: text, images, then calls."""

    parts: tuple[TextPart | ImagePart, ...] = ()
    calls: tuple[ToolCall, ...] = ()
    reasoning: str | None = None
    """Only the text of it, as clients send it that know nothing of details."""
    reasoning_details: tuple[ReasoningDetail, ...] = ()


Turn = UserTurn | AssistantTurn


class Conversation(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """System texts in their order, then at least one turn; the first is the user's."""

    system: tuple[TextPart, ...] = ()
    turns: tuple[Turn, ...]

    @property
    def is_prefilled(self) -> bool:
        """The last turn is the assistant's: the answer is to go on from there."""
        return isinstance(self.turns[-1], AssistantTurn)

    @property
    def has_calls(self) -> bool:
        """Whether tools were called, so that protocols demand their definitions."""
        return any(isinstance(turn, AssistantTurn) and turn.calls for turn in self.turns)

    @property
    def begins_loop_at(self) -> int:
        """The index of the first turn of the tool loop that is under way.

        It follows the last turn without results; to thinking models all of it is one answer.
        """
        for index in range(len(self.turns) - 1, -1, -1):
            turn = self.turns[index]
            if isinstance(turn, UserTurn) and not turn.results:
                return index + 1
        return 0
