import errno
import os
import resource
import subprocess
import sys
from collections.abc import AsyncIterator, Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import msgspec
import pytest
from sqlalchemy import func, select, text
from sqlalchemy.ext.asyncio import AsyncEngine

from gateway.ledger import deadletters
from gateway.ledger.deadletters import DeadLetters
from gateway.ledger.frames import (
    DEAD,
    MAX_PAYLOAD_BYTES,
    DeadLetter,
    encode_payload,
    parse_file_start,
    parse_frames,
    salt_of,
)
from gateway.ledger.reader import Found
from gateway.storage.tables import ingest_error
from gateway.storage.waiting import DatabaseUnavailableError
from tests.ledger.samples import make_answered
from tests.storage.samples import engine_of, migrated


@pytest.fixture(scope="module")
def template(postgres_dsn: Callable[..., str]) -> str:
    return migrated(postgres_dsn)


@pytest.fixture
async def engine(
    anyio_backend: str, template: str, postgres_dsn: Callable[..., str]
) -> AsyncIterator[AsyncEngine]:
    engine = engine_of(postgres_dsn(template=template))
    yield engine
    await engine.dispose()


def make_found(offset: int = 100, *, payload: bytes | None = None) -> Found:
    record = make_answered()
    return Found(record, payload or encode_payload(record), "writer-1", offset, None)


def read_letters(directory: Path) -> list[DeadLetter]:
    letters: list[DeadLetter] = []
    for path in sorted(directory.iterdir()):
        data = path.read_bytes()
        header, start = parse_file_start(data)
        assert header.name == path.stem
        parsed = parse_frames(
            data,
            base=0,
            start=start,
            salt=salt_of(header.name),
            is_closed=True,
            max_frames=10_000,
        )
        assert parsed.corrupt_frames == 0
        assert parsed.end == len(data)
        assert all(frame.kind == DEAD for frame in parsed.frames)
        letters += [msgspec.msgpack.decode(f.payload, type=DeadLetter) for f in parsed.frames]
    return letters


def test_a_record_is_set_aside_whole_with_its_reason(tmp_path: Path) -> None:
    first, second = make_found(100), make_found(200)
    dead = DeadLetters(tmp_path / "dead")
    dead.append(first, "cost_usd: not an amount of money", None)
    dead.append(second, "nul \0 and surrogate \ud800", "22P05")

    letters = read_letters(tmp_path / "dead")

    assert [letter.payload for letter in letters] == [first.payload, second.payload]
    assert letters[0].reason == "cost_usd: not an amount of money"
    assert letters[0].sqlstate is None
    assert letters[1].sqlstate == "22P05"
    assert {path.stat().st_mode & 0o777 for path in (tmp_path / "dead").iterdir()} == {0o600}
    assert (tmp_path / "dead").stat().st_mode & 0o777 == 0o700


def test_a_record_that_is_shipped_again_is_set_aside_once(tmp_path: Path) -> None:
    dead = DeadLetters(tmp_path / "dead")
    found = make_found()
    assert dead.append(found, "no", None)
    assert not dead.append(found, "no", None)
    assert len(read_letters(tmp_path / "dead")) == 1


def test_what_fills_a_frame_and_a_long_reason_are_set_aside_all_the_same(tmp_path: Path) -> None:
    dead = DeadLetters(tmp_path / "dead")
    dead.append(make_found(payload=bytes(MAX_PAYLOAD_BYTES)), "€" * 100_000, None)

    (letter,) = read_letters(tmp_path / "dead")

    assert len(letter.payload) > MAX_PAYLOAD_BYTES - 10_000


def test_threads_do_not_get_into_each_others_letters(tmp_path: Path) -> None:
    dead = DeadLetters(tmp_path / "dead")
    found = [make_found(offset) for offset in range(1, 41)]
    with ThreadPoolExecutor(4) as pool:
        appending = [pool.submit(dead.append, item, "no", None) for item in found + found]
    assert sum(future.result() for future in appending) == 40
    letters = read_letters(tmp_path / "dead")
    assert sorted(letter.payload for letter in letters) == sorted(item.payload for item in found)


def test_a_later_process_of_the_same_number_goes_on_in_the_same_file(tmp_path: Path) -> None:
    for offset in (100, 200):
        DeadLetters(tmp_path / "dead").append(make_found(offset), "no", None)
    assert len(list((tmp_path / "dead").iterdir())) == 1
    assert len(read_letters(tmp_path / "dead")) == 2


FULL_DISK = f"""
import resource, signal, sys
from pathlib import Path
from gateway.ledger.deadletters import DeadLetters
from tests.ledger.test_deadletters import make_found
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
dead = DeadLetters(Path(sys.argv[1]))
dead.append(make_found(100), "no", None)
size = sum(path.stat().st_size for path in Path(sys.argv[1]).iterdir())
resource.setrlimit(resource.RLIMIT_FSIZE, (size + 100, {resource.RLIM_INFINITY}))
try:
    dead.append(make_found(200), "no", None)
except OSError:
    print("refused")
resource.setrlimit(resource.RLIMIT_FSIZE, ({resource.RLIM_INFINITY}, {resource.RLIM_INFINITY}))
assert dead.append(make_found(200), "no", None)
"""


def test_a_letter_of_which_only_a_part_fits_leaves_nothing_and_is_written_later(
    tmp_path: Path,
) -> None:
    done = subprocess.run(
        [sys.executable, "-c", FULL_DISK, str(tmp_path / "dead")],
        cwd=Path(__file__).parents[2],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.stderr == ""
    assert done.stdout == "refused\n"
    assert len(read_letters(tmp_path / "dead")) == 2


def test_a_letter_that_could_not_be_synced_is_not_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(descriptor: int) -> None:
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    dead = DeadLetters(tmp_path / "dead")
    with monkeypatch.context() as broken:
        broken.setattr(deadletters.os, "fsync", fail)
        with pytest.raises(OSError, match=r"[Ii]nput/output"):
            dead.append(make_found(), "no", None)
    assert dead.append(make_found(), "no", None)
    assert len(read_letters(tmp_path / "dead")) == 1


@pytest.mark.anyio
async def test_postgres_is_told_once(tmp_path: Path, engine: AsyncEngine) -> None:
    dead = DeadLetters(tmp_path / "dead")
    found = make_found()
    dead.append(found, "nul \0 in it", "22P05")
    await dead.report(engine)
    await dead.report(engine)

    async with engine.connect() as connection:
        (row,) = (await connection.execute(select(ingest_error))).all()
    assert found.record is not None
    assert (row.segment, row.frame_offset, row.record_id) == ("writer-1", 100, found.record.id)
    assert (row.reason, row.sqlstate, row.frame) == ("nul  in it", "22P05", found.payload)


@pytest.mark.anyio
async def test_a_letter_that_cannot_be_told_holds_up_nobody(
    tmp_path: Path, engine: AsyncEngine
) -> None:
    async with engine.begin() as connection:
        await connection.execute(text("ALTER TABLE ingest_error ADD CHECK (reason <> 'worse')"))
    dead = DeadLetters(tmp_path / "dead")
    dead.append(make_found(100), "worse", None)
    dead.append(make_found(200), "bad", None)

    await dead.report(engine)

    async with engine.connect() as connection:
        assert list(await connection.scalars(select(ingest_error.c.reason))) == ["bad"]
    assert len(read_letters(tmp_path / "dead")) == 2


@pytest.mark.anyio
async def test_what_could_not_be_told_now_is_told_later(
    tmp_path: Path, engine: AsyncEngine
) -> None:
    dead = DeadLetters(tmp_path / "dead")
    dead.append(make_found(), "bad", None)
    nowhere = engine_of("postgresql://nobody@127.0.0.1:1/nothing")
    with pytest.raises(DatabaseUnavailableError):
        await dead.report(nowhere)
    await nowhere.dispose()

    await dead.report(engine)

    async with engine.connect() as connection:
        assert await connection.scalar(select(func.count()).select_from(ingest_error)) == 1


@pytest.mark.anyio
async def test_memory_is_bounded_while_nobody_can_be_told(
    tmp_path: Path, engine: AsyncEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(deadletters, "_MOST_UNTOLD_BYTES", 100_000)
    dead = DeadLetters(tmp_path / "dead")
    for offset in range(1, 31):
        dead.append(make_found(offset, payload=bytes(10_000)), "bad", None)
    assert len(read_letters(tmp_path / "dead")) == 30

    await dead.report(engine)

    async with engine.connect() as connection:
        told = list(await connection.scalars(select(ingest_error.c.frame_offset)))
    assert sorted(told) == list(range(21, 31))
