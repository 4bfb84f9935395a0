"""Log-spaced histograms that add up: quantiles within 2 %, over any set of windows and workers."""

import math
from collections.abc import Iterable, Sequence

GROWTH = 1.04
"""Each bucket's upper bound is this many times the one below it."""

MAX_RELATIVE_ERROR = (GROWTH - 1) / (GROWTH + 1)
"""Of a quantile, against the sample that it stands for."""

_LEAST = 1e-3
_MOST = 1e9
_PER_LOG = 1 / math.log(GROWTH)
_MIDDLE = 2 / (GROWTH + 1)


def bucket_of(value: float) -> int:
    """The number of the bucket that holds a value: above GROWTH**(n-1), up to GROWTH**n.

    Values are taken as at least 0.001 and at most 10^9, so that the buckets are 706 at most.
    """
    return math.ceil(math.log(min(max(value, _LEAST), _MOST)) * _PER_LOG)


def value_of(bucket: int) -> float:
    """What stands for all values in a bucket: as far, relatively, from either bound."""
    return GROWTH**bucket * _MIDDLE


class Histogram:
    """Counts by bucket. Adding histograms is exact, unlike averaging percentiles."""

    __slots__ = ("count", "counts")

    def __init__(self) -> None:
        self.counts: dict[int, int] = {}
        """By number of bucket; none is zero."""
        self.count = 0

    def add(self, value: float, times: int = 1) -> None:
        self.add_to(bucket_of(value), times)

    def add_to(self, bucket: int, times: int = 1) -> None:
        """Count into a bucket whose number is known."""
        self.counts[bucket] = self.counts.get(bucket, 0) + times
        self.count += times

    def merge(self, other: "Histogram") -> None:
        """Take over all that another has counted."""
        for bucket, times in other.counts.items():
            self.add_to(bucket, times)

    def halve(self) -> None:
        """Let the past count half as much; what was counted once is dropped."""
        self.counts = {bucket: times // 2 for bucket, times in self.counts.items() if times > 1}
        self.count = sum(self.counts.values())

    def quantile(self, share: float) -> float | None:
        """The smallest value that at least this share of the samples does not exceed."""
        return self.quantiles((share,))[0] if self.count else None

    def quantiles(self, shares: Sequence[float]) -> list[float]:
        """Several at once; ``shares`` ascend, and there is a sample at least."""
        count = self.count
        ranks = iter([max(1, math.ceil(share * count)) for share in shares])
        rank = next(ranks)
        found: list[float] = []
        reached = 0
        for bucket in sorted(self.counts):
            reached += self.counts[bucket]
            while reached >= rank:
                found.append(value_of(bucket))
                rank = next(ranks, count + 1)
        return found


class RollingHistogram:
    """The samples of the last minutes, forgotten window by window."""

    __slots__ = ("_keep", "_window_s", "_windows")

    def __init__(self, *, window_s: float, windows: int) -> None:
        """Keep ``windows`` windows of ``window_s`` seconds each, the one that fills included."""
        self._window_s = window_s
        self._keep = windows
        self._windows: list[tuple[int, Histogram]] = []

    def add_to(self, bucket: int, now_s: float) -> None:
        number = int(now_s // self._window_s)
        windows = self._windows
        if not windows or windows[-1][0] != number:
            windows.append((number, Histogram()))
            if len(windows) > self._keep:
                del windows[0]
        windows[-1][1].add_to(bucket)

    def at(self, now_s: float, *, without_newest: int = 0) -> Histogram:
        """All that is remembered, as one; perhaps without the newest windows.

        The window that fills is the first of the newest. Windows without samples count too.
        """
        last = int(now_s // self._window_s) - without_newest
        first = int(now_s // self._window_s) - self._keep + 1
        return merged(kept for number, kept in self._windows if first <= number <= last)


def merged(histograms: Iterable[Histogram]) -> Histogram:
    """One histogram of all samples."""
    total = Histogram()
    for histogram in histograms:
        total.merge(histogram)
    return total
