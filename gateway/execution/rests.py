"""How long a level rests when a provider said so: rate limits, and credentials it refused."""

from msgspec.structs import replace

from gateway.domain.outcomes import Outcome
from gateway.execution.breaker import LevelState
from gateway.execution.failures import COOL_DOWN_MAX_S

REFUSED_S = 600.0
"""A refused credential is tried again after so long; whoever changes it restarts the gateway."""
QUOTA_S = 900.0

_MIN_MS = 1_000.0
_MAX_MS = COOL_DOWN_MAX_S * 1000
_STEP_MS = 5_000.0
_UNTOLD_MAX_MS = 60_000.0
_MOST_DOUBLINGS = 8
_OUTCOMES = tuple(Outcome)
_NUMBERS = {outcome: number for number, outcome in enumerate(_OUTCOMES)}


def outcome_number(outcome: Outcome) -> int:
    """An outcome as a small number, for a shared table; holds within one version of the code."""
    return _NUMBERS[outcome]


def outcome_of(number: int) -> Outcome:
    """The outcome of such a number."""
    return _OUTCOMES[number]


def rest(
    state: LevelState, now_ms: float, *, retry_after_ms: float | None, outcome: Outcome
) -> LevelState:
    """After a 429, or an overload that told how long it lasts.

    Told to wait, it rests that long within 1 s and 120 s. A rate limit that does not tell rests for
    5 s, twice as long each further time, up to a minute. A shorter rest never cuts a longer short.
    """
    # What is refused during a rest belongs to the same rate limit.
    earlier = state.rests - 1 if now_ms < state.cool_until_ms else state.rests
    if retry_after_ms is not None:
        rest_ms = min(max(retry_after_ms, _MIN_MS), _MAX_MS)
    elif outcome is Outcome.RATE_LIMITED:
        rest_ms = min(_STEP_MS * 2 ** min(earlier, _MOST_DOUBLINGS), _UNTOLD_MAX_MS)
    else:
        return state
    return replace(
        state,
        cool_until_ms=max(state.cool_until_ms, now_ms + rest_ms),
        rests=min(earlier + 1, _MOST_DOUBLINGS),
        cool_reason=outcome_number(outcome),
    )


def is_resting(state: LevelState, now_ms: float) -> bool:
    """Whether it rests since it was asked to; breakers do not count."""
    return now_ms < state.cool_until_ms


def end_rests(state: LevelState) -> LevelState:
    """After a success: the next rest is a first one again. One that is under way goes on."""
    return replace(state, rests=0) if state.rests else state
