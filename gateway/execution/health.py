"""What this process has seen of each endpoint lately, as routing and operators want to know it."""

import time
from collections import deque
from collections.abc import Callable, Iterable, Mapping

from gateway.domain.attempts import AttemptEnd
from gateway.domain.outcomes import CONSEQUENCES, Outcome
from gateway.execution.failures import COOL_DOWN_MAX_S
from gateway.routing.plan import EndpointHealth, Percentiles

RECENT_OUTAGE_S = 30.0
_CREDENTIAL_REST_S = 600.0
_COOL_DOWN_MIN_MS = 1_000.0
_COOL_DOWN_STEP_MS = 5_000.0
_COOL_DOWN_UNTOLD_MAX_MS = 60_000.0
_SAMPLES = 64
_SAMPLES_PER_VIEW = 8
_MS_PER_S = 1000.0
_UPTIME_MINUTES = 30
_S_PER_MINUTE = 60.0


class _Minute:
    """How many attempts ended in one minute of the clock, well or by the provider's failure."""

    __slots__ = ("failed", "number", "succeeded")

    def __init__(self, number: int) -> None:
        self.number = number
        self.succeeded = 0
        self.failed = 0


class _Seen:
    __slots__ = (
        "cooling_until_ms",
        "credential_refused_until_ms",
        "failed_at_ms",
        "latencies_ms",
        "minutes",
        "rate_limits_in_a_row",
        "samples_since_view",
        "throughputs",
    )

    def __init__(self) -> None:
        self.failed_at_ms: float | None = None
        self.cooling_until_ms: float | None = None
        self.credential_refused_until_ms: float | None = None
        self.rate_limits_in_a_row = 0
        self.samples_since_view = 0
        self.latencies_ms: deque[float] = deque(maxlen=_SAMPLES)
        self.throughputs: deque[float] = deque(maxlen=_SAMPLES)
        self.minutes: deque[_Minute] = deque(maxlen=_UPTIME_MINUTES)

    def minute(self, now_s: float) -> _Minute:
        """The minute that is now."""
        number = int(now_s // _S_PER_MINUTE)
        if not self.minutes or self.minutes[-1].number != number:
            self.minutes.append(_Minute(number))
        return self.minutes[-1]


class HealthBoard:
    """Health of the endpoints of this process; bounded by the number of endpoints in use.

    Routing reads ``view``, a mapping that is rebuilt only after something changed or ran out.
    """

    def __init__(self, *, clock: Callable[[], float] = time.monotonic) -> None:
        """Make an empty board; ``clock`` tells monotonic seconds."""
        self._clock = clock
        self._seen: dict[str, _Seen] = {}
        self._view: dict[str, EndpointHealth] = {}
        self._view_holds_until_ms = float("-inf")

    def report(self, end: AttemptEnd) -> None:
        """Take an attempt's end into account."""
        now_s = self._clock()
        now_ms = now_s * _MS_PER_S
        seen = self._seen.setdefault(end.start.endpoint.id, _Seen())
        consequence = CONSEQUENCES[end.outcome]
        if end.outcome is Outcome.SUCCESS:
            seen.minute(now_s).succeeded += 1
            was_troubled = (
                seen.failed_at_ms is not None or seen.credential_refused_until_ms is not None
            )
            seen.failed_at_ms = None
            seen.credential_refused_until_ms = None
            seen.rate_limits_in_a_row = 0
            self._sample(seen, end)
            if was_troubled or seen.samples_since_view >= _SAMPLES_PER_VIEW:
                self._view_holds_until_ms = now_ms
            return
        if consequence.is_failure:
            seen.minute(now_s).failed += 1
            seen.failed_at_ms = now_ms
        if consequence.cools_down:
            self._cool_down(seen, end, now_ms)
        if consequence.blames_credential:
            seen.credential_refused_until_ms = now_ms + _CREDENTIAL_REST_S * _MS_PER_S
        self._view_holds_until_ms = now_ms

    def view(self, now_ms: float) -> Mapping[str, EndpointHealth]:
        """Health by endpoint id at a monotonic instant; endpoints never heard of are not in it."""
        if now_ms < self._view_holds_until_ms:
            return self._view
        holds_until_ms = float("inf")
        view: dict[str, EndpointHealth] = {}
        for endpoint, seen in self._seen.items():
            seen.samples_since_view = 0
            ends = [
                until_ms
                for until_ms in (
                    _outage_until_ms(seen),
                    seen.cooling_until_ms,
                    seen.credential_refused_until_ms,
                )
                if until_ms is not None and until_ms > now_ms
            ]
            holds_until_ms = min([holds_until_ms, *ends])
            outage_until_ms = _outage_until_ms(seen)
            view[endpoint] = EndpointHealth(
                has_recent_outage=outage_until_ms is not None and outage_until_ms > now_ms,
                cooling_until_ms=seen.cooling_until_ms
                if seen.cooling_until_ms is not None and seen.cooling_until_ms > now_ms
                else None,
                is_credential_refused=seen.credential_refused_until_ms is not None
                and seen.credential_refused_until_ms > now_ms,
                latency_ms=_percentiles(seen.latencies_ms),
                throughput_tokens_per_s=_percentiles(seen.throughputs, best_first=True),
            )
        self._view, self._view_holds_until_ms = view, holds_until_ms
        return view

    def uptime_percent(self, endpoint: str) -> float | None:
        """The share of attempts within the last 30 minutes that the endpoint did not fail.

        Answers and failures of the provider count, nothing else; None when there were none.
        """
        seen = self._seen.get(endpoint)
        if seen is None:
            return None
        first = int(self._clock() // _S_PER_MINUTE) - _UPTIME_MINUTES + 1
        lately = [minute for minute in seen.minutes if minute.number >= first]
        succeeded = sum(minute.succeeded for minute in lately)
        ended = succeeded + sum(minute.failed for minute in lately)
        return 100.0 * succeeded / ended if ended else None

    def _sample(self, seen: _Seen, end: AttemptEnd) -> None:
        is_first = not seen.latencies_ms
        seen.samples_since_view += _SAMPLES_PER_VIEW if is_first else 1
        first_ms = end.ttft_ms if end.ttft_ms is not None else end.duration_ms
        seen.latencies_ms.append(first_ms)
        speaking_s = (end.duration_ms - (end.ttft_ms or 0.0)) / _MS_PER_S
        if end.usage is not None and end.usage.completion_tokens and speaking_s > 0:
            seen.throughputs.append(end.usage.completion_tokens / speaking_s)

    def _cool_down(self, seen: _Seen, end: AttemptEnd, now_ms: float) -> None:
        if end.retry_after_ms is not None:
            rest_ms = min(max(end.retry_after_ms, _COOL_DOWN_MIN_MS), COOL_DOWN_MAX_S * _MS_PER_S)
        elif end.outcome is Outcome.RATE_LIMITED:
            doublings = min(seen.rate_limits_in_a_row, 8)
            rest_ms = min(_COOL_DOWN_STEP_MS * 2**doublings, _COOL_DOWN_UNTOLD_MAX_MS)
        else:
            return
        seen.rate_limits_in_a_row += 1
        # A shorter rest never cuts a longer one short.
        seen.cooling_until_ms = max(seen.cooling_until_ms or 0.0, now_ms + rest_ms)


def _percentiles(samples: Iterable[float], *, best_first: bool = False) -> Percentiles | None:
    """Of latencies as they are, of throughputs ``best_first``: p99 is the worst of both."""
    ordered = sorted(samples, reverse=best_first)
    if not ordered:
        return None
    last = len(ordered) - 1
    p50, p75, p90, p99 = (ordered[round(last * share)] for share in (0.5, 0.75, 0.9, 0.99))
    return Percentiles(p50=p50, p75=p75, p90=p90, p99=p99)


def _outage_until_ms(seen: _Seen) -> float | None:
    return None if seen.failed_at_ms is None else seen.failed_at_ms + RECENT_OUTAGE_S * _MS_PER_S
