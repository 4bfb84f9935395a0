"""A decision told in full: nothing that routing knew is left out, and nothing is made up."""

import json
from decimal import Decimal
from typing import Any

import msgspec
import pytest

from gateway.chat.request import ChatRequest
from gateway.domain.errors import ModelNotFoundError
from gateway.routing.auto import LISTED
from gateway.routing.engine import make_plan
from gateway.routing.explain import explain, explain_plan
from gateway.routing.plan import BalanceWeights, PlanInputs, Sticky
from gateway.routing.rules.apply import Ruled
from gateway.routing.rules.govern import govern
from gateway.routing.rules.rule_set import compile_rules
from tests.routing.factories import (
    AT,
    NOW_MS,
    make_caller,
    make_catalogue_of,
    make_endpoint,
    make_health,
    make_inputs,
    make_price,
    make_request,
)
from tests.routing.rules.applying import rule

CHEAP = make_endpoint("alpha", price="1")
DEAR = make_endpoint("beta", price="2")
SLOW = make_endpoint("gamma", price="4")
BOTH = make_catalogue_of(CHEAP, DEAR)


def told(request: ChatRequest, inputs: PlanInputs, rules: str = "") -> dict[str, Any]:
    """The explanation as a program reads it."""
    ruled, inputs = govern(
        compile_rules(rules, source="rules"),
        request,
        inputs,
        headers={},
        secret_salt=b"salt",
        api="chat",
    )
    return json.loads(msgspec.json.encode(explain(ruled.request, inputs, ruled)))


def test_every_candidate_tells_its_cost_price_weight_and_probability_in_order() -> None:
    # 500 tokens in and 500 out, at 1 and 2 USD per million: weights of 1 and 1/4.
    said = told(make_request(), make_inputs(BOTH, seed=3))

    by_endpoint = {one["endpoint"]: one for one in said["candidates"]}
    cheap, dear = by_endpoint["alpha/large"], by_endpoint["beta/large"]
    assert (cheap["expected_cost_usd"], dear["expected_cost_usd"]) == (0.001, 0.002)
    assert (cheap["weight"], dear["weight"]) == (1.0, 0.25)
    assert (cheap["probability"], dear["probability"]) == (0.8, 0.2)
    assert cheap["price"] == {
        "version": "v1",
        "input_usd_per_mtok": 1,
        "output_usd_per_mtok": 1,
        "cache_read_usd_per_mtok": None,
        "request_usd": None,
        "is_estimated": False,
    }
    assert sorted(one["place"] for one in said["candidates"]) == [1, 2]
    assert (said["strategy"], said["mode"]) == ("price-weighted", "weighted")
    assert (said["seed"], said["catalogue_version"]) == ("3", "test")
    assert said["price_versions"] == ["v1"]
    assert 0 <= said["draw"] < 1
    assert said["refusal"] is None


def test_a_plan_that_was_made_is_told_as_the_dry_run_tells_it() -> None:
    request, inputs = make_request(), make_inputs(BOTH)

    afterwards = explain_plan(make_plan(request, inputs), request, inputs, None)
    before = explain(request, inputs, Ruled(request=request, labels={}))

    assert afterwards == before


def test_parts_of_a_balanced_score_add_up_and_order() -> None:
    health = {
        "alpha/large": make_health(uptime=0.8, latency_ms=900),
        "beta/large": make_health(latency_ms=300, throughput=80),
    }
    inputs = make_inputs(
        make_catalogue_of(CHEAP, DEAR, SLOW),
        strategy="balanced",
        balance=BalanceWeights(price=0.3),
        health=health,
    )

    said = told(make_request(), inputs)

    totals = [one["score"]["total"] for one in said["candidates"]]
    assert totals == sorted(totals)
    for one in said["candidates"]:
        parts = [value for name, value in one["score"].items() if name != "total"]
        assert sum(parts) == pytest.approx(one["score"]["total"], abs=1e-12)
    plan = make_plan(make_request(), inputs)
    assert [c.score for c in plan.candidates] == totals
    assert said["partitions"][0]["balance"]["price"] == 0.3


def test_health_is_told_as_it_was_seen() -> None:
    health = {
        "alpha/large": make_health(
            has_recent_outage=True, weight_factor=0.5, latency_ms=120, throughput=40, uptime=0.97
        )
    }

    said = told(make_request(), make_inputs(BOTH, health=health))

    (seen,) = (one["health"] for one in said["candidates"] if one["provider"] == "alpha")
    assert seen == {
        "has_recent_outage": True,
        "is_on_probation": False,
        "resting_for_s": None,
        "weight_factor": 0.5,
        "latency_p50_ms": 120.0,
        "throughput_p50_tokens_per_s": 40.0,
        "uptime": 0.97,
    }


def test_exclusions_have_reason_detail_and_what_would_have_to_change() -> None:
    health = {"beta/large": make_health(open_until_ms=NOW_MS + 4_000)}
    inputs = make_inputs(make_catalogue_of(CHEAP, DEAR, SLOW), health=health)

    said = told(make_request(max_price={"prompt_usd_per_mtok": "3"}), inputs)

    assert said["exclusions"] == [
        {
            "endpoint": "gamma/large",
            "reason": "max_price",
            "detail": "prompt 4 > 3",
            "retry_after_s": None,
        },
        {
            "endpoint": "beta/large",
            "reason": "breaker_open",
            "detail": "for 4.0 s",
            "retry_after_s": 4.0,
        },
    ]
    assert said["excluded_by"] == {"max_price": 1, "breaker_open": 1}
    assert said["constraints"] == {
        "max_price": "raise `provider.max_price`",
        "breaker_open": "try again later",
    }


def test_who_nobody_may_serve_is_told_what_the_caller_would_be_told() -> None:
    said = told(make_request(max_price={"prompt_usd_per_mtok": "0.5"}), make_inputs(BOTH))

    assert said["candidates"] == []
    assert len(said["exclusions"]) == 2
    refusal = said["refusal"]
    assert (refusal["status"], refusal["code"]) == (404, "no_endpoints")
    assert "raise `provider.max_price`" in refusal["message"]


def test_a_request_that_is_wrong_in_itself_is_an_error() -> None:
    with pytest.raises(ModelNotFoundError):
        told(make_request("acme/unheard-of"), make_inputs(BOTH))


def test_large_pools_are_counted() -> None:
    offers = [
        make_endpoint(f"p{n:03}", f"m/{n}", price=f"{n + 1}", context_tokens=100_000 if n else 10)
        for n in range(LISTED + 5)
    ]
    inputs = make_inputs(make_catalogue_of(*offers), auto_pool=tuple(e.model for e in offers))

    said = told(make_request("auto"), inputs)

    assert said["exclusions"] == []
    assert said["excluded_by"]["context"] == 1
    assert said["pool_size"] == LISTED + 5
    assert len(said["pool"]) == 24


def test_rules_are_told_by_name_with_their_version_and_the_arm() -> None:
    text = (
        rule('labels = { tier = "a" }', name="mark")
        + "\n"
        + rule('split = { by = "key", arms = [{ name = "all", weight = 1 }] }', name="halves")
    )

    said = told(make_request(), make_inputs(BOTH, caller=make_caller(labels={"team": "x"})), text)

    rules = said["rules"]
    assert rules["applied"] == ["mark", "halves"]
    assert rules["version"] == compile_rules(text, source="rules").version
    assert rules["labels"] == {"team": "x", "tier": "a"}
    assert [(one["rule"], one["arm"], one["probability"]) for one in rules["splits"]] == [
        ("halves", "all", 1.0)
    ]
    assert rules["denied_by"] is None


def test_a_denial_is_told_with_its_rule() -> None:
    said = told(make_request(), make_inputs(BOTH), rule('deny = "Not now."', name="shut"))

    assert said["rules"]["denied_by"] == "shut"
    assert said["refusal"]["message"] == "Not now."
    assert (said["refusal"]["status"], said["refusal"]["code"]) == (403, "rule_denied")


def test_a_warm_cache_is_told_with_what_recognised_the_conversation() -> None:
    warm = make_endpoint("warm", price=make_price("2", "2", cache_read_usd_per_mtok=Decimal("0.2")))
    inputs = make_inputs(
        make_catalogue_of(CHEAP, warm), sticky=Sticky(endpoint="warm/large", cached_share=0.5)
    )

    said = told(make_request(session_id="a session"), inputs)

    assert said["affinity"] == {
        "source": "session_id",
        "endpoint": "warm/large",
        "cached_share": 0.5,
        "is_followed": True,
    }
    first = said["candidates"][0]
    assert (first["endpoint"], first["is_sticky"], first["cached_tokens"]) == (
        "warm/large",
        True,
        250,
    )
    assert said["mode"] == "sticky"


@pytest.mark.parametrize(
    ("sent", "source"),
    [
        ({"prompt_cache_key": "k"}, "prompt_cache_key"),
        ({"user": "u"}, "user"),
        ({"opening_digest": b"o" * 16}, "opening"),
        ({}, None),
    ],
)
def test_what_tells_a_conversation(sent: dict[str, Any], source: str | None) -> None:
    assert told(make_request(**sent), make_inputs(BOTH))["affinity"]["source"] == source


def test_dropped_candidates_keep_their_probability() -> None:
    said = told(make_request(allow_fallbacks=False), make_inputs(BOTH))

    everybody = said["candidates"] + said["dropped"]
    assert sum(one["probability"] for one in everybody) == pytest.approx(1, abs=1e-9)
    assert [one["place"] for one in everybody] == [1, 2]
    assert said["excluded_by"] == {"no_fallbacks": 1}


def test_what_put_an_endpoint_behind_is_named() -> None:
    said = told(make_request("acme/large:exacto"), make_inputs(make_catalogue_of(CHEAP)))

    assert said["candidates"][0]["behind"] == ["not_of_variant"]
    assert said["at"] == AT.isoformat().replace("+00:00", "Z")
