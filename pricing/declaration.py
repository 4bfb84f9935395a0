"""From what a person declares in TOML to endpoints and prices, or a message they can act on.

The same reader serves the shipped tables and the operator's own endpoints.
"""

import hashlib
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any, TypeVar, cast

import msgspec

from pricing.declared import (
    KEYS,
    DeclaredChange,
    DeclaredEndpoint,
    DeclaredModel,
    DeclaredPrice,
    DeclaredProvider,
    DeclaredRates,
    DeclaredSizeTier,
    DeclaredTerms,
    DeclaredWindow,
)
from pricing.endpoint import DataPolicy, Endpoint, Model, Provider, Thinking
from pricing.errors import CatalogueError, error_from_validation
from pricing.price import RATES, Change, Price, PriceVersion, ServiceTier, SizeTier, Window
from pricing.validation import check_endpoint


def read_provider(table: dict[str, Any]) -> Provider:
    """The `[provider]` table. Raises `CatalogueError`."""
    return _provider(_convert(table, DeclaredProvider))


def read_model(table: dict[str, Any]) -> Model:
    """One of the `[[models]]` of models.toml. Raises `CatalogueError`."""
    declared = _convert(table, DeclaredModel)
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
    return _endpoint(provider_id, _convert(table, DeclaredEndpoint))


def version_from_terms(endpoint_id: str, terms: dict[str, Any]) -> PriceVersion:
    """A price version from the keys of a price in the tables, without dates.

    Amounts must be decimals. Raises `CatalogueError` naming the key, the value and the remedy.
    """
    return _version(endpoint_id, _convert(terms, DeclaredPrice), is_free=False)


_T = TypeVar("_T")


def _convert(document: dict[str, Any], type_: type[_T]) -> _T:
    _refuse_floats(document, "")
    try:
        return msgspec.convert(document, type_)
    except msgspec.ValidationError as exc:
        raise error_from_validation(exc, document, KEYS[type_]) from None


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


def _provider(declared: DeclaredProvider) -> Provider:
    policy = declared.data_policy
    fields = msgspec.structs.asdict(declared)
    fields["data_policy"] = DataPolicy(**msgspec.structs.asdict(policy)) if policy else None
    return Provider(**fields)


def _endpoint(provider_id: str, declared: DeclaredEndpoint) -> Endpoint:
    endpoint_id = f"{provider_id}/{declared.id}"
    versions = tuple(
        _version(endpoint_id, price, is_free=declared.free) for price in _declared_prices(declared)
    )
    thinking = declared.thinking
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
        thinking=Thinking(**msgspec.structs.asdict(thinking)) if thinking else None,
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


def _declared_prices(declared: DeclaredEndpoint) -> tuple[DeclaredPrice, ...]:
    """Dated prices in order of time, or the one that stands on the endpoint itself."""
    flat = DeclaredPrice(
        **{name: getattr(declared, name) for name in DeclaredTerms.__struct_fields__}
    )
    has_flat = flat != DeclaredPrice()
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
        return (DeclaredPrice(input_usd_per_mtok=Decimal(0), output_usd_per_mtok=Decimal(0)),)
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


def _version(endpoint_id: str, declared: DeclaredPrice, *, is_free: bool) -> PriceVersion:
    begins = declared.effective_from and declared.effective_from.astimezone(UTC)
    since = f"{begins:%Y-%m-%dT%H:%M:%SZ}" if begins else "ever"
    # That somebody has looked at a price makes no other price of it.
    told = {k: v for k, v in msgspec.structs.asdict(declared).items() if k != "reviewed"}
    content = msgspec.json.encode(told, order="deterministic")
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
        reviewed=declared.reviewed,
    )


def _rates(declared: DeclaredRates) -> dict[str, Decimal]:
    return {name: amount for name in RATES if (amount := getattr(declared, name)) is not None}


def _change(declared: DeclaredChange) -> Change:
    return Change(rates=_rates(declared), scale=declared.scale, unscaled=declared.unscaled)


def _size_tiers(declared: tuple[DeclaredSizeTier, ...]) -> tuple[SizeTier, ...]:
    return tuple(
        SizeTier(min_prompt_tokens=tier.min_prompt_tokens, change=_change(tier))
        for tier in declared
    )


def _window(declared: DeclaredWindow) -> Window:
    spans = (span.split("-") for span in declared.utc)
    return Window(
        minutes=tuple((_minutes(begin), _minutes(end)) for begin, end in spans),
        weekdays=frozenset(declared.days),
        change=_change(declared),
    )


def _minutes(clock: str) -> int:
    hours, minutes = clock.split(":")
    return int(hours) * 60 + int(minutes)
