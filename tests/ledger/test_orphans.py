from pathlib import Path

from gateway.ledger.orphans import Orphans
from gateway.ledger.spool import Spool
from tests.ledger.samples import make_answered


def leave(directory: Path, number: int) -> None:
    for worker in range(number):
        spool = Spool(directory, worker=worker)
        spool.append_record(make_answered())
        spool.close()
        spool.writer.release()


def test_a_process_that_died_often_costs_few_open_files(tmp_path: Path) -> None:
    leave(tmp_path, 37)
    orphans = Orphans(tmp_path)
    orphans.adopt(keep_s=600.0)
    first = len(orphans.held)
    while orphans.held:
        orphans.settle(orphans.held[0])
    orphans.adopt(keep_s=600.0)

    assert first == 32
    assert len(orphans.held) == 5
    orphans.release()


def test_what_is_settled_is_left_alone_until_its_time_has_come(tmp_path: Path) -> None:
    leave(tmp_path, 1)
    first, second = Orphans(tmp_path), Orphans(tmp_path)
    first.adopt(keep_s=600.0)
    second.adopt(keep_s=600.0)
    assert (len(first.held), len(second.held)) == (1, 0)
    first.settle(first.held[0])
    second.adopt(keep_s=600.0)
    assert not second.held
    assert list(tmp_path.glob("*.seg"))
    second.adopt(keep_s=0.0)
    assert not list(tmp_path.iterdir())


def test_what_is_refused_stays_and_is_not_adopted_again(tmp_path: Path) -> None:
    leave(tmp_path, 1)
    orphans = Orphans(tmp_path)
    orphans.adopt(keep_s=600.0)
    orphans.refuse(orphans.held[0], OSError("it cannot be read"))
    orphans.adopt(keep_s=0.0)

    assert not orphans.held
    assert orphans.refused_count == 1
    assert list(tmp_path.glob("*.seg"))
