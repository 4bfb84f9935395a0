"""Streams in AWS's binary event-stream encoding (application/vnd.amazon.eventstream).

A message is: total length, length of the headers, CRC-32 of those eight bytes, headers, payload,
CRC-32 of everything before it; integers are big-endian. A header is: length of its name (1 byte),
name, type (7 is a string), length of its value (2 bytes), value.
https://smithy.io/2.0/aws/amazon-eventstream.html
"""

import struct
import zlib

from gateway.simulator.wire import Frame, StreamForm

_STRING = 7
_OVERHEAD = 16


def message(headers: dict[str, str], payload: bytes, *, is_damaged: bool = False) -> bytes:
    """One message; `is_damaged` makes the last checksum wrong."""
    encoded = b"".join(_header(name, value) for name, value in headers.items())
    total = _OVERHEAD + len(encoded) + len(payload)
    lengths = struct.pack(">II", total, len(encoded))
    start = lengths + struct.pack(">I", zlib.crc32(lengths)) + encoded + payload
    checksum = zlib.crc32(start) ^ (1 if is_damaged else 0)
    return start + struct.pack(">I", checksum)


def _header(name: str, value: str) -> bytes:
    raw = value.encode()
    return bytes([len(name)]) + name.encode() + struct.pack(">BH", _STRING, len(raw)) + raw


def _encode(frame: Frame, forms: frozenset[str]) -> bytes:
    kind = "exception" if frame.is_error else "event"
    headers = {
        f":{kind}-type": frame.event or "",
        ":content-type": "application/json",
        ":message-type": kind,
    }
    encoded = message(headers, frame.data, is_damaged=frame.is_damaged)
    return _KEEP_ALIVE + encoded if "comments" in forms else encoded


# Nothing in the encoding is meant to be skipped but events of a kind that the reader does not know.
_KEEP_ALIVE = message(
    {":event-type": "ping", ":content-type": "application/json", ":message-type": "event"}, b"{}"
)


def _around(size: int) -> tuple[bytes, bytes]:
    """The last checksum is wrong: nobody is meant to read so far."""
    before, after = b'{"contentBlockIndex":0,"delta":{"text":"', b'"}}'
    headers = _header(":event-type", "contentBlockDelta") + _header(":message-type", "event")
    total = _OVERHEAD + len(headers) + len(before) + size + len(after)
    lengths = struct.pack(">II", total, len(headers))
    checksum = struct.pack(">I", zlib.crc32(lengths))
    return lengths + checksum + headers + before, after + b"\0\0\0\0"


EVENT_STREAM = StreamForm(
    content_type="application/vnd.amazon.eventstream",
    encode=_encode,
    keep_alive=_KEEP_ALIVE,
    around=_around,
)
