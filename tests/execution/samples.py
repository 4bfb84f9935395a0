"""Attempts and their ends, with defaults for everything a test does not care about."""

from datetime import UTC, datetime
from typing import Any

from gateway.domain.attempts import AttemptEnd, AttemptStart
from gateway.domain.outcomes import Outcome
from gateway.execution.attempt import Attempt
from gateway.providers.base import Fault
from gateway.routing.plan import Candidate
from pricing.endpoint import Endpoint
from pricing.price import resolve
from tests.routing.factories import make_endpoint, make_price

STARTED_AT = datetime(2026, 11, 21, 12, tzinfo=UTC)


def make_start(endpoint: Endpoint | None = None, **changes: Any) -> AttemptStart:
    served = endpoint or make_endpoint(price=make_price("1", "2"))
    values: dict[str, Any] = {
        "number": 1,
        "kind": "primary",
        "endpoint": served,
        "price": resolve(served, at=STARTED_AT, prompt_tokens=100),
        "started_at": STARTED_AT,
    }
    return AttemptStart(**(values | changes))


def make_end(
    outcome: Outcome = Outcome.SUCCESS, *, endpoint: Endpoint | None = None, **changes: Any
) -> AttemptEnd:
    values: dict[str, Any] = {
        "start": make_start(endpoint),
        "outcome": outcome,
        "status_code": 200,
        "duration_ms": 500.0,
    }
    return AttemptEnd(**(values | changes))


def make_attempt(ends: list[AttemptEnd], endpoint: Endpoint | None = None) -> Attempt:
    candidate = Candidate(
        endpoint=endpoint or make_endpoint(price=make_price("1", "2")),
        price=None,
        expected_cost_usd=None,
    )
    return Attempt(candidate, number=1, kind="primary", on_end=ends.append)


def make_fault(outcome: Outcome, **changes: Any) -> Fault:
    values: dict[str, Any] = {"outcome": outcome, "message": f"it was {outcome.value}"}
    return Fault(**(values | changes))
