"""What choices in the chat shape say, read for a client of the Messages API."""

import msgspec
from msgspec import Raw

from gateway.chat.messages_api.signatures import to_signature

_STOP_REASONS = {
    "stop": "end_turn",
    "length": "max_tokens",
    "tool_calls": "tool_use",
    "function_call": "tool_use",
    "content_filter": "refusal",
}


class Detail(msgspec.Struct, kw_only=True, gc=False):
    """One piece of ``reasoning_details``."""

    type: str = ""
    text: str | None = None
    summary: str | None = None
    signature: str | None = None
    data: str | None = None
    format: str | None = None


class Function(msgspec.Struct, kw_only=True, gc=False):
    """The function of a call, whole or in part."""

    name: str | None = None
    arguments: str | None = None


class Call(msgspec.Struct, kw_only=True, gc=False):
    """A call, whole or in part."""

    index: int = 0
    id: str | None = None
    function: Function | None = None


class Cited(msgspec.Struct, kw_only=True, gc=False):
    """A page that an answer rests on."""

    url: str | None = None
    title: str | None = None


class Annotation(msgspec.Struct, kw_only=True, gc=False):
    """A note to an answer."""

    type: str = ""
    url_citation: Cited | None = None


class Said(msgspec.Struct, kw_only=True, gc=False):
    """A message or a delta."""

    content: str | None = None
    refusal: str | None = None
    reasoning: str | None = None
    reasoning_content: str | None = None
    reasoning_details: list[Detail] | None = None
    tool_calls: list[Call] | None = None
    annotations: list[Annotation] | None = None

    @property
    def thought(self) -> str | None:
        """Reasoning where only a text tells of it."""
        return self.reasoning or self.reasoning_content


class Choice(msgspec.Struct, kw_only=True, gc=False):
    """One choice of an answer or of a chunk."""

    index: int = 0
    message: Said | None = None
    delta: Said | None = None
    finish_reason: str | None = None


CHOICES = msgspec.json.Decoder(list[Choice])


def to_stop_reason(finish_reason: str | None) -> str | None:
    """Anthropic's word for why an answer ended; an unknown reason is an end of turn."""
    if finish_reason is None:
        return None
    return _STOP_REASONS.get(finish_reason, "end_turn")


def signature_of(detail: Detail) -> str | None:
    """The signature as the client is to keep it."""
    return None if detail.signature is None else to_signature(detail.format, detail.signature)


def as_object(arguments: str | None) -> Raw:
    """A call's arguments as JSON; what is none is kept as a text inside an object."""
    text = (arguments or "").strip() or "{}"
    try:
        raw = msgspec.json.decode(text, type=Raw)
    except msgspec.DecodeError:
        raw = Raw(b"")
    if bytes(raw)[:1] == b"{":
        return Raw(text.encode())
    return Raw(msgspec.json.encode({"_raw": text}))
