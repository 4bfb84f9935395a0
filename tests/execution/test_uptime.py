"""How often an endpoint answered within the last half hour."""

import pytest

from gateway.domain.outcomes import Outcome
from gateway.execution.health import HealthBoard
from tests.execution.samples import make_end
from tests.routing.factories import make_endpoint

ALPHA = make_endpoint("alpha")


class Clock:
    """A board with a clock that stands still until it is moved."""

    def __init__(self) -> None:
        self.now_s = 1_000.0
        self.board = HealthBoard(clock=lambda: self.now_s)

    def report(self, *outcomes: Outcome) -> None:
        for outcome in outcomes:
            self.board.report(make_end(outcome, endpoint=ALPHA))

    @property
    def uptime(self) -> float | None:
        return self.board.uptime_percent(ALPHA.id)


@pytest.fixture
def clock() -> Clock:
    return Clock()


def test_nothing_is_known_of_an_endpoint_that_was_never_tried(clock: Clock) -> None:
    assert clock.uptime is None


def test_it_is_the_share_of_attempts_that_the_endpoint_did_not_fail(clock: Clock) -> None:
    clock.report(Outcome.SUCCESS, Outcome.SUCCESS, Outcome.SERVER_ERROR, Outcome.SUCCESS)

    assert clock.uptime == 75.0


def test_what_is_not_the_endpoints_fault_does_not_count(clock: Clock) -> None:
    clock.report(Outcome.CLIENT_CANCELLED, Outcome.INVALID_REQUEST, Outcome.CONTENT_FILTER)
    assert clock.uptime is None
    clock.report(Outcome.SUCCESS)
    assert clock.uptime == 100.0


def test_half_an_hour_later_it_is_forgotten(clock: Clock) -> None:
    clock.report(Outcome.SERVER_ERROR)
    clock.now_s += 28 * 60
    clock.report(Outcome.SUCCESS)
    assert clock.uptime == 50.0
    clock.now_s += 2 * 60
    assert clock.uptime == 100.0
    clock.now_s += 29 * 60
    assert clock.uptime is None


def test_what_is_remembered_does_not_grow_with_time(clock: Clock) -> None:
    for _ in range(500):
        clock.report(Outcome.SUCCESS)
        clock.now_s += 61

    watched = clock.board._watched  # pyright: ignore[reportPrivateUsage]
    assert len(watched[ALPHA.id].measures.uptime) == 30
    assert clock.uptime == 100.0
