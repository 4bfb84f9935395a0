from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path

import msgspec
import pytest

from gateway.domain.outcomes import Outcome
from gateway.domain.records import LateAttempts, RequestRecord
from gateway.ledger import reader
from gateway.ledger.frames import (
    RECORD,
    UnknownVersionError,
    encode_payload,
    frame_seeds,
    make_file_start,
    make_frame,
    parse_file_start,
    salt_of,
)
from gateway.ledger.reader import read_batch, shipped_up_to, unfinished
from gateway.ledger.spool import Spool
from gateway.ledger.writers import Position
from tests.ledger.samples import (
    ESTIMATE,
    make_answered,
    make_begun,
    read_all,
    segments_of,
    write_shadow,
)


def closed_spool(directory: Path, **arguments: int) -> Spool:
    return Spool(directory / "spool", worker=0, **arguments)


def test_records_are_read_in_order_across_segments(tmp_path: Path) -> None:
    spool = closed_spool(tmp_path, segment_bytes=4_000)
    records = [make_answered() for _ in range(40)]
    for record in records:
        spool.append_begun(make_begun(record.id))
        spool.append_record(record)
    spool.close()

    assert len(segments_of(spool.directory)) > 5
    assert list(read_all(spool.writer)) == records


def test_a_closed_segment_of_large_records_is_read_whole(tmp_path: Path) -> None:
    spool = closed_spool(tmp_path)
    records = [make_answered(plan={"filler": "x" * 300_000, "n": n}) for n in range(40)]
    for record in records:
        spool.append_record(record)
    spool.close()

    assert list(read_all(spool.writer)) == records


def test_a_live_segment_is_read_up_to_what_was_written(tmp_path: Path) -> None:
    spool = closed_spool(tmp_path)
    first, second = make_answered(), make_answered()
    spool.append_record(first)
    batch = read_batch(spool.writer, Position(), live_sequence=spool.sequence)
    spool.append_record(second)
    rest = read_batch(spool.writer, batch.position, live_sequence=spool.sequence)
    nothing = read_batch(spool.writer, rest.position, live_sequence=spool.sequence)
    spool.close()

    assert [found.record for found in batch.found] == [first]
    assert batch.is_end
    assert [found.record for found in rest.found] == [second]
    assert nothing.found == []
    assert nothing.is_end


def test_every_truncation_of_an_ended_segment_yields_a_prefix_of_its_records(
    tmp_path: Path,
) -> None:
    spool = closed_spool(tmp_path)
    records = [make_answered() for _ in range(3)]
    for record in records:
        spool.append_record(record)
    spool.close()
    path = spool.writer.segment_path(1)
    whole = path.read_bytes()

    seen: set[int] = set()
    for length in range(len(whole), -1, -1):
        path.write_bytes(whole[:length])
        found = list(read_all(spool.writer))
        assert found == records[: len(found)]
        seen.add(len(found))
    assert seen == {0, 1, 2, 3}


def test_records_behind_a_damaged_header_are_found(tmp_path: Path) -> None:
    spool = closed_spool(tmp_path)
    record = make_answered()
    spool.append_record(record)
    spool.close()
    path = spool.writer.segment_path(1)
    path.write_bytes(b"\0" * 20 + path.read_bytes()[20:])

    batch = read_batch(spool.writer, Position(), live_sequence=None)

    assert [found.record for found in batch.found] == [record]
    assert batch.corrupt_frames == 1


def test_a_damaged_record_is_counted_and_the_next_ones_are_found(tmp_path: Path) -> None:
    spool = closed_spool(tmp_path)
    records = [make_answered() for _ in range(3)]
    for record in records:
        spool.append_record(record)
    spool.close()
    path = spool.writer.segment_path(1)
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 0xFF
    path.write_bytes(data)

    batch = read_batch(spool.writer, Position(), live_sequence=None)

    assert [found.record for found in batch.found] == [records[0], records[2]]
    assert batch.corrupt_frames == 1


def test_a_whole_frame_that_is_no_record_is_told_apart_from_records(tmp_path: Path) -> None:
    spool = closed_spool(tmp_path)
    record = make_answered()
    spool.append_record(record)
    spool.close()
    seed = frame_seeds(salt_of(spool.writer.segment_name(1)))[RECORD]
    with spool.writer.segment_path(1).open("ab") as file:
        file.write(make_frame(RECORD, msgspec.msgpack.encode({"id": "of another world"}), seed))

    batch = read_batch(spool.writer, Position(), live_sequence=None)

    assert [found.record for found in batch.found] == [record, None]
    assert batch.found[1].problem is not None


def test_records_of_another_version_are_not_touched(tmp_path: Path) -> None:
    spool = closed_spool(tmp_path)
    spool.append_record(make_answered())
    spool.close()
    path = spool.writer.segment_path(1)
    data = path.read_bytes()
    header, start = parse_file_start(data)
    newer = msgspec.structs.replace(header, schema_version=99)
    path.write_bytes(make_file_start(newer) + data[start:])

    # Its own release may have shipped the first part of it.
    for offset in (0, start):
        position = Position(sequence=1, offset=offset)
        with pytest.raises(UnknownVersionError, match="version 99"):
            read_batch(spool.writer, position, live_sequence=None)


def test_requests_without_their_record_count_as_crashed_at_their_estimated_cost(
    tmp_path: Path,
) -> None:
    spool = closed_spool(tmp_path, segment_bytes=3_000)
    answered = [make_answered() for _ in range(20)]
    for record in answered[:10]:
        spool.append_begun(make_begun(record.id))
    lost = make_begun()
    spool.append_begun(lost)
    spool.append_begun(
        make_begun(lost.request_id, number=2, kind="fallback", endpoint="azure/gpt-4o-mini")
    )
    for record in answered:
        spool.append_record(record)
    spool.close()

    [crashed] = unfinished(spool.writer)
    assert isinstance(crashed, RequestRecord)

    assert crashed.id == lost.request_id
    assert crashed.outcome is Outcome.UNKNOWN_CRASH
    assert crashed.cost_usd == Decimal("0.00003")
    assert crashed.cost_status == "estimated"
    assert [(a.number, a.usage_source, a.cost) for a in crashed.attempts] == [
        (1, "estimated", ESTIMATE),
        (2, "estimated", ESTIMATE),
    ]


def test_an_attempt_that_was_written_twice_counts_once(tmp_path: Path) -> None:
    spool = closed_spool(tmp_path)
    begun = make_begun()
    spool.append_begun(begun)
    spool.append_begun(begun)
    spool.close()

    [crashed] = unfinished(spool.writer)
    assert isinstance(crashed, RequestRecord)

    assert len(crashed.attempts) == 1


def test_a_large_batch_says_that_there_is_more(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reader, "MAX_FRAMES", 10)
    spool = closed_spool(tmp_path)
    for _ in range(25):
        spool.append_record(make_answered())
    position, sizes, is_end = Position(), list[int](), False
    while not is_end:
        batch = read_batch(spool.writer, position, live_sequence=spool.sequence)
        position, is_end = batch.position, batch.is_end
        sizes.append(len(batch.found))
    spool.close()

    assert sizes == [10, 10, 5]


def test_a_frame_moved_to_another_file_is_not_taken_for_one_of_its_own(tmp_path: Path) -> None:
    spool = closed_spool(tmp_path)
    spool.close()
    stranger = make_frame(
        RECORD, encode_payload(make_answered()), frame_seeds(salt_of("elsewhere"))[RECORD]
    )
    with spool.writer.segment_path(1).open("ab") as file:
        file.write(stranger)

    batch = read_batch(spool.writer, Position(), live_sequence=None)

    assert batch.found == []
    assert batch.corrupt_frames == 1


def test_a_long_backlog_is_as_old_as_what_is_still_missing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reader, "MAX_FRAMES", 10)
    now = datetime.now(UTC)
    spool = closed_spool(tmp_path)
    for minute in range(30):
        spool.append_record(make_answered(received_at=now - timedelta(minutes=30 - minute)))
    position, since, ages = Position(), now - timedelta(hours=1), list[float]()
    for _ in range(4):
        batch = read_batch(spool.writer, position, live_sequence=1)
        position, since = batch.position, shipped_up_to(batch, now, since)
        ages.append((now - since).total_seconds() / 60)
    spool.close()

    assert ages == [21, 11, 1, 0]


class TestAShadowOfARequestThatHasItsRecord:
    """It begins after the record, and ends in late attempts."""

    def test_whose_end_was_written_is_read_after_the_record(self, tmp_path: Path) -> None:
        spool = closed_spool(tmp_path)
        record, late = write_shadow(spool)
        spool.close()

        batch = read_batch(spool.writer, Position(), live_sequence=None)

        assert [found.record for found in batch.found] == [record, late]
        assert unfinished(spool.writer) == []

    def test_whose_process_died_is_recorded_as_crashed_beside_the_record(
        self, tmp_path: Path
    ) -> None:
        spool = closed_spool(tmp_path)
        record, _ = write_shadow(spool, ends=False)
        spool.close()

        [left] = unfinished(spool.writer)

        assert isinstance(left, LateAttempts)
        assert left.id == record.id
        assert [(a.number, a.kind, a.outcome, a.cost) for a in left.attempts] == [
            (2, "shadow", Outcome.UNKNOWN_CRASH, ESTIMATE)
        ]

    def test_keeps_the_segment_that_tells_of_its_beginning(self, tmp_path: Path) -> None:
        spool = closed_spool(tmp_path, segment_bytes=1_000)
        write_shadow(spool, ends=False)
        began_in = spool.needed_from
        for _ in range(5):
            spool.append_record(make_answered())

        assert began_in == spool.needed_from < spool.sequence
        spool.close()
