"""Reads a writer's segments in order, from where they were last shipped."""

import time
from datetime import datetime
from decimal import Decimal
from typing import NamedTuple
from uuid import UUID

import msgspec

from gateway.domain.budgets import Charge
from gateway.domain.outcomes import Outcome
from gateway.domain.records import (
    SCHEMA_VERSION,
    AttemptBegun,
    AttemptRecord,
    LateAttempts,
    RequestRecord,
)
from gateway.ledger.frames import (
    BEGUN,
    LATE,
    MAGIC,
    MAX_PAYLOAD_BYTES,
    PREFIX_BYTES,
    RECORD,
    CorruptHeaderError,
    Frame,
    Parsed,
    UnknownVersionError,
    parse_file_start,
    parse_frames,
    salt_of,
)
from gateway.ledger.writers import Position, Writer
from pricing.cost import Cost, add_costs, at_most, from_nano_usd, to_nano_usd

MAX_FRAMES = 2_000
"""Two frames a request: its attempt's beginning and its record."""
_LIVE_BYTES = 4 * 1024 * 1024
_LIVE_READ_BYTES = _LIVE_BYTES + MAX_PAYLOAD_BYTES + PREFIX_BYTES

_HEADER_BYTES = 4096
_FRAMES_AT_ONCE = 50
_FREE = Decimal(0)

_RECORD_DECODER = msgspec.msgpack.Decoder(RequestRecord)
_LATE_DECODER = msgspec.msgpack.Decoder(LateAttempts)
_BEGUN_DECODER = msgspec.msgpack.Decoder(AttemptBegun)


_DECODERS: dict[
    int, msgspec.msgpack.Decoder[RequestRecord] | msgspec.msgpack.Decoder[LateAttempts]
] = {RECORD: _RECORD_DECODER, LATE: _LATE_DECODER}
"""Of the frames that are stored."""


class _RecordId(msgspec.Struct, frozen=True):
    id: UUID


_ID_DECODER = msgspec.msgpack.Decoder(_RecordId)


class Found(NamedTuple):
    """A record, or what came later of a request, in its frame."""

    record: RequestRecord | LateAttempts | None
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
    """There was nothing more when it was read."""


def read_batch(writer: Writer, position: Position, *, live_sequence: int | None) -> Batch:
    """The next records of a writer.

    Args:
        writer: whose segments.
        position: where to read on.
        live_sequence: the segment that is still written to; None when the writer has ended.

    Raises:
        UnknownVersionError: another release wrote them.
    """
    corrupt = 0
    sequences = [n for n in writer.sequences() if n >= position.sequence]
    for sequence in sequences:
        offset = position.offset if sequence == position.sequence else 0
        is_newest = sequence == sequences[-1]
        # A writer begins a segment when the one before is complete.
        is_closed = live_sequence is None or not is_newest
        parsed = _read_frames(writer, sequence, offset, is_closed=is_closed)
        corrupt += parsed.corrupt_frames
        if parsed.end > offset:
            position = Position(sequence=sequence, offset=parsed.end)
        if parsed.frames:
            name = writer.segment_name(sequence)
            found = _decode_records(parsed.frames, name)
            is_end = is_newest and len(parsed.frames) < MAX_FRAMES and not _is_cut(parsed, offset)
            return Batch(found, position, corrupt, is_end)
    return Batch([], position, corrupt, is_end=True)


def shipped_up_to(batch: Batch, read_at: datetime, before: datetime) -> datetime:
    """Since when records may be missing from Postgres, now that a batch is there."""
    if batch.is_end:
        return read_at
    last = batch.found[-1].record if batch.found else None
    # It was written after it was received, and whatever follows it later still.
    return before if last is None else max(before, min(last.received_at, read_at))


def unfinished(writer: Writer) -> list[RequestRecord | LateAttempts]:
    """Records for what an ended writer had begun and never told the end of.

    What became of an attempt that had begun is unknown, and what it cost is estimated from the
    prompt that was sent. A request whose record was written may have left a shadow behind: that
    makes late attempts.

    Raises:
        UnknownVersionError: another release wrote them.
    """
    begun: dict[bytes, dict[int, AttemptBegun]] = {}
    for sequence in writer.sequences():
        offset = 0
        while True:
            parsed = _read_frames(writer, sequence, offset, is_closed=True)
            for frame in parsed.frames:
                _follow(begun, frame.kind, frame.payload)
            time.sleep(0)
            if not parsed.frames:
                break
            offset = parsed.end
    return [_crashed(list(attempts.values())) for attempts in begun.values() if attempts]


def _follow(begun: dict[bytes, dict[int, AttemptBegun]], kind: int, payload: bytes) -> None:
    try:
        if kind == BEGUN:
            attempt = _BEGUN_DECODER.decode(payload)
            begun.setdefault(attempt.request_id.bytes, {})[attempt.number] = attempt
        elif kind == RECORD:
            begun.pop(_ID_DECODER.decode(payload).id.bytes, None)
        elif kind == LATE:
            late = _LATE_DECODER.decode(payload)
            left = begun.get(late.id.bytes, {})
            for ended in late.attempts:
                left.pop(ended.number, None)
    except msgspec.MsgspecError:
        # Of another release: its record, if it has one, is set aside where it is shipped.
        return


def _crashed(begun: list[AttemptBegun]) -> RequestRecord | LateAttempts:
    first, last = begun[0], begun[-1].reservation
    settled = last.settled if last is not None else {}
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
            cost=_cost_at_most(attempt, settled),
        )
        for attempt in begun
    )
    if all(attempt.kind == "shadow" for attempt in begun):
        # Shadows begin when their request's record is written.
        return LateAttempts(
            id=first.request_id,
            received_at=first.received_at,
            key_id=first.key_id,
            labels=first.labels,
            attempts=attempts,
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
        is_paid_by_caller=first.is_paid_by_caller,
        plan={},
        attempts=attempts,
        charge=None
        if last is None
        else Charge(
            windows=last.windows,
            nusd=sum(to_nano_usd(attempt.cost.total_usd or _FREE) for attempt in attempts),
        ),
    )


def _cost_at_most(attempt: AttemptBegun, settled: dict[int, int]) -> Cost:
    """What budgets held for it: whatever its provider billed was within that.

    Its true cost where it was over before another began.
    """
    reserved = attempt.reservation.nusd if attempt.reservation is not None else None
    nusd = settled.get(attempt.number, reserved)
    return (
        attempt.estimated_cost
        if nusd is None
        else at_most(attempt.estimated_cost, from_nano_usd(nusd))
    )


def _read_frames(writer: Writer, sequence: int, offset: int, *, is_closed: bool) -> Parsed:
    """The next frames of a segment from an offset on; none when nothing (whole) is there."""
    name = writer.segment_name(sequence)
    try:
        with writer.segment_path(sequence).open("rb") as file:
            if offset:
                # A release that knows this version may have shipped the first part of it.
                _first_frame(file.read(_HEADER_BYTES), is_closed=True)
                file.seek(offset)
            # Looking for the next whole frame behind a damaged one needs the file to its end.
            data = file.read() if is_closed else file.read(_LIVE_READ_BYTES)
    except FileNotFoundError:
        return Parsed([], offset, 0)
    start = offset or _first_frame(data, is_closed=is_closed)
    if start is None:
        return Parsed([], 0, 0)
    return parse_frames(
        data,
        base=offset,
        start=start,
        salt=salt_of(name),
        is_closed=is_closed,
        max_frames=MAX_FRAMES,
    )


def _first_frame(data: bytes, *, is_closed: bool) -> int | None:
    """Where frames begin; None when the header is not complete yet.

    The frames behind a damaged header are found all the same: their salt is in the file's name.
    """
    try:
        header, start = parse_file_start(data)
    except CorruptHeaderError:
        return len(MAGIC) if is_closed else None
    if header.schema_version != SCHEMA_VERSION:
        raise UnknownVersionError(
            f"records of version {header.schema_version} in {header.name}, this release knows "
            f"{SCHEMA_VERSION}; start the release that wrote them to have them shipped"
        )
    return start


def _is_cut(parsed: Parsed, offset: int) -> bool:
    """Whether a live segment may hold more than one reading takes."""
    return parsed.end - offset >= _LIVE_BYTES


def _decode_records(frames: list[Frame], segment: str) -> list[Found]:
    found: list[Found] = []
    for index, frame in enumerate(frames):
        if index % _FRAMES_AT_ONCE == 0:
            # This is done on a thread; the event loop has to wait for it to let go.
            time.sleep(0)
        if frame.kind in _DECODERS:
            found.append(_decode(frame, segment))
    return found


def _decode(frame: Frame, segment: str) -> Found:
    payload, offset = frame.payload, frame.end
    try:
        return Found(_DECODERS[frame.kind].decode(payload), payload, segment, offset, None)
    except msgspec.MsgspecError as exc:
        return Found(None, payload, segment, offset, f"cannot be read: {exc}")
