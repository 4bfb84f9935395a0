"""The books of one request: what is written, in which order, and how often."""

import time
from typing import Any

from gateway.domain.outcomes import Outcome
from gateway.domain.records import AttemptBegun, LateAttempts, RequestRecord
from gateway.domain.token_ratio import PromptSize
from gateway.ledger.journal import Journal
from pricing.usage import Usage
from tests.execution.samples import make_end, make_start
from tests.ledger.facts import FACTS


class Book:
    """A ledger that keeps the order of what was written."""

    is_writable = True

    def __init__(self) -> None:
        self.written: list[AttemptBegun | RequestRecord | LateAttempts] = []

    def append_begun(self, begun: AttemptBegun) -> None:
        self.written.append(begun)

    def append_record(self, record: RequestRecord) -> None:
        self.written.append(record)

    def append_late(self, late: LateAttempts) -> None:
        self.written.append(late)


def open_journal() -> tuple[Journal, Book]:
    book = Book()
    return Journal(FACTS, book, prompt=PromptSize(text_bytes=0, other_tokens=100)), book


def close(journal: Journal, **changes: Any) -> RequestRecord | None:
    values: dict[str, Any] = {"outcome": Outcome.SUCCESS, "status_code": 200, "plan": {}}
    return journal.close(**(values | changes))


def test_attempts_are_written_as_they_begin_and_the_record_at_the_end() -> None:
    journal, book = open_journal()
    for number in (1, 2):
        start = make_start(number=number)
        journal.begin(start)
        journal.end(make_end(start=start, usage=Usage()))
    record = close(journal)

    assert [type(entry) for entry in book.written] == [AttemptBegun, AttemptBegun, RequestRecord]
    assert record is book.written[-1]
    assert record is not None
    assert [attempt.number for attempt in record.attempts] == [1, 2]


def test_the_record_is_written_once_whoever_closes_again() -> None:
    journal, book = open_journal()
    first = close(journal)
    second = close(journal, outcome=Outcome.CLIENT_CANCELLED, status_code=499)

    assert first is not None
    assert second is None
    assert book.written == [first]
    assert journal.is_closed


def test_a_request_that_never_reached_an_endpoint_has_no_time_of_ours_or_first_token() -> None:
    journal, _ = open_journal()
    record = close(journal, outcome=Outcome.REFUSED, status_code=404)

    assert record is not None
    assert (record.overhead_ms, record.ttft_ms) == (None, None)
    assert record.duration_ms >= 0


def test_our_own_time_ends_with_the_first_attempt_and_not_with_the_last() -> None:
    began_s = time.monotonic()
    journal, _ = open_journal()
    journal.begin(make_start())
    first_ms = (time.monotonic() - began_s) * 1000
    while time.monotonic() - began_s < 0.02:
        pass
    journal.begin(make_start(number=2))
    record = close(journal)

    assert record is not None
    assert record.overhead_ms is not None
    assert 0 <= record.overhead_ms <= first_ms
    assert record.duration_ms > record.overhead_ms


def test_warnings_and_the_plan_come_into_the_record() -> None:
    journal, _ = open_journal()
    journal.warnings = ("seed dropped",)
    record = close(journal, plan={"seed": 3}, error_kind="x", requested_provider="alpha")

    assert record is not None
    assert (record.warnings, record.plan) == (("seed dropped",), {"seed": 3})
    assert (record.error_kind, record.requested_provider) == ("x", "alpha")
