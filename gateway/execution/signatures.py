"""Remembers the signatures of tool calls for clients that do not send them back.

Gemini wants the calls of a history to carry the signature of the thought that led to them. It goes
out in ``reasoning_details``, which many clients drop. Kept by key and call id, in this worker's
memory alone; a signature says nothing to anybody but its maker.
"""

import re
from collections import OrderedDict
from typing import Any
from uuid import UUID

import msgspec

from gateway.chat.request import Signature

MOST = 20_000
MOST_BYTES = 32 * 1024 * 1024
_LONGEST = 64 * 1024
_MARK = b'"reasoning.encrypted"'
_CALL_ID = re.compile(rb'"tool_call_id"\s*:\s*"([^"\\]{1,256})"')


class _Detail(msgspec.Struct, gc=False):
    type: str = ""
    id: str | None = None
    data: str | None = None
    format: str | None = None


class _Message(msgspec.Struct, gc=False):
    reasoning_details: list[_Detail] = []


class _Choice(msgspec.Struct, gc=False):
    message: _Message | None = None
    delta: _Message | None = None


_CHOICES = msgspec.json.Decoder(list[_Choice])


class Signatures:
    """What was seen last, bounded in number and bytes; the oldest go first."""

    def __init__(self, *, most: int = MOST, most_bytes: int = MOST_BYTES) -> None:
        self._most = most
        self._most_bytes = most_bytes
        self._kept: OrderedDict[tuple[UUID, str], Signature] = OrderedDict()
        self._bytes = 0

    def __len__(self) -> int:
        return len(self._kept)

    def note(self, key_id: UUID, choices: bytes) -> None:
        """Keep the signatures in the choices of an answer, or of a chunk of one."""
        if _MARK not in choices:
            return
        for choice in _CHOICES.decode(choices):
            said = choice.message or choice.delta
            for detail in said.reasoning_details if said is not None else ():
                if detail.id and detail.data and detail.format and len(detail.data) <= _LONGEST:
                    self._keep((key_id, detail.id), Signature(detail.format, detail.data))

    def recall(self, key_id: UUID, body: dict[str, Any]) -> dict[str, Signature]:
        """By call id, what is known of the calls that a request answers."""
        messages = body.get("messages")
        if not self._kept or messages is None:
            return {}
        found: dict[str, Signature] = {}
        for match in _CALL_ID.finditer(memoryview(messages)):
            call_id = match[1].decode("utf-8", "replace")
            known = self._kept.get((key_id, call_id))
            if known is not None:
                found[call_id] = known
        return found

    def _keep(self, key: tuple[UUID, str], signature: Signature) -> None:
        old = self._kept.pop(key, None)
        self._bytes += len(signature.data) - (len(old.data) if old is not None else 0)
        self._kept[key] = signature
        while len(self._kept) > self._most or self._bytes > self._most_bytes:
            _, gone = self._kept.popitem(last=False)
            self._bytes -= len(gone.data)
