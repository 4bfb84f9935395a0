"""Changes of health that an operator may want to know: kept in memory, the latest ones, and logged.

A transition is noted by the worker that makes it, so over the workers of a node each is there once.
"""

import logging
import time
from collections import OrderedDict, deque
from collections.abc import Callable, Iterator
from typing import Literal

import msgspec

from gateway.execution.breaker import LevelState
from gateway.execution.levels import Level
from gateway.execution.rests import is_resting, outcome_of

HealthChange = Literal["opened", "half-open", "closed", "cooled down", "credential out"]

_KEPT = 2_048
_MS_PER_S = 1000.0
_LOGGED_APART_S = 10.0
_REMEMBERED = 1_024

_log = logging.getLogger("tollway.health")


class HealthEvent(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """One change of one level."""

    number: int
    """Counted from 1 in this process; whoever has read some knows where to go on."""
    unix_ms: int
    level: str
    """``origin:PROVIDER``, ``credential:PROVIDER#N``, ``target:ENDPOINT``, ``share:ENDPOINT#N``."""
    change: HealthChange
    outcome: str | None = None
    """Of the attempt that caused it."""
    for_s: float | None = None
    """How long it is meant to last."""


class HealthEvents:
    """The latest changes, the oldest dropped."""

    def __init__(
        self,
        *,
        clock: Callable[[], float] = time.monotonic,
        wall_clock: Callable[[], float] = time.time,
        is_logged: bool = True,
    ) -> None:
        self._clock = clock
        self._wall_clock = wall_clock
        self._is_logged = is_logged
        self._events: deque[HealthEvent] = deque(maxlen=_KEPT)
        self._count = 0
        self._logged: OrderedDict[tuple[str, str], tuple[float, int]] = OrderedDict()

    def __iter__(self) -> Iterator[HealthEvent]:
        return iter(list(self._events))

    def since(self, number: int) -> list[HealthEvent]:
        """Those after the one of that number, as far as they are still kept."""
        if number >= self._count:
            return []
        return [event for event in self._events if event.number > number]

    def note_change(self, level: Level, before: LevelState, after: LevelState) -> None:
        """Note what a transition of a level means for an operator, which may be nothing."""
        now_ms = self._clock() * _MS_PER_S
        if after.opened_at_ms != before.opened_at_ms:
            is_credential = level.kind in {"credential", "share"}
            self.note(
                level.name,
                "credential out" if is_credential else "opened",
                outcome=outcome_of(after.reason).value,
                for_s=(after.open_until_ms - now_ms) / _MS_PER_S,
            )
        elif before.open_until_ms and not after.open_until_ms:
            self.note(level.name, "closed")
        elif after.probed_at_ms != before.probed_at_ms:
            self.note(level.name, "half-open")
        if after.cool_until_ms > before.cool_until_ms and not is_resting(before, now_ms):
            self.note(
                level.name,
                "cooled down",
                outcome=outcome_of(after.cool_reason).value,
                for_s=(after.cool_until_ms - now_ms) / _MS_PER_S,
            )

    def note(
        self,
        level: str,
        change: HealthChange,
        *,
        outcome: str | None = None,
        for_s: float | None = None,
    ) -> None:
        """Keep a change and log it: what happens again and again, once in ten seconds."""
        self._count += 1
        self._events.append(
            HealthEvent(
                number=self._count,
                unix_ms=int(self._wall_clock() * _MS_PER_S),
                level=level,
                change=change,
                outcome=outcome,
                for_s=for_s,
            )
        )
        if self._is_logged:
            self._log(level, change, outcome, for_s)

    def _log(
        self, level: str, change: HealthChange, outcome: str | None, for_s: float | None
    ) -> None:
        now_s = self._clock()
        key = (level, change)
        last_s, unsaid = self._logged.pop(key, (float("-inf"), 0))
        is_due = now_s - last_s >= _LOGGED_APART_S
        self._logged[key] = (now_s, 0) if is_due else (last_s, unsaid + 1)
        if len(self._logged) > _REMEMBERED:
            self._logged.popitem(last=False)
        if not is_due:
            return
        severity = logging.WARNING if change in {"opened", "credential out"} else logging.INFO
        parts = [f"{level}: {change}"]
        if for_s is not None:
            parts.append(f"for {for_s:.1f} s")
        if outcome is not None:
            parts.append(f"after {outcome}")
        if unsaid:
            parts.append(f"({unsaid} more like this meanwhile)")
        _log.log(severity, "%s", " ".join(parts))
