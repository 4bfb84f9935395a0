"""Which part of the traffic is looked at. Pure."""

from typing import NamedTuple


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

    @property
    def values_count(self) -> int:
        """How many values are given."""
        return sum(map(len, self))

    @property
    def has_latency(self) -> bool:
        """Whether histograms know what it needs: they are kept by endpoint."""
        return not (self.keys or self.labels)

    @property
    def labels_by_name(self) -> dict[str, list[str]]:
        """The values of each label; what is no ``name=value`` matches nothing."""
        found: dict[str, list[str]] = {}
        for label in self.labels:
            name, _, value = label.partition("=")
            found.setdefault(name, []).append(value)
        return found


EVERYTHING = Narrowing()
