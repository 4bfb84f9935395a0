from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.ledger.frames import (
    BEGUN,
    MAX_PAYLOAD_BYTES,
    RECORD,
    CorruptHeaderError,
    FileHeader,
    Frame,
    encode_payload,
    frame_seeds,
    make_file_start,
    make_frame,
    parse_file_start,
    parse_frames,
    salt_of,
)
from tests.ledger.samples import make_answered, make_begun

NAME = "0001-1-0-00000001"
SALT = salt_of(NAME)
SEEDS = frame_seeds(SALT)
HEADER = FileHeader(schema_version=1, node="n", name=NAME, created_at=datetime.now(UTC))
REQUEST = make_answered()
PAYLOADS = [
    (BEGUN, encode_payload(make_begun(REQUEST.id))),
    (RECORD, encode_payload(REQUEST)),
    (RECORD, encode_payload(make_answered(requested_model="second"))),
]
FRAMES = [make_frame(kind, payload, SEEDS[kind]) for kind, payload in PAYLOADS]


def parse(data: bytes, *, is_closed: bool = True, salt: int = SALT) -> tuple[list[Frame], int, int]:
    parsed = parse_frames(data, base=0, start=0, salt=salt, is_closed=is_closed, max_frames=1_000)
    return parsed.frames, parsed.end, parsed.corrupt_frames


def contents(frames: list[Frame]) -> list[tuple[int, bytes]]:
    return [(frame.kind, frame.payload) for frame in frames]


def test_a_file_start_is_read_back() -> None:
    start = make_file_start(HEADER)

    assert parse_file_start(start + b"more") == (HEADER, len(start))


def test_a_file_start_that_is_cut_or_damaged_anywhere_is_refused() -> None:
    start = make_file_start(HEADER)

    for length in range(len(start)):
        with pytest.raises(CorruptHeaderError):
            parse_file_start(start[:length])
    for place in range(len(start)):
        with pytest.raises(CorruptHeaderError):
            parse_file_start(flipped(start, place))


def flipped(data: bytes, place: int) -> bytes:
    return data[:place] + bytes((data[place] ^ 0x40,)) + data[place + 1 :]


@pytest.mark.parametrize("is_closed", [True, False])
def test_a_file_cut_at_any_byte_yields_the_frames_before_the_cut_and_nothing_else(
    is_closed: bool,
) -> None:
    data = b"".join(FRAMES)
    ends = [sum(map(len, FRAMES[: n + 1])) for n in range(len(FRAMES))]

    for length in range(len(data) + 1):
        whole = sum(end <= length for end in ends)
        frames, end, corrupt = parse(data[:length], is_closed=is_closed)
        assert contents(frames) == PAYLOADS[:whole]
        assert [frame.end for frame in frames] == ends[:whole]
        assert corrupt == 0
        if not is_closed:
            assert end == ([0, *ends])[whole], "what is incomplete must be read again"


def test_one_damaged_byte_costs_one_frame_of_a_closed_file_and_is_counted() -> None:
    data = b"".join(FRAMES)
    starts = [sum(map(len, FRAMES[:n])) for n in range(len(FRAMES))]

    for place in range(len(data)):
        damaged = max(n for n, start in enumerate(starts) if start <= place)
        expected = [payload for n, payload in enumerate(PAYLOADS) if n != damaged]
        frames, end, corrupt = parse(flipped(data, place))
        assert contents(frames) == expected
        assert end == len(data)
        # A last frame whose length points behind the end looks like a writer's torn tail.
        assert corrupt == 1 or damaged == len(FRAMES) - 1


def test_a_file_that_is_written_to_is_not_read_beyond_damage() -> None:
    data = FRAMES[0] + flipped(FRAMES[1], 20) + FRAMES[2]

    frames, end, _ = parse(data, is_closed=False)

    assert contents(frames) == PAYLOADS[:1]
    assert end == len(FRAMES[0])


def test_a_frame_smuggled_into_a_record_is_not_found_in_a_damaged_file() -> None:
    forged = make_frame(RECORD, encode_payload(make_answered()), frame_seeds(0)[RECORD])
    carrier = make_frame(RECORD, b"\x81" + forged, SEEDS[RECORD])

    frames, _, corrupt = parse(flipped(carrier, 4) + FRAMES[2])

    assert contents(frames) == PAYLOADS[2:]
    assert corrupt == 1


@given(noise=st.binary(max_size=400), cut=st.integers(0, 2_000))
def test_noise_between_frames_never_becomes_a_record(noise: bytes, cut: int) -> None:
    data = FRAMES[0] + noise + FRAMES[1][:cut] + FRAMES[2]

    frames, end, _ = parse(data)

    assert set(contents(frames)) <= set(PAYLOADS)
    assert PAYLOADS[2] in contents(frames)
    assert end == len(data)


def test_a_payload_that_is_too_long_or_empty_makes_no_frame() -> None:
    for payload in (b"", bytes(MAX_PAYLOAD_BYTES + 1)):
        with pytest.raises(ValueError, match="does not fit"):
            make_frame(RECORD, payload, SEEDS[RECORD])
