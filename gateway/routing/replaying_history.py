"""Which rules were in force before those of a logged request. Pure."""

from collections.abc import Iterable
from datetime import datetime, timedelta
from enum import StrEnum

import msgspec

_CLOCKS_DIFFER_BY = timedelta(seconds=5)


class Activation(msgspec.Struct, frozen=True, kw_only=True):
    """A rule set in the database came into force."""

    at: datetime
    number: int
    version: str
    """A hash of what its rules say; of a set without rules, what such sets are called."""


class NoneBefore(StrEnum):
    """Why there are no rules before those of a request, or none that are known."""

    NO_RULES_YET = "no_rules_yet"
    """No rule set had been in force when it came."""
    RULES_UNKNOWN = "rules_unknown"
    """Its rules were never in the database: they came from a file."""


class RuleHistory:
    """Every version that was in force, one after the other.

    Sets that say the same are one version, however often their text was changed.
    """

    def __init__(self, activations: Iterable[Activation], *, empty_version: str) -> None:
        """Take the activations, the earliest first."""
        self._empty_version = empty_version
        self._versions: list[Activation] = []
        for one in activations:
            if not self._versions or self._versions[-1].version != one.version:
                self._versions.append(one)

    def before(self, version: str | None, at: datetime) -> int | NoneBefore | None:
        """The number of the rule set before the one in force; None: there were no rules then.

        Args:
            version: as the record has it; None without rules.
            at: when the request came.
        """
        wanted = version or self._empty_version
        latest = at + _CLOCKS_DIFFER_BY
        for place in range(len(self._versions) - 1, -1, -1):
            one = self._versions[place]
            if one.version == wanted and one.at <= latest:
                return self._versions[place - 1].number if place else None
        return NoneBefore.NO_RULES_YET if version is None else NoneBefore.RULES_UNKNOWN
