"""What decisions leave behind can be judged: draws agree with their probabilities, and replay."""

import json
from collections import Counter
from collections.abc import Iterable
from functools import cache
from typing import Any
from uuid import UUID

import msgspec
import pytest

from gateway.chat.preferences import AutoPreferences, SortPartition
from gateway.chat.reasoning import Reasoning
from gateway.chat.request import ChatRequest
from gateway.routing.engine import make_plan
from gateway.routing.plan import PlanInputs
from gateway.routing.record import compact, replay
from tests.routing.factories import (
    make_caller,
    make_catalogue_of,
    make_endpoint,
    make_health,
    make_inputs,
    make_request,
)

CATALOGUE = make_catalogue_of(
    make_endpoint("a", price="1"),
    make_endpoint("b", price="1.5"),
    make_endpoint("c", price="3"),
    make_endpoint("d", price="1"),
    make_endpoint("a", "acme/small", price="2"),
    make_endpoint("b", "acme/small", price="1.2"),
)
HEALTH = {
    "b/large": make_health(weight_factor=0.5, latency_ms=80),
    "d/large": make_health(has_recent_outage=True),
    "a/small": make_health(weight_factor=0.25, throughput=30, uptime=0.99),
}
DRAWS = 2_500
WAYS = [pytest.param(None, id="one-model"), pytest.param("none", id="models-together")]
_CHI_SQUARE = {1: 10.83, 2: 13.82, 3: 16.27, 4: 18.47}
"""At p = 0.001, by degrees of freedom."""


def decide(seed: int, **wishes: Any) -> tuple[dict[str, Any], ChatRequest, PlanInputs]:
    request = make_request("acme/large", "acme/small", **wishes)
    inputs = make_inputs(CATALOGUE, health=HEALTH, seed=seed)
    return (
        json.loads(json.dumps(compact(make_plan(request, inputs), request, inputs))),
        request,
        inputs,
    )


@cache
def log_of(partition: SortPartition | None) -> list[dict[str, Any]]:
    return [decide(seed, partition=partition)[0] for seed in range(DRAWS)]


def distance(firsts: Counter[str], expected: dict[str, float]) -> float:
    """Chi-square of what was drawn against the probabilities."""
    return sum((firsts[e] - DRAWS * p) ** 2 / (DRAWS * p) for e, p in expected.items())


def probabilities(record: dict[str, Any]) -> dict[str, float]:
    return {c["endpoint"]: c["p"] for c in record["candidates"] if c.get("p")}


@pytest.mark.parametrize("partition", WAYS)
def test_draws_agree_with_the_probabilities_logged_and_not_with_wrong_ones(
    partition: SortPartition | None,
) -> None:
    log = log_of(partition)

    expected = probabilities(log[0])
    firsts = Counter(record["drawn_endpoint"] for record in log)
    limit = _CHI_SQUARE[len(expected) - 1]
    assert set(firsts) == set(expected)
    assert distance(firsts, expected) < limit
    likeliest, second, *_ = sorted(expected, key=expected.__getitem__, reverse=True)
    wrong = expected | {
        likeliest: expected[likeliest] - 0.05,
        second: expected[second] + 0.05,
    }
    assert distance(firsts, wrong) > limit


@pytest.mark.parametrize("partition", WAYS)
def test_probabilities_add_up_and_split_by_model(partition: SortPartition | None) -> None:
    for seed in range(50):
        record, _, _ = decide(seed, partition=partition)

        drawn = probabilities(record)
        assert abs(sum(drawn.values()) - 1) < 1e-9
        assert record["p_drawn"] == drawn[record["drawn_endpoint"]]
        by_model = record["p_model"]
        assert abs(sum(by_model.values()) - 1) < 1e-9
        for model, p_model in by_model.items():
            of_model = [
                c["p"] / p_model for c in record["candidates"] if c["model"] == model and c.get("p")
            ]
            assert abs(sum(of_model) - 1) < 1e-9


@pytest.mark.parametrize("partition", WAYS)
def test_seeds_replay_every_draw(partition: SortPartition | None) -> None:
    for record in log_of(partition)[:300]:
        again = replay(record)

        assert list(again.endpoints) == [c["endpoint"] for c in record["candidates"]]
        assert list(again.probabilities) == [c.get("p") for c in record["candidates"]]
        assert again.draw == record["draw"]


def estimate(log: Iterable[dict[str, Any]], reward: dict[str, float]) -> float:
    """Inverse-propensity value of the logging policy itself, from its own log."""
    total = 0.0
    for record in log:
        drawn = record["drawn_endpoint"]
        total += probabilities(record)[drawn] / record["p_drawn"] * reward[drawn]
    return total / DRAWS


def test_judging_the_policy_by_its_own_log_returns_what_was_seen() -> None:
    log = log_of("none")
    reward = {e: float(n) for n, e in enumerate(sorted(probabilities(log[0])))}
    seen = sum(reward[record["drawn_endpoint"]] for record in log) / DRAWS

    assert estimate(log, reward) == pytest.approx(seen, abs=1e-9)
    likeliest = max(probabilities(log[0]), key=probabilities(log[0]).__getitem__)
    wrong = [
        record | {"p_drawn": record["p_drawn"] / 2}
        if record["drawn_endpoint"] == likeliest
        else record
        for record in log
    ]
    assert abs(estimate(wrong, reward | {likeliest: 1.0}) - seen) > 0.01


def test_a_slice_says_what_was_alike_and_no_word_of_it() -> None:
    secret = "tell nobody that the moon is a cheese"
    body = {
        "tools": msgspec.Raw(json.dumps([{"description": secret}]).encode()),
        "tool_choice": msgspec.Raw(b'"auto"'),
        "response_format": msgspec.Raw(b'{"type":"json_object"}'),
    }
    request = make_request(
        body=body,
        system_digest=b"0123456789abcdef",
        session_id="secret-session",
        needs=frozenset({"vision"}),
        prompt_tokens_estimate=1_500,
    )
    inputs = make_inputs(CATALOGUE, hash_key=b"k" * 32)

    record = compact(make_plan(request, inputs), request, inputs)

    known = msgspec.convert(record["slice"], dict[str, Any])
    assert known["tool_choice"] == "auto"
    assert known["length"] == 11
    assert known["modalities"] == 1
    assert len(known["system"]) == len(known["tools"]) == len(known["session"]) == 32
    text = json.dumps(record)
    for word in ("cheese", "secret", request.system_digest.hex() if request.system_digest else "-"):
        assert word not in text


def test_slices_of_two_keys_do_not_compare() -> None:
    request = make_request(system_digest=b"0123456789abcdef")
    mine, theirs = (
        make_inputs(CATALOGUE, caller=msgspec.structs.replace(make_caller(), key_id=key))
        for key in (make_caller().key_id, UUID(int=9))
    )

    assert (
        compact(make_plan(request, mine), request, mine)["slice"]
        != compact(make_plan(request, theirs), request, theirs)["slice"]
    )


def test_what_auto_was_asked_is_on_the_record() -> None:
    offer = make_endpoint("a", "acme/m", context_tokens=9_000, capabilities={"reasoning": True})
    inputs = make_inputs(make_catalogue_of(offer), auto_pool=("acme/m",))
    request = make_request(
        "auto", auto=AutoPreferences(allowed_models=("acme/*",)), reasoning=Reasoning(effort="low")
    )

    record = compact(make_plan(request, inputs), request, inputs)

    assert record["auto"] == {"allowed_models": ("acme/*",), "effort": "low"}
    assert (record["pool"], record["pool_size"]) == (("acme/m",), 1)
    assert record["requested_model"] == "auto"


def test_a_decision_is_small() -> None:
    record, _, _ = decide(1)

    # 20 candidates of which each has a health should stay below what a page of Postgres holds.
    assert len(json.dumps(record["candidates"][0], separators=(",", ":"))) < 200
