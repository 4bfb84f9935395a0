"""The ``balanced`` strategy: the best of price, uptime, throughput and latency together."""

from math import isclose
from typing import Any

import pytest

from gateway.routing.balance import score
from gateway.routing.engine import make_plan
from gateway.routing.plan import BalanceWeights, Plan
from gateway.routing.record import compact, replay
from tests.routing.factories import (
    ids,
    make_catalogue_of,
    make_endpoint,
    make_health,
    make_inputs,
    make_request,
)

CATALOGUE = make_catalogue_of(
    make_endpoint("a", price="1"),
    make_endpoint("b", price="2"),
    make_endpoint("c", price="4"),
    make_endpoint("d", price=None),
)
HEALTH = {
    "a/large": make_health(latency_ms=1_000, throughput=25, uptime=0.8),
    "b/large": make_health(latency_ms=500, throughput=50, uptime=1.0),
    "c/large": make_health(latency_ms=250, throughput=100, uptime=1.0),
}


def plan_of(health: Any = None, weights: BalanceWeights | None = None, **wishes: Any) -> Plan:
    inputs = make_inputs(
        CATALOGUE,
        health=HEALTH if health is None else health,
        strategy="balanced",
        balance=weights or BalanceWeights(),
    )
    return make_plan(make_request(**wishes), inputs)


def test_scores_are_weighted_distances_from_the_best_of_each() -> None:
    plan = plan_of()

    scores = {c.endpoint.id: c.score for c in plan.candidates}
    # 1.175 is the sum of the weights; 0.62 what an uptime of 80 % costs beside its distance.
    penalty = (0.15 / 0.95 * 5) ** 2
    a = (0.6 * 0 + 0.5 * (1 / 0.8 - 1) + 0.05 * 3 + 0.025 * 3) / 1.175 + penalty
    b = (0.6 * 1 + 0.5 * 0 + 0.05 * 1 + 0.025 * 1) / 1.175
    c = (0.6 * 3 + 0.5 * 0 + 0.05 * 0 + 0.025 * 0) / 1.175
    assert isclose(scores["a/large"] or 0, a)
    assert isclose(scores["b/large"] or 0, b)
    assert isclose(scores["c/large"] or 0, c)
    assert ids(plan) == ["b/large", "a/large", "c/large", "d/large"]
    assert (plan.strategy, plan.mode, plan.draw) == ("balanced", "deterministic", None)
    assert plan.candidates[0].probability == 1.0


def test_weights_are_the_operators() -> None:
    only_latency = BalanceWeights(price=0, uptime=0, throughput=0, latency=1)

    assert ids(plan_of(weights=only_latency))[0] == "c/large"


def test_without_any_measure_the_price_decides() -> None:
    assert ids(plan_of(health={})) == ["a/large", "b/large", "c/large", "d/large"]


def test_a_recent_outage_stands_behind_and_a_slow_start_counts() -> None:
    health = {
        "a/large": make_health(has_recent_outage=True),
        "b/large": make_health(weight_factor=0.1),
    }

    plan = plan_of(health=health)

    assert ids(plan) == ["b/large", "c/large", "a/large", "d/large"]
    assert isclose(plan.candidates[0].score or 0, 0.6 / 1.175 * 1 + 0.9)


def test_a_request_that_says_how_to_sort_is_sorted() -> None:
    assert plan_of(sort="throughput").strategy == "sort:throughput"


def test_free_offers_are_the_best_price_and_do_not_make_others_infinite() -> None:
    gift, paid = make_endpoint("a", price="0"), make_endpoint("b", price="3")
    inputs = make_inputs(make_catalogue_of(gift, paid), strategy="balanced")

    scores = [c.score for c in make_plan(make_request(), inputs).candidates]

    assert scores[0] == 0
    assert isclose(scores[1] or 0, 0.6 / 1.175)


def test_parts_of_a_score_add_up() -> None:
    for parts in score(plan_of().candidates[:3], BalanceWeights()):
        assert isclose(
            parts.total,
            parts.price + parts.uptime + parts.throughput + parts.latency + parts.penalty,
        )


@pytest.mark.parametrize("weights", [BalanceWeights(), BalanceWeights(latency=3)])
def test_a_balanced_decision_is_replayed(weights: BalanceWeights) -> None:
    plan = plan_of(weights=weights)

    assert list(replay(compact(plan)).endpoints) == ids(plan)
