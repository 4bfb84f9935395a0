"""What may be asked twice, on a clock of our own."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.execution.retry_budget import LATE_REPEAT, REPEAT, Refill, RetryBudget
from tests.properties import many

FROZEN = Refill(per_s=0.0)


def takes(budget: RetryBudget, times: int, *, now_s: float = 0.0, cost: float = REPEAT) -> int:
    """How many of so many repeats are paid for."""
    return sum(budget.take("t", now_s, cost=cost) for _ in range(times))


def test_a_target_that_was_never_asked_has_twenty_repeats() -> None:
    budget = RetryBudget(FROZEN)

    assert budget.tokens("t", 0.0) == 20
    assert takes(budget, 50) == 20
    assert budget.refused == 30


def test_a_repeat_after_silence_costs_two() -> None:
    assert takes(RetryBudget(FROZEN), 50, cost=LATE_REPEAT) == 10


def test_nothing_is_paid_at_zero_and_whatever_is_left_above_it_pays_in_full() -> None:
    budget = RetryBudget(FROZEN)
    assert takes(budget, 20) == 20
    budget.note_request("t", 0.0)

    assert budget.tokens("t", 0.0) == pytest.approx(0.1)
    assert takes(budget, 5) == 1
    assert budget.tokens("t", 0.0) == pytest.approx(-0.9)


def test_ten_requests_pay_for_one_repeat() -> None:
    budget = RetryBudget(FROZEN)
    takes(budget, 20)
    paid = 0
    for _ in range(1_000):
        budget.note_request("t", 0.0)
        paid += budget.take("t", 0.0)

    assert 99 <= paid <= 101


def test_a_second_pays_for_one_repeat() -> None:
    budget = RetryBudget()
    takes(budget, 100)

    assert takes(budget, 10, now_s=0.5) == 1, "half a token pays for one repeat, and leaves a debt"
    assert takes(budget, 10, now_s=5.0) == 4


def test_buckets_do_not_overflow() -> None:
    budget = RetryBudget()
    budget.note_request("t", 0.0)
    assert budget.tokens("t", 1e6) == 20
    budget.note_request("t", 1e6)

    assert budget.tokens("t", 1e6) == 20


def test_targets_do_not_pay_for_each_other() -> None:
    budget = RetryBudget(FROZEN)
    takes(budget, 20)

    assert not budget.take("t", 0.0)
    assert budget.take("u", 0.0)


def test_a_clock_that_stands_still_or_goes_back_gives_nothing() -> None:
    budget = RetryBudget()
    takes(budget, 20, now_s=100.0)

    assert not budget.take("t", 100.0)
    assert not budget.take("t", 50.0)
    assert budget.take("t", 100.5)


def test_with_every_answer_failing_a_busy_target_gets_a_tenth_more_calls() -> None:
    budget, requests, repeats = RetryBudget(), 0, 0
    for step in range(100 * 300):
        now_s = step / 100
        budget.note_request("t", now_s)
        requests += 1
        repeats += budget.take("t", now_s)

    assert (requests + repeats) / requests <= 1.12


@settings(max_examples=many(60))
@given(
    st.lists(
        st.tuples(
            st.sampled_from(["request", "repeat", "late"]),
            st.floats(min_value=0, max_value=3),
        ),
        max_size=120,
    )
)
def test_no_history_pays_for_more_than_went_in(history: list[tuple[str, float]]) -> None:
    budget, now_s, requests, spent = RetryBudget(), 0.0, 0, 0.0
    for what, gone_s in history:
        now_s += gone_s
        if what == "request":
            budget.note_request("t", now_s)
            requests += 1
            continue
        cost = REPEAT if what == "repeat" else LATE_REPEAT
        spent += cost * budget.take("t", now_s, cost=cost)
        assert -LATE_REPEAT <= budget.tokens("t", now_s) <= 20

    assert spent <= 20 + requests * 0.1 + now_s * 1.0 + LATE_REPEAT
