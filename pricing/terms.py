"""A price version written out again as the keys of a price in the tables; amounts as texts."""

from collections.abc import Mapping
from decimal import Decimal
from typing import Any

from pricing.price import RATES, Change, PriceVersion, SizeTier, Window

_MINUTES_PER_HOUR = 60


def terms_of(version: PriceVersion) -> dict[str, Any]:
    """The terms of a version, without its dates and its source.

    Read again by `version_from_terms` they mean the same. Texts instead of numbers, since these
    values travel as JSON.
    """
    terms: dict[str, Any] = _rates({name: getattr(version.base, name) for name in RATES})
    if version.size_tiers:
        terms["size_tiers"] = [_size_tier(tier) for tier in version.size_tiers]
    if version.windows:
        terms["windows"] = [_window(window) for window in version.windows]
    if version.service_tiers:
        terms["service_tiers"] = {
            name: _change(tier.change)
            | (
                {"size_tiers": [_size_tier(size) for size in tier.size_tiers]}
                if tier.size_tiers
                else {}
            )
            for name, tier in version.service_tiers.items()
        }
    if version.region_multiplier:
        terms["region_multiplier"] = {
            region: _text(factor) for region, factor in version.region_multiplier.items()
        }
    if version.base.is_upper_bound:
        terms["upper_bound"] = True
    if version.reviewed:
        terms["reviewed"] = list(version.reviewed)
    return terms


def _rates(rates: Mapping[str, Decimal | None]) -> dict[str, Any]:
    return {name: _text(amount) for name, amount in rates.items() if amount is not None}


def _change(change: Change) -> dict[str, Any]:
    written = _rates(change.rates)
    if change.scale is not None:
        written["scale"] = _text(change.scale)
    if change.unscaled:
        written["unscaled"] = list(change.unscaled)
    return written


def _size_tier(tier: SizeTier) -> dict[str, Any]:
    return {"min_prompt_tokens": tier.min_prompt_tokens, **_change(tier.change)}


def _window(window: Window) -> dict[str, Any]:
    return {
        "utc": [f"{_clock(begins)}-{_clock(ends)}" for begins, ends in window.minutes],
        "days": sorted(window.weekdays),
        **_change(window.change),
    }


def _clock(minutes: int) -> str:
    return f"{minutes // _MINUTES_PER_HOUR:02}:{minutes % _MINUTES_PER_HOUR:02}"


def _text(amount: Decimal) -> str:
    """All digits, without an exponent."""
    return format(amount, "f")
