"""What repeats and hedges are paid from, so that trouble at a provider is not multiplied by us.

One bucket per target. Every request puts a little in, time puts a little in, and whatever asks the
same question a second time takes out: with every answer failing, a busy target gets at most a tenth
more calls than requests. Moving on to another endpoint costs nothing here; it is bounded by the
attempts and the deadline of the request. Pure: time comes in as an argument.
"""

import msgspec

REPEAT = 1.0
"""What a repeat or a hedge costs."""
LATE_REPEAT = 2.0
"""What a repeat costs after the provider was silent: it may be working on the first one still."""


class Refill(msgspec.Struct, frozen=True, kw_only=True):
    """How buckets fill."""

    cap: float = 20.0
    per_request: float = 0.1
    per_s: float = 1.0
    """Without it a target with little traffic would never be repeated."""


class _Bucket:
    __slots__ = ("at_s", "tokens")

    def __init__(self, tokens: float, at_s: float) -> None:
        self.tokens = tokens
        self.at_s = at_s


class RetryBudget:
    """The buckets of one process; bounded by the number of targets that are asked.

    Instants are seconds on one monotonic clock.
    """

    def __init__(self, refill: Refill | None = None) -> None:
        self._refill = refill or Refill()
        self._buckets: dict[str, _Bucket] = {}
        self.refused = 0
        """How many repeats and hedges were not paid for."""

    def note_request(self, target: str, now_s: float) -> None:
        """A request is about to ask a target for the first time."""
        bucket = self._filled(target, now_s)
        bucket.tokens = min(bucket.tokens + self._refill.per_request, self._refill.cap)

    def take(self, target: str, now_s: float, *, cost: float = REPEAT) -> bool:
        """Pay for asking a target's question once more; False when it has nothing left."""
        bucket = self._filled(target, now_s)
        if bucket.tokens <= 0:
            self.refused += 1
            return False
        bucket.tokens -= cost
        return True

    def tokens(self, target: str, now_s: float) -> float:
        """What a target has; a full bucket for one that was never asked."""
        return self._filled(target, now_s).tokens if target in self._buckets else self._refill.cap

    def _filled(self, target: str, now_s: float) -> _Bucket:
        bucket = self._buckets.get(target)
        if bucket is None:
            bucket = self._buckets[target] = _Bucket(self._refill.cap, now_s)
            return bucket
        gone_s = now_s - bucket.at_s
        if gone_s > 0:
            bucket.tokens = min(bucket.tokens + gone_s * self._refill.per_s, self._refill.cap)
            bucket.at_s = now_s
        return bucket
