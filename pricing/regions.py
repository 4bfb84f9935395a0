"""Prices where a provider processes in one region only: what it asks on top is in them."""

from collections.abc import Iterable

import msgspec

from pricing.discount import discounted
from pricing.endpoint import Endpoint
from pricing.price import TOKEN_RATES, PriceVersion


def in_region(endpoint: Endpoint, region: str) -> Endpoint:
    """The endpoint at the prices of a region; itself where no price has a factor for it.

    Everything that asks for a price then sees the same one: caps, reservations, costs, corrections.
    """
    if not any(region in version.region_multiplier for version in endpoint.prices):
        return endpoint
    prices = tuple(_version_in(version, region) for version in endpoint.prices)
    return msgspec.structs.replace(endpoint, prices=prices)


def regions_of(endpoints: Iterable[Endpoint]) -> frozenset[str]:
    """The regions that some price has a factor for."""
    return frozenset(
        region
        for endpoint in endpoints
        for version in endpoint.prices
        for region in version.region_multiplier
    )


def _version_in(version: PriceVersion, region: str) -> PriceVersion:
    factor = version.region_multiplier.get(region)
    if factor is None:
        return version
    scaled = discounted(version, factor, f"{version.id}+{region}", rates=TOKEN_RATES)
    return msgspec.structs.replace(scaled, region_multiplier={})
