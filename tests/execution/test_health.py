"""What the board says of endpoints, on a clock that the tests turn."""

from typing import Any

import pytest

from gateway.domain.outcomes import CONSEQUENCES, STALE_CONNECTION, Outcome
from gateway.execution.health import HealthBoard
from gateway.routing.plan import EndpointHealth
from tests.execution.samples import make_end, make_start
from tests.routing.factories import make_endpoint

ALPHA = make_endpoint("alpha")
BETA = make_endpoint("beta")
FAILURES = [outcome for outcome in Outcome if CONSEQUENCES[outcome].is_failure]
HARMLESS = [
    Outcome.RATE_LIMITED,
    Outcome.CONTEXT_LENGTH,
    Outcome.CONTENT_FILTER,
    Outcome.INVALID_REQUEST,
    Outcome.UNSUPPORTED,
    Outcome.TOO_LARGE,
    Outcome.CLIENT_CANCELLED,
    Outcome.GATEWAY_SHUTDOWN,
    Outcome.GATEWAY_ERROR,
]


class Clock:
    """Monotonic seconds, moved by hand."""

    def __init__(self) -> None:
        self.now_s = 5_000.0
        self.board = HealthBoard(clock=lambda: self.now_s)

    def give_credentials(self, **counts: int) -> None:
        self.board = HealthBoard(clock=lambda: self.now_s, credentials=counts)

    def report(self, outcome: Outcome = Outcome.SUCCESS, **changes: Any) -> None:
        self.board.report(make_end(outcome, endpoint=changes.pop("endpoint", ALPHA), **changes))

    def pass_s(self, seconds: float) -> None:
        self.now_s += seconds

    def seen(self, endpoint: str = ALPHA.id) -> EndpointHealth:
        return self.board.view(self.now_s * 1000)[endpoint]

    def cools_for_s(self) -> float | None:
        until_ms = self.seen().cooling_until_ms
        return None if until_ms is None else round(until_ms / 1000 - self.now_s, 6)


@pytest.fixture
def clock() -> Clock:
    return Clock()


def test_an_endpoint_nobody_tried_is_not_in_the_view(clock: Clock) -> None:
    assert dict(clock.board.view(0)) == {}
    clock.report()
    assert set(clock.board.view(clock.now_s * 1000)) == {ALPHA.id}


@pytest.mark.parametrize("outcome", FAILURES)
def test_a_failure_counts_as_a_recent_outage_for_thirty_seconds(
    clock: Clock, outcome: Outcome
) -> None:
    clock.report(outcome)

    assert clock.seen().has_recent_outage
    clock.pass_s(29.9)
    assert clock.seen().has_recent_outage
    clock.pass_s(0.1)
    assert not clock.seen().has_recent_outage


@pytest.mark.parametrize("outcome", HARMLESS)
def test_what_is_not_the_endpoints_fault_is_no_outage(clock: Clock, outcome: Outcome) -> None:
    clock.report(outcome)

    assert not clock.seen().has_recent_outage


def test_a_success_clears_the_outage_at_once(clock: Clock) -> None:
    clock.report(Outcome.SERVER_ERROR)
    assert clock.seen().has_recent_outage
    clock.pass_s(1)
    clock.report()

    assert not clock.seen().has_recent_outage


def test_one_endpoints_outage_is_not_anothers(clock: Clock) -> None:
    clock.report(Outcome.SERVER_ERROR)
    clock.report(endpoint=BETA)

    assert clock.seen(ALPHA.id).has_recent_outage
    assert not clock.seen(BETA.id).has_recent_outage


@pytest.mark.parametrize(
    ("asked_ms", "rests_s"),
    [(0, 1), (400, 1), (1_000, 1), (7_500, 7.5), (120_000, 120), (1e12, 120)],
)
@pytest.mark.parametrize("outcome", [Outcome.RATE_LIMITED, Outcome.OVERLOADED])
def test_an_endpoint_rests_as_long_as_it_asked_within_bounds(
    clock: Clock, outcome: Outcome, asked_ms: float, rests_s: float
) -> None:
    clock.report(outcome, retry_after_ms=asked_ms)

    assert clock.cools_for_s() == rests_s
    clock.pass_s(rests_s)
    assert clock.cools_for_s() is None


def test_a_rate_limit_without_a_hint_rests_longer_each_time_up_to_a_minute(clock: Clock) -> None:
    rests: list[float | None] = []
    for _ in range(6):
        clock.report(Outcome.RATE_LIMITED)
        rests.append(clock.cools_for_s())
        clock.pass_s(60)

    assert rests == [5, 10, 20, 40, 60, 60]


def test_a_success_makes_the_next_rest_short_again(clock: Clock) -> None:
    for _ in range(3):
        clock.report(Outcome.RATE_LIMITED)
        clock.pass_s(60)
    clock.report()
    clock.report(Outcome.RATE_LIMITED)

    assert clock.cools_for_s() == 5


def test_the_longer_rest_wins_over_a_later_shorter_one(clock: Clock) -> None:
    clock.report(Outcome.RATE_LIMITED, retry_after_ms=60_000)
    clock.pass_s(10)
    clock.report(Outcome.RATE_LIMITED, retry_after_ms=2_000)

    assert clock.cools_for_s() == 50


def test_overload_without_a_hint_is_an_outage_and_no_rest(clock: Clock) -> None:
    clock.report(Outcome.OVERLOADED)

    assert clock.cools_for_s() is None
    assert clock.seen().has_recent_outage


@pytest.mark.parametrize(
    ("outcome", "out_s"), [(Outcome.AUTH_FAILED, 600), (Outcome.QUOTA_EXHAUSTED, 900)]
)
def test_a_refused_credential_is_out_for_minutes_then_probed(
    clock: Clock, outcome: Outcome, out_s: float
) -> None:
    clock.report(outcome)

    assert clock.seen().is_credential_refused
    clock.pass_s(out_s - 1)
    assert clock.seen().is_credential_refused
    assert not clock.board.may_try(ALPHA, 0)
    clock.pass_s(1)
    assert not clock.seen().is_credential_refused
    assert clock.board.may_try(ALPHA, 0)
    assert not clock.board.may_try(ALPHA, 0), "one at a time"


def test_a_success_brings_a_refused_credential_back(clock: Clock) -> None:
    clock.report(Outcome.AUTH_FAILED)
    assert clock.seen().is_credential_refused
    clock.pass_s(1)
    clock.report(duration_ms=1_000)

    assert not clock.seen().is_credential_refused


def test_what_was_asked_before_the_refusal_does_not_bring_it_back(clock: Clock) -> None:
    clock.report(Outcome.AUTH_FAILED)
    clock.pass_s(1)
    clock.report(duration_ms=1_001)

    assert clock.seen().is_credential_refused


def test_a_refused_credential_rests_all_endpoints_that_use_it(clock: Clock) -> None:
    other = make_endpoint("alpha", "acme/small")
    clock.report(endpoint=other)
    clock.report(Outcome.AUTH_FAILED, status_code=401)

    assert clock.seen(other.id).is_credential_refused
    assert clock.board.credential_is_out("alpha", 0)
    assert not clock.board.credential_is_out("beta", 0)


def test_a_key_that_works_elsewhere_only_lacks_the_right_to_this_model(clock: Clock) -> None:
    other = make_endpoint("alpha", "acme/small")
    clock.report(endpoint=other)
    clock.report(Outcome.AUTH_FAILED, status_code=403)

    assert clock.seen().is_credential_refused
    assert not clock.seen(other.id).is_credential_refused
    assert not clock.board.credential_is_out("alpha", 0)


def test_another_credential_keeps_the_endpoint_in_use(clock: Clock) -> None:
    clock.give_credentials(alpha=2)
    clock.report(Outcome.AUTH_FAILED, start=make_start(ALPHA, credential=0), status_code=401)
    assert not clock.seen().is_credential_refused
    assert clock.board.credential_is_out("alpha", 0)
    assert clock.board.may_try(ALPHA, 1)
    assert not clock.board.may_try(ALPHA, 0)

    clock.report(Outcome.QUOTA_EXHAUSTED, start=make_start(ALPHA, credential=1), status_code=429)
    assert clock.seen().is_credential_refused


def test_a_rate_limit_rests_a_model_for_the_credential_that_met_it(clock: Clock) -> None:
    clock.give_credentials(alpha=2)
    start = make_start(ALPHA, credential=0)
    clock.report(Outcome.RATE_LIMITED, start=start, retry_after_ms=9_000)
    assert clock.board.is_limited(ALPHA, 0)
    assert not clock.board.is_limited(ALPHA, 1)
    assert clock.cools_for_s() is None

    start = make_start(ALPHA, credential=1)
    clock.report(Outcome.RATE_LIMITED, start=start, retry_after_ms=4_000)
    assert clock.cools_for_s() == 4, "until one of them may be used again"
    assert clock.seen().is_rate_limited
    assert not clock.board.credential_is_out("alpha", 0)


def test_a_third_model_that_is_limited_makes_it_the_accounts_limit(clock: Clock) -> None:
    models = [make_endpoint("alpha", f"acme/m{number}") for number in range(4)]
    clock.report(endpoint=models[3])
    for model in models[:2]:
        clock.report(Outcome.RATE_LIMITED, endpoint=model, retry_after_ms=9_000)
    assert not clock.board.credential_is_out("alpha", 0)
    clock.report(Outcome.RATE_LIMITED, endpoint=models[2], retry_after_ms=5_000)

    assert clock.board.credential_is_out("alpha", 0)
    assert clock.seen(models[3].id).cooling_until_ms == (clock.now_s + 5) * 1000


def test_the_view_is_the_same_value_until_something_changes_or_runs_out(clock: Clock) -> None:
    clock.report(Outcome.SERVER_ERROR)
    clock.report(Outcome.RATE_LIMITED, endpoint=BETA, retry_after_ms=3_000)
    first = clock.board.view(clock.now_s * 1000)
    clock.pass_s(2.9)

    assert clock.board.view(clock.now_s * 1000) is first
    clock.pass_s(0.1)
    second = clock.board.view(clock.now_s * 1000)
    assert second is not first
    assert second[BETA.id].cooling_until_ms is None
    assert second[ALPHA.id].has_recent_outage


def test_a_view_that_was_handed_out_never_changes(clock: Clock) -> None:
    clock.report()
    before = clock.board.view(clock.now_s * 1000)
    clock.report(Outcome.SERVER_ERROR)
    clock.board.view(clock.now_s * 1000)

    assert not before[ALPHA.id].has_recent_outage


def test_successes_do_not_rebuild_the_view_one_by_one(clock: Clock) -> None:
    clock.report(Outcome.RATE_LIMITED, retry_after_ms=1_000)
    clock.pass_s(5)
    clock.report(ttft_ms=50.0)
    before = clock.board.view(clock.now_s * 1000)
    for _ in range(5):
        clock.report(ttft_ms=50.0)

    assert clock.board.view(clock.now_s * 1000) is before


def test_failures_leave_no_samples(clock: Clock) -> None:
    clock.report(Outcome.SERVER_ERROR, duration_ms=3.0)

    assert clock.seen().latency_ms is None
    assert clock.seen().throughput_tokens_per_s is None


def test_closed_connections_that_were_reused_are_nobodys_failure(clock: Clock) -> None:
    for _ in range(20):
        clock.report(Outcome.CONNECT_ERROR, error_code=STALE_CONNECTION, status_code=0)
    assert clock.board.may_try(ALPHA)
    assert not clock.seen().has_recent_outage
    for _ in range(20):
        clock.report(Outcome.CONNECT_ERROR, error_code=STALE_CONNECTION, status_code=0)
        clock.report()
        clock.pass_s(0.5)

    assert clock.board.may_try(ALPHA)
    assert clock.board.uptime_percent(ALPHA.id) == 100


def test_an_endpoint_that_only_closes_connections_is_dead(clock: Clock) -> None:
    for _ in range(8):
        clock.report(Outcome.CONNECT_ERROR, error_code=STALE_CONNECTION, status_code=0)
        clock.pass_s(0.25)

    assert not clock.board.may_try(ALPHA)
