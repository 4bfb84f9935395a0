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
    SentMessage,
    bad_response,
    fault_of,
    finish_of,
    served_of,
)
from gateway.providers.anthropic_blocks import Blocks, SentDelta
from gateway.providers.base import Fault, StreamEvent, Target
from gateway.providers.refusals import make_fault_in_answer, parse_error_body
from gateway.providers.sse import SseReader
from gateway.providers.translation.writing import ChunkWriter
from gateway.providers.usage import Metered, normalise_usage
from pricing.usage import Usage

_ABSENT: Final = Raw()
_HEAD_BYTES: Final = 8192


class _Event(msgspec.Struct, kw_only=True, gc=False):
    type: str
    index: int = 0
    delta: SentDelta | None = None
    content_block: SentBlock | None = None
    message: SentMessage | None = None
    usage: Raw = _ABSENT
    error: Raw = _ABSENT


_EVENT: Final = msgspec.json.Decoder(_Event)
_OBJECT: Final = msgspec.json.Decoder(dict[str, Any] | None)


class AnthropicStreamDecoder:
    """One streamed answer."""

    __slots__ = (
        "_blocks",
        "_has_payload",
        "_head",
        "_is_finished",
        "_is_over",
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
        self._blocks = Blocks(self._writer)
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
            return self._blocks.go_on(sent.index, sent.delta) if sent.delta is not None else None
        if kind == "content_block_start":
            return self._blocks.begin(sent.index, sent.content_block)
        if kind == "content_block_stop":
            return self._blocks.close(sent.index)
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
        served = served_of(message.usage)
        return StreamEvent(
            choices=self._writer.role(),
            upstream_id=message.id,
            service_tier=served.tier,
            served_region=served.region,
            prompt_usage=self._prompt_usage(),
        )

    def _finish(self, sent: _Event) -> StreamEvent:
        self._merge_usage(sent.usage)
        metered = self._metered()
        served = served_of(Raw(msgspec.json.encode(self._usage)))
        native = sent.delta.stop_reason if sent.delta is not None else None
        if native is None or self._is_finished:
            return StreamEvent(
                usage=metered.usage,
                is_usage_doubtful=metered.is_doubtful,
                service_tier=served.tier,
                served_region=served.region,
            )
        self._is_finished = True
        reason = finish_of(native, calls=self._blocks.calls)
        return StreamEvent(
            choices=self._writer.finish(reason, native),
            finish_reason=reason,
            native_finish_reason=native,
            usage=metered.usage,
            is_usage_doubtful=metered.is_doubtful,
            service_tier=served.tier,
            served_region=served.region,
        )

    def _prompt_usage(self) -> Usage | None:
        metered = normalise_usage(
            msgspec.json.encode(self._usage | {"output_tokens": 0}), USAGE_FLAVOUR
        )
        return None if metered.is_doubtful or "input_tokens" not in self._usage else metered.usage

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
