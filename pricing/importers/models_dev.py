"""Reads models.dev's list: https://models.dev/api.json, USD per million tokens as JSON numbers."""

from collections.abc import Iterable, Iterator
from datetime import datetime
from typing import Any, cast

from pricing.endpoint import Endpoint
from pricing.importers.listing import (
    ListedOffer,
    ListedTier,
    Listing,
    PriceList,
    at_most,
    count_of,
    first_token_beyond,
    rates_from,
    table_of,
    text_of,
    texts_of,
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
CAPABILITIES = {
    "tool_call": "tools",
    "structured_output": "structured_outputs",
    "reasoning": "reasoning",
    "temperature": "temperature",
}
_LONG = 200_000


def read_models_dev(document: object, _at: datetime) -> PriceList:
    """The list of a document; it knows no dates: what it says holds now.

    Raises:
        ListError: it is not this list.
    """
    providers = table_of(document, "the document")

    def models_of(provider: str) -> tuple[str, dict[str, Any]]:
        theirs = PROVIDERS.get(provider, provider)
        if theirs not in providers:
            return theirs, {}
        table = table_of(providers[theirs], theirs)
        return theirs, table_of(table.get("models", {}), f"{theirs}.models")

    def lookup(endpoint: Endpoint) -> Listing | None:
        theirs, models = models_of(endpoint.provider)
        name = endpoint.provider_model
        return _listing(
            f"{theirs}/{name}", models.get(name), endpoint.provider, endpoint.modalities_out
        )

    def offers(provider: str) -> Iterator[ListedOffer]:
        theirs, models = models_of(provider)
        for name, model in models.items():
            if not isinstance(model, dict):
                continue
            table = cast("dict[str, Any]", model)
            facts = _facts(table)
            if facts["modalities_out"] != ["text"] or facts.pop("status") == "deprecated":
                continue
            found = _listing(f"{theirs}/{name}", table, provider, ("text",))
            if found is not None:
                yield ListedOffer(id=name, listing=found, facts=facts)

    return PriceList(source=ADDRESS, lookup=lookup, offers=offers)


def _listing(
    name: str, model: object, provider: str, modalities_out: Iterable[str]
) -> Listing | None:
    cost = cast("dict[str, Any]", model).get("cost") if isinstance(model, dict) else None
    if not isinstance(cost, dict):
        return None
    amounts = cast("dict[str, Any]", cost)
    rates = rates_from(amounts, RATES)
    if "image" in modalities_out:
        # They write the price of image tokens as that of output.
        rates.pop("output_usd_per_mtok", None)
    if not rates:
        return None
    return Listing(
        name=name, rates=rates, size_tiers=_tiers(amounts, provider), url=f"{ADDRESS}#{name}"
    )


def _facts(model: dict[str, Any]) -> dict[str, Any]:
    """What they say of a model beside its price, in our words."""
    limit, modalities = model.get("limit"), model.get("modalities")
    limits = cast("dict[str, Any]", limit) if isinstance(limit, dict) else {}
    kinds = cast("dict[str, Any]", modalities) if isinstance(modalities, dict) else {}
    capabilities = {
        ours: model[theirs]
        for theirs, ours in CAPABILITIES.items()
        if isinstance(model.get(theirs), bool)
    }
    context = count_of(limits.get("context"))
    return {
        "name": text_of(model.get("name")),
        "context_tokens": context,
        "max_output_tokens": at_most(count_of(limits.get("output")), context),
        "modalities_in": texts_of(kinds.get("input")) or ["text"],
        "modalities_out": texts_of(kinds.get("output")) or ["text"],
        "capabilities": capabilities or None,
        "status": text_of(model.get("status")),
    }


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
