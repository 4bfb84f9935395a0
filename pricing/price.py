"""What an endpoint charges, since when, and the one resolver that says which price holds.

Caps, sorting, estimates, reservations, final cost, previews and the dashboard all ask `resolve`.
"""

import sys
from collections.abc import Mapping
from datetime import UTC, date, datetime
from decimal import ROUND_CEILING, Context, Decimal
from functools import cached_property
from typing import NamedTuple, Protocol

import msgspec

# Wide enough that a price times a multiplier is never rounded.
_EXACT = Context(prec=60)
_MTOK_EXPONENT = Decimal(-6)

STANDARD_SERVICE_TIERS = frozenset({"default", "standard", "auto", "on_demand"})
FAST = "fast"
"""The tier of Anthropic's `speed: "fast"`, and OpenAI's newer word for `priority`."""
_FAST_ALIKE = "priority"
"""developers.openai.com/api/docs/guides/fast-mode: renamed on 2026-07-30, both words hold."""


class Price(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, dict=True):
    """USD amounts that hold for one request. None means unknown; 0 means free of charge.

    `version` names the price version this came from. `is_upper_bound`: the true price may be
    lower. `is_estimated`: a dearer service tier has no published price here and the standard one
    stands in, so the true price may be higher.
    """

    version: str
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
    is_upper_bound: bool = False
    is_estimated: bool = False
    is_free: bool = False

    @cached_property
    def input_usd_per_token(self) -> Decimal | None:
        """`input_usd_per_mtok` by the token, exactly."""
        return _per_token(self.input_usd_per_mtok)

    @cached_property
    def output_usd_per_token(self) -> Decimal | None:
        """`output_usd_per_mtok` by the token, exactly."""
        return _per_token(self.output_usd_per_mtok)

    @cached_property
    def token_rates(self) -> tuple[Decimal, Decimal] | None:
        """Input and output by the token, when a request of tokens costs just that."""
        input_rate, output_rate = self.input_usd_per_token, self.output_usd_per_token
        if input_rate is None or output_rate is None or self.request_usd is not None:
            return None
        return input_rate, output_rate

    @cached_property
    def dearest_rates(self) -> tuple[int, int | None, int, int | None] | None:
        """The most that one token or piece may cost, in whole pico-dollars, rounded up.

        Of a prompt's token (it may be written to a cache), an answer's (it may be reasoning), a
        request and a search. None of an answer or a search is unknown; None of all when that of the
        prompt is, or when the price may be higher.
        """
        if self.is_estimated or self.input_usd_per_mtok is None:
            return None
        prompt = max(self.input_usd_per_mtok, self.cache_write_usd_per_mtok or _FREE)
        answer = self.output_usd_per_mtok
        if answer is not None:
            answer = max(answer, self.reasoning_usd_per_mtok or _FREE)
        search = self.web_search_usd
        return (
            _picos(prompt, _PICO_PER_MTOK),
            None if answer is None else _picos(answer, _PICO_PER_MTOK),
            _picos(self.request_usd or _FREE, _PICO),
            None if search is None else _picos(search, _PICO),
        )


_FREE = Decimal(0)
_PICO = 12
_PICO_PER_MTOK = 6


def _picos(amount_usd: Decimal, digits: int) -> int:
    return int(_EXACT.scaleb(amount_usd, digits).to_integral_value(ROUND_CEILING))


def _per_token(usd_per_mtok: Decimal | None) -> Decimal | None:
    return None if usd_per_mtok is None else _EXACT.scaleb(usd_per_mtok, _MTOK_EXPONENT)


TOKEN_RATES: tuple[str, ...] = tuple(
    name for name in Price.__struct_fields__ if name.endswith("_usd_per_mtok")
)
UNIT_RATES: tuple[str, ...] = ("request_usd", "web_search_usd", "image_usd")
RATES: tuple[str, ...] = TOKEN_RATES + UNIT_RATES


class Change(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """How a price differs under some condition: new amounts, or a factor on token rates.

    `rates` is keyed by the rate names of `Price`; names it leaves out are inherited.
    `scale` multiplies every token rate except those named in `unscaled`; fees by the piece
    (requests, searches, images) are never scaled.
    """

    rates: dict[str, Decimal] = {}
    scale: Decimal | None = None
    unscaled: tuple[str, ...] = ()


class SizeTier(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A price of the whole request for prompts of at least `min_prompt_tokens` (inclusive)."""

    min_prompt_tokens: int
    change: Change


class Window(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A price that holds at certain times of the week, in UTC.

    `minutes` are half-open spans `[begin, end)` of minutes since midnight, `weekdays` ISO numbers
    (Monday is 1).
    """

    minutes: tuple[tuple[int, int], ...]
    weekdays: frozenset[int]
    change: Change

    def holds_at(self, at: datetime) -> bool:
        """Whether the aware instant `at` falls into the window."""
        utc = at.astimezone(UTC)
        minute = utc.hour * 60 + utc.minute
        return utc.isoweekday() in self.weekdays and any(
            begin <= minute < end for begin, end in self.minutes
        )


class ServiceTier(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What a service tier (flex, priority, batch, fast) charges.

    With explicit rates, `size_tiers` are its own: where the standard price has a size tier that
    this one does not name, the standard price of that size holds.
    """

    change: Change
    size_tiers: tuple[SizeTier, ...] = ()


class Conditions(NamedTuple):
    """What a price depends on within one version: which of its conditions a request meets.

    `size` and `service_size` count the size tiers reached, 0 for none; `window` is the index of
    the first window that holds, -1 for none.
    """

    size: int
    service_size: int
    window: int
    service: str | None
    region: str | None


class PriceVersion(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, dict=True):
    """Everything an endpoint charges in `[effective_from, effective_to)`.

    `effective_from` None means since ever, `effective_to` None means until further notice; both
    are aware UTC. Size tiers are sorted by size, the first matching window wins.
    `region_multiplier` scales token rates by the region of processing.
    `checked_on` is the day somebody last compared this with `source`; `reviewed` are rules that it
    may break because somebody has looked.
    """

    id: str
    base: Price
    effective_from: datetime | None = None
    effective_to: datetime | None = None
    size_tiers: tuple[SizeTier, ...] = ()
    windows: tuple[Window, ...] = ()
    service_tiers: dict[str, ServiceTier] = {}
    region_multiplier: dict[str, Decimal] = {}
    source: str | None = None
    checked_on: date | None = None
    reviewed: tuple[str, ...] = ()

    def holds_at(self, at: datetime) -> bool:
        """Whether this version is in force at the aware instant `at`."""
        return (self.effective_from is None or self.effective_from <= at) and (
            self.effective_to is None or at < self.effective_to
        )

    @cached_property
    def base_below_tokens(self) -> int:
        """Prompts shorter than this cost the base price, unless other conditions are met."""
        if self.windows:
            return 0
        return self.size_tiers[0].min_prompt_tokens if self.size_tiers else sys.maxsize

    @cached_property
    def dearest_region(self) -> str | None:
        """Where processing costs most; None where no region costs more than the list price."""
        factors = self.region_multiplier
        dearest = max(factors, key=factors.__getitem__, default=None)
        return dearest if dearest is not None and factors[dearest] > 1 else None

    @cached_property
    def resolved(self) -> dict[Conditions, Price]:
        """Prices worked out so far.

        Bounded by what the version declares: all undeclared service tiers share two keys.
        """
        return {}


class Priced(Protocol):
    """Whatever has price versions that do not overlap in time."""

    @property
    def prices(self) -> tuple[PriceVersion, ...]: ...


def resolve(
    endpoint: Priced,
    *,
    at: datetime,
    prompt_tokens: int,
    service_tier: str | None = None,
    region: str | None = None,
) -> Price | None:
    """The price of a request that starts at `at`; None when no price version holds then.

    `prompt_tokens` is the inclusive prompt (uncached, cache reads, cache writes), an estimate
    before the request and the true count after it. `service_tier` is the provider's word for what
    it served, `region` its word for where; None and unknown regions mean the list price.
    """
    for version in reversed(endpoint.prices):
        begins, ends = version.effective_from, version.effective_to
        if (begins is None or begins <= at) and (ends is None or at < ends):
            # The usual request first: it meets no condition, and nothing needs to be looked up.
            if (
                prompt_tokens < version.base_below_tokens
                and (service_tier is None or service_tier in STANDARD_SERVICE_TIERS)
                and (region is None or region not in version.region_multiplier)
            ):
                return version.base
            return _resolve_in(version, at, prompt_tokens, service_tier, region)
    return None


def dearest_region(endpoint: Priced, at: datetime) -> str | None:
    """Where processing costs most at `at`: for bounds, since only the answer tells the region."""
    for version in reversed(endpoint.prices):
        if version.holds_at(at):
            return version.dearest_region
    return None


def _resolve_in(
    version: PriceVersion,
    at: datetime,
    prompt_tokens: int,
    service_tier: str | None,
    region: str | None,
) -> Price:
    service = _service_key(version, service_tier)
    declared = version.service_tiers.get(service) if service is not None else None
    conditions = Conditions(
        _reached(version.size_tiers, prompt_tokens),
        _reached(declared.size_tiers, prompt_tokens) if declared is not None else 0,
        next((n for n, window in enumerate(version.windows) if window.holds_at(at)), -1),
        service,
        region if region in version.region_multiplier else None,
    )
    price = version.resolved.get(conditions)
    if price is None:
        price = version.resolved[conditions] = _work_out(version, conditions)
    return price


def _reached(tiers: tuple[SizeTier, ...], prompt_tokens: int) -> int:
    """How many of the sorted tiers a prompt of this size has reached."""
    return sum(prompt_tokens >= tier.min_prompt_tokens for tier in tiers)


def _service_key(version: PriceVersion, service_tier: str | None) -> str | None:
    if service_tier is None or service_tier in version.service_tiers:
        return service_tier
    if service_tier == FAST and _FAST_ALIKE in version.service_tiers:
        return _FAST_ALIKE
    if service_tier in STANDARD_SERVICE_TIERS:
        return None
    return _UNDECLARED_CHEAPER if service_tier in _CHEAPER_TIERS else _UNDECLARED_DEARER


# Keys of service tiers that a version does not declare: the standard price stands in.
_UNDECLARED_CHEAPER = "undeclared: at most the standard price"
_UNDECLARED_DEARER = "undeclared: perhaps above the standard price"
_CHEAPER_TIERS = frozenset({"flex", "batch"})


def _work_out(version: PriceVersion, conditions: Conditions) -> Price:
    """The price under one combination of conditions: size, then service, time and region."""
    price = version.base
    if conditions.size:
        price = _changed(price, version.size_tiers[conditions.size - 1].change)
    if conditions.service is not None:
        price = _served(version, price, conditions)
    if conditions.window >= 0:
        price = _changed(price, version.windows[conditions.window].change)
    if conditions.region is not None:
        price = _changed(price, Change(scale=version.region_multiplier[conditions.region]))
    return price


def _served(version: PriceVersion, standard: Price, conditions: Conditions) -> Price:
    declared = version.service_tiers.get(conditions.service or "")
    if declared is None:
        return _doubtful(standard, is_dearer=conditions.service == _UNDECLARED_DEARER)
    if conditions.size and not conditions.service_size and declared.change.scale is None:
        return _doubtful(standard, is_dearer=_is_dearer(declared.change.rates, version.base))
    price = _changed(standard, declared.change)
    if conditions.service_size:
        price = _changed(price, declared.size_tiers[conditions.service_size - 1].change)
    return price


def _is_dearer(rates: Mapping[str, Decimal], base: Price) -> bool:
    return any(
        amount > standard
        for name, amount in rates.items()
        if (standard := getattr(base, name)) is not None
    )


def _doubtful(price: Price, *, is_dearer: bool) -> Price:
    if is_dearer:
        return msgspec.structs.replace(price, is_estimated=True)
    return msgspec.structs.replace(price, is_upper_bound=True)


def _changed(price: Price, change: Change) -> Price:
    if change.scale is None:
        return msgspec.structs.replace(price, **change.rates)
    scaled = {
        name: _EXACT.multiply(amount, change.scale)
        for name in TOKEN_RATES
        if name not in change.unscaled and (amount := getattr(price, name)) is not None
    }
    return msgspec.structs.replace(price, **scaled)
