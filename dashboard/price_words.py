"""Prices as rows and words: the catalogue, what an endpoint costs, before and after. Pure."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from decimal import Decimal
from typing import Any

import polars as pl

from dashboard import numbers
from dashboard.admin_answers import OfferedEndpoint, PriceSpan
from dashboard.pieces import Cell, Row
from pricing.operator_layer import PriceChange, standing_changes
from pricing.price import RATES, TOKEN_RATES, Price

LAYERS: dict[str, str] = {"tables": "tables", "operator": "yours", "discount": "discount"}
"""Where a price comes from, in a word."""
_WHOLE_CHARACTERS = 8
_LEAST_TIMES, _MOST_TIMES = 0.67, 1.5
UNPRICED, OFF = "no price", "off"

RATE_WORDS: dict[str, str] = {
    "input_usd_per_mtok": "input",
    "output_usd_per_mtok": "output",
    "cache_read_usd_per_mtok": "cache read",
    "cache_write_usd_per_mtok": "cache write",
    "cache_write_1h_usd_per_mtok": "cache write, 1 h",
    "reasoning_usd_per_mtok": "reasoning",
    "request_usd": "per request",
    "web_search_usd": "per search",
    "image_usd": "per image",
}
"""The rates that a form offers; the others keep the names of the tables."""

_CONDITIONS: dict[str, str] = {
    "size_tiers": "another price for long prompts",
    "windows": "another price at some hours",
    "service_tiers": "service tiers",
    "region_multiplier": "regions",
    "upper_bound": "upper bound",
}


def rate_word(name: str) -> str:
    """``audio_input_usd_per_mtok`` as "audio input"."""
    short = name.removesuffix("_usd_per_mtok").removesuffix("_usd").replace("_", " ")
    return RATE_WORDS.get(name, short)


def amount(name: str, value: Decimal | None) -> str:
    """A rate of that name; those by the piece say so."""
    if value is None:
        return numbers.UNKNOWN
    text = numbers.usd_per_mtok(value)
    return text if name in TOKEN_RATES else f"{text} each"


def layer_words(layers: Sequence[str]) -> str:
    """Where a price comes from, the lowest first."""
    return ", ".join(LAYERS.get(layer, layer) for layer in layers)


def catalogue_frame(offers: Sequence[OfferedEndpoint], zone: str) -> pl.DataFrame:
    """The columns that a reader sees, in their order; prices per million tokens."""
    rows = [
        {
            "Endpoint": offer.endpoint,
            "Input": _sortable(None if offer.price is None else offer.price.input_usd_per_mtok),
            "Output": _sortable(None if offer.price is None else offer.price.output_usd_per_mtok),
            "Cache read": _sortable(
                None if offer.price is None else offer.price.cache_read_usd_per_mtok
            ),
            "From": _marks(offer),
            "Model": offer.model,
            "Note": offer_note(offer, zone),
        }
        for offer in offers
    ]
    return pl.DataFrame(
        rows,
        schema={
            "Endpoint": pl.String(),
            "Input": pl.String(),
            "Output": pl.String(),
            "Cache read": pl.String(),
            "From": pl.List(pl.String()),
            "Model": pl.String(),
            "Note": pl.String(),
        },
    )


def _sortable(price: Decimal | None) -> str | None:
    """Padded on the left, so that texts stand in the order of their amounts."""
    if price is None:
        return None
    text = numbers.usd_per_mtok(price)
    return " " * (_WHOLE_CHARACTERS - text.index(".")) + text


def offer_note(offer: OfferedEndpoint, zone: str) -> str:
    """What else is to know of a price, in a few words."""
    parts = (
        f"another price from {numbers.when(offer.next_from, zone)}" if offer.next_from else "",
        f"ends {numbers.when(offer.retired_at, zone)}" if offer.retired_at else "",
        "upper bound" if offer.price is not None and offer.price.is_upper_bound else "",
        "with conditions" if offer.has_conditions else "",
        offer.mode if offer.mode != "chat" else "",
    )
    return ", ".join(filter(None, parts))


def _marks(offer: OfferedEndpoint) -> list[str]:
    marks = [LAYERS.get(layer, layer) for layer in offer.layers]
    if offer.price is None or offer.price.input_usd_per_mtok is None:
        marks.append(UNPRICED)
    return [*marks, OFF] if offer.is_disabled else marks


def price_rows(
    before: Price | None, after: Price | None, *, changed_only: bool = False
) -> list[Row]:
    """Each rate that is known before or after, with the change between the two."""
    rows: list[Row] = []
    for name in RATES:
        was = None if before is None else getattr(before, name)
        becomes = None if after is None else getattr(after, name)
        if (was is None and becomes is None) or (changed_only and was == becomes):
            continue
        rows.append(
            Row(
                cells=(
                    Cell(text=rate_word(name)),
                    Cell(text=amount(name, was)),
                    Cell(text=amount(name, becomes)),
                    _change_cell(was, becomes),
                ),
                kind="quiet" if was == becomes else "",
            )
        )
    return rows


def _change_cell(was: Decimal | None, becomes: Decimal | None) -> Cell:
    if was == becomes:
        return Cell(text="")
    if was is None or becomes is None or was == 0:
        return Cell(text="now known" if was is None else "changed")
    return Cell(text=numbers.change(float(becomes) / float(was) - 1))


def is_large(was: Decimal | None, becomes: Decimal) -> bool:
    """Whether an amount changes by half or more, or becomes free: it wants a second look."""
    if was is None or was == 0:
        return False
    change = float(becomes) / float(was)
    return not _LEAST_TIMES < change < _MOST_TIMES


def terms_note(terms: Mapping[str, Any]) -> str:
    """What of a price's terms goes beyond its rates, and rates that have no column."""
    shown = {"input_usd_per_mtok", "output_usd_per_mtok", "cache_read_usd_per_mtok"}
    others = [
        f"{rate_word(name)} {amount(name, Decimal(str(terms[name])))}"
        for name in RATES
        if name in terms and name not in shown
    ]
    return ", ".join(others + [word for name, word in _CONDITIONS.items() if terms.get(name)])


def rate_of(terms: Mapping[str, Any], name: str) -> Decimal | None:
    """A rate of the terms of a price; None when it is unknown."""
    value = terms.get(name)
    return None if value is None else Decimal(str(value))


def holds_at(span: PriceSpan, at: datetime) -> bool:
    """Whether a price is in force at an aware instant."""
    begins, ends = span.effective_from, span.effective_to
    return (begins is None or begins <= at) and (ends is None or at < ends)


def kind_words(change: PriceChange) -> str:
    """What an operator decided, in a few words."""
    if change.kind == "discount" and change.factor is not None:
        return f"times {change.factor.normalize():f}"
    words = {"price": "price set", "disable": "switched off", "endpoint": "endpoint added"}
    return words.get(change.kind, f"revoked {change.target}")


def standing(changes: Sequence[PriceChange], now: datetime) -> dict[str, str]:
    """How each change stands: ``stands``, ``to come``, ``ended``; revoked ones are left out."""
    recorded = sorted(changes, key=lambda change: change.recorded_at)
    found: dict[str, str] = {}
    for change in standing_changes(recorded):
        if change.effective_to is not None and change.effective_to <= now:
            found[change.id] = "ended"
        else:
            found[change.id] = "to come" if change.effective_from > now else "stands"
    return found
