"""Names that look like one that is not known, for messages only."""

from collections.abc import Iterable
from difflib import SequenceMatcher

_MOST_CHARACTERS = 200
_MOST_COMPARED = 40
_LEAST_LIKENESS = 0.5


class Names:
    """Known names of the form ``whose/what``, indexed by what they are made of."""

    def __init__(self, names: Iterable[str]) -> None:
        self._by_trigram: dict[str, list[str]] = {}
        for name in frozenset(names):
            for trigram in _trigrams(name.lower()):
                self._by_trigram.setdefault(trigram, []).append(name)

    def nearest(self, name: str, limit: int = 3) -> tuple[str, ...]:
        """Up to ``limit`` of them that look like ``name``, best first.

        A name without a slash is compared with what stands behind the first one of theirs.
        """
        name = name[:_MOST_CHARACTERS].lower()
        wanted = _trigrams(name)
        shared: dict[str, int] = {}
        for trigram in wanted:
            for known in self._by_trigram.get(trigram, ()):
                shared[known] = shared.get(known, 0) + 1
        # Long names share trigrams by sheer length: weigh what is shared against what is not.
        likely = sorted(
            shared, key=lambda known: (-shared[known] / (len(wanted) + len(known)), known)
        )[:_MOST_COMPARED]
        by_likeness = sorted((-_likeness(name, known), known) for known in likely)
        return tuple(known for worse, known in by_likeness[:limit] if worse <= -_LEAST_LIKENESS)


def _trigrams(name: str) -> frozenset[str]:
    return frozenset(name[start : start + 3] for start in range(len(name) - 2))


def _likeness(name: str, known: str) -> float:
    compared = known.lower() if "/" in name else known.partition("/")[2].lower()
    return SequenceMatcher(None, name, compared, autojunk=False).ratio()
