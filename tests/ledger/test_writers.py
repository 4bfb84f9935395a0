import multiprocessing
import os
import signal
import subprocess
import sys
import threading
from multiprocessing.connection import Connection
from pathlib import Path

from gateway.ledger.reader import unfinished
from gateway.ledger.spool import Spool
from gateway.ledger.writers import Position, Writer, adopt_orphans, begin_writer
from tests.ledger.samples import make_answered, read_all

SPAWN = multiprocessing.get_context("spawn")

# Tells each id after its append returned: what was told must be found again, whatever happens.
WRITE_UNTIL_KILLED = """
import sys
from pathlib import Path
from gateway.ledger.spool import Spool
from tests.ledger.samples import make_answered, make_begun

spool = Spool(Path(sys.argv[1]), worker=0, segment_bytes=200_000)
while True:
    record = make_answered()
    spool.append_begun(make_begun(record.id))
    sys.stdout.write(f"B {record.id}\\n")
    spool.append_record(record)
    sys.stdout.write(f"R {record.id}\\n")
    sys.stdout.flush()
"""


def kill_a_writer(directory: Path, *, after: int) -> tuple[set[str], set[str]]:
    """The ids that a killed process had said it began, and those it said it recorded."""
    process = subprocess.Popen(
        [sys.executable, "-c", WRITE_UNTIL_KILLED, str(directory)],
        stdout=subprocess.PIPE,
        cwd=Path(__file__).parents[2],
        text=True,
    )
    assert process.stdout is not None
    begun: set[str] = set()
    recorded: set[str] = set()
    for number, line in enumerate(process.stdout, start=1):
        # What arrives after the kill was written by it before.
        kind, _, name = line.strip().partition(" ")
        if line.endswith("\n"):
            (begun if kind == "B" else recorded).add(name)
        if number == after:
            process.send_signal(signal.SIGKILL)
    process.wait()
    process.stdout.close()
    return begun, recorded


def test_every_record_that_a_killed_writer_acknowledged_is_found_once(tmp_path: Path) -> None:
    directory = tmp_path / "spool"
    for after in (3, 400, 1_111):
        begun, recorded = kill_a_writer(directory, after=after)
        [writer] = adopt_orphans(directory)
        found = [str(record.id) for record in read_all(writer)]
        crashed = {str(record.id) for record in unfinished(writer)}

        assert len(found) == len(set(found))
        assert recorded <= set(found)
        assert begun <= set(found) | crashed
        assert not crashed & set(found)
        assert len(crashed) <= 1
        writer.remove_all()
    assert list(directory.iterdir()) == []


def try_to_adopt(directory: Path, pipe: Connection) -> None:
    adopted = list(adopt_orphans(directory))
    pipe.send([writer.name for writer in adopted])
    pipe.recv()


def test_a_living_writer_is_not_adopted_and_a_dead_one_only_once(tmp_path: Path) -> None:
    directory = tmp_path / "spool"
    kill_a_writer(directory, after=5)
    living = Spool(directory, worker=1)
    adopters: list[Connection] = []
    for _ in range(2):
        ours, theirs = SPAWN.Pipe()
        SPAWN.Process(target=try_to_adopt, args=(directory, theirs), daemon=True).start()
        adopters.append(ours)
    names = [adopter.recv() for adopter in adopters]

    assert sorted(map(len, names)) == [0, 1]
    assert living.writer.name not in names[0] + names[1]
    assert list(adopt_orphans(directory)) == []
    for adopter in adopters:
        adopter.send("go")
    living.close()


def test_what_an_adopter_leaves_is_adopted_again(tmp_path: Path) -> None:
    spool = Spool(tmp_path / "spool", worker=0)
    record = make_answered()
    spool.append_record(record)
    spool.close()
    spool.writer.release()
    [first] = adopt_orphans(spool.directory)
    first.release()
    [second] = adopt_orphans(spool.directory)

    assert list(read_all(second)) == [record]
    second.remove_all()


def test_a_new_writer_holds_its_lock_whoever_looks_for_orphans_meanwhile(tmp_path: Path) -> None:
    tmp_path.mkdir(exist_ok=True)
    is_over = threading.Event()

    def adopt() -> None:
        while not is_over.is_set():
            for orphan in adopt_orphans(tmp_path):
                orphan.remove_all()

    adopter = threading.Thread(target=adopt)
    adopter.start()
    writers = [begin_writer(tmp_path, 0) for _ in range(200)]
    is_over.set()
    adopter.join()

    assert len({writer.name for writer in writers}) == 200
    assert list(adopt_orphans(tmp_path)) == []
    for writer in writers:
        assert (tmp_path / f"{writer.name}.lock").exists()
        writer.remove_all()


def test_a_position_survives_and_a_lost_one_means_the_beginning(tmp_path: Path) -> None:
    writer = begin_writer(tmp_path, 0)
    position = Position(sequence=3, offset=1_234)
    before = writer.read_position()
    writer.save_position(position)
    after = writer.read_position()
    (tmp_path / f"{writer.name}.pos").write_bytes(b"{half")

    assert before == Position()
    assert after == position
    assert writer.read_position() == Position()
    writer.remove_all()


def test_shipped_segments_are_deleted_oldest_first_once_they_are_old(tmp_path: Path) -> None:
    spool = Spool(tmp_path / "spool", worker=0, segment_s=0.0)
    for _ in range(4):
        spool.append_record(make_answered())
    spool.close()
    writer: Writer = spool.writer
    position = Position(sequence=4)
    os.utime(writer.segment_path(1), (0, 0))
    os.utime(writer.segment_path(3), (0, 0))
    writer.remove_shipped(position, older_than_s=600.0)
    after_first = writer.sequences()
    writer.remove_shipped(position, older_than_s=-1.0)

    assert after_first == [2, 3, 4, 5]
    assert writer.sequences() == [4, 5]
    writer.release()


def test_a_segment_is_kept_from_when_it_was_shipped_not_from_when_it_was_written(
    tmp_path: Path,
) -> None:
    spool = Spool(tmp_path / "spool", worker=0, segment_s=0.0)
    for _ in range(3):
        spool.append_record(make_answered())
    spool.close()
    writer = spool.writer
    for sequence in writer.sequences():
        os.utime(writer.segment_path(sequence), (0, 0))
    writer.mark_shipped(range(2, 4))
    writer.remove_shipped(Position(sequence=4), older_than_s=600.0)

    assert writer.sequences() == [2, 3, 4]
    writer.release()


def test_what_tells_of_open_requests_is_kept_however_old_it_is(tmp_path: Path) -> None:
    spool = Spool(tmp_path / "spool", worker=0, segment_s=0.0)
    for _ in range(3):
        spool.append_record(make_answered())
    spool.close()
    spool.writer.remove_shipped(Position(sequence=4), older_than_s=-1.0, keep_from=3)

    assert spool.writer.sequences() == [3, 4]
    spool.writer.release()


def test_a_settled_writer_says_since_when_and_leaves_nothing(tmp_path: Path) -> None:
    spool = Spool(tmp_path / "spool", worker=0)
    spool.append_record(make_answered())
    spool.close()
    writer = spool.writer
    other = begin_writer(spool.directory, 1)
    assert writer.settled_s is None
    writer.mark_settled()
    assert writer.settled_s is not None
    assert writer.settled_s < 60
    writer.save_position(Position(sequence=1))
    for ending in (".pos-new", ".probe", "-00000002.new"):
        (spool.directory / (writer.name + ending)).touch()
    writer.remove_all()

    assert [path.name for path in spool.directory.iterdir()] == [f"{other.name}.lock"]
    other.release()


def test_segments_without_their_lock_are_adopted(tmp_path: Path) -> None:
    spool = Spool(tmp_path / "spool", worker=0)
    record = make_answered()
    spool.append_record(record)
    spool.close()
    spool.writer.release()
    (spool.directory / f"{spool.writer.name}.lock").unlink()

    [writer] = adopt_orphans(spool.directory)

    assert list(read_all(writer)) == [record]
    writer.remove_all()
    assert list(spool.directory.iterdir()) == []
