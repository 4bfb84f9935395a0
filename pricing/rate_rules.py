"""Rules on the amounts of a price: units, zeros, caches, sources. Each of them caught real data."""

from collections.abc import Iterator
from decimal import Decimal

from pricing.endpoint import Endpoint
from pricing.errors import CatalogueError
from pricing.price import RATES, TOKEN_RATES, Change, Price, PriceVersion

MAX_DECIMALS = 12
MAX_INPUT_USD_PER_MTOK = Decimal(200)
MAX_OUTPUT_USD_PER_MTOK = Decimal(1000)
MAX_SCALE = Decimal(100)
CHAT_MODES = frozenset({"chat", "responses"})

_MAIN = ("input_usd_per_mtok", "output_usd_per_mtok")


def wrong(
    endpoint: Endpoint, problem: str, *, key: str, remedy: str, value: object = None
) -> CatalogueError:
    """What is raised when an endpoint breaks a rule."""
    return CatalogueError(
        problem, remedy=remedy, endpoint=endpoint.provider_model, key=key, value=value
    )


def changes_of(version: PriceVersion) -> Iterator[Change]:
    """What holds under conditions: long prompts, hours, service tiers."""
    for tier in version.size_tiers:
        yield tier.change
    for window in version.windows:
        yield window.change
    for service in version.service_tiers.values():
        yield service.change
        for tier in service.size_tiers:
            yield tier.change


def check_rates(endpoint: Endpoint, version: PriceVersion) -> None:
    """Raises `CatalogueError` for the first amount that cannot be one."""
    _check_amounts(endpoint, version)
    _check_main_rates(endpoint, version)
    _check_zeros(endpoint, version)
    _check_caches(endpoint, version)


def check_origin(endpoint: Endpoint) -> None:
    """Raises `CatalogueError` for a price of the tables that does not say where it stands."""
    if endpoint.is_free:
        return
    for version in endpoint.prices:
        for key, value in (("source", version.source), ("checked", version.checked_on)):
            if value is None:
                raise wrong(
                    endpoint,
                    f"a price of the tables needs `{key}`",
                    key="prices",
                    remedy="say where it stands (`source`) and on which day somebody compared it "
                    "(`checked`)",
                )


def _check_amounts(endpoint: Endpoint, version: PriceVersion) -> None:
    named = [(name, getattr(version.base, name)) for name in RATES]
    for change in changes_of(version):
        named += change.rates.items()
        _check_change(endpoint, change)
    for name, amount in named:
        if amount is not None and not _is_amount(amount):
            raise wrong(
                endpoint,
                f"`{name}` must be USD, 0 or more, with at most {MAX_DECIMALS} decimals",
                key=name,
                value=amount,
                remedy="write the price in USD per unit, rounded to 12 decimals",
            )
    for region, factor in version.region_multiplier.items():
        if not _is_amount(factor) or not 0 < factor <= MAX_SCALE:
            raise wrong(
                endpoint,
                f"`region_multiplier.{region}` must be above 0 and at most {MAX_SCALE}",
                key="region_multiplier",
                value=factor,
                remedy="write 1.1 for ten per cent more",
            )


def _is_amount(amount: Decimal) -> bool:
    if not amount.is_finite() or amount.is_signed():
        return False
    exponent = amount.as_tuple().exponent
    return isinstance(exponent, int) and exponent >= -MAX_DECIMALS


def _check_change(endpoint: Endpoint, change: Change) -> None:
    if change.scale is not None and change.rates:
        raise wrong(
            endpoint,
            "a condition has `scale` and prices of its own",
            key="scale",
            value=change.scale,
            remedy="keep one of them; `unscaled` names rates that `scale` leaves alone",
        )
    if change.scale is None and not change.rates:
        raise wrong(
            endpoint,
            "a size tier, window or service tier changes nothing",
            key="prices",
            remedy="give it prices or a `scale`",
        )
    if change.scale is not None and not (
        _is_amount(change.scale) and 0 < change.scale <= MAX_SCALE
    ):
        raise wrong(
            endpoint,
            f"`scale` must be above 0 and at most {MAX_SCALE}",
            key="scale",
            value=change.scale,
            remedy="write 0.5 for half the price",
        )
    for name in change.unscaled:
        if name not in TOKEN_RATES:
            raise wrong(
                endpoint,
                f"`unscaled` names `{name}`, which is not a rate per million tokens",
                key="unscaled",
                remedy=f"use some of {', '.join(TOKEN_RATES)}; fees by the piece never scale",
            )


def _check_main_rates(endpoint: Endpoint, version: PriceVersion) -> None:
    if endpoint.mode not in CHAT_MODES:
        return
    for name, most in zip(_MAIN, (MAX_INPUT_USD_PER_MTOK, MAX_OUTPUT_USD_PER_MTOK), strict=True):
        amount: Decimal | None = getattr(version.base, name)
        if amount is None:
            raise wrong(
                endpoint,
                f"a {endpoint.mode} price needs `{name}`",
                key="prices",
                remedy=f"add `{name}`, or leave out the whole price: unknown is better than half",
            )
        if amount > most and "far-above-usual" not in version.reviewed:
            raise wrong(
                endpoint,
                f"`{name}` must be at most {most} (a dearer one was always a slip of the unit)",
                key=name,
                value=amount,
                remedy="write USD per million tokens, not per thousand or in cents; "
                'where it is right, add `reviewed = ["far-above-usual"]`',
            )


def _check_zeros(endpoint: Endpoint, version: PriceVersion) -> None:
    """A price of 0 has to be meant, in the base and under every condition.

    A chat pays for what it reads and what it writes, anything else for something: embeddings have
    no output.
    """
    if endpoint.is_free:
        return
    base = {name: amount for name in RATES if (amount := getattr(version.base, name)) is not None}
    for rates in (base, *(change.rates for change in changes_of(version))):
        zeros = [name for name, amount in rates.items() if amount == 0]
        if endpoint.mode in CHAT_MODES:
            unmeant = [name for name in zeros if name in _MAIN]
        else:
            unmeant = zeros if len(zeros) == len(rates) else []
        if unmeant:
            raise wrong(
                endpoint,
                f"`{unmeant[0]}` may be 0 only when the endpoint says `free = true`",
                key=unmeant[0],
                value=rates[unmeant[0]],
                remedy="add `free = true`, or leave out a price that is not known",
            )


def _check_caches(endpoint: Endpoint, version: PriceVersion) -> None:
    base = version.base
    read, kept = base.input_usd_per_mtok, base.cache_write_usd_per_mtok
    _check_at_most(
        endpoint,
        base,
        "cache_read_usd_per_mtok",
        "input_usd_per_mtok",
        remedy="leave the rate out where there is no discount, or correct one of the two",
    )
    if read is not None and kept and kept < read and _KEPT_CHEAPLY not in version.reviewed:
        raise wrong(
            endpoint,
            f"`cache_write_usd_per_mtok` must be 0 or at least `input_usd_per_mtok` ({read:f})",
            key="cache_write_usd_per_mtok",
            value=kept,
            remedy="write 0 where writing is free; where somebody has looked and it is right, "
            f'add `reviewed = ["{_KEPT_CHEAPLY}"]`',
        )
    _check_at_most(
        endpoint,
        base,
        "cache_write_usd_per_mtok",
        "cache_write_1h_usd_per_mtok",
        remedy="look whether the two were exchanged: an hour costs no less than five minutes",
    )


_KEPT_CHEAPLY = "cache-write-below-input"


def _check_at_most(endpoint: Endpoint, base: Price, lower: str, upper: str, *, remedy: str) -> None:
    less: Decimal | None = getattr(base, lower)
    more: Decimal | None = getattr(base, upper)
    if less is not None and more is not None and less > more:
        raise wrong(
            endpoint,
            f"`{lower}` must be at most `{upper}` ({more:f})",
            key=lower,
            value=less,
            remedy=remedy,
        )
