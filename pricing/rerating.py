"""What recorded usage costs under the prices that are believed now, beside what was recorded. Pure.

An attempt keeps its cost when the provider told it, when nothing was metered, when its caller paid
for it, and when no price is known for its time any more: a correction never makes a known cost
unknown.
"""

from collections.abc import Mapping, Sequence
from datetime import datetime
from decimal import Decimal
from typing import Literal, TypeAlias

import msgspec

from pricing.catalogue import Catalogue
from pricing.cost import Cost, CostSource, compute_cost, difference_usd, sum_known
from pricing.price import resolve
from pricing.usage import Usage

Verdict: TypeAlias = Literal[
    "adjusted",
    "unchanged",
    "reported",
    "unmetered",
    "unknown_endpoint",
    "unpriced",
    "paid_by_caller",
]
SHADOW = "shadow"


class RecordedAttempt(msgspec.Struct, frozen=True, kw_only=True):
    """What is needed of a recorded attempt. `cost_usd` has every earlier correction in it."""

    number: int
    kind: str
    provider: str
    model: str
    endpoint: str
    started_at: datetime
    service_tier: str | None
    served_region: str | None = None
    usage: Usage | None
    is_estimated: bool
    """Its usage, or what was recorded of its cost."""
    source: CostSource
    cost_usd: Decimal | None
    is_paid_by_caller: bool = False
    is_bound: bool = False
    """Nobody saw its end: budgets tell its cost, and its usage is that of the prompt alone."""


class Correction(msgspec.Struct, frozen=True, kw_only=True):
    """A cost that is another one now."""

    attempt: RecordedAttempt
    cost: Cost
    difference_usd: Decimal
    """What it adds to the sum of known costs."""
    request_difference_usd: Decimal | None
    """What it adds to the known cost of the request; None while that stays unknown."""


def rerate_request(
    attempts: Sequence[RecordedAttempt], chosen: Sequence[int], catalogue: Catalogue
) -> tuple[list[Correction], list[Verdict]]:
    """Corrections of one request, and what was found of each chosen attempt.

    Args:
        attempts: all of the request, since its cost is their sum; copies add nothing to it.
        chosen: numbers of those to look at.
        catalogue: the tables with the operator's changes; prices of every time.
    """
    corrections: list[Correction] = []
    verdicts: list[Verdict] = []
    believed = {attempt.number: attempt.cost_usd for attempt in attempts}
    paid = [attempt.number for attempt in attempts if attempt.kind != SHADOW]
    for attempt in attempts:
        if attempt.number not in chosen:
            continue
        verdict, cost = rerate(attempt, catalogue)
        verdicts.append(verdict)
        if verdict != "adjusted" or cost is None:
            continue
        before = _request_usd(believed, paid)
        believed[attempt.number] = cost.total_usd
        after = _request_usd(believed, paid)
        corrections.append(
            Correction(
                attempt=attempt,
                cost=cost,
                difference_usd=difference_usd(cost.total_usd, attempt.cost_usd),
                request_difference_usd=None if after is None else difference_usd(after, before),
            )
        )
    return corrections, verdicts


def rerate(attempt: RecordedAttempt, catalogue: Catalogue) -> tuple[Verdict, Cost | None]:
    """What an attempt costs now, where that can be told."""
    if attempt.is_paid_by_caller:
        return "paid_by_caller", None
    if attempt.source == "provider_reported":
        return "reported", None
    if attempt.usage is None or attempt.is_bound:
        return "unmetered", None
    endpoint = catalogue.endpoints_by_id.get(attempt.endpoint)
    if endpoint is None:
        return "unknown_endpoint", None
    price = resolve(
        endpoint,
        at=attempt.started_at,
        prompt_tokens=attempt.usage.prompt_tokens,
        service_tier=attempt.service_tier,
        region=attempt.served_region,
    )
    cost = compute_cost(attempt.usage, price, is_estimated=attempt.is_estimated)
    if cost.total_usd is None:
        return "unpriced", None
    return ("unchanged" if cost.total_usd == attempt.cost_usd else "adjusted"), cost


def _request_usd(believed: Mapping[int, Decimal | None], paid: Sequence[int]) -> Decimal | None:
    return sum_known(*(believed[number] for number in paid))
