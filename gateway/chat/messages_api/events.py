"""A stream in the form of the Messages API: named events around blocks that open and close."""

from collections.abc import Mapping
from typing import Any, Literal

import msgspec

from gateway.chat.messages_api.answer import to_citations
from gateway.chat.messages_api.errors import error_type
from gateway.chat.messages_api.said import (
    CHOICES,
    Call,
    Detail,
    Function,
    Said,
    signature_of,
    to_stop_reason,
)
from gateway.chat.messages_api.signatures import to_signature

_ENCODER = msgspec.json.Encoder(decimal_format="number")
_PING = b'event: ping\ndata: {"type":"ping"}\n\n'

Kind = Literal["text", "thinking"]


class MessageFrame:
    """Turns the choices of one stream's chunks into events; holds what is open in between."""

    done = b""
    """Nothing ends a stream but its own last event."""

    def __init__(
        self,
        *,
        id: str,  # noqa: A002
        created: int,
        model: str,
        provider: str,
        prompt_tokens: int,
    ) -> None:
        """Make the frame.

        Args:
            id: the generation id.
            created: not part of this form.
            model: the canonical model that answers.
            provider: who serves it.
            prompt_tokens: estimated; what the first event says until the last one knows better.
        """
        del created
        self._start: dict[str, Any] = {
            "id": id,
            "type": "message",
            "role": "assistant",
            "model": model,
            "content": [],
            "stop_reason": None,
            "stop_sequence": None,
            "usage": {"input_tokens": prompt_tokens, "output_tokens": 0},
            "provider": provider,
        }
        self._has_begun = False
        self._blocks = 0
        self._open: tuple[Kind, int] | None = None
        self._tools: dict[int, int] = {}
        self._stop_reason: str | None = None

    def chunk(self, choices: bytes, extras: bytes = b"") -> bytes:
        """The events of one chunk; further members of it have no place here."""
        del extras
        return b"".join(self._events(choices))

    def echo(self, upstream_body: bytes) -> bytes:
        """Nothing: no event of this form could show what a provider was sent."""
        del upstream_body
        return b""

    def with_usage(self, choices: bytes, extras: bytes, usage: bytes, metadata: bytes) -> bytes:
        """The last events, with the exact usage, the cost, and who answered."""
        del extras
        events = self._events(choices)
        self._close(events)
        for index in self._tools.values():
            events.append(_stop(index))
        reason = _ENCODER.encode(self._stop_reason)
        events.append(
            b'event: message_delta\ndata: {"type":"message_delta","delta":{"stop_reason":%b,'
            b'"stop_sequence":null},"usage":%b,"metadata":%b}\n\n' % (reason, usage, metadata)
        )
        events.append(b'event: message_stop\ndata: {"type":"message_stop"}\n\n')
        return b"".join(events)

    def error(
        self,
        message: str,
        kind: str,
        code: str | None,
        metadata: Mapping[str, Any] | None = None,
        *,
        finish_reason: str = "error",
    ) -> bytes:
        """An error after the stream has begun; the official clients raise on it."""
        del finish_reason  # An error has none in this form.
        error: dict[str, Any] = {"type": error_type(kind), "message": message, "code": code}
        if metadata:
            error["metadata"] = metadata
        return b'event: error\ndata: {"type":"error","error":%b}\n\n' % _ENCODER.encode(error)

    def _events(self, choices: bytes) -> list[bytes]:
        events: list[bytes] = []
        if not self._has_begun:
            self._has_begun = True
            start = _ENCODER.encode(self._start)
            events.append(
                b'event: message_start\ndata: {"type":"message_start","message":%b}\n\n' % start
            )
            events.append(_PING)
        for choice in CHOICES.decode(choices):
            if choice.delta is not None:
                self._say(choice.delta, events)
            if choice.finish_reason is not None:
                self._stop_reason = to_stop_reason(choice.finish_reason)
        return events

    def _say(self, said: Said, events: list[bytes]) -> None:
        if said.reasoning_details:
            for detail in said.reasoning_details:
                self._think(detail, events)
        elif said.thought:
            self._delta(
                "thinking", b'{"type":"thinking_delta","thinking":%b}', said.thought, events
            )
        text = said.content or said.refusal
        if text:
            self._delta("text", b'{"type":"text_delta","text":%b}', text, events)
        if said.annotations:
            self._cite(said, events)
        for call in said.tool_calls or ():
            self._call(call, events)

    def _think(self, detail: Detail, events: list[bytes]) -> None:
        if detail.data is not None:
            self._close(events)
            data = _ENCODER.encode(to_signature(detail.format, detail.data))
            block = b'{"type":"redacted_thinking","data":%b}' % data
            events += (_begin(self._blocks, block), _stop(self._blocks))
            self._blocks += 1
            return
        text = detail.text if detail.text is not None else detail.summary
        if text:
            self._delta("thinking", b'{"type":"thinking_delta","thinking":%b}', text, events)
        signature = signature_of(detail)
        if signature:
            self._delta("thinking", b'{"type":"signature_delta","signature":%b}', signature, events)
            self._close(events)

    def _cite(self, said: Said, events: list[bytes]) -> None:
        index = self._opened("text", events)
        events += [
            _delta(index, b'{"type":"citations_delta","citation":%b}' % _ENCODER.encode(citation))
            for citation in to_citations(said)
        ]

    def _call(self, call: Call, events: list[bytes]) -> None:
        function = call.function or Function()
        index = self._tools.get(call.index)
        if index is None:
            self._close(events)
            index = self._tools[call.index] = self._blocks
            self._blocks += 1
            block = b'{"type":"tool_use","id":%b,"name":%b,"input":{}}' % (
                _ENCODER.encode(call.id or ""),
                _ENCODER.encode(function.name or ""),
            )
            events.append(_begin(index, block))
        if function.arguments:
            piece = _ENCODER.encode(function.arguments)
            events.append(_delta(index, b'{"type":"input_json_delta","partial_json":%b}' % piece))

    def _delta(self, kind: Kind, form: bytes, text: str, events: list[bytes]) -> None:
        index = self._opened(kind, events)
        events.append(_delta(index, form % _ENCODER.encode(text)))

    def _opened(self, kind: Kind, events: list[bytes]) -> int:
        """The open block of a kind; another one is closed first."""
        if self._open is not None and self._open[0] == kind:
            return self._open[1]
        self._close(events)
        index = self._blocks
        self._blocks += 1
        self._open = (kind, index)
        empty = (
            b'{"type":"text","text":""}'
            if kind == "text"
            else b'{"type":"thinking","thinking":"","signature":""}'
        )
        events.append(_begin(index, empty))
        return index

    def _close(self, events: list[bytes]) -> None:
        if self._open is not None:
            events.append(_stop(self._open[1]))
            self._open = None


def _begin(index: int, block: bytes) -> bytes:
    return (
        b'event: content_block_start\ndata: {"type":"content_block_start","index":%d,'
        b'"content_block":%b}\n\n' % (index, block)
    )


def _delta(index: int, delta: bytes) -> bytes:
    return (
        b'event: content_block_delta\ndata: {"type":"content_block_delta","index":%d,'
        b'"delta":%b}\n\n' % (index, delta)
    )


def _stop(index: int) -> bytes:
    return b'event: content_block_stop\ndata: {"type":"content_block_stop","index":%d}\n\n' % index
