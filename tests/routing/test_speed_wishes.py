"""Wishes for throughput and latency: those that exclude, and those that only move behind."""

from typing import Any

import pytest

from gateway.chat.preferences import Bounds
from gateway.domain.errors import NoEndpointError
from gateway.routing.engine import make_plan
from gateway.routing.plan import EndpointHealth, Percentiles, Plan
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
    make_endpoint("slow", price="1"),
    make_endpoint("fast", price="90"),
    make_endpoint("unseen", price="2"),
    make_endpoint("other", "acme/small", price="50"),
)
HEALTH = {
    "slow/large": make_health(latency_ms=2_000, throughput=10),
    "fast/large": make_health(latency_ms=100, throughput=80),
    "other/small": make_health(latency_ms=90, throughput=200),
}


def plan_of(*models: str, health: Any = None, seed: int = 1, **wishes: Any) -> Plan:
    inputs = make_inputs(CATALOGUE, health=HEALTH if health is None else health, seed=seed)
    return make_plan(make_request(*models, **wishes), inputs)


@pytest.mark.parametrize(
    "wish",
    [
        {"preferred_min_throughput_tokens_per_s": Bounds(p50=20)},
        {"preferred_max_latency_ms": Bounds(p50=1_000)},
        {"preferred_max_latency_ms": Bounds(p99=1_000)},
    ],
)
def test_a_missed_preference_moves_to_the_end_and_excludes_nobody(wish: dict[str, Any]) -> None:
    for seed in range(20):
        plan = plan_of(seed=seed, **wish)

        assert ids(plan)[-1] == "slow/large"
        assert len(plan.candidates) == 3
        assert plan.exclusions == ()


def test_a_preference_holds_under_a_sort_too() -> None:
    wish: dict[str, Any] = {"preferred_max_latency_ms": Bounds(p50=1_000)}

    assert ids(plan_of(sort="price", **wish)) == ["unseen/large", "fast/large", "slow/large"]


def test_every_percentile_given_must_hold() -> None:
    spread = EndpointHealth(latency_ms=Percentiles(p50=50, p75=60, p90=900, p99=5_000))
    health = {"fast/large": spread}

    fine = plan_of(health=health, sort="latency", preferred_max_latency_ms=Bounds(p50=50, p90=900))
    late = plan_of(
        health=health, sort="latency", preferred_max_latency_ms=Bounds(p50=90, p99=4_000)
    )

    assert ids(fine)[0] == "fast/large"
    assert ids(late)[-1] == "fast/large"


def test_the_worst_throughput_is_the_last_percentile() -> None:
    spread = EndpointHealth(throughput_tokens_per_s=Percentiles(p50=90, p75=70, p90=40, p99=5))
    health = {"slow/large": spread}
    wish: dict[str, Any] = {"preferred_min_throughput_tokens_per_s": Bounds(p90=41)}

    assert ids(plan_of(health=health, sort="price", **wish))[-1] == "slow/large"


@pytest.mark.parametrize(
    ("wish", "reason"),
    [
        ({"min_throughput_tokens_per_s": Bounds(p50=20)}, "min_throughput"),
        ({"max_latency_ms": Bounds(p50=1_000)}, "max_latency"),
    ],
)
def test_a_hard_limit_excludes_those_known_to_miss_it_and_tries_the_unmeasured_last(
    wish: dict[str, Any], reason: str
) -> None:
    plan = plan_of(**wish)

    assert ids(plan) == ["fast/large", "unseen/large"]
    assert reasons(plan) == {"slow/large": reason}


def test_after_a_restart_a_hard_limit_excludes_nobody() -> None:
    assert len(plan_of(health={}, max_latency_ms=Bounds(p50=1)).candidates) == 3


def test_a_hard_limit_that_nobody_keeps_tells_what_would_have_to_change() -> None:
    with pytest.raises(NoEndpointError) as caught:
        plan_of("acme/small", min_throughput_tokens_per_s=Bounds(p50=500))

    assert caught.value.metadata["excluded_by"] == {"min_throughput": 1}
    assert "preferred_min_throughput" in caught.value.metadata["constraints"]["min_throughput"]


def test_with_all_models_in_one_a_preference_may_make_another_model_win() -> None:
    wish: dict[str, Any] = {
        "preferred_min_throughput_tokens_per_s": Bounds(p50=100),
        "only": ("slow", "other"),
    }

    apart = plan_of("acme/large", "acme/small", sort="price", **wish)
    together = plan_of("acme/large", "acme/small", sort="price", partition="none", **wish)

    assert ids(apart) == ["slow/large", "other/small"]
    assert ids(together) == ["other/small", "slow/large"]
