"""What a price list has otherwise becomes a proposal, and what is suspicious about it a gate."""

from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import pytest

from pricing.catalogue import Endpoint, endpoint_from_config, make_catalogue
from pricing.deciding import PriceWish, decide
from pricing.endpoint import Provider
from pricing.importers.listing import ListedTier, Listing
from pricing.importers.proposals import Comparison, PriceProposal, compare

AT = datetime(2026, 11, 21, tzinfo=UTC)


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
