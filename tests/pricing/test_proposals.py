"""What a price list has otherwise becomes a proposal, and what is suspicious about it a gate."""

from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import msgspec
import pytest

from pricing.catalogue import Catalogue, Endpoint, endpoint_from_config, make_catalogue
from pricing.deciding import PriceWish, decide
from pricing.endpoint import Provider
from pricing.importers.listing import ListedOffer, ListedTier, Listing, PriceList
from pricing.importers.proposals import Comparison, PriceProposal, compare, propose_new
from pricing.operator_layer import own_endpoint, price_version_of

AT = datetime(2026, 11, 21, tzinfo=UTC)
D = Decimal


def endpoint(provider: str = "acme", **keys: Any) -> Endpoint:
    known: dict[str, Any] = {
        "id": "m1",
        "model": "acme/m1",
        "input_usd_per_mtok": Decimal(1),
        "output_usd_per_mtok": Decimal(2),
    }
    return endpoint_from_config(provider, known | keys)


def listed(**rates: str) -> Listing:
    return Listing(
        name="their/m1",
        rates={f"{name}_usd_per_mtok": Decimal(usd) for name, usd in rates.items()},
    )


def compared(listing: Listing, *endpoints: Endpoint) -> Comparison:
    """Only the first endpoint is listed."""
    catalogue = make_catalogue(
        providers=[Provider(id=name, name=name) for name in ("acme", "other")],
        endpoints=endpoints,
        version="v",
    )
    return compare(catalogue, lambda one: listing if one.id == endpoints[0].id else None, at=AT)


def proposed(listing: Listing, *endpoints: Endpoint) -> PriceProposal:
    (proposal,) = compared(listing, *endpoints).proposals
    return proposal


def test_what_agrees_proposes_nothing() -> None:
    found = compared(listed(input="1", output="2.0"), endpoint(), endpoint("other"))

    assert (found.compared, found.unlisted, found.proposals) == (1, 1, ())


def test_a_small_step_has_no_gate() -> None:
    proposal = proposed(listed(input="1.5", output="1.34"), endpoint())

    assert proposal.rates == {"input_usd_per_mtok": "1.5", "output_usd_per_mtok": "1.34"}
    assert proposal.gates == ()
    assert [one.times for one in proposal.differences] == ["1.5", "0.67"]


@pytest.mark.parametrize(
    ("rates", "said"),
    [
        ({"input": "1.51", "output": "2"}, "input_usd_per_mtok rises to 1.51 times"),
        ({"input": "1", "output": "1.33"}, "output_usd_per_mtok falls to 0.665 times"),
        ({"input": "0", "output": "2"}, "input_usd_per_mtok falls to 0"),
    ],
)
def test_a_big_step_has_a_gate(rates: dict[str, str], said: str) -> None:
    (gate,) = proposed(listed(**rates), endpoint()).gates

    assert said in gate


def test_a_slip_of_the_unit_shows_against_other_providers_of_the_model() -> None:
    unpriced = endpoint(prices=[], input_usd_per_mtok=None, output_usd_per_mtok=None)
    gates = proposed(listed(input="1000", output="2"), unpriced, endpoint("other")).gates

    assert len(gates) == 1
    assert "other/m1 charges (1)" in gates[0]
    assert proposed(listed(input="20", output="40"), unpriced, endpoint("other")).gates == ()


def test_what_only_a_pattern_found_has_a_gate() -> None:
    listing = Listing(name="their/m", rates={"input_usd_per_mtok": Decimal("1.1")}, is_exact=False)

    (gate,) = proposed(listing, endpoint()).gates
    assert "their/m" in gate


def test_zeros_beside_the_main_rates_and_rates_that_equal_their_parents_say_nothing() -> None:
    listing = listed(input="1", output="2", cache_write="0", reasoning="2", audio_input="1")

    assert compared(listing, endpoint()).proposals == ()


def test_an_endpoint_that_is_free_here_stays_so() -> None:
    free = endpoint(free=True, input_usd_per_mtok=None, output_usd_per_mtok=None)

    assert compared(listed(input="0", output="0"), free).proposals == ()


def test_prices_by_the_hour_are_left_to_people() -> None:
    by_hour = endpoint(
        windows=[{"utc": ["00:00-12:00"], "days": [1, 2, 3], "scale": Decimal("0.5")}]
    )

    found = compared(listed(input="9", output="9"), by_hour)
    assert (found.passed_over, found.proposals) == (("acme/m1",), ())


def test_prices_of_long_prompts_come_as_terms_that_our_rules_accept() -> None:
    cached = endpoint(cache_read_usd_per_mtok=Decimal("0.5"))
    listing = Listing(
        name="their/m1",
        rates={"input_usd_per_mtok": Decimal("1.2"), "output_usd_per_mtok": Decimal(2)},
        size_tiers=(
            ListedTier(
                min_prompt_tokens=200_001,
                rates={"input_usd_per_mtok": Decimal(3), "output_usd_per_mtok": Decimal(4)},
            ),
        ),
    )

    proposal = proposed(listing, cached)

    assert "prices of long prompts differ" in proposal.gates
    assert proposal.terms is not None
    assert proposal.terms["input_usd_per_mtok"] == "1.2"
    assert proposal.terms["size_tiers"] == [
        {
            "min_prompt_tokens": 200_001,
            "input_usd_per_mtok": "3",
            "output_usd_per_mtok": "4",
            "cache_read_usd_per_mtok": "0.5",
        }
    ]
    wish = PriceWish(kind="price", target="acme/m1", terms=proposal.terms, reason="their list")
    tables = make_catalogue(
        providers=[Provider(id="acme", name="Acme")], endpoints=[cached], version="v"
    )
    assert decide(wish, tables, [], at=AT, actor="ann").effects


def test_only_the_providers_that_were_named_are_compared() -> None:
    catalogue = make_catalogue(providers=[], endpoints=[endpoint(), endpoint("other")], version="v")

    found = compare(catalogue, lambda _: listed(input="1.1"), at=AT, providers=["other"])

    assert [one.target for one in found.proposals] == ["other/m1"]


def with_tiers(**tiers: dict[str, str]) -> Listing:
    named = {
        tier: {f"{name}_usd_per_mtok": Decimal(usd) for name, usd in rates.items()}
        for tier, rates in tiers.items()
    }
    return msgspec.structs.replace(listed(input="1", output="2"), service_tiers=named)


def test_a_service_tier_that_has_no_price_here_is_proposed_with_a_gate() -> None:
    flex = {"input": "0.5", "output": "1"}
    proposal = proposed(with_tiers(flex=flex), endpoint())

    assert [(one.rate, one.before, one.after) for one in proposal.differences] == [
        ("input_usd_per_mtok@flex", None, Decimal("0.5")),
        ("output_usd_per_mtok@flex", None, Decimal(1)),
    ]
    assert proposal.gates == ("prices a service tier that has none here",)
    assert proposal.terms is not None
    wish = PriceWish(kind="price", target="acme/m1", terms=proposal.terms, reason="listed")
    decided = decide(wish, only(endpoint()), [], at=AT, actor="ann").change
    version = price_version_of(decided)
    assert version.service_tiers["flex"].change.rates["input_usd_per_mtok"] == Decimal("0.5")


@pytest.mark.parametrize(
    ("tier", "asked", "said"),
    [
        pytest.param({"scale": "0.5"}, {"input": "0.5", "output": "1"}, [], id="a factor agrees"),
        pytest.param({"input_usd_per_mtok": "0.5"}, {"input": "0.5"}, [], id="rates agree"),
        pytest.param({"scale": "0.5"}, {"input": "0.6"}, ["0.5 -> 0.6"], id="a small step"),
        pytest.param(
            {"input_usd_per_mtok": "0.5"}, {"output": "1"}, ["2 -> 1"], id="what it left out"
        ),
    ],
)
def test_a_service_tier_is_compared_with_what_it_costs_here(
    tier: dict[str, str], asked: dict[str, str], said: list[str]
) -> None:
    ours = endpoint(service_tiers={"flex": {name: Decimal(usd) for name, usd in tier.items()}})
    found = compared(with_tiers(flex=asked), ours).proposals

    told = [f"{d.before} -> {d.after}" for one in found for d in one.differences]
    assert told == said


def test_a_big_step_of_a_service_tier_has_a_gate() -> None:
    ours = endpoint(service_tiers={"flex": {"scale": Decimal("0.5")}})

    assert proposed(with_tiers(flex={"input": "0.9"}), ours).gates == (
        "input_usd_per_mtok@flex rises to 1.8 times what it was",
    )


def only(*endpoints: Endpoint) -> Catalogue:
    return make_catalogue(
        providers=[Provider(id=name, name=name) for name in ("acme", "other")],
        endpoints=endpoints,
        version="v",
    )


def offered(*offers: ListedOffer, provider: str = "acme") -> PriceList:
    return PriceList(
        source="https://lists.example",
        lookup=lambda _: None,
        offers=lambda name: offers if name == provider else (),
    )


def test_an_offer_that_is_not_known_here_becomes_an_endpoint_that_our_rules_accept() -> None:
    facts = {"context_tokens": 1000, "max_output_tokens": 100, "capabilities": {"tools": True}}
    offer = ListedOffer(id="m2", listing=with_tiers(batch={"input": "0.5"}), facts=facts)
    known = only(endpoint(), endpoint("other", id="m2", model="maker/m2"))

    (proposal,) = propose_new(known, offered(offer), at=AT, providers=["acme", "other"])

    assert proposal.target == "acme/m2"
    assert proposal.gates[0].startswith("is new here, reached as maker/m2: look whether")
    assert proposal.endpoint is not None
    wish = PriceWish(kind="endpoint", target="acme/m2", endpoint=proposal.endpoint, reason="new")
    added = own_endpoint(decide(wish, known, [], at=AT, actor="ann").change)
    assert (added.model, added.context_tokens, added.capabilities) == (
        "maker/m2", 1000, {"tools": True},
    )  # fmt: skip
    assert added.prices[0].base.input_usd_per_mtok == 1
    assert added.prices[0].service_tiers["batch"].change.rates == {"input_usd_per_mtok": D("0.5")}
    assert (added.prices[0].source, added.prices[0].checked_on) == (
        "https://lists.example", AT.date(),
    )  # fmt: skip


def test_a_new_offer_far_off_the_others_of_its_model_may_be_a_slip_of_the_unit() -> None:
    offer = ListedOffer(id="m1", listing=listed(input="100", output="200"))

    (proposal,) = propose_new(only(endpoint("other")), offered(offer), at=AT, providers=["acme"])

    assert len(proposal.gates) == 3
    assert "more than 20 times off what other/m1 charges" in proposal.gates[1]


@pytest.mark.parametrize(
    "rates", [{}, {"input": "1"}, {"input": "0", "output": "0"}], ids=["none", "half", "nothing"]
)
def test_an_offer_without_a_price_is_not_proposed(rates: dict[str, str]) -> None:
    offer = ListedOffer(id="m2", listing=listed(**rates))

    assert propose_new(only(endpoint()), offered(offer), at=AT, providers=["acme"]) == ()


def test_what_is_known_is_not_new() -> None:
    offer = ListedOffer(id="m1", listing=listed(input="9", output="9"))

    assert propose_new(only(endpoint()), offered(offer), at=AT, providers=["acme"]) == ()
