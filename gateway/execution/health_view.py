"""From the levels and measures of an endpoint to what routing sees of it, and until when."""

from gateway.domain.outcomes import Outcome
from gateway.execution.breaker import (
    BreakerRules,
    LevelState,
    Phase,
    is_probing,
    phase,
    weight_factor,
)
from gateway.execution.measures import DEGRADED_FACTOR
from gateway.execution.rests import is_resting, outcome_of
from gateway.execution.watched import Path, Watched
from gateway.routing.plan import EndpointHealth

RECENT_OUTAGE_S = 30.0

_MS_PER_S = 1000.0
_SLOW_START_STEPS = 10
_UPTIME_AGES_MS = 60_000.0
_NEVER = float("inf")


class _Instants:
    """Gathers when something will be different."""

    __slots__ = ("first_ms", "now_ms")

    def __init__(self, now_ms: float) -> None:
        self.now_ms = now_ms
        self.first_ms = _NEVER

    def add(self, at_ms: float) -> None:
        if self.now_ms < at_ms < self.first_ms:
            self.first_ms = at_ms


def assess(watched: Watched, now_ms: float, rules: BreakerRules) -> tuple[EndpointHealth, float]:
    """An endpoint's health, and the instant at which it changes although nothing happens.

    A breaker whose time has passed while nobody probes it is shown as healthy: the endpoint takes
    its place in the order, and the first attempt there is the probe. Only while that is under way
    is it shown as half-open, which puts it behind the others.
    """
    now_s = now_ms / _MS_PER_S
    changes = _Instants(now_ms)
    open_until_ms, is_half_open, is_due = 0.0, False, False
    weight = 1.0
    for level in (watched.origin, watched.target):
        state = level.state
        now_phase = phase(state, now_ms)
        if now_phase is Phase.OPEN:
            open_until_ms = max(open_until_ms, state.open_until_ms)
            changes.add(state.open_until_ms)
        elif now_phase is Phase.HALF_OPEN:
            is_due = True
            is_half_open = is_half_open or is_probing(state, now_ms)
            changes.add(state.probe_until_ms)
        else:
            factor = weight_factor(state, now_ms, rules)
            if factor < 1:
                weight *= factor
                changes.add(now_ms + rules.slow_start_s * _MS_PER_S / _SLOW_START_STEPS)
    cooling_until_ms, is_rate_limited, is_refused = _rests(watched, changes)
    failed_at_ms = watched.target.state.failed_at_ms
    outage_until_ms = failed_at_ms + RECENT_OUTAGE_S * _MS_PER_S if failed_at_ms else 0.0
    has_recent_outage = now_ms < outage_until_ms and not is_due
    if has_recent_outage:
        changes.add(outage_until_ms)
    measures = watched.measures
    uptime = measures.uptime.success_share(now_s)
    if uptime is not None and uptime < 1:
        changes.add(now_ms + _UPTIME_AGES_MS)
    speed = measures.speed(now_s)
    if speed.is_degraded:
        weight *= DEGRADED_FACTOR
        changes.add(now_ms + _UPTIME_AGES_MS)
    health = EndpointHealth(
        has_recent_outage=has_recent_outage,
        cooling_until_ms=cooling_until_ms or None,
        is_rate_limited=is_rate_limited,
        is_credential_refused=is_refused,
        open_until_ms=open_until_ms or None,
        is_half_open=is_half_open and not open_until_ms,
        weight_factor=weight,
        latency_ms=speed.latency_ms,
        throughput_tokens_per_s=speed.throughput_tokens_per_s,
        uptime=uptime,
    )
    return health, changes.first_ms


def _rests(watched: Watched, changes: _Instants) -> tuple[float, bool, bool]:
    """Until when all credentials rest, whether for a rate limit, and whether all are refused."""
    now_ms = changes.now_ms
    earliest_ms = _NEVER
    is_rate_limited = False
    refused = 0
    for path in watched.paths:
        until_ms, is_limited, is_refused = _rest(path, now_ms, changes)
        refused += is_refused
        if not is_refused and until_ms < earliest_ms:
            earliest_ms, is_rate_limited = until_ms, is_limited
    if refused == len(watched.paths):
        return 0.0, False, True
    return earliest_ms, is_rate_limited, False


def _rest(path: Path, now_ms: float, changes: _Instants) -> tuple[float, bool, bool]:
    """The same for one credential."""
    until_ms = 0.0
    is_rate_limited = is_refused = False
    for level in path:
        state = level.state
        if is_resting(state, now_ms):
            changes.add(state.cool_until_ms)
            until_ms = max(until_ms, state.cool_until_ms)
            is_rate_limited |= outcome_of(state.cool_reason) is Outcome.RATE_LIMITED
        if level.kind in {"credential", "share"} and state.open_until_ms:
            is_refused |= _is_out(state, now_ms, changes)
    return until_ms, is_rate_limited, is_refused


def _is_out(state: LevelState, now_ms: float, changes: _Instants) -> bool:
    """Refused and its time not up, or tried again by somebody right now."""
    changes.add(state.open_until_ms)
    changes.add(state.probe_until_ms)
    return now_ms < state.open_until_ms or is_probing(state, now_ms)
