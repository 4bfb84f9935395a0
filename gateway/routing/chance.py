"""Seeded chance: the same seed draws the same numbers on every machine and in every version."""

from collections.abc import Callable
from functools import lru_cache
from hashlib import blake2b
from struct import Struct

ALGORITHM = "blake2b-ctr"

_WORDS = 8
_TO_UNIT = 2.0**-53


class Chance:
    """Numbers 8k to 8k + 7 are the eight little-endian words of BLAKE2b-512 of ``"seed k"``.

    A hash in counter mode: every seed is a good one, however alike two of them are.
    """

    __slots__ = ("_block", "_left", "_seed")

    def __init__(self, seed: int) -> None:
        self._seed = seed
        self._block = 0
        self._left: list[float] = []

    def draws(self, count: int) -> list[float]:
        """The next ``count`` numbers in [0, 1), each from the upper 53 bits of a word."""
        left = self._left
        missing = count - len(left)
        if missing > 0:
            blocks = -(-missing // _WORDS)
            first = self._block
            seeded = blake2b(b"%d " % self._seed)
            digests: list[bytes] = []
            for block in range(first, first + blocks):
                hashed = seeded.copy()
                hashed.update(b"%d" % block)
                digests.append(hashed.digest())
            self._block = first + blocks
            words = _unpacker(blocks)(b"".join(digests))
            left = left + [(word >> 11) * _TO_UNIT for word in words]
        self._left = left[count:]
        return left[:count]


@lru_cache(maxsize=64)
def _unpacker(blocks: int) -> Callable[[bytes], tuple[int, ...]]:
    return Struct(f"<{blocks * _WORDS}Q").unpack
