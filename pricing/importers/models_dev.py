"""Reads models.dev's list: https://models.dev/api.json, USD per million tokens as JSON numbers."""

from datetime import datetime
from typing import Any, cast

from pricing.endpoint import Endpoint
from pricing.importers.listing import (
    ListedTier,
    Listing,
    Lookup,
    first_token_beyond,
    rates_from,
    table_of,
)

ADDRESS = "https://models.dev/api.json"
RATES = {
    "input": "input_usd_per_mtok",
    "output": "output_usd_per_mtok",
    "cache_read": "cache_read_usd_per_mtok",
    "cache_write": "cache_write_usd_per_mtok",
    "reasoning": "reasoning_usd_per_mtok",
    "input_audio": "audio_input_usd_per_mtok",
    "output_audio": "audio_output_usd_per_mtok",
}
PROVIDERS = {
    "cloudflare": "cloudflare-workers-ai",
    "fireworks": "fireworks-ai",
    "meta": "llama",
    "novita": "novita-ai",
    "together": "togetherai",
    "x-ai": "xai",
}
"""What they call a provider, by our name; others have the same."""
_LONG = 200_000


def read_models_dev(document: object, _at: datetime) -> Lookup:
    """The list of a document; it knows no dates: what it says holds now.

    Raises:
        ListError: it is not this list.
    """
    providers = table_of(document, "the document")

    def lookup(endpoint: Endpoint) -> Listing | None:
        theirs = PROVIDERS.get(endpoint.provider, endpoint.provider)
        if theirs not in providers:
            return None
        provider = table_of(providers[theirs], theirs)
        models = table_of(provider.get("models", {}), f"{theirs}.models")
        model = models.get(endpoint.provider_model)
        if not isinstance(model, dict):
            return None
        cost = cast("dict[str, Any]", model).get("cost")
        if not isinstance(cost, dict):
            return None
        return _listing(
            f"{theirs}/{endpoint.provider_model}", cast("dict[str, Any]", cost), endpoint
        )

    return lookup


def _listing(name: str, cost: dict[str, Any], endpoint: Endpoint) -> Listing | None:
    rates = rates_from(cost, RATES)
    if "image" in endpoint.modalities_out:
        # They write the price of image tokens as that of output.
        rates.pop("output_usd_per_mtok", None)
    if not rates:
        return None
    return Listing(
        name=name, rates=rates, size_tiers=_tiers(cost, endpoint.provider), url=f"{ADDRESS}#{name}"
    )


def _tiers(cost: dict[str, Any], provider: str) -> tuple[ListedTier, ...]:
    found: dict[int, dict[str, Any]] = {}
    long = cost.get("context_over_200k")
    if isinstance(long, dict):
        found[_LONG] = cast("dict[str, Any]", long)
    tiers = cost.get("tiers")
    for tier in cast("list[Any]", tiers) if isinstance(tiers, list) else []:
        table = cast("dict[str, Any]", tier) if isinstance(tier, dict) else {}
        of = table.get("tier")
        size = cast("dict[str, Any]", of).get("size") if isinstance(of, dict) else None
        if isinstance(size, int):
            found[size] = table
    return tuple(
        ListedTier(
            min_prompt_tokens=first_token_beyond(size, provider), rates=rates_from(table, RATES)
        )
        for size, table in sorted(found.items())
    )
