import json
from decimal import Decimal
from typing import Any

import msgspec
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.chat.preferences import Bounds, MaxPrice, ProviderPreferences
from gateway.chat.request import ChatRequest
from gateway.domain.caller import Caller
from gateway.domain.errors import GatewayError
from gateway.routing.engine import make_plan
from gateway.routing.plan import Plan, Sticky
from gateway.routing.record import compact, replay
from pricing.endpoint import Endpoint
from tests.properties import many
from tests.routing.factories import (
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
)

PROVIDERS = ("a", "b", "b/turbo", "c", "d")
AMOUNTS = ("0", "0.05", "1", "1.000000001", "3", "250")

amounts = st.sampled_from(AMOUNTS)
capabilities = st.dictionaries(
    st.sampled_from(("tools", "vision", "temperature", "distillable")), st.booleans(), max_size=3
)


@st.composite
def endpoints(draw: st.DrawFn) -> list[Endpoint]:
    keys = draw(
        st.lists(
            st.tuples(st.sampled_from(PROVIDERS), st.sampled_from(("large", "small"))),
            min_size=1,
            max_size=8,
            unique=True,
        )
    )
    return [
        make_endpoint(
            provider,
            f"acme/{slug}",
            price=draw(st.none() | st.builds(make_price, amounts, st.none() | amounts)),
            quantization=draw(st.sampled_from((None, "fp8"))),
            context_tokens=draw(st.sampled_from((None, 600, 100_000))),
            max_output_tokens=draw(st.sampled_from((None, 50, 5000))),
            capabilities=draw(capabilities),
            modalities_in=draw(st.sampled_from((("text",), ("text", "image")))),
        )
        for provider, slug in keys
    ]


healths = st.dictionaries(
    st.sampled_from([f"{p}/{m}" for p in PROVIDERS for m in ("large", "small")]),
    st.builds(
        make_health,
        has_recent_outage=st.booleans(),
        cooling_until_ms=st.sampled_from((None, NOW_MS - 1, NOW_MS + 1, NOW_MS + 2)),
        is_credential_refused=st.booleans(),
        is_half_open=st.booleans(),
        open_until_ms=st.sampled_from((None, NOW_MS - 1, NOW_MS + 3)),
        weight_factor=st.sampled_from((1.0, 0.25, 0.1)),
        uptime=st.none() | st.floats(0, 1),
        latency_ms=st.none() | st.floats(1, 1000),
        throughput=st.none() | st.floats(1, 1000),
    ),
    max_size=4,
)
slugs = st.lists(st.sampled_from((*PROVIDERS, "b/fp8", "nobody")), max_size=3).map(tuple)
max_prices = st.builds(
    MaxPrice,
    prompt_usd_per_mtok=st.none() | amounts.map(Decimal),
    completion_usd_per_mtok=st.none() | amounts.map(Decimal),
)
preferences = st.builds(
    ProviderPreferences,
    order=slugs,
    only=slugs,
    ignore=slugs,
    allow_fallbacks=st.booleans(),
    sort=st.sampled_from((None, "price", "latency", "throughput")),
    max_price=st.none() | max_prices,
    require_parameters=st.booleans(),
    zdr=st.booleans(),
    quantizations=st.sampled_from(((), ("fp8",), ("unknown",))),
    partition=st.sampled_from((None, "none")),
    max_cost_usd=st.sampled_from((None, Decimal("0.01"))),
    min_throughput_tokens_per_s=st.sampled_from((None, Bounds(p50=500))),
    preferred_max_latency_ms=st.sampled_from((None, Bounds(p90=500))),
)


@st.composite
def requests(draw: st.DrawFn) -> ChatRequest:
    models = draw(
        st.sampled_from((("acme/large",), ("acme/small", "acme/large"), ("acme/large:floor",)))
    )
    return msgspec.structs.replace(
        make_request(*models),
        provider=draw(st.just(ProviderPreferences()) | preferences),
        needs=draw(st.frozensets(st.sampled_from(("tools", "vision")))),
        max_output_tokens=draw(st.sampled_from((None, 10, 100))),
        service_tier=draw(st.sampled_from((None, None, "flex"))),
    )


callers = st.builds(
    make_caller,
    has_hard_budget=st.booleans(),
    allowed_providers=st.sampled_from(((), ("a", "b*"))),
)


def plan_or_none(
    offers: list[Endpoint], request: ChatRequest, caller: Caller, **inputs: Any
) -> Plan | None:
    catalogue = make_catalogue_of(
        *offers, policies={"a": make_policy(zdr=True), "b": make_policy(zdr=False)}
    )
    try:
        return make_plan(request, make_inputs(catalogue, caller=caller, **inputs))
    except GatewayError:
        return None


@settings(max_examples=many(300))
@given(
    endpoints(),
    requests(),
    callers,
    st.fixed_dictionaries(
        {
            "health": healths,
            "seed": st.integers(0, 2**64 - 1),
            "strategy": st.sampled_from(("price-weighted", "balanced")),
            "sticky": st.sampled_from((None, Sticky(endpoint="a/large", cached_share=0.5))),
        }
    ),
)
def test_a_plan_keeps_what_it_promises(
    offers: list[Endpoint], request: ChatRequest, caller: Caller, known: dict[str, Any]
) -> None:
    plan = plan_or_none(offers, request, caller, **known)

    if plan is None:
        return
    planned, excluded = ids(plan), {exclusion.endpoint for exclusion in plan.exclusions}
    assert len(set(planned)) == len(planned) >= 1
    assert not excluded & set(planned)
    assert {e.id for e in offers if e.model in plan.models} == excluded | set(planned)
    considered = (*plan.candidates, *plan.dropped)
    assert abs(sum(c.probability or 0.0 for c in considered) - 1.0) < 1e-9
    caps = request.provider.max_price
    for candidate in plan.candidates:
        price = candidate.price
        if caller.has_hard_budget:
            assert candidate.expected_cost_usd is not None
        if caps is not None and caps.prompt_usd_per_mtok is not None:
            assert price is not None
            assert price.input_usd_per_mtok is not None
            assert price.input_usd_per_mtok <= caps.prompt_usd_per_mtok
        if caps is not None and caps.completion_usd_per_mtok is not None:
            assert price is not None
            assert price.output_usd_per_mtok is not None
            assert price.output_usd_per_mtok <= caps.completion_usd_per_mtok
        limit_usd = request.provider.max_cost_usd
        if limit_usd is not None:
            assert candidate.expected_cost_usd is not None
            assert candidate.expected_cost_usd <= limit_usd
    assert plan_or_none(offers, request, caller, **known) == plan
    again = replay(json.loads(json.dumps(compact(plan, request))))
    assert list(again.endpoints) == planned
    assert list(again.probabilities) == [c.probability for c in plan.candidates]


tightenings = st.sampled_from(
    (
        {"ignore": ("a",)},
        {"ignore": ("b",)},
        {"only": ("a", "b", "c")},
        {"quantizations": ("fp8",)},
        {"zdr": True},
        {"require_parameters": True},
        {"data_collection": "deny"},
        {"enforce_distillable_text": True},
        {"max_price": MaxPrice(prompt_usd_per_mtok=Decimal(1))},
        {"max_cost_usd": Decimal("0.001")},
        {"min_throughput_tokens_per_s": Bounds(p50=100)},
        {"max_latency_ms": Bounds(p50=100)},
    )
)


@settings(max_examples=many(300))
@given(endpoints(), requests(), callers, tightenings)
def test_adding_a_constraint_never_adds_a_candidate(
    offers: list[Endpoint], request: ChatRequest, caller: Caller, constraint: dict[str, Any]
) -> None:
    loose = msgspec.structs.replace(
        request,
        provider=msgspec.structs.replace(
            request.provider, allow_fallbacks=True, **{name: _NONE[name] for name in constraint}
        ),
    )
    tight = msgspec.structs.replace(
        loose, provider=msgspec.structs.replace(loose.provider, **constraint)
    )

    before = plan_or_none(offers, loose, caller)
    after = plan_or_none(offers, tight, caller)

    if after is not None:
        assert before is not None
        assert set(ids(after)) <= set(ids(before))


_NONE: dict[str, Any] = {
    name: getattr(ProviderPreferences(), name) for name in ProviderPreferences.__struct_fields__
}
