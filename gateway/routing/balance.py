"""How candidates score in the ``balanced`` strategy: their distances from the best of each measure.

The formula and the assumptions for what nobody measured are those that LLMGateway.io publishes.
"""

from collections.abc import Sequence

import msgspec

from gateway.routing.plan import BalanceWeights, Candidate

ASSUMED_UPTIME = 1.0
ASSUMED_LATENCY_MS = 1000.0
ASSUMED_TOKENS_PER_S = 50.0
_LOW_UPTIME = 0.95
_LEAST_UPTIME = 0.001
_PENALTY_SLOPE = 5.0


class Score(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """The lower the better. Parts are weighted, so that they add up to the total."""

    total: float
    price: float
    uptime: float
    throughput: float
    latency: float
    penalty: float
    """For an uptime below 95 %, and for endpoints that are coming back or got slow."""


def score(priced: Sequence[Candidate], weights: BalanceWeights) -> list[Score]:
    """One for each candidate, all of which have an expected cost."""
    if not priced:
        return []
    weight = weights.price + weights.uptime + weights.throughput + weights.latency
    costs = [float(candidate.expected_cost_usd or 0) for candidate in priced]
    # A free offer is the best there is; the others are measured by the cheapest that costs.
    cheapest = min([cost for cost in costs if cost], default=1.0)
    least = 0.0 if 0.0 in costs else 1.0
    uptimes = [max(_or(c.health.uptime, ASSUMED_UPTIME), _LEAST_UPTIME) for c in priced]
    rates = [_or(c.throughput_p50_tokens_per_s, ASSUMED_TOKENS_PER_S) for c in priced]
    delays = [_or(c.latency_p50_ms, ASSUMED_LATENCY_MS) for c in priced]
    best_uptime, best_rate, best_delay = max(uptimes), max(rates), min(delays)
    scores: list[Score] = []
    for candidate, cost, uptime, rate, delay in zip(
        priced, costs, uptimes, rates, delays, strict=True
    ):
        parts = (
            weights.price / weight * (cost / cheapest - least),
            weights.uptime / weight * (best_uptime / uptime - 1),
            weights.throughput / weight * (best_rate / max(rate, 1e-9) - 1),
            weights.latency / weight * (delay / max(best_delay, 1e-9) - 1),
            _penalty(uptime) + 1 - candidate.health.weight_factor,
        )
        scores.append(
            Score(
                total=sum(parts),
                price=parts[0],
                uptime=parts[1],
                throughput=parts[2],
                latency=parts[3],
                penalty=parts[4],
            )
        )
    return scores


def _or(measured: float | None, assumed: float) -> float:
    return assumed if measured is None else measured


def _penalty(uptime: float) -> float:
    """0.62 at 80 %, 5.61 at 50 %."""
    if uptime >= _LOW_UPTIME:
        return 0.0
    return ((_LOW_UPTIME - uptime) / _LOW_UPTIME * _PENALTY_SLOPE) ** 2
