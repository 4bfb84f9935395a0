"""A price version at a factor: what is left of every amount under a negotiated discount."""

from collections.abc import Collection, Mapping
from decimal import Context, Decimal

import msgspec

from pricing.price import RATES, Change, Price, PriceVersion, ServiceTier, SizeTier, Window

_EXACT = Context(prec=60)


def discounted(
    version: PriceVersion, factor: Decimal, name: str, *, rates: Collection[str] = RATES
) -> PriceVersion:
    """The version with every amount of `rates` times `factor`, by default all; called `name`.

    Scales of its conditions stay as they are: they work on amounts that are discounted already.
    """
    return msgspec.structs.replace(
        version,
        id=name,
        base=_price(version.base, factor, name, rates),
        size_tiers=tuple(_size_tier(tier, factor, rates) for tier in version.size_tiers),
        windows=tuple(
            Window(
                minutes=window.minutes,
                weekdays=window.weekdays,
                change=_change(window.change, factor, rates),
            )
            for window in version.windows
        ),
        service_tiers={
            tier: ServiceTier(
                change=_change(service.change, factor, rates),
                size_tiers=tuple(_size_tier(size, factor, rates) for size in service.size_tiers),
            )
            for tier, service in version.service_tiers.items()
        },
    )


def _price(price: Price, factor: Decimal, version: str, rates: Collection[str]) -> Price:
    amounts = {name: getattr(price, name) for name in RATES}
    return msgspec.structs.replace(price, version=version, **_times(amounts, factor, rates))


def _size_tier(tier: SizeTier, factor: Decimal, rates: Collection[str]) -> SizeTier:
    return msgspec.structs.replace(tier, change=_change(tier.change, factor, rates))


def _change(change: Change, factor: Decimal, rates: Collection[str]) -> Change:
    return msgspec.structs.replace(change, rates=_times(change.rates, factor, rates))


def _times(
    amounts: Mapping[str, Decimal | None], factor: Decimal, rates: Collection[str]
) -> dict[str, Decimal]:
    return {
        name: _plain(_EXACT.multiply(amount, factor)) if name in rates else amount
        for name, amount in amounts.items()
        if amount is not None
    }


def _plain(amount: Decimal) -> Decimal:
    """Without closing zeros behind the point: a price of 0.250 has two decimals."""
    whole = amount.to_integral_value(context=_EXACT)
    return whole if whole == amount else amount.normalize(_EXACT)
