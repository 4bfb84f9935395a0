"""The catalogue over the admin API: what may be bought here, and where each price comes from."""

import re
from bisect import bisect_right
from collections.abc import Iterable, Sequence
from datetime import UTC, date, datetime
from typing import Annotated, Any, Literal

import msgspec
from litestar import get
from litestar.handlers import HTTPRouteHandler
from litestar.params import Parameter

from gateway.api.admin.desk import not_found
from gateway.api.admin.prices import PriceDesk
from gateway.api.roles import needs
from gateway.domain.errors import InvalidRequestError
from pricing.endpoint import Endpoint
from pricing.price import Price, PriceVersion, resolve
from pricing.terms import terms_of

Layer = Literal["tables", "operator", "discount"]
_MOST_LISTED = 500
_DISCOUNTED = re.compile(r"\*[0-9.]+#[0-9]+\Z")


class OfferedEndpoint(msgspec.Struct, frozen=True, kw_only=True):
    """An endpoint that is enabled here, with the price that holds now."""

    endpoint: str
    provider: str
    model: str
    mode: str
    price: Price | None
    """For a prompt of the length that was asked for, a short one unless said otherwise; None is
    unknown, never 0."""
    layers: tuple[Layer, ...]
    """Where the price comes from, the lowest first."""
    has_conditions: bool
    """Other prices hold for long prompts, at some hours, in service tiers or regions."""
    next_from: datetime | None
    """When another price is to begin; None when none is known."""
    source: str | None
    checked_on: date | None
    is_disabled: bool
    retired_at: datetime | None


class Offered(msgspec.Struct, frozen=True, kw_only=True):
    """What was found, by model and endpoint."""

    version: str
    """Of the catalogue, as records carry it."""
    total: int
    """How many were found, on all pages."""
    providers: tuple[str, ...]
    """All that are enabled."""
    data: tuple[OfferedEndpoint, ...]
    next_after: str | None = None
    """For ``after``, to read on; None at the end."""


class PriceSpan(msgspec.Struct, frozen=True, kw_only=True):
    """What an endpoint costs in ``[effective_from, effective_to)``."""

    version: str
    layers: tuple[Layer, ...]
    effective_from: datetime | None
    effective_to: datetime | None
    terms: dict[str, Any]
    """As a price of the tables; amounts are texts."""
    source: str | None
    checked_on: date | None


class PriceSpans(msgspec.Struct, frozen=True, kw_only=True):
    """All prices of an endpoint that are known, oldest first."""

    endpoint: str
    model: str
    data: tuple[PriceSpan, ...]
    tables: tuple[PriceSpan, ...]
    """What the tables alone say, below whatever the operator decided."""


def admin_catalogue_routes(desk: PriceDesk) -> list[HTTPRouteHandler]:
    """``/admin/catalogue``."""

    @get(
        "/admin/catalogue",
        operation_id="listCatalogue",
        tags=["prices"],
        sync_to_thread=False,
        opt=needs("auditor"),
    )
    def show(
        search: Annotated[
            str, Parameter(description="words that all are in endpoint or model", max_length=256)
        ] = "",
        provider: Annotated[str | None, Parameter(description="only this one")] = None,
        model: Annotated[str | None, Parameter(description="a model or an alias")] = None,
        prompt_tokens: Annotated[
            int, Parameter(description="length of a prompt, for prices that depend on it", ge=0)
        ] = 0,
        *,
        limit: Annotated[int, Parameter(ge=1, le=_MOST_LISTED)] = _MOST_LISTED,
        after: Annotated[
            str | None, Parameter(description="only those after this endpoint", max_length=512)
        ] = None,
    ) -> Offered:
        """The enabled endpoints with the prices that hold now, as this worker resolves them."""
        catalogue, at = desk.catalogue, datetime.now(UTC)
        named = catalogue.endpoints_by_id.values()
        found = _sought(named if model is None else catalogue.endpoints_of(model), search, provider)
        begin = 0 if after is None else _begin_after(found, catalogue.endpoints_by_id.get(after))
        page = found[begin : begin + limit]
        return Offered(
            version=catalogue.version,
            total=len(found),
            providers=tuple(sorted(catalogue.providers)),
            data=tuple(_offered(endpoint, at, prompt_tokens) for endpoint in page),
            next_after=page[-1].id if begin + limit < len(found) else None,
        )

    @get(
        "/admin/catalogue/prices",
        operation_id="listPriceSpans",
        tags=["prices"],
        sync_to_thread=False,
        opt=needs("auditor"),
    )
    def spans(endpoint: Annotated[str, Parameter(max_length=512)]) -> PriceSpans:
        """What an endpoint cost, costs and will cost, in all layers together."""
        found = desk.catalogue.endpoints_by_id.get(endpoint)
        if found is None:
            raise not_found(
                f"endpoint {endpoint!r}", "GET /admin/catalogue", code="endpoint_not_found"
            )
        beneath = desk.tables.endpoints_by_id.get(endpoint)
        return PriceSpans(
            endpoint=found.id,
            model=found.model,
            data=_spans(found),
            tables=() if beneath is None else _spans(beneath),
        )

    return [show, spans]


def layers_of(version: str) -> tuple[Layer, ...]:
    """Where a price version comes from, by the name that `pricing.operator_layer` gives it."""
    base: Layer = "operator" if "@operator#" in version else "tables"
    return (base, "discount") if _DISCOUNTED.search(version) else (base,)


def _spans(endpoint: Endpoint) -> tuple[PriceSpan, ...]:
    return tuple(
        PriceSpan(
            version=version.id,
            layers=layers_of(version.id),
            effective_from=version.effective_from,
            effective_to=version.effective_to,
            terms=terms_of(version),
            source=version.source,
            checked_on=version.checked_on,
        )
        for version in endpoint.prices
    )


def _sought(endpoints: Iterable[Endpoint], search: str, provider: str | None) -> list[Endpoint]:
    words = search.lower().split()
    found = [
        one
        for one in endpoints
        if (provider is None or one.provider == provider)
        and all(word in f"{one.id} {one.model}".lower() for word in words)
    ]
    return sorted(found, key=_place)


def _place(endpoint: Endpoint) -> tuple[str, str]:
    return endpoint.model, endpoint.id


def _begin_after(found: Sequence[Endpoint], last: Endpoint | None) -> int:
    if last is None:
        raise InvalidRequestError(
            "after: there is no such endpoint; begin without it", param="after"
        )
    return bisect_right(found, _place(last), key=_place)


def _offered(endpoint: Endpoint, at: datetime, prompt_tokens: int) -> OfferedEndpoint:
    held = next((version for version in endpoint.prices if version.holds_at(at)), None)
    later = (one.effective_from for one in endpoint.prices if one.effective_from is not None)
    return OfferedEndpoint(
        endpoint=endpoint.id,
        provider=endpoint.provider,
        model=endpoint.model,
        mode=endpoint.mode,
        price=resolve(endpoint, at=at, prompt_tokens=prompt_tokens),
        layers=() if held is None else layers_of(held.id),
        has_conditions=held is not None and _has_conditions(held),
        next_from=min((begins for begins in later if begins > at), default=None),
        source=None if held is None else held.source,
        checked_on=None if held is None else held.checked_on,
        is_disabled=endpoint.is_disabled_at(at),
        retired_at=endpoint.retired_at,
    )


def _has_conditions(version: PriceVersion) -> bool:
    return bool(
        version.size_tiers or version.windows or version.service_tiers or version.region_multiplier
    )
