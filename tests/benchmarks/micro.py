"""Times single calls on the request path; add yours to ``CALLS``."""

import statistics
import time
from collections.abc import Callable
from datetime import UTC, datetime

import msgspec

from pricing.catalogue import load_catalogue
from pricing.cost import compute_cost
from pricing.endpoint import Endpoint
from pricing.price import resolve
from pricing.usage import Usage

REPEATS = 41
_BATCH_S = 0.004


class Timing(msgspec.Struct, frozen=True, kw_only=True):
    """The median over repeated batches of one call."""

    name: str
    median_us: float


Prepare = Callable[[], Callable[[], object]]
"""Builds the inputs, and returns the call that is timed."""

_AT = datetime(2026, 11, 1, 12, tzinfo=UTC)
_USAGE = Usage(
    input_tokens=1_200, cache_read_tokens=8_000, output_tokens=450, reasoning_tokens=200, requests=1
)


def _resolve() -> Callable[[], object]:
    endpoint = _tiered_endpoint()
    return lambda: resolve(endpoint, at=_AT, prompt_tokens=9_200)


def _resolve_long() -> Callable[[], object]:
    endpoint = _tiered_endpoint()
    return lambda: resolve(endpoint, at=_AT, prompt_tokens=250_000, service_tier="flex")


def _compute_cost() -> Callable[[], object]:
    price = resolve(_tiered_endpoint(), at=_AT, prompt_tokens=_USAGE.prompt_tokens)
    return lambda: compute_cost(_USAGE, price)


def _tiered_endpoint() -> Endpoint:
    return next(
        endpoint
        for endpoint in load_catalogue().endpoints_by_id.values()
        if endpoint.provider == "google" and any(price.size_tiers for price in endpoint.prices)
    )


CALLS: dict[str, Prepare] = {
    "resolve, list price": _resolve,
    "resolve, long prompt and service tier": _resolve_long,
    "compute_cost, four meters": _compute_cost,
}


def run() -> list[Timing]:
    """Time every registered call."""
    return [Timing(name=name, median_us=_median_us(prepare())) for name, prepare in CALLS.items()]


def _median_us(call: Callable[[], object]) -> float:
    started_at = time.perf_counter()
    call()
    once_s = max(time.perf_counter() - started_at, 1e-7)
    times = max(1, int(_BATCH_S / once_s))
    return statistics.median(_batch_s(call, times) / times for _ in range(REPEATS)) * 1e6


def _batch_s(call: Callable[[], object], times: int) -> float:
    started_at = time.perf_counter()
    for _ in range(times):
        call()
    return time.perf_counter() - started_at
