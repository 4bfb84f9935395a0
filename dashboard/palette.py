"""Which provider has which colour: the same in every view, under every filter, for ever."""

from collections.abc import Iterable, Sequence

from dashboard import choices
from dashboard.looks import OTHER_SLOT
from dashboard.pool import SourceError
from dashboard.queries import OTHER


def slots(providers: Iterable[str]) -> dict[str, int]:
    """The colour slot of each provider of a picture, and of "Other"."""
    try:
        seen = choices.read_providers_seen()
    except SourceError:
        # The page says so itself; what it still shows has a colour all the same.
        seen = []
    return slots_among(providers, seen)


def slots_among(providers: Iterable[str], seen: Sequence[str]) -> dict[str, int]:
    """A provider's slot is its rank among all that were ever seen, so it never moves. Pure.

    Where two of one picture share a slot, since there are more than eight, the younger one takes
    the lowest that is free there; so do those that were never seen.

    Args:
        providers: those of the picture.
        seen: everybody who ever was tried, the first one first.
    """
    ranks = {name: rank for rank, name in enumerate(seen)}
    names = {name for name in providers if name != OTHER}
    given: dict[str, int] = {}
    free = list(range(OTHER_SLOT))
    for name in sorted(names, key=lambda name: (ranks.get(name, len(ranks)), name)):
        slot = ranks[name] % OTHER_SLOT if name in ranks else -1
        if slot not in free:
            slot = free[0] if free else len(given) % OTHER_SLOT
        if slot in free:
            free.remove(slot)
        given[name] = slot
    return given | {OTHER: OTHER_SLOT}
