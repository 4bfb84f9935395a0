"""Routing preferences of one request: the ``provider`` object and its like, typed, normalised."""

from decimal import Decimal
from typing import Literal

import msgspec

SortKey = Literal["price", "latency", "throughput"]
SortPartition = Literal["model", "none"]


class MaxPrice(msgspec.Struct, frozen=True, kw_only=True):
    """Hard price caps; None leaves a part uncapped. An endpoint without a price fails every cap."""

    prompt_usd_per_mtok: Decimal | None = None
    completion_usd_per_mtok: Decimal | None = None
    request_usd: Decimal | None = None
    image_usd: Decimal | None = None
    audio_usd_per_mtok: Decimal | None = None


class Bounds(msgspec.Struct, frozen=True, kw_only=True):
    """Limits by percentile of a rolling measure; None leaves a percentile alone."""

    p50: float | None = None
    p75: float | None = None
    p90: float | None = None
    p99: float | None = None


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
    partition: SortPartition | None = None
    """``none`` orders the endpoints of all models together; None is ``model``: one by one."""
    max_price: MaxPrice | None = None
    require_parameters: bool = False
    """Only endpoints known to support every parameter that the request carries."""
    data_collection: Literal["allow", "deny"] = "allow"
    zdr: bool = False
    """Only endpoints known to retain nothing."""
    enforce_distillable_text: bool = False
    quantizations: tuple[str, ...] = ()
    max_cost_usd: Decimal | None = None
    """The most that one attempt may cost; inclusive."""
    min_throughput_tokens_per_s: Bounds | None = None
    """Excludes endpoints known to be slower; those never measured go behind."""
    max_latency_ms: Bounds | None = None
    """To the first token. Excludes endpoints known to be later; those never measured go behind."""
    preferred_min_throughput_tokens_per_s: Bounds | None = None
    """Moves endpoints known to be slower to the end."""
    preferred_max_latency_ms: Bounds | None = None
    """Moves endpoints known to be later to the end."""


class AutoPreferences(msgspec.Struct, frozen=True, kw_only=True):
    """What the caller asks of the choice of a model, where ``auto`` makes it."""

    free_models_only: bool = False
    no_reasoning: bool = False
    """Only models known not to reason."""
    allowed_models: tuple[str, ...] = ()
    """Patterns with ``*``; empty allows every model of the pool."""
    excluded_models: tuple[str, ...] = ()
    """Patterns with ``*``."""
