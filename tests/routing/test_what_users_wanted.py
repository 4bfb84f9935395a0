"""Complaints about other gateways, each as what its users wanted instead."""

from decimal import Decimal
from typing import Any

import pytest
from msgspec.structs import replace

from gateway.chat.preferences import Bounds
from gateway.chat.reasoning import Reasoning
from gateway.domain.errors import NoEndpointError
from gateway.routing.engine import make_plan
from gateway.routing.plan import Plan, Sticky
from pricing.price import Change, ServiceTier, SizeTier
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

CACHED = {"cache_read_usd_per_mtok": Decimal("0.1")}
CATALOGUE = make_catalogue_of(
    make_endpoint("a", price=make_price("1", "4", **CACHED), context_tokens=8_000),
    make_endpoint("b", price=make_price("1", "4", **CACHED), context_tokens=8_000),
    make_endpoint("c", price=make_price("2", "8"), context_tokens=8_000),
    make_endpoint("a", "acme/huge", price="9", context_tokens=1_000_000),
    make_endpoint("z", "other/unrelated", price="0.01", context_tokens=1_000_000),
)


def plan_of(*models: str, inputs: dict[str, Any] | None = None, **wishes: Any) -> Plan:
    return make_plan(make_request(*models, **wishes), make_inputs(CATALOGUE, **(inputs or {})))


def test_6_balancing_does_not_throw_the_prompt_cache_away() -> None:
    sticky = Sticky(endpoint="b/large", cached_share=0.9)

    firsts = {ids(plan_of(inputs={"sticky": sticky, "seed": seed}))[0] for seed in range(50)}

    assert firsts == {"b/large"}


def test_7_a_warm_cache_does_not_keep_a_request_at_an_endpoint_that_is_down() -> None:
    sticky = Sticky(endpoint="b/large", cached_share=0.9)
    down = {"b/large": make_health(open_until_ms=NOW_MS + 1)}

    plan = plan_of(inputs={"sticky": sticky, "health": down})

    assert "b/large" not in ids(plan)
    assert len(plan.candidates) == 2


@pytest.mark.parametrize(
    ("wishes", "candidates"),
    [
        pytest.param({"only": ("c",)}, ["c/large"], id="only-is-hard"),
        pytest.param({"only": ("c",), "allow_fallbacks": True}, ["c/large"], id="fallbacks-or-not"),
        pytest.param({"order": ("c",)}, ["c/large", "a/large", "b/large"], id="order-is-soft"),
        pytest.param(
            {"order": ("c", "b"), "allow_fallbacks": False}, ["c/large", "b/large"], id="closed"
        ),
        pytest.param(
            {"order": ("c", "b"), "only": ("b", "a")}, ["b/large", "a/large"], id="within"
        ),
    ],
)
def test_8_only_is_a_promise_and_order_a_preference(
    wishes: dict[str, Any], candidates: list[str]
) -> None:
    assert ids(plan_of(**wishes)) == candidates


def test_8_a_pin_that_nobody_meets_is_told_and_nothing_dearer_is_used() -> None:
    with pytest.raises(NoEndpointError) as caught:
        plan_of(only=("z",))
    assert caught.value.metadata["excluded_by"] == {"only": 3}

    with pytest.raises(NoEndpointError):
        plan_of(order=("z",), allow_fallbacks=False)


def test_9_parameters_that_must_hold_exclude_who_is_not_known_to_support_them() -> None:
    catalogue = make_catalogue_of(
        make_endpoint("yes", capabilities={"logit_bias": True}),
        make_endpoint("no", capabilities={"logit_bias": False}),
        make_endpoint("who-knows"),
    )
    request = make_request(parameters=frozenset({"logit_bias"}), require_parameters=True)

    plan = make_plan(request, make_inputs(catalogue))

    assert ids(plan) == ["yes/large"]
    assert set(reasons(plan).values()) == {"require_parameters"}


def test_13_what_auto_chose_falls_back_like_anything_else() -> None:
    plan = plan_of("auto", inputs={"auto_pool": ("acme/large", "acme/huge")})

    assert [c.endpoint.model for c in plan.candidates] == ["acme/large"] * 3 + ["acme/huge"]


def test_15_no_other_model_than_those_asked_for_is_ever_used() -> None:
    ways: list[dict[str, Any]] = [{}, {"sort": "price"}, {"partition": "none"}]
    for wishes in ways:
        plan = plan_of("acme/large", "acme/huge", **wishes)

        assert {c.endpoint.model for c in plan.candidates} == {"acme/large", "acme/huge"}


def test_15_every_hop_is_checked_for_what_the_request_needs() -> None:
    catalogue = make_catalogue_of(
        make_endpoint("a", capabilities={"tools": True}),
        make_endpoint("a", "acme/small", capabilities={"tools": False}),
    )
    request = make_request("acme/large", "acme/small", needs=frozenset({"tools"}))

    assert ids(make_plan(request, make_inputs(catalogue))) == ["a/large"]


def test_16_a_prompt_that_is_too_long_goes_to_the_model_with_the_larger_window() -> None:
    plan = plan_of("acme/large", "acme/huge", prompt_tokens_estimate=50_000)

    assert ids(plan) == ["a/huge"]
    assert set(reasons(plan).values()) == {"context"}


def test_16_when_the_estimate_was_too_low_the_larger_window_is_next_in_line() -> None:
    plan = plan_of("acme/large", "acme/huge", prompt_tokens_estimate=7_000)

    assert ids(plan)[-1] == "a/huge"


def test_17_a_request_never_costs_more_than_its_caller_allows() -> None:
    # At most 1,000 tokens in and 1,000 out: 0.005 at `a` and `b`, 0.01 at `c`.
    plan = plan_of(max_cost_usd=Decimal("0.005"), max_output_tokens=1_000)

    assert set(ids(plan)) == {"a/large", "b/large"}
    assert reasons(plan) == {"c/large": "max_cost"}


def test_17_the_cheapest_healthy_endpoint_first_and_ties_always_the_same_way() -> None:
    for seed in range(20):
        assert ids(plan_of(sort="price", inputs={"seed": seed})) == [
            "a/large",
            "b/large",
            "c/large",
        ]


def test_17_what_counts_is_the_cost_of_this_very_request() -> None:
    catalogue = make_catalogue_of(
        make_endpoint("reads", price=make_price("1", "50")),
        make_endpoint("writes", price=make_price("5", "5")),
    )
    inputs = make_inputs(catalogue)
    long_prompt = make_request(sort="price", prompt_tokens_estimate=90_000, max_output_tokens=10)
    long_answer = make_request(sort="price", prompt_tokens_estimate=10, max_output_tokens=400)

    assert ids(make_plan(long_prompt, inputs))[0] == "reads/large"
    assert ids(make_plan(long_answer, inputs))[0] == "writes/large"


def test_21_a_long_prompt_is_weighed_and_capped_at_the_price_of_its_tier() -> None:
    # 1 USD per million tokens, 3 for the whole request from 200,000 tokens of prompt on.
    dearer = SizeTier(min_prompt_tokens=200_000, change=Change(scale=Decimal(3)))
    tiered = make_endpoint("tiered", price=replace(make_price("1", "1"), size_tiers=(dearer,)))
    inputs = make_inputs(make_catalogue_of(tiered, make_endpoint("flat", price="2")))
    cap = {"prompt_usd_per_mtok": "2"}

    def plan_for(prompt_tokens: int) -> Plan:
        return make_plan(
            make_request(sort="price", prompt_tokens_estimate=prompt_tokens, max_output_tokens=100),
            inputs,
        )

    # 199,900 and 200,000 tokens in, and 100 out.
    assert ids(plan_for(199_900)) == ["tiered/large", "flat/large"]
    assert plan_for(199_900).candidates[0].expected_cost_usd == Decimal("0.2")
    assert ids(plan_for(200_000)) == ["flat/large", "tiered/large"]
    assert plan_for(200_000).candidates[1].expected_cost_usd == Decimal("0.6003")
    long = make_request(prompt_tokens_estimate=200_000, max_price=cap)
    assert reasons(make_plan(long, inputs)) == {"tiered/large": "max_price"}


def test_21_a_service_tier_is_weighed_at_its_own_price() -> None:
    half = ServiceTier(change=Change(scale=Decimal("0.5")))
    flexible = make_endpoint(
        "flexible", price=replace(make_price("2", "2"), service_tiers={"flex": half})
    )
    inputs = make_inputs(make_catalogue_of(flexible, make_endpoint("other", price="1.5")))

    (candidate,) = make_plan(make_request(service_tier="flex"), inputs).candidates

    # 500 tokens in and 500 out, at half of 2 USD per million.
    assert candidate.endpoint.id == "flexible/large"
    assert candidate.expected_cost_usd == Decimal("0.001")


def test_an_effort_with_auto_means_a_model_that_reasons() -> None:
    catalogue = make_catalogue_of(
        make_endpoint("a", "m/plain", context_tokens=9_000, capabilities={"reasoning": False}),
        make_endpoint(
            "a", "m/thinks", "thinks", "7", context_tokens=9_000, capabilities={"reasoning": True}
        ),
    )
    inputs = make_inputs(catalogue, auto_pool=("m/plain", "m/thinks"))

    plan = make_plan(make_request("auto", reasoning=Reasoning(effort="high")), inputs)

    assert ids(plan) == ["a/thinks"]


def test_speed_wished_for_is_no_reason_to_fail() -> None:
    slow = {e: make_health(latency_ms=9_000) for e in ("a/large", "b/large", "c/large")}

    plan = plan_of(inputs={"health": slow}, preferred_max_latency_ms=Bounds(p50=100))

    assert len(plan.candidates) == 3
