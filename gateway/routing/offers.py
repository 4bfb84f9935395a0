"""What can be known of a model's endpoints before any request comes, worked out once and kept.

Most requests are short, ask for nothing special and meet no price that is about to change: for
them no endpoint need be asked whether it is offered, whether the prompt fits, or what it charges.
"""

from collections.abc import Iterable, Sequence
from datetime import datetime
from decimal import Decimal
from typing import cast

from pricing.catalogue import Catalogue
from pricing.cost import CostTable
from pricing.endpoint import Endpoint
from pricing.price import STANDARD_SERVICE_TIERS, resolve

_MOST = 4_096
_UNBOUNDED = 1 << 62
_USUAL_TIERS = STANDARD_SERVICE_TIERS | {None}


class Offers:
    """The endpoints of one model (or of a pool) between two changes of any of them."""

    __slots__ = (
        "_below_tokens",
        "_costs",
        "_from",
        "_until",
        "are_offered",
        "endpoints",
        "least_answer",
        "least_input",
        "least_window",
        "prices",
    )

    def __init__(self, endpoints: Sequence[Endpoint], at: datetime) -> None:
        self.endpoints = endpoints
        self._from, self._until = span_of(endpoints, at)
        self.are_offered = all(is_live(endpoint, at) for endpoint in endpoints)
        """For chat, and neither retired nor switched off."""
        self.least_window = _least([endpoint.context_tokens for endpoint in endpoints])
        """The smallest context that is known; unknown ones do not count, here and below."""
        self.least_input = _least([endpoint.max_input_tokens for endpoint in endpoints])
        self.least_answer = _least([endpoint.max_output_tokens for endpoint in endpoints])
        self.prices = [resolve(endpoint, at=at, prompt_tokens=0) for endpoint in endpoints]
        """Of short prompts, in the order of the endpoints."""
        versions = [v for e in endpoints for v in e.prices if v.holds_at(at)]
        self._below_tokens = min([v.base_below_tokens for v in versions], default=_UNBOUNDED)
        self._costs = CostTable(self.prices)

    def holds_at(self, at: datetime) -> bool:
        """Whether no price began or ended, and no endpoint was retired or switched, since."""
        return self._from <= at and (self._until is None or at < self._until)

    def has_list_prices(self, prompt_tokens: int, service_tier: str | None) -> bool:
        """Whether such a request costs ``prices`` everywhere."""
        return prompt_tokens < self._below_tokens and service_tier in _USUAL_TIERS

    def costs(self, prompt_tokens: int, output_tokens: int) -> list[Decimal | None]:
        """What a request is expected to cost at ``prices``; None where that is unknown."""
        return self._costs.expected_usd(prompt_tokens=prompt_tokens, output_tokens=output_tokens)


def offers_of(catalogue: Catalogue, endpoints: tuple[Endpoint, ...], at: datetime) -> Offers:
    """What is known of endpoints that stand together in every request, as those of a model do."""
    kept = cast("dict[int, Offers]", catalogue.worked_out.setdefault("offers", {}))
    key = id(endpoints)
    found = kept.get(key)
    # Whoever is kept holds on to its endpoints, so that no other tuple can have their id.
    if found is None or not found.holds_at(at):
        if len(kept) >= _MOST:
            kept.clear()
        found = kept[key] = Offers(endpoints, at)
    return found


def is_live(endpoint: Endpoint, at: datetime) -> bool:
    """Whether it is for chat, and neither withdrawn by the provider nor switched off."""
    return (
        endpoint.mode == "chat"
        and (endpoint.retired_at is None or endpoint.retired_at > at)
        and not endpoint.is_disabled_at(at)
    )


def span_of(endpoints: Iterable[Endpoint], at: datetime) -> tuple[datetime, datetime | None]:
    """From when until when prices and offers are what they are at ``at``."""
    began, ends = datetime.min.replace(tzinfo=at.tzinfo), None
    for endpoint in endpoints:
        instants = [endpoint.retired_at, endpoint.disabled_from, endpoint.disabled_to]
        for version in endpoint.prices:
            instants += [version.effective_from, version.effective_to]
        for instant in instants:
            if instant is None:
                continue
            if instant <= at:
                began = max(began, instant)
            elif ends is None or instant < ends:
                ends = instant
    return began, ends


def _least(numbers: Iterable[int | None]) -> int:
    return min([number for number in numbers if number is not None], default=_UNBOUNDED)
