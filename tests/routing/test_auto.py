"""Names that let the gateway choose the model."""

from collections import Counter
from decimal import Decimal
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.chat.preferences import AutoPreferences
from gateway.chat.reasoning import Reasoning
from gateway.domain.errors import InvalidRequestError, NoEndpointError
from gateway.routing.admission import admit, make_question
from gateway.routing.auto import KEPT, LISTED
from gateway.routing.candidates import gather
from gateway.routing.engine import make_plan
from gateway.routing.filters import find_tier
from gateway.routing.names import resolve_names
from gateway.routing.order import arrange
from gateway.routing.plan import Exclusion, Plan
from gateway.routing.refusals import TEMPORARY
from pricing.endpoint import Endpoint, Model
from tests.properties import many
from tests.routing.factories import (
    AT,
    NOW_MS,
    ids,
    make_caller,
    make_catalogue_of,
    make_endpoint,
    make_health,
    make_inputs,
    make_policy,
    make_price,
    make_request,
    reasons,
)

TOOLS = {"tools": True, "structured_outputs": True, "reasoning": False}
THINKS = {"tools": True, "reasoning": True}
SMALL = make_endpoint("a", "acme/small", price="1", context_tokens=8_000, capabilities=TOOLS)
LARGE = make_endpoint(
    "b",
    "acme/large",
    price="3",
    context_tokens=200_000,
    capabilities=THINKS,
    modalities_in=("text", "image"),
)
GIFT = make_endpoint("c", "acme/gift", price="0", context_tokens=4_000, capabilities={})
CHEAPEST = make_endpoint("d", "acme/outside", price="0.01", context_tokens=1_000_000)
POOL = ("acme/small", "acme/large", "acme/gift")
CATALOGUE = make_catalogue_of(SMALL, LARGE, GIFT, CHEAPEST)


def plan_of(
    *names: str, pool: tuple[str, ...] = POOL, inputs: dict[str, Any] | None = None, **wishes: Any
) -> Plan:
    given_inputs = make_inputs(CATALOGUE, auto_pool=pool, **(inputs or {}))
    return make_plan(make_request(*(names or ("auto",)), **wishes), given_inputs)


def served(plan: Plan) -> list[str]:
    return [candidate.endpoint.model for candidate in plan.candidates]


@pytest.mark.parametrize(
    "name", ["auto", "openrouter/auto", "llmgateway/auto", "nordlys/hypernova", "auto:floor"]
)
def test_auto_takes_the_cheapest_of_the_pool_and_never_of_the_whole_catalogue(name: str) -> None:
    plan = plan_of(name, ignore=("c",))

    assert served(plan) == ["acme/small", "acme/large"]
    assert plan.pool == POOL
    assert plan.candidates[0].probability == 1.0
    assert plan.mode == "deterministic"


def test_without_a_declared_pool_the_curated_models_are_chosen_between() -> None:
    curated = Model(id="acme/large", name="large", author="acme", auto=True)
    catalogue = make_catalogue_of(SMALL, LARGE, models=[curated])

    assert make_plan(make_request("auto"), make_inputs(catalogue)).pool == ("acme/large",)


def test_a_request_without_a_model_is_chosen_for() -> None:
    request = msgspec.structs.replace(make_request(), models=())

    plan = make_plan(request, make_inputs(CATALOGUE, auto_pool=POOL))

    assert plan.requested_model == "auto"


def test_an_alias_may_stand_for_auto() -> None:
    assert plan_of("cheap", inputs={"aliases": {"cheap": "auto"}}).pool == POOL


def test_the_cheapest_is_the_cheapest_for_these_very_tokens() -> None:
    catalogue = make_catalogue_of(
        make_endpoint("r", "acme/reader", price=make_price("1", "10"), context_tokens=100_000),
        make_endpoint("w", "acme/writer", price=make_price("5", "2"), context_tokens=100_000),
    )
    inputs = make_inputs(catalogue, auto_pool=("acme/reader", "acme/writer"))

    long_prompt = make_plan(make_request("auto", prompt_tokens_estimate=9_000), inputs)
    short_prompt = make_plan(make_request("auto", prompt_tokens_estimate=10), inputs)

    assert served(long_prompt)[0] == "acme/reader"
    assert served(short_prompt)[0] == "acme/writer"


def test_what_this_callers_answers_taught_decides_too() -> None:
    learned = {"acme/small": 100_000.0, "acme/large": 10.0}

    plan = plan_of(ignore=("c",), inputs={"learned_output_tokens": learned})

    assert served(plan)[0] == "acme/large"
    assert plan.candidates[0].output_tokens == 10
    assert plan.candidates[0].expected_cost_usd == Decimal("0.00153")


@pytest.mark.parametrize(
    ("wishes", "model", "reason"),
    [
        pytest.param({"prompt_tokens_estimate": 50_000}, "acme/large", "context", id="context"),
        pytest.param({"needs": frozenset({"vision"})}, "acme/large", "modality", id="images"),
        pytest.param({"needs": frozenset({"tools"})}, "acme/small", "capability", id="tools"),
        pytest.param(
            {"needs": frozenset({"structured_outputs"})}, "acme/small", "capability", id="schema"
        ),
        pytest.param(
            {"reasoning": Reasoning(effort="low")}, "acme/large", "capability", id="effort"
        ),
        pytest.param(
            {"auto": AutoPreferences(no_reasoning=True)}, "acme/small", "reasons", id="no-reasoning"
        ),
        pytest.param(
            {"auto": AutoPreferences(free_models_only=True)}, "acme/gift", "not_free", id="free"
        ),
        pytest.param(
            {"auto": AutoPreferences(allowed_models=("*/l*",))},
            "acme/large",
            "auto_models",
            id="allowed",
        ),
        pytest.param(
            {"auto": AutoPreferences(excluded_models=("acme/g*", "acme/l*"))},
            "acme/small",
            "auto_models",
            id="excluded",
        ),
    ],
)
def test_auto_chooses_only_what_is_known_to_do_what_is_asked(
    wishes: dict[str, Any], model: str, reason: str
) -> None:
    plan = plan_of(**wishes)

    assert served(plan)[0] == model
    assert reason in plan.excluded_by


def test_reasoning_that_is_switched_off_needs_no_reasoning_model() -> None:
    assert served(plan_of(reasoning=Reasoning(effort="none")))[0] == "acme/gift"


def test_an_unknown_window_is_not_a_large_one() -> None:
    unknown = make_endpoint("u", "acme/unknown", price="0.1")
    catalogue = make_catalogue_of(unknown, SMALL)
    inputs = make_inputs(catalogue, auto_pool=("acme/unknown", "acme/small"))

    plan = make_plan(make_request("auto"), inputs)

    assert ids(plan) == ["a/small"]
    assert reasons(plan) == {"u/unknown": "context"}


def test_an_empty_choice_says_why_with_counts() -> None:
    with pytest.raises(NoEndpointError) as caught:
        plan_of(auto=AutoPreferences(free_models_only=True), needs=frozenset({"tools"}))

    error = caught.value
    assert error.metadata["excluded_by"] == {"not_free": 2, "capability": 1}
    assert "`free_models_only`" in error.message
    assert error.metadata["pool"] == list(POOL)


@pytest.mark.parametrize(
    ("wishes", "param"),
    [
        ({"free_models_only": True}, "free_models_only"),
        ({"no_reasoning": True}, "no_reasoning"),
        ({"allowed_models": ("*",)}, "plugins"),
    ],
)
def test_wishes_for_auto_are_refused_with_a_model_of_ones_own(
    wishes: dict[str, Any], param: str
) -> None:
    with pytest.raises(InvalidRequestError) as caught:
        plan_of("acme/small", auto=AutoPreferences(**wishes))

    assert (caught.value.param, caught.value.code) == (param, "needs_auto")


def test_no_reasoning_and_an_effort_contradict_each_other() -> None:
    with pytest.raises(InvalidRequestError, match="contradict"):
        plan_of(auto=AutoPreferences(no_reasoning=True), reasoning=Reasoning(effort="high"))


def test_auto_goes_on_to_other_models_of_the_pool_like_any_plan() -> None:
    plan = plan_of(inputs={"health": {"c/gift": make_health(has_recent_outage=True)}})

    assert served(plan) == ["acme/small", "acme/large", "acme/gift"]


def test_the_keys_own_models_bound_the_pool() -> None:
    plan = plan_of(inputs={"caller": make_caller(allowed_models=("acme/large",))})

    assert served(plan) == ["acme/large"]


def test_a_pool_with_no_offers_here_is_an_error() -> None:
    with pytest.raises(InvalidRequestError, match="auto_models"):
        plan_of(pool=("acme/elsewhere",))


def test_large_pools_are_counted_and_not_listed() -> None:
    offers = [
        make_endpoint(f"p{n:03}", f"m/{n}", price=f"{n + 1}", context_tokens=100_000 if n else 10)
        for n in range(LISTED + 20)
    ]
    inputs = make_inputs(make_catalogue_of(*offers), auto_pool=tuple(e.model for e in offers))

    plan = make_plan(make_request("auto"), inputs)

    assert ids(plan) == [f"p{n:03}/{n}" for n in range(1, KEPT + 1)]
    assert plan.exclusions == ()
    assert plan.excluded_by == {"passed_over": LISTED + 20 - 1 - KEPT, "context": 1}


@pytest.mark.parametrize("troubled", [0, 30, 395])
def test_the_cheapest_of_hundreds_are_found_wherever_they_stand(troubled: int) -> None:
    offers = [
        make_endpoint(f"p{n:03}", f"m/{n}", price=f"{(n * 7919) % 401 + 1}", context_tokens=100_000)
        for n in range(400)
    ]
    by_price = sorted(offers, key=lambda offer: offer.prices[0].base.input_usd_per_mtok or 0)
    inputs = make_inputs(
        make_catalogue_of(*offers),
        auto_pool=tuple(e.model for e in offers),
        health={e.id: make_health(has_recent_outage=True) for e in by_price[:troubled]},
    )

    plan = make_plan(make_request("auto"), inputs)

    expected = [e.id for e in by_price[troubled:]][:KEPT]
    assert ids(plan)[: len(expected)] == expected
    assert len(plan.candidates) >= KEPT


def test_those_that_are_resting_do_not_fill_the_list_of_a_large_pool() -> None:
    offers = [
        make_endpoint(f"p{n:03}", f"m/{n}", price=f"{n + 1}", context_tokens=100_000)
        for n in range(LISTED + 20)
    ]
    inputs = make_inputs(
        make_catalogue_of(*offers),
        auto_pool=tuple(e.model for e in offers),
        health={e.id: make_health(cooling_until_ms=NOW_MS + 5) for e in offers[:30]},
    )

    plan = make_plan(make_request("auto"), inputs)

    assert ids(plan) == [f"p{n:03}/{n}" for n in range(30, 30 + KEPT)]


@st.composite
def pools(draw: st.DrawFn) -> list[Endpoint]:
    """Many alike endpoints, of which a few differ in each way that filters ask for."""
    flags = st.dictionaries(
        st.sampled_from(("tools", "reasoning", "vision", "web_search", "temperature")),
        st.booleans(),
        max_size=3,
    )
    kinds: list[dict[str, Any]] = draw(
        st.lists(
            st.fixed_dictionaries(
                {
                    "price": st.sampled_from(("0", "0.5", "1", "1.01", "7", None)),
                    "context_tokens": st.sampled_from((None, 400, 501, 5_000, 100_000)),
                    "max_output_tokens": st.sampled_from((None, 100, 4_000)),
                    "max_input_tokens": st.sampled_from((None, None, 499, 90_000)),
                    "capabilities": flags,
                    "quantization": st.sampled_from((None, "fp8")),
                    "disabled_from": st.sampled_from((None, None, None, AT)),
                    "mode": st.sampled_from(("chat", "chat", "chat", "embedding")),
                    "service_tiers": st.sampled_from(((), ("flex",))),
                    "modalities_in": st.sampled_from((("text",), ("text", "image"))),
                }
            ),
            min_size=3,
            max_size=6,
        )
    )
    return [
        make_endpoint(
            ("a", "b", "b/turbo", "c")[n % 4],
            f"acme/m{n % 7}",
            f"own-{n:02}",
            **kinds[n % len(kinds)],
        )
        for n in range(LISTED + 5)
    ]


slugs = st.lists(st.sampled_from(("a", "b", "b/turbo", "b/fp8", "nobody")), max_size=2).map(tuple)
requests = st.builds(
    make_request,
    st.just("auto"),
    max_output_tokens=st.sampled_from((None, 50, 3_000)),
    prompt_tokens_estimate=st.sampled_from((10, 500, 20_000)),
    needs=st.frozensets(st.sampled_from(("tools", "vision", "web_search")), max_size=2),
    parameters=st.frozensets(st.sampled_from(("temperature",)), max_size=1),
    require_parameters=st.booleans(),
    only=slugs,
    ignore=slugs,
    order=slugs,
    sort=st.sampled_from((None, "price", "latency", "throughput")),
    quantizations=st.sampled_from(((), ("fp8",), ("unknown",))),
    data_collection=st.sampled_from(("allow", "deny")),
    service_tier=st.sampled_from((None, None, "flex", "priority")),
    max_price=st.sampled_from((None, {"prompt_usd_per_mtok": "1"})),
    max_cost_usd=st.sampled_from((None, Decimal("0.01"))),
    auto=st.builds(
        AutoPreferences,
        free_models_only=st.booleans(),
        no_reasoning=st.booleans(),
        excluded_models=st.sampled_from(((), ("acme/m1", "*3"))),
    ),
)
healths = st.dictionaries(
    st.integers(0, LISTED + 4),
    st.builds(
        make_health,
        has_recent_outage=st.booleans(),
        is_credential_refused=st.booleans(),
        open_until_ms=st.sampled_from((None, NOW_MS + 3)),
        latency_ms=st.sampled_from((None, 10.0, 90.0)),
        throughput=st.sampled_from((None, 10.0, 90.0)),
    ),
    max_size=8,
)


@settings(max_examples=many(150))
@given(offers=pools(), request=requests, seen=healths, learned=st.booleans())
def test_the_short_way_chooses_what_looking_at_everything_would(
    offers: list[Endpoint], request: Any, seen: dict[int, Any], learned: bool
) -> None:
    catalogue = make_catalogue_of(*offers, policies={"a": make_policy()})
    inputs = make_inputs(
        catalogue,
        auto_pool=tuple(f"acme/m{n}" for n in range(7)),
        health={offers[n].id: health for n, health in seen.items()},
        learned_output_tokens={"acme/m2": 3.5} if learned else {},
    )
    targets = resolve_names(request, inputs)
    (pool,), _ = gather(targets, catalogue)
    tier = find_tier(request, pool.endpoints, inputs.at)
    question = make_question(pool, request, inputs, service_tier=tier)
    excluded: list[Exclusion] = []
    all_of_them = admit(0, pool.endpoints, question, inputs, excluded, is_balanced_freely=True)
    ready = [c for c in all_of_them if c.cooling_until_ms is None]
    counts = Counter(e.reason for e in excluded if e.reason not in TEMPORARY)

    try:
        plan = make_plan(request, inputs)
    except NoEndpointError as error:
        assert not all_of_them
        told: Counter[str] = Counter(error.metadata["excluded_by"])
        told.pop("credential", None)
        assert told == Counter({reason.value: count for reason, count in counts.items()})
        return

    best = arrange(plan.partitions, ready, inputs.seed).candidates
    if best:
        assert ids(plan)[0] == best[0].endpoint.id
        named = [c for c in best if not request.provider.order or c.rank is not None]
        wanted = [c.endpoint.id for c in (named or best)][:3]
        assert ids(plan)[: len(wanted)] == wanted
    assert set(ids(plan)) <= {c.endpoint.id for c in all_of_them}
    priced = {"not_free", "max_price", "max_cost"}
    for reason, count in counts.items():
        if reason.value not in priced:
            assert plan.excluded_by[reason.value] == count
