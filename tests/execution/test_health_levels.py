"""Which level is blamed for what, how an endpoint comes back, and what is told about it."""

import logging
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.domain.outcomes import CONSEQUENCES, Outcome
from gateway.execution.breaker import Phase
from gateway.execution.health import HealthBoard
from gateway.routing.plan import EndpointHealth
from pricing.endpoint import Endpoint
from tests.execution.samples import make_end, make_start
from tests.routing.factories import make_endpoint

LARGE = make_endpoint("alpha", "acme/large")
SMALL = make_endpoint("alpha", "acme/small")
UNHEARD = make_endpoint("alpha", "acme/unheard")
OWN_FAULTS = [
    Outcome.INVALID_REQUEST,
    Outcome.CONTEXT_LENGTH,
    Outcome.CONTENT_FILTER,
    Outcome.UNSUPPORTED,
    Outcome.TOO_LARGE,
    Outcome.NOT_FOUND,
    Outcome.RATE_LIMITED,
]


class Clock:
    """A board on a clock that is moved by hand; attempts take no time unless told."""

    def __init__(self) -> None:
        self.now_s = 7_000.0
        self.board = HealthBoard(
            clock=lambda: self.now_s,
            chance=lambda: 0.5,
            endpoints_of=lambda _: [LARGE.id, SMALL.id, UNHEARD.id],
        )

    def report(self, outcome: Outcome, endpoint: Endpoint = LARGE, **changes: Any) -> None:
        values: dict[str, Any] = {"duration_ms": 0.0, "endpoint": endpoint}
        self.board.report(make_end(outcome, **(values | changes)))

    def pass_s(self, seconds: float) -> None:
        self.now_s += seconds

    def seen(self, endpoint: Endpoint = LARGE) -> EndpointHealth:
        return self.board.view(self.now_s * 1000)[endpoint.id]

    def open(self) -> None:
        for _ in range(5):
            self.report(Outcome.SERVER_ERROR, status_code=500)

    @property
    def events(self) -> list[tuple[str, str]]:
        return [(event.level, event.change) for event in self.board.events]


@pytest.fixture
def clock() -> Clock:
    return Clock()


def test_one_model_that_fails_takes_only_itself_out(clock: Clock) -> None:
    clock.report(Outcome.SUCCESS, SMALL)
    clock.open()

    assert clock.seen().open_until_ms == (clock.now_s + 10) * 1000
    assert clock.seen(SMALL).open_until_ms is None
    assert clock.board.may_try(SMALL)
    assert not clock.board.may_try(LARGE)


def test_several_models_that_fail_take_their_provider_out(clock: Clock) -> None:
    for endpoint in (LARGE, SMALL) * 3:
        clock.report(Outcome.SERVER_ERROR, endpoint, status_code=503)

    assert clock.seen(UNHEARD).open_until_ms == (clock.now_s + 10) * 1000
    assert not clock.board.may_try(UNHEARD)
    assert ("origin:alpha", "opened") in clock.events


def test_a_provider_of_which_one_model_answers_stays_in(clock: Clock) -> None:
    for _ in range(30):
        clock.report(Outcome.SERVER_ERROR, LARGE, status_code=500)
        clock.report(Outcome.SUCCESS, SMALL)

    assert clock.board.may_try(UNHEARD)
    assert clock.board.may_try(SMALL)
    assert not clock.board.may_try(LARGE)


def test_an_address_that_cannot_be_reached_takes_all_models_out(clock: Clock) -> None:
    for outcome in (Outcome.CONNECT_ERROR, Outcome.TLS_ERROR, Outcome.CONNECT_TIMEOUT):
        assert clock.board.may_try(UNHEARD)
        clock.report(outcome, status_code=0)

    assert not clock.board.may_try(UNHEARD)
    assert clock.seen().has_recent_outage


def test_whoever_answers_anything_can_be_reached(clock: Clock) -> None:
    for _ in range(5):
        clock.report(Outcome.CONNECT_ERROR, status_code=0)
        clock.report(Outcome.CONNECT_ERROR, status_code=0)
        clock.report(Outcome.RATE_LIMITED, status_code=429)

    assert clock.seen().open_until_ms is None


def test_a_reset_before_the_headers_counts_as_one_on_the_way(clock: Clock) -> None:
    for _ in range(3):
        clock.report(Outcome.READ_ERROR, status_code=0)
    assert not clock.board.may_try(LARGE)

    for _ in range(3):
        clock.report(Outcome.READ_ERROR, SMALL, status_code=200)
    assert clock.board.may_try(SMALL)


def test_half_of_ten_within_a_minute_is_too_much(clock: Clock) -> None:
    for _ in range(4):
        clock.report(Outcome.SUCCESS)
        clock.report(Outcome.SERVER_ERROR, status_code=500)
    clock.report(Outcome.SUCCESS)
    assert clock.board.may_try(LARGE)
    clock.report(Outcome.SERVER_ERROR, status_code=500)

    assert not clock.board.may_try(LARGE)


def test_what_failed_before_it_closed_is_not_held_against_it(clock: Clock) -> None:
    clock.open()
    for _ in range(8):
        clock.report(Outcome.SERVER_ERROR, status_code=500)
    clock.pass_s(10)
    for _ in range(2):
        assert clock.board.may_try(LARGE)
        clock.report(Outcome.SUCCESS)
    clock.report(Outcome.SERVER_ERROR, status_code=500)

    assert clock.board.may_try(LARGE)


@given(st.lists(st.tuples(st.sampled_from(OWN_FAULTS), st.floats(0, 20)), max_size=60))
def test_no_history_of_refused_requests_opens_anything(
    history: list[tuple[Outcome, float]],
) -> None:
    clock = Clock()
    for outcome, seconds in history:
        clock.report(outcome, status_code=429 if outcome is Outcome.RATE_LIMITED else 400)
        clock.pass_s(seconds)
        assert clock.board.may_try(LARGE)

    assert {change for _, change in clock.events} <= {"cooled down"}


@given(
    st.lists(
        st.tuples(
            st.sampled_from([one for one in Outcome if not CONSEQUENCES[one].blames_credential]),
            st.sampled_from([0, 200, 500]),
            st.floats(0, 30),
        ),
        max_size=50,
    )
)
def test_whatever_happened_it_is_tried_again_in_time(
    history: list[tuple[Outcome, int, float]],
) -> None:
    clock = Clock()
    for outcome, status_code, seconds in history:
        if clock.board.may_try(LARGE):
            clock.board.begin(make_start(LARGE))
            clock.report(outcome, status_code=status_code)
        clock.pass_s(seconds)
    clock.pass_s(300 * 1.25)

    assert clock.seen().open_until_ms is None if history else True
    assert clock.board.may_try(LARGE)


def test_when_its_time_is_up_it_takes_its_place_until_somebody_probes_it(clock: Clock) -> None:
    clock.open()
    assert clock.seen().has_recent_outage
    clock.pass_s(10)

    assert clock.seen() == EndpointHealth(uptime=0.0), "as if nothing had been"
    assert clock.board.may_try(LARGE)
    assert clock.seen().is_half_open
    assert not clock.board.may_try(LARGE)
    clock.report(Outcome.SUCCESS)
    assert not clock.seen().is_half_open
    assert clock.board.may_try(LARGE)
    clock.report(Outcome.SUCCESS)

    factors = [clock.seen().weight_factor]
    for _ in range(3):
        clock.pass_s(10)
        factors.append(round(clock.seen().weight_factor, 6))
    assert factors == [0.1, 0.4, 0.7, 1.0]


def test_a_probe_that_never_begins_is_given_up(clock: Clock) -> None:
    clock.open()
    clock.pass_s(10)
    assert clock.board.may_try(LARGE)
    clock.pass_s(4.9)
    assert not clock.board.may_try(LARGE)
    clock.pass_s(0.1)
    assert clock.board.may_try(LARGE)
    clock.board.begin(make_start(LARGE))
    clock.pass_s(299)

    assert not clock.board.may_try(LARGE), "it has begun: its end is waited for"


def test_a_caller_who_hangs_up_on_a_probe_makes_room_for_another(clock: Clock) -> None:
    clock.open()
    clock.pass_s(10)
    assert clock.board.may_try(LARGE)
    clock.report(Outcome.CLIENT_CANCELLED, status_code=0)

    assert clock.board.may_try(LARGE)


def test_changes_are_kept_in_order_with_their_cause(clock: Clock) -> None:
    clock.open()
    clock.pass_s(10)
    for _ in range(2):
        assert clock.board.may_try(LARGE)
        clock.report(Outcome.SUCCESS)
        clock.pass_s(1)
    clock.report(Outcome.RATE_LIMITED, retry_after_ms=2_000)
    clock.report(Outcome.AUTH_FAILED, status_code=401)

    target = f"target:{LARGE.id}"
    assert clock.events == [
        (target, "opened"),
        (target, "half-open"),
        (target, "half-open"),
        (target, "closed"),
        (f"share:{LARGE.id}#0", "cooled down"),
        ("credential:alpha#0", "credential out"),
    ]
    opened, *_, cooled, out = clock.board.events
    assert (opened.outcome, opened.for_s) == ("server_error", 10)
    assert (cooled.outcome, cooled.for_s) == ("rate_limited", 2)
    assert (out.outcome, out.for_s) == ("auth_failed", 600)
    assert clock.board.events.since(opened.number + 3) == [cooled, out]


def test_the_standing_of_every_level_can_be_asked(clock: Clock) -> None:
    clock.open()
    clock.report(Outcome.RATE_LIMITED, SMALL, retry_after_ms=30_000)

    def standing() -> dict[str, tuple[Phase, bool]]:
        return {name: (phase, rests) for name, phase, rests in clock.board.standing()}

    assert standing() == {
        "origin:alpha": (Phase.CLOSED, False),
        "credential:alpha#0": (Phase.CLOSED, False),
        f"target:{LARGE.id}": (Phase.OPEN, False),
        f"share:{LARGE.id}#0": (Phase.CLOSED, False),
        f"target:{SMALL.id}": (Phase.CLOSED, False),
        f"share:{SMALL.id}#0": (Phase.CLOSED, True),
    }
    clock.pass_s(10)
    assert standing()[f"target:{LARGE.id}"] == (Phase.HALF_OPEN, False)


def test_what_happens_again_and_again_is_logged_once_in_ten_seconds(
    clock: Clock, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.INFO, "tollway.health"):
        for _ in range(9):
            clock.report(Outcome.RATE_LIMITED, retry_after_ms=1_000)
            clock.pass_s(1.5)

    cooled = [record.getMessage() for record in caplog.records]
    assert len(clock.events) == 9
    once = "share:alpha/large#0: cooled down for 1.0 s after rate_limited"
    assert cooled == [once, f"{once} (6 more like this meanwhile)"]
    assert {record.levelno for record in caplog.records} == {logging.INFO}


def test_an_opened_breaker_is_a_warning(clock: Clock, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO, "tollway.health"):
        clock.open()

    (record,) = caplog.records
    assert record.levelno == logging.WARNING
    assert record.getMessage() == "target:alpha/large: opened for 10.0 s after server_error"


def test_events_are_bounded(clock: Clock) -> None:
    for _ in range(2_100):
        clock.report(Outcome.RATE_LIMITED, retry_after_ms=1_000)
        clock.pass_s(1.5)

    events = list(clock.board.events)
    assert len(events) == 2_048
    assert events[-1].number == 2_100
