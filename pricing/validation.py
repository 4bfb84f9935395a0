"""Rules a declared endpoint must keep before anybody pays by it, each of which caught real data."""

from collections.abc import Iterator
from datetime import UTC, datetime
from decimal import Decimal
from itertools import pairwise

from pricing.endpoint import EFFORTS, Endpoint
from pricing.errors import CatalogueError
from pricing.price import (
    RATES,
    STANDARD_SERVICE_TIERS,
    TOKEN_RATES,
    Change,
    PriceVersion,
    SizeTier,
)

MAX_DECIMALS = 12
MAX_INPUT_USD_PER_MTOK = Decimal(200)
MAX_OUTPUT_USD_PER_MTOK = Decimal(1000)
MAX_SCALE = Decimal(100)
CHAT_MODES = frozenset({"chat", "responses"})


def check_endpoint(endpoint: Endpoint) -> None:
    """Raises `CatalogueError` for the first rule of this file that the endpoint breaks."""
    _check_limits(endpoint)
    _check_thinking(endpoint)
    for version in endpoint.prices:
        _check_amounts(endpoint, version)
        _check_base(endpoint, version)
        _check_size_tiers(endpoint, version.size_tiers, version)
        for name, tier in version.service_tiers.items():
            _check_service_name(endpoint, name)
            _check_thresholds(endpoint, tier.size_tiers)
        _check_windows(endpoint, version)
    _check_dates(endpoint)


def _error(
    endpoint: Endpoint, problem: str, *, key: str, remedy: str, value: object = None
) -> CatalogueError:
    return CatalogueError(
        problem, remedy=remedy, endpoint=endpoint.provider_model, key=key, value=value
    )


def _check_limits(endpoint: Endpoint) -> None:
    context, output = endpoint.context_tokens, endpoint.max_output_tokens
    if context is not None and output is not None and output > context:
        raise _error(
            endpoint,
            f"`max_output_tokens` must be at most `context_tokens` ({context})",
            key="max_output_tokens",
            value=output,
            remedy="correct one of them, or leave out the one that is not known",
        )


def _check_thinking(endpoint: Endpoint) -> None:
    thinking = endpoint.thinking
    if thinking is None:
        return
    known = [effort for effort in EFFORTS if effort in thinking.efforts]
    if tuple(known) != thinking.efforts:
        raise _error(
            endpoint,
            "`efforts` must be known words, each once, least first",
            key="efforts",
            value=thinking.efforts,
            remedy=f"use some of {', '.join(EFFORTS)}, in this order",
        )
    least, most = thinking.min_tokens, thinking.max_tokens
    if least is not None and most is not None and least > most:
        raise _error(
            endpoint,
            f"`min_tokens` must be at most `max_tokens` ({most})",
            key="min_tokens",
            value=least,
            remedy="correct one of them",
        )


def _changes(version: PriceVersion) -> Iterator[Change]:
    for tier in version.size_tiers:
        yield tier.change
    for window in version.windows:
        yield window.change
    for service in version.service_tiers.values():
        yield service.change
        for tier in service.size_tiers:
            yield tier.change


def _check_amounts(endpoint: Endpoint, version: PriceVersion) -> None:
    named = [(name, getattr(version.base, name)) for name in RATES]
    for change in _changes(version):
        named += change.rates.items()
        _check_change(endpoint, change)
    for name, amount in named:
        if amount is not None and not _is_amount(amount):
            raise _error(
                endpoint,
                f"`{name}` must be USD, 0 or more, with at most {MAX_DECIMALS} decimals",
                key=name,
                value=amount,
                remedy="write the price in USD per unit, rounded to 12 decimals",
            )
    for region, factor in version.region_multiplier.items():
        if not _is_amount(factor) or not 0 < factor <= MAX_SCALE:
            raise _error(
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
        raise _error(
            endpoint,
            "a condition has `scale` and prices of its own",
            key="scale",
            value=change.scale,
            remedy="keep one of them; `unscaled` names rates that `scale` leaves alone",
        )
    if change.scale is None and not change.rates:
        raise _error(
            endpoint,
            "a size tier, window or service tier changes nothing",
            key="prices",
            remedy="give it prices or a `scale`",
        )
    if change.scale is not None and not (
        _is_amount(change.scale) and 0 < change.scale <= MAX_SCALE
    ):
        raise _error(
            endpoint,
            f"`scale` must be above 0 and at most {MAX_SCALE}",
            key="scale",
            value=change.scale,
            remedy="write 0.5 for half the price",
        )
    for name in change.unscaled:
        if name not in TOKEN_RATES:
            raise _error(
                endpoint,
                f"`unscaled` names `{name}`, which is not a rate per million tokens",
                key="unscaled",
                remedy=f"use some of {', '.join(TOKEN_RATES)}; fees by the piece never scale",
            )


def _check_base(endpoint: Endpoint, version: PriceVersion) -> None:
    base = version.base
    for name, most in (
        ("input_usd_per_mtok", MAX_INPUT_USD_PER_MTOK),
        ("output_usd_per_mtok", MAX_OUTPUT_USD_PER_MTOK),
    ):
        amount: Decimal | None = getattr(base, name)
        if endpoint.mode not in CHAT_MODES:
            continue
        if amount is None:
            raise _error(
                endpoint,
                f"a {endpoint.mode} price needs `{name}`",
                key="prices",
                remedy=f"add `{name}`, or leave out the whole price: unknown is better than half",
            )
        if amount > most:
            raise _error(
                endpoint,
                f"`{name}` must be at most {most} (a dearer one was always a slip of the unit)",
                key=name,
                value=amount,
                remedy="write USD per million tokens, not per thousand or in cents",
            )
        if amount == 0 and not endpoint.is_free:
            raise _error(
                endpoint,
                f"`{name}` may be 0 only when the endpoint says `free = true`",
                key=name,
                value=amount,
                remedy="add `free = true`, or leave out a price that is not known",
            )


def _check_thresholds(endpoint: Endpoint, tiers: tuple[SizeTier, ...]) -> None:
    sizes = [tier.min_prompt_tokens for tier in tiers]
    if any(later <= earlier for earlier, later in pairwise(sizes)):
        raise _error(
            endpoint,
            "`min_prompt_tokens` must rise from tier to tier",
            key="min_prompt_tokens",
            value=sizes,
            remedy="sort the size tiers by size and give each size once",
        )


def _check_service_name(endpoint: Endpoint, name: str) -> None:
    if name in STANDARD_SERVICE_TIERS:
        raise _error(
            endpoint,
            f"the service tier `{name}` is the standard one",
            key="service_tiers",
            remedy="write its rates on the price itself",
        )


def _check_size_tiers(
    endpoint: Endpoint, tiers: tuple[SizeTier, ...], version: PriceVersion
) -> None:
    _check_thresholds(endpoint, tiers)
    for tier in tiers:
        change = tier.change
        cheaper = next(
            (
                name
                for name, amount in change.rates.items()
                if (base := getattr(version.base, name)) is not None and amount < base
            ),
            None,
        )
        if cheaper is not None or (change.scale is not None and change.scale < 1):
            raise _error(
                endpoint,
                f"the tier from {tier.min_prompt_tokens} tokens is cheaper than the base price",
                key=cheaper or "scale",
                value=change.rates.get(cheaper) if cheaper else change.scale,
                remedy="make the base price the one of the smallest prompts",
            )
        missing = [
            name
            for name in TOKEN_RATES
            if change.scale is None
            and getattr(version.base, name) is not None
            and name not in change.rates
        ]
        if missing:
            raise _error(
                endpoint,
                f"the tier from {tier.min_prompt_tokens} tokens has no `{missing[0]}`",
                key="min_prompt_tokens",
                remedy="a tier prices the whole request: add the missing rates, or use `scale`",
            )


def _check_windows(endpoint: Endpoint, version: PriceVersion) -> None:
    has_other_conditions = bool(version.size_tiers or version.service_tiers)
    for window in version.windows:
        if has_other_conditions and window.change.scale is None:
            raise _error(
                endpoint,
                "a window with prices of its own beside size or service tiers is ambiguous",
                key="windows",
                remedy="use `scale` in the window",
            )
        if any(begin >= end for begin, end in window.minutes):
            raise _error(
                endpoint,
                "a span of `utc` must begin before it ends",
                key="utc",
                remedy='write a span across midnight as two: "22:00-24:00", "00:00-02:00"',
            )


def _check_dates(endpoint: Endpoint) -> None:
    ever = datetime.min.replace(tzinfo=UTC)
    for version in endpoint.prices:
        begins, ends = version.effective_from, version.effective_to
        if ends is not None and ends <= (begins or ever):
            raise _error(
                endpoint,
                "`to` must be later than `from`",
                key="to",
                value=ends.isoformat(),
                remedy="`to` is the first instant at which the price no longer holds",
            )
    for earlier, later in pairwise(endpoint.prices):
        begins, ends = later.effective_from, earlier.effective_to
        if begins is None or ends is None or begins < ends:
            raise _error(
                endpoint,
                "two prices hold at the same time",
                key="from" if begins is not None else "prices",
                value=begins.isoformat() if begins else None,
                remedy="end the earlier one with `to` at the instant the later one begins",
            )
