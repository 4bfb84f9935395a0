"""The levels at which health is kept, by name, in step with the other workers of the node.

| level | what it stands for | what is minded there |
| --- | --- | --- |
| `origin:PROVIDER` | the provider's address | failures on the way, and failures of several models |
| `credential:PROVIDER#N` | one credential | refusals, used-up quota, rate limits of the account |
| `target:ENDPOINT` | one model there | failures, time-outs, overload |
| `share:ENDPOINT#N` | one model with one credential | its rate limits, and refusals of it alone |
"""

from collections import deque
from collections.abc import Iterator
from typing import Literal, cast

from gateway.execution.breaker import PRISTINE, LevelState
from gateway.execution.shared_health import SharedTable, TableBusyError, Transition

_MAX_OWED = 1_000

LevelKind = Literal["origin", "credential", "target", "share"]


class Level:
    """One level as this process knows it."""

    __slots__ = ("kind", "name", "slot", "state", "subject")

    def __init__(self, name: str) -> None:
        self.name = name
        kind, _, self.subject = name.partition(":")
        self.kind: LevelKind = cast("LevelKind", kind)
        """``subject`` is the rest of the name: a provider or an endpoint, perhaps with ``#N``."""
        self.state: LevelState = PRISTINE
        self.slot: int | None = None

    @property
    def owner(self) -> str:
        """The provider or the endpoint, without the credential's number."""
        if self.kind in {"credential", "share"}:
            return self.subject.rpartition("#")[0]
        return self.subject


class Levels:
    """All levels that were ever named; as many as there are endpoints, and a few more."""

    def __init__(self, table: SharedTable | None) -> None:
        self._table = table
        self._levels: dict[str, Level] = {}
        self._counter = 0
        self._owed: deque[tuple[Level, Transition]] = deque(maxlen=_MAX_OWED)
        """Changes that were made here and that the table, then busy, does not have yet."""

    def __iter__(self) -> Iterator[Level]:
        return iter(list(self._levels.values()))

    def get(self, name: str) -> Level:
        level = self._levels.get(name)
        if level is None:
            level = self._levels[name] = Level(name)
        return level

    def change(self, level: Level, transition: Transition) -> tuple[LevelState, LevelState]:
        """Apply a transition for the whole node; when the table is busy, here now and there later.

        Returns:
            The states before and after.
        """
        try:
            return self.change_now(level, transition)
        except TableBusyError:
            self._owed.append((level, transition))
            return self._change_here(level, transition)

    def change_now(self, level: Level, transition: Transition) -> tuple[LevelState, LevelState]:
        """The same, but now or not at all.

        Raises:
            TableBusyError: nothing was changed.
        """
        if self._table is not None:
            changed = self._table.change(level.name, level.slot, transition)
            if changed is not None:
                level.slot, before, level.state = changed
                return before, level.state
        return self._change_here(level, transition)

    def _change_here(self, level: Level, transition: Transition) -> tuple[LevelState, LevelState]:
        before, level.state = level.state, transition(level.state)
        return before, level.state

    def news(self) -> list[tuple[Level, LevelState]]:
        """The levels that changed since this was last asked, up to date, and their states before.

        Without a table, or when nothing happened, there are none.
        """
        table = self._table
        if table is None:
            return []
        while self._owed:
            try:
                self.change_now(*self._owed[0])
            except TableBusyError:
                break
            self._owed.popleft()
        if table.counter == self._counter:
            return []
        counter = table.counter
        changed: list[tuple[Level, LevelState]] = []
        for slot in set(table.changed_since(self._counter)):
            name, state = table.read(slot)
            level = self.get(name)
            if state != level.state:
                changed.append((level, level.state))
            level.slot, level.state = slot, state
        self._counter = counter
        return changed

    def close(self) -> None:
        if self._table is not None:
            self._table.close()
            self._table = None
