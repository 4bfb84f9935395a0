"""The format of spool files: a magic, then frames that prove their own integrity.

A frame is ``u32 length | u32 crc32 | u8 type | payload``, little-endian; the length is that of the
payload alone, the checksum covers type and payload and starts from a salt that depends on the name
of the file. The salt keeps bytes that a caller smuggled into a record from ever being taken for a
frame when a damaged file is searched for its next whole one.
"""

import re
import struct
import zlib
from datetime import datetime
from enum import Enum
from typing import Final, NamedTuple

import msgspec

from gateway.domain.records import AttemptBegun, LateAttempts, RequestRecord

MAGIC: Final = b"TWSPOOL\x01"
HEADER: Final = ord("H")
"""The first frame of a file: `FileHeader`. Always salted with 0, so that it can be read first."""
BEGUN: Final = ord("B")
"""`AttemptBegun`"""
RECORD: Final = ord("R")
"""`RequestRecord`"""
LATE: Final = ord("L")
"""`LateAttempts`; a release that does not know them passes them over"""
DEAD: Final = ord("D")
"""`DeadLetter`, only in dead-letter files"""

_KINDS: Final = (HEADER, BEGUN, RECORD, LATE, DEAD)

MAX_PAYLOAD_BYTES: Final = 1 << 20
_PREFIX = struct.Struct("<IIB")
PREFIX_BYTES: Final = _PREFIX.size

# Where a frame could begin: a length of at most 1 MiB, a type of ours, a payload that is a
# MessagePack map, as every payload of ours is. The look-ahead finds overlapping places too.
_PLAUSIBLE_START = re.compile(rb"(?=..[\x00-\x10]\x00.{4}[BRLD][\x80-\x8f\xde\xdf])", re.DOTALL)

# Field names are kept, so that a reader of another release finds its way.
_ENCODER = msgspec.msgpack.Encoder(decimal_format="string", uuid_format="bytes")


class FileHeader(msgspec.Struct, frozen=True, kw_only=True):
    """Who wrote a file, and in which version of the records."""

    schema_version: int
    node: str
    name: str
    """The file's name without its ending, as it was when the file was made."""
    created_at: datetime
    """Wall clock, aware UTC."""


class DeadLetter(msgspec.Struct, frozen=True, kw_only=True):
    """A frame that could not be stored, and why."""

    reason: str
    sqlstate: str | None
    """None when it was refused before it reached Postgres."""
    refused_at: datetime
    frame_type: int
    payload: bytes


class Frame(NamedTuple):
    """One whole frame, checked."""

    kind: int
    payload: bytes
    end: int
    """The offset in the file right after it."""


class Parsed(NamedTuple):
    """What a stretch of a file held."""

    frames: list[Frame]
    end: int
    """The offset in the file up to which everything was looked at; parsing goes on there."""
    corrupt_frames: int
    """Damaged places that were passed over, each however long."""


class CorruptHeaderError(ValueError):
    """The beginning of a file is damaged or not ours."""


class UnknownVersionError(ValueError):
    """The file was written by a release with records of another version."""


def encode_payload(
    value: AttemptBegun | RequestRecord | LateAttempts | FileHeader | DeadLetter,
) -> bytes:
    """The payload of a frame. Money is text, ids are 16 bytes, instants are timestamps."""
    return _ENCODER.encode(value)


def salt_of(name: str) -> int:
    """The salt of the file with this name (without its ending)."""
    return zlib.crc32(name.encode())


def frame_seeds(salt: int) -> dict[int, int]:
    """The checksum's starting value per frame type, so that it is worked out once per file."""
    return {kind: zlib.crc32(bytes((kind,)), salt) for kind in _KINDS}


def make_frame(kind: int, payload: bytes, seed: int) -> bytes:
    """A whole frame; `seed` is the value of `frame_seeds` for its type.

    Raises:
        ValueError: the payload is empty or longer than 1 MiB.
    """
    if not 0 < len(payload) <= MAX_PAYLOAD_BYTES:
        raise ValueError(f"a payload of {len(payload)} bytes does not fit into a frame")
    return _PREFIX.pack(len(payload), zlib.crc32(payload, seed), kind) + payload


def make_file_start(header: FileHeader) -> bytes:
    """The magic and the header's frame."""
    return MAGIC + make_frame(HEADER, encode_payload(header), frame_seeds(0)[HEADER])


def parse_file_start(data: bytes) -> tuple[FileHeader, int]:
    """The header and the offset of the first frame.

    Raises:
        CorruptHeaderError: it is not (completely) there.
    """
    if not data.startswith(MAGIC):
        raise CorruptHeaderError("it does not begin with the magic of a spool file")
    start = len(MAGIC)
    if len(data) < start + PREFIX_BYTES:
        raise CorruptHeaderError("it ends within its header")
    length, checksum, kind = _PREFIX.unpack_from(data, start)
    end = start + PREFIX_BYTES + length
    payload = data[start + PREFIX_BYTES : end]
    if kind != HEADER or len(payload) != length or checksum != _checksum(kind, payload, 0):
        raise CorruptHeaderError("its header is damaged")
    try:
        return msgspec.msgpack.decode(payload, type=FileHeader), end
    except msgspec.DecodeError as exc:
        raise CorruptHeaderError(f"its header cannot be read: {exc}") from exc


def parse_frames(
    data: bytes, *, base: int, start: int, salt: int, is_closed: bool, max_frames: int
) -> Parsed:
    """Up to `max_frames` whole frames from the offset `start` on.

    `data` is the file from the offset `base` to its end. A frame of a file that is still written
    to may be incomplete: parsing stops there. In a closed file a damaged frame is passed over by
    looking for the next place where a whole one begins; an incomplete one at the very end is the
    torn tail of a killed writer and no corruption.
    """
    frames: list[Frame] = []
    corrupt = 0
    position = start - base
    while position < len(data) and len(frames) < max_frames:
        found = _frame_at(data, position, salt)
        if not isinstance(found, _Doubt):
            kind, end = found
            frames.append(Frame(kind, data[position + PREFIX_BYTES : end], base + end))
            position = end
            continue
        if not is_closed:
            break
        following = _next_whole_frame(data, position + 1, salt)
        corrupt += following is not None or found is _Doubt.DAMAGED
        position = len(data) if following is None else following
    return Parsed(frames, base + position, corrupt)


class _Doubt(Enum):
    """Why no whole frame begins at a place."""

    INCOMPLETE = 0
    DAMAGED = 1


def _frame_at(data: bytes, position: int, salt: int) -> tuple[int, int] | _Doubt:
    """Type and end of the frame at a position, or why there is none."""
    start = position + PREFIX_BYTES
    if start > len(data):
        return _Doubt.INCOMPLETE
    length, checksum, kind = _PREFIX.unpack_from(data, position)
    if not 0 < length <= MAX_PAYLOAD_BYTES:
        return _Doubt.DAMAGED
    end = start + length
    if end > len(data):
        return _Doubt.INCOMPLETE
    if checksum != _checksum(kind, memoryview(data)[start:end], salt):
        return _Doubt.DAMAGED
    return kind, end


def _next_whole_frame(data: bytes, position: int, salt: int) -> int | None:
    while match := _PLAUSIBLE_START.search(data, position):
        if not isinstance(_frame_at(data, match.start(), salt), _Doubt):
            return match.start()
        position = match.start() + 1
    return None


def _checksum(kind: int, payload: bytes | memoryview, salt: int) -> int:
    return zlib.crc32(payload, zlib.crc32(bytes((kind,)), salt))
