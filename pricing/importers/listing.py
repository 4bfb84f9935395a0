"""What a public price list says of one endpoint, in our own words and units."""

from collections.abc import Callable, Iterable, Mapping
from datetime import datetime
from decimal import Decimal
from typing import Any, TypeAlias, cast

import msgspec

from pricing.endpoint import Endpoint

_SMALLEST = Decimal("0.000000000001")
_MILLION_EXPONENT = 6


class ListedTier(msgspec.Struct, frozen=True, kw_only=True):
    """Rates of the whole request for prompts of at least so many tokens (inclusive)."""

    min_prompt_tokens: int
    rates: dict[str, Decimal]


class Listing(msgspec.Struct, frozen=True, kw_only=True):
    """One offer of a price list, at one instant. Rates have the names of `Price`.

    `name` is what the list calls the offer. `is_exact` False: it was found by a pattern, and may be
    about another model.
    """

    name: str
    rates: dict[str, Decimal]
    size_tiers: tuple[ListedTier, ...] = ()
    service_tiers: dict[str, dict[str, Decimal]] = {}
    """Rates by the service tier, called as in our tables: ``flex``, ``priority``, ``batch``…"""
    is_exact: bool = True
    url: str | None = None


class ListedOffer(msgspec.Struct, frozen=True, kw_only=True):
    """A chat model that a list has of a provider."""

    id: str
    """The provider's own name."""
    listing: Listing
    facts: dict[str, Any] = {}
    """What else it says, as an endpoint of the tables says it; None is unknown."""


Lookup: TypeAlias = Callable[[Endpoint], Listing | None]
"""What a list that was read says of an endpoint; None when it says nothing."""


class PriceList(msgspec.Struct, frozen=True, kw_only=True):
    """A list that was read."""

    source: str
    """Where it stands."""
    lookup: Lookup
    offers: Callable[[str], Iterable[ListedOffer]]
    """All that it has of one of our providers."""


Reader: TypeAlias = Callable[[object, datetime], PriceList]
"""Reads the document of a list; prices are those of the instant. Raises `ListError`."""


class ListError(ValueError):
    """A document that is not the list it should be; says what is missing."""


def table_of(value: object, what: str) -> dict[str, Any]:
    """An object of the document.

    Raises:
        ListError: it is something else.
    """
    if not isinstance(value, dict):
        raise ListError(f"{what} is not an object; is this the right file?")
    return cast("dict[str, Any]", value)


def usd_per_mtok(value: object, *, is_per_token: bool = False) -> Decimal | None:
    """An amount, without the noise of binary fractions; None when it is none.

    Lists are read with `parse_float=Decimal`; a price list's own floats end in digits that nobody
    meant, so that what lies beyond twelve decimals is rounded.
    """
    if isinstance(value, bool) or not isinstance(value, int | Decimal | str):
        return None
    try:
        amount = Decimal(value)
        if not amount.is_finite() or amount < 0:
            return None
        if is_per_token:
            amount = amount.scaleb(_MILLION_EXPONENT)
        rounded = amount.quantize(_SMALLEST).normalize()
    except ArithmeticError:
        return None
    # 1E+1 would be written with an exponent.
    return Decimal(f"{rounded:f}")


def rates_from(
    table: Mapping[str, object], names: Mapping[str, str], *, is_per_token: bool = False
) -> dict[str, Decimal]:
    """Our rates by the list's names; what is not an amount is left out."""
    rates: dict[str, Decimal] = {}
    for theirs, ours in names.items():
        amount = usd_per_mtok(table.get(theirs), is_per_token=is_per_token)
        if amount is not None:
            rates[ours] = amount
    return rates


def first_token_beyond(size: int, provider: str) -> int:
    """Where a tier begins that lists write as "above N": xAI alone bills from N itself on."""
    return size if provider == "x-ai" else size + 1


def count_of(value: object) -> int | None:
    """A number of tokens; None when it is none."""
    return value if isinstance(value, int) and not isinstance(value, bool) and value > 0 else None


def at_most(count: int | None, limit: int | None) -> int | None:
    """A limit that contradicts a larger one is not believed."""
    return None if count is not None and limit is not None and count > limit else count


def text_of(value: object) -> str | None:
    """A text that says something."""
    return value if isinstance(value, str) and value else None


def texts_of(value: object) -> list[str]:
    """Those of a list that are texts."""
    if not isinstance(value, list):
        return []
    return [item for item in cast("list[object]", value) if isinstance(item, str) and item]
