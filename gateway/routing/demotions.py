"""What puts an endpoint behind others without excluding it, the gravest in the highest bit.

Sums of these compare like the list of them: whoever has the graver one stands further behind.
"""

from gateway.chat.preferences import Bounds, ProviderPreferences
from gateway.routing.plan import EndpointHealth, Percentiles

NOT_OF_VARIANT = 8
"""``:exacto`` and ``:extended`` prefer other offers of the model."""
MISSES_PREFERENCE = 4
"""Known to miss ``preferred_min_throughput`` or ``preferred_max_latency``."""
UNMEASURED = 2
"""Nobody knows whether it keeps ``min_throughput`` or ``max_latency``."""
ON_PROBATION = 1
"""Its breaker is half-open, and a probe is under way."""


def is_slower(limits: Bounds, seen: Percentiles | None) -> bool | None:
    """Whether any percentile of a throughput is below its limit; None when nothing was measured."""
    if seen is None:
        return None
    return (
        (limits.p50 is not None and seen.p50 < limits.p50)
        or (limits.p75 is not None and seen.p75 < limits.p75)
        or (limits.p90 is not None and seen.p90 < limits.p90)
        or (limits.p99 is not None and seen.p99 < limits.p99)
    )


def is_later(limits: Bounds, seen: Percentiles | None) -> bool | None:
    """Whether any percentile of a latency is above its limit; None when nothing was measured."""
    if seen is None:
        return None
    return (
        (limits.p50 is not None and seen.p50 > limits.p50)
        or (limits.p75 is not None and seen.p75 > limits.p75)
        or (limits.p90 is not None and seen.p90 > limits.p90)
        or (limits.p99 is not None and seen.p99 > limits.p99)
    )


def has_limits(wishes: ProviderPreferences) -> bool:
    """Whether speed has a say in the order of endpoints."""
    return not (
        wishes.min_throughput_tokens_per_s is None
        and wishes.max_latency_ms is None
        and wishes.preferred_min_throughput_tokens_per_s is None
        and wishes.preferred_max_latency_ms is None
    )


def demotion_of_speed(wishes: ProviderPreferences, seen: EndpointHealth) -> int:
    """What the wishes for speed make of an endpoint that they do not exclude."""
    behind = 0
    floor, ceiling = wishes.min_throughput_tokens_per_s, wishes.max_latency_ms
    if (floor is not None and seen.throughput_tokens_per_s is None) or (
        ceiling is not None and seen.latency_ms is None
    ):
        behind |= UNMEASURED
    floor = wishes.preferred_min_throughput_tokens_per_s
    ceiling = wishes.preferred_max_latency_ms
    if (floor is not None and is_slower(floor, seen.throughput_tokens_per_s)) or (
        ceiling is not None and is_later(ceiling, seen.latency_ms)
    ):
        behind |= MISSES_PREFERENCE
    return behind
