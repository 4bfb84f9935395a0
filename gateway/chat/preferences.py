"""Routing preferences of one request: the ``provider`` object, typed and normalised."""

from decimal import Decimal
from typing import Literal

import msgspec

SortKey = Literal["price", "latency", "throughput"]


class MaxPrice(msgspec.Struct, frozen=True, kw_only=True):
    """Hard price caps; None leaves a part uncapped. An endpoint without a price fails every cap."""

    prompt_usd_per_mtok: Decimal | None = None
    completion_usd_per_mtok: Decimal | None = None
    request_usd: Decimal | None = None
    image_usd: Decimal | None = None
    audio_usd_per_mtok: Decimal | None = None


class ProviderPreferences(msgspec.Struct, frozen=True, kw_only=True):
    """What the caller asks of routing. Provider names are lower-case ids or ``provider/tag``."""

    order: tuple[str, ...] = ()
    """Tried first, in this order; the others follow when fallbacks are allowed."""
    only: tuple[str, ...] = ()
    ignore: tuple[str, ...] = ()
    allow_fallbacks: bool = True
    """False: only the first choice (or the ``order`` list) may serve."""
    sort: SortKey | None = None
    """A deterministic order; switches weighted balancing off."""
    max_price: MaxPrice | None = None
    require_parameters: bool = False
    """Only endpoints known to support every parameter that the request carries."""
    data_collection: Literal["allow", "deny"] = "allow"
    zdr: bool = False
    """Only endpoints known to retain nothing."""
    enforce_distillable_text: bool = False
    quantizations: tuple[str, ...] = ()
