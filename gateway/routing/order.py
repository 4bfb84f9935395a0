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
from gateway.routing.balance import score
from gateway.routing.chance import Chance
from gateway.routing.demotions import ON_PROBATION
from gateway.routing.plan import BalanceWeights, Candidate, Partition

_INFINITE = float("inf")


class Arranged(msgspec.Struct, frozen=True, kw_only=True):
    """Candidates in the order to try, and those that may not be tried since fallbacks are off."""

    candidates: tuple[Candidate, ...]
    dropped: tuple[Candidate, ...]
    draw: float | None
    """Behind the very first choice; None when it was not drawn."""
    is_sticky: bool = False
    """The first holds the conversation's cache, and stands there for that reason."""


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
    is_sticky = False
    for partition, group in zip(partitions, groups, strict=True):
        if not group:
            continue
        is_first = not kept
        if partition.strategy == "price-weighted":
            ordered, draw = _drawn(group, chance, is_first=is_first)
            first_draw = draw if is_first else first_draw
        elif partition.strategy == "balanced":
            ordered = _balanced(group, partition.balance or BalanceWeights())
        elif partition.strategy == "auto":
            ordered = _cheapest_first(group)
        else:
            ordered = _sorted(partition, group)
        if partition.strategy not in _EXPLICIT:
            sticky = _preferred(ordered)
            if sticky is not None:
                _put_first(ordered, sticky, is_first=is_first)
                if is_first:
                    is_sticky, first_draw = True, None
        served = (
            len(ordered) if partition.allow_fallbacks else _without_fallbacks(partition, ordered)
        )
        if served and is_first and ordered[0].probability is None:
            ordered[0] = replace(ordered[0], probability=1.0)
        kept += ordered[:served]
        dropped += ordered[served:]
    return Arranged(
        candidates=tuple(kept), dropped=tuple(dropped), draw=first_draw, is_sticky=is_sticky
    )


_EXPLICIT = frozenset({"order", "sort"})
"""Orders that the caller asked for: no cache changes them."""


def _preferred(ordered: Sequence[Candidate]) -> int | None:
    """The place of the candidate with a warm cache, as long as nothing speaks against it."""
    for place, candidate in enumerate(ordered):
        if candidate.is_sticky:
            is_fine = not (
                candidate.behind
                or candidate.unknown_needs
                or candidate.health.has_recent_outage
                or candidate.expected_cost_usd is None
            )
            return place if is_fine else None
    return None


def _put_first(ordered: list[Candidate], place: int, *, is_first: bool) -> None:
    sticky = ordered.pop(place)
    if is_first:
        ordered[:] = [
            candidate if not candidate.probability else replace(candidate, probability=0.0)
            for candidate in ordered
        ]
        sticky = replace(sticky, probability=1.0)
    ordered.insert(0, sticky)


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
    """Known abilities first, then by what puts them behind, then what is sorted by, cost and id.

    Priced ones come before those without a price. What the caller's ``order`` names comes before
    all that, in the order named.
    """
    priced, unpriced = _by_price(group)
    named: list[Candidate] = []
    if partition.strategy == "order":
        named = sorted([c for c in priced + unpriced if c.rank is not None], key=_by_rank)
        priced = [candidate for candidate in priced if candidate.rank is None]
        unpriced = [candidate for candidate in unpriced if candidate.rank is None]
    key = SORT_KEYS[partition.sort or "price"]
    for alike in (priced, unpriced):
        if key is not None:
            alike.sort(key=key)
        alike.sort(key=_BEHIND)
    return named + sorted(priced + unpriced, key=_UNKNOWN_NEEDS)


_BEHIND = attrgetter("behind")
_COST = attrgetter("expected_cost_usd")
_UNKNOWN_NEEDS = attrgetter("unknown_needs")
_HEALTHY_FIRST = attrgetter("behind", "health.has_recent_outage")


def _by_rank(candidate: Candidate) -> tuple[int, int | None]:
    return candidate.behind & ON_PROBATION, candidate.rank


def _cheapest_first(group: Iterable[Candidate]) -> list[Candidate]:
    """Those without an outage, by cost and id; what has no price comes last."""
    priced, unpriced = _by_price(group)
    return sorted(priced, key=_HEALTHY_FIRST) + sorted(unpriced, key=_HEALTHY_FIRST)


def _balanced(group: Iterable[Candidate], weights: BalanceWeights) -> list[Candidate]:
    """Those without an outage, by score, then cost and id; what has no price comes last."""
    priced, unpriced = _by_price(group)
    scored = [
        replace(candidate, score=parts.total)
        for candidate, parts in zip(priced, score(priced, weights), strict=True)
    ]
    scored.sort(key=attrgetter("behind", "health.has_recent_outage", "score"))
    return scored + sorted(unpriced, key=_HEALTHY_FIRST)


def _drawn(
    group: Sequence[Candidate], chance: Chance, *, is_first: bool
) -> tuple[list[Candidate], float | None]:
    """Tier after tier, each drawn with weights of 1/cost²; what has no price comes last.

    Tiers are of candidates that nothing sets apart: as much puts them behind, an outage or none,
    free of charge or not. Free ones come before all others because 1/cost² grows without bound;
    among themselves they are equals. Only the first tier can be drawn first of all.
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
    unpriced.sort(key=_HEALTHY_FIRST)
    return ordered + unpriced, first_draw


def _tiers(priced: Sequence[Candidate]) -> Iterator[Sequence[Candidate]]:
    """Cuts candidates that are sorted by cost; no tier is empty."""
    is_plain = True
    for candidate in priced:
        if candidate.behind or candidate.health.has_recent_outage:
            is_plain = False
            break
    groups: Iterable[Sequence[Candidate]] = (priced,)
    if not is_plain:
        alike_ones: dict[int, list[Candidate]] = {}
        for candidate in priced:
            place = candidate.behind << 1 | candidate.health.has_recent_outage
            alike_ones.setdefault(place, []).append(candidate)
        groups = [alike_ones[place] for place in sorted(alike_ones)]
    for alike in groups:
        if not alike:
            continue
        if alike[0].expected_cost_usd:
            yield alike
            continue
        free = list(takewhile(_is_free, alike))
        yield free
        if len(free) < len(alike):
            yield list(alike[len(free) :])


def _is_free(candidate: Candidate) -> bool:
    return not candidate.expected_cost_usd


def _weights(tier: Sequence[Candidate]) -> list[float]:
    """1/cost², as a share of the cheapest one's (all 1 where nothing costs anything).

    Times the factor of those that are coming back or got slow.
    """
    cheapest = float(tier[0].expected_cost_usd or 0)
    if cheapest:
        costs = map(float, map(_COST, tier))
        weights = [(ratio := cheapest / cost) * ratio for cost in costs]
    else:
        weights = [1.0] * len(tier)
    factors = [candidate.health.weight_factor for candidate in tier]
    if min(factors) < 1.0:
        weights = [weight * factor for weight, factor in zip(weights, factors, strict=True)]
        if not sum(weights):
            return [1.0] * len(tier)
    return weights


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
    if 0.0 in weights:
        # A weight too small for a float waits for ever.
        waits = [
            -log(1.0 - draw) / weight if weight else _INFINITE
            for draw, weight in zip(draws, weights, strict=True)
        ]
    else:
        waits = [-log(1.0 - draw) / weight for draw, weight in zip(draws, weights, strict=True)]
    waits[first] = -1.0
    return sorted(range(count), key=waits.__getitem__), draws[0], sums[-1]
