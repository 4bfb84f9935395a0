"""What an answer's usage would have cost at a baseline, and what that says of savings. Pure.

Savings are the baseline less everything that was paid, failed attempts included, over the requests
for which both are known; they may be negative, and are told together with how many those are.
"""

from collections.abc import Iterable
from datetime import datetime
from decimal import Decimal
from typing import Protocol

import msgspec

from pricing.catalogue import Catalogue
from pricing.cost import compute_cost, difference_usd, sum_known
from pricing.endpoint import Endpoint
from pricing.price import resolve
from pricing.usage import Usage

DEAREST = "dearest"
_CHAT_MODES = frozenset({"chat", "responses"})


class Baseline(msgspec.Struct, frozen=True, kw_only=True):
    """What the operator compares with."""

    endpoint: Endpoint | None = None
    """As the tables have it; what the operator changed about it comes before. None: the dearest of
    the endpoints that might have answered."""


class Considered(Protocol):
    """An endpoint that might have answered, with what that was expected to cost."""

    @property
    def endpoint(self) -> Endpoint: ...

    @property
    def expected_cost_usd(self) -> Decimal | None: ...


class Savings(msgspec.Struct, frozen=True, kw_only=True):
    """What was saved, as far as it can be told."""

    baseline_usd: Decimal
    cost_usd: Decimal
    """Of the covered requests."""
    saved_usd: Decimal
    """May be negative."""
    covered_requests: int
    """Those of which baseline and cost are known."""
    requests: int
    uncovered_cost_usd: Decimal
    """Of the requests without a known baseline: unanswered ones, say."""


def baseline_cost_usd(
    baseline: Baseline,
    *,
    usage: Usage,
    served: Endpoint,
    candidates: Iterable[Considered],
    catalogue: Catalogue,
    at: datetime,
) -> Decimal | None:
    """What the usage would have cost at the baseline, at its list price; None when unknown.

    Args:
        baseline: what is compared with.
        usage: of the attempt that answered.
        served: who answered; only chats are compared with a chat.
        candidates: those that might have answered, `served` among them.
        catalogue: in force when the request began.
        at: when the answer's attempt began, aware UTC.
    """
    endpoint = baseline.endpoint
    if endpoint is None:
        endpoint = _dearest(candidates) or served
    else:
        endpoint = catalogue.endpoints_by_id.get(endpoint.id, endpoint)
    if (endpoint.mode in _CHAT_MODES) != (served.mode in _CHAT_MODES):
        return None
    return cost_at_usd(endpoint, usage=usage, at=at)


def cost_at_usd(
    endpoint: Endpoint, *, usage: Usage, at: datetime, service_tier: str | None = None
) -> Decimal | None:
    """What usage would have cost at an endpoint, by its price of then; None when it is unknown."""
    price = resolve(endpoint, at=at, prompt_tokens=usage.prompt_tokens, service_tier=service_tier)
    return compute_cost(usage, price).total_usd


def savings_of(requests: Iterable[tuple[Decimal | None, Decimal | None]]) -> Savings:
    """Savings over pairs of baseline and cost, either of them None where it is unknown."""
    told = list(requests)
    covered = [(base, paid) for base, paid in told if base is not None and paid is not None]
    others = [paid for base, paid in told if base is None and paid is not None]
    baseline = sum_known(*(base for base, _ in covered)) or Decimal(0)
    cost = sum_known(*(paid for _, paid in covered)) or Decimal(0)
    return Savings(
        baseline_usd=baseline,
        cost_usd=cost,
        saved_usd=difference_usd(baseline, cost),
        covered_requests=len(covered),
        requests=len(told),
        uncovered_cost_usd=sum_known(*others) or Decimal(0),
    )


def _dearest(candidates: Iterable[Considered]) -> Endpoint | None:
    known = [one for one in candidates if one.expected_cost_usd is not None]
    return max(known, key=_expected_usd).endpoint if known else None


def _expected_usd(candidate: Considered) -> Decimal:
    return candidate.expected_cost_usd or Decimal(0)
