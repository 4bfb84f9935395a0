"""Our costs against those of genai-prices: 500 alike, but for differences that were reviewed."""

import random
import tomllib
from datetime import UTC, datetime
from decimal import Decimal
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

import msgspec
import pytest
from genai_prices import Usage as TheirUsage
from genai_prices import calc_price

from pricing.catalogue import Catalogue, Endpoint
from pricing.cost import compute_cost
from pricing.importers.genai_prices import PROVIDERS
from pricing.price import resolve
from pricing.usage import Usage

SAMPLES = 500
SEED = 20261121
AT = datetime(2026, 11, 18, 9, 30, tzinfo=UTC)
ROUNDING = Decimal("0.000000000001")
COMPARED = (
    "amazon-bedrock", "anthropic", "azure", "baseten", "cerebras", "cloudflare", "cohere",
    "databricks", "deepseek", "fireworks", "google", "groq", "meta", "minimax", "mistral",
    "moonshotai", "novita", "openai", "openrouter", "perplexity", "together", "x-ai", "zai",
)  # fmt: skip


class Sample(msgspec.Struct, frozen=True, kw_only=True):
    """One cost by both."""

    endpoint: str
    usage: Usage
    ours: Decimal | None
    theirs: Decimal

    @property
    def is_alike(self) -> bool:
        return self.ours is not None and abs(self.ours - self.theirs) <= ROUNDING


def known_differences() -> list[str]:
    text = Path(__file__).with_name("known_differences.toml").read_text("utf-8")
    found: list[dict[str, Any]] = tomllib.loads(text)["differences"]
    assert all(len(group["reason"]) > 20 for group in found)
    return [pattern for group in found for pattern in group["endpoints"]]


def draw(chance: random.Random) -> Usage:
    return Usage(
        input_tokens=chance.randrange(1, 300_000),
        cache_read_tokens=chance.choice((0, 0, chance.randrange(1, 50_000))),
        output_tokens=chance.randrange(1, 20_000),
        requests=1,
    )


def compared(endpoint: Endpoint, usage: Usage) -> Sample | None:
    """None where they do not know the offer, or ours names no rate that the usage needs."""
    price = resolve(endpoint, at=AT, prompt_tokens=usage.prompt_tokens)
    if price is None or (usage.cache_read_tokens and price.cache_read_usd_per_mtok is None):
        return None
    try:
        theirs = calc_price(
            TheirUsage(
                input_tokens=usage.prompt_tokens,
                cache_read_tokens=usage.cache_read_tokens,
                output_tokens=usage.output_tokens,
            ),
            endpoint.provider_model,
            provider_id=PROVIDERS.get(endpoint.provider, endpoint.provider),
            genai_request_timestamp=AT,
        )
    except LookupError:
        return None
    ours = compute_cost(usage, price).total_usd
    return Sample(endpoint=endpoint.id, usage=usage, ours=ours, theirs=theirs.total_price)


@pytest.fixture(scope="module")
def samples(shipped: Catalogue) -> list[Sample]:
    chance = random.Random(SEED)
    pool = sorted(
        endpoint.id
        for endpoint in shipped.endpoints_by_id.values()
        if endpoint.provider in COMPARED and endpoint.mode == "chat" and endpoint.prices
    )
    found: list[Sample] = []
    while len(found) < SAMPLES:
        sample = compared(shipped.endpoints_by_id[chance.choice(pool)], draw(chance))
        if sample is not None:
            found.append(sample)
    return found


def is_known(endpoint: str, patterns: list[str]) -> bool:
    return any(fnmatchcase(endpoint, pattern) for pattern in patterns)


def test_five_hundred_costs_agree_or_their_difference_was_reviewed(samples: list[Sample]) -> None:
    patterns = known_differences()

    unknown = [
        f"{one.endpoint}: ours {one.ours}, theirs {one.theirs} for {one.usage}"
        for one in samples
        if not one.is_alike and not is_known(one.endpoint, patterns)
    ]

    assert unknown == []


def test_most_of_the_samples_agree_to_the_last_decimal(samples: list[Sample]) -> None:
    alike = sum(one.is_alike for one in samples)

    assert alike >= SAMPLES * 95 // 100
    assert len({one.endpoint for one in samples}) > 300


def test_every_reviewed_difference_is_about_an_endpoint_that_is_shipped(shipped: Catalogue) -> None:
    idle = [
        pattern
        for pattern in known_differences()
        if not any(fnmatchcase(endpoint, pattern) for endpoint in shipped.endpoints_by_id)
    ]

    assert idle == []
