"""A few days of made-up records, stored as the shipper stores them: the same for the same seed."""

import asyncio
import math
import random
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any
from uuid import UUID

import msgspec
from sqlalchemy import insert

from gateway.domain.outcomes import Outcome
from gateway.domain.records import AttemptRecord, RequestRecord
from gateway.storage.ingest import insert_absent
from gateway.storage.partitions import ensure_partitions
from gateway.storage.rows import attempt_rows, record_day, request_row
from gateway.storage.tables import api_key, ship_watermark
from pricing.cost import Cost
from pricing.usage import Usage
from tests.storage.samples import KEY_ID, engine_of, make_attempt, make_record, request_id

HOSTILE_MODEL = "![x](http://example.invalid/x.png)<img src=x onerror=alert(1)>=1+1"
HOSTILE_LABEL = "<script>alert('label')</script>"
MICRO = Decimal("0.000001")

# Provider, model, dollars per million in and out, median latency, failing share, weight.
OFFERS = (
    ("openai", "openai/gpt-4o-mini", "0.15", "0.60", 900, 0.01, 6),
    ("anthropic", "anthropic/claude-sonnet-4.5", "3", "15", 2_100, 0.02, 5),
    ("google", "google/gemini-2.5-flash", "0.30", "2.50", 700, 0.01, 3),
    ("groq", "meta-llama/llama-3.3-70b-instruct", "0.59", "0.79", 320, 0.09, 2),
    ("amazon-bedrock", "anthropic/claude-sonnet-4.5", "3", "15", 2_600, 0.01, 1),
)
FAILURES = (Outcome.OVERLOADED, Outcome.RATE_LIMITED, Outcome.FIRST_TOKEN_TIMEOUT)


def made_up_records(
    count: int, *, end: datetime, days: float = 6.5, seed: int = 7
) -> list[RequestRecord]:
    draw = random.Random(seed)
    records: list[RequestRecord] = []
    while len(records) < count:
        at = end - timedelta(seconds=draw.random() * days * 86_400)
        # More by day than by night.
        if draw.random() < 0.55 + 0.45 * math.sin((at.hour - 8) / 24 * 2 * math.pi):
            records.append(_made_up(at, draw))
    records.append(hostile_record(end - timedelta(minutes=2)))
    records.append(refused_record(end - timedelta(minutes=3)))
    return sorted(records, key=lambda record: record.received_at)


def _made_up(at: datetime, draw: random.Random) -> RequestRecord:
    weights = [offer[-1] for offer in OFFERS]
    first = draw.choices(OFFERS, weights)[0]
    stream = draw.random() < 0.6
    attempts: list[AttemptRecord] = []
    begun = at + timedelta(milliseconds=draw.uniform(0.8, 3))
    if draw.random() < first[5]:
        failed = _attempt(first, 1, begun, draw, stream=stream, outcome=draw.choice(FAILURES))
        attempts.append(failed)
        begun += timedelta(milliseconds=failed.duration_ms)
        others = [offer for offer in OFFERS if offer[0] != first[0]]
        if draw.random() < 0.85:
            attempts.append(_attempt(draw.choice(others), 2, begun, draw, stream=stream))
    else:
        attempts.append(_attempt(first, 1, begun, draw, stream=stream))
    return record_of(at, attempts, stream=stream)


def _attempt(
    offer: tuple[Any, ...],
    number: int,
    begun: datetime,
    draw: random.Random,
    *,
    stream: bool,
    outcome: Outcome = Outcome.SUCCESS,
) -> AttemptRecord:
    provider, model, usd_in, usd_out, median_ms, _, _ = offer
    duration_ms = median_ms * draw.lognormvariate(0, 0.45)
    changes: dict[str, Any] = {
        "number": number,
        "kind": "primary" if number == 1 else "fallback",
        "provider": provider,
        "model": model,
        "endpoint": f"{provider}/{model.split('/')[1]}",
        "provider_model": model.split("/")[1],
        "started_at": begun,
        "outcome": outcome,
        "duration_ms": duration_ms,
    }
    if outcome is not Outcome.SUCCESS:
        status = {Outcome.OVERLOADED: 529, Outcome.RATE_LIMITED: 429}.get(outcome, 0)
        return make_attempt(
            **changes,
            status_code=status,
            error_code="overloaded_error" if status == 529 else None,
            error_message="The service is overloaded, try again later." if status else None,
            retry_after_ms=2_000.0 if status == 429 else None,
            cost=Cost(total_usd=Decimal(0)),
        )
    cached = draw.choice((0, 0, 2_048))
    usage = Usage(
        input_tokens=draw.randint(200, 6_000),
        cache_read_tokens=cached,
        output_tokens=draw.randint(30, 1_500),
        requests=1,
    )
    is_unpriced = provider == "groq" and draw.random() < 0.3
    return make_attempt(
        **changes,
        status_code=200,
        ttft_ms=duration_ms * draw.uniform(0.2, 0.4) if stream else None,
        finish_reason="stop",
        usage=usage,
        usage_source="reported",
        cost=Cost(total_usd=None, status="unpriced")
        if is_unpriced
        else _cost(usage, Decimal(usd_in), Decimal(usd_out), f"{changes['endpoint']}@2026-11-01"),
    )


def _cost(usage: Usage, usd_in: Decimal, usd_out: Decimal, version: str) -> Cost:
    lines = {
        "input_tokens": usage.input_tokens * usd_in * MICRO,
        "cache_read_tokens": usage.cache_read_tokens * usd_in / 10 * MICRO,
        "output_tokens": usage.output_tokens * usd_out * MICRO,
    }
    lines = {meter: line for meter, line in lines.items() if line}
    return Cost(total_usd=sum(lines.values(), Decimal(0)), lines=lines, price_version=version)


def record_of(
    at: datetime, attempts: Sequence[AttemptRecord], *, stream: bool = False, **changes: Any
) -> RequestRecord:
    last = attempts[-1]
    is_served = last.outcome is Outcome.SUCCESS
    end = last.started_at + timedelta(milliseconds=last.duration_ms)
    before_ms = (last.started_at - at).total_seconds() * 1000
    costs = [attempt.cost.total_usd for attempt in attempts]
    values: dict[str, Any] = {
        "received_at": at,
        "stream": stream,
        "requested_model": attempts[0].model,
        "used_model": last.model if is_served else None,
        "used_provider": last.provider if is_served else None,
        "used_endpoint": last.endpoint if is_served else None,
        "status_code": 200 if is_served else 502,
        "outcome": last.outcome,
        "is_fallback": is_served and len(attempts) > 1,
        "ttft_ms": None if last.ttft_ms is None else before_ms + last.ttft_ms,
        "duration_ms": (end - at).total_seconds() * 1000,
        "overhead_ms": (attempts[0].started_at - at).total_seconds() * 1000,
        "finish_reason": last.finish_reason,
        "cost_usd": None if None in costs else sum(filter(None, costs), Decimal(0)),
        "cost_status": "unpriced" if None in costs else "exact",
        "plan": _plan(attempts),
        "attempts": tuple(attempts),
    }
    return make_record(**{**values, **changes})


def _plan(attempts: Sequence[AttemptRecord]) -> dict[str, object]:
    tried = [
        {"endpoint": one.endpoint, "model": one.model, "partition": 0, "cost_usd": "0.0213"}
        for one in attempts
    ]
    return {
        "mode": "weighted",
        "candidates": [
            {**tried[0], "p": 0.62},
            *tried[1:],
            {"endpoint": "azure/gpt-4o-mini", "model": "openai/gpt-4o-mini", "partition": 0},
        ],
        "excluded_by": {"max_price": 1, "unpriced": 1},
        "excluded": [
            {
                "endpoint": "openrouter/gpt-4o-mini",
                "reason": "max_price",
                "detail": "output $18.75 > cap $16 per M",
            },
            {"endpoint": "together/gpt-4o-mini", "reason": "unpriced"},
        ],
    }


def fallback_record(at: datetime) -> RequestRecord:
    draw = random.Random(3)
    begun = at + timedelta(milliseconds=1.5)
    failed = _attempt(OFFERS[3], 1, begun, draw, stream=True, outcome=Outcome.OVERLOADED)
    after = begun + timedelta(milliseconds=failed.duration_ms)
    answer = msgspec.structs.replace(
        _attempt(OFFERS[1], 2, after, draw, stream=True), service_tier="fast", served_region="us"
    )
    return record_of(
        at,
        [failed, answer],
        stream=True,
        user="u_4821",
        session_id="s_77f0",
        warnings=("top_k was dropped: the provider does not know it",),
    )


def hostile_record(at: datetime) -> RequestRecord:
    attempt = make_attempt(
        model=HOSTILE_MODEL,
        endpoint=f"openai/{HOSTILE_MODEL}",
        started_at=at,
        duration_ms=400.0,
        status_code=200,
        error_message=HOSTILE_MODEL,
    )
    return record_of(
        at,
        [attempt],
        labels={"team": HOSTILE_LABEL, HOSTILE_LABEL: "x"},
        user=HOSTILE_LABEL,
        session_id=HOSTILE_MODEL,
        requested_model=HOSTILE_MODEL,
        finish_reason=HOSTILE_LABEL,
        warnings=(HOSTILE_MODEL,),
    )


def refused_record(at: datetime) -> RequestRecord:
    return make_record(
        received_at=at,
        status_code=404,
        outcome=Outcome.REFUSED,
        error_kind="no_endpoint",
        duration_ms=0.7,
        cost_usd=Decimal(0),
    )


def fill(dsn: str, records: Sequence[RequestRecord], *, updated_at: datetime | None = None) -> None:
    """Blocks; the key's row and a watermark come along."""
    asyncio.run(_fill(dsn, records, updated_at or datetime.now(UTC)))


async def _fill(dsn: str, records: Sequence[RequestRecord], updated_at: datetime) -> None:
    engine = engine_of(dsn)
    try:
        async with engine.begin() as connection:
            await ensure_partitions(connection, {record_day(one) for one in records})
            await insert_absent(
                connection,
                [request_row(one) for one in records],
                [row for one in records for row in attempt_rows(one)],
            )
            await connection.execute(insert(api_key).values(**key_row(KEY_ID)))
            await connection.execute(
                insert(ship_watermark).values(
                    worker="node/1",
                    updated_at=updated_at,
                    last_record_at=max(record.received_at for record in records),
                    backlog_bytes=0,
                )
            )
    finally:
        await engine.dispose()


def key_row(key_id: UUID) -> dict[str, Any]:
    return {
        "id": key_id,
        "kid": "01234567",
        "digest": bytes(32),
        "pepper_version": 1,
        "last4": "6ls0",
        "name": "team one",
        "labels": {},
        "allowed_models": [],
        "allowed_providers": [],
        "has_hard_budget": False,
        "created_at": datetime(2026, 11, 1, tzinfo=UTC),
        "created_by": "owner",
    }


__all__ = ["request_id"]
