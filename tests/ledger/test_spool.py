import errno
import os
import resource
import stat
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from gateway.ledger import spool as spool_module
from gateway.ledger.pressure import Pressure, pressure_of
from gateway.ledger.spool import Spool, SpoolUnwritableError
from tests.ledger.samples import make_answered, make_begun, read_all, segments_of

DEADLINE_S = 10.0


def until(condition: Callable[[], bool]) -> None:
    give_up_s = time.monotonic() + DEADLINE_S
    while not condition():
        assert time.monotonic() < give_up_s, "it never came true"
        time.sleep(0.005)


@pytest.fixture
def file_size_limit() -> Any:
    """Call it with the most bytes that a file may have: the disk is full beyond."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)

    def limit(size: int) -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))

    yield limit
    resource.setrlimit(resource.RLIMIT_FSIZE, before)


def test_files_belong_to_their_owner_alone(tmp_path: Path) -> None:
    spool = Spool(tmp_path / "spool", worker=0)
    spool.append_record(make_answered())
    spool.close()

    assert stat.S_IMODE(spool.directory.stat().st_mode) == 0o700
    for path in spool.directory.iterdir():
        assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_a_record_is_on_disk_when_append_returns_in_one_write(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    spool = Spool(tmp_path / "spool", worker=0)
    written: list[int] = []
    real_write = os.write

    def count(descriptor: int, data: bytes) -> int:
        written.append(len(data))
        return real_write(descriptor, data)

    monkeypatch.setattr(os, "write", count)
    record = make_answered()
    spool.append_record(record)

    assert len(written) == 1
    assert list(read_all(spool.writer, live_sequence=spool.sequence)) == [record]
    spool.close()


def test_a_segment_is_followed_by_another_when_it_is_large_or_old(tmp_path: Path) -> None:
    by_size = Spool(tmp_path / "by_size", worker=0, segment_bytes=1_500)
    by_age = Spool(tmp_path / "by_age", worker=0, segment_s=0.0)
    for spool in (by_size, by_age):
        for _ in range(6):
            spool.append_record(make_answered())
        spool.close()

        assert len(segments_of(spool.directory)) > 2
        assert len(list(read_all(spool.writer))) == 6


def test_writes_are_synced_soon_and_once_for_many(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    synced: list[int] = []
    real_sync = os.fdatasync

    def sync(descriptor: int) -> None:
        synced.append(descriptor)
        real_sync(descriptor)

    monkeypatch.setattr(os, "fdatasync", sync)
    spool = Spool(tmp_path / "spool", worker=0)
    for _ in range(500):
        spool.append_record(make_answered())
    until(lambda: spool.unsynced_count == 0)
    spool.close()

    assert 0 < len(synced) < 100


def test_a_short_write_is_cut_off_and_the_record_goes_to_the_next_segment(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    spool = Spool(tmp_path / "spool", worker=0)
    before, after = make_answered(), make_answered()
    spool.append_record(before)
    real_write = os.write
    tear = [True]

    def torn(descriptor: int, data: bytes) -> int:
        return (
            real_write(descriptor, data[:192] if tear.pop() else data)
            if tear
            else real_write(descriptor, data)
        )

    monkeypatch.setattr(os, "write", torn)
    spool.append_record(after)
    monkeypatch.undo()
    assert spool.is_writable
    spool.close()

    assert len(segments_of(spool.directory)) == 2
    assert list(read_all(spool.writer)) == [before, after]


def test_a_full_disk_refuses_records_until_there_is_room_again(
    tmp_path: Path, file_size_limit: Callable[[int], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(spool_module, "_RETRY_S", 0.05)
    spool = Spool(tmp_path / "spool", worker=0)
    first, last = make_answered(), make_answered()
    spool.append_record(first)
    file_size_limit(1_200)

    for _ in range(5):
        with pytest.raises(SpoolUnwritableError):
            spool.append_record(make_answered(plan={"filler": "x" * 2_000}))
    assert not spool.is_writable
    assert spool.pressure is Pressure.RED
    time.sleep(0.1)
    # A header's few bytes would fit: that is not room for records.
    assert not spool.is_writable
    assert len(segments_of(spool.directory)) <= 2
    file_size_limit(1 << 30)
    until(lambda: spool.is_writable)
    spool.append_record(last)
    spool.close()

    assert list(read_all(spool.writer)) == [first, last]
    assert not list(spool.directory.glob("*.probe"))


def test_a_directory_that_vanishes_makes_the_spool_unwritable_without_other_errors(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(spool_module, "_MEASURE_S", 0.0)
    spool = Spool(tmp_path / "spool", worker=0, segment_s=0.0)
    for path in spool.directory.iterdir():
        path.unlink()
    spool.directory.rmdir()

    with pytest.raises(SpoolUnwritableError):
        spool.append_record(make_answered())
    assert not spool.is_writable
    spool.close()


def test_after_a_failed_sync_what_may_be_lost_is_written_to_another_segment(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    spool = Spool(tmp_path / "spool", worker=0)
    failures = [OSError(errno.EIO, "the disk fails")]
    real_sync = os.fdatasync

    def sync(descriptor: int) -> None:
        if failures:
            raise failures.pop()
        real_sync(descriptor)

    monkeypatch.setattr(os, "fdatasync", sync)
    records = [make_answered() for _ in range(3)]
    for record in records:
        spool.append_record(record)
    until(lambda: not failures)
    later = make_answered()
    spool.append_record(later)
    until(lambda: spool.unsynced_count == 0)
    spool.close()

    first = spool.writer.segment_path(1)
    first.write_bytes(b"")
    assert list(read_all(spool.writer)) == [*records, later]


def test_what_a_caller_made_too_long_is_cut_and_its_cost_is_kept(tmp_path: Path) -> None:
    spool = Spool(tmp_path / "spool", worker=0)
    huge = "x" * 3_000_000
    record = make_answered(
        requested_model=huge, user=huge, session_id=huge, warnings=(huge,) * 9, plan={"a": huge}
    )
    spool.append_begun(make_begun(record.id, requested_model=huge))
    spool.append_record(record)
    spool.close()

    [found] = read_all(spool.writer)
    assert found.id == record.id
    assert found.attempts == record.attempts
    assert found.user == "x" * 2_000


def test_a_spool_that_fills_refuses_requests_before_it_is_full(tmp_path: Path) -> None:
    spool = Spool(tmp_path / "spool", worker=0, max_bytes=20_000)
    pressures: list[Pressure] = []
    while spool.is_writable:
        spool.append_record(make_answered())
        if spool.pressure not in pressures:
            pressures.append(spool.pressure)
    spool.append_record(make_answered())
    spool.close()

    assert pressures == [Pressure.GREEN, Pressure.YELLOW, Pressure.ORANGE, Pressure.RED]


def test_the_files_of_other_workers_count(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(spool_module, "_MEASURE_S", 0.0)
    one = Spool(tmp_path / "spool", worker=0, max_bytes=20_000)
    other = Spool(tmp_path / "spool", worker=1, max_bytes=20_000)
    while other.is_writable:
        other.append_record(make_answered())

    assert not one.is_writable
    one.close()
    other.close()


@pytest.mark.parametrize(
    ("used", "age_s", "has_failed", "expected"),
    [
        pytest.param(0, 9.0, False, Pressure.GREEN, id="empty"),
        pytest.param(10, 61.0, False, Pressure.YELLOW, id="old"),
        pytest.param(25, 0.0, False, Pressure.YELLOW, id="a-quarter"),
        pytest.param(75, 0.0, False, Pressure.ORANGE, id="three-quarters"),
        pytest.param(95, 0.0, False, Pressure.RED, id="nearly-full"),
        pytest.param(0, 0.0, True, Pressure.RED, id="write-error"),
    ],
)
def test_pressure_is_the_worst_of_size_age_and_errors(
    used: int, age_s: float, has_failed: bool, expected: Pressure
) -> None:
    pressure = pressure_of(
        used_bytes=used, max_bytes=100, oldest_unshipped_s=age_s, has_failed=has_failed
    )

    assert pressure is expected


def test_a_closed_spool_takes_no_records(tmp_path: Path) -> None:
    spool = Spool(tmp_path / "spool", worker=0)
    spool.close()
    spool.close()

    assert not spool.is_writable
    with pytest.raises(SpoolUnwritableError):
        spool.append_record(make_answered())


def test_a_segment_appears_with_its_header_or_not_at_all(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    spool = Spool(tmp_path / "spool", worker=0, segment_bytes=1)
    seen: list[int] = []
    real_write = os.write

    def fail(descriptor: int, data: bytes) -> int:
        seen.append(len(segments_of(spool.directory)))
        raise OSError(errno.ENOSPC, "no space left")

    monkeypatch.setattr(os, "write", fail)
    with pytest.raises(SpoolUnwritableError):
        spool.append_record(make_answered())
    monkeypatch.setattr(os, "write", real_write)

    assert set(seen) == {1}
    assert [path.suffix for path in sorted(spool.directory.iterdir())] == [".seg", ".lock"]
    spool.close()


def test_the_oldest_segment_of_an_open_request_is_known(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    spool = Spool(tmp_path / "spool", worker=0, segment_bytes=1)
    assert spool.needed_from == 1
    first, second = make_answered(), make_answered()
    spool.append_begun(make_begun(first.id))
    spool.append_begun(make_begun(second.id))
    spool.append_begun(make_begun(first.id, number=2))
    assert (spool.needed_from, spool.sequence) == (2, 4)
    spool.append_record(first)
    assert spool.needed_from == 3
    monkeypatch.setattr(spool_module, "_LONGEST_OPEN_S", -1.0)
    assert spool.needed_from == spool.sequence
    spool.close()


def test_what_is_not_synced_is_kept_up_to_a_bound_and_never_let_go_too_early(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(spool_module, "_MOST_UNSYNCED", 3)
    is_syncing, may_go_on = threading.Event(), threading.Event()
    real_sync = os.fdatasync

    def slow_sync(descriptor: int) -> None:
        is_syncing.set()
        assert may_go_on.wait(DEADLINE_S)
        real_sync(descriptor)

    spool = Spool(tmp_path / "spool", worker=0)
    until(lambda: spool.unsynced_count == 0)
    monkeypatch.setattr(os, "fdatasync", slow_sync)
    for _ in range(2):
        spool.append_record(make_answered())
    assert is_syncing.wait(DEADLINE_S)
    # Two are being synced at most; with three more, the older ones make room.
    for _ in range(3):
        spool.append_record(make_answered())
    assert spool.unsynced_count == 3
    is_syncing.clear()
    monkeypatch.setattr(spool_module, "SYNC_S", DEADLINE_S)
    may_go_on.set()
    time.sleep(0.1)
    assert spool.unsynced_count == 3
    monkeypatch.undo()


def test_closing_does_not_wait_for_a_disk_that_hangs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(spool_module, "_LAST_SYNC_S", 0.05)
    spool = Spool(tmp_path / "spool", worker=0)
    may_go_on = threading.Event()

    def hang(descriptor: int) -> None:
        may_go_on.wait(DEADLINE_S)

    monkeypatch.setattr(os, "fdatasync", hang)
    record = make_answered()
    spool.append_record(record)
    started_s = time.monotonic()
    spool.close()
    waited_s = time.monotonic() - started_s
    may_go_on.set()

    assert waited_s < DEADLINE_S / 2
    assert list(read_all(spool.writer)) == [record]


def test_a_burst_cannot_fill_more_than_is_allowed_between_two_measurements(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(spool_module, "_MEASURE_S", 3600.0)
    spool = Spool(tmp_path / "spool", worker=0, max_bytes=60_000, segment_bytes=4_000)
    for _ in range(1_000):
        if not spool.is_writable:
            break
        spool.append_record(make_answered())
    assert not spool.is_writable
    assert sum(path.stat().st_size for path in segments_of(spool.directory)) < 60_000
    spool.close()
