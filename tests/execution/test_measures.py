"""Rolling latency and throughput of an endpoint, and when it counts as degraded."""

from typing import Any

import pytest

from gateway.domain.outcomes import Outcome
from gateway.execution.health import HealthBoard
from gateway.routing.plan import EndpointHealth
from pricing.usage import Usage
from tests.execution.samples import make_end
from tests.routing.factories import make_endpoint

ALPHA = make_endpoint("alpha")


class Clock:
    """A board with a clock that stands still until it is moved."""

    def __init__(self) -> None:
        self.now_s = 90_000.0
        self.board = HealthBoard(clock=lambda: self.now_s)

    def answer(self, ttft_ms: float | None = None, *, times: int = 1, **changes: Any) -> None:
        for _ in range(times):
            self.board.report(make_end(endpoint=ALPHA, ttft_ms=ttft_ms, **changes))

    @property
    def seen(self) -> EndpointHealth:
        return self.board.view(self.now_s * 1000)[ALPHA.id]

    @property
    def latency_p50_ms(self) -> float | None:
        return self.seen.latency_ms and self.seen.latency_ms.p50


@pytest.fixture
def clock() -> Clock:
    return Clock()


def test_latency_is_that_of_first_tokens_and_of_whole_answers(clock: Clock) -> None:
    clock.answer(100.0, duration_ms=1_000.0)
    assert clock.latency_p50_ms == pytest.approx(100, rel=0.02)
    clock.now_s += 1
    clock.answer(None, duration_ms=700.0, times=10)

    assert clock.latency_p50_ms == pytest.approx(700, rel=0.02)


def test_throughput_counts_tokens_after_the_first(clock: Clock) -> None:
    clock.answer(500.0, duration_ms=1_500.0, usage=Usage(output_tokens=80))

    throughput = clock.seen.throughput_tokens_per_s
    assert throughput is not None
    assert throughput.p50 == pytest.approx(80, rel=0.02)


def test_the_worst_fifth_shows_in_p90_of_latency_and_of_throughput(clock: Clock) -> None:
    clock.answer(100.0, duration_ms=1_100.0, usage=Usage(output_tokens=400), times=80)
    clock.answer(1_000.0, duration_ms=2_000.0, usage=Usage(output_tokens=40), times=20)

    latency, throughput = clock.seen.latency_ms, clock.seen.throughput_tokens_per_s
    assert latency is not None
    assert throughput is not None
    assert (latency.p50, latency.p90) == pytest.approx((100, 1_000), rel=0.02)
    assert (throughput.p50, throughput.p90) == pytest.approx((400, 40), rel=0.02)


def test_what_is_older_than_five_minutes_says_nothing(clock: Clock) -> None:
    clock.answer(50.0, times=300)
    clock.now_s += 301
    clock.answer(900.0, times=8)

    latency = clock.seen.latency_ms
    assert latency is not None
    assert latency.p50 == latency.p99 == pytest.approx(900, rel=0.02)


def test_what_became_much_slower_than_it_was_gets_a_quarter_of_its_weight(clock: Clock) -> None:
    clock.answer(5_000.0, times=20)
    clock.now_s += 660
    clock.answer(16_000.0, times=16)
    assert clock.seen.weight_factor == 0.25

    clock.now_s += 301
    clock.answer(9_000.0, times=16)
    assert clock.seen.weight_factor == 1.0


@pytest.mark.parametrize(
    ("usual_ms", "now_ms"), [(16_000.0, 17_000.0), (900.0, 9_900.0)], ids=["usual", "fast enough"]
)
def test_slowness_alone_costs_no_weight(clock: Clock, usual_ms: float, now_ms: float) -> None:
    clock.answer(usual_ms, times=20)
    clock.now_s += 660
    clock.answer(now_ms, times=16)

    assert clock.seen.weight_factor == 1.0


def test_a_few_slow_answers_say_nothing(clock: Clock) -> None:
    clock.answer(1_000.0, times=20)
    clock.now_s += 660
    clock.answer(30_000.0, times=9)

    assert clock.seen.weight_factor == 1.0


def test_failures_leave_no_samples(clock: Clock) -> None:
    clock.board.report(make_end(Outcome.SERVER_ERROR, endpoint=ALPHA, duration_ms=3.0))

    assert clock.seen.latency_ms is None
    assert clock.seen.throughput_tokens_per_s is None
