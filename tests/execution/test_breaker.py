"""Each transition of the breaker, and what holds for any history at all."""

from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from gateway.execution.breaker import (
    PRISTINE,
    BreakerRules,
    LevelState,
    Phase,
    fail,
    is_probing,
    open_until,
    phase,
    release,
    succeed,
    take_probe,
    weight_factor,
)

RULES = BreakerRules()
LEASE_MS = 300_000.0
MIDDLE = 0.5
"""The chance that leaves the time open as it is."""


class Breaker:
    """A state on a clock that is moved by hand; attempts take no time."""

    def __init__(self) -> None:
        self.now_ms = 1_000_000.0
        self.state = PRISTINE
        self.chance = MIDDLE
        self.dead: set[int] = set()

    def fail(
        self, *, is_local: bool = False, is_over_rate: bool = False, began_ms: float | None = None
    ) -> None:
        self.state = fail(
            self.state,
            self.now_ms,
            started_ms=self.now_ms if began_ms is None else began_ms,
            is_local=is_local,
            is_over_rate=is_over_rate,
            chance=self.chance,
            rules=RULES,
        )

    def succeed(self, began_ms: float | None = None) -> None:
        began_ms = self.now_ms if began_ms is None else began_ms
        self.state = succeed(self.state, self.now_ms, started_ms=began_ms, rules=RULES)

    def probe(self, pid: int = 1) -> bool:
        after = take_probe(
            self.state,
            self.now_ms,
            pid=pid,
            is_alive=lambda one: one not in self.dead,
            lease_ms=LEASE_MS,
            rules=RULES,
        )
        self.state = after or self.state
        return after is not None

    def pass_s(self, seconds: float) -> None:
        self.now_ms += seconds * 1000

    def open(self) -> None:
        for _ in range(5):
            self.fail()

    def close_again(self) -> None:
        """From open to closed, at once when the time is up."""
        self.now_ms = self.state.open_until_ms
        for _ in range(2):
            assert self.probe()
            self.succeed()

    @property
    def phase(self) -> Phase:
        return phase(self.state, self.now_ms)

    @property
    def opens_for_s(self) -> float:
        return (self.state.open_until_ms - self.now_ms) / 1000

    @property
    def weight(self) -> float:
        return weight_factor(self.state, self.now_ms, RULES)


@pytest.fixture
def breaker() -> Breaker:
    return Breaker()


def test_five_failures_in_a_row_open_it(breaker: Breaker) -> None:
    for _ in range(4):
        breaker.fail()
    assert breaker.phase is Phase.CLOSED
    breaker.fail()

    assert breaker.phase is Phase.OPEN
    assert breaker.opens_for_s == 10


def test_three_failures_on_the_way_open_it(breaker: Breaker) -> None:
    breaker.fail(is_local=True)
    breaker.fail(is_local=True)
    assert breaker.phase is Phase.CLOSED
    breaker.fail(is_local=True)

    assert breaker.phase is Phase.OPEN


def test_an_answer_between_makes_both_counts_begin_anew(breaker: Breaker) -> None:
    for _ in range(10):
        breaker.fail(is_local=True)
        breaker.fail(is_local=True)
        breaker.succeed()
    assert breaker.phase is Phase.CLOSED

    breaker.fail(is_local=True)
    breaker.fail(is_local=True)
    breaker.fail()
    breaker.fail(is_local=True)
    assert breaker.phase is Phase.CLOSED, "a failure behind the way ends the row on it"


def test_too_large_a_share_of_failures_opens_it(breaker: Breaker) -> None:
    breaker.fail(is_over_rate=True)

    assert breaker.phase is Phase.OPEN


def test_each_opening_lasts_twice_as_long_up_to_five_minutes(breaker: Breaker) -> None:
    breaker.open()
    lasted_s = [breaker.opens_for_s]
    for _ in range(6):
        breaker.now_ms = breaker.state.open_until_ms
        assert breaker.phase is Phase.HALF_OPEN
        assert breaker.probe()
        breaker.fail()
        lasted_s.append(breaker.opens_for_s)

    assert lasted_s == [10, 20, 40, 80, 160, 300, 300]


@pytest.mark.parametrize(("chance", "lasts_s"), [(0.0, 7.5), (0.25, 8.75), (1.0, 12.5)])
def test_chance_spreads_the_time_open_by_a_quarter(
    breaker: Breaker, chance: float, lasts_s: float
) -> None:
    breaker.chance = chance
    breaker.open()

    assert breaker.opens_for_s == lasts_s


def test_every_minute_closed_forgives_an_opening(breaker: Breaker) -> None:
    breaker.open()
    for _ in range(3):
        breaker.now_ms = breaker.state.open_until_ms
        assert breaker.probe()
        breaker.fail()
    breaker.close_again()
    breaker.pass_s(125)
    breaker.open()

    assert breaker.opens_for_s == 40, "four openings, two forgiven, one more"
    breaker.close_again()
    breaker.pass_s(3_600)
    breaker.open()
    assert breaker.opens_for_s == 10


def test_half_open_lets_one_attempt_at_a_time(breaker: Breaker) -> None:
    breaker.open()
    assert not breaker.probe()
    breaker.now_ms = breaker.state.open_until_ms

    assert breaker.probe()
    assert is_probing(breaker.state, breaker.now_ms)
    assert not breaker.probe()
    breaker.succeed()
    assert breaker.phase is Phase.HALF_OPEN
    assert breaker.probe()
    breaker.succeed()
    assert breaker.phase is Phase.CLOSED


def test_one_bad_probe_opens_it_again(breaker: Breaker) -> None:
    breaker.open()
    breaker.now_ms = breaker.state.open_until_ms
    assert breaker.probe()
    breaker.succeed()
    assert breaker.probe()
    breaker.fail()

    assert breaker.phase is Phase.OPEN
    assert breaker.opens_for_s == 20
    breaker.now_ms = breaker.state.open_until_ms
    assert breaker.probe()
    breaker.succeed()
    assert breaker.phase is Phase.HALF_OPEN, "two good probes in a row are needed again"


def test_a_probe_without_a_verdict_makes_room_for_another(breaker: Breaker) -> None:
    breaker.open()
    breaker.now_ms = breaker.state.open_until_ms
    assert breaker.probe()
    breaker.state = release(breaker.state, started_ms=breaker.now_ms - 1)
    assert not breaker.probe(), "that was an older attempt"
    breaker.state = release(breaker.state, started_ms=breaker.now_ms)

    assert breaker.probe()


def test_a_probe_ends_with_its_lease_or_with_its_process(breaker: Breaker) -> None:
    breaker.open()
    breaker.now_ms = breaker.state.open_until_ms
    assert breaker.probe(pid=7)
    breaker.pass_s(299)
    assert not breaker.probe(pid=8)
    breaker.pass_s(1)
    assert breaker.probe(pid=8)
    assert not breaker.probe(pid=9)
    breaker.dead.add(8)
    assert breaker.probe(pid=9)


def test_attempts_from_before_the_opening_tell_nothing(breaker: Breaker) -> None:
    began_ms = breaker.now_ms
    breaker.pass_s(1)
    breaker.open()
    opened = breaker.state
    breaker.pass_s(1)
    breaker.succeed(began_ms)
    breaker.fail(began_ms=began_ms)
    assert breaker.state == opened

    breaker.pass_s(10)
    assert breaker.phase is Phase.HALF_OPEN
    breaker.succeed(began_ms)
    breaker.fail(began_ms=began_ms)
    assert breaker.state == opened


def test_while_open_an_attempt_may_go_every_two_seconds_where_nothing_else_is_left(
    breaker: Breaker,
) -> None:
    breaker.open()
    until_ms = breaker.state.open_until_ms
    breaker.pass_s(1.9)
    assert not breaker.probe()
    breaker.pass_s(0.1)
    assert breaker.probe()
    breaker.fail()
    assert breaker.state.open_until_ms == until_ms, "it was out of turn: nothing is lengthened"
    breaker.pass_s(1.9)
    assert not breaker.probe()
    breaker.pass_s(0.1)
    assert breaker.probe()
    breaker.succeed()
    assert breaker.phase is Phase.HALF_OPEN, "a good answer shortens the wait"


def test_after_closing_its_weight_grows_from_a_tenth_to_the_whole(breaker: Breaker) -> None:
    assert breaker.weight == 1
    breaker.open()
    breaker.close_again()

    weights = [breaker.weight]
    for _ in range(4):
        breaker.pass_s(10)
        weights.append(round(breaker.weight, 6))
    assert weights == [0.1, 0.4, 0.7, 1, 1]


def test_opening_by_decree_is_never_shortened() -> None:
    once = open_until(PRISTINE, 1_000.0, until_ms=9_000.0, reason=1)
    twice = open_until(once, 2_000.0, until_ms=5_000.0, reason=1)

    assert (twice.open_until_ms, twice.opened_at_ms) == (9_000.0, 2_000.0)


STEPS: dict[str, Callable[[Breaker], object]] = {
    "fail": lambda breaker: breaker.fail(),
    "fail on the way": lambda breaker: breaker.fail(is_local=True),
    "fail too often": lambda breaker: breaker.fail(is_over_rate=True),
    "fail late": lambda breaker: breaker.fail(began_ms=breaker.now_ms - 30_000),
    "succeed": lambda breaker: breaker.succeed(),
    "succeed late": lambda breaker: breaker.succeed(breaker.now_ms - 30_000),
    "probe": lambda breaker: breaker.probe(),
    "lose the probe": lambda breaker: setattr(
        breaker, "state", release(breaker.state, started_ms=breaker.now_ms)
    ),
}
HISTORIES = st.lists(
    st.tuples(
        st.sampled_from(sorted(STEPS)),
        st.sampled_from([0.0, 0.5, 3.0, 12.0, 70.0]),
        st.floats(0, 1),
    ),
    max_size=60,
)


@given(HISTORIES)
def test_whatever_happened_it_is_tried_again_within_five_minutes_and_a_quarter(
    history: list[tuple[str, float, float]],
) -> None:
    breaker = Breaker()
    for step, seconds, breaker.chance in history:
        STEPS[step](breaker)
        breaker.pass_s(seconds)
        assert breaker.opens_for_s <= 300 * 1.25
        assert breaker.state.probe_until_ms <= breaker.now_ms + LEASE_MS
    # What is under way is itself the trial; its verdict, or its end, makes room.
    breaker.state = replace(breaker.state, probe_until_ms=0.0)

    breaker.pass_s(300 * 1.25)
    assert breaker.probe()


@given(HISTORIES)
def test_half_a_minute_after_it_closed_its_weight_is_whole(
    history: list[tuple[str, float, float]],
) -> None:
    breaker = Breaker()
    for step, seconds, breaker.chance in history:
        STEPS[step](breaker)
        breaker.pass_s(seconds)
    breaker.state = replace(breaker.state, probe_until_ms=0.0)
    breaker.pass_s(300 * 1.25)
    for _ in range(2):
        assert breaker.probe()
        breaker.succeed()
    breaker.pass_s(30)

    assert breaker.phase is Phase.CLOSED
    assert breaker.weight == 1


@given(HISTORIES)
def test_whatever_happened_there_is_one_probe_at_most(
    history: list[tuple[str, float, float]],
) -> None:
    breaker = Breaker()
    for step, seconds, breaker.chance in history:
        STEPS[step](breaker)
        if breaker.state.open_until_ms and breaker.probe():
            assert not breaker.probe()
        breaker.pass_s(seconds)


def test_a_state_is_a_plain_row_of_numbers() -> None:
    # The table that workers share stores it so.
    names = LevelState.__struct_fields__

    assert [isinstance(getattr(PRISTINE, name), float) for name in names] == [True] * 7 + [
        False
    ] * 8
