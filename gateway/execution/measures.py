"""What was measured of one endpoint lately: latency, throughput, uptime; of bounded size."""

from collections.abc import Sequence

import msgspec

from gateway.domain.attempts import AttemptEnd
from gateway.execution.histogram import Histogram, RollingHistogram, bucket_of
from gateway.execution.tally import RollingTally
from gateway.routing.plan import Percentiles

DEGRADED_FACTOR = 0.25
"""What is left of the weight of an endpoint that has become much slower than it used to be."""

SPEED_AGE_S = 1.0

_RECENT_WINDOW_S = 30.0
_RECENT_WINDOWS = 10
_HOUR_WINDOW_S = 300.0
_HOUR_WINDOWS = 13
# The window that fills, and a whole one: five minutes at least.
_HOUR_NEWEST = 2
_UPTIME_MINUTES = 30
_S_PER_MINUTE = 60.0
_MS_PER_S = 1000.0
_UP = (0.5, 0.75, 0.9, 0.99)
_DOWN = (0.01, 0.1, 0.25, 0.5)
_P95 = 0.95
_DEGRADED_TIMES = 3.0
_DEGRADED_MIN_MS = 10_000.0
_DEGRADED_MIN_SAMPLES = 10


class Speed(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """How fast an endpoint has been."""

    latency_ms: Percentiles | None = None
    throughput_tokens_per_s: Percentiles | None = None
    """The best half first: 90 % of the answers were at least as fast as p90."""
    is_degraded: bool = False
    """Slow, and much slower than in the hour before the last minutes."""


class Measures:
    """Rolling statistics over 5 minutes, an hour for comparison, and 30 minutes of uptime."""

    __slots__ = (
        "_hour",
        "_speed",
        "_speed_at_s",
        "latency_ms",
        "throughput_tokens_per_s",
        "uptime",
    )

    def __init__(self) -> None:
        self.latency_ms = RollingHistogram(window_s=_RECENT_WINDOW_S, windows=_RECENT_WINDOWS)
        """To the first token of streams, to the end of whole answers."""
        self.throughput_tokens_per_s = RollingHistogram(
            window_s=_RECENT_WINDOW_S, windows=_RECENT_WINDOWS
        )
        self.uptime = RollingTally(bucket_s=_S_PER_MINUTE, buckets=_UPTIME_MINUTES)
        self._hour = RollingHistogram(window_s=_HOUR_WINDOW_S, windows=_HOUR_WINDOWS)
        self._speed = Speed()
        self._speed_at_s = float("-inf")

    def sample(self, end: AttemptEnd, now_s: float) -> None:
        """Take over how fast a successful attempt was."""
        ttft_ms = end.ttft_ms
        bucket = bucket_of(end.duration_ms if ttft_ms is None else ttft_ms)
        self.latency_ms.add_to(bucket, now_s)
        self._hour.add_to(bucket, now_s)
        speaking_ms = end.duration_ms - (ttft_ms or 0.0)
        if end.usage is not None and speaking_ms > 0:
            tokens = end.usage.completion_tokens
            if tokens:
                self.throughput_tokens_per_s.add_to(
                    bucket_of(tokens * _MS_PER_S / speaking_ms), now_s
                )

    def is_due(self, now_s: float) -> bool:
        """Whether `speed` would look at the samples again."""
        return now_s - self._speed_at_s >= SPEED_AGE_S

    def speed(self, now_s: float) -> Speed:
        """As of now, or of less than a second ago: adding up costs more than a sample."""
        if self.is_due(now_s):
            latency, throughput = self.latency_ms.at(now_s), self.throughput_tokens_per_s.at(now_s)
            if latency.count:
                self._speed_at_s = now_s
            self._speed = Speed(
                latency_ms=_percentiles(latency.quantiles(_UP)) if latency.count else None,
                throughput_tokens_per_s=_percentiles(throughput.quantiles(_DOWN)[::-1])
                if throughput.count
                else None,
                is_degraded=self._is_degraded(latency, now_s),
            )
        return self._speed

    def _is_degraded(self, latency: Histogram, now_s: float) -> bool:
        recent_ms = _p95(latency)
        if recent_ms is None or recent_ms <= _DEGRADED_MIN_MS:
            return False
        usual_ms = _p95(self._hour.at(now_s, without_newest=_HOUR_NEWEST))
        return usual_ms is not None and recent_ms > _DEGRADED_TIMES * usual_ms


def _percentiles(values: Sequence[float]) -> Percentiles:
    p50, p75, p90, p99 = values
    return Percentiles(p50=p50, p75=p75, p90=p90, p99=p99)


def _p95(histogram: Histogram) -> float | None:
    """None when there are too few samples to tell."""
    return histogram.quantile(_P95) if histogram.count >= _DEGRADED_MIN_SAMPLES else None
