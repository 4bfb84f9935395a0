import re
import threading
from collections.abc import Callable, Generator, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from typing import Any

import polars as pl
import pytest
import streamlit as st

from dashboard import ahead
from dashboard.installation import Installation, show
from dashboard.pool import Fold, Pool, SourceError
from dashboard.views import VIEWS
from tests.dashboard.test_views import open_view

WAIT_S = 30.0
INSTANT = re.compile(r"(timestamptz|timestamp) '[^']*'")
NARROWINGS: tuple[dict[str, str], ...] = (
    {},
    {"provider": "openai"},
    {"key": "team one"},
    {"label": "team=one"},
    {"cmp": "false"},
)


class Recorder(Pool):
    """A pool that remembers what was read."""

    def __init__(self, database_url: str) -> None:
        super().__init__(database_url)
        self.statements: list[tuple[str, str]] = []

    def read(self, sql: str, parameters: list[object], fold: Fold | None = None) -> pl.DataFrame:
        self.statements.append((sql, str(parameters)))
        return super().read(sql, parameters, fold)


@pytest.fixture
def recorder(filled_url: str) -> Iterator[Recorder]:
    pool = Recorder(filled_url)
    show(Installation(pool=pool))
    yield pool
    st.cache_data.clear()
    pool.close()


@contextmanager
def nobody_reads_ahead() -> Generator[None]:
    """Pages read for themselves, since all who could read ahead are busy."""
    done = threading.Event()

    def wait() -> None:
        done.wait(WAIT_S)

    with ExitStack() as busy:
        for _ in range(3):
            busy.enter_context(ahead.reading(wait, wait))
        busy.callback(done.set)
        yield


def test_two_are_read_side_by_side_while_the_page_is_drawn() -> None:
    meeting = threading.Barrier(3, timeout=WAIT_S)

    with ahead.reading(meeting.wait, meeting.wait):
        # Nobody would pass if one came after the other.
        meeting.wait()

    assert not meeting.broken


def test_all_are_read_and_nothing_is_under_way_afterwards() -> None:
    read: list[int] = []
    enough = threading.Semaphore(0)

    def note(number: int) -> Callable[[], None]:
        def work() -> None:
            read.append(number)
            enough.release()

        return work

    with ahead.reading(*map(note, range(20))):
        for _ in range(20):
            assert enough.acquire(timeout=WAIT_S)

    assert sorted(read) == list(range(20))
    assert not [one for one in threading.enumerate() if one.name == "ahead"]


def test_whoever_asks_for_what_is_under_way_waits_for_it() -> None:
    begun, goes_on = threading.Event(), threading.Event()
    calls: list[int] = []

    @st.cache_data(show_spinner=False)
    def answer(number: int) -> int:
        calls.append(number)
        begun.set()
        goes_on.wait(WAIT_S)
        return number * 2

    with ahead.reading(lambda: answer(4)):
        assert begun.wait(WAIT_S)
        goes_on.set()
        assert answer(4) == 8

    assert calls == [4]


def test_where_the_database_is_away_the_rest_is_left_out_and_the_page_tells() -> None:
    meeting = threading.Barrier(2, timeout=WAIT_S)
    read: list[str] = []

    def fail() -> None:
        meeting.wait()
        raise SourceError("PostgreSQL does not answer.", "Try again.")

    with ahead.reading(fail, fail, lambda: read.append("more")):
        pass

    assert not read


def test_a_page_that_fails_fails_as_it_would_without() -> None:
    with pytest.raises(ZeroDivisionError), ahead.reading(lambda: None, lambda: None):
        _ = 1 / 0

    # Everybody who was reading is free again.
    test_two_are_read_side_by_side_while_the_page_is_drawn()


@pytest.mark.parametrize("only", NARROWINGS, ids=lambda one: "".join(one) or "all")
@pytest.mark.parametrize("path", [one.path for one in VIEWS if one.is_of_records])
def test_exactly_what_a_page_shows_is_read_and_nothing_twice(
    recorder: Recorder, path: str, only: dict[str, str]
) -> None:
    wanted: dict[str, Any] = {"period": "30d", "tz": "Europe/Berlin", **only}

    def statements_of(drawing: Callable[[], AbstractContextManager[Any]]) -> list[tuple[str, str]]:
        st.cache_data.clear()
        recorder.statements.clear()
        with drawing():
            assert not open_view(path, **wanted).exception
        assert len(set(recorder.statements)) == len(recorder.statements)
        return sorted((INSTANT.sub("then", sql), given) for sql, given in recorder.statements)

    # The clock goes on between the two, and where a minute begins an end may have fewer parts.
    by_itself, side_by_side = statements_of(nobody_reads_ahead), statements_of(ExitStack)
    if side_by_side != by_itself:
        by_itself, side_by_side = statements_of(nobody_reads_ahead), statements_of(ExitStack)
    assert side_by_side == by_itself
