"""In which order candidates are tried: as named, as sorted, or drawn in favour of the cheap.

Works on the candidates' own numbers alone, so that a stored decision can be ordered again.
"""

from bisect import bisect_right
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from itertools import accumulate, takewhile
from math import log
from operator import attrgetter

import msgspec
from msgspec.structs import replace

from gateway.chat.preferences import SortKey
from gateway.routing.chance import Chance
from gateway.routing.plan import Candidate, Partition

_INFINITE = float("inf")


class Arranged(msgspec.Struct, frozen=True, kw_only=True):
    """Candidates in the order to try, and those that may not be tried since fallbacks are off."""

    candidates: tuple[Candidate, ...]
    dropped: tuple[Candidate, ...]
    draw: float | None
    """Behind the very first choice; None when it was not drawn."""


def arrange(
    partitions: Sequence[Partition], candidates: Iterable[Candidate], seed: int
) -> Arranged:
    """Orders candidates partition by partition; their order on arrival makes no difference.

    The same partitions, candidates and seed give the same order, weights and probabilities.
    """
    chance = Chance(seed)
    groups = _grouped(partitions, candidates)
    kept: list[Candidate] = []
    dropped: list[Candidate] = []
    first_draw: float | None = None
    for partition, group in zip(partitions, groups, strict=True):
        if not group:
            continue
        is_first = not kept
        if partition.strategy == "price-weighted":
            ordered, draw = _drawn(group, chance, is_first=is_first)
            first_draw = draw if is_first else first_draw
        else:
            ordered = _sorted(partition, group)
        served = (
            len(ordered) if partition.allow_fallbacks else _without_fallbacks(partition, ordered)
        )
        if served and is_first and ordered[0].probability is None:
            ordered[0] = replace(ordered[0], probability=1.0)
        kept += ordered[:served]
        dropped += ordered[served:]
    return Arranged(candidates=tuple(kept), dropped=tuple(dropped), draw=first_draw)


def _grouped(
    partitions: Sequence[Partition], candidates: Iterable[Candidate]
) -> list[list[Candidate]]:
    if len(partitions) == 1:
        return [list(candidates)]
    groups: list[list[Candidate]] = [[] for _ in partitions]
    for candidate in candidates:
        groups[candidate.partition].append(candidate)
    return groups


def _without_fallbacks(partition: Partition, ordered: Sequence[Candidate]) -> int:
    """How many may serve: the whole of the caller's list when there is one, else the first."""
    if partition.strategy == "order":
        return sum(candidate.rank is not None for candidate in ordered)
    return 1


def _by_latency(candidate: Candidate) -> float:
    latency_ms = candidate.latency_p50_ms
    return _INFINITE if latency_ms is None else latency_ms


def _by_throughput(candidate: Candidate) -> float:
    throughput = candidate.throughput_p50_tokens_per_s
    return _INFINITE if throughput is None else -throughput


SORT_KEYS: Mapping[SortKey, Callable[[Candidate], float] | None] = {
    "price": None,
    "latency": _by_latency,
    "throughput": _by_throughput,
}
"""Smallest first, the unknown last; None is the order that everything starts from."""


def _by_price(group: Iterable[Candidate]) -> tuple[list[Candidate], list[Candidate]]:
    """Those with a price by cost, then by endpoint id; and those without one, by id."""
    by_id = sorted(group, key=attrgetter("endpoint.id"))
    priced = [candidate for candidate in by_id if candidate.expected_cost_usd is not None]
    # Sorting is stable: equal costs stay in the order of their ids.
    priced.sort(key=attrgetter("expected_cost_usd"))
    if len(priced) == len(by_id):
        return priced, []
    return priced, [candidate for candidate in by_id if candidate.expected_cost_usd is None]


def _sorted(partition: Partition, group: Sequence[Candidate]) -> list[Candidate]:
    """Known abilities first, priced before unpriced, then what is sorted by, then cost, then id.

    What the caller's ``order`` names comes before all that, in the order named.
    """
    priced, unpriced = _by_price(group)
    named: list[Candidate] = []
    if partition.strategy == "order":
        named = sorted([c for c in priced + unpriced if c.rank is not None], key=attrgetter("rank"))
        priced = [candidate for candidate in priced if candidate.rank is None]
        unpriced = [candidate for candidate in unpriced if candidate.rank is None]
    key = SORT_KEYS[partition.sort or "price"]
    if key is not None:
        priced.sort(key=key)
        unpriced.sort(key=key)
    return named + sorted(priced + unpriced, key=attrgetter("unknown_needs"))


def _drawn(
    group: Sequence[Candidate], chance: Chance, *, is_first: bool
) -> tuple[list[Candidate], float | None]:
    """Tier after tier, each drawn with weights of 1/cost²; what has no price comes last.

    The tiers: free of charge, priced, then both again for endpoints with a recent outage. Free
    ones come before all others because 1/cost² grows without bound; among themselves they are
    equals. Only the first tier that holds anything can be drawn first of all.
    """
    priced, unpriced = _by_price(group)
    ordered: list[Candidate] = []
    first_draw: float | None = None
    for tier in _tiers(priced):
        weights = _weights(tier)
        places, draw, total = _places(weights, chance)
        if is_first and not ordered:
            first_draw = draw
            ordered = [
                replace(tier[i], weight=weights[i], probability=weights[i] / total) for i in places
            ]
        else:
            later = 0.0 if is_first else None
            ordered += [replace(tier[i], weight=weights[i], probability=later) for i in places]
    unpriced.sort(key=attrgetter("has_recent_outage"))
    return ordered + unpriced, first_draw


def _tiers(priced: Sequence[Candidate]) -> Iterator[list[Candidate]]:
    """Cuts candidates that are sorted by cost; no tier is empty."""
    troubled = [candidate for candidate in priced if candidate.has_recent_outage]
    healthy = [c for c in priced if not c.has_recent_outage] if troubled else priced
    for alike in (healthy, troubled):
        if not alike:
            continue
        free = list(takewhile(_is_free, alike))
        if free:
            yield free
        if len(free) < len(alike):
            yield list(alike[len(free) :])


def _is_free(candidate: Candidate) -> bool:
    return not candidate.expected_cost_usd


def _weights(tier: Sequence[Candidate]) -> list[float]:
    """1/cost², as a share of the cheapest one's; all 1 where nothing costs anything."""
    costs = [float(candidate.expected_cost_usd or 0) for candidate in tier]
    cheapest = costs[0]
    if not cheapest:
        return [1.0] * len(tier)
    return [(cheapest / cost) ** 2 for cost in costs]


def _places(weights: Sequence[float], chance: Chance) -> tuple[list[int], float | None, float]:
    """Places in the order drawn, without replacement, in proportion to weight.

    Also the first draw, and the sum of the weights.

    The first is looked up in the running sums of the weights, so that one number tells why. The
    others come in the order of exponential waiting times with their weights as rates, which is
    the same lottery at one logarithm each (Efraimidis and Spirakis, 2006).
    """
    count = len(weights)
    if count == 1:
        return [0], None, weights[0]
    draws = chance.draws(count)
    sums = list(accumulate(weights))
    first = min(bisect_right(sums, draws[0] * sums[-1]), count - 1)
    # A weight too small for a float waits for ever, the first not at all.
    waits = [
        -log(1.0 - draw) / weight if weight else _INFINITE
        for draw, weight in zip(draws, weights, strict=True)
    ]
    waits[first] = -1.0
    return sorted(range(count), key=waits.__getitem__), draws[0], sums[-1]
