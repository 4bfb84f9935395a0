"""A streamed answer of Anthropic's Messages API, event by event.

Each event's JSON says its type, so that the names of server-sent events are not needed. The answer
is whole when a ``message_delta`` gave the reason why it ended.
"""

from typing import Any, Final, cast

import msgspec
from msgspec import Raw

from gateway.domain.outcomes import Outcome
from gateway.providers.anthropic_answer import (
    USAGE_FLAVOUR,
    SentBlock,
    SentCitation,
    SentMessage,
    annotations_of,
    bad_response,
    encrypted_detail,
    fault_of,
    finish_of,
    tier_of,
)
from gateway.providers.anthropic_content import REASONING_FORMAT
from gateway.providers.base import Fault, StreamEvent, Target
from gateway.providers.refusals import make_fault_in_answer, parse_error_body
from gateway.providers.sse import SseReader
from gateway.providers.translation.structure import ANSWER_TOOL
from gateway.providers.translation.turns import ReasoningDetail
from gateway.providers.translation.writing import ChunkWriter, reasoning_tail, utf8_size
from gateway.providers.usage import Metered, normalise_usage

_ABSENT: Final = Raw()
_HEAD_BYTES: Final = 8192
_MOST_BLOCKS: Final = 4096


class _Delta(msgspec.Struct, kw_only=True, gc=False):
    type: str | None = None
    text: str | None = None
    thinking: str | None = None
    signature: str | None = None
    partial_json: str | None = None
    citation: SentCitation | None = None
    stop_reason: str | None = None


class _Event(msgspec.Struct, kw_only=True, gc=False):
    type: str
    index: int = 0
    delta: _Delta | None = None
    content_block: SentBlock | None = None
    message: SentMessage | None = None
    usage: Raw = _ABSENT
    error: Raw = _ABSENT


_EVENT: Final = msgspec.json.Decoder(_Event)
_OBJECT: Final = msgspec.json.Decoder(dict[str, Any] | None)


class _Block:
    """What a stream has seen of one content block."""

    __slots__ = ("call", "citations", "detail", "has_arguments", "kind", "start", "tail")

    def __init__(self, kind: str, start: int) -> None:
        self.kind = kind
        self.start = start
        self.call = 0
        self.has_arguments = False
        self.citations: list[SentCitation] = []
        self.detail = 0
        self.tail = b""


class AnthropicStreamDecoder:
    """One streamed answer."""

    __slots__ = (
        "_blocks",
        "_calls",
        "_details",
        "_has_payload",
        "_head",
        "_is_finished",
        "_is_over",
        "_length",
        "_reader",
        "_target",
        "_upstream_id",
        "_usage",
        "_writer",
    )

    def __init__(self, target: Target) -> None:
        self._target = target
        self._reader = SseReader()
        self._writer = ChunkWriter()
        self._blocks: dict[int, _Block] = {}
        self._calls = 0
        self._details = 0
        self._length = 0
        self._usage: dict[str, Any] = {}
        self._upstream_id: str | None = None
        self._is_finished = False
        self._is_over = False
        self._has_payload = False
        self._head = b""

    def feed(self, data: bytes) -> list[StreamEvent]:
        """Events completed by these bytes."""
        if self._is_over:
            return []
        if not self._has_payload and len(self._head) < _HEAD_BYTES:
            self._head += data[:_HEAD_BYTES]
        events = self._read(self._reader.feed(data))
        if self._reader.is_overflowing and not self._is_over:
            events.append(self._stop(bad_response(self._target, "an event above 1 MiB")))
        return events

    def end(self) -> list[StreamEvent]:
        """What the end of the connection completes; a fault when the answer is not whole."""
        if self._is_over:
            return []
        # Half an event at the end is a cut, not damage.
        events = self._read([one for one in self._reader.end() if _is_whole(one)])
        if not self._is_over:
            self._is_over = True
            if not self._is_finished:
                events.append(StreamEvent(fault=self._truncation()))
        return events

    def _read(self, payloads: list[bytes]) -> list[StreamEvent]:
        events: list[StreamEvent] = []
        for payload in payloads:
            if not payload or payload.isspace():
                continue
            self._has_payload = True
            try:
                event = self._event(_EVENT.decode(payload))
            except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as exc:
                event = self._stop(self._unreadable(payload, exc))
            if event is not None:
                events.append(event)
            if self._is_over:
                break
        return events

    def _event(self, sent: _Event) -> StreamEvent | None:
        kind = sent.type
        if kind == "content_block_delta":
            return self._delta(sent.index, sent.delta) if sent.delta is not None else None
        if kind == "content_block_start":
            return self._begin(sent.index, sent.content_block)
        if kind == "content_block_stop":
            return self._close(sent.index)
        if kind == "message_start":
            return self._open(sent.message)
        if kind == "message_delta":
            return self._finish(sent)
        if kind == "message_stop":
            self._is_over = True
            fault = None if self._is_finished else self._truncation()
            return StreamEvent(is_terminal=True, fault=fault)
        if kind == "error":
            return self._stop(fault_of(sent.error, self._target, upstream_id=self._upstream_id))
        # Pings, and whatever is added one day.
        return None

    def _open(self, message: SentMessage | None) -> StreamEvent | None:
        if message is None:
            return None
        self._upstream_id = message.id
        self._merge_usage(message.usage)
        # A placeholder; only message_delta knows the true count.
        self._usage.pop("output_tokens", None)
        return StreamEvent(
            choices=self._writer.role(),
            upstream_id=message.id,
            service_tier=tier_of(message.usage),
        )

    def _begin(self, index: int, sent: SentBlock | None) -> StreamEvent | None:
        if sent is None:
            return None
        if len(self._blocks) >= _MOST_BLOCKS:
            return self._stop(bad_response(self._target, f"more than {_MOST_BLOCKS} blocks"))
        block = self._blocks[index] = _Block(sent.type, self._length)
        if sent.type == "text":
            block.citations = list(sent.citations or ())
            return self._text(sent.text) if sent.text else None
        if sent.type == "thinking":
            block.detail = self._details
            block.tail = reasoning_tail(REASONING_FORMAT, block.detail)
            self._details += 1
            return self._thought(block, sent.thinking) if sent.thinking else None
        if sent.type == "redacted_thinking":
            detail = encrypted_detail(sent, self._details)
            self._details += 1
            return StreamEvent(choices=self._writer.details([detail]), has_content=True)
        if sent.type == "tool_use":
            return self._begin_call(block, sent)
        return None

    def _begin_call(self, block: _Block, sent: SentBlock) -> StreamEvent | None:
        whole = bytes(sent.input) if sent.input != _ABSENT else b"{}"
        arguments = "" if whole in {b"{}", b"null"} else whole.decode()
        if sent.name == ANSWER_TOOL:
            block.kind = "answer"
            block.has_arguments = bool(arguments)
            return self._text(arguments) if arguments else None
        block.call = self._calls
        block.has_arguments = bool(arguments)
        self._calls += 1
        name = sent.name or ""
        return StreamEvent(
            choices=self._writer.call(block.call, sent.id or "", name, arguments),
            has_content=True,
            text_bytes=utf8_size(name) + utf8_size(arguments),
        )

    def _delta(self, index: int, delta: _Delta) -> StreamEvent | None:
        block = self._blocks.get(index)
        if block is None:
            return None
        kind = delta.type
        if kind == "text_delta":
            return self._text(delta.text) if delta.text else None
        if kind == "input_json_delta":
            return self._arguments(block, delta.partial_json) if delta.partial_json else None
        if kind == "thinking_delta":
            return self._thought(block, delta.thinking) if delta.thinking else None
        if kind == "signature_delta" and block.kind == "thinking":
            return self._sign(block, delta.signature)
        if kind == "citations_delta" and delta.citation is not None:
            block.citations.append(delta.citation)
        return None

    def _text(self, text: str) -> StreamEvent:
        self._length += len(text)
        return StreamEvent(
            choices=self._writer.text(text), has_content=True, text_bytes=utf8_size(text)
        )

    def _thought(self, block: _Block, text: str) -> StreamEvent:
        return StreamEvent(
            choices=self._writer.reasoning_piece(text, block.tail),
            has_content=True,
            text_bytes=utf8_size(text),
        )

    def _sign(self, block: _Block, signature: str | None) -> StreamEvent:
        detail = ReasoningDetail(
            type="reasoning.text",
            signature=signature,
            format=REASONING_FORMAT,
            index=block.detail,
        )
        return StreamEvent(choices=self._writer.details([detail]), has_content=True)

    def _arguments(self, block: _Block, piece: str) -> StreamEvent | None:
        if block.kind == "answer":
            block.has_arguments = True
            return self._text(piece)
        if block.kind != "tool_use":
            # A search that the provider runs itself.
            return None
        block.has_arguments = True
        return StreamEvent(
            choices=self._writer.arguments(block.call, piece),
            has_content=True,
            text_bytes=utf8_size(piece),
        )

    def _close(self, index: int) -> StreamEvent | None:
        block = self._blocks.get(index)
        if block is None:
            return None
        if block.kind in {"tool_use", "answer"} and not block.has_arguments:
            return self._arguments(block, "{}")
        annotations = annotations_of(block.citations, block.start, self._length)
        if not annotations:
            return None
        return StreamEvent(choices=self._writer.annotations(annotations), has_content=True)

    def _finish(self, sent: _Event) -> StreamEvent:
        self._merge_usage(sent.usage)
        metered = self._metered()
        native = sent.delta.stop_reason if sent.delta is not None else None
        if native is None or self._is_finished:
            return StreamEvent(usage=metered.usage, is_usage_doubtful=metered.is_doubtful)
        self._is_finished = True
        reason = finish_of(native, calls=self._calls)
        return StreamEvent(
            choices=self._writer.finish(reason, native),
            finish_reason=reason,
            native_finish_reason=native,
            usage=metered.usage,
            is_usage_doubtful=metered.is_doubtful,
        )

    def _merge_usage(self, raw: Raw) -> None:
        """Counts are cumulative: a later one replaces an earlier one; one that is absent stays."""
        try:
            sent = _OBJECT.decode(raw) if raw != _ABSENT else None
        except (msgspec.DecodeError, RecursionError):
            sent = {"output_tokens": "unreadable"}
        for name, value in (sent or {}).items():
            if value is not None:
                self._usage[name] = value

    def _metered(self) -> Metered:
        """Without a count of the output there is no usage: the cost is estimated from the text."""
        if "output_tokens" not in self._usage:
            return Metered()
        return normalise_usage(msgspec.json.encode(self._usage), USAGE_FLAVOUR)

    def _truncation(self) -> Fault:
        provider = self._target.endpoint.provider
        if not self._has_payload and self._head.strip():
            return self._fault_of_body()
        return Fault(
            outcome=Outcome.TRUNCATED,
            message=f"{provider} ended the stream without a stop reason",
            status_code=200,
            upstream_id=self._upstream_id,
        )

    def _fault_of_body(self) -> Fault:
        """What came is not an event stream: an error in JSON, or a page."""
        if self._head.lstrip()[:1] in {b"{", b"["}:
            found = parse_error_body(self._head)
            if found.message and found.message[:1] not in "{[":
                return make_fault_in_answer(found, provider=self._target.endpoint.provider)
        return bad_response(self._target, "something that is not an event stream")

    def _unreadable(self, payload: bytes, exc: Exception) -> Fault:
        """An event that is none of Anthropic's: the error of a proxy, or damage."""
        try:
            value: object = msgspec.json.decode(payload)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            value = None
        if isinstance(value, dict) and "error" in value:
            error = cast("dict[str, Any]", value)["error"]
            return fault_of(Raw(msgspec.json.encode(error)), self._target)
        return bad_response(self._target, f"an unreadable event: {exc}")

    def _stop(self, fault: Fault) -> StreamEvent:
        self._is_over = True
        return StreamEvent(fault=fault)


def _is_whole(payload: bytes) -> bool:
    try:
        _EVENT.decode(payload)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return False
    return True
