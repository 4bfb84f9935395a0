"""The catalogues that commands about money work with."""

import msgspec

from gateway.settings.offer import Offer, make_offer
from gateway.settings.values import Settings
from pricing.catalogue import Catalogue, load_catalogue

_NOWHERE = "http://127.0.0.1:9"


def offered_tables(settings: Settings) -> Catalogue:
    """What is offered here, without the operator's changes: what these are laid over."""
    return offered(settings).catalogue


def offered(settings: Settings) -> Offer:
    """Who serves here, and what."""
    offer = make_offer(settings, None)
    # Where nothing is enabled the simulated providers serve.
    return offer if offer.providers else make_offer(settings, _NOWHERE)


def every_table(settings: Settings) -> Catalogue:
    """All shipped endpoints and those of the configuration: also of providers that served once."""
    # Simulated providers may serve beside real ones.
    offer = make_offer(settings, _NOWHERE)
    every = load_catalogue(cache=settings.data_dir / "catalogue.cache").with_endpoints(
        [provider.provider for provider in offer.providers],
        offer.catalogue.endpoints_by_id.values(),
    )
    return msgspec.structs.replace(every, complete=offer.catalogue.complete)
