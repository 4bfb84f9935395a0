"""Which provider has which colour, the same in every view. Pure."""

import zlib
from collections.abc import Iterable

from dashboard.looks import OTHER_SLOT
from dashboard.queries import OTHER

_USUAL: dict[str, int] = {
    "openai": 0,
    "anthropic": 1,
    "google": 2,
    "amazon-bedrock": 3,
    "groq": 4,
    "mistral": 5,
    "together": 6,
    "azure": 7,
    "simulated-atlas": 0,
    "simulated-birch": 1,
    "simulated-cedar": 2,
    "simulated-dune": 3,
    "simulated-elm": 4,
}


def slots(providers: Iterable[str]) -> dict[str, int]:
    """Each provider's colour slot.

    A provider's own slot follows from its name alone, so it does not move between days. Where two
    of one picture share one, the later by name takes the lowest that is free; beyond eight
    providers they repeat.
    """
    given: dict[str, int] = {}
    free = list(range(OTHER_SLOT))
    names = sorted({name for name in providers if name != OTHER})
    # Those with a slot of their own come first: a stranger never takes it from them.
    for name in sorted(names, key=lambda name: (name not in _USUAL, name)):
        slot = _own_slot(name)
        if slot not in free and free:
            slot = free[0]
        if slot in free:
            free.remove(slot)
        given[name] = slot
    return given | {OTHER: OTHER_SLOT}


def _own_slot(name: str) -> int:
    return _USUAL.get(name, zlib.crc32(name.encode()) % OTHER_SLOT)
