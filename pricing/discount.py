"""A price version at a factor: what is left of every amount under a negotiated discount."""

from collections.abc import Mapping
from decimal import Context, Decimal

import msgspec

from pricing.price import RATES, Change, Price, PriceVersion, ServiceTier, SizeTier, Window

_EXACT = Context(prec=60)


def discounted(version: PriceVersion, factor: Decimal, name: str) -> PriceVersion:
    """The version with every amount times `factor`, fees by the piece included; called `name`.

    Scales of its conditions stay as they are: they work on amounts that are discounted already.
    """
    return msgspec.structs.replace(
        version,
        id=name,
        base=_price(version.base, factor, name),
        size_tiers=tuple(_size_tier(tier, factor) for tier in version.size_tiers),
        windows=tuple(
            Window(
                minutes=window.minutes,
                weekdays=window.weekdays,
                change=_change(window.change, factor),
            )
            for window in version.windows
        ),
        service_tiers={
            tier: ServiceTier(
                change=_change(service.change, factor),
                size_tiers=tuple(_size_tier(size, factor) for size in service.size_tiers),
            )
            for tier, service in version.service_tiers.items()
        },
    )


def _price(price: Price, factor: Decimal, version: str) -> Price:
    rates = {name: getattr(price, name) for name in RATES}
    return msgspec.structs.replace(price, version=version, **_times(rates, factor))


def _size_tier(tier: SizeTier, factor: Decimal) -> SizeTier:
    return msgspec.structs.replace(tier, change=_change(tier.change, factor))


def _change(change: Change, factor: Decimal) -> Change:
    return msgspec.structs.replace(change, rates=_times(change.rates, factor))


def _times(rates: Mapping[str, Decimal | None], factor: Decimal) -> dict[str, Decimal]:
    return {
        name: _plain(_EXACT.multiply(amount, factor))
        for name, amount in rates.items()
        if amount is not None
    }


def _plain(amount: Decimal) -> Decimal:
    """Without closing zeros behind the point: a price of 0.250 has two decimals."""
    whole = amount.to_integral_value(context=_EXACT)
    return whole if whole == amount else amount.normalize(_EXACT)
