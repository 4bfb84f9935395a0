"""From what a person declares in TOML to endpoints and prices, or a message they can act on.

The same reader serves the shipped tables and the operator's own endpoints. The structs here are the
file format: their field names are its keys, and an unknown key is refused.
"""

import hashlib
from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Annotated, Any, TypeVar, cast

import msgspec

from pricing.endpoint import DataPolicy, Endpoint, Model, Protocol, Provider
from pricing.errors import CatalogueError, error_from_validation
from pricing.price import RATES, Change, Price, PriceVersion, ServiceTier, SizeTier, Window
from pricing.validation import check_endpoint

_Count = Annotated[int, msgspec.Meta(gt=0)]
_Text = Annotated[str, msgspec.Meta(min_length=1)]
_Weekday = Annotated[int, msgspec.Meta(ge=1, le=7)]
_CLOCK = r"([01]\d|2[0-3]):[0-5]\d"
_Span = Annotated[str, msgspec.Meta(pattern=rf"^{_CLOCK}-({_CLOCK}|24:00)$")]


class _Rates(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
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


class _Change(_Rates, frozen=True, kw_only=True, forbid_unknown_fields=True):
    scale: Decimal | None = None
    unscaled: tuple[_Text, ...] = ()


class _SizeTier(_Change, frozen=True, kw_only=True, forbid_unknown_fields=True):
    min_prompt_tokens: _Count


class _ServiceTier(_Change, frozen=True, kw_only=True, forbid_unknown_fields=True):
    size_tiers: tuple[_SizeTier, ...] = ()


class _Window(_Change, frozen=True, kw_only=True, forbid_unknown_fields=True):
    utc: tuple[_Span, ...] = ("00:00-24:00",)
    days: tuple[_Weekday, ...] = (1, 2, 3, 4, 5, 6, 7)


class _Conditions(_Rates, frozen=True, kw_only=True, forbid_unknown_fields=True):
    size_tiers: tuple[_SizeTier, ...] = ()
    windows: tuple[_Window, ...] = ()
    service_tiers: dict[str, _ServiceTier] = {}
    region_multiplier: dict[str, Decimal] = {}
    source: _Text | None = None
    checked: date | None = None
    upper_bound: bool = False


class _Price(
    _Conditions,
    frozen=True,
    kw_only=True,
    forbid_unknown_fields=True,
    rename={"effective_from": "from", "effective_to": "to"},
):
    effective_from: datetime | None = None
    effective_to: datetime | None = None


class _Endpoint(_Conditions, frozen=True, kw_only=True, forbid_unknown_fields=True):
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
    quantization: str | None = None
    open_weights: bool | None = None
    release_date: date | None = None
    deprecated_at: datetime | None = None
    retired_at: datetime | None = None
    status: str | None = None
    free: bool = False
    prices: tuple[_Price, ...] = ()


class _DataPolicy(
    msgspec.Struct,
    frozen=True,
    kw_only=True,
    forbid_unknown_fields=True,
    rename={"checked_on": "checked"},
):
    source: _Text
    checked_on: date
    trains_on_prompts: bool | None = None
    retains_prompts: bool | None = None
    retention_days: int | None = None
    zero_data_retention: bool | None = None
    headquarters: str | None = None


class _Provider(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    id: _Text
    name: _Text
    protocol: Protocol = "openai"
    base_url: str | None = None
    base_url_env: str | None = None
    credential_env: str | None = None
    credential_env_alternatives: tuple[str, ...] = ()
    pricing_url: str | None = None
    usage_flavour: str = "openai"
    data_policy: _DataPolicy | None = None


def read_provider(table: dict[str, Any]) -> Provider:
    """The `[provider]` table. Raises `CatalogueError`."""
    return _provider(_convert(table, _Provider))


def read_model(table: dict[str, Any]) -> Model:
    """One of the `[[models]]` of models.toml. Raises `CatalogueError`."""
    declared = _convert(table, _Model)
    author, _, slug = declared.id.partition("/")
    if not author or not slug:
        raise CatalogueError(
            "a model is named author/slug", key="id", value=declared.id, remedy="add the author"
        )
    return Model(
        id=declared.id,
        name=declared.name or slug,
        author=author,
        aliases=declared.aliases,
        auto=declared.auto,
    )


def endpoint_from_config(provider_id: str, table: dict[str, Any]) -> Endpoint:
    """An endpoint an operator declares under `[[providers.X.endpoints]]`.

    Takes every key of the shipped tables; prices stand either on the endpoint itself or in dated
    `prices`. The table must have been read with `parse_float=Decimal`. Without `model` the endpoint
    is `provider/their-id`. Raises `CatalogueError` naming the key, the value and the remedy.
    """
    return _endpoint(provider_id, _convert(table, _Endpoint))


class _Model(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    id: _Text
    name: str | None = None
    aliases: tuple[_Text, ...] = ()
    auto: bool = False


_T = TypeVar("_T")

_KEYS: dict[type, tuple[str, ...]] = {
    _Endpoint: tuple(
        dict.fromkeys(
            _Endpoint.__struct_encode_fields__
            + _Price.__struct_encode_fields__
            + _SizeTier.__struct_encode_fields__
            + _ServiceTier.__struct_encode_fields__
            + _Window.__struct_encode_fields__
        )
    ),
    _Model: _Model.__struct_encode_fields__,
    _Provider: _Provider.__struct_encode_fields__ + _DataPolicy.__struct_encode_fields__,
}


def _convert(document: dict[str, Any], type_: type[_T]) -> _T:
    _refuse_floats(document, "")
    try:
        return msgspec.convert(document, type_)
    except msgspec.ValidationError as exc:
        raise error_from_validation(exc, document, _KEYS[type_]) from None


def _refuse_floats(value: object, path: str) -> None:
    """Binary floats cannot hold a price; whoever read the file must read decimals."""
    if isinstance(value, float):
        raise TypeError(f"`{path}` was read as a float; read TOML with parse_float=Decimal")
    if isinstance(value, dict):
        for key, item in cast(dict[str, object], value).items():
            _refuse_floats(item, f"{path}.{key}".lstrip("."))
    elif isinstance(value, list):
        for item in cast(list[object], value):
            _refuse_floats(item, path)


def _provider(declared: _Provider) -> Provider:
    policy = declared.data_policy
    fields = msgspec.structs.asdict(declared)
    fields["data_policy"] = DataPolicy(**msgspec.structs.asdict(policy)) if policy else None
    return Provider(**fields)


def _endpoint(provider_id: str, declared: _Endpoint) -> Endpoint:
    endpoint_id = f"{provider_id}/{declared.id}"
    versions = tuple(
        _version(endpoint_id, price, is_free=declared.free) for price in _declared_prices(declared)
    )
    endpoint = Endpoint(
        id=endpoint_id,
        provider=provider_id,
        provider_model=declared.id,
        model=declared.model or endpoint_id,
        has_canonical_model=declared.model is not None,
        name=declared.name,
        mode=declared.mode,
        context_tokens=declared.context_tokens,
        max_input_tokens=declared.max_input_tokens,
        max_output_tokens=declared.max_output_tokens,
        modalities_in=declared.modalities_in,
        modalities_out=declared.modalities_out,
        capabilities=declared.capabilities,
        quantization=declared.quantization,
        open_weights=declared.open_weights,
        release_date=declared.release_date,
        deprecated_at=declared.deprecated_at,
        retired_at=declared.retired_at,
        status=declared.status,
        service_tiers=tuple(sorted({name for v in versions for name in v.service_tiers})),
        is_free=declared.free,
        prices=versions,
    )
    check_endpoint(endpoint)
    return endpoint


def _declared_prices(declared: _Endpoint) -> tuple[_Price, ...]:
    """Dated prices in order of time, or the one that stands on the endpoint itself."""
    flat = _Price(**{name: getattr(declared, name) for name in _Conditions.__struct_fields__})
    has_flat = flat != _Price()
    if has_flat and declared.prices:
        raise CatalogueError(
            f"endpoint `{declared.id}` has a price of its own and dated prices",
            endpoint=declared.id,
            key="prices",
            remedy="move the price on the endpoint into a [[prices]] entry with `from` and `to`",
        )
    if has_flat:
        return (flat,)
    if declared.free and not declared.prices:
        return (_Price(input_usd_per_mtok=Decimal(0), output_usd_per_mtok=Decimal(0)),)
    for price in declared.prices:
        for key, instant in (("from", price.effective_from), ("to", price.effective_to)):
            if instant is not None and instant.tzinfo is None:
                raise CatalogueError(
                    f"`{key}` of endpoint `{declared.id}` has no time zone",
                    endpoint=declared.id,
                    key=key,
                    value=instant.isoformat(),
                    remedy=f"write it as {instant.isoformat()}Z",
                )
    first = datetime.min.replace(tzinfo=UTC)
    return tuple(sorted(declared.prices, key=lambda price: price.effective_from or first))


def _version(endpoint_id: str, declared: _Price, *, is_free: bool) -> PriceVersion:
    begins = declared.effective_from and declared.effective_from.astimezone(UTC)
    since = f"{begins:%Y-%m-%dT%H:%M:%SZ}" if begins else "ever"
    content = msgspec.json.encode(msgspec.structs.asdict(declared), order="deterministic")
    version_id = f"{endpoint_id}@{since}#{hashlib.sha256(content).hexdigest()[:8]}"
    return PriceVersion(
        id=version_id,
        base=msgspec.structs.replace(
            Price(version=version_id, is_free=is_free, is_upper_bound=declared.upper_bound),
            **_rates(declared),
        ),
        effective_from=begins,
        effective_to=declared.effective_to and declared.effective_to.astimezone(UTC),
        size_tiers=_size_tiers(declared.size_tiers),
        windows=tuple(_window(window) for window in declared.windows),
        service_tiers={
            name: ServiceTier(change=_change(tier), size_tiers=_size_tiers(tier.size_tiers))
            for name, tier in declared.service_tiers.items()
        },
        region_multiplier=declared.region_multiplier,
        source=declared.source,
        checked_on=declared.checked,
    )


def _rates(declared: _Rates) -> dict[str, Decimal]:
    return {name: amount for name in RATES if (amount := getattr(declared, name)) is not None}


def _change(declared: _Change) -> Change:
    return Change(rates=_rates(declared), scale=declared.scale, unscaled=declared.unscaled)


def _size_tiers(declared: tuple[_SizeTier, ...]) -> tuple[SizeTier, ...]:
    return tuple(
        SizeTier(min_prompt_tokens=tier.min_prompt_tokens, change=_change(tier))
        for tier in declared
    )


def _window(declared: _Window) -> Window:
    spans = (span.split("-") for span in declared.utc)
    return Window(
        minutes=tuple((_minutes(begin), _minutes(end)) for begin, end in spans),
        weekdays=frozenset(declared.days),
        change=_change(declared),
    )


def _minutes(clock: str) -> int:
    hours, minutes = clock.split(":")
    return int(hours) * 60 + int(minutes)
