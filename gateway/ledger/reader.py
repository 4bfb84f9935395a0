"""Reads a writer's segments in order, from where they were last shipped."""

from pathlib import Path
from typing import NamedTuple

import msgspec

from gateway.domain.outcomes import Outcome
from gateway.domain.records import AttemptBegun, AttemptRecord, RequestRecord
from gateway.ledger.frames import (
    BEGUN,
    MAX_PAYLOAD_BYTES,
    PREFIX_BYTES,
    RECORD,
    CorruptHeaderError,
    parse_file_start,
    parse_frames,
    salt_of,
)
from gateway.ledger.writers import Position, Writer
from pricing.cost import add_costs

MAX_FRAMES = 2_000
"""Two frames a request: its attempt's beginning and its record."""
_MAX_BYTES = 4 * 1024 * 1024

_RECORD_DECODER = msgspec.msgpack.Decoder(RequestRecord)
_BEGUN_DECODER = msgspec.msgpack.Decoder(AttemptBegun)


class Found(NamedTuple):
    """A record in its frame."""

    record: RequestRecord | None
    """None when the frame is whole and its content cannot be read."""
    payload: bytes
    segment: str
    offset: int
    """Right after the frame."""
    problem: str | None


class Batch(NamedTuple):
    """What one reading found, and where to read on once it is stored."""

    found: list[Found]
    position: Position
    corrupt_frames: int
    is_end: bool
    """Nothing more is there now."""


def read_batch(writer: Writer, position: Position, *, live_sequence: int | None) -> Batch:
    """The next records of a writer.

    Args:
        writer: whose segments.
        position: where to read on.
        live_sequence: the segment that is still written to; None when the writer has ended.
    """
    corrupt = 0
    for sequence in writer.sequences():
        if sequence < position.sequence:
            continue
        offset = position.offset if sequence == position.sequence else 0
        is_closed = live_sequence is None or sequence < live_sequence
        part = _read_segment(writer, sequence, offset, is_closed=is_closed)
        corrupt += part.corrupt_frames
        position = part.position
        if part.found or not part.is_end:
            return Batch(part.found, position, corrupt, is_end=False)
    return Batch([], position, corrupt, is_end=True)


def unfinished(writer: Writer) -> list[RequestRecord]:
    """Records for requests of an ended writer whose own record was never written.

    Their attempts had begun when the process died: what became of them is unknown, and what they
    cost is estimated from the prompt that was sent.
    """
    begun: dict[bytes, list[AttemptBegun]] = {}
    for sequence in writer.sequences():
        offset, is_end = 0, False
        while not is_end:
            data, base = _read(writer.segment_path(sequence), offset)
            start = _first_frame(data, base, offset)
            if start is None:
                break
            parsed = parse_frames(
                data,
                base=base,
                start=start,
                salt=salt_of(writer.segment_name(sequence)),
                is_closed=True,
                max_frames=MAX_FRAMES,
            )
            for frame in parsed.frames:
                _follow(begun, frame.kind, frame.payload)
            is_end = parsed.end <= offset or not parsed.frames
            offset = parsed.end
    return [_crashed(attempts) for attempts in begun.values()]


def _follow(begun: dict[bytes, list[AttemptBegun]], kind: int, payload: bytes) -> None:
    try:
        if kind == BEGUN:
            attempt = _BEGUN_DECODER.decode(payload)
            begun.setdefault(attempt.request_id.bytes, []).append(attempt)
        elif kind == RECORD:
            begun.pop(_RECORD_DECODER.decode(payload).id.bytes, None)
    except msgspec.MsgspecError:
        # Of another release: its record, if it has one, is set aside where it is shipped.
        return


def _crashed(begun: list[AttemptBegun]) -> RequestRecord:
    first = begun[0]
    attempts = tuple(
        AttemptRecord(
            number=attempt.number,
            kind=attempt.kind,
            provider=attempt.provider,
            model=attempt.model,
            endpoint=attempt.endpoint,
            provider_model=attempt.provider_model,
            started_at=attempt.started_at,
            outcome=Outcome.UNKNOWN_CRASH,
            usage=attempt.estimated_usage,
            usage_source="estimated",
            cost=attempt.estimated_cost,
        )
        for attempt in begun
    )
    cost = add_costs(attempt.cost for attempt in attempts)
    return RequestRecord(
        id=first.request_id,
        received_at=first.received_at,
        key_id=first.key_id,
        labels=first.labels,
        dialect=first.dialect,
        stream=first.stream,
        requested_model=first.requested_model,
        status_code=0,
        outcome=Outcome.UNKNOWN_CRASH,
        error_kind="unknown_crash",
        duration_ms=0.0,
        cost_usd=cost.total_usd,
        cost_status=cost.status,
        catalogue_version=first.catalogue_version,
        code_version=first.code_version,
        plan={},
        attempts=attempts,
    )


def _read_segment(writer: Writer, sequence: int, offset: int, *, is_closed: bool) -> Batch:
    data, base = _read(writer.segment_path(sequence), offset)
    start = _first_frame(data, base, offset)
    if start is None:
        # A header that is not complete yet, or that the writer's end cut off: no frame follows it.
        return Batch([], Position(sequence=sequence, offset=0), 0, is_end=True)
    name = writer.segment_name(sequence)
    parsed = parse_frames(
        data,
        base=base,
        start=start,
        salt=salt_of(name),
        is_closed=is_closed,
        max_frames=MAX_FRAMES,
    )
    found = [
        _decode(frame.payload, name, frame.end) for frame in parsed.frames if frame.kind == RECORD
    ]
    position = Position(sequence=sequence, offset=parsed.end)
    return Batch(found, position, parsed.corrupt_frames, is_end=not parsed.frames)


def _decode(payload: bytes, segment: str, offset: int) -> Found:
    try:
        return Found(_RECORD_DECODER.decode(payload), payload, segment, offset, None)
    except msgspec.MsgspecError as exc:
        return Found(None, payload, segment, offset, f"cannot be read: {exc}")


def _read(path: Path, offset: int) -> tuple[bytes, int]:
    """A stretch of the file from an offset on, at least one whole frame if there is one."""
    with path.open("rb") as file:
        file.seek(offset)
        return file.read(_MAX_BYTES + MAX_PAYLOAD_BYTES + PREFIX_BYTES), offset


def _first_frame(data: bytes, base: int, offset: int) -> int | None:
    if offset:
        return offset
    try:
        return parse_file_start(data)[1] + base
    except CorruptHeaderError:
        return None
