"""Counts what records tell: plain numbers in plain dictionaries, which a file can hold."""

from bisect import bisect_left

import msgspec

from gateway.domain.records import AttemptRecord, LateAttempts, RequestRecord
from gateway.metrics.families import (
    ATTEMPT_DURATION,
    ATTEMPTS,
    CALLER_COST,
    COST,
    DURATION,
    FIRST_TOKEN,
    HISTOGRAMS,
    OVERHEAD,
    RECORDS,
    REPORTED,
    REQUESTS,
    TOKENS,
    UNPRICED,
)
from pricing.cost import drift_of

MOST_OFFERS = 1_000
"""Pairs of provider and model that are told apart; further ones are counted as ``other``."""
OTHER = "other"
_MS_PER_S = 1000.0
_METERS = (
    "input_tokens",
    "cache_read_tokens",
    "cache_write_tokens",
    "output_tokens",
    "reasoning_tokens",
)
_STATUS = {0: "none", 1: "1xx", 2: "2xx", 3: "3xx", 4: "4xx", 5: "5xx"}

Labels = tuple[str, ...]


class Spread(msgspec.Struct, kw_only=True):
    """One histogram: how many fell into each bucket, the last being above all bounds."""

    counts: list[int]
    total_s: float = 0.0


class Counted(msgspec.Struct, kw_only=True):
    """All that only ever grows."""

    counters: dict[str, dict[Labels, float]] = {}
    histograms: dict[str, dict[Labels, Spread]] = {}


class Tally:
    """Grows with every record; never shrinks, and goes on where ``counted`` left off."""

    def __init__(self, counted: Counted | None = None) -> None:
        self.counted = counted or Counted()
        self._offers = {
            labels[:2] for labels in self.counted.counters.get(COST, {}) if len(labels) > 1
        }
        self._followed: dict[tuple[str, Labels], float] = {}

    def add(self, name: str, labels: Labels = (), amount: float = 1) -> None:
        """Count something."""
        series = self.counted.counters.get(name)
        if series is None:
            series = self.counted.counters[name] = {}
        series[labels] = series.get(labels, 0) + amount

    def follow(self, name: str, labels: Labels, now: float) -> None:
        """Take over a count that this process keeps elsewhere, beginning at 0."""
        before = self._followed.get((name, labels), 0)
        self._followed[name, labels] = max(now, before)
        self.add(name, labels, max(0, now - before))

    def observe(self, name: str, labels: Labels, value_s: float) -> None:
        """Sort a duration into its bucket."""
        bounds = HISTOGRAMS[name].bounds
        series = self.counted.histograms.get(name)
        if series is None:
            series = self.counted.histograms[name] = {}
        spread = series.get(labels)
        if spread is None or len(spread.counts) != len(bounds) + 1:
            spread = series[labels] = Spread(counts=[0] * (len(bounds) + 1))
        spread.counts[bisect_left(bounds, value_s)] += 1
        spread.total_s += value_s

    def take(self, record: RequestRecord | LateAttempts) -> None:
        """Count a record with its attempts."""
        self.add(RECORDS)
        if isinstance(record, RequestRecord):
            status = _STATUS.get(record.status_code // 100, OTHER)
            self.add(REQUESTS, (record.dialect, status, record.outcome.value))
            mode = ("stream",) if record.stream else ("whole",)
            self.observe(DURATION, mode, record.duration_ms / _MS_PER_S)
            if record.overhead_ms is not None:
                self.observe(OVERHEAD, (), record.overhead_ms / _MS_PER_S)
        for attempt in record.attempts:
            is_ours = isinstance(record, LateAttempts) or not record.is_paid_by_caller
            self._take_attempt(attempt, is_ours=is_ours)

    def _take_attempt(self, attempt: AttemptRecord, *, is_ours: bool) -> None:
        offer = self._offer(attempt)
        provider = offer[0]
        self.add(ATTEMPTS, (provider, attempt.outcome.value, attempt.kind))
        self.observe(ATTEMPT_DURATION, (provider,), attempt.duration_ms / _MS_PER_S)
        if attempt.ttft_ms is not None:
            self.observe(FIRST_TOKEN, (provider,), attempt.ttft_ms / _MS_PER_S)
        usage = attempt.usage
        if usage is not None:
            for meter in _METERS:
                tokens = getattr(usage, meter)
                if tokens:
                    self.add(TOKENS, (*offer, meter.removesuffix("_tokens")), tokens)
        cost = attempt.cost
        if cost.total_usd is not None:
            self.add(COST if is_ours else CALLER_COST, offer, float(cost.total_usd))
        elif is_ours:
            self.add(UNPRICED, offer)
        drift = drift_of(cost)
        if drift is not None:
            self.add(REPORTED, (*offer, drift))

    def _offer(self, attempt: AttemptRecord) -> tuple[str, str]:
        offer = (attempt.provider, attempt.model)
        if offer in self._offers:
            return offer
        if len(self._offers) >= MOST_OFFERS:
            return (OTHER, OTHER)
        self._offers.add(offer)
        return offer


def merged(parts: list[Counted]) -> Counted:
    """What several processes counted, together."""
    whole = Counted()
    for part in parts:
        for name, series in part.counters.items():
            into = whole.counters.setdefault(name, {})
            for labels, amount in series.items():
                into[labels] = into.get(labels, 0) + amount
        for name, spreads in part.histograms.items():
            kept = whole.histograms.setdefault(name, {})
            for labels, spread in spreads.items():
                kept[labels] = _joined(kept.get(labels), spread)
    return whole


def _joined(one: Spread | None, other: Spread) -> Spread:
    if one is None or len(one.counts) != len(other.counts):
        return Spread(counts=list(other.counts), total_s=other.total_s)
    return Spread(
        counts=[a + b for a, b in zip(one.counts, other.counts, strict=True)],
        total_s=one.total_s + other.total_s,
    )
