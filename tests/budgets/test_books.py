"""A worker's own books: covered before it begins, settled once it is over, nothing left behind."""

from datetime import timedelta
from uuid import UUID

import pytest

from gateway.domain.budgets import SINCE_EVER, Budget, window_of
from gateway.domain.errors import BudgetExceededError
from gateway.ledger.budgets import Slice, Spending


def make_slice(granted: int, number: int = 1) -> Slice:
    budget = Budget(
        id=UUID(int=number),
        name=f"b{number}",
        period="total",
        limit_nusd=1_000,
        created_at=SINCE_EVER,
    )
    one = Slice(budget, window_of("total", SINCE_EVER), is_hard=True)
    one.adopt(granted)
    return one


def state(one: Slice) -> tuple[int, int, int]:
    assert one.granted == one.free + one.reserved + one.spent
    return one.free, one.reserved, one.spent


def spending_on(*slices: Slice) -> Spending:
    return Spending(slices, tuple(one.window_ref for one in slices))


def test_the_dearest_candidate_is_reserved_and_the_rest_comes_back() -> None:
    one = make_slice(100)
    spending = spending_on(one)

    assert spending.reserve({"cheap": 10, "dear": 60})
    assert state(one) == (40, 60, 0)
    spending.begin(1, "cheap")
    spending.end(1, 7)
    spending.close()

    assert state(one) == (93, 0, 7)
    assert spending.charge.nusd == 7


def test_a_fallback_after_a_free_failure_needs_nothing_more() -> None:
    one = make_slice(60)
    spending = spending_on(one)
    spending.reserve({"cheap": 10, "dear": 60})
    spending.begin(1, "cheap")
    spending.end(1, 0)

    reservation = spending.begin(2, "dear")

    assert reservation.nusd == 60
    assert reservation.settled == {1: 0}
    assert state(one) == (0, 60, 0)


def test_a_fallback_after_a_billed_failure_is_covered_anew_or_does_not_begin() -> None:
    one = make_slice(65)
    spending = spending_on(one)
    spending.reserve({"cheap": 10, "dear": 60})
    spending.begin(1, "cheap")
    spending.end(1, 4)

    spending.begin(2, "dear")
    assert state(one) == (1, 60, 4)
    spending.end(2, 5)
    with pytest.raises(BudgetExceededError):
        spending.begin(3, "dear")

    spending.close()
    assert state(one) == (56, 0, 9)


def test_two_attempts_at_once_are_both_covered() -> None:
    one = make_slice(100)
    spending = spending_on(one)
    spending.reserve({"a": 40, "b": 50})

    spending.begin(1, "a")
    spending.begin(2, "b")
    assert state(one) == (10, 90, 0)
    spending.end(2, 30)
    spending.close()
    assert state(one) == (30, 40, 30)
    spending.end(1, 40)

    assert state(one) == (30, 0, 70)
    assert spending.charge.nusd == 70


def test_all_budgets_hold_or_none_is_touched() -> None:
    team, everyone = make_slice(100, 1), make_slice(50, 2)
    spending = spending_on(team, everyone)

    assert not spending.reserve({"a": 60})
    assert (state(team), state(everyone)) == ((100, 0, 0), (50, 0, 0))
    assert spending.reserve({"a": 50})
    assert (state(team), state(everyone)) == ((50, 50, 0), (0, 50, 0))


def test_more_than_was_reserved_becomes_a_debt_and_is_counted() -> None:
    one = make_slice(50)
    spending = spending_on(one)
    spending.reserve({"a": 50})
    spending.begin(1, "a")

    spending.end(1, 70)
    spending.close()

    assert state(one) == (-20, 0, 70)
    assert spending.overruns == 1
    assert not one.take(1)


def test_an_unknown_cost_counts_as_what_was_reserved() -> None:
    one = make_slice(50)
    spending = spending_on(one)
    spending.reserve({"a": 30})
    spending.begin(1, "a")

    spending.end(1, None)
    spending.close()

    assert state(one) == (20, 0, 30)


def test_an_attempt_that_did_not_begin_leaves_nothing() -> None:
    one = make_slice(50)
    spending = spending_on(one)
    spending.reserve({"a": 30})
    spending.begin(1, "a")

    spending.cancel(1)
    spending.close()

    assert state(one) == (50, 0, 0)


def test_without_an_enforced_budget_costs_are_charged_and_nothing_is_reserved() -> None:
    soft = make_slice(0)
    spending = Spending((), (soft.window_ref,))

    assert spending.begin(1, "a").nusd is None
    spending.end(1, 12)
    spending.close()

    assert spending.charge.nusd == 12
    assert spending.charge.windows == (soft.window_ref,)


def test_what_is_returned_is_out_of_the_books_and_what_was_not_taken_comes_back() -> None:
    one = make_slice(100)
    one.take(30)

    assert one.return_free() == 70
    assert state(one) == (0, 30, 0)
    # Postgres never heard of it: it still says that 100 were granted.
    one.adopt(100)
    assert state(one) == (70, 30, 0)


def test_another_lease_owes_nothing_of_what_the_former_was_spent_on() -> None:
    one = make_slice(100)
    one.adopt(100, SINCE_EVER)
    spending = spending_on(one)
    spending.reserve({"cheap": 60})
    spending.begin(1, "cheap")
    spending.end(1, 50)
    spending.close()
    other = spending_on(one)
    other.reserve({"cheap": 30})
    assert state(one) == (20, 30, 50)

    one.adopt(0, None)
    assert state(one) == (-30, 30, 0)
    one.adopt(80, SINCE_EVER + timedelta(seconds=1))

    assert state(one) == (50, 30, 0)
    other.begin(1, "cheap")
    other.end(1, 30)
    assert state(one) == (50, 0, 30)
