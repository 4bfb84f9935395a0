"""Binary event streams are read alike however they are cut, and damage is told, never raised."""

import itertools
import struct
import zlib
from datetime import UTC, datetime
from typing import Any

import pytest
from botocore.eventstream import EventStreamBuffer  # pyright: ignore[reportMissingTypeStubs] -- it has none
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.providers.event_stream import MAX_MESSAGE_BYTES, EventStreamReader, Message
from tests.properties import many

Header = tuple[str, int, bytes]
Headers = list[Header]


def encode(headers: Headers, payload: bytes) -> bytes:
    """A message by hand; header values are given as they stand on the wire."""
    written = b"".join(
        bytes([len(name)]) + name.encode() + bytes([kind]) + value for name, kind, value in headers
    )
    lengths = struct.pack(">II", 16 + len(written) + len(payload), len(written))
    start = lengths + struct.pack(">I", zlib.crc32(lengths)) + written + payload
    return start + struct.pack(">I", zlib.crc32(start))


def text_header(name: str, value: str) -> Header:
    raw = value.encode()
    return name, 7, struct.pack(">H", len(raw)) + raw


def event(kind: str, payload: bytes) -> bytes:
    return encode(
        [text_header(":event-type", kind), text_header(":message-type", "event")], payload
    )


def flag(name: str) -> Header:
    return name, 0, b""


def number(name: str, value: int) -> Header:
    return name, 4, struct.pack(">i", value)


def blob(name: str, value: bytes) -> Header:
    return name, 6, struct.pack(">H", len(value)) + value


def instant(name: str) -> Header:
    return name, 8, struct.pack(">q", 1_700_000_000_000)


def uuid(name: str, value: bytes) -> Header:
    return name, 9, value


names = st.text(st.characters(codec="ascii", categories=("L",)), min_size=1, max_size=12)
headers = st.lists(
    st.one_of(
        st.builds(text_header, names, st.text(max_size=40)),
        st.builds(flag, names),
        st.builds(number, names, st.integers(-9, 9)),
        st.builds(blob, names, st.binary(max_size=20)),
        st.builds(instant, names),
        st.builds(uuid, names, st.binary(min_size=16, max_size=16)),
    ),
    max_size=5,
    unique_by=lambda header: header[0],
)
messages = st.builds(encode, headers, st.binary(max_size=200))


def read(data: bytes, cuts: list[int]) -> tuple[list[Message], str | None]:
    reader = EventStreamReader()
    found: list[Message] = []
    positions = sorted({0, len(data), *(cut % (len(data) + 1) for cut in cuts)})
    for start, end in itertools.pairwise(positions):
        found += reader.feed(data[start:end])
    return found, reader.damage


@given(st.lists(messages, min_size=1, max_size=6), st.lists(st.integers(0, 10**6), max_size=30))
@settings(max_examples=many(150))
def test_any_cutting_of_a_stream_gives_the_same_messages(
    stream: list[bytes], cuts: list[int]
) -> None:
    data = b"".join(stream)

    assert read(data, cuts) == read(data, [])
    assert read(data, list(range(len(data)))) == read(data, [])
    assert len(read(data, [])[0]) == len(stream)


@given(messages)
@settings(max_examples=many(100))
def test_messages_are_read_as_awss_own_library_reads_them(data: bytes) -> None:
    buffer: Any = EventStreamBuffer()
    buffer.add_data(data)
    (theirs,) = list(buffer)

    ((ours,), damage) = read(data, [])

    assert damage is None
    assert ours.payload == theirs.payload
    strings = {name: value for name, value in theirs.headers.items() if isinstance(value, str)}
    assert {**ours.headers} == strings


@given(
    st.lists(messages, min_size=1, max_size=4),
    st.integers(0, 10**6),
    st.integers(1, 255),
    st.lists(st.integers(0, 10**6), max_size=8),
)
@settings(max_examples=many(200))
def test_a_changed_byte_is_never_taken_for_a_message(
    stream: list[bytes], where: int, change: int, cuts: list[int]
) -> None:
    data = bytearray(b"".join(stream))
    data[where % len(data)] ^= change

    found, damage = read(bytes(data), cuts)

    whole, _ = read(b"".join(stream), [])
    assert found == whole[: len(found)]
    assert len(found) < len(stream)
    assert damage is not None


def test_nothing_is_read_after_damage() -> None:
    good = event("messageStart", b"{}")
    bad = bytearray(event("contentBlockDelta", b'{"delta":{"text":"a"}}'))
    bad[-1] ^= 1
    reader = EventStreamReader()

    found = reader.feed(good + bytes(bad) + good)
    later = reader.feed(good)

    assert [message.headers[":event-type"] for message in found] == ["messageStart"]
    assert later == []
    assert reader.damage == "the checksum of a message is wrong"


def test_a_message_beyond_the_limit_is_refused_before_it_is_read() -> None:
    lengths = struct.pack(">II", MAX_MESSAGE_BYTES + 1, 0)
    reader = EventStreamReader()

    found = reader.feed(lengths + struct.pack(">I", zlib.crc32(lengths)))

    assert found == []
    assert reader.damage is not None
    assert "above" in reader.damage


@pytest.mark.parametrize(
    "headers",
    [
        pytest.param(b"\x05:name\x07\x00\xff", id="value beyond the end"),
        pytest.param(b"\x05:name\x0b", id="unknown type"),
        pytest.param(b"\x7f:name", id="name beyond the end"),
        pytest.param(b"\x02\xff\xfe\x00", id="name that is no text"),
    ],
)
def test_headers_that_make_no_sense_are_damage(headers: bytes) -> None:
    lengths = struct.pack(">II", 16 + len(headers), len(headers))
    start = lengths + struct.pack(">I", zlib.crc32(lengths)) + headers
    reader = EventStreamReader()

    found = reader.feed(start + struct.pack(">I", zlib.crc32(start)))

    assert found == []
    assert reader.damage == "the headers of a message cannot be read"


def test_an_unfinished_message_is_known_to_be_one() -> None:
    data = event("messageStart", b"{}")
    reader = EventStreamReader()

    reader.feed(data[:-1])
    assert reader.is_in_message

    reader.feed(data[-1:])
    assert not reader.is_in_message


def test_only_text_headers_are_given() -> None:
    at = struct.pack(">q", int(datetime(2026, 1, 1, tzinfo=UTC).timestamp() * 1000))
    data = encode([("time", 8, at), text_header("name", "value"), ("true", 0, b"")], b"x")

    found, _ = read(data, [])

    assert found == [Message({"name": "value"}, b"x")]
