"""What breakers, rests and slow starts make of a plan, and what a refusal says of them."""

from collections import Counter
from typing import Any

import pytest

from gateway.domain.errors import NoEndpointError
from gateway.routing.engine import make_plan
from gateway.routing.plan import Exclusion, ExclusionReason, Plan
from gateway.routing.refusals import REMEDIES, refusal
from tests.routing.factories import (
    NOW_MS,
    ids,
    make_catalogue_of,
    make_endpoint,
    make_health,
    make_inputs,
    make_request,
    reasons,
)

CATALOGUE = make_catalogue_of(*[make_endpoint(name) for name in "abc"])
RESTS = {"cooling_until_ms": NOW_MS + 4_000}
OPEN = {"open_until_ms": NOW_MS + 9_000}


def plan_of(seed: int = 1, wishes: dict[str, Any] | None = None, **health: dict[str, Any]) -> Plan:
    seen = {f"{name}/large": make_health(**state) for name, state in health.items()}
    return make_plan(make_request(**(wishes or {})), make_inputs(CATALOGUE, health=seen, seed=seed))


@pytest.mark.parametrize(
    ("state", "reason"),
    [
        (RESTS, "cooling_down"),
        (RESTS | {"is_rate_limited": True}, "rate_limited"),
        (OPEN, "breaker_open"),
        (OPEN | RESTS | {"is_rate_limited": True}, "breaker_open"),
        ({"is_credential_refused": True}, "credential"),
    ],
)
def test_what_rests_may_not_serve_while_another_can(state: dict[str, Any], reason: str) -> None:
    plan = plan_of(a=state)

    assert reasons(plan) == {"a/large": reason}


def test_a_rest_that_is_over_excludes_nobody() -> None:
    over = {"open_until_ms": NOW_MS, "cooling_until_ms": NOW_MS - 1, "is_rate_limited": True}

    assert len(plan_of(a=over).candidates) == 3


def test_when_all_rest_the_one_that_opens_first_is_tried_alone() -> None:
    plan = plan_of(a=OPEN, b=RESTS, c={"cooling_until_ms": NOW_MS + 6_000})

    assert ids(plan) == ["b/large"]
    assert reasons(plan) == {"a/large": "breaker_open", "c/large": "cooling_down"}
    assert plan.mode == "fallback_only"


def test_of_two_rests_of_an_endpoint_the_longer_counts() -> None:
    plan = plan_of(a=OPEN | RESTS, b={"cooling_until_ms": NOW_MS + 5_000}, c=OPEN)

    assert ids(plan) == ["b/large"]


@pytest.mark.parametrize("wishes", [{}, {"sort": "price"}, {"order": ("a", "b")}])
def test_who_is_being_probed_stands_behind_the_healthy(wishes: dict[str, Any]) -> None:
    for seed in range(10):
        plan = plan_of(seed, wishes, a={"is_half_open": True})

        assert ids(plan).index("a/large") > ids(plan).index("b/large")


def test_a_slow_start_is_drawn_less_often() -> None:
    firsts = Counter(ids(plan_of(seed, a={"weight_factor": 0.1}))[0] for seed in range(2_000))

    # 0.1 of 2.1 of all draws.
    assert 60 < firsts["a/large"] < 135
    first = plan_of(a={"weight_factor": 0.1}).candidates
    assert sum(c.probability or 0 for c in first) == pytest.approx(1, abs=1e-9)


def test_a_refusal_tells_when_to_come_back() -> None:
    exclusions = [
        Exclusion(endpoint="a", reason=ExclusionReason.RATE_LIMITED, retry_after_s=7.5),
        Exclusion(endpoint="b", reason=ExclusionReason.BREAKER_OPEN, retry_after_s=3.25),
        Exclusion(endpoint="c", reason=ExclusionReason.ZDR),
    ]

    error = refusal([], exclusions)

    assert isinstance(error, NoEndpointError)
    assert (error.status, error.retry_after_s) == (503, 3.25)
    assert error.metadata["retry_after"] == 3.25
    assert error.metadata["excluded_by"] == {"rate_limited": 1, "breaker_open": 1, "zdr": 1}
    assert error.metadata["constraints"]["zdr"] == "drop `provider.zdr`"


def test_every_reason_has_a_remedy() -> None:
    assert set(REMEDIES) == set(ExclusionReason)
