"""Rules on their way into the snapshot: what is good comes into force, and stays."""

import logging
from pathlib import Path

import pytest

from gateway.snapshot.rules import RuleBook, RuleFile
from gateway.snapshot.snapshot import Snapshot, SnapshotHolder
from tests.routing.factories import make_catalogue_of, make_endpoint
from tests.routing.rules.applying import rule

pytestmark = pytest.mark.anyio

GOOD = rule('sort = "price"', name="good")
BETTER = rule('sort = "latency"', name="better")
BAD = rule('sortt = "price"', name="bad")
HOPELESS = rule('tighten = { only = ["azzure"] }', name="hopeless")


@pytest.fixture
def snapshots() -> SnapshotHolder:
    catalogue = make_catalogue_of(make_endpoint("azure", "openai/gpt-4o"))
    return SnapshotHolder(Snapshot(catalogue=catalogue, rules=None))


@pytest.fixture
def book(snapshots: SnapshotHolder, tmp_path: Path) -> RuleBook:
    return RuleBook(snapshots, tmp_path / "snapshot" / "rules.msgpack")


def names(snapshots: SnapshotHolder) -> list[str] | None:
    rules = snapshots.current.rules
    return None if rules is None else [one.name for one in rules.rules]


async def test_a_good_text_comes_into_force(book: RuleBook, snapshots: SnapshotHolder) -> None:
    assert await book.take(GOOD, source="rules.toml")

    assert names(snapshots) == ["good"]
    assert snapshots.current.rules_problem is None


async def test_a_mistake_keeps_what_was_in_force_and_is_told_with_its_line(
    book: RuleBook, snapshots: SnapshotHolder, caplog: pytest.LogCaptureFixture
) -> None:
    await book.take(GOOD, source="rules.toml")

    with caplog.at_level(logging.ERROR, "tollway.rules"):
        assert not await book.take(BAD, source="rules.toml")

    assert names(snapshots) == ["good"]
    assert "rules.toml:4: rule `bad`: then.sortt: `sortt` is not known" in caplog.text
    assert "rules.toml:4" in (snapshots.current.rules_problem or "")

    await book.take(BETTER, source="rules.toml")
    assert snapshots.current.rules_problem is None


async def test_a_request_keeps_the_snapshot_it_began_with(
    book: RuleBook, snapshots: SnapshotHolder
) -> None:
    await book.take(GOOD, source="rules.toml")
    begun_with = snapshots.current.rules

    await book.take(BETTER, source="rules.toml")

    assert begun_with is not None
    assert [one.name for one in begun_with.rules] == ["good"]
    assert names(snapshots) == ["better"]


async def test_a_pin_on_nothing_is_refused_when_there_is_something_to_keep(
    book: RuleBook, snapshots: SnapshotHolder
) -> None:
    await book.take(GOOD, source="rules.toml")

    assert not await book.take(HOPELESS, source="rules.toml")

    assert names(snapshots) == ["good"]


async def test_a_pin_on_nothing_holds_at_a_start(book: RuleBook, snapshots: SnapshotHolder) -> None:
    # Its own requests fail, with a reason; without it they would go anywhere.
    assert await book.take(HOPELESS, source="rules.toml")
    assert names(snapshots) == ["hopeless"]


async def test_a_start_with_a_mistake_takes_the_last_good_copy(
    book: RuleBook, snapshots: SnapshotHolder, tmp_path: Path
) -> None:
    await book.take(GOOD, source="rules.toml")
    fresh = SnapshotHolder(Snapshot(catalogue=snapshots.current.catalogue, rules=None))
    path = tmp_path / "rules.toml"
    path.write_text(BAD)

    await RuleFile(RuleBook(fresh, tmp_path / "snapshot" / "rules.msgpack"), path).load()

    assert names(fresh) == ["good"]
    assert fresh.current.rules_problem is not None


async def test_without_a_copy_no_rules_are_known(
    book: RuleBook, snapshots: SnapshotHolder, tmp_path: Path
) -> None:
    await RuleFile(book, tmp_path / "missing.toml").load()

    assert names(snapshots) is None
    assert "cannot be read" in (snapshots.current.rules_problem or "")


async def test_a_damaged_copy_is_no_copy(
    book: RuleBook, snapshots: SnapshotHolder, tmp_path: Path
) -> None:
    copy = tmp_path / "snapshot" / "rules.msgpack"
    copy.parent.mkdir()
    copy.write_bytes(b"\xc1")

    assert not book.load_copy()
    assert names(snapshots) is None


async def test_the_copy_is_for_its_owner_alone(book: RuleBook, tmp_path: Path) -> None:
    await book.take(GOOD, source="rules.toml")

    assert (tmp_path / "snapshot" / "rules.msgpack").stat().st_mode & 0o777 == 0o600
