"""What is stored of one request: its cost lines and its plan. Pure."""

from collections.abc import Mapping, Sequence
from decimal import Decimal
from typing import Any

import msgspec

from dashboard import numbers
from pricing.cost import TOKENS_PER_MTOK


class CostLine(msgspec.Struct, frozen=True, kw_only=True):
    """One meter of one attempt."""

    meter: str
    quantity: int | None
    usd_per_mtok: Decimal | None
    """What a million came to; None for meters that are not tokens."""
    cost_usd: Decimal


class PlanRow(msgspec.Struct, frozen=True, kw_only=True):
    """An endpoint of a stored plan: in its order, or excluded with the reason."""

    endpoint: str
    expected_usd: Decimal | None = None
    probability: float | None = None
    reason: str | None = None
    """None when the endpoint was in the plan."""
    detail: str | None = None
    health: str = ""
    """What was known of it when the plan was made, in words."""


def cost_lines(attempt: Mapping[str, Any], meters: Sequence[tuple[str, str]]) -> list[CostLine]:
    """The cost lines of a row of `schemas.ATTEMPTS`.

    Args:
        attempt: the row.
        meters: each meter with the name of its cost column.
    """
    lines: list[CostLine] = []
    for meter, column in meters:
        cost_usd, quantity = attempt[column], attempt[meter]
        if cost_usd is None:
            continue
        is_tokens = meter.endswith("_tokens") and quantity
        lines.append(
            CostLine(
                meter=meter,
                quantity=quantity,
                usd_per_mtok=cost_usd * TOKENS_PER_MTOK / quantity if is_tokens else None,
                cost_usd=cost_usd,
            )
        )
    return lines


def unpriced_meters(
    attempt: Mapping[str, Any], meters: Sequence[tuple[str, str]]
) -> list[tuple[str, int]]:
    """Used meters of an attempt without a cost line, with their quantity."""
    return [
        (meter, attempt[meter])
        for meter, column in meters
        if attempt[meter] and attempt[column] is None
    ]


def plan_rows(plan_json: str) -> tuple[list[PlanRow], list[PlanRow], int]:
    """The stored plan: endpoints in their order, those excluded, and how many were in all.

    A plan of a shape that is not known yields nothing rather than an error: what was served is
    shown without it.
    """
    try:
        plan = msgspec.json.decode(plan_json, type=_StoredPlan)
    except msgspec.DecodeError:
        return [], [], 0
    planned = [
        PlanRow(
            endpoint=one.endpoint,
            expected_usd=one.cost_usd,
            probability=one.p,
            health=_health_words(one),
        )
        for one in plan.candidates
    ]
    dropped = [
        PlanRow(endpoint=one.endpoint, expected_usd=one.cost_usd, reason="no_fallbacks")
        for one in plan.dropped
    ]
    excluded = [
        PlanRow(endpoint=one.endpoint, reason=one.reason, detail=one.detail)
        for one in plan.excluded
    ]
    return (
        planned,
        dropped + excluded,
        len(dropped) + max(len(excluded), sum(plan.excluded_by.values())),
    )


class _StoredCandidate(msgspec.Struct, frozen=True):
    endpoint: str
    cost_usd: Decimal | None = None
    p: float | None = None
    outage: bool = False
    probation: bool = False
    cooling: bool = False
    sticky: bool = False
    uptime: float | None = None
    latency_ms: float | None = None
    tokens_per_s: float | None = None


class _StoredExclusion(msgspec.Struct, frozen=True):
    endpoint: str
    reason: str
    detail: str | None = None


class _StoredPlan(msgspec.Struct, frozen=True):
    candidates: tuple[_StoredCandidate, ...] = ()
    dropped: tuple[_StoredCandidate, ...] = ()
    excluded: tuple[_StoredExclusion, ...] = ()
    excluded_by: dict[str, int] = {}


def _health_words(one: _StoredCandidate) -> str:
    known = (
        "recent outage" if one.outage else "",
        "on probation" if one.probation else "",
        "resting" if one.cooling else "",
        "same session" if one.sticky else "",
        f"{numbers.share(one.uptime)} up" if one.uptime is not None else "",
        numbers.duration(one.latency_ms) if one.latency_ms is not None else "",
        f"{one.tokens_per_s:,.0f} tokens/s" if one.tokens_per_s is not None else "",
    )
    return " · ".join(filter(None, known))
