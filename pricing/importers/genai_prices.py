"""Reads genai-prices' data.json: USD per million tokens, by matching rules, with dated prices."""

import re
from collections.abc import Iterator
from datetime import UTC, date, datetime, time
from decimal import Decimal
from typing import Any, cast

from pricing.endpoint import Endpoint
from pricing.importers.listing import (
    ListedOffer,
    ListedTier,
    ListError,
    Listing,
    PriceList,
    count_of,
    table_of,
    text_of,
    usd_per_mtok,
)

ADDRESS = (
    "https://raw.githubusercontent.com/pydantic/genai-prices/main/prices/new_data/v2/data.json"
)
RATES = {
    "input_mtok": "input_usd_per_mtok",
    "output_mtok": "output_usd_per_mtok",
    "cache_read_mtok": "cache_read_usd_per_mtok",
    "cache_write_mtok": "cache_write_usd_per_mtok",
    "cache_write_1h_mtok": "cache_write_1h_usd_per_mtok",
    "input_audio_mtok": "audio_input_usd_per_mtok",
    "cache_audio_read_mtok": "audio_cache_read_usd_per_mtok",
    "output_audio_mtok": "audio_output_usd_per_mtok",
    "output_reasoning_mtok": "reasoning_usd_per_mtok",
}
PROVIDERS = {"amazon-bedrock": "aws"}
"""What they call a provider, by our name; others have the same."""
_PER_THOUSAND = {"web_searches_kcount": "web_search_usd", "requests_kcount": "request_usd"}
_THOUSAND_EXPONENT = -3


def read_genai_prices(document: object, at: datetime) -> PriceList:
    """The list of a document, with the prices of the instant `at`.

    Raises:
        ListError: it is not this list.
    """
    found = document
    if isinstance(document, dict):
        # Older and newer files wrap the list of providers.
        found = cast("dict[str, Any]", document).get("providers")
    if not isinstance(found, list):
        raise ListError("there is no list of providers; is this the right file?")
    providers: dict[str, list[dict[str, Any]]] = {}
    for item in cast("list[Any]", found):
        provider = table_of(item, "a provider")
        models = provider.get("models")
        if not isinstance(models, list):
            raise ListError(f"the provider {provider.get('id')!r} has no list `models`")
        providers[str(provider.get("id"))] = [
            table_of(model, "a model") for model in cast("list[Any]", models)
        ]

    def lookup(endpoint: Endpoint) -> Listing | None:
        theirs = PROVIDERS.get(endpoint.provider, endpoint.provider)
        models = providers.get(theirs, [])
        name = endpoint.provider_model
        exact = next((one for one in models if _is_exact(one, name)), None)
        model = exact or next((one for one in models if matches(one.get("match"), name)), None)
        if model is None:
            return None
        return _listing(f"{theirs}/{model.get('id')}", model, at, is_exact=exact is not None)

    def offers(provider: str) -> Iterator[ListedOffer]:
        theirs = PROVIDERS.get(provider, provider)
        for model in providers.get(theirs, []):
            found = _listing(f"{theirs}/{model.get('id')}", model, at, is_exact=True)
            if found is None or model.get("deprecated") is True:
                continue
            facts = {
                "name": text_of(model.get("name")),
                "context_tokens": count_of(model.get("context_window")),
            }
            for name in _exact_names(model):
                yield ListedOffer(id=name, listing=found, facts=facts)

    return PriceList(source=ADDRESS, lookup=lookup, offers=offers)


def matches(rule: object, name: str) -> bool:
    """Whether a matching rule of theirs is about the model called `name`."""
    table = cast("dict[str, Any]", rule) if isinstance(rule, dict) else {}
    lowered = name.lower()
    for kind, value in table.items():
        match kind, value:
            case "or", [*clauses]:
                return any(matches(clause, name) for clause in cast("list[object]", clauses))
            case "and", [*clauses]:
                return all(matches(clause, name) for clause in cast("list[object]", clauses))
            case "equals", str():
                return lowered == value.lower()
            case "starts_with", str():
                return lowered.startswith(value.lower())
            case "ends_with", str():
                return lowered.endswith(value.lower())
            case "contains", str():
                return value.lower() in lowered
            case "regex", str():
                return _searches(value, name)
            case _:
                pass
    return False


def _searches(pattern: str, name: str) -> bool:
    try:
        return re.search(pattern, name[:200], re.IGNORECASE) is not None
    except re.error:
        return False


def _is_exact(model: dict[str, Any], name: str) -> bool:
    return model.get("id") == name or name in _exact_names(model)


def _exact_names(model: dict[str, Any]) -> list[str]:
    """The names that a model is matched by, letter by letter."""
    rule = table_of(model.get("match") or {}, "match")
    clauses = rule.get("or", [rule])
    named = [
        cast("dict[str, Any]", clause).get("equals")
        for clause in (cast("list[object]", clauses) if isinstance(clauses, list) else [])
        if isinstance(clause, dict)
    ]
    return [name for name in named if isinstance(name, str) and name]


def _listing(name: str, model: dict[str, Any], at: datetime, *, is_exact: bool) -> Listing | None:
    prices = _in_force(model.get("prices"), at)
    if prices is None:
        return None
    rates, tiers = _rates(prices)
    if not rates:
        return None
    return Listing(
        name=name,
        rates=rates,
        size_tiers=tuple(
            ListedTier(min_prompt_tokens=size, rates=tiers[size]) for size in sorted(tiers)
        ),
        service_tiers=_service_tiers(model.get("price_variants"), at),
        is_exact=is_exact,
        url="https://github.com/pydantic/genai-prices",
    )


def _service_tiers(variants: object, at: datetime) -> dict[str, dict[str, Decimal]]:
    """The base rates of each variant that is a service tier of ours; later ones win."""
    found: dict[str, dict[str, Decimal]] = {}
    for item in cast("list[Any]", variants) if isinstance(variants, list) else []:
        variant = table_of(item, "a variant")
        when, constraint = variant.get("when"), variant.get("constraint")
        tier = _tier_of(when)
        if tier is None or (
            constraint is not None and not _holds(table_of(constraint, "constraint"), at)
        ):
            continue
        rates, _ = _rates(table_of(variant.get("prices") or {}, "prices"))
        if rates:
            found[tier] = found.get(tier, {}) | rates
    return found


def _tier_of(when: object) -> str | None:
    if not isinstance(when, dict):
        return None
    pairs = list(cast("dict[str, Any]", when).items())
    if len(pairs) != 1:
        return None
    kind, value = pairs[0]
    if kind in {"service_tier", "speed"}:
        return value if value in ("flex", "priority", "fast") else None
    return "batch" if (kind, value) == ("processing", "batch") else None


def _in_force(prices: object, at: datetime) -> dict[str, Any] | None:
    """The last set whose constraint holds; one that holds at some hours of the day never does."""
    if isinstance(prices, dict):
        return cast("dict[str, Any]", prices)
    chosen: dict[str, Any] | None = None
    for item in cast("list[Any]", prices) if isinstance(prices, list) else []:
        entry = table_of(item, "a dated price")
        constraint = entry.get("constraint")
        if constraint is None or _holds(table_of(constraint, "constraint"), at):
            chosen = table_of(entry.get("prices"), "prices")
    return chosen


def _holds(constraint: dict[str, Any], at: datetime) -> bool:
    begins = constraint.get("start_date")
    if not isinstance(begins, str):
        return False
    try:
        day = date.fromisoformat(begins)
    except ValueError as exc:
        raise ListError(f"`start_date` is {begins!r}, not a date") from exc
    return datetime.combine(day, time(), UTC) <= at


def _rates(prices: dict[str, Any]) -> tuple[dict[str, Decimal], dict[int, dict[str, Decimal]]]:
    rates: dict[str, Decimal] = {}
    tiers: dict[int, dict[str, Decimal]] = {}
    for theirs, ours in RATES.items():
        value = prices.get(theirs)
        base = cast("dict[str, Any]", value).get("base") if isinstance(value, dict) else value
        amount = usd_per_mtok(base)
        if amount is None:
            continue
        rates[ours] = amount
        listed = cast("dict[str, Any]", value).get("tiers") if isinstance(value, dict) else None
        for tier in cast("list[Any]", listed or []):
            table = table_of(tier, "a tier")
            start, dearer = table.get("start"), usd_per_mtok(table.get("price"))
            if isinstance(start, int) and dearer is not None:
                tiers.setdefault(start + 1, {})[ours] = dearer
    for theirs, ours in _PER_THOUSAND.items():
        fee = usd_per_mtok(prices.get(theirs))
        if fee is not None:
            rates[ours] = fee.scaleb(_THOUSAND_EXPONENT)
    return rates, tiers
