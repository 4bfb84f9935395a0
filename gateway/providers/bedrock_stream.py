"""A streamed answer of ConverseStream, event by event.

An answer is whole once ``messageStop`` has told why it ended; ``metadata`` follows with the usage.
https://docs.aws.amazon.com/bedrock/latest/APIReference/API_runtime_ConverseStream.html
"""

from collections.abc import Callable
from typing import Final

import msgspec
from msgspec import Raw

from gateway.domain.outcomes import Outcome
from gateway.providers.base import Fault, StreamEvent, Target
from gateway.providers.bedrock_answer import (
    FLAVOUR,
    MALFORMED,
    ImageBlock,
    Source,
    Tier,
    annotation_of,
    finish_of,
    malformed,
)
from gateway.providers.bedrock_errors import fault_in_stream
from gateway.providers.bedrock_families import family_of
from gateway.providers.event_stream import EventStreamReader, Message
from gateway.providers.translation.structure import ANSWER_TOOL
from gateway.providers.translation.turns import ReasoningDetail
from gateway.providers.translation.writing import (
    ChunkWriter,
    Image,
    ImageAddress,
    reasoning_tail,
    utf8_size,
)
from gateway.providers.usage import normalise_usage


class _ReasoningDelta(msgspec.Struct, kw_only=True, gc=False):
    text: str | None = None
    signature: str | None = None
    redacted: str | None = msgspec.field(default=None, name="redactedContent")


class _ToolDelta(msgspec.Struct, kw_only=True, gc=False):
    input: str = ""


class _Delta(msgspec.Struct, kw_only=True, gc=False):
    text: str | None = None
    tool_use: _ToolDelta | None = msgspec.field(default=None, name="toolUse")
    reasoning: _ReasoningDelta | None = msgspec.field(default=None, name="reasoningContent")
    citation: Source | None = None
    image: ImageBlock | None = None


class _DeltaEvent(msgspec.Struct, kw_only=True, gc=False):
    delta: _Delta
    index: int = msgspec.field(default=0, name="contentBlockIndex")


class _ToolStart(msgspec.Struct, kw_only=True, gc=False, rename="camel"):
    tool_use_id: str
    name: str
    type: str | None = None


class _ImageStart(msgspec.Struct, kw_only=True, gc=False):
    format: str = "png"


class _Start(msgspec.Struct, kw_only=True, gc=False):
    tool_use: _ToolStart | None = msgspec.field(default=None, name="toolUse")
    image: _ImageStart | None = None


class _StartEvent(msgspec.Struct, kw_only=True, gc=False):
    start: _Start
    index: int = msgspec.field(default=0, name="contentBlockIndex")


class _StopEvent(msgspec.Struct, kw_only=True, gc=False):
    index: int = msgspec.field(default=0, name="contentBlockIndex")


class _MessageStop(msgspec.Struct, kw_only=True, gc=False, rename="camel"):
    stop_reason: str


class _Metadata(msgspec.Struct, kw_only=True, gc=False, rename="camel"):
    usage: Raw = Raw()
    service_tier: Tier | None = None


class _OpenBlock(msgspec.Struct, kw_only=True, gc=False):
    """What is known of a block that has begun."""

    call: int | None = None
    """The index of its call, counted by us; None for other kinds."""
    is_answer: bool = False
    """Its arguments are the content of the answer."""
    has_arguments: bool = False
    tail: bytes | None = None
    """Of its pieces of reasoning."""
    reasoning_index: int = 0
    image_format: str = "png"


_DELTA: Final = msgspec.json.Decoder(_DeltaEvent)
_START: Final = msgspec.json.Decoder(_StartEvent)
_STOP: Final = msgspec.json.Decoder(_StopEvent)
_MESSAGE_STOP: Final = msgspec.json.Decoder(_MessageStop)
_METADATA: Final = msgspec.json.Decoder(_Metadata)
_MOST_BLOCKS: Final = 1024


class ConverseStreamDecoder:
    """One streamed answer."""

    __slots__ = (
        "_blocks",
        "_calls",
        "_characters",
        "_format",
        "_handlers",
        "_is_finished",
        "_is_over",
        "_reader",
        "_reasonings",
        "_target",
        "_writer",
    )

    def __init__(self, target: Target) -> None:
        self._target = target
        self._format = family_of(target.endpoint).reasoning_format
        self._reader = EventStreamReader()
        self._writer = ChunkWriter()
        self._blocks: dict[int, _OpenBlock] = {}
        self._calls = 0
        self._reasonings = 0
        self._characters = 0
        self._is_finished = False
        self._is_over = False
        self._handlers: dict[str, Callable[[bytes], StreamEvent | None]] = {
            "contentBlockDelta": self._on_delta,
            "contentBlockStart": self._on_start,
            "contentBlockStop": self._on_stop,
            "messageStart": self._on_message_start,
            "messageStop": self._on_message_stop,
            "metadata": self._on_metadata,
        }

    def feed(self, data: bytes) -> list[StreamEvent]:
        """Events completed by these bytes. Never raises: damage comes back as a fault."""
        if self._is_over:
            return []
        events: list[StreamEvent] = []
        for message in self._reader.feed(data):
            event = self._read(message)
            if event is not None:
                events.append(event)
            if self._is_over:
                return events
        if self._reader.damage is not None:
            events.append(self._broken(self._reader.damage))
        return events

    def end(self) -> list[StreamEvent]:
        """What the end of the connection means: a fault when the answer is not whole."""
        if self._is_over:
            return []
        self._is_over = True
        if self._is_finished:
            return []
        provider = self._target.endpoint.provider
        fault = Fault(
            outcome=Outcome.TRUNCATED,
            message=f"{provider} ended the stream without a stop reason",
            status_code=200,
        )
        return [StreamEvent(fault=fault)]

    def _read(self, message: Message) -> StreamEvent | None:
        headers = message.headers
        kind = headers.get(":message-type", "event")
        if kind != "event":
            name = headers.get(":exception-type") or headers.get(":error-code") or kind
            payload = message.payload
            if not payload and ":error-message" in headers:
                payload = msgspec.json.encode({"message": headers[":error-message"]})
            return self._stop(fault_in_stream(name, payload, self._target.endpoint.provider))
        handle = self._handlers.get(headers.get(":event-type", ""))
        if handle is None:
            return None
        try:
            return handle(message.payload)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as exc:
            return self._broken(f"an unreadable event: {exc}")

    def _stop(self, fault: Fault) -> StreamEvent:
        self._is_over = True
        if self._is_finished:
            # The answer is whole; only its usage is lost.
            return StreamEvent(is_terminal=True)
        return StreamEvent(fault=fault)

    def _broken(self, what: str) -> StreamEvent:
        provider = self._target.endpoint.provider
        return self._stop(
            Fault(
                outcome=Outcome.BAD_RESPONSE,
                message=f"{provider} sent a broken stream: {what}"[:512],
                status_code=200,
            )
        )

    def _on_message_start(self, _: bytes) -> StreamEvent:
        return StreamEvent(choices=self._writer.role())

    def _on_delta(self, payload: bytes) -> StreamEvent | None:
        event = _DELTA.decode(payload)
        delta = event.delta
        text = delta.text
        if text is not None:
            return self._text(text)
        if delta.tool_use is not None:
            return self._arguments(event.index, delta.tool_use.input)
        if delta.reasoning is not None:
            return self._reasoning(event.index, delta.reasoning)
        if delta.citation is not None:
            annotation = annotation_of(delta.citation, 0, self._characters)
            if annotation is not None:
                return StreamEvent(choices=self._writer.annotations([annotation]))
        if delta.image is not None and delta.image.source.bytes:
            kind = self._block(event.index).image_format
            url = f"data:image/{kind};base64,{delta.image.source.bytes}"
            image = Image(image_url=ImageAddress(url=url))
            return StreamEvent(choices=self._writer.images([image]), has_content=True)
        return None

    def _text(self, text: str) -> StreamEvent | None:
        if not text:
            return None
        self._characters += len(text)
        return StreamEvent(
            choices=self._writer.text(text), has_content=True, text_bytes=utf8_size(text)
        )

    def _arguments(self, index: int, piece: str) -> StreamEvent | None:
        block = self._block(index)
        if not piece:
            return None
        block.has_arguments = True
        if block.is_answer:
            return self._text(piece)
        if block.call is None:
            return None
        return StreamEvent(
            choices=self._writer.arguments(block.call, piece),
            has_content=True,
            text_bytes=utf8_size(piece),
        )

    def _reasoning(self, index: int, delta: _ReasoningDelta) -> StreamEvent | None:
        block = self._block(index)
        if block.tail is None:
            block.reasoning_index = self._reasonings
            self._reasonings += 1
            block.tail = reasoning_tail(self._format, block.reasoning_index)
        if delta.text:
            return StreamEvent(
                choices=self._writer.reasoning_piece(delta.text, block.tail),
                has_content=True,
                text_bytes=utf8_size(delta.text),
            )
        if delta.signature is not None:
            detail = ReasoningDetail(
                type="reasoning.text",
                signature=delta.signature,
                format=self._format,
                index=block.reasoning_index,
            )
        elif delta.redacted is not None:
            detail = ReasoningDetail(
                type="reasoning.encrypted",
                data=delta.redacted,
                format=self._format,
                index=block.reasoning_index,
            )
        else:
            return None
        return StreamEvent(choices=self._writer.details([detail]), has_content=True)

    def _on_start(self, payload: bytes) -> StreamEvent | None:
        event = _START.decode(payload)
        block = self._block(event.index)
        if event.start.image is not None:
            block.image_format = event.start.image.format
        call = event.start.tool_use
        if call is None or call.type is not None:
            return None
        if call.name == ANSWER_TOOL:
            block.is_answer = True
            return None
        block.call = self._calls
        self._calls += 1
        return StreamEvent(
            choices=self._writer.call(block.call, call.tool_use_id, call.name),
            has_content=True,
            text_bytes=utf8_size(call.name),
        )

    def _on_stop(self, payload: bytes) -> StreamEvent | None:
        block = self._blocks.pop(_STOP.decode(payload).index, None)
        if block is None or block.has_arguments:
            return None
        # A call without arguments sends no piece of them.
        if block.is_answer:
            return self._text("{}")
        if block.call is None:
            return None
        return StreamEvent(choices=self._writer.arguments(block.call, "{}"), has_content=True)

    def _on_message_stop(self, payload: bytes) -> StreamEvent:
        native = _MESSAGE_STOP.decode(payload).stop_reason
        if native in MALFORMED:
            return self._stop(malformed(native, self._target))
        self._is_finished = True
        reason = finish_of(native, call_count=self._calls)
        return StreamEvent(
            choices=self._writer.finish(reason, native),
            finish_reason=reason,
            native_finish_reason=native,
        )

    def _on_metadata(self, payload: bytes) -> StreamEvent:
        metadata = _METADATA.decode(payload)
        metered = normalise_usage(metadata.usage or None, FLAVOUR)
        # It is the last event, unless it came too early.
        self._is_over = self._is_finished
        tier = metadata.service_tier
        return StreamEvent(
            usage=metered.usage,
            is_usage_doubtful=metered.is_doubtful,
            service_tier=tier.type if tier is not None else None,
            is_terminal=self._is_finished,
        )

    def _block(self, index: int) -> _OpenBlock:
        block = self._blocks.get(index)
        if block is None:
            if len(self._blocks) >= _MOST_BLOCKS:
                raise msgspec.DecodeError(f"more than {_MOST_BLOCKS} open blocks")
            block = self._blocks[index] = _OpenBlock()
        return block
