"""The content blocks of a streamed answer of Anthropic's, as chunks of ours."""

from typing import Final

import msgspec

from gateway.providers.anthropic_answer import (
    SentBlock,
    SentCitation,
    annotations_of,
    encrypted_detail,
)
from gateway.providers.anthropic_content import REASONING_FORMAT
from gateway.providers.base import StreamEvent
from gateway.providers.translation.structure import ANSWER_TOOL
from gateway.providers.translation.turns import ReasoningDetail
from gateway.providers.translation.writing import ChunkWriter, reasoning_tail, utf8_size

_ABSENT: Final = msgspec.Raw()
_MOST_BLOCKS: Final = 4096


class SentDelta(msgspec.Struct, kw_only=True, gc=False):
    """More of a block, or why the answer ended."""

    type: str | None = None
    text: str | None = None
    thinking: str | None = None
    signature: str | None = None
    partial_json: str | None = None
    citation: SentCitation | None = None
    stop_reason: str | None = None


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


class Blocks:
    """What has been said so far, block by block."""

    __slots__ = ("_blocks", "_details", "_length", "_writer", "calls")

    def __init__(self, writer: ChunkWriter) -> None:
        self._writer = writer
        self._blocks: dict[int, _Block] = {}
        self._details = 0
        self._length = 0
        self.calls = 0
        """Calls of the client's functions; clients count them from 0, not blocks."""

    def begin(self, index: int, sent: SentBlock | None) -> StreamEvent | None:
        """A block begins.

        Raises:
            DecodeError: there are more blocks than anybody writes.
        """
        if sent is None:
            return None
        if len(self._blocks) >= _MOST_BLOCKS:
            raise msgspec.DecodeError(f"more than {_MOST_BLOCKS} blocks")
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
        block.call = self.calls
        block.has_arguments = bool(arguments)
        self.calls += 1
        name = sent.name or ""
        return StreamEvent(
            choices=self._writer.call(block.call, sent.id or "", name, arguments),
            has_content=True,
            text_bytes=utf8_size(name) + utf8_size(arguments),
        )

    def go_on(self, index: int, delta: SentDelta) -> StreamEvent | None:
        """More of a block."""
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

    def close(self, index: int) -> StreamEvent | None:
        """A block is whole."""
        block = self._blocks.get(index)
        if block is None:
            return None
        if block.kind in {"tool_use", "answer"} and not block.has_arguments:
            return self._arguments(block, "{}")
        annotations = annotations_of(block.citations, block.start, self._length)
        if not annotations:
            return None
        return StreamEvent(choices=self._writer.annotations(annotations), has_content=True)
