"""What an attempt's end says of each level: the rules of blame.

What fails on the way (connect, TLS, name) is the origin's doing; what fails behind it is the
target's, and the origin's too while several models fail. A refusal rests the credential, unless it
served another model lately: then it lacks the right to this one. A rate limit rests the model for
that credential, and the credential when a third model meets it. A fault of the request's own says
only that the provider can be reached.
"""

from collections.abc import Callable
from functools import partial

from msgspec.structs import replace

from gateway.domain.attempts import AttemptEnd
from gateway.domain.outcomes import CONSEQUENCES, STALE_CONNECTION, Outcome
from gateway.execution.breaker import (
    PRISTINE,
    BreakerRules,
    LevelState,
    fail,
    note_failure,
    open_until,
    release,
    succeed,
)
from gateway.execution.levels import Level
from gateway.execution.rests import (
    QUOTA_S,
    REFUSED_S,
    end_rests,
    is_resting,
    outcome_number,
    rest,
)
from gateway.execution.shared_health import Transition
from gateway.execution.tally import RollingTally
from gateway.execution.watched import Watched

Verdict = tuple[Level, Transition]

_MS_PER_S = 1000.0
_FORBIDDEN = 403
_WORKS_ELSEWHERE_S = 600.0
_LIMITED_OTHERS = 2
_STALE_FOR_MS = 1_000.0
_ON_THE_WAY = frozenset({Outcome.CONNECT_ERROR, Outcome.TLS_ERROR, Outcome.CONNECT_TIMEOUT})


class Judge:
    """Turns ends into transitions, counting on the way what breakers need to know of the past."""

    def __init__(self, rules: BreakerRules, chance: Callable[[], float]) -> None:
        self._rules = rules
        self._chance = chance
        # One good answer proves a credential, and nobody is asked out of turn with a refused one.
        self._credential_rules = replace(
            rules, successes_to_close=1, slow_start_from=1.0, lone_probe_s=float("inf")
        )

    def rules_of(self, level: Level) -> BreakerRules:
        return self._rules if level.kind in {"origin", "target"} else self._credential_rules

    def success(self, watched: Watched, end: AttemptEnd, now_s: float) -> list[Verdict]:
        """After an answer; nothing at all for levels that had no trouble."""
        watched.tally.succeed(now_s)
        notes = watched.notes
        notes.tally.succeed(now_s)
        notes.failing.pop(watched.id, None)
        watched.stale_since_ms = None
        now_ms = now_s * _MS_PER_S
        notes.works[end.start.credential, watched.id] = now_ms
        return [
            (level, partial(self._succeed, level, now_ms, now_ms - end.duration_ms))
            for level in watched.path(end.start.credential)
            if level.state is not PRISTINE and _has_trouble(level.state)
        ]

    def other(self, watched: Watched, end: AttemptEnd, now_s: float) -> list[Verdict]:
        """After anything but an answer."""
        now_ms = now_s * _MS_PER_S
        started_ms = now_ms - end.duration_ms
        path = watched.path(end.start.credential)
        consequence = CONSEQUENCES[end.outcome]
        verdicts: list[Verdict] = []
        if self.is_failure(watched, end, now_ms):
            verdicts += self._failure(watched, end, now_s, started_ms)
        elif end.status_code and _has_trouble(watched.origin.state):
            verdicts.append((watched.origin, partial(self._reached, now_ms, started_ms)))
        if consequence.cools_down:
            verdicts += self._rests(watched, end, now_ms)
        if consequence.blames_credential:
            verdicts.append(self._refusal(watched, end, now_ms, started_ms))
        verdicts += [
            (level, partial(release, started_ms=started_ms))
            for level in path
            if level.state.probe_until_ms
        ]
        return verdicts

    def is_failure(self, watched: Watched, end: AttemptEnd, now_ms: float) -> bool:
        """Whether the provider failed.

        It may close idle connections, and all at once when it restarts. But when nothing else is
        heard of an endpoint for a second, it closes them since it cannot answer.
        """
        if not CONSEQUENCES[end.outcome].is_failure:
            return False
        if end.error_code != STALE_CONNECTION:
            return True
        if watched.stale_since_ms is None:
            watched.stale_since_ms = now_ms
        return now_ms - watched.stale_since_ms >= _STALE_FOR_MS

    def _failure(
        self, watched: Watched, end: AttemptEnd, now_s: float, started_ms: float
    ) -> list[Verdict]:
        now_ms = now_s * _MS_PER_S
        notes, outcome = watched.notes, end.outcome
        is_on_the_way = outcome in _ON_THE_WAY
        is_local = is_on_the_way or (outcome is Outcome.READ_ERROR and not end.status_code)
        window_ms = self._rules.window_s * _MS_PER_S
        is_widespread = any(
            now_ms - at_ms < window_ms for one, at_ms in notes.failing.items() if one != watched.id
        )
        failure = partial(
            fail,
            now_ms=now_ms,
            started_ms=started_ms,
            is_local=is_local,
            chance=self._chance(),
            rules=self._rules,
            reason=outcome_number(outcome),
        )
        verdicts: list[Verdict] = []
        if is_on_the_way or is_widespread:
            rate = self._is_over_rate(notes.tally, watched.origin, now_s)
            verdicts.append((watched.origin, partial(failure, is_over_rate=rate)))
        elif end.status_code and _has_trouble(watched.origin.state):
            verdicts.append((watched.origin, partial(self._reached, now_ms, started_ms)))
        if is_on_the_way:
            verdicts.append((watched.target, partial(note_failure, now_ms=now_ms)))
        else:
            notes.failing[watched.id] = now_ms
            rate = self._is_over_rate(watched.tally, watched.target, now_s)
            verdicts.append((watched.target, partial(failure, is_over_rate=rate)))
        return verdicts

    def _is_over_rate(self, tally: RollingTally, level: Level, now_s: float) -> bool:
        """Counts a failure, and whether it is one too many; what was before an opening is over."""
        if level.state.closed_at_ms > tally.cleared_at_ms:
            tally.clear(level.state.closed_at_ms)
        tally.fail(now_s)
        total, failed = tally.counts(now_s)
        rules = self._rules
        return total >= rules.minimum_volume and failed >= rules.failure_rate * total

    def _succeed(
        self, level: Level, now_ms: float, started_ms: float, state: LevelState
    ) -> LevelState:
        rules = self.rules_of(level)
        return end_rests(succeed(state, now_ms, started_ms=started_ms, rules=rules))

    def _reached(self, now_ms: float, started_ms: float, state: LevelState) -> LevelState:
        return succeed(state, now_ms, started_ms=started_ms, rules=self._rules)

    def _rests(self, watched: Watched, end: AttemptEnd, now_ms: float) -> list[Verdict]:
        pause = partial(rest, now_ms=now_ms, retry_after_ms=end.retry_after_ms, outcome=end.outcome)
        if end.outcome is not Outcome.RATE_LIMITED:
            return [(watched.target, pause)]
        credential = end.start.credential
        _, account, _, share = watched.path(credential)
        limited = sum(
            is_resting(other.path(credential)[3].state, now_ms)
            for other in watched.notes.endpoints
            if other is not watched
        )
        return [(share, pause), (account, pause)][: 1 + (limited >= _LIMITED_OTHERS)]

    def _refusal(
        self, watched: Watched, end: AttemptEnd, now_ms: float, started_ms: float
    ) -> Verdict:
        credential = end.start.credential
        _, account, _, share = watched.path(credential)
        is_quota = end.outcome is Outcome.QUOTA_EXHAUSTED
        level = account
        if end.status_code == _FORBIDDEN and not is_quota:
            works_since_ms = now_ms - _WORKS_ELSEWHERE_S * _MS_PER_S
            if any(
                number == credential and one != watched.id and at_ms > works_since_ms
                for (number, one), at_ms in watched.notes.works.items()
            ):
                level = share
        until_ms = now_ms + (QUOTA_S if is_quota else REFUSED_S) * _MS_PER_S
        return level, partial(
            _refuse,
            now_ms=now_ms,
            started_ms=started_ms,
            until_ms=until_ms,
            reason=outcome_number(end.outcome),
        )


def _has_trouble(state: LevelState) -> bool:
    return bool(state.failures or state.open_until_ms or state.failed_at_ms or state.rests)


def _refuse(
    state: LevelState, *, now_ms: float, started_ms: float, until_ms: float, reason: int
) -> LevelState:
    if state.open_until_ms and started_ms < state.opened_at_ms:
        return state
    return open_until(state, now_ms, until_ms=until_ms, reason=reason)
