"""The circuit breaker: a state machine over values, which is told the time and draws no chance.

Health is kept at levels (a provider's origin, a credential, a target), and every level has this
state. Closed: traffic flows, and failures are counted. Open: nobody is sent there until a time.
After that time it is half-open: one attempt at a time may probe it, two good ones close it, a bad
one opens it for longer. After closing, its weight grows from a tenth to the whole (slow start).

Attempts that began before it opened tell nothing about it any more, whenever they end.
"""

import math
from collections.abc import Callable
from enum import Enum

import msgspec
from msgspec.structs import replace

_MS_PER_S = 1000.0
_MAX_COUNT = 1_000


class BreakerRules(msgspec.Struct, frozen=True, kw_only=True):
    """When a level opens, for how long, and how it comes back."""

    local_failures: int = 3
    """In a row, on the way to the provider."""
    consecutive_failures: int = 5
    window_s: float = 60.0
    minimum_volume: int = 10
    failure_rate: float = 0.5
    """Of ``minimum_volume`` or more attempts within the window."""
    open_s: float = 10.0
    """The first time; doubled each further time."""
    open_max_s: float = 300.0
    jitter: float = 0.25
    """The time open is this share longer or shorter, by chance."""
    decay_s: float = 60.0
    """So long closed, and one of the earlier openings is forgiven."""
    successes_to_close: int = 2
    slow_start_s: float = 30.0
    slow_start_from: float = 0.1
    lone_probe_s: float = 2.0
    """While open, how often an attempt that has no other target may probe."""
    probe_s: float = 300.0
    """After so long without a verdict, another probe may begin."""


class Phase(Enum):
    """Where a breaker stands at an instant."""

    CLOSED = "closed"
    OPEN = "open"
    HALF_OPEN = "half-open"


class LevelState(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """What is remembered of one level. Instants are monotonic milliseconds, 0.0 means never."""

    open_until_ms: float = 0.0
    """0.0 while closed."""
    opened_at_ms: float = 0.0
    closed_at_ms: float = 0.0
    """After having been open."""
    probed_at_ms: float = 0.0
    probe_until_ms: float = 0.0
    """A probe is under way until then at the latest; 0.0 when there is none."""
    failed_at_ms: float = 0.0
    """The last failure, unless a success came after it."""
    cool_until_ms: float = 0.0
    """It rests until then, since it was asked to."""
    openings: int = 0
    """Lately; the time open doubles with each."""
    failures: int = 0
    """In a row."""
    local_failures: int = 0
    successes: int = 0
    """In a row, of probes."""
    rests: int = 0
    """Rests in a row; each that is not told how long is twice the one before."""
    reason: int = 0
    """Number of the outcome that opened it, see ``rests.outcome_number``."""
    cool_reason: int = 0
    probe_pid: int = 0
    """The process whose attempt is the probe."""


PRISTINE = LevelState()


def phase(state: LevelState, now_ms: float) -> Phase:
    """Half-open begins when the time is up, with nobody doing anything."""
    if not state.open_until_ms:
        return Phase.CLOSED
    return Phase.OPEN if now_ms < state.open_until_ms else Phase.HALF_OPEN


def is_probing(state: LevelState, now_ms: float) -> bool:
    """Whether a probe is under way."""
    return now_ms < state.probe_until_ms


def weight_factor(state: LevelState, now_ms: float, rules: BreakerRules) -> float:
    """What share of its traffic a level gets after it closed: it grows to 1 in slow start."""
    if not state.closed_at_ms or state.open_until_ms:
        return 1.0
    passed = (now_ms - state.closed_at_ms) / (rules.slow_start_s * _MS_PER_S)
    return 1.0 if passed >= 1 else rules.slow_start_from + (1 - rules.slow_start_from) * passed


def fail(
    state: LevelState,
    now_ms: float,
    *,
    started_ms: float,
    is_local: bool,
    is_over_rate: bool,
    chance: float,
    rules: BreakerRules,
    reason: int = 0,
) -> LevelState:
    """After an attempt failed by the level's fault.

    Args:
        state: before.
        now_ms: when it failed.
        started_ms: when the attempt began.
        is_local: it failed on the way, before the provider answered.
        is_over_rate: this failure brings the failures within the window over the allowed share.
        chance: within [0, 1), for the jitter.
        rules: the numbers.
        reason: number of the outcome.
    """
    if not state.open_until_ms:
        counted = replace(
            state,
            failed_at_ms=now_ms,
            failures=min(state.failures + 1, _MAX_COUNT),
            local_failures=min(state.local_failures + 1, _MAX_COUNT) if is_local else 0,
        )
        if (
            is_over_rate
            or counted.failures >= rules.consecutive_failures
            or counted.local_failures >= rules.local_failures
        ):
            return _open(counted, now_ms, chance, rules, reason)
        return counted
    if started_ms < state.opened_at_ms:
        return state
    if now_ms < state.open_until_ms:
        # A probe out of turn, since there was no other target: the time open stays what it was.
        return replace(state, failed_at_ms=now_ms, probe_until_ms=0.0, successes=0)
    return _open(replace(state, failed_at_ms=now_ms), now_ms, chance, rules, reason)


def succeed(
    state: LevelState, now_ms: float, *, started_ms: float, rules: BreakerRules
) -> LevelState:
    """After an attempt went well."""
    if not state.open_until_ms:
        if not (state.failures or state.failed_at_ms):
            return state
        return replace(state, failures=0, local_failures=0, failed_at_ms=0.0)
    if started_ms < state.opened_at_ms:
        return state
    successes = state.successes + 1
    if successes < rules.successes_to_close:
        return replace(
            state,
            open_until_ms=min(state.open_until_ms, now_ms),
            probe_until_ms=0.0,
            successes=successes,
        )
    return replace(
        state,
        open_until_ms=0.0,
        closed_at_ms=now_ms,
        probe_until_ms=0.0,
        failed_at_ms=0.0,
        failures=0,
        local_failures=0,
        successes=0,
        reason=0,
    )


def release(state: LevelState, *, started_ms: float) -> LevelState:
    """After an attempt ended without a verdict on the level: if it was the probe, let another."""
    if not state.probe_until_ms or started_ms < state.probed_at_ms:
        return state
    return replace(state, probe_until_ms=0.0)


def take_probe(
    state: LevelState,
    now_ms: float,
    *,
    pid: int,
    is_alive: Callable[[int], bool],
    lease_ms: float,
    rules: BreakerRules,
) -> LevelState | None:
    """The state with the next attempt as its probe, or None where it may not begin.

    A closed level needs no probe and comes back as it is. A probe whose process has died is over,
    and so is one that gave no verdict within ``lease_ms``.
    """
    if not state.open_until_ms:
        return state
    if now_ms < state.probe_until_ms and is_alive(state.probe_pid):
        return None
    since_ms = max(state.opened_at_ms, state.probed_at_ms)
    if now_ms < state.open_until_ms and now_ms < since_ms + rules.lone_probe_s * _MS_PER_S:
        return None
    return replace(
        state,
        probed_at_ms=now_ms,
        probe_until_ms=now_ms + lease_ms,
        probe_pid=pid,
    )


def note_failure(state: LevelState, now_ms: float) -> LevelState:
    """Remember a failure that is counted at another level."""
    return replace(state, failed_at_ms=now_ms)


def open_until(state: LevelState, now_ms: float, *, until_ms: float, reason: int) -> LevelState:
    """Open for a time that was decided elsewhere; never shorter than it already is."""
    return replace(
        state,
        open_until_ms=max(state.open_until_ms, until_ms),
        opened_at_ms=now_ms,
        probe_until_ms=0.0,
        successes=0,
        reason=reason,
    )


def _open(
    state: LevelState, now_ms: float, chance: float, rules: BreakerRules, reason: int
) -> LevelState:
    openings = state.openings
    if not state.open_until_ms and state.closed_at_ms:
        healthy_ms = now_ms - state.closed_at_ms
        openings = max(0, openings - int(healthy_ms // (rules.decay_s * _MS_PER_S)))
    openings = min(openings + 1, _MAX_COUNT)
    # Beyond that the longest time is reached anyway.
    doublings = min(openings - 1, math.ceil(math.log2(rules.open_max_s / rules.open_s)))
    open_s = min(rules.open_s * 2**doublings, rules.open_max_s)
    open_s *= 1 + rules.jitter * (2 * chance - 1)
    return replace(
        state,
        openings=openings,
        open_until_ms=now_ms + open_s * _MS_PER_S,
        opened_at_ms=now_ms,
        probe_until_ms=0.0,
        successes=0,
        failures=0,
        local_failures=0,
        reason=reason,
    )
