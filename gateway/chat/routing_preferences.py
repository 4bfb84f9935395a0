"""Reads the ``provider`` object of a request, refusing whatever cannot be honoured.

An unknown member is refused rather than ignored: a mistyped ``max_prce`` must not overspend.
"""

import difflib
from collections.abc import Iterable, Mapping
from decimal import Decimal
from typing import Annotated, Literal

import msgspec
from msgspec import Meta, Raw

from gateway.chat.complaints import wrong_value
from gateway.chat.preferences import (
    Bounds,
    MaxPrice,
    ProviderPreferences,
    SortKey,
    SortPartition,
)
from gateway.chat.structure import check_members_are_unique
from gateway.domain.errors import InvalidRequestError

NO_PREFERENCES = ProviderPreferences()

FORBIDDEN_MEMBERS = frozenset(
    {
        "base_url",
        "api_base",
        "api_key",
        "provider_configs",
        "headers",
        "extra_headers",
        "default_headers",
    }
)
"""Where a request goes and with which credential is the operator's business."""

_HIGHEST_CAP_USD = Decimal(1_000_000_000)
_MS_PER_S = 1000.0

_SLUG_OF_NAME = {
    "xai": "x-ai",
    "moonshot": "moonshotai",
    "moonshot-ai": "moonshotai",
    "z.ai": "zai",
    "z-ai": "zai",
    "google-ai-studio": "google",
    "google-vertex-ai": "google-vertex",
    "bedrock": "amazon-bedrock",
    "aws-bedrock": "amazon-bedrock",
    "together-ai": "together",
    "togetherai": "together",
    "fireworks-ai": "fireworks",
    "mistral-ai": "mistral",
    "mistralai": "mistral",
    "nebius-ai-studio": "nebius",
    "novitaai": "novita",
    "novita-ai": "novita",
    "azure-openai": "azure",
    "deep-seek": "deepseek",
}
"""Display names of the published enumerations whose slug is not simply the name in lower case."""

_Names = Annotated[list[Annotated[str, Meta(min_length=1, max_length=128)]], Meta(max_length=64)]
_Amount = Decimal | None
_Limit = Annotated[float, Meta(gt=0, le=1_000_000)]


class _Caps(msgspec.Struct, kw_only=True):
    prompt: _Amount = None
    completion: _Amount = None
    request: _Amount = None
    image: _Amount = None
    audio: _Amount = None


class _Sort(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    by: SortKey | None = None
    partition: Literal["model", "none"] | None = None


class _Bounds(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    p50: _Limit | None = None
    p75: _Limit | None = None
    p90: _Limit | None = None
    p99: _Limit | None = None


class _Provider(msgspec.Struct, kw_only=True):
    order: _Names | None = None
    only: _Names | None = None
    ignore: _Names | None = None
    allow_fallbacks: bool | None = None
    require_parameters: bool | None = None
    data_collection: Literal["allow", "deny"] | None = None
    zdr: bool | None = None
    enforce_distillable_text: bool | None = None
    quantizations: (
        list[Literal["int4", "int8", "fp4", "fp6", "fp8", "fp16", "bf16", "fp32", "unknown"]] | None
    ) = None
    sort: str | _Sort | None = None
    max_price: dict[str, Raw] | None = None
    max_cost_usd: _Amount = None
    min_throughput: _Limit | _Bounds | None = None
    max_latency: _Limit | _Bounds | None = None
    preferred_min_throughput: _Limit | _Bounds | None = None
    preferred_max_latency: _Limit | _Bounds | None = None


_MEMBERS = msgspec.json.Decoder(dict[str, Raw])
_TYPED = msgspec.json.Decoder(_Provider)
_CAPS = msgspec.json.Decoder(_Caps)
_NULL = Raw(b"null")
_KNOWN = _Provider.__struct_fields__


def decode_preferences(raw: Raw | None) -> ProviderPreferences:
    """Preferences from the ``provider`` member; None and ``null`` mean none were sent.

    Raises:
        InvalidRequestError: a member is unknown, given twice, or out of range.
    """
    if raw is None or raw == _NULL:
        return NO_PREFERENCES
    try:
        members = _MEMBERS.decode(raw)
        typed = _TYPED.decode(raw)
    except msgspec.ValidationError as exc:
        raise wrong_value(exc, below=".provider") from exc
    check_members_are_unique(bytes(raw), members, below="provider.")
    _check_members(members)
    return ProviderPreferences(
        order=_slugs(typed.order, "order"),
        only=_slugs(typed.only, "only"),
        ignore=_slugs(typed.ignore, "ignore"),
        allow_fallbacks=typed.allow_fallbacks is not False,
        sort=_sort_key(typed.sort),
        partition=_partition(typed.sort),
        max_price=_max_price(typed.max_price, members),
        require_parameters=typed.require_parameters is True,
        data_collection=typed.data_collection or "allow",
        zdr=typed.zdr is True,
        enforce_distillable_text=typed.enforce_distillable_text is True,
        quantizations=tuple(dict.fromkeys(typed.quantizations or ())),
        max_cost_usd=check_amount(typed.max_cost_usd, "provider.max_cost_usd"),
        min_throughput_tokens_per_s=_bounds(typed.min_throughput),
        max_latency_ms=_bounds(typed.max_latency, scale=_MS_PER_S),
        preferred_min_throughput_tokens_per_s=_bounds(typed.preferred_min_throughput),
        preferred_max_latency_ms=_bounds(typed.preferred_max_latency, scale=_MS_PER_S),
    )


def _check_members(members: Mapping[str, Raw]) -> None:
    for name in members:
        if name in FORBIDDEN_MEMBERS:
            raise InvalidRequestError(
                f"`provider.{name}` is not accepted in a request: addresses and credentials of "
                "providers are configured by the operator.",
                param=f"provider.{name}",
                code="not_allowed",
            )
        if name not in _KNOWN:
            raise InvalidRequestError(
                f"`provider.{name[:64]}` is not a routing preference{_nearest(name, _KNOWN)}",
                param=f"provider.{name[:64]}",
                code="unknown_preference",
            )


def _nearest(name: str, known: Iterable[str]) -> str:
    nearest = difflib.get_close_matches(name[:64], known, n=1, cutoff=0.5)
    return f"; did you mean `{nearest[0]}`?" if nearest else f"; known are {', '.join(known)}."


def _slugs(names: list[str] | None, member: str) -> tuple[str, ...]:
    slugs = tuple(dict.fromkeys(to_provider_slug(name) for name in names or ()))
    if "" in slugs:
        raise InvalidRequestError(
            f"`provider.{member}` holds an empty name; remove it.",
            param=f"provider.{member}",
            code="invalid_value",
        )
    return slugs


def to_provider_slug(name: str) -> str:
    """A provider id or ``provider/tag``, of display names too: ``xAI`` is ``x-ai``."""
    provider, slash, tag = name.strip().lower().partition("/")
    slug = "-".join(provider.split())
    return _SLUG_OF_NAME.get(slug, slug) + slash + tag.strip()


def _sort_key(sort: str | _Sort | None) -> SortKey | None:
    if isinstance(sort, _Sort):
        return sort.by
    match sort:
        case None | "price" | "latency" | "throughput":
            return sort
        case _:
            raise InvalidRequestError(
                f"`provider.sort` {sort[:64]!r} is not known; use price, latency or throughput.",
                param="provider.sort",
                code="invalid_value",
            )


def _partition(sort: str | _Sort | None) -> SortPartition | None:
    return sort.partition if isinstance(sort, _Sort) else None


def _bounds(sent: float | _Bounds | None, *, scale: float = 1.0) -> Bounds | None:
    """A number alone is about the median."""
    if sent is None:
        return None
    if not isinstance(sent, _Bounds):
        return Bounds(p50=sent * scale)
    p50, p75, p90, p99 = (
        None if limit is None else limit * scale
        for limit in (sent.p50, sent.p75, sent.p90, sent.p99)
    )
    if p50 is p75 is p90 is p99 is None:
        return None
    return Bounds(p50=p50, p75=p75, p90=p90, p99=p99)


def check_amount(amount: Decimal | None, param: str) -> Decimal | None:
    """The amount itself.

    Raises:
        InvalidRequestError: it is negative, not a number, or beyond any price.
    """
    if amount is not None and not (amount.is_finite() and 0 <= amount <= _HIGHEST_CAP_USD):
        raise InvalidRequestError(
            f"`{param}` must be a number of USD that is not negative.",
            param=param,
            code="invalid_value",
        )
    return amount


def _max_price(caps: dict[str, Raw] | None, members: Mapping[str, Raw]) -> MaxPrice | None:
    if not caps:
        return None
    check_members_are_unique(bytes(members["max_price"]), caps, below="provider.max_price.")
    for name in caps:
        if name not in _Caps.__struct_fields__:
            raise InvalidRequestError(
                f"`provider.max_price.{name[:64]}` is not a price"
                f"{_nearest(name, _Caps.__struct_fields__)}",
                param=f"provider.max_price.{name[:64]}",
                code="unknown_preference",
            )
    try:
        typed = _CAPS.decode(members["max_price"])
    except msgspec.ValidationError as exc:
        raise wrong_value(exc, below=".provider.max_price") from exc
    for name in caps:
        check_amount(getattr(typed, name), f"provider.max_price.{name}")
    return MaxPrice(
        prompt_usd_per_mtok=typed.prompt,
        completion_usd_per_mtok=typed.completion,
        request_usd=typed.request,
        image_usd=typed.image,
        audio_usd_per_mtok=typed.audio,
    )
