"""Compares what a price list says with what is believed here, and proposes changes with reasons.

A proposal changes nothing. What is suspicious about one are its gates: such a one is put in force
only by somebody who names it.
"""

from collections.abc import Iterable, Sequence
from datetime import datetime
from decimal import Decimal
from typing import Any

import msgspec

from pricing.catalogue import Catalogue
from pricing.cost import ratio_text
from pricing.endpoint import Endpoint
from pricing.importers.conditions import LONGER, SERVED, differing, terms_with
from pricing.importers.listing import Listing, Lookup, PriceList
from pricing.importers.new_offers import new_offers
from pricing.price import PriceVersion

_MOST_TIMES, _LEAST_TIMES = Decimal("1.5"), Decimal("0.67")
_UNIT_TIMES = Decimal(20)
_MAIN = ("input_usd_per_mtok", "output_usd_per_mtok")
_PARENTS = {
    "reasoning_usd_per_mtok": "output_usd_per_mtok",
    "audio_input_usd_per_mtok": "input_usd_per_mtok",
    "audio_output_usd_per_mtok": "output_usd_per_mtok",
    "cache_write_usd_per_mtok": "input_usd_per_mtok",
}
"""A rate that equals its parent says nothing where ours is left out."""


class RateDifference(msgspec.Struct, frozen=True, kw_only=True):
    """One amount that a list has otherwise."""

    rate: str
    """As `Price` calls it; of a long prompt with the size behind it: ``input_usd_per_mtok>=200001``
    stands for prompts from 200,001 tokens on; of a service tier with its name:
    ``input_usd_per_mtok@flex``."""
    before: Decimal | None
    after: Decimal
    times: str | None
    """After by before, for people; None when it was unknown or 0."""


class PriceProposal(msgspec.Struct, frozen=True, kw_only=True):
    """What an endpoint should cost, says a list."""

    target: str
    listed_as: str
    """The list's own name of the offer."""
    url: str | None
    rates: dict[str, str]
    """What to set; the rest stays as it is."""
    terms: dict[str, Any] | None
    """Everything, where prices under conditions differ too; then `rates` is only told."""
    endpoint: dict[str, Any] | None = None
    """Of an offer that is new here: the endpoint, as the tables write one."""
    differences: tuple[RateDifference, ...]
    gates: tuple[str, ...]
    """Why somebody has to name it; empty when nothing is suspicious."""

    @property
    def is_free(self) -> bool:
        """It would make the endpoint free of charge."""
        return any(
            one.after == 0 and one.rate in _MAIN for one in self.differences if one.before != 0
        )


class Comparison(msgspec.Struct, frozen=True, kw_only=True):
    """What came of a list."""

    compared: int
    """Endpoints that the list knows."""
    unlisted: int
    """Endpoints that it does not know."""
    passed_over: tuple[str, ...]
    """Endpoints whose price depends on the hour: lists write that in too many ways."""
    proposals: tuple[PriceProposal, ...]


def compare(
    catalogue: Catalogue, lookup: Lookup, *, at: datetime, providers: Iterable[str] = ()
) -> Comparison:
    """What a list has otherwise than the catalogue at an instant.

    Args:
        catalogue: the tables with the operator's changes.
        lookup: the list that was read.
        at: now.
        providers: only these; none means all.
    """
    wanted = frozenset(providers)
    compared, unlisted = 0, 0
    passed_over: list[str] = []
    proposals: list[PriceProposal] = []
    for endpoint in catalogue.endpoints_by_id.values():
        if wanted and endpoint.provider not in wanted:
            continue
        listing = lookup(endpoint)
        if listing is None:
            unlisted += 1
            continue
        compared += 1
        held = next((version for version in endpoint.prices if version.holds_at(at)), None)
        if held is not None and held.windows:
            passed_over.append(endpoint.id)
            continue
        siblings = [one for one in catalogue.endpoints_of(endpoint.model) if one.id != endpoint.id]
        proposal = _proposal(endpoint, held, listing, siblings, at)
        if proposal is not None:
            proposals.append(proposal)
    return Comparison(
        compared=compared,
        unlisted=unlisted,
        passed_over=tuple(passed_over),
        proposals=tuple(proposals),
    )


def propose_new(
    catalogue: Catalogue, found: PriceList, *, at: datetime, providers: Iterable[str]
) -> tuple[PriceProposal, ...]:
    """What a list offers of the providers beside what is known here. Each has to be named."""
    proposals: list[PriceProposal] = []
    for new in new_offers(catalogue, found, at=at, providers=providers):
        listing = new.offer.listing
        base = [_difference(name, None, amount) for name, amount in listing.rates.items()]
        siblings = catalogue.endpoints_of(new.model) if new.model is not None else ()
        conditional = tuple(_difference(*one) for one in differing(None, listing))
        reached = "its provider alone" if new.model is None else new.model
        proposals.append(
            PriceProposal(
                target=new.target,
                listed_as=listing.name,
                url=listing.url,
                rates={one.rate: f"{one.after:f}" for one in base},
                terms=None,
                endpoint=new.table,
                differences=(*base, *conditional),
                gates=(
                    f"is new here, reached as {reached}: look whether it is served by this name",
                    *_unit_gates(base, siblings, at),
                ),
            )
        )
    return tuple(proposals)


def _proposal(
    endpoint: Endpoint,
    held: PriceVersion | None,
    listing: Listing,
    siblings: Sequence[Endpoint],
    at: datetime,
) -> PriceProposal | None:
    base = [
        _difference(name, _held_rate(held, name), amount)
        for name, amount in listing.rates.items()
        if _differs(endpoint, held, name, amount, listing)
    ]
    conditional = tuple(_difference(*one) for one in differing(held, listing))
    differences = (*base, *conditional)
    if not differences:
        return None
    gates = [
        *(gate for one in differences if (gate := _change_gate(one)) is not None),
        *_unit_gates(base, siblings, at),
    ]
    if any(LONGER in one.rate for one in conditional):
        gates.append("prices of long prompts differ")
    if any(SERVED in one.rate and one.before is None for one in conditional):
        gates.append("prices a service tier that has none here")
    if not listing.is_exact:
        gates.append(f"found by a pattern, as {listing.name}: it may be another model")
    rates = {one.rate: f"{one.after:f}" for one in base}
    return PriceProposal(
        target=endpoint.id,
        listed_as=listing.name,
        url=listing.url,
        rates=rates,
        terms=terms_with(held, rates, listing) if conditional else None,
        differences=differences,
        gates=tuple(gates),
    )


def _held_rate(held: PriceVersion | None, name: str) -> Decimal | None:
    return None if held is None else getattr(held.base, name)


def _differs(
    endpoint: Endpoint, held: PriceVersion | None, name: str, amount: Decimal, listing: Listing
) -> bool:
    ours = _held_rate(held, name)
    if ours == amount:
        return False
    if amount == 0 and (name not in _MAIN or ours is None or endpoint.is_free):
        # Lists write 0 both for "no charge" and for "unknown".
        return False
    parent = _PARENTS.get(name)
    return not (ours is None and parent and listing.rates.get(parent) == amount)


def _difference(name: str, before: Decimal | None, after: Decimal) -> RateDifference:
    return RateDifference(
        rate=name, before=before, after=after, times=ratio_text(after, before) if before else None
    )


def _change_gate(one: RateDifference) -> str | None:
    if one.before is None or one.before == 0:
        return None
    if one.after == 0:
        return f"{one.rate} falls to 0"
    if one.after > one.before * _MOST_TIMES:
        return f"{one.rate} rises to {one.times} times what it was"
    if one.after < one.before * _LEAST_TIMES:
        return f"{one.rate} falls to {one.times} times what it was"
    return None


def _unit_gates(
    differences: Iterable[RateDifference], siblings: Sequence[Endpoint], at: datetime
) -> list[str]:
    """Cents for dollars, thousands for millions: other providers of the model charge otherwise."""
    gates: list[str] = []
    for one in differences:
        if one.rate not in _MAIN or one.after == 0:
            continue
        for sibling in siblings:
            held = next((v for v in sibling.prices if v.holds_at(at)), None)
            theirs = _held_rate(held, one.rate)
            if theirs and (one.after > theirs * _UNIT_TIMES or one.after * _UNIT_TIMES < theirs):
                gates.append(
                    f"{one.rate} of {one.after:f} is more than {_UNIT_TIMES} times off what "
                    f"{sibling.id} charges ({theirs:f}): a slip of the unit?"
                )
                break
    return gates
