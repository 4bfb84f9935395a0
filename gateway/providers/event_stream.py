"""Reads AWS's binary event stream (``application/vnd.amazon.eventstream``), however it is cut.

A message is: total length, length of its headers, CRC-32 of these eight bytes; headers; payload;
CRC-32 of all before it. Integers are big-endian. A header is the length of its name (one byte), the
name, a type (one byte), and a value whose length depends on the type.
https://smithy.io/2.0/aws/amazon-eventstream.html
"""

import struct
import zlib
from collections.abc import Mapping
from typing import Final

import msgspec

MAX_MESSAGE_BYTES: Final = 1024 * 1024

_PRELUDE: Final = struct.Struct(">III")
_CHECKSUM: Final = struct.Struct(">I")
_LENGTH: Final = struct.Struct(">H")
_OVERHEAD: Final = _PRELUDE.size + _CHECKSUM.size
_LENGTHS: Final = 8
_MOST_REMEMBERED: Final = 64
_TYPE_STRING: Final = 7
_VALUE_BYTES: Final = {0: 0, 1: 0, 2: 1, 3: 2, 4: 4, 5: 8, 8: 8, 9: 16}
"""Bytes of a value by type (truths, integers, a time, a UUID); 6 and 7 tell their own length."""
_TYPES_WITH_LENGTH: Final = frozenset({6, _TYPE_STRING})
_NO_HEADERS: Final[Mapping[str, str]] = {}


class Message(msgspec.Struct, frozen=True, gc=False):
    """One message; of its headers those that are strings."""

    headers: Mapping[str, str]
    payload: bytes


class EventStreamReader:
    """One stream of messages."""

    __slots__ = ("_known", "_needed", "_tail", "_tail_bytes", "damage", "is_in_message")

    def __init__(self) -> None:
        self.damage: str | None = None
        """What is wrong with the stream; nothing is read after it."""
        self.is_in_message = False
        """Bytes of a message that is not complete have been read."""
        self._tail: list[bytes] = []
        self._tail_bytes = 0
        self._needed = _PRELUDE.size
        # The same few headers come again and again.
        self._known: dict[bytes, Mapping[str, str]] = {}

    def feed(self, data: bytes) -> list[Message]:
        """The messages that these bytes complete."""
        if self.damage is not None or not data:
            return []
        if self._tail:
            self._tail.append(data)
            self._tail_bytes += len(data)
            if self._tail_bytes < self._needed:
                return []
            data = b"".join(self._tail)
            self._tail = []
        messages: list[Message] = []
        start, end = 0, len(data)
        self._needed = _PRELUDE.size
        while end - start >= _PRELUDE.size:
            total = self._total(data, start)
            if total is None:
                return messages
            if end - start < total:
                self._needed = total
                break
            message = self._message(data, start, total)
            if message is None:
                return messages
            messages.append(message)
            start += total
        self.is_in_message = start < end
        if start < end:
            self._tail = [data[start:] if start else data]
            self._tail_bytes = end - start
        return messages

    def _total(self, data: bytes, start: int) -> int | None:
        """The length of the message that begins there; None when the prelude is damaged."""
        total, headers, checksum = _PRELUDE.unpack_from(data, start)
        if zlib.crc32(data[start : start + _LENGTHS]) != checksum:
            self.damage = "the checksum of a message's lengths is wrong"
        elif total < _OVERHEAD + headers:
            self.damage = "the lengths of a message contradict each other"
        elif total > MAX_MESSAGE_BYTES:
            self.damage = f"a message above {MAX_MESSAGE_BYTES} bytes"
        else:
            return total
        return None

    def _message(self, data: bytes, start: int, total: int) -> Message | None:
        end = start + total - _CHECKSUM.size
        if zlib.crc32(data[start:end]) != _CHECKSUM.unpack_from(data, end)[0]:
            self.damage = "the checksum of a message is wrong"
            return None
        first = start + _PRELUDE.size
        payload_at = first + _PRELUDE.unpack_from(data, start)[1]
        raw = data[first:payload_at]
        headers = self._known.get(raw)
        if headers is None:
            headers = _read_headers(raw)
            if headers is None:
                self.damage = "the headers of a message cannot be read"
                return None
            if len(self._known) < _MOST_REMEMBERED:
                self._known[raw] = headers
        return Message(headers, data[payload_at:end])


def _read_headers(raw: bytes) -> Mapping[str, str] | None:
    if not raw:
        return _NO_HEADERS
    headers: dict[str, str] = {}
    at, end = 0, len(raw)
    try:
        while at < end:
            name_end = at + 1 + raw[at]
            name = raw[at + 1 : name_end].decode()
            kind = raw[name_end]
            at = name_end + 1
            if kind in _TYPES_WITH_LENGTH:
                size = _LENGTH.unpack_from(raw, at)[0]
                at += _LENGTH.size
            else:
                size = _VALUE_BYTES[kind]
            if at + size > end:
                return None
            if kind == _TYPE_STRING:
                headers[name] = raw[at : at + size].decode()
            at += size
    except (IndexError, KeyError, UnicodeDecodeError, struct.error):
        return None
    return headers
