"""Records, keys and migrated databases for the tests of storage."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any
from uuid import UUID

from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

import migrations
from gateway.domain.ids import RequestIds
from gateway.domain.outcomes import Outcome
from gateway.domain.records import AttemptRecord, RequestRecord
from gateway.storage.engine import make_engine, raw_connection
from gateway.storage.keys import StoredKey
from gateway.storage.partitions import ensure_partitions
from gateway.storage.rows import (
    ATTEMPT_COPY_COLUMNS,
    REQUEST_COPY_COLUMNS,
    attempt_rows,
    record_day,
    request_row,
)
from pricing.cost import Cost
from pricing.usage import METERS, Usage

NOW = datetime(2026, 11, 21, 10, 30, tzinfo=UTC)
KEY_ID = UUID("0199d1e0-0000-7000-8000-000000000001")
PATIENCE_S = 120.0

_ids = RequestIds()


def migrated(postgres_dsn: Callable[..., str]) -> str:
    dsn = postgres_dsn()
    migrations.upgrade(dsn)
    return dsn


def make_stored_key(**changes: Any) -> StoredKey:
    values: dict[str, Any] = {
        "id": KEY_ID,
        "kid": "01234567",
        "last4": "6ls",
        "name": "team one",
        "created_at": NOW,
        "created_by": "owner",
    }
    return StoredKey(**{**values, **changes})


def request_id(at: datetime = NOW) -> UUID:
    return RequestIds().next(
        unix_ms=int(at.timestamp() * 1000),
        random_bits=_ids.next(unix_ms=1, random_bits=0).int >> 64,
    )


def make_attempt(**changes: Any) -> AttemptRecord:
    values: dict[str, Any] = {
        "number": 1,
        "kind": "primary",
        "provider": "openai",
        "model": "openai/gpt-4o-mini",
        "endpoint": "openai/gpt-4o-mini",
        "provider_model": "gpt-4o-mini",
        "started_at": NOW,
        "outcome": Outcome.SUCCESS,
        "cost": Cost(total_usd=Decimal("0.00015"), lines={"input_tokens": Decimal("0.00015")}),
    }
    return AttemptRecord(**{**values, **changes})


def make_record(**changes: Any) -> RequestRecord:
    values: dict[str, Any] = {
        "id": request_id(changes.get("received_at", NOW)),
        "received_at": NOW,
        "key_id": KEY_ID,
        "labels": {"team": "one"},
        "dialect": "openai",
        "stream": False,
        "requested_model": "gpt-4o-mini",
        "status_code": 200,
        "outcome": Outcome.SUCCESS,
        "duration_ms": 812.5,
        "catalogue_version": "c1",
        "code_version": "0.1.0",
        "plan": {},
    }
    return RequestRecord(**{**values, **changes})


def make_full_record() -> RequestRecord:
    """Every field differs from its default and from every other of its type."""
    usage = Usage(**{meter: 101 + index for index, meter in enumerate(METERS)})
    lines = {meter: Decimal(f"0.00000000{11 + index:02}") for index, meter in enumerate(METERS)}
    failed = make_attempt(
        number=1,
        outcome=Outcome.RATE_LIMITED,
        status_code=429,
        error_code="rate_limit_exceeded",
        error_message="slow down",
        duration_ms=20.25,
        retry_after_ms=2_000.0,
        cost=Cost(total_usd=Decimal(0)),
    )
    served = make_attempt(
        number=2,
        kind="fallback",
        provider="azure",
        model="openai/gpt-4o",
        endpoint="azure/gpt-4o-eu",
        provider_model="gpt-4o-eu",
        started_at=NOW + timedelta(milliseconds=21),
        status_code=200,
        upstream_id="chatcmpl-1",
        ttft_ms=301.5,
        duration_ms=790.75,
        finish_reason="stop",
        native_finish_reason="end_turn",
        service_tier="priority",
        served_region="us",
        usage=usage,
        usage_source="reported",
        cost=Cost(
            total_usd=Decimal("0.123456789012"),
            lines=lines,
            status="upper_bound",
            source="provider_reported",
            computed_usd=Decimal("0.2"),
            price_version="azure/gpt-4o-eu@2026-08-01",
        ),
    )
    return make_record(
        labels={"team": "one", "ümlaut": "ß"},
        stream=True,
        requested_provider="openai",
        used_model="openai/gpt-4o",
        used_provider="azure",
        used_endpoint="azure/gpt-4o-eu",
        underlying_used_model="gpt-4o-2024-08-06",
        error_kind="none",
        is_fallback=True,
        ttft_ms=330.5,
        overhead_ms=1.25,
        finish_reason="length",
        user="user-7",
        session_id="session-9",
        tags={"env": "prod", "größe": "XL"},
        warnings=("top_k dropped", "seed dropped"),
        cost_usd=Decimal("0.123456789012"),
        cost_status="estimated",
        baseline_cost_usd=Decimal("0.5"),
        rule_version="rules-3",
        plan={"candidates": [{"endpoint": "azure/gpt-4o-eu", "p": 0.25}], "seed": 7},
        attempts=(failed, served),
    )


async def store(connection: AsyncConnection, *records: RequestRecord) -> None:
    """Into the tables by COPY, as the shipper does it."""
    await ensure_partitions(connection, {record_day(record) for record in records})
    raw = raw_connection(connection)
    assert raw is not None
    await raw.copy_records_to_table(
        "request_record",
        records=[request_row(record) for record in records],
        columns=REQUEST_COPY_COLUMNS,
    )
    await raw.copy_records_to_table(
        "attempt_record",
        records=[row for record in records for row in attempt_rows(record)],
        columns=ATTEMPT_COPY_COLUMNS,
    )


def engine_of(dsn: str, **changes: Any) -> AsyncEngine:
    return make_engine(dsn, application_name="tests", **changes)


def patient_engine_of(dsn: str) -> AsyncEngine:
    """For tests of what is stored: on a busy machine the gateway's own limits are soon reached."""
    return engine_of(
        dsn,
        connect_timeout_s=PATIENCE_S,
        lock_timeout_s=PATIENCE_S,
        statement_timeout_s=PATIENCE_S,
        command_timeout_s=PATIENCE_S,
    )
