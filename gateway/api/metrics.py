"""``GET /metrics`` for Prometheus: what the whole node counted, whichever worker is asked."""

import asyncio
import time
from collections.abc import Callable
from typing import Any

import msgspec
from litestar import Request, Response, get
from litestar.handlers import HTTPRouteHandler

from gateway.api.roles import OPEN
from gateway.api.traffic import Traffic
from gateway.execution.health import HealthBoard
from gateway.execution.retry_budget import RetryBudget
from gateway.execution.shadow import Shadows
from gateway.ledger.limits import Limiter
from gateway.ledger.purse import Purse
from gateway.ledger.spool import Spool
from gateway.ledger.storing import ShipperState
from gateway.metrics import families
from gateway.metrics.exposition import render
from gateway.metrics.node import Gauges
from gateway.metrics.tally import Tally
from gateway.metrics.watch import Watch
from gateway.routing.plan import EndpointHealth
from gateway.snapshot.snapshot import SnapshotHolder
from gateway.version import CODE_VERSION

_MOST_ENDPOINTS = 500
_MS_PER_S = 1000.0
_NANOS_PER_USD = 1e9
_CLOSED, _HALF_OPEN, _OPEN = 0.0, 1.0, 2.0


class Sources(msgspec.Struct, frozen=True, kw_only=True):
    """Where a worker's numbers come from, beside its records."""

    traffic: Traffic
    spool: Spool
    shipping: ShipperState
    health: HealthBoard
    budget: RetryBudget
    shadows: Shadows
    snapshots: SnapshotHolder
    purse: Purse
    limiter: Limiter

    def gauges(self) -> Gauges:
        """What goes up and down, as it is now."""
        spool, shipping = self.spool, self.shipping
        found: Gauges = {
            families.IN_FLIGHT: {(): self.traffic.open_count},
            families.SHADOWS_RUNNING: {(): self.shadows.running},
            families.SPOOL_BYTES: {(): spool.used_bytes},
            families.SPOOL_MAX_BYTES: {(): spool.max_bytes},
            families.SPOOL_WAITING: {(): shipping.backlog_bytes},
            families.SPOOL_AGE: {(): spool.oldest_unshipped_s},
            families.SPOOL_WRITABLE: {(): float(spool.is_writable)},
            families.POSTGRES_UP: {(): float(shipping.is_connected)},
            families.BUDGET_FREE: {(): self.purse.free_nusd / _NANOS_PER_USD},
            families.BUDGET_RESERVED: {(): self.purse.reserved_nusd / _NANOS_PER_USD},
            families.BREAKER: {},
            families.RESTING: {},
        }
        confirmed_at_s = self.snapshots.current.confirmed_at_s
        if confirmed_at_s is not None:
            found[families.SNAPSHOT_AGE] = {(): max(0.0, time.time() - confirmed_at_s)}
        now_ms = time.monotonic() * _MS_PER_S
        for endpoint, seen in list(self.health.view(now_ms).items())[:_MOST_ENDPOINTS]:
            found[families.BREAKER][endpoint,] = _breaker(seen, now_ms)
            for reason in _resting(seen, now_ms):
                found[families.RESTING][endpoint, reason] = 1.0
        return found

    def follow(self, tally: Tally) -> None:
        """Take over what is counted elsewhere in this process."""
        shipping, shadows = self.shipping, self.shadows
        tally.follow(families.SHIPPED, (), shipping.shipped_records)
        tally.follow(families.DEAD_LETTERS, (), shipping.dead_letters)
        tally.follow(families.CORRUPT_FRAMES, (), shipping.corrupt_frames)
        tally.follow(families.REPEATS_REFUSED, (), self.budget.refused)
        tally.follow(families.SHADOWS, ("started",), shadows.started)
        tally.follow(families.SHADOWS, ("dropped",), shadows.dropped)
        tally.follow(families.SHADOWS, ("unfit",), shadows.unfit)
        purse, limiter = self.purse, self.limiter
        for why, count in (
            ("budget", purse.refused),
            ("budget_unconfirmed", purse.unconfirmed),
            ("budget_shadow", purse.shadow_refused),
            ("limit", limiter.refused),
            ("limit_shadow", limiter.shadow_refused),
        ):
            tally.follow(families.REFUSED, (why,), count)
        tally.follow(families.OVERRUNS, (), purse.overruns)
        tally.follow(families.UNCHECKED, (), limiter.unchecked)

    def info(self) -> dict[str, str]:
        """Versions of code, prices and rules."""
        snapshot = self.snapshots.current
        rules = snapshot.rules
        return {
            "version": CODE_VERSION,
            "catalogue": snapshot.catalogue.version,
            "rules": (rules.version or "none") if rules is not None else "unknown",
        }


def metrics_routes(watch: Watch, info: Callable[[], dict[str, str]]) -> list[HTTPRouteHandler]:
    """The one route; it needs no key, so where it is served decides who may read it."""

    @get("/metrics", operation_id="metrics", tags=["health"], include_in_schema=False, opt=OPEN)
    async def metrics(request: Request[Any, Any, Any]) -> Response[bytes]:
        """Counters, gauges and histograms of the node."""
        shown = await watch.sum()
        accept = request.headers.get("accept", "")
        body, content_type = await asyncio.to_thread(render, shown, info(), accept)
        return Response(body, headers={"content-type": content_type})

    return [metrics]


def _breaker(seen: EndpointHealth, now_ms: float) -> float:
    if seen.is_half_open:
        return _HALF_OPEN
    return _OPEN if seen.open_until_ms is not None and seen.open_until_ms > now_ms else _CLOSED


def _resting(seen: EndpointHealth, now_ms: float) -> list[str]:
    reasons: list[str] = []
    if seen.cooling_until_ms is not None and seen.cooling_until_ms > now_ms:
        reasons.append("rate_limit" if seen.is_rate_limited else "cool_down")
    if seen.is_credential_refused:
        reasons.append("credential")
    return reasons
