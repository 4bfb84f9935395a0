"""Reads LiteLLM's map, model_prices_and_context_window.json: USD per token, prices in key names."""

import re
from collections.abc import Iterable, Iterator
from datetime import datetime
from decimal import Decimal
from typing import Any, cast

from pricing.endpoint import Endpoint
from pricing.importers.listing import (
    ListedOffer,
    ListedTier,
    ListError,
    Listing,
    PriceList,
    at_most,
    count_of,
    first_token_beyond,
    rates_from,
    table_of,
    usd_per_mtok,
)

ADDRESS = (
    "https://raw.githubusercontent.com/BerriAI/litellm/main/model_prices_and_context_window.json"
)
RATES = {
    "input_cost_per_token": "input_usd_per_mtok",
    "output_cost_per_token": "output_usd_per_mtok",
    "cache_read_input_token_cost": "cache_read_usd_per_mtok",
    "cache_creation_input_token_cost": "cache_write_usd_per_mtok",
    "cache_creation_input_token_cost_above_1hr": "cache_write_1h_usd_per_mtok",
    "output_cost_per_reasoning_token": "reasoning_usd_per_mtok",
    "input_cost_per_audio_token": "audio_input_usd_per_mtok",
    "output_cost_per_audio_token": "audio_output_usd_per_mtok",
}
PROVIDERS = {
    "alibaba": ("dashscope",),
    "amazon-bedrock": ("bedrock_converse", "bedrock"),
    "azure": ("azure", "azure_ai"),
    "cohere": ("cohere_chat", "cohere"),
    "fireworks": ("fireworks_ai",),
    "friendli": ("friendliai",),
    "google": ("gemini",),
    "google-vertex": ("vertex_ai",),
    "meta": ("meta_llama",),
    "moonshotai": ("moonshot",),
    "nvidia": ("nvidia_nim",),
    "together": ("together_ai",),
    "vercel": ("vercel_ai_gateway",),
    "voyageai": ("voyage",),
    "x-ai": ("xai",),
}
"""Their tags of a provider, by our name; others have the same."""
CAPABILITIES = {
    "supports_function_calling": "tools",
    "supports_response_schema": "structured_outputs",
    "supports_reasoning": "reasoning",
    "supports_vision": "vision",
    "supports_prompt_caching": "prompt_caching",
    "supports_pdf_input": "pdf_input",
}
SERVICE_TIERS = {"flex": "flex", "priority": "priority", "batches": "batch"}
"""What they write behind a rate, and what we call the tier."""
_ABOVE = re.compile(r"_above_(\d+)k_tokens$")
_SAMPLE = "sample_spec"


def read_litellm(document: object, _at: datetime) -> PriceList:
    """The list of a document; it knows no dates: what it says holds now.

    Raises:
        ListError: it is not this list.
    """
    entries = table_of(document, "the document")
    if not any(
        isinstance(entry, dict) and "litellm_provider" in entry for entry in entries.values()
    ):
        raise ListError("no entry names its `litellm_provider`; is this the right file?")

    def lookup(endpoint: Endpoint) -> Listing | None:
        for name in _names(endpoint):
            entry = entries.get(name)
            if name != _SAMPLE and isinstance(entry, dict):
                table = cast("dict[str, Any]", entry)
                if _is_of(endpoint.provider, table.get("litellm_provider")):
                    return _listing(name, table, endpoint.provider)
        return None

    def offers(provider: str) -> Iterator[ListedOffer]:
        for name, entry in entries.items():
            if name == _SAMPLE or not isinstance(entry, dict):
                continue
            table = cast("dict[str, Any]", entry)
            is_chat = table.get("mode") in ("chat", "responses")
            if not is_chat or not _is_of(provider, table.get("litellm_provider")):
                continue
            found = _listing(name, table, provider)
            if found is not None:
                yield ListedOffer(id=_their_id(name, provider), listing=found, facts=_facts(table))

    return PriceList(source=ADDRESS, lookup=lookup, offers=offers)


def _their_id(name: str, provider: str) -> str:
    """The provider's own name, without a tag before it."""
    for tag in _tags(provider):
        if name.startswith(f"{tag}/"):
            return name.removeprefix(f"{tag}/")
    return name


def _facts(entry: dict[str, Any]) -> dict[str, Any]:
    """What they say of a model beside its price, in our words; false often means unknown there."""
    capabilities = {
        ours: True for theirs, ours in CAPABILITIES.items() if entry.get(theirs) is True
    }
    context = count_of(entry.get("max_input_tokens"))
    return {
        "mode": entry["mode"],
        "context_tokens": context,
        "max_output_tokens": at_most(count_of(entry.get("max_output_tokens")), context),
        "modalities_in": ["text", "image"] if capabilities.get("vision") else None,
        "capabilities": capabilities or None,
    }


def _tags(provider: str) -> tuple[str, ...]:
    return PROVIDERS.get(provider, (provider,))


def _names(endpoint: Endpoint) -> Iterable[str]:
    """Their names of an endpoint: with a tag before it, or alone."""
    yield from (f"{tag}/{endpoint.provider_model}" for tag in _tags(endpoint.provider))
    yield endpoint.provider_model


def _is_of(provider: str, tag: object) -> bool:
    # vertex_ai-language-models and the like are of vertex_ai.
    return isinstance(tag, str) and tag.partition("-")[0] in {
        known.partition("-")[0] for known in _tags(provider)
    }


def _listing(name: str, entry: dict[str, Any], provider: str) -> Listing | None:
    rates = rates_from(entry, RATES, is_per_token=True)
    rates |= _searches(entry)
    if not rates:
        return None
    source = entry.get("source")
    return Listing(
        name=name,
        rates=rates,
        size_tiers=_tiers(entry, provider),
        service_tiers=_service_tiers(entry),
        url=source if isinstance(source, str) else None,
    )


def _searches(entry: dict[str, Any]) -> dict[str, Decimal]:
    """The fee of a search, where it does not depend on how much the search reads."""
    costs = entry.get("search_context_cost_per_query")
    if not isinstance(costs, dict):
        return {}
    amounts = {usd_per_mtok(cost) for cost in cast("dict[str, Any]", costs).values()}
    fee = amounts.pop() if len(amounts) == 1 else None
    return {} if fee is None else {"web_search_usd": fee}


def _service_tiers(entry: dict[str, Any]) -> dict[str, dict[str, Decimal]]:
    """Rates with the tier behind their name; those of long prompts in a tier are passed over."""
    found: dict[str, dict[str, Decimal]] = {}
    for suffix, tier in SERVICE_TIERS.items():
        named = {f"{theirs}_{suffix}": ours for theirs, ours in RATES.items()}
        rates = rates_from(entry, named, is_per_token=True)
        if rates:
            found[tier] = rates
    return found


def _tiers(entry: dict[str, Any], provider: str) -> tuple[ListedTier, ...]:
    found: dict[int, dict[str, Any]] = {}
    for key, value in entry.items():
        above = _ABOVE.search(key)
        if above is not None and key[: above.start()] in RATES:
            found.setdefault(int(above[1]) * 1000, {})[key[: above.start()]] = value
    return tuple(
        ListedTier(
            min_prompt_tokens=first_token_beyond(size, provider),
            rates=rates_from(table, RATES, is_per_token=True),
        )
        for size, table in sorted(found.items())
    )
