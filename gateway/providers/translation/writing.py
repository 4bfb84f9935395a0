"""Writes answers of other protocols in our chat shape: whole ones, and the chunks of a stream.

Chunks are put together as bytes; only what a model wrote is encoded.
"""

from typing import Any, Final

import msgspec

from gateway.providers.translation.turns import ReasoningDetail

_ENCODER: Final = msgspec.json.Encoder()
_encode: Final = _ENCODER.encode


class CalledFunction(msgspec.Struct, kw_only=True, gc=False):
    """A function and its arguments, which are JSON inside a string."""

    name: str
    arguments: str


class Call(msgspec.Struct, kw_only=True, gc=False):
    """A tool call in an answer."""

    id: str
    type: str = "function"
    function: CalledFunction


class Citation(msgspec.Struct, kw_only=True, omit_defaults=True, gc=False):
    """Where the model found something; indices count characters of the content."""

    url: str
    title: str
    start_index: int
    end_index: int
    content: str | None = None


class Annotation(msgspec.Struct, kw_only=True, gc=False):
    """One of ``annotations``."""

    type: str = "url_citation"
    url_citation: Citation


class ImageAddress(msgspec.Struct, kw_only=True, gc=False):
    """A data URL."""

    url: str


class Image(msgspec.Struct, kw_only=True, gc=False):
    """One of ``images``."""

    type: str = "image_url"
    image_url: ImageAddress


class Message(
    msgspec.Struct, kw_only=True, omit_defaults=True, gc=False, tag_field="role", tag="assistant"
):
    """A whole answer; what is absent is not written, except role and content."""

    content: str | None
    refusal: str | None = None
    reasoning: str | None = None
    reasoning_details: list[ReasoningDetail] = []
    tool_calls: list[Call] = []
    annotations: list[Annotation] = []
    images: list[Image] = []
    audio: dict[str, Any] | None = None


class Choice(msgspec.Struct, kw_only=True, omit_defaults=True, gc=False):
    """One choice; the index and the reason are always written."""

    index: int
    message: Message
    finish_reason: str
    native_finish_reason: str | None = None
    logprobs: msgspec.Raw | None = None


def make_call(id: str, name: str, arguments: str) -> Call:  # noqa: A002
    """A call of a function; empty arguments are an empty object."""
    return Call(id=id, function=CalledFunction(name=name, arguments=arguments or "{}"))


def render_choices(choices: list[Choice]) -> bytes:
    """The JSON array for `Completion.choices`."""
    return _encode(choices)


def size_of(message: Message) -> int:
    """UTF-8 bytes that were generated, for `Completion.text_bytes`."""
    texts = [message.content, message.refusal, message.reasoning]
    for call in message.tool_calls:
        texts += [call.function.name, call.function.arguments]
    return sum(utf8_size(text) for text in texts if text)


def utf8_size(text: str) -> int:
    """UTF-8 bytes of a text."""
    return len(text) if text.isascii() else len(text.encode())


class ChunkWriter:
    """Chunk choices of one choice of a stream, ready for `StreamEvent.choices`."""

    __slots__ = ("_first", "_head")

    def __init__(self, index: int = 0) -> None:
        """Write for the choice of this index."""
        self._head = b'[{"index":%d,"delta":{' % index
        self._first = b'"role":"assistant",'

    def role(self) -> bytes:
        """The chunk that begins an answer; the first of any other kind says so as well."""
        self._first = b""
        return self._head + b'"role":"assistant","content":""},"finish_reason":null}]'

    def text(self, text: str) -> bytes:
        """A piece of the content."""
        return self._delta(b'"content":' + _encode(text))

    def refusal(self, text: str) -> bytes:
        """A piece of a refusal."""
        return self._delta(b'"content":null,"refusal":' + _encode(text))

    def reasoning(self, text: str, detail: ReasoningDetail) -> bytes:
        """A piece of reasoning, and the same as a detail, which may carry a signature."""
        return self._delta(
            b'"reasoning":%b,"reasoning_details":[%b]' % (_encode(text), _encode(detail))
        )

    def reasoning_piece(self, text: str, tail: bytes) -> bytes:
        """As `reasoning` for the many pieces of one detail; see `reasoning_tail`."""
        encoded = _encode(text)
        return b"".join(
            (
                self._head,
                self._take_first(),
                b'"reasoning":',
                encoded,
                b',"reasoning_details":[{"type":"reasoning.text","text":',
                encoded,
                tail,
            )
        )

    def details(self, details: list[ReasoningDetail]) -> bytes:
        """Details that show no text: signatures, what is encrypted."""
        return self._delta(b'"reasoning_details":' + _encode(details))

    def call(self, index: int, id: str, name: str, arguments: str = "") -> bytes:  # noqa: A002
        """The beginning of a tool call, or a whole one; indices count calls from 0."""
        return self._delta(
            b'"tool_calls":[{"index":%d,"id":%b,"type":"function",'
            b'"function":{"name":%b,"arguments":%b}}]'
            % (index, _encode(id), _encode(name), _encode(arguments))
        )

    def arguments(self, index: int, piece: str) -> bytes:
        """More of the arguments of a call that has begun."""
        return self._delta(
            b'"tool_calls":[{"index":%d,"function":{"arguments":%b}}]' % (index, _encode(piece))
        )

    def annotations(self, annotations: list[Annotation]) -> bytes:
        """Citations."""
        return self._delta(b'"annotations":' + _encode(annotations))

    def images(self, images: list[Image]) -> bytes:
        """Images, whole."""
        return self._delta(b'"images":' + _encode(images))

    def audio(self, encoded: bytes) -> bytes:
        """A piece of sound, encoded already."""
        return self._delta(b'"audio":' + encoded)

    def finish(self, reason: str, native: str | None) -> bytes:
        """The last chunk of the choice."""
        return b'%b},"finish_reason":%b,"native_finish_reason":%b}]' % (
            self._head + self._take_first().rstrip(b","),
            _encode(reason),
            _encode(native),
        )

    def _delta(self, members: bytes) -> bytes:
        if self._first:
            return self._head + self._take_first() + members + b'},"finish_reason":null}]'
        return self._head + members + b'},"finish_reason":null}]'

    def _take_first(self) -> bytes:
        first, self._first = self._first, b""
        return first


def reasoning_tail(format_: str, index: int) -> bytes:
    """What ends each piece of one detail; made once, it makes `reasoning_piece` cheap."""
    return b',"format":%b,"index":%d}]},"finish_reason":null}]' % (_encode(format_), index)
