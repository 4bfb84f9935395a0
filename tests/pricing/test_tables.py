"""Everything that is shipped: every table, every price, every provider."""

from collections import Counter
from datetime import UTC, datetime
from urllib.parse import urlsplit

import pytest

from pricing.catalogue import TABLES, Catalogue
from pricing.cost import compute_cost
from pricing.price import TOKEN_RATES, resolve
from pricing.usage import Usage

FILES = sorted(path.stem for path in TABLES.glob("*.toml"))
AT = datetime(2026, 11, 17, 2, tzinfo=UTC)
# Widely served models; each must be offered by its maker and by somebody else.
WELL_KNOWN = {
    "openai/gpt-4o-mini": "openai",
    "openai/gpt-4o": "openai",
    "openai/gpt-5": "openai",
    "anthropic/claude-sonnet-4.5": "anthropic",
    "anthropic/claude-haiku-4.5": "anthropic",
    "google/gemini-2.5-flash": "google",
    "google/gemini-2.5-pro": "google",
    "deepseek/deepseek-v4-pro": "deepseek",
    "mistralai/mistral-large-2512": "mistral",
    "moonshotai/kimi-k2.6": "moonshotai",
    "qwen/qwen3-max": "alibaba",
    "z-ai/glm-4.6": "zai",
}


def test_every_file_is_a_provider_or_models(shipped: Catalogue) -> None:
    assert {*shipped.providers, "models"} == set(FILES)
    for required in [
        "openai",
        "anthropic",
        "google",
        "google-vertex",
        "amazon-bedrock",
        "azure",
        "groq",
        "together",
        "fireworks",
        "deepinfra",
        "novita",
        "nebius",
        "mistral",
        "deepseek",
        "x-ai",
        "cerebras",
        "moonshotai",
        "zai",
        "alibaba",
        "cohere",
        "perplexity",
        "openrouter",
    ]:
        assert any(e.provider == required for e in shipped.endpoints_by_id.values()), required


@pytest.mark.parametrize("provider_id", [name for name in FILES if name != "models"])
def test_a_provider_can_be_reached_or_says_that_it_needs_an_address(
    shipped: Catalogue, provider_id: str
) -> None:
    provider = shipped.providers[provider_id]

    assert provider.base_url_env
    if provider.base_url is not None:
        address = urlsplit(provider.base_url)
        assert address.scheme == "https"
        assert address.hostname
        assert not provider.base_url.endswith("/")
        assert provider.credential_env


def test_credentials_belong_to_one_provider_each(shipped: Catalogue) -> None:
    names = Counter(
        name
        for provider in shipped.providers.values()
        for name in (provider.credential_env, *provider.credential_env_alternatives)
        if name
    )

    assert [name for name, uses in names.items() if uses > 1] == []


def test_every_endpoint_belongs_to_its_provider_and_its_model(shipped: Catalogue) -> None:
    for endpoint in shipped.endpoints_by_id.values():
        assert endpoint.id == f"{endpoint.provider}/{endpoint.provider_model}"
        assert "/" in endpoint.model
        assert endpoint in shipped.endpoints_by_model[endpoint.model]
        assert endpoint.has_canonical_model or endpoint.model == endpoint.id


def test_every_price_names_its_source_and_the_day_it_was_checked(shipped: Catalogue) -> None:
    for endpoint in shipped.endpoints_by_id.values():
        if endpoint.is_free:
            continue
        for version in endpoint.prices:
            assert version.source, version.id
            assert version.checked_on, version.id


def test_price_versions_have_names_of_their_own(shipped: Catalogue) -> None:
    names = Counter(v.id for e in shipped.endpoints_by_id.values() for v in e.prices)

    assert names.most_common(1)[0][1] == 1


def test_every_priced_chat_endpoint_prices_an_ordinary_request(shipped: Catalogue) -> None:
    usage = Usage(input_tokens=1000, output_tokens=100, reasoning_tokens=50, requests=1)
    for endpoint in shipped.endpoints_by_id.values():
        price = resolve(endpoint, at=AT, prompt_tokens=usage.prompt_tokens)
        if price is None or endpoint.mode != "chat":
            continue
        cost = compute_cost(usage, price)
        assert cost.total_usd is not None, endpoint.id
        assert (cost.total_usd == 0) == endpoint.is_free, endpoint.id


def test_a_longer_prompt_is_never_cheaper_per_token(shipped: Catalogue) -> None:
    for endpoint in shipped.endpoints_by_id.values():
        for version in endpoint.prices:
            at = version.effective_from or datetime(2020, 1, 1, tzinfo=UTC)
            for tier in version.size_tiers:
                short = resolve(endpoint, at=at, prompt_tokens=tier.min_prompt_tokens - 1)
                long = resolve(endpoint, at=at, prompt_tokens=tier.min_prompt_tokens)
                for rate in TOKEN_RATES:
                    before, after = getattr(short, rate), getattr(long, rate)
                    assert before is None or after >= before, (version.id, rate)


@pytest.mark.parametrize(("model", "maker"), WELL_KNOWN.items())
def test_a_well_known_model_is_offered_by_its_maker_and_others(
    shipped: Catalogue, model: str, maker: str
) -> None:
    providers = {endpoint.provider for endpoint in shipped.endpoints_of(model)}

    assert maker in providers
    assert len(providers) >= 2
    assert shipped.models_of_slug(model.partition("/")[2]) == (model,)


def test_an_offer_apart_is_a_model_apart(shipped: Catalogue) -> None:
    ids = {endpoint.provider_model for endpoint in shipped.endpoints_of("openai/gpt-4o")}

    assert not [name for name in ids if ":" in name or "2024" in name]
    assert shipped.endpoints_of("openai/gpt-4o:batch")
    assert shipped.models_of_slug("gpt-4o-2024-08-06") == ("openai/gpt-4o-2024-08-06",)


def test_the_makers_own_spelling_names_the_model_too(shipped: Catalogue) -> None:
    assert shipped.models_of_slug("claude-sonnet-4-5") == ("anthropic/claude-sonnet-4.5",)


def test_the_pool_of_auto_can_be_served_and_paid(shipped: Catalogue) -> None:
    pool = [model.id for model in shipped.models.values() if model.auto]

    assert 5 <= len(pool) <= 30
    for model in pool:
        assert any(
            resolve(endpoint, at=AT, prompt_tokens=1000) and endpoint.mode == "chat"
            for endpoint in shipped.endpoints_of(model)
        ), model


def test_the_sources_are_attributed() -> None:
    notice = TABLES.parent.joinpath("NOTICE").read_text()

    for name in ("Pydantic Services Inc.", "Berri AI", "models.dev", "Permission is hereby"):
        assert name in notice
