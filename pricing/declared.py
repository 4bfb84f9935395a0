"""The keys of a price table: what can be declared of providers, models, endpoints and prices.

These structs are the file format: an unknown key is refused. `pricing/tables/README.md` explains
what the keys mean.
"""

from datetime import date, datetime
from decimal import Decimal
from typing import Annotated, Literal

import msgspec

from pricing.endpoint import Protocol, ThinkingStyle

_Count = Annotated[int, msgspec.Meta(gt=0)]
_Text = Annotated[str, msgspec.Meta(min_length=1)]
_Weekday = Annotated[int, msgspec.Meta(ge=1, le=7)]
ReviewableRule = Literal[
    "far-above-usual", "cache-write-below-input", "output-below-input", "output-far-above-input"
]
"""Rules that a price may break once somebody has looked and says so."""
_CLOCK = r"([01]\d|2[0-3]):[0-5]\d"
_Span = Annotated[str, msgspec.Meta(pattern=rf"^{_CLOCK}-({_CLOCK}|24:00)$")]


class DeclaredRates(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Amounts in USD; a rate that is not named is unknown, or inherited in a condition."""

    input_usd_per_mtok: Decimal | None = None
    cache_read_usd_per_mtok: Decimal | None = None
    cache_write_usd_per_mtok: Decimal | None = None
    cache_write_1h_usd_per_mtok: Decimal | None = None
    output_usd_per_mtok: Decimal | None = None
    reasoning_usd_per_mtok: Decimal | None = None
    audio_input_usd_per_mtok: Decimal | None = None
    audio_cache_read_usd_per_mtok: Decimal | None = None
    audio_output_usd_per_mtok: Decimal | None = None
    image_input_usd_per_mtok: Decimal | None = None
    image_output_usd_per_mtok: Decimal | None = None
    video_input_usd_per_mtok: Decimal | None = None
    citation_usd_per_mtok: Decimal | None = None
    request_usd: Decimal | None = None
    web_search_usd: Decimal | None = None
    image_usd: Decimal | None = None


class DeclaredChange(DeclaredRates, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Rates that differ under a condition, or one factor on the token rates."""

    scale: Decimal | None = None
    unscaled: tuple[_Text, ...] = ()


class DeclaredSizeTier(DeclaredChange, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """From `min_prompt_tokens` (inclusive) on the whole request costs this."""

    min_prompt_tokens: _Count


class DeclaredServiceTier(DeclaredChange, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What a service tier costs, and for long prompts."""

    size_tiers: tuple[DeclaredSizeTier, ...] = ()


class DeclaredWindow(DeclaredChange, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Half-open spans of UTC clock time on ISO weekdays (Monday is 1)."""

    utc: tuple[_Span, ...] = ("00:00-24:00",)
    days: tuple[_Weekday, ...] = (1, 2, 3, 4, 5, 6, 7)


class DeclaredTerms(DeclaredRates, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Everything that holds at one time: rates, conditions, and where it was read."""

    size_tiers: tuple[DeclaredSizeTier, ...] = ()
    windows: tuple[DeclaredWindow, ...] = ()
    service_tiers: dict[str, DeclaredServiceTier] = {}
    region_multiplier: dict[str, Decimal] = {}
    source: _Text | None = None
    checked: date | None = None
    reviewed: tuple[ReviewableRule, ...] = ()
    upper_bound: bool = False


class DeclaredPrice(
    DeclaredTerms,
    frozen=True,
    kw_only=True,
    forbid_unknown_fields=True,
    rename={"effective_from": "from", "effective_to": "to"},
):
    """Terms in `[from, to)`; either may be absent."""

    effective_from: datetime | None = None
    effective_to: datetime | None = None


class DeclaredThinking(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How a model is told to think."""

    style: ThinkingStyle
    efforts: tuple[_Text, ...] = ()
    min_tokens: _Count | None = None
    max_tokens: _Count | None = None
    can_be_off: bool | None = None


class DeclaredEndpoint(DeclaredTerms, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """An offer; its price stands on itself, or dated in `prices`."""

    id: _Text
    model: _Text | None = None
    name: str | None = None
    mode: str = "chat"
    context_tokens: _Count | None = None
    max_input_tokens: _Count | None = None
    max_output_tokens: _Count | None = None
    modalities_in: tuple[_Text, ...] = ("text",)
    modalities_out: tuple[_Text, ...] = ("text",)
    capabilities: dict[str, bool] = {}
    thinking: DeclaredThinking | None = None
    quantization: str | None = None
    open_weights: bool | None = None
    release_date: date | None = None
    deprecated_at: datetime | None = None
    retired_at: datetime | None = None
    status: str | None = None
    free: bool = False
    prices: tuple[DeclaredPrice, ...] = ()


class DeclaredDataPolicy(
    msgspec.Struct,
    frozen=True,
    kw_only=True,
    forbid_unknown_fields=True,
    rename={"checked_on": "checked"},
):
    """What the provider says it does with prompts, on the day it was checked."""

    source: _Text
    checked_on: date
    trains_on_prompts: bool | None = None
    retains_prompts: bool | None = None
    retention_days: int | None = None
    zero_data_retention: bool | None = None
    headquarters: str | None = None


class DeclaredProvider(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The `[provider]` table."""

    id: _Text
    name: _Text
    protocol: Protocol = "openai"
    base_url: str | None = None
    base_url_env: str | None = None
    credential_env: str | None = None
    credential_env_alternatives: tuple[str, ...] = ()
    pricing_url: str | None = None
    usage_flavour: str = "openai"
    data_policy: DeclaredDataPolicy | None = None


class DeclaredModel(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One of `[[models]]`."""

    id: _Text
    name: str | None = None
    aliases: tuple[_Text, ...] = ()
    auto: bool = False


# The names an unknown key is compared with, by the struct that refused it.
KEYS: dict[type, tuple[str, ...]] = {
    DeclaredPrice: tuple(
        dict.fromkeys(
            DeclaredPrice.__struct_encode_fields__
            + DeclaredSizeTier.__struct_encode_fields__
            + DeclaredServiceTier.__struct_encode_fields__
            + DeclaredWindow.__struct_encode_fields__
        )
    ),
    DeclaredEndpoint: tuple(
        dict.fromkeys(
            DeclaredEndpoint.__struct_encode_fields__
            + DeclaredThinking.__struct_encode_fields__
            + DeclaredPrice.__struct_encode_fields__
            + DeclaredSizeTier.__struct_encode_fields__
            + DeclaredServiceTier.__struct_encode_fields__
            + DeclaredWindow.__struct_encode_fields__
        )
    ),
    DeclaredModel: DeclaredModel.__struct_encode_fields__,
    DeclaredProvider: DeclaredProvider.__struct_encode_fields__
    + DeclaredDataPolicy.__struct_encode_fields__,
}
