"""Which part of the traffic is looked at. Pure."""

from typing import NamedTuple

FILTERS: dict[str, str] = {
    "provider": "Provider",
    "model": "Model",
    "key": "Key",
    "label": "Label",
    "rule": "Rules",
    "outcome": "Outcome",
}
"""What can be filtered by, in the order of the fields of `Narrowing`, with its name."""


class Narrowing(NamedTuple):
    """Nothing given is everything; values of one kind are alternatives, kinds narrow each other.

    A provider and a model are those that served a request, and those that an attempt went to.
    """

    providers: tuple[str, ...] = ()
    models: tuple[str, ...] = ()
    keys: tuple[str, ...] = ()
    """By name."""
    labels: tuple[str, ...] = ()
    """``name=value``."""
    rules: tuple[str, ...] = ()
    """By version. Known of requests alone."""
    outcomes: tuple[str, ...] = ()
    """Of `dashboard.queries.OUTCOME_WORDS`. Known of requests alone."""

    @property
    def values_count(self) -> int:
        """How many values are given."""
        return sum(map(len, self))

    @property
    def has_latency(self) -> bool:
        """Whether histograms know what it needs: they are kept by endpoint."""
        return not (self.keys or self.labels or self.rules or self.outcomes)

    @property
    def has_attempts(self) -> bool:
        """Whether sums over attempts know what it needs: they have no rules."""
        return not (self.rules or self.outcomes)

    @property
    def labels_by_name(self) -> dict[str, list[str]]:
        """The values of each label; what is no ``name=value`` matches nothing."""
        found: dict[str, list[str]] = {}
        for label in self.labels:
            name, _, value = label.partition("=")
            found.setdefault(name, []).append(value)
        return found


EVERYTHING = Narrowing()
