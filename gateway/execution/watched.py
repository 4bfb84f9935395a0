"""One endpoint as health watches it: its levels, and what only this process counts."""

from gateway.execution.breaker import BreakerRules
from gateway.execution.levels import Level, Levels
from gateway.execution.measures import Measures
from gateway.execution.tally import RollingTally

_BUCKETS = 6

Path = tuple[Level, Level, Level, Level]
"""Origin, credential, target, and share: all that must be well for an attempt."""


class ProviderNotes:
    """What the endpoints of one provider have in common."""

    __slots__ = ("endpoints", "failing", "tally", "works")

    def __init__(self, rules: BreakerRules) -> None:
        self.tally = make_tally(rules)
        self.failing: dict[str, float] = {}
        """Endpoints without a success since their last failure, with its instant in ms."""
        self.works: dict[tuple[int, str], float] = {}
        """When a credential last served an endpoint, in ms."""
        self.endpoints: list[Watched] = []
        """Those heard of."""


class Watched:
    """An endpoint that was heard of."""

    __slots__ = (
        "_levels",
        "_paths",
        "id",
        "measures",
        "notes",
        "origin",
        "provider",
        "stale_since_ms",
        "tally",
        "target",
    )

    def __init__(
        self,
        endpoint: str,
        provider: str,
        *,
        levels: Levels,
        notes: ProviderNotes,
        rules: BreakerRules,
        credentials: int,
    ) -> None:
        self.id = endpoint
        self.provider = provider
        self.origin = levels.get(f"origin:{provider}")
        self.target = levels.get(f"target:{endpoint}")
        self.notes = notes
        self.measures = Measures()
        self.tally = make_tally(rules)
        self.stale_since_ms: float | None = None
        """When a closed connection was first met since the last answer."""
        self._levels = levels
        self._paths = [self._make_path(number) for number in range(credentials)]

    @property
    def paths(self) -> list[Path]:
        """One per credential."""
        return self._paths

    def path(self, credential: int) -> Path:
        while credential >= len(self._paths):
            self._paths.append(self._make_path(len(self._paths)))
        return self._paths[credential]

    def _make_path(self, credential: int) -> Path:
        get = self._levels.get
        return (
            self.origin,
            get(f"credential:{self.provider}#{credential}"),
            self.target,
            get(f"share:{self.id}#{credential}"),
        )


def make_tally(rules: BreakerRules) -> RollingTally:
    """Of the breaker's window."""
    return RollingTally(bucket_s=rules.window_s / _BUCKETS, buckets=_BUCKETS)
