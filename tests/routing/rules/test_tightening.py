"""Whatever rules tighten, no endpoint is let in that the caller's own preferences kept out."""

from decimal import Decimal
from typing import Any

import msgspec
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.chat.preferences import Bounds, MaxPrice, ProviderPreferences
from gateway.chat.request import ChatRequest
from gateway.domain.errors import GatewayError
from gateway.routing.engine import make_plan
from gateway.routing.rules.govern import govern
from gateway.routing.rules.rule_set import RuleSet
from gateway.routing.rules.values import Rule, Then, Wishes
from gateway.routing.rules.wishes import TIGHTENERS
from tests.properties import many
from tests.routing.factories import (
    make_catalogue_of,
    make_endpoint,
    make_inputs,
    make_policy,
    make_price,
    make_request,
)
from tests.routing.rules.applying import SALT

PROVIDERS = ("alpha", "beta", "gamma", "delta")
QUANTIZATIONS = ("fp8", "bf16", None)
CATALOGUE = make_catalogue_of(
    *(
        make_endpoint(
            provider,
            "acme/large",
            f"large-{number}",
            make_price(str(number + 1), str(2 * number + 1)),
            quantization=QUANTIZATIONS[number % 3],
            capabilities={"tools": True, "temperature": number % 2 == 0, "distillable": True},
        )
        for number, provider in enumerate(PROVIDERS * 2)
    ),
    policies={
        "alpha": make_policy(zdr=True),
        "beta": make_policy(retains=True),
        "gamma": make_policy(trains=True),
    },
)

slugs = st.lists(
    st.sampled_from((*PROVIDERS, "alpha/fp8", "beta/large-1", "gamma/bf16", "delta/large-3")),
    max_size=3,
    unique=True,
).map(tuple)
amounts = st.none() | st.sampled_from([Decimal(n) / 4 for n in range(0, 40, 3)])
bounds = st.none() | st.builds(
    Bounds, p50=st.none() | st.floats(1, 100), p90=st.none() | st.floats(1, 100)
)
caps = st.none() | st.builds(
    MaxPrice, prompt_usd_per_mtok=amounts, completion_usd_per_mtok=amounts, request_usd=amounts
)
VALUES: dict[str, st.SearchStrategy[Any]] = {
    "only": slugs,
    "ignore": slugs,
    "allow_fallbacks": st.booleans(),
    "max_price": caps,
    "max_cost_usd": st.none() | st.sampled_from([Decimal(n) / 10_000 for n in range(1, 60, 7)]),
    "require_parameters": st.booleans(),
    "data_collection": st.sampled_from(["allow", "deny"]),
    "zdr": st.booleans(),
    "enforce_distillable_text": st.booleans(),
    "quantizations": st.lists(
        st.sampled_from(["fp8", "bf16", "unknown"]), max_size=2, unique=True
    ).map(tuple),
    "min_throughput_tokens_per_s": bounds,
    "max_latency_ms": bounds,
}
preferences = st.fixed_dictionaries({}, optional=VALUES)


@st.composite
def tightening(draw: st.DrawFn) -> Rule:
    fields = draw(st.fixed_dictionaries({}, optional=VALUES))
    # As the language has it: what is empty would not restrict anything, and is refused.
    fields = {name: value for name, value in fields.items() if value not in ((), None)}
    wishes = Wishes(members=tuple(fields), values=ProviderPreferences(**fields))
    return Rule(name=f"r{draw(st.integers(0, 10**9))}", then=Then(tighten=wishes))


def asking(**wishes: Any) -> ChatRequest:
    request = make_request(parameters=frozenset({"temperature"}))
    return msgspec.structs.replace(request, provider=ProviderPreferences(**wishes))


def admitted(request: ChatRequest, rules: list[Rule]) -> set[str]:
    """Who may serve; those left out only because fallbacks are off count as well."""
    inputs = make_inputs(CATALOGUE)
    ruled, inputs = govern(
        RuleSet(rules, source="test"),
        request,
        inputs,
        headers={},
        secret_salt=SALT,
        api="chat",
    )
    if ruled.denial is not None:
        return set()
    # Which one comes first is no question of who may.
    open_to_all = msgspec.structs.replace(ruled.request.provider, allow_fallbacks=True)
    try:
        plan = make_plan(msgspec.structs.replace(ruled.request, provider=open_to_all), inputs)
    except GatewayError:
        return set()
    return {candidate.endpoint.id for candidate in plan.candidates}


def test_every_verb_that_tightens_is_tried() -> None:
    assert set(VALUES) == set(TIGHTENERS)


@settings(max_examples=many(300))
@given(asked=preferences, rules=st.lists(tightening(), min_size=1, max_size=3))
def test_tightening_never_adds_a_candidate(asked: dict[str, Any], rules: list[Rule]) -> None:
    request = asking(**asked)

    assert admitted(request, rules) <= admitted(request, [])


@settings(max_examples=many(100))
@given(asked=preferences, rule=tightening())
def test_tightening_twice_is_tightening_once(asked: dict[str, Any], rule: Rule) -> None:
    request = asking(**asked)

    assert admitted(request, [rule]) == admitted(request, [rule, rule])
