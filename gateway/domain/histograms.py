"""Histograms whose buckets grow by a fixed factor: they merge by adding counts. Pure."""

GROWTH = 1.04
"""From one bucket to the next; a bucket's geometric middle is at most 2 % off."""


def middle_of(bucket: float) -> float:
    """What stands for everything that was counted in a bucket."""
    return GROWTH ** (bucket + 0.5)
