"""Limits on what a request may cost: by the caller, and by the budget."""

from decimal import Decimal
from typing import Any

import pytest

from gateway.domain.errors import BudgetExceededError, NoEndpointError
from gateway.routing.engine import make_plan
from gateway.routing.plan import Plan
from tests.routing.factories import (
    ids,
    make_caller,
    make_catalogue_of,
    make_endpoint,
    make_inputs,
    make_price,
    make_request,
    reasons,
)

CATALOGUE = make_catalogue_of(
    make_endpoint("cheap", price="1", max_output_tokens=1_000),
    make_endpoint("dear", price="10", max_output_tokens=1_000),
    make_endpoint("unpriced", price=None, max_output_tokens=1_000),
    make_endpoint("endless", price="0.1"),
    make_endpoint(
        "writer",
        price=make_price("1", "1", cache_write_usd_per_mtok=Decimal(9)),
        max_output_tokens=1_000,
    ),
)


def plan_of(inputs: dict[str, Any] | None = None, **wishes: Any) -> Plan:
    request = make_request(sort="price", **wishes)
    return make_plan(request, make_inputs(CATALOGUE, **(inputs or {})))


def test_the_most_a_request_may_cost_is_what_it_can_cost_and_not_what_it_will() -> None:
    # 2,000 bytes are at most 1,000 tokens; with 1,000 tokens of answer that is 0.002 at `cheap`.
    plan = plan_of(max_cost_usd=Decimal("0.002"))

    assert ids(plan) == ["cheap/large"]
    assert reasons(plan) == {
        "dear/large": "max_cost",
        "unpriced/large": "max_cost",
        "endless/large": "max_cost",
        "writer/large": "max_cost",
    }
    with pytest.raises(NoEndpointError) as caught:
        plan_of(max_cost_usd=Decimal("0.001999"))
    assert caught.value.metadata["constraints"]["max_cost"].startswith("raise `max_cost_usd`")


def test_a_cap_on_the_answer_makes_a_request_cheaper_at_most() -> None:
    plan = plan_of(max_cost_usd=Decimal("0.0012"), max_output_tokens=100)

    assert ids(plan) == ["endless/large", "cheap/large"]


def test_several_answers_may_cost_several_times_as_much() -> None:
    plan = plan_of(max_cost_usd=Decimal("0.0012"), max_output_tokens=100, choice_count=3)

    assert ids(plan) == ["endless/large"]


def test_a_budget_holds_what_a_request_is_expected_to_cost() -> None:
    # 500 tokens each way: 0.001 at `cheap`, 0.01 at `dear`.
    plan = plan_of({"budget_headroom_usd": Decimal("0.005")}, ignore=("unpriced",))

    assert "dear/large" not in ids(plan)
    assert reasons(plan)["dear/large"] == "budget"


def test_a_budget_that_is_used_up_is_told_as_one() -> None:
    with pytest.raises(BudgetExceededError) as caught:
        plan_of(
            {"budget_headroom_usd": Decimal(0), "caller": make_caller(has_hard_budget=True)},
        )

    assert caught.value.status == 402
    assert caught.value.metadata["excluded_by"] == {"budget": 4, "unpriced": 1}


def test_what_costs_nothing_fits_into_every_budget() -> None:
    catalogue = make_catalogue_of(make_endpoint("gift", price="0"))

    plan = make_plan(make_request(), make_inputs(catalogue, budget_headroom_usd=Decimal(-1)))

    assert ids(plan) == ["gift/large"]
