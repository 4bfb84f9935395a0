"""Why spend changed: volume, mix, size, cache, price and waste, which add up exactly. Pure.

Endpoints are compared with themselves, for each key. One factor after the other takes its new
value, those before it being new already, so that the effects add up to the whole change. An
endpoint that a key did not use before takes its present costs: its arrival is mix. Costs that are
not known are left out on both sides.
"""

from collections.abc import Iterable, Mapping
from decimal import Decimal
from fractions import Fraction
from itertools import pairwise
from typing import Any

import msgspec

DIMENSIONS = ("endpoint", "key", "outcome")
EFFECTS = ("volume", "mix", "size", "cache", "price", "waste")
_PROMPT, _COMPLETION = ("input", "cache_read", "cache_write"), ("output", "reasoning")
_GROUPS = (*_PROMPT, *_COMPLETION)
_STEP = Decimal(1).scaleb(-12)


class Change(msgspec.Struct, frozen=True, kw_only=True):
    """What was spent before, what is spent now, and the effects between them."""

    before_usd: Decimal
    now_usd: Decimal
    effects: dict[str, Decimal]
    """By `EFFECTS`; they add up to the difference."""


class _Cell(msgspec.Struct, frozen=True, kw_only=True):
    """What one endpoint did for one key, in attempts that were served."""

    attempts: int
    tokens: dict[str, int]
    costs: dict[str, Fraction]
    other: Fraction


def explain(now: Iterable[Mapping[str, Any]], before: Iterable[Mapping[str, Any]]) -> Change | None:
    """The effects between two periods; None when nothing was served in one of them.

    Args:
        now: rows of `schemas.ATTEMPT_SUMS` by `DIMENSIONS`.
        before: the same, of the period before.
    """
    cells, waste = _cells(now)
    old_cells, old_waste = _cells(before)
    served = sum(cell.attempts for cell in cells.values())
    old_served = sum(cell.attempts for cell in old_cells.values())
    if not served or not old_served:
        return None
    steps = [Fraction(0)] * 6
    steps[0] = sum(map(_cost, old_cells.values()), Fraction(0))
    steps[1] = steps[0] * served / old_served
    for name, cell in cells.items():
        old = old_cells.get(name, cell)
        scale = Fraction(cell.attempts, old.attempts)
        prompt = _growth(cell, old, _PROMPT, scale)
        completion = _growth(cell, old, _COMPLETION, scale)
        others = old.other * scale
        steps[2] += _cost(old) * scale
        steps[3] += (
            _sum(old.costs, _PROMPT) * prompt + _sum(old.costs, _COMPLETION) * completion + others
        )
        steps[4] += (
            sum((_at_old_price(cell, old, group) for group in _PROMPT), Fraction(0))
            + _sum(old.costs, _COMPLETION) * completion
            + others
        )
        steps[5] += _cost(cell)
    exact = [later - earlier for earlier, later in pairwise(steps)]
    exact.append(waste - old_waste)
    total_before, total_now = steps[0] + old_waste, steps[5] + waste
    return Change(
        before_usd=_rounded(total_before),
        now_usd=_rounded(total_now),
        effects=_effects(exact, _rounded(total_now) - _rounded(total_before)),
    )


def _cells(
    rows: Iterable[Mapping[str, Any]],
) -> tuple[dict[tuple[str, str], _Cell], Fraction]:
    cells: dict[tuple[str, str], _Cell] = {}
    waste = Fraction(0)
    for row in rows:
        if row["outcome"] != "success":
            waste += Fraction(row["cost_usd"])
            continue
        name = (row["endpoint"], row["key"])
        seen = cells.get(name)
        found = _Cell(
            attempts=row["attempts"] - row["unpriced"],
            tokens={group: row[f"{group}_tokens"] for group in _GROUPS},
            costs={group: Fraction(row[f"cost_{group}_usd"]) for group in _GROUPS},
            other=Fraction(row["cost_other_usd"]),
        )
        cells[name] = found if seen is None else _merged(seen, found)
    # Without a single attempt of known cost there is nothing to compare.
    priced = {name: cell for name, cell in cells.items() if cell.attempts}
    return priced, waste


def _merged(one: _Cell, other: _Cell) -> _Cell:
    return _Cell(
        attempts=one.attempts + other.attempts,
        tokens={group: one.tokens[group] + other.tokens[group] for group in _GROUPS},
        costs={group: one.costs[group] + other.costs[group] for group in _GROUPS},
        other=one.other + other.other,
    )


def _growth(cell: _Cell, old: _Cell, groups: tuple[str, ...], scale: Fraction) -> Fraction:
    was = sum(old.tokens[group] for group in groups)
    return Fraction(sum(cell.tokens[group] for group in groups), was) if was else scale


def _at_old_price(cell: _Cell, old: _Cell, group: str) -> Fraction:
    # A group that was not used before has no old price: the present one makes its arrival cache.
    source = old if old.tokens[group] else cell
    tokens = source.tokens[group]
    return source.costs[group] * cell.tokens[group] / tokens if tokens else cell.costs[group]


def _cost(cell: _Cell) -> Fraction:
    return _sum(cell.costs, _GROUPS) + cell.other


def _sum(costs: Mapping[str, Fraction], groups: tuple[str, ...]) -> Fraction:
    return sum((costs[group] for group in groups), Fraction(0))


def _effects(exact: list[Fraction], difference: Decimal) -> dict[str, Decimal]:
    rounded = [_rounded(effect) for effect in exact]
    # Rounding may leave a few of the last digit over. The largest effect that comes of a division
    # takes them: waste, the last one, is a sum of costs and stands as it was billed.
    largest = max(range(len(rounded) - 1), key=lambda index: abs(rounded[index]))
    rounded[largest] += difference - sum(rounded, Decimal(0))
    return dict(zip(EFFECTS, rounded, strict=True))


def _rounded(value: Fraction) -> Decimal:
    return Decimal(round(value * 10**12)) * _STEP
