"""What this node has seen of each endpoint lately, as routing, the attempt loop and operators ask.

Routing reads ``view``; the loop asks ``may_try`` right before an attempt; ``report`` takes what
became of it to the levels that it tells something about (`levels`, `verdicts`), each with its state
machine (`breaker`, `rests`).
"""

import os
import random
import time
from collections.abc import Callable, Iterable, Mapping
from functools import partial

from msgspec.structs import replace

from gateway.domain.attempts import AttemptEnd, AttemptStart
from gateway.domain.outcomes import Outcome
from gateway.execution.breaker import (
    BreakerRules,
    LevelState,
    Phase,
    is_probing,
    phase,
    release,
    take_probe,
)
from gateway.execution.health_events import HealthEvents
from gateway.execution.health_view import assess
from gateway.execution.levels import Level, Levels
from gateway.execution.rests import is_resting
from gateway.execution.shared_health import SharedTable, TableBusyError, Transition
from gateway.execution.verdicts import Judge
from gateway.execution.watched import Path, ProviderNotes, Watched
from gateway.routing.plan import EndpointHealth
from pricing.endpoint import Endpoint

_MS_PER_S = 1000.0
_UNBEGUN_PROBE_MS = 5_000.0
_NEVER = float("inf")


class HealthBoard:
    """Health of endpoints; bounded by the number of endpoints in use.

    Answers come from local memory; the table that workers share is looked at only when its counter
    says that something changed there.
    """

    def __init__(
        self,
        *,
        rules: BreakerRules | None = None,
        table: SharedTable | None = None,
        credentials: Mapping[str, int] | None = None,
        endpoints_of: Callable[[str], Iterable[str]] = lambda _: (),
        clock: Callable[[], float] = time.monotonic,
        chance: Callable[[], float] = random.random,
        is_alive: Callable[[int], bool] | None = None,
        events: HealthEvents | None = None,
    ) -> None:
        """Make a board that knows of no trouble.

        Args:
            rules: the breakers' numbers.
            table: what the workers of a node share; None keeps everything in this process.
            credentials: how many a provider has; one where it is not listed.
            endpoints_of: ids of a provider's endpoints, which all suffer when it is out of reach.
            clock: monotonic seconds, the same for all workers of a node.
            chance: within [0, 1).
            is_alive: whether a process lives; None asks the kernel.
            events: where changes are noted; None makes a place by the same clock.
        """
        self.events = events or HealthEvents(clock=clock)
        self._rules = rules or BreakerRules()
        self._judge = Judge(self._rules, chance)
        self._levels = Levels(table)
        self._credentials = credentials or {}
        self._endpoints_of = endpoints_of
        self._clock = clock
        self._is_alive = is_alive or _is_alive
        self._pid = os.getpid()
        self._watched: dict[str, Watched] = {}
        self._notes: dict[str, ProviderNotes] = {}
        self._view: dict[str, EndpointHealth] = {}
        self._view_holds_until_ms = _NEVER
        self._outdated: set[str] = set()
        self._changes_at_ms: dict[str, float] = {}

    def view(self, now_ms: float) -> Mapping[str, EndpointHealth]:
        """Health by endpoint id at a monotonic instant; endpoints never heard of are not in it.

        A mapping that was handed out never changes; the same one comes until something does.
        """
        self._catch_up()
        if not self._outdated and now_ms < self._view_holds_until_ms:
            return self._view
        changes_at_ms = self._changes_at_ms
        if now_ms >= self._view_holds_until_ms:
            self._outdated.update([one for one, at in changes_at_ms.items() if at <= now_ms])
        view = self._view.copy()
        for endpoint in self._outdated:
            view[endpoint], at_ms = assess(self._watched[endpoint], now_ms, self._rules)
            if at_ms < _NEVER:
                changes_at_ms[endpoint] = at_ms
            else:
                changes_at_ms.pop(endpoint, None)
        self._outdated.clear()
        self._view_holds_until_ms = min(changes_at_ms.values(), default=_NEVER)
        self._view = view
        return view

    def may_try(self, endpoint: Endpoint, credential: int = 0) -> bool:
        """Whether an attempt may begin now; ask right before it, and begin it if so.

        Where a breaker is half-open, True is the one probe of the node: `begin` confirms it, and
        the attempt's `report` makes room for the next. One that never begins is given up soon.
        """
        self._catch_up()
        path = self._watch(endpoint.id, endpoint.provider).path(credential)
        for level in path:
            if level.state.open_until_ms:
                return self._take_probes(path)
        return True

    def begin(self, start: AttemptStart) -> None:
        """An attempt begins that `may_try` let begin."""
        watched = self._watched.get(start.endpoint.id)
        if watched is None:
            return
        for level in watched.path(start.credential):
            state = level.state
            if state.probe_until_ms and state.probe_pid == self._pid:
                until_ms = self._clock() * _MS_PER_S + self._rules.probe_s * _MS_PER_S
                self._change(level, lambda now, until_ms=until_ms: _confirmed(now, until_ms))

    def report(self, end: AttemptEnd) -> None:
        """Take an attempt's end into account."""
        self._catch_up()
        now_s = self._clock()
        start = end.start
        watched = self._watch(start.endpoint.id, start.endpoint.provider)
        measures = watched.measures
        if end.outcome is Outcome.SUCCESS:
            measures.uptime.succeed(now_s)
            measures.sample(end, now_s)
            if measures.is_due(now_s):
                self._outdated.add(watched.id)
            verdicts = self._judge.success(watched, end, now_s)
        else:
            self._outdated.add(watched.id)
            if self._judge.is_failure(watched, end, now_s * _MS_PER_S):
                measures.uptime.fail(now_s)
            verdicts = self._judge.other(watched, end, now_s)
        for level, transition in verdicts:
            self._change(level, transition)

    def credential_is_out(self, provider: str, credential: int) -> bool:
        """Whether the credential was refused, its quota is used up, or its account rests."""
        self._catch_up()
        state = self._levels.get(f"credential:{provider}#{credential}").state
        now_ms = self._clock() * _MS_PER_S
        if state.open_until_ms and (now_ms < state.open_until_ms or is_probing(state, now_ms)):
            return True
        return is_resting(state, now_ms)

    def is_limited(self, endpoint: Endpoint, credential: int) -> bool:
        """Whether the endpoint rests for a rate limit that it met with this credential."""
        self._catch_up()
        share = self._watch(endpoint.id, endpoint.provider).path(credential)[3]
        return is_resting(share.state, self._clock() * _MS_PER_S)

    def uptime_percent(self, endpoint: str) -> float | None:
        """The share of attempts within the last 30 minutes that the endpoint did not fail.

        Answers and failures of the provider count, nothing else; None when there were none.
        """
        watched = self._watched.get(endpoint)
        share = watched.measures.uptime.success_share(self._clock()) if watched else None
        return None if share is None else 100.0 * share

    def standing(self) -> list[tuple[str, Phase, bool]]:
        """Every level by name, with its breaker's phase and whether it rests; for operators."""
        self._catch_up()
        now_ms = self._clock() * _MS_PER_S
        return [
            (level.name, phase(level.state, now_ms), is_resting(level.state, now_ms))
            for level in self._levels
        ]

    def close(self) -> None:
        """Let the shared table go; what is known stays."""
        self._levels.close()

    def _watch(self, endpoint: str, provider: str) -> Watched:
        watched = self._watched.get(endpoint)
        if watched is None:
            notes = self._notes.get(provider)
            if notes is None:
                notes = self._notes[provider] = ProviderNotes(self._rules)
            watched = self._watched[endpoint] = Watched(
                endpoint,
                provider,
                levels=self._levels,
                notes=notes,
                rules=self._rules,
                credentials=self._credentials.get(provider, 1),
            )
            notes.endpoints.append(watched)
            self._outdated.add(endpoint)
        return watched

    def _take_probes(self, path: Path) -> bool:
        """All levels of the way that are not closed must give their probe, or none does."""
        now_ms = self._clock() * _MS_PER_S
        taken: list[Level] = []
        for level in path:
            if not level.state.open_until_ms:
                continue
            rules = self._judge.rules_of(level)
            if not self._take_probe(level, now_ms, rules):
                for other in taken:
                    self._change(other, lambda state: release(state, started_ms=now_ms))
                return False
            taken.append(level)
        return True

    def _take_probe(self, level: Level, now_ms: float, rules: BreakerRules) -> bool:
        take = partial(
            take_probe,
            now_ms=now_ms,
            pid=self._pid,
            is_alive=self._is_alive,
            lease_ms=_UNBEGUN_PROBE_MS,
            rules=rules,
        )
        # What is known here already needs no lock.
        if take(level.state) is None:
            return False
        is_granted = False

        def take_if_free(state: LevelState) -> LevelState:
            nonlocal is_granted
            after = take(state)
            is_granted = after is not None
            return state if after is None else after

        try:
            self._note_change(level, *self._levels.change_now(level, take_if_free))
        except TableBusyError:
            return False
        return is_granted

    def _change(self, level: Level, transition: Transition) -> None:
        self._note_change(level, *self._levels.change(level, transition))

    def _note_change(self, level: Level, before: LevelState, after: LevelState) -> None:
        if after is not before:
            self._outdate(level, before)
            self.events.note_change(level, before, after)

    def _catch_up(self) -> None:
        """Take over what other workers found out."""
        for level, before in self._levels.news():
            self._outdate(level, before)

    def _outdate(self, level: Level, before: LevelState) -> None:
        owner = level.owner
        if level.kind in {"target", "share"}:
            self._watch(owner, owner.partition("/")[0])
            self._outdated.add(owner)
        elif _standing(before) != _standing(level.state):
            for endpoint in self._endpoints_of(owner):
                self._watch(endpoint, owner)
            notes = self._notes.get(owner)
            if notes is not None:
                self._outdated.update([watched.id for watched in notes.endpoints])


def _standing(state: LevelState) -> tuple[float, float, float, float]:
    """What of a provider's level its endpoints show."""
    return state.open_until_ms, state.probe_until_ms, state.closed_at_ms, state.cool_until_ms


def _confirmed(state: LevelState, until_ms: float) -> LevelState:
    return replace(state, probe_until_ms=until_ms) if state.probe_until_ms else state


def _is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True
