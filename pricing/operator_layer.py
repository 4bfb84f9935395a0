"""The operator's own prices on top of the tables: overrides, discounts, endpoints, switches.

A change is never edited. What is wrong is revoked or overruled by a later one, so that what was
believed at any time can be told. This file is pure: who stores the changes is no matter here.
"""

from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any, Literal

import msgspec

from pricing.catalogue import Catalogue
from pricing.declaration import endpoint_from_config, version_from_terms
from pricing.discount import discounted
from pricing.endpoint import Endpoint
from pricing.errors import CatalogueError
from pricing.price import PriceVersion
from pricing.validation import check_endpoint

ChangeKind = Literal["price", "discount", "endpoint", "disable", "revoke"]

WISHED = "new"
"""The id of a change that is not recorded yet."""
_EVER = datetime.min.replace(tzinfo=UTC)
_FOREVER = datetime.max.replace(tzinfo=UTC)


class PriceChange(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One thing the operator decided, in force in ``[effective_from, effective_to)``.

    `target` is an endpoint (``provider/their-id``); discounts and switches may name a provider, and
    a revocation names the change that it ends at its own `effective_from`.
    """

    id: str
    kind: ChangeKind
    target: str
    effective_from: datetime
    """Aware UTC; may lie before `recorded_at`, as when a correction is dated back."""
    effective_to: datetime | None = None
    """The first instant at which it no longer holds; None means until further notice."""
    terms: dict[str, Any] | None = None
    """Of a price: the keys of a price in the tables, amounts as decimals, all that hold; with
    ``free`` true beside amounts of 0."""
    factor: Decimal | None = None
    """Of a discount: 0.9 for ten per cent off every amount."""
    endpoint: dict[str, Any] | None = None
    """Of an endpoint: the keys of one in the tables."""
    recorded_at: datetime
    recorded_by: str
    reason: str


def apply_changes(catalogue: Catalogue, changes: Sequence[PriceChange]) -> Catalogue:
    """The catalogue as the operator wants it; itself when nothing changes.

    Args:
        catalogue: the tables.
        changes: in the order in which they were recorded, which decides where two contradict.

    Raises:
        CatalogueError: a change makes an endpoint that the tables' own rules refuse; says which.
    """
    if not changes:
        return catalogue
    standing = standing_changes(changes)
    own: dict[str, Endpoint] = {}
    for change in standing:
        if change.kind == "endpoint" and change.target.partition("/")[0] in catalogue.providers:
            endpoint = catalogue.complete(own_endpoint(change))
            own[endpoint.id] = endpoint
    endpoints = {**catalogue.endpoints_by_id, **own}
    touched: dict[str, Endpoint] = dict(own)
    for endpoint_id, endpoint in endpoints.items():
        concerned = [
            change
            for change in standing
            if change.kind != "endpoint" and change.target in {endpoint_id, endpoint.provider}
        ]
        if concerned:
            touched[endpoint_id] = _changed(endpoint, concerned)
    return catalogue.with_endpoints(endpoints=touched.values()) if touched else catalogue


def without_discounts(changes: Iterable[PriceChange]) -> list[PriceChange]:
    """What remains when nothing is taken off: prices as they are listed and were set.

    Discounts work on these; whoever changes or compares an amount means the listed one.
    """
    return [change for change in changes if change.kind != "discount"]


def own_endpoint(change: PriceChange) -> Endpoint:
    """The endpoint that a change declares.

    Raises:
        CatalogueError: its table is wrong.
    """
    provider, _, native = change.target.partition("/")
    table = {**(change.endpoint or {}), "id": native}
    try:
        return endpoint_from_config(provider, table)
    except CatalogueError as exc:
        raise _of(change, exc, change.target) from None


def price_version_of(change: PriceChange) -> PriceVersion:
    """The price version that a change of kind ``price`` puts into force.

    Raises:
        CatalogueError: its terms are wrong.
    """
    terms = {name: value for name, value in (change.terms or {}).items() if name != "free"}
    try:
        version = version_from_terms(change.target, terms)
    except CatalogueError as exc:
        raise _of(change, exc, change.target) from None
    name = f"{change.target}@operator#{change.id}"
    return msgspec.structs.replace(
        version,
        id=name,
        base=msgspec.structs.replace(version.base, version=name, is_free=_is_free(change)),
        effective_from=change.effective_from,
        effective_to=change.effective_to,
    )


def standing_changes(changes: Iterable[PriceChange]) -> list[PriceChange]:
    """What still stands: a revocation ends its change, or undoes one that had not begun."""
    standing: dict[str, PriceChange] = {}
    for change in changes:
        if change.kind != "revoke":
            standing[change.id] = change
            continue
        revoked = standing.get(change.target)
        if revoked is None:
            continue
        if revoked.kind == "endpoint" or change.effective_from <= revoked.effective_from:
            del standing[change.target]
            continue
        ends = min(revoked.effective_to or _FOREVER, change.effective_from)
        standing[change.target] = msgspec.structs.replace(revoked, effective_to=ends)
    return list(standing.values())


def _changed(endpoint: Endpoint, changes: Sequence[PriceChange]) -> Endpoint:
    prices = endpoint.prices
    for change in changes:
        if change.kind == "price":
            prices = _spliced(prices, price_version_of(change))
    discounts = [change for change in changes if change.kind == "discount"]
    if discounts:
        prices = _discounted(prices, discounts)
    off = _specific([change for change in changes if change.kind == "disable"])
    changed = msgspec.structs.replace(
        endpoint,
        prices=prices,
        is_free=endpoint.is_free or any(_is_free(change) for change in changes),
        service_tiers=tuple(sorted({name for v in prices for name in v.service_tiers})),
        disabled_from=off[-1].effective_from if off else endpoint.disabled_from,
        disabled_to=off[-1].effective_to if off else endpoint.disabled_to,
    )
    try:
        check_endpoint(changed)
    except CatalogueError as exc:
        raise _of(changes[-1], exc, endpoint.id) from None
    return changed


def _of(change: PriceChange, exc: CatalogueError, endpoint: str) -> CatalogueError:
    """The error with the endpoint, and the change that makes it unless it is the one asked for."""
    told = "" if change.id == WISHED else f" (with the operator's change {change.id})"
    return CatalogueError(
        f"{exc.problem}{told}",
        endpoint=endpoint,
        remedy=exc.remedy,
        key=exc.key,
        value=exc.value,
    )


def _is_free(change: PriceChange) -> bool:
    return change.terms is not None and change.terms.get("free") is True


def _specific(changes: Sequence[PriceChange]) -> list[PriceChange]:
    """Those about the endpoint itself when there are any, else those about its provider."""
    own = [change for change in changes if "/" in change.target]
    return own or list(changes)


def _spliced(versions: tuple[PriceVersion, ...], new: PriceVersion) -> tuple[PriceVersion, ...]:
    """The versions with a new one in its time; the others keep what is left of theirs."""
    begins, ends = new.effective_from or _EVER, new.effective_to or _FOREVER
    pieces = [new]
    for version in versions:
        pieces += _cut(version, _EVER, begins)
        pieces += _cut(version, ends, _FOREVER)
    return tuple(sorted(pieces, key=lambda version: version.effective_from or _EVER))


def _cut(version: PriceVersion, begins: datetime, ends: datetime) -> list[PriceVersion]:
    """What of a version lies in ``[begins, ends)``."""
    since, until = version.effective_from or _EVER, version.effective_to or _FOREVER
    first, last = max(since, begins), min(until, ends)
    if first >= last:
        return []
    return [
        msgspec.structs.replace(
            version,
            effective_from=None if first == _EVER else first,
            effective_to=None if last == _FOREVER else last,
        )
    ]


def _discounted(
    versions: tuple[PriceVersion, ...], discounts: Sequence[PriceChange]
) -> tuple[PriceVersion, ...]:
    """Each span of time at the factor that holds in it: the endpoint's own, else the latest."""
    instants = sorted(
        {
            instant
            for change in discounts
            for instant in (change.effective_from, change.effective_to)
            if instant is not None
        }
    )
    spans = list(zip([_EVER, *instants], [*instants, _FOREVER], strict=True))
    pieces: list[PriceVersion] = []
    for version in versions:
        for begins, ends in spans:
            holding = [
                change
                for change in discounts
                if change.effective_from <= begins < (change.effective_to or _FOREVER)
            ]
            found = _cut(version, begins, ends)
            pieces += _at_factor(found, _specific(holding)[-1]) if holding else found
    return tuple(sorted(pieces, key=lambda piece: piece.effective_from or _EVER))


def _at_factor(versions: Sequence[PriceVersion], discount: PriceChange) -> list[PriceVersion]:
    factor = discount.factor
    if factor is None:
        raise CatalogueError(
            "a discount has no factor", key="factor", remedy="write 0.9 for ten per cent off"
        )
    return [
        discounted(version, factor, f"{version.id}*{factor.normalize():f}#{discount.id}")
        for version in versions
    ]
