"""Public price lists, read into our units from small files in each of their forms."""

import json
from collections.abc import Mapping
from contextlib import suppress
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from pricing.importers.genai_prices import matches, read_genai_prices
from pricing.importers.listing import (
    ListedOffer,
    ListedTier,
    ListError,
    Listing,
    Reader,
    usd_per_mtok,
)
from pricing.importers.litellm_map import read_litellm
from pricing.importers.models_dev import read_models_dev
from tests.properties import many
from tests.routing.factories import make_endpoint

LISTS = Path(__file__).with_name("data") / "lists"
AT = datetime(2026, 11, 21, tzinfo=UTC)
READERS: dict[str, Reader] = {
    "genai_prices": read_genai_prices,
    "models_dev": read_models_dev,
    "litellm": read_litellm,
}


def listing(source: str, provider: str, model: str, at: datetime = AT) -> Listing | None:
    text = (LISTS / f"{source}.json").read_text()
    found = READERS[source](json.loads(text, parse_float=Decimal), at)
    return found.lookup(make_endpoint(provider, f"some/{model}", model))


def told(rates: Mapping[str, Decimal]) -> dict[str, str]:
    return {name.removesuffix("_usd_per_mtok"): f"{usd:f}" for name, usd in rates.items()}


@pytest.mark.parametrize("source", READERS)
def test_every_list_says_the_same_of_gpt_4o(source: str) -> None:
    found = listing(source, "openai", "gpt-4o")

    assert found is not None
    rates = told(found.rates)
    rates.pop("web_search_usd", None)
    assert rates == {"input": "2.5", "output": "10", "cache_read": "1.25"}
    assert found.is_exact


@pytest.mark.parametrize("source", READERS)
def test_a_list_says_nothing_of_what_it_does_not_have(source: str) -> None:
    assert listing(source, "openai", "no-cost") is None
    assert listing(source, "nobody", "gpt-4o") is None
    assert listing(source, "anthropic", "gpt-4o") is None


@pytest.mark.parametrize(
    ("source", "provider", "model", "size", "rates"),
    [
        ("genai_prices", "anthropic", "claude-haiku-5-5", 100_001, ("0.5", "2.5")),
        # xAI alone bills the long price from the size itself on.
        ("genai_prices", "x-ai", "grok-4.5", 200_000, ("4", "12")),
        ("models_dev", "x-ai", "grok-4.5", 200_000, ("4", "12")),
        ("models_dev", "openai", "gpt-5.4", 272_001, ("5", "22.5")),
        ("litellm", "google", "gemini-2.5-pro", 200_001, ("2.5", "15")),
    ],
)
def test_long_prompts_begin_with_the_first_token_beyond(
    source: str, provider: str, model: str, size: int, rates: tuple[str, str]
) -> None:
    found = listing(source, provider, model)

    assert found is not None
    (tier,) = found.size_tiers
    assert isinstance(tier, ListedTier)
    assert tier.min_prompt_tokens == size
    assert (told(tier.rates)["input"], told(tier.rates)["output"]) == rates


@pytest.mark.parametrize(
    ("at", "usd"), [("2025-06-09", "10"), ("2025-06-10", "2"), ("2027-01-01", "1")]
)
def test_dated_prices_hold_from_their_day_on(at: str, usd: str) -> None:
    found = listing("genai_prices", "openai", "o3", datetime.fromisoformat(f"{at}T00:00:00Z"))

    assert found is not None
    assert told(found.rates)["input"] == usd


def test_a_model_found_by_a_pattern_is_marked() -> None:
    found = listing("genai_prices", "openai", "gpt-4-turbo")

    assert found is not None
    assert (found.name, found.is_exact) == ("openai/gpt-4", False)


def test_the_noise_of_binary_fractions_is_rounded_away() -> None:
    found = listing("litellm", "openai", "gpt-4o-mini")

    assert found is not None
    assert told(found.rates) == {"input": "0.15", "output": "0.6"}


def test_a_search_has_a_price_where_it_does_not_depend_on_what_is_read() -> None:
    dependent, fixed = (
        listing("litellm", "openai", "gpt-4o"),
        listing("litellm", "anthropic", "claude-sonnet-4-5"),
    )

    assert dependent is not None
    assert "web_search_usd" not in dependent.rates
    assert fixed is not None
    assert fixed.rates["web_search_usd"] == Decimal("0.01")
    assert told(fixed.rates)["cache_write_1h"] == "6"


@pytest.mark.parametrize("source", READERS)
@pytest.mark.parametrize("document", [None, [], 3, "x", {"data": []}, [{"id": "openai"}]])
def test_another_document_is_refused_or_says_nothing(source: str, document: Any) -> None:
    with suppress(ListError):
        found = READERS[source](document, AT)
        assert found.lookup(make_endpoint("openai", "openai/gpt-4o", "gpt-4o")) is None
        assert list(found.offers("openai")) == []


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=8) | st.decimals(),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(
                ["openai", "models", "cost", "input", "prices", "input_mtok", "match", "or", "id",
                 "providers", "litellm_provider", "gpt-4o", "tiers", "base", "start", "equals",
                 "mode", "modalities", "output", "limit", "price_variants", "when", "name"]
            ),
            inner,
            max_size=4,
        )
    ),
    max_leaves=20,
)  # fmt: skip


@settings(max_examples=many(150))
@given(source=st.sampled_from(sorted(READERS)), document=JSON)
@example(source="litellm", document={"gpt-4o": {"mode": []}})
@example(
    source="genai_prices",
    document=[
        {
            "id": "openai",
            "models": [
                {
                    "id": "gpt-4o",
                    "match": {"equals": "gpt-4o"},
                    "prices": {"input_mtok": 1},
                    "price_variants": [{"when": {"service_tier": []}, "prices": {}}],
                }
            ],
        }
    ],
)
def test_no_document_breaks_a_reader(source: str, document: Any) -> None:
    try:
        read = READERS[source](document, AT)
        found = read.lookup(make_endpoint("openai", "openai/gpt-4o", "gpt-4o"))
        listings = [offer.listing for offer in read.offers("openai")]
    except ListError:
        return
    listings += [] if found is None else [found]
    assert all(usd >= 0 for one in listings for usd in one.rates.values())


def offers(source: str, provider: str) -> dict[str, ListedOffer]:
    text = (LISTS / f"{source}.json").read_text()
    read = READERS[source](json.loads(text, parse_float=Decimal), AT)
    return {offer.id: offer for offer in read.offers(provider)}


@pytest.mark.parametrize(
    ("source", "tier", "rates"),
    [
        ("litellm", "flex", {"input": "0.625", "output": "5"}),
        ("litellm", "batch", {"input": "0.625"}),
        ("genai_prices", "flex", {"input": "0.625", "output": "5"}),
        ("genai_prices", "batch", {"input": "0.625"}),
    ],
)
def test_a_list_says_what_a_service_tier_costs(
    source: str, tier: str, rates: dict[str, str]
) -> None:
    found = listing(source, "google", "gemini-2.5-pro")

    assert found is not None
    assert found.service_tiers.keys() == {"flex", "batch"}
    assert told(found.service_tiers[tier]) == rates


@pytest.mark.parametrize(
    ("source", "provider", "names"),
    [
        # Pictures, and what is not in use any more, are left out.
        ("models_dev", "openai", {"gpt-4o", "gpt-5.4"}),
        ("models_dev", "x-ai", {"grok-4.5"}),
        ("litellm", "openai", {"gpt-4o", "gpt-4o-mini"}),
        ("litellm", "google", {"gemini-2.5-pro"}),
        # A pattern names nothing that could be called.
        ("genai_prices", "openai", {"gpt-4o", "gpt-4o-2024-08-06", "o3"}),
        ("genai_prices", "anthropic", set[str]()),
    ],
)
def test_a_list_says_what_a_provider_offers(source: str, provider: str, names: set[str]) -> None:
    assert offers(source, provider).keys() == names


def test_what_a_list_knows_of_an_offer_comes_in_our_words() -> None:
    (offer,) = (one for one in offers("models_dev", "openai").values() if one.id == "gpt-5.4")

    assert offer.facts == {
        "name": "GPT-5.4",
        "context_tokens": 1_050_000,
        "max_output_tokens": 128_000,
        "modalities_in": ["text", "image"],
        "modalities_out": ["text"],
        "capabilities": {"tools": True, "temperature": False},
    }


@pytest.mark.parametrize(
    "value", [True, -1, "x", Decimal("NaN"), Decimal("-0.1"), None, 1.5, "1e999"]
)
def test_what_is_no_amount_is_none(value: object) -> None:
    assert usd_per_mtok(value) is None


def test_rules_of_matching_are_as_they_write_them() -> None:
    rule = {"and": [{"contains": "claude"}, {"or": [{"ends_with": "v2"}, {"regex": r"-\d{8}$"}]}]}

    assert matches(rule, "Claude-x-20260101")
    assert matches(rule, "claude-v2")
    assert not matches(rule, "claude-v3")
    assert not matches({"regex": "("}, "x")
    assert not matches(None, "x")
