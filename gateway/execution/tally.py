"""How many attempts went well and how many failed, lately; forgotten bucket by bucket."""


class _Bucket:
    __slots__ = ("failed", "number", "succeeded")

    def __init__(self, number: int) -> None:
        self.number = number
        self.succeeded = 0
        self.failed = 0


class RollingTally:
    """Counts over the last ``buckets`` times ``bucket_s`` seconds, the bucket that fills included.

    A bucket is whole seconds of the clock, so the oldest is forgotten all at once.
    """

    __slots__ = ("_bucket_s", "_buckets", "_keep", "cleared_at_ms")

    def __init__(self, *, bucket_s: float, buckets: int) -> None:
        self._bucket_s = bucket_s
        self._keep = buckets
        self._buckets: list[_Bucket] = []
        self.cleared_at_ms = 0.0

    def __len__(self) -> int:
        return len(self._buckets)

    def succeed(self, now_s: float) -> None:
        self._bucket(now_s).succeeded += 1

    def fail(self, now_s: float) -> None:
        self._bucket(now_s).failed += 1

    def clear(self, at_ms: float) -> None:
        """Forget everything, on the occasion of something that happened then."""
        self._buckets.clear()
        self.cleared_at_ms = at_ms

    def counts(self, now_s: float) -> tuple[int, int]:
        """How many there were in all, and how many of them failed."""
        first = int(now_s // self._bucket_s) - self._keep + 1
        total = failed = 0
        for bucket in self._buckets:
            if bucket.number >= first:
                total += bucket.succeeded + bucket.failed
                failed += bucket.failed
        return total, failed

    def success_share(self, now_s: float) -> float | None:
        """Between 0 and 1; None when nothing was counted."""
        total, failed = self.counts(now_s)
        return (total - failed) / total if total else None

    def _bucket(self, now_s: float) -> _Bucket:
        number = int(now_s // self._bucket_s)
        buckets = self._buckets
        if not buckets or buckets[-1].number != number:
            buckets.append(_Bucket(number))
            if len(buckets) > self._keep:
                del buckets[0]
        return buckets[-1]
