import random
from collections import Counter
from math import isclose
from typing import Any

import pytest

from gateway.chat.dialects import Dialect
from gateway.domain.errors import InvalidRequestError, NoEndpointError
from gateway.routing.engine import make_plan
from gateway.routing.plan import EndpointHealth, Plan
from pricing.endpoint import Endpoint
from tests.routing.factories import (
    NOW_MS,
    ids,
    make_catalogue_of,
    make_endpoint,
    make_health,
    make_inputs,
    make_price,
    make_request,
    reasons,
)

OUTAGE = EndpointHealth(has_recent_outage=True)


def plan_of(
    *endpoints: Endpoint,
    models: tuple[str, ...] = (),
    health: Any = None,
    seed: int = 1,
    **wishes: Any,
) -> Plan:
    inputs = make_inputs(make_catalogue_of(*endpoints), health=health, seed=seed)
    return make_plan(make_request(*models, **wishes), inputs)


def providers(plan: Plan) -> list[str]:
    return [candidate.endpoint.provider for candidate in plan.candidates]


def test_order_comes_first_and_the_others_follow_by_price() -> None:
    plan = plan_of(
        make_endpoint("a", price="4"),
        make_endpoint("b", price="3"),
        make_endpoint("c", price="2"),
        make_endpoint("d", price="1"),
        order=("a", "c"),
    )

    assert providers(plan) == ["a", "c", "d", "b"]
    assert (plan.strategy, plan.mode, plan.draw) == ("order", "deterministic", None)
    assert plan.candidates[0].probability == 1.0


def test_order_without_fallbacks_is_a_closed_list() -> None:
    endpoints = [make_endpoint(name) for name in "abc"]

    plan = plan_of(*endpoints, order=("c", "b", "nobody"), allow_fallbacks=False)

    assert providers(plan) == ["c", "b"]
    assert reasons(plan) == {"a/large": "no_fallbacks"}
    with pytest.raises(NoEndpointError, match="no_fallbacks"):
        plan_of(*endpoints, order=("nobody",), allow_fallbacks=False)


def test_a_closed_list_that_rests_is_the_last_resort() -> None:
    plan = plan_of(
        make_endpoint("a"),
        make_endpoint("b"),
        order=("a",),
        allow_fallbacks=False,
        health={"a/large": EndpointHealth(cooling_until_ms=NOW_MS + 1)},
    )

    assert providers(plan) == ["a"]
    assert reasons(plan) == {"b/large": "no_fallbacks"}


def test_order_goes_before_health_and_a_sort_goes_for_the_rest() -> None:
    plan = plan_of(
        make_endpoint("a"),
        make_endpoint("slow", price="1"),
        make_endpoint("fast", price="2"),
        order=("a",),
        sort="latency",
        health={
            "a/large": OUTAGE,
            "slow/large": make_health(latency_ms=900),
            "fast/large": make_health(latency_ms=100),
        },
    )

    assert providers(plan) == ["a", "fast", "slow"]


HEALTH = {
    "a/large": make_health(latency_ms=300, throughput=90),
    "b/large": make_health(latency_ms=100, throughput=30),
    "c/large": make_health(latency_ms=200, throughput=60),
}


@pytest.mark.parametrize(
    ("sort", "expected"),
    [
        pytest.param("price", ["c", "e", "d", "b", "a", "z"], id="price"),
        pytest.param("latency", ["b", "c", "a", "e", "d", "z"], id="latency"),
        pytest.param("throughput", ["a", "c", "b", "e", "d", "z"], id="throughput"),
    ],
)
def test_sorting_puts_the_unknown_last_and_the_unpriced_after_all(
    sort: str, expected: list[str]
) -> None:
    plan = plan_of(
        make_endpoint("a", price="5"),
        make_endpoint("b", price="4"),
        make_endpoint("c", price="1"),
        make_endpoint("d", price="3"),
        make_endpoint("e", price="2"),
        make_endpoint("z", price=None),
        health=HEALTH,
        sort=sort,
    )

    assert providers(plan) == expected
    assert plan.strategy == f"sort:{sort}"


def test_price_is_the_expected_cost_of_this_request() -> None:
    reader = make_endpoint("reader", price=make_price("1", "10"))
    writer = make_endpoint("writer", price=make_price("2", "2"))

    long_prompt = plan_of(reader, writer, sort="price", prompt_tokens_estimate=100_000)
    short_prompt = plan_of(reader, writer, sort="price", prompt_tokens_estimate=10)
    capped = plan_of(reader, writer, sort="price", prompt_tokens_estimate=100, max_output_tokens=1)

    assert providers(long_prompt) == ["reader", "writer"]
    assert providers(short_prompt) == ["writer", "reader"]
    assert providers(capped) == ["reader", "writer"]
    assert str(long_prompt.candidates[0].expected_cost_usd) == "0.105000"


def test_every_choice_is_expected_to_cost_as_much() -> None:
    plan = plan_of(make_endpoint("a"), choice_count=3, max_output_tokens=100)

    assert plan.expected_output_tokens == 300


def test_equal_prices_are_in_the_order_of_their_ids() -> None:
    plan = plan_of(*[make_endpoint(name) for name in "dbca"], sort="price")

    assert providers(plan) == ["a", "b", "c", "d"]


def test_variants_sort() -> None:
    cheap, fast = make_endpoint("cheap", price="1"), make_endpoint("fast", price="9")
    health = {"fast/large": make_health(throughput=200)}

    floor = plan_of(cheap, fast, models=("acme/large:floor",), health=health)
    nitro = plan_of(cheap, fast, models=("acme/large:nitro",), health=health)

    assert (providers(floor), floor.strategy) == (["cheap", "fast"], "sort:price")
    assert (providers(nitro), nitro.strategy) == (["fast", "cheap"], "sort:throughput")
    with pytest.raises(InvalidRequestError, match="drop one"):
        plan_of(cheap, fast, models=("acme/large:nitro",), sort="price")


def test_recent_outages_come_after_the_stable_and_the_unpriced_last() -> None:
    for seed in range(50):
        plan = plan_of(
            make_endpoint("a", price="9"),
            make_endpoint("b", price="9"),
            make_endpoint("cheap", price="0.1"),
            make_endpoint("mystery", price=None),
            health={"cheap/large": OUTAGE},
            seed=seed,
        )

        assert sorted(providers(plan)[:2]) == ["a", "b"]
        assert providers(plan)[2:] == ["cheap", "mystery"]
        assert [c.probability for c in plan.candidates] == [0.5, 0.5, 0.0, None]


def test_when_all_had_an_outage_they_are_balanced_all_the_same() -> None:
    firsts = {
        providers(
            plan_of(
                make_endpoint("a"),
                make_endpoint("b"),
                health={"a/large": OUTAGE, "b/large": OUTAGE},
                seed=seed,
            )
        )[0]
        for seed in range(50)
    }

    assert firsts == {"a", "b"}


def test_free_endpoints_share_the_draw_and_all_others_follow() -> None:
    counts: Counter[str] = Counter()
    for seed in range(200):
        plan = plan_of(
            make_endpoint("gift", price="0"),
            make_endpoint("present", price="0"),
            make_endpoint("paid", price="0.000001"),
            seed=seed,
        )
        counts[providers(plan)[0]] += 1
        assert providers(plan)[2] == "paid"
        assert sorted(c.probability or 0.0 for c in plan.candidates) == [0.0, 0.5, 0.5]

    assert 60 < counts["gift"] < 140


def test_the_first_draw_follows_one_over_price_squared() -> None:
    endpoints = [make_endpoint(name, price=p) for name, p in {"a": "1", "b": "2", "c": "3"}.items()]
    inverse = {"a": 1.0, "b": 1 / 4, "c": 1 / 9}
    expected = {name: weight / sum(inverse.values()) for name, weight in inverse.items()}
    draws = 4000
    counts: Counter[str] = Counter()
    seconds: Counter[str] = Counter()

    for seed in range(draws):
        plan = plan_of(*endpoints, seed=seed)
        first, second, _ = providers(plan)
        counts[first] += 1
        if first == "a":
            seconds[second] += 1
        for candidate in plan.candidates:
            assert isclose(candidate.probability or 0, expected[candidate.endpoint.provider])

    chi_square = sum((counts[n] - draws * p) ** 2 / (draws * p) for n, p in expected.items())
    assert chi_square < 13.8  # 2 degrees of freedom, p = 0.001
    share = inverse["b"] / (inverse["b"] + inverse["c"])
    second_draws = sum(seconds.values())
    deviation = seconds["b"] - second_draws * share
    assert deviation**2 / (second_draws * share * (1 - share)) < 10.8  # 1 degree, p = 0.001


def test_a_wrong_probability_is_caught_by_the_same_test() -> None:
    endpoints = [make_endpoint("a", price="1"), make_endpoint("b", price="2")]
    draws = 2000
    firsts = Counter(providers(plan_of(*endpoints, seed=seed))[0] for seed in range(draws))
    wrong = {"a": 2 / 3, "b": 1 / 3}

    chi_square = sum((firsts[n] - draws * p) ** 2 / (draws * p) for n, p in wrong.items())

    assert chi_square > 10.8


def test_the_draw_explains_the_first_choice() -> None:
    for seed in range(100):
        plan = plan_of(make_endpoint("a", price="1"), make_endpoint("b", price="2"), seed=seed)

        assert plan.draw is not None
        assert providers(plan)[0] == ("a" if plan.draw < 0.8 else "b")
        assert (plan.mode, plan.strategy) == ("weighted", "price-weighted")


def test_one_candidate_is_not_drawn() -> None:
    plan = plan_of(make_endpoint("a"))

    assert (plan.mode, plan.draw, plan.candidates[0].probability) == ("deterministic", None, 1.0)


def test_models_are_backups_in_order_however_cheap() -> None:
    plan = plan_of(
        make_endpoint("a", "acme/large", price="9"),
        make_endpoint("b", "acme/large", price="9"),
        make_endpoint("a", "acme/small", price="1"),
        models=("acme/large", "acme/small"),
    )

    assert ids(plan)[2] == "a/small"
    assert plan.models == ("acme/large", "acme/small")
    assert plan.candidates[2].probability is None


def test_without_fallbacks_the_first_endpoint_of_each_model_remains() -> None:
    plan = plan_of(
        make_endpoint("a", "acme/large", price="2"),
        make_endpoint("b", "acme/large", price="1"),
        make_endpoint("a", "acme/small", price="2"),
        make_endpoint("b", "acme/small", price="1"),
        models=("acme/large", "acme/small"),
        sort="price",
        allow_fallbacks=False,
    )

    assert ids(plan) == ["b/large", "b/small"]
    assert reasons(plan) == {"a/large": "no_fallbacks", "a/small": "no_fallbacks"}
    assert [candidate.endpoint.id for candidate in plan.dropped] == ["a/large", "a/small"]


def test_dropped_candidates_keep_their_probability() -> None:
    plan = plan_of(make_endpoint("a"), make_endpoint("b"), allow_fallbacks=False)

    assert [c.probability for c in (*plan.candidates, *plan.dropped)] == [0.5, 0.5]


def test_a_pin_is_closed_and_deterministic() -> None:
    plan = plan_of(
        make_endpoint("acme", "acme/large", "large-v2", price="2"),
        make_endpoint("acme", "acme/large", "large-v1", price="1"),
        make_endpoint("other", "acme/large", price="0.1"),
        models=("acme/acme/large",),
        dialect=Dialect.OPENAI,
    )

    assert ids(plan) == ["acme/large-v1", "acme/large-v2"]
    assert reasons(plan) == {"other/large": "not_pinned"}
    assert (plan.mode, plan.strategy, plan.requested_provider) == ("pinned", "pinned", "acme")
    assert plan.requested_model == "acme/large"


def test_an_endpoint_that_two_names_stand_for_is_tried_once() -> None:
    plan = plan_of(
        make_endpoint("acme", "acme/large"),
        make_endpoint("other", "acme/large"),
        models=("acme/large", "large"),
        dialect=Dialect.OPENAI,
    )

    assert ids(plan) == ["acme/large", "other/large"]
    assert reasons(plan) == {}


def test_missing_statistics_never_fail_a_request() -> None:
    plan = plan_of(make_endpoint("a", price="2"), make_endpoint("b", price="1"), sort="latency")

    assert providers(plan) == ["b", "a"]


def test_the_order_of_arrival_makes_no_difference() -> None:
    endpoints = [make_endpoint(f"p{n:02d}", price=str(1 + n % 4)) for n in range(12)]
    expected = ids(plan_of(*endpoints, seed=7))

    shuffled = random.Random(3).sample(endpoints, len(endpoints))

    assert ids(plan_of(*shuffled, seed=7)) == expected
