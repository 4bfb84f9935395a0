"""From what an operator wishes to a change of prices that has been checked, and what it does."""

from collections.abc import Sequence
from datetime import datetime
from decimal import Decimal
from difflib import get_close_matches
from typing import Any, Literal, cast

import msgspec

from pricing.catalogue import Catalogue
from pricing.endpoint import Endpoint
from pricing.errors import CatalogueError
from pricing.nearest import Names
from pricing.operator_layer import (
    WISHED,
    ChangeKind,
    PriceChange,
    apply_changes,
    standing_changes,
    without_discounts,
)
from pricing.price import RATES, Price, resolve
from pricing.terms import terms_of

MAX_FACTOR = Decimal(10)
_BASE_ONLY = frozenset({*RATES, "upper_bound", "reviewed"})


class PriceWish(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What an operator wants. Amounts are texts: ``"0.15"`` USD per million tokens."""

    kind: ChangeKind
    target: str
    """``provider/their-id``; a provider for discounts and switches; a change's id to revoke it."""
    rates: dict[str, str] = {}
    """Of a price: by the names of the tables; those that are not named stay as they are."""
    conditions: Literal["keep", "drop"] = "keep"
    """Of a price: whether tiers, windows and regions of the price before go on to hold."""
    terms: dict[str, Any] | None = None
    """Of a price: everything, conditions included, instead of `rates`."""
    free: bool = False
    """Of a price: amounts of 0 are meant."""
    factor: str | None = None
    endpoint: dict[str, Any] | None = None
    effective_from: datetime | None = None
    """None means now."""
    effective_to: datetime | None = None
    reason: str


class Decision(msgspec.Struct, frozen=True, kw_only=True):
    """A change that may be recorded, and what it would do."""

    change: PriceChange
    """Its id is not the one that it will have."""
    effects: tuple["Effect", ...]


class Effect(msgspec.Struct, frozen=True, kw_only=True):
    """An endpoint's price for a short prompt, right before and at the moment of the change."""

    endpoint: str
    before: Price | None
    after: Price | None
    is_disabled: bool = False


def decide(
    wish: PriceWish,
    tables: Catalogue,
    changes: Sequence[PriceChange],
    *,
    at: datetime,
    actor: str,
) -> Decision:
    """Check a wish against the tables and every change before it.

    Raises:
        CatalogueError: it would make something that the rules of the tables refuse, its target is
            unknown, or it changes nothing; says what to do.
    """
    begins = wish.effective_from or at
    for key, instant in (("effective_from", begins), ("effective_to", wish.effective_to)):
        if instant is not None and instant.tzinfo is None:
            raise _refused(f"`{key}` has no time zone", "end it with Z for UTC", key=key)
    if wish.effective_to is not None and wish.effective_to <= begins:
        raise _refused(
            "`effective_to` must be later than `effective_from`",
            "it is the first instant at which the change no longer holds",
            key="effective_to",
        )
    if not wish.reason.strip():
        raise _refused("the reason is missing", "say why, for the history", key="reason")
    for given in (wish.terms, wish.endpoint):
        _refuse_numbers(given, "")
    before = apply_changes(tables, changes)
    change = PriceChange(
        id=WISHED,
        kind=wish.kind,
        target=wish.target,
        effective_from=begins,
        effective_to=wish.effective_to,
        recorded_at=at,
        recorded_by=actor,
        reason=wish.reason.strip(),
        **_content(wish, apply_changes(tables, without_discounts(changes)), changes, begins),
    )
    after = apply_changes(tables, [*changes, change])
    return Decision(change=change, effects=_effects(before, after, begins))


def _content(
    wish: PriceWish, before: Catalogue, changes: Sequence[PriceChange], at: datetime
) -> dict[str, Any]:
    if wish.kind == "revoke":
        _check_standing(wish.target, changes)
        return {}
    if wish.kind == "endpoint":
        provider, _, native = wish.target.partition("/")
        if provider not in before.providers or not native:
            raise _refused(
                f"`{wish.target}` names no known provider",
                "write provider/their-id, with a provider that serves here",
                key="target",
            )
        if not wish.endpoint:
            raise _refused("the endpoint is missing", "send `endpoint`", key="endpoint")
        return {"endpoint": wish.endpoint}
    endpoint = before.endpoints_by_id.get(wish.target)
    if endpoint is None and (wish.kind == "price" or wish.target not in before.providers):
        near = ", ".join(_nearest(wish.target, before))
        raise _refused(
            f"`{wish.target}` is no endpoint that serves here"
            if wish.kind == "price"
            else f"`{wish.target}` is no endpoint or provider that serves here",
            f"nearest are {near}" if near else "'tollway prices show MODEL' lists endpoints",
            key="target",
        )
    if wish.kind == "discount":
        return {"factor": _factor(wish.factor)}
    if wish.kind == "disable" or endpoint is None:
        return {}
    return {"terms": _terms(wish, endpoint, at)}


def _terms(wish: PriceWish, endpoint: Endpoint, at: datetime) -> dict[str, Any]:
    """Everything that is to hold: what is named, and what of the price before goes on."""
    terms: dict[str, Any] = {}
    if wish.terms is not None:
        terms = dict(wish.terms)
    else:
        if not wish.rates:
            raise _refused("no rate is named", f"name some of {', '.join(RATES)}", key="rates")
        unknown = [name for name in wish.rates if name not in RATES]
        if unknown:
            raise _refused(
                f"`{unknown[0]}` is no rate", f"use some of {', '.join(RATES)}", key="rates"
            )
        held = next((version for version in endpoint.prices if version.holds_at(at)), None)
        if held is not None:
            kept = terms_of(held)
            terms = {
                name: value
                for name, value in kept.items()
                if wish.conditions == "keep" or name in _BASE_ONLY
            }
        terms |= wish.rates
    if wish.free:
        terms["free"] = True
    return terms


def _refuse_numbers(value: object, key: str) -> None:
    """Numbers with a point came through binary fractions, which cannot hold a price."""
    if isinstance(value, float):
        raise _refused(
            f"`{key}` must be exact",
            f'send the amount as a text: "{value!r}"',
            key=key,
            value=value,
        )
    if isinstance(value, dict):
        for name, item in cast("dict[str, object]", value).items():
            _refuse_numbers(item, name)
    elif isinstance(value, list):
        for item in cast("list[object]", value):
            _refuse_numbers(item, key)


def _factor(text: str | None) -> Decimal:
    try:
        factor = Decimal(text or "")
    except ArithmeticError:
        factor = Decimal(0)
    if not factor.is_finite() or not 0 < factor <= MAX_FACTOR:
        raise _refused(
            f"`factor` must be above 0 and at most {MAX_FACTOR}",
            "write 0.9 for ten per cent off",
            key="factor",
            value=text,
        )
    return factor


def _check_standing(change_id: str, changes: Sequence[PriceChange]) -> None:
    if change_id not in {change.id for change in standing_changes(changes)}:
        raise _refused(
            f"there is no change `{change_id}` that still stands",
            "'tollway prices history' lists them",
            key="target",
        )


def _effects(before: Catalogue, after: Catalogue, at: datetime) -> tuple[Effect, ...]:
    changed = [
        endpoint
        for endpoint_id, endpoint in after.endpoints_by_id.items()
        if before.endpoints_by_id.get(endpoint_id) is not endpoint
        and before.endpoints_by_id.get(endpoint_id) != endpoint
    ]
    effects: list[Effect] = []
    for endpoint in changed:
        known = before.endpoints_by_id.get(endpoint.id)
        effects.append(
            Effect(
                endpoint=endpoint.id,
                before=None if known is None else resolve(known, at=at, prompt_tokens=0),
                after=resolve(endpoint, at=at, prompt_tokens=0),
                is_disabled=endpoint.is_disabled_at(at),
            )
        )
    gone = before.endpoints_by_id.keys() - after.endpoints_by_id.keys()
    effects += [
        Effect(
            endpoint=endpoint_id,
            before=resolve(before.endpoints_by_id[endpoint_id], at=at, prompt_tokens=0),
            after=None,
        )
        for endpoint_id in sorted(gone)
    ]
    return tuple(effects)


def _nearest(target: str, catalogue: Catalogue) -> list[str]:
    if "/" not in target:
        providers = get_close_matches(target, catalogue.providers, n=3)
        if providers:
            return providers
    return list(Names(catalogue.endpoints_by_id).nearest(target))


def _refused(problem: str, remedy: str, *, key: str, value: object = None) -> CatalogueError:
    return CatalogueError(problem, remedy=remedy, key=key, value=value)
