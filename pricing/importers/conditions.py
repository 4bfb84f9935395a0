"""Where a price list differs under a condition: for long prompts, and in service tiers."""

from collections.abc import Iterator
from decimal import Decimal
from typing import Any

from pricing.importers.listing import Listing
from pricing.price import TOKEN_RATES, Change, PriceVersion
from pricing.terms import terms_of

LONGER, SERVED = ">=", "@"
"""Between the name of a rate and what it depends on: a size, a service tier."""


def is_conditional(rate: str) -> bool:
    """Whether a difference is about a condition and not about the base price."""
    return LONGER in rate or SERVED in rate


def differing(
    held: PriceVersion | None, listing: Listing
) -> Iterator[tuple[str, Decimal | None, Decimal]]:
    """What a list has otherwise under a condition: the rate, what holds here, what it says.

    A zero says nothing: lists write it for "no charge" and for "unknown".
    """
    sizes = {tier.min_prompt_tokens: tier.change for tier in held.size_tiers} if held else {}
    for tier in listing.size_tiers:
        known = sizes.get(tier.min_prompt_tokens)
        for name, amount in tier.rates.items():
            before = None if known is None or held is None else _under(known, held, name)
            if amount and before != amount:
                yield f"{name}{LONGER}{tier.min_prompt_tokens}", before, amount
    services = {name: tier.change for name, tier in held.service_tiers.items()} if held else {}
    for service, rates in listing.service_tiers.items():
        known = services.get(service)
        for name, amount in rates.items():
            before = None
            if known is not None and held is not None:
                before = _under(known, held, name)
                # What a service tier leaves out costs the standard price.
                before = getattr(held.base, name) if before is None else before
            elif amount == listing.rates.get(name):
                continue
            if amount and before != amount:
                yield f"{name}{SERVED}{service}", before, amount


def _under(change: Change, held: PriceVersion, name: str) -> Decimal | None:
    base: Decimal | None = getattr(held.base, name)
    if base is not None and change.scale is not None and name not in change.unscaled:
        return base * change.scale
    return change.rates.get(name)


def terms_with(
    held: PriceVersion | None, rates: dict[str, str], listing: Listing
) -> dict[str, Any]:
    """The terms that hold, with the list's rates and its prices under conditions.

    A size tier names every rate that the base names, as our tables want it: what the list leaves
    out costs as much as in the base.
    """
    terms: dict[str, Any] = {**(terms_of(held) if held is not None else {}), **rates}
    if listing.size_tiers:
        terms["size_tiers"] = _sizes(terms, listing)
    if listing.service_tiers:
        terms["service_tiers"] = _services(terms, listing)
    return terms


def _sizes(terms: dict[str, Any], listing: Listing) -> list[dict[str, Any]]:
    named = [name for name in TOKEN_RATES if name in terms]
    kept: dict[int, dict[str, Any]] = {
        tier["min_prompt_tokens"]: tier for tier in terms.get("size_tiers", [])
    }
    for tier in listing.size_tiers:
        base = {name: terms[name] for name in named}
        listed = {name: f"{amount:f}" for name, amount in tier.rates.items() if name in named}
        kept[tier.min_prompt_tokens] = {
            "min_prompt_tokens": tier.min_prompt_tokens,
            **base,
            **{k: v for k, v in kept.get(tier.min_prompt_tokens, {}).items() if k in named},
            **listed,
        }
    return [kept[size] for size in sorted(kept)]


def _services(terms: dict[str, Any], listing: Listing) -> dict[str, Any]:
    """A factor gives way to the rates themselves; prices of long prompts in a tier are kept."""
    kept: dict[str, dict[str, Any]] = dict(terms.get("service_tiers", {}))
    for service, rates in listing.service_tiers.items():
        before = {k: v for k, v in kept.get(service, {}).items() if k not in {"scale", "unscaled"}}
        listed = {name: f"{amount:f}" for name, amount in rates.items() if amount}
        if listed:
            kept[service] = before | listed
    return kept
