"""The reader of server-sent events."""

from itertools import pairwise

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from gateway.providers.sse import MAX_EVENT_BYTES, SseReader
from tests.properties import many


def read(*parts: bytes) -> list[bytes]:
    reader = SseReader()
    events = [event for part in parts for event in reader.feed(part)]
    return events + reader.end()


@pytest.mark.parametrize(
    ("stream", "events"),
    [
        pytest.param(b"data: a\n\ndata: b\n\n", [b"a", b"b"], id="usual"),
        pytest.param(b"data: a\r\n\r\ndata: b\r\n\r\n", [b"a", b"b"], id="crlf"),
        pytest.param(b"data: a\r\rdata: b\r\r", [b"a", b"b"], id="cr"),
        pytest.param(b"data: a\r\n\ndata: b\n\r\n", [b"a", b"b"], id="mixed"),
        pytest.param(b"data:a\n\ndata:  b\n\n", [b"a", b" b"], id="spaces"),
        pytest.param(b"data: a\ndata: b\n\n", [b"a\nb"], id="two-lines"),
        pytest.param(b": ping\n\n: ping\ndata: a\n: pong\n\n", [b"a"], id="comments"),
        pytest.param(b"event: x\nid: 1\nretry: 9\ndata: a\n\n", [b"a"], id="fields"),
        pytest.param(b"\xef\xbb\xbfdata: a\n\n", [b"a"], id="byte-order-mark"),
        pytest.param(b"\n\n\ndata: a\n\n\n\n\ndata: b\n\n", [b"a", b"b"], id="blank-lines"),
        pytest.param(b"event: nothing\n\ndata: a\n\n", [b"a"], id="without-data"),
        pytest.param(b"data\n\ndata:\n\n", [b"", b""], id="empty-data"),
        pytest.param(b"data: a\n\ndata: b", [b"a", b"b"], id="not-closed"),
        pytest.param(b"data: a\n\ndata: b\n", [b"a", b"b"], id="half-closed"),
        pytest.param(b"data: \xc3\xa9\n\n", [b"\xc3\xa9"], id="utf8"),
        pytest.param(b"dataa: x\n\ndat: y\n\n", [], id="other-fields"),
        pytest.param(b"", [], id="nothing"),
    ],
)
def test_events_are_read_whole_and_byte_by_byte(stream: bytes, events: list[bytes]) -> None:
    assert read(stream) == events
    assert read(*[stream[i : i + 1] for i in range(len(stream))]) == events


def test_event_names_are_kept() -> None:
    reader = SseReader()

    payloads = reader.feed(b"data: a\n\nevent: error\ndata: b\n\n")

    assert payloads == [b"a", b"b"]
    assert reader.names == {1: "error"}
    assert reader.feed(b"data: c\n\n") == [b"c"]
    assert reader.names == {}


@pytest.mark.parametrize("size", [1, 1000, 65_536, 10_000_000])
def test_an_event_above_the_limit_stops_the_reader(size: int) -> None:
    stream = b"data: a\n\ndata: " + b"x" * MAX_EVENT_BYTES + b"\n\ndata: b\n\n"
    if size == 1:
        parts = [stream[:100], *[stream[i : i + 1] for i in range(100, 200)], stream[200:]]
    else:
        parts = [stream[i : i + size] for i in range(0, len(stream), size)]
    reader = SseReader()

    events = [event for part in parts for event in reader.feed(part)]

    assert events == [b"a"]
    assert reader.is_overflowing
    assert reader.end() == []


def test_an_event_of_just_the_limit_is_read() -> None:
    payload = b"x" * (MAX_EVENT_BYTES - 6)

    assert read(b"data: " + payload, b"\n", b"\n") == [payload]


PIECES = st.lists(
    st.sampled_from(
        [
            b"data: a",
            b"data:b",
            b"data",
            b": c",
            b"event: e",
            b"\n",
            b"\r",
            b"\r\n",
            b"\xc3\xa9",
            b"x",
        ]
    ),
    max_size=24,
)


@given(pieces=PIECES, cuts=st.lists(st.integers(0, 200), max_size=8))
@example(pieces=[b"data: a", b"\r\n", b"\r\n"], cuts=[8])
@settings(max_examples=many(300))
def test_any_way_of_cutting_gives_the_same_events(pieces: list[bytes], cuts: list[int]) -> None:
    stream = b"".join(pieces)
    edges = sorted({0, len(stream), *(cut for cut in cuts if cut < len(stream))})
    parts = [stream[a:b] for a, b in pairwise(edges)]

    assert read(*parts) == read(stream)
