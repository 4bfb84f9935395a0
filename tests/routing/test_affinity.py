"""Requests that belong together find the prompt cache that the last one filled."""

from decimal import Decimal
from typing import Any
from uuid import UUID

import msgspec
import pytest

from gateway.chat.preferences import Bounds
from gateway.chat.request import ChatRequest
from gateway.routing.affinity import affinity_key
from gateway.routing.engine import make_plan
from gateway.routing.plan import Plan, Sticky
from gateway.routing.record import compact, replay
from tests.routing.factories import (
    NOW_MS,
    ids,
    make_caller,
    make_catalogue_of,
    make_endpoint,
    make_health,
    make_inputs,
    make_price,
    make_request,
    reasons,
)

CATALOGUE = make_catalogue_of(
    make_endpoint("warm", price=make_price("10", "10", cache_read_usd_per_mtok=Decimal(1))),
    make_endpoint("cheap", price=make_price("1", "1", cache_read_usd_per_mtok=Decimal(1))),
    make_endpoint("plain", price=make_price("2", "2")),
)
WARM = Sticky(endpoint="warm/large", cached_share=0.8)


def plan_of(sticky: Sticky | None = WARM, health: Any = None, seed: int = 1, **wishes: Any) -> Plan:
    inputs = make_inputs(CATALOGUE, sticky=sticky, health=health, seed=seed)
    return make_plan(make_request(**wishes), inputs)


def test_the_endpoint_that_holds_the_cache_goes_first_and_the_others_follow() -> None:
    for seed in range(20):
        plan = plan_of(seed=seed)

        assert ids(plan)[0] == "warm/large"
        assert len(plan.candidates) == 3
        assert plan.mode == "sticky"
        assert plan.draw is None
        assert [c.probability for c in plan.candidates] == [1.0, 0.0, 0.0]


def test_what_is_cached_is_expected_to_cost_less() -> None:
    warm = plan_of().candidates[0]

    # 100 tokens at 10, 400 cached at 1, and 500 of the answer at 10 USD per million.
    assert warm.expected_cost_usd == Decimal("0.0064")
    assert warm.cached_tokens == 400


@pytest.mark.parametrize("endpoint", ["cheap/large", "plain/large", "elsewhere/large"])
def test_a_cache_that_saves_nothing_changes_nothing(endpoint: str) -> None:
    plan = plan_of(Sticky(endpoint=endpoint, cached_share=0.9))

    assert plan.mode == "weighted"
    assert not any(candidate.is_sticky for candidate in plan.candidates)


@pytest.mark.parametrize("wish", [{"order": ("plain",)}, {"sort": "price"}])
def test_an_order_of_the_callers_own_beats_the_cache(wish: dict[str, Any]) -> None:
    plan = plan_of(**wish)

    assert ids(plan)[0] != "warm/large"
    assert plan.mode == "deterministic"


@pytest.mark.parametrize(
    "trouble",
    [
        {"has_recent_outage": True},
        {"is_half_open": True},
        {"cooling_until_ms": NOW_MS + 1},
        {"open_until_ms": NOW_MS + 1},
        {"is_credential_refused": True},
    ],
)
def test_affinity_never_blocks_failover(trouble: dict[str, Any]) -> None:
    plan = plan_of(health={"warm/large": make_health(**trouble)})

    assert ids(plan)[0] != "warm/large"
    assert plan.mode == "weighted"


def test_a_preference_for_speed_beats_the_cache() -> None:
    health = {"warm/large": make_health(latency_ms=900)}

    plan = plan_of(health=health, preferred_max_latency_ms=Bounds(p50=500))

    assert ids(plan)[-1] == "warm/large"


def test_an_excluded_endpoint_is_not_let_in_by_its_cache() -> None:
    plan = plan_of(ignore=("warm",))

    assert reasons(plan) == {"warm/large": "ignore"}


def test_without_fallbacks_the_one_that_may_serve_is_the_warm_one() -> None:
    assert ids(plan_of(allow_fallbacks=False)) == ["warm/large"]


def test_a_sticky_decision_is_replayed() -> None:
    plan = plan_of(seed=9)
    record = compact(plan)

    assert list(replay(record).endpoints) == ids(plan)
    assert record["mode"] == "sticky"
    assert record["assignment_unit"] == "session"


def ask(**fields: Any) -> ChatRequest:
    return make_request(**fields)


def test_one_turn_after_another_shares_a_key() -> None:
    caller = make_caller()
    everything = {
        "session_id": "s",
        "prompt_cache_key": "c",
        "user": "u",
        "opening_digest": b"opening",
    }
    keys: list[bytes | None] = []
    while everything:
        keys.append(affinity_key(ask(**everything), caller))
        everything.pop(next(iter(everything)))

    assert len(set(keys)) == 4
    assert all(key is not None and len(key) == 16 for key in keys)
    assert affinity_key(ask(session_id="s", user="another"), caller) == keys[0]
    assert affinity_key(ask(), caller) is None


def test_two_keys_and_two_installations_never_share_an_affinity() -> None:
    request, caller = ask(user="ann"), make_caller()
    other = msgspec.structs.replace(caller, key_id=UUID(int=2))

    assert affinity_key(request, caller) != affinity_key(request, other)
    assert affinity_key(request, caller) != affinity_key(request, caller, hash_key=b"x" * 32)
