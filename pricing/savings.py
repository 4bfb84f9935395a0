"""What an answer's usage would have cost at a baseline, and what that says of savings. Pure.

Savings are the baseline less everything that was paid, failed attempts included, over the requests
for which both are known; they may be negative, and are told together with how many those are.
"""

from collections.abc import Iterable, Sequence
from datetime import datetime
from decimal import Decimal
from typing import Protocol

import msgspec

from pricing.catalogue import Catalogue, load_catalogue
from pricing.cost import compute_cost, difference_usd, sum_known
from pricing.endpoint import Endpoint
from pricing.nearest import Names
from pricing.price import resolve
from pricing.usage import Usage

DEAREST = "dearest"
PREVIOUS_RULES = "previous-rules"
"""Whoever would have served under the rules before those in force; told by decided requests alone,
so that reports know it and records do not."""
_MOST_NEAR = 3
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
    """Of the covered requests, failed attempts included."""
    saved_usd: Decimal
    """May be negative."""
    covered_requests: int
    """Those of which baseline and cost are known."""
    requests: int
    uncovered_cost_usd: Decimal
    """Known costs of the others: of requests that nobody answered, say."""
    unpriced_requests: int
    """Those of the others whose own cost is not known."""


class SavingsTally:
    """Adds up requests."""

    __slots__ = ("_baseline", "_cost", "_covered", "_requests", "_uncovered", "_unpriced")

    def __init__(self) -> None:
        self._baseline = self._cost = self._uncovered = Decimal(0)
        self._covered = self._requests = self._unpriced = 0

    def add(self, baseline_usd: Decimal | None, cost_usd: Decimal | None) -> None:
        """Count a request; either amount is None where it is unknown."""
        self._requests += 1
        if cost_usd is None:
            self._unpriced += 1
        elif baseline_usd is None:
            self._uncovered = _plus(self._uncovered, cost_usd)
        else:
            self._covered += 1
            self._baseline = _plus(self._baseline, baseline_usd)
            self._cost = _plus(self._cost, cost_usd)

    @property
    def savings(self) -> Savings:
        return Savings(
            baseline_usd=self._baseline,
            cost_usd=self._cost,
            saved_usd=difference_usd(self._baseline, self._cost),
            covered_requests=self._covered,
            requests=self._requests,
            uncovered_cost_usd=self._uncovered,
            unpriced_requests=self._unpriced,
        )


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
    if not is_comparable(endpoint, served):
        return None
    return cost_at_usd(endpoint, usage=usage, at=at)


def is_comparable(endpoint: Endpoint, served: Endpoint) -> bool:
    """Whether both answer chats, or neither does."""
    return (endpoint.mode in _CHAT_MODES) == (served.mode in _CHAT_MODES)


def cost_at_usd(
    endpoint: Endpoint,
    *,
    usage: Usage,
    at: datetime,
    service_tier: str | None = None,
    region: str | None = None,
) -> Decimal | None:
    """What usage would have cost at an endpoint, by its price of then; None when it is unknown."""
    price = resolve(
        endpoint,
        at=at,
        prompt_tokens=usage.prompt_tokens,
        service_tier=service_tier,
        region=region,
    )
    return compute_cost(usage, price).total_usd


def savings_of(requests: Iterable[tuple[Decimal | None, Decimal | None]]) -> Savings:
    """Savings over pairs of baseline and cost, either of them None where it is unknown."""
    tally = SavingsTally()
    for baseline_usd, cost_usd in requests:
        tally.add(baseline_usd, cost_usd)
    return tally.savings


def find_endpoint(name: str, offered: Catalogue) -> Endpoint:
    """An endpoint that may be a baseline: of those offered, else of all that the tables know.

    Raises:
        LookupError: there is none; the message ends with the nearest.
    """
    found = offered.endpoints_by_id.get(name)
    if found is not None:
        return found
    shipped = load_catalogue()
    found = shipped.endpoints_by_id.get(name)
    if found is None:
        near = _near(name, offered, shipped)
        hint = f"; near are {', '.join(near)}" if near else ""
        raise LookupError(f"{name!r} is no endpoint and not {DEAREST!r}{hint}")
    return found


def _near(name: str, offered: Catalogue, shipped: Catalogue) -> Sequence[str]:
    """Those that serve the model of that name, else those that are called alike; three at most."""
    serving = offered.endpoints_of(name) or shipped.endpoints_of(name)
    if serving:
        return [endpoint.id for endpoint in serving[:_MOST_NEAR]]
    return Names([*offered.endpoints_by_id, *shipped.endpoints_by_id]).nearest(name, _MOST_NEAR)


def _plus(total: Decimal, amount: Decimal) -> Decimal:
    return sum_known(total, amount) or Decimal(0)


def _dearest(candidates: Iterable[Considered]) -> Endpoint | None:
    known = [one for one in candidates if one.expected_cost_usd is not None]
    return max(known, key=_expected_usd).endpoint if known else None


def _expected_usd(candidate: Considered) -> Decimal:
    return candidate.expected_cost_usd or Decimal(0)
