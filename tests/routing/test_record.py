import json
from decimal import Decimal
from typing import Any

import msgspec
import pytest

from gateway.routing.engine import make_plan
from gateway.routing.plan import EndpointHealth, Plan
from gateway.routing.record import LISTED_EXCLUSIONS, compact, replay
from tests.routing.factories import (
    NOW_MS,
    ids,
    make_catalogue_of,
    make_endpoint,
    make_health,
    make_inputs,
    make_price,
    make_request,
)

CATALOGUE = make_catalogue_of(
    make_endpoint("a", price="0.1"),
    make_endpoint("b", price="0.2"),
    make_endpoint("c", price="0.2"),
    make_endpoint("d", price="7"),
    make_endpoint("e", price=None),
    make_endpoint("f", price="0"),
    make_endpoint("a", "acme/small", price="3"),
    make_endpoint("b", "acme/small", price="4"),
)
HEALTH = {
    "a/large": make_health(latency_ms=300.5, throughput=1 / 3),
    "b/large": make_health(has_recent_outage=True, latency_ms=100),
    "d/large": make_health(throughput=90.0),
}


def plan_of(*models: str, seed: int = 1, health: Any = HEALTH, **wishes: Any) -> Plan:
    return make_plan(
        make_request(*models, **wishes), make_inputs(CATALOGUE, health=health, seed=seed)
    )


def stored(plan: Plan) -> dict[str, object]:
    """As it comes back from the database."""
    return json.loads(json.dumps(compact(plan)))


@pytest.mark.parametrize(
    "wishes",
    [
        pytest.param({}, id="weighted"),
        pytest.param({"ignore": ("f",)}, id="weighted-priced"),
        pytest.param({"allow_fallbacks": False, "ignore": ("f",)}, id="weighted-first-only"),
        pytest.param({"sort": "price"}, id="price"),
        pytest.param({"sort": "latency"}, id="latency"),
        pytest.param({"sort": "throughput", "allow_fallbacks": False}, id="throughput"),
        pytest.param({"order": ("d", "b")}, id="order"),
        pytest.param({"order": ("d", "b"), "sort": "latency"}, id="order-and-sort"),
        pytest.param({"order": ("d", "b"), "allow_fallbacks": False}, id="closed-order"),
    ],
)
@pytest.mark.parametrize("models", [("acme/large",), ("acme/small", "acme/large")])
def test_ordering_a_stored_decision_again_gives_the_stored_order(
    wishes: dict[str, Any], models: tuple[str, ...]
) -> None:
    for seed in (0, 1, 2**64 - 1):
        plan = plan_of(*models, seed=seed, **wishes)

        again = replay(stored(plan))

        assert list(again.endpoints) == ids(plan)
        assert list(again.dropped) == [c.endpoint.id for c in plan.dropped]
        assert list(again.probabilities) == [c.probability for c in plan.candidates]
        assert again.draw == plan.draw


def test_a_last_resort_is_replayed_too() -> None:
    resting = EndpointHealth(cooling_until_ms=NOW_MS + 10)
    health = dict.fromkeys(CATALOGUE.endpoints_by_id, resting)
    plan = plan_of("acme/small", health=health)

    assert list(replay(stored(plan)).endpoints) == ids(plan)
    assert compact(plan)["candidates"] == [
        {
            "endpoint": "a/small",
            "model": "acme/small",
            "partition": 0,
            "cost_usd": "0.003000",
            "weight": 1.0,
            "p": 1.0,
            "price_version": "v1",
            "cooling": True,
        }
    ]


def test_a_decision_leaves_what_is_needed_to_judge_it() -> None:
    record = stored(plan_of(only=("a", "d"), health={}, seed=3))

    assert {name: record[name] for name in ("mode", "strategy", "rng", "seed")} == {
        "mode": "weighted",
        "strategy": "price-weighted",
        "rng": "blake2b-ctr",
        "seed": 3,
    }
    assert (record["tokens_in"], record["tokens_out"]) == (500, 500)
    assert record["drawn_endpoint"] == "a/large"
    assert record["p_drawn"] == 1 / (1 + (1 / 70) ** 2)
    assert record["excluded_by"] == {"only": 4}


def test_a_float_cost_is_never_stored() -> None:
    record = compact(plan_of(only=("a",), health={}))

    (candidate,) = msgspec.convert(record["candidates"], list[dict[str, Any]])
    assert candidate["cost_usd"] == "0.0001000"


def test_a_tiny_cost_is_stored_without_an_exponent() -> None:
    tiny = make_endpoint("a", price=make_price("0.0000002", "0"))

    record = compact(make_plan(make_request(), make_inputs(make_catalogue_of(tiny))))

    # 500 tokens at 0.0000002 USD per million.
    (candidate,) = msgspec.convert(record["candidates"], list[dict[str, Any]])
    assert Decimal(candidate["cost_usd"]) == Decimal("1E-10")
    assert "E" not in candidate["cost_usd"]


def test_long_lists_of_exclusions_are_cut_and_still_counted() -> None:
    catalogue = make_catalogue_of(
        *[make_endpoint(f"p{n}", mode="embedding") for n in range(LISTED_EXCLUSIONS + 10)],
        make_endpoint("keeper"),
    )

    record = compact(make_plan(make_request(), make_inputs(catalogue)))

    assert record["excluded_by"] == {"mode": LISTED_EXCLUSIONS + 10}
    assert len(msgspec.convert(record["excluded"], list[Any])) == LISTED_EXCLUSIONS


def test_what_is_not_a_decision_is_refused() -> None:
    with pytest.raises(msgspec.ValidationError):
        replay({"seed": "x"})
