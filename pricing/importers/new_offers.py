"""Offers of a price list that nobody has here: proposed as endpoints, for somebody to look at."""

from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import Any

import msgspec

from pricing.catalogue import Catalogue
from pricing.importers.conditions import terms_with
from pricing.importers.listing import ListedOffer, PriceList

_MAIN = ("input_usd_per_mtok", "output_usd_per_mtok")


class NewOffer(msgspec.Struct, frozen=True, kw_only=True):
    """An endpoint that a list has and the catalogue has not."""

    target: str
    offer: ListedOffer
    model: str | None
    """The canonical model it is probably an offer of; None: it is reached by its provider alone."""
    table: dict[str, Any]
    """As the tables write an endpoint; amounts are texts."""


def new_offers(
    catalogue: Catalogue, found: PriceList, *, at: datetime, providers: Iterable[str]
) -> Sequence[NewOffer]:
    """What a list has of the providers beside what is known; only what can be paid by the token.

    Offers without a price, or at no price at all, are passed over: who gives what away is for
    people to say.
    """
    new: list[NewOffer] = []
    for provider in sorted(set(providers)):
        for offer in found.offers(provider):
            target = f"{provider}/{offer.id}"
            rates = offer.listing.rates
            if target in catalogue.endpoints_by_id or not all(rates.get(name) for name in _MAIN):
                continue
            model = _model_of(offer.id, catalogue)
            new.append(
                NewOffer(
                    target=target,
                    offer=offer,
                    model=model,
                    table=_table(offer, model, found.source, at),
                )
            )
    return new


def _model_of(their_id: str, catalogue: Catalogue) -> str | None:
    if their_id in catalogue.endpoints_by_model:
        return their_id
    named = catalogue.models_of_slug(their_id.rpartition("/")[2])
    return named[0] if len(named) == 1 else None


def _table(offer: ListedOffer, model: str | None, source: str, at: datetime) -> dict[str, Any]:
    listing = offer.listing
    rates = {name: f"{amount:f}" for name, amount in listing.rates.items()}
    told = {"model": model, **offer.facts}
    return {
        **{key: value for key, value in told.items() if value is not None},
        **terms_with(None, rates, listing),
        "source": listing.url or source,
        "checked": at.date().isoformat(),
    }
