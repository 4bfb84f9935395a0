"""Several models in one request: one after another, or all together."""

from math import isclose
from typing import Any

import msgspec
import pytest

from gateway.domain.errors import InvalidRequestError
from gateway.routing.engine import make_plan
from gateway.routing.plan import Plan
from gateway.routing.record import compact, replay
from tests.routing.factories import (
    ids,
    make_catalogue_of,
    make_endpoint,
    make_health,
    make_inputs,
    make_request,
    reasons,
)

CATALOGUE = make_catalogue_of(
    make_endpoint("a", price="4", context_tokens=600),
    make_endpoint("b", price="8"),
    make_endpoint("a", "acme/small", price="2"),
    make_endpoint("c", "acme/small", price="5"),
)
HEALTH = {
    "a/large": make_health(latency_ms=300, throughput=10),
    "b/large": make_health(latency_ms=100, throughput=40),
    "a/small": make_health(latency_ms=200, throughput=30),
    "c/small": make_health(latency_ms=50, throughput=20),
}
BOTH = ("acme/large", "acme/small")


def plan_of(*models: str, seed: int = 1, **wishes: Any) -> Plan:
    known = make_inputs(CATALOGUE, health=HEALTH, seed=seed)
    return make_plan(make_request(*(models or BOTH), **wishes), known)


@pytest.mark.parametrize(
    ("sort", "apart", "together"),
    [
        (
            "price",
            ["a/large", "b/large", "a/small", "c/small"],
            ["a/small", "a/large", "c/small", "b/large"],
        ),
        (
            "latency",
            ["b/large", "a/large", "c/small", "a/small"],
            ["c/small", "b/large", "a/small", "a/large"],
        ),
        (
            "throughput",
            ["b/large", "a/large", "a/small", "c/small"],
            ["b/large", "a/small", "c/small", "a/large"],
        ),
    ],
)
def test_a_sort_is_within_each_model_or_across_all(
    sort: str, apart: list[str], together: list[str]
) -> None:
    assert ids(plan_of(sort=sort)) == ids(plan_of(sort=sort, partition="model")) == apart
    assert ids(plan_of(sort=sort, partition="none")) == together


def test_all_models_together_are_drawn_by_price() -> None:
    plan = plan_of(partition="none")

    drawn = {c.endpoint.id: c.probability for c in plan.candidates}
    total = 1 + (2 / 4) ** 2 + (2 / 5) ** 2 + (2 / 8) ** 2
    assert plan.strategy == "price-weighted"
    assert isclose(drawn["a/small"] or 0, 1 / total)
    assert isclose(drawn["b/large"] or 0, (2 / 8) ** 2 / total)
    record = compact(plan)
    by_model = msgspec.convert(record["p_model"], dict[str, float])
    assert isclose(by_model["acme/small"], (1 + (2 / 5) ** 2) / total)
    assert isclose(sum(by_model.values()), 1)
    assert list(replay(record).endpoints) == ids(plan)


def test_a_suffix_that_sorts_one_of_the_models_sorts_them_all() -> None:
    plan = plan_of("acme/large:nitro", "acme/small", partition="none")

    assert ids(plan)[0] == "b/large"
    with pytest.raises(InvalidRequestError, match="sorted together"):
        plan_of("acme/large:nitro", "acme/small:floor", partition="none")


def test_a_prompt_too_long_for_the_first_model_goes_to_the_next() -> None:
    plan = plan_of(prompt_tokens_estimate=700, only=("a",))

    assert ids(plan) == ["a/small"]
    assert reasons(plan)["a/large"] == "context"
    assert plan.models == BOTH


def test_another_model_is_only_used_when_it_was_asked_for() -> None:
    for seed in range(20):
        assert {c.endpoint.model for c in plan_of("acme/large", seed=seed).candidates} == {
            "acme/large"
        }


def test_no_fallbacks_is_about_providers_of_all_models_together_too() -> None:
    plan = plan_of(sort="price", partition="none", allow_fallbacks=False)

    assert ids(plan) == ["a/small"]
    assert set(reasons(plan).values()) == {"no_fallbacks"}
