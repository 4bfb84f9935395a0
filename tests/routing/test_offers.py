"""What is kept of a model's endpoints between requests is what asking each of them would give."""

from datetime import timedelta
from decimal import Decimal
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from gateway.domain.errors import NoEndpointError
from gateway.routing.admission import make_question
from gateway.routing.candidates import gather
from gateway.routing.engine import make_plan
from gateway.routing.filters import FILTERS
from gateway.routing.names import resolve_names
from pricing.catalogue import Catalogue
from pricing.cost import expected_cost_usd
from pricing.endpoint import Endpoint
from pricing.price import Change, PriceVersion, SizeTier, Window, resolve
from tests.properties import many
from tests.routing.factories import (
    AT,
    make_catalogue_of,
    make_endpoint,
    make_inputs,
    make_price,
    make_request,
)

HOUR = timedelta(hours=1)
HOURS = st.integers(-2, 2).map(lambda hours: AT + hours * HOUR)
DEARER = Change(scale=Decimal(2))


@st.composite
def versions(draw: st.DrawFn) -> tuple[PriceVersion, ...]:
    """Up to two prices one after the other, some with tiers, times of day or a fee."""
    base = make_price(
        draw(st.sampled_from(("0", "1", "2.5", None))),
        draw(st.sampled_from(("0", "4"))),
        request_usd=draw(st.sampled_from((None, None, Decimal("0.01")))),
    )
    conditions: dict[str, Any] = draw(
        st.sampled_from(
            (
                {},
                {},
                {"size_tiers": (SizeTier(min_prompt_tokens=600, change=DEARER),)},
                {
                    "windows": (
                        Window(minutes=((0, 780),), weekdays=frozenset(range(1, 8)), change=DEARER),
                    )
                },
            )
        )
    )
    changes_at = draw(st.none() | HOURS)
    first = PriceVersion(id="v1", base=base.base, effective_to=changes_at, **conditions)
    if changes_at is None:
        return draw(st.sampled_from(((first,), ())))
    return (first, PriceVersion(id="v2", base=make_price("9").base, effective_from=changes_at))


@st.composite
def catalogues(draw: st.DrawFn) -> Catalogue:
    kinds: st.SearchStrategy[dict[str, Any]] = st.fixed_dictionaries(
        {
            "prices": versions(),
            "context_tokens": st.sampled_from((None, 700, 100_000)),
            "max_input_tokens": st.sampled_from((None, None, 450)),
            "max_output_tokens": st.sampled_from((None, 100, 4_000)),
            "mode": st.sampled_from(("chat", "chat", "chat", "embedding")),
            "retired_at": st.none() | HOURS,
            "disabled_from": st.none() | HOURS,
        }
    )
    offers: list[Endpoint] = []
    for number, kind in enumerate(draw(st.lists(kinds, min_size=1, max_size=5))):
        provider = f"p{number}"
        offers.append(
            Endpoint(id=f"{provider}/m", provider=provider, provider_model="m", model="a/m", **kind)
        )
    return make_catalogue_of(*offers)


requests = st.builds(
    make_request,
    st.just("a/m"),
    prompt_tokens_estimate=st.sampled_from((10, 460, 650)),
    max_output_tokens=st.sampled_from((None, 50, 300)),
    service_tier=st.sampled_from((None, None, "default", "flex")),
    needs=st.sampled_from((frozenset[str](), frozenset({"web_search"}))),
)


@settings(max_examples=many(150))
@given(
    catalogue=catalogues(),
    asked=st.lists(st.tuples(requests, HOURS), min_size=1, max_size=4),
    learned=st.sampled_from(({}, {"a/m": 33.5})),
)
def test_one_request_after_another_is_told_what_holds_for_it(
    catalogue: Catalogue, asked: list[tuple[Any, Any]], learned: dict[str, float]
) -> None:
    for request, at in asked:
        inputs = replace(make_inputs(catalogue, learned_output_tokens=learned), at=at)
        (pool,), _ = gather(resolve_names(request, inputs), catalogue)
        question = make_question(pool, request, inputs, service_tier=None)
        checks = [check for ask in FILTERS if (check := ask(question)) is not None]
        refused = {
            endpoint.id: verdict
            for endpoint in pool.endpoints
            if (verdict := next((v for check in checks if (v := check(endpoint))), None))
        }

        try:
            plan = make_plan(request, inputs)
        except NoEndpointError:
            assert len(refused) == len(pool.endpoints)
            continue

        assert {e.endpoint: (e.reason, e.detail) for e in plan.exclusions} == refused
        for candidate in plan.candidates:
            price = resolve(
                candidate.endpoint,
                at=at,
                prompt_tokens=request.prompt_tokens_estimate,
                service_tier=request.service_tier,
            )
            length = min(34 if learned else 500, request.max_output_tokens or 500)
            assert candidate.price == price
            assert candidate.expected_cost_usd == expected_cost_usd(
                price,
                prompt_tokens=request.prompt_tokens_estimate,
                output_tokens=length,
                web_searches=1 if "web_search" in request.needs else 0,
            )


def test_a_price_that_begins_between_two_requests_is_charged_from_then_on() -> None:
    endpoint = Endpoint(
        id="alpha/m",
        provider="alpha",
        provider_model="m",
        model="a/m",
        prices=(
            PriceVersion(id="v1", base=make_price("1", "0").base, effective_to=AT + HOUR),
            PriceVersion(id="v2", base=make_price("3", "0").base, effective_from=AT + HOUR),
        ),
    )
    catalogue = make_catalogue_of(endpoint, make_endpoint("beta", "a/m"))

    found: list[Decimal | None] = []
    for at in (AT, AT + HOUR, AT):
        inputs = replace(make_inputs(catalogue), at=at)
        plan = make_plan(make_request("a/m", order=("alpha",)), inputs)
        found.append(plan.candidates[0].expected_cost_usd)

    # 500 tokens in, at 1 and at 3 USD per million.
    assert found == [Decimal("0.0005"), Decimal("0.0015"), Decimal("0.0005")]
