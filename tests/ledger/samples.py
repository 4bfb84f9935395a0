"""Records as they are spooled, and what is found on disk and in the database afterwards."""

from collections.abc import Iterator
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any
from uuid import UUID

import msgspec

from gateway.domain.records import AttemptBegun, LateAttempts, RequestRecord
from gateway.ledger.reader import MAX_FRAMES, read_batch
from gateway.ledger.spool import Spool
from gateway.ledger.writers import Position, Writer
from pricing.cost import Cost
from pricing.usage import Usage
from tests.storage.samples import KEY_ID, NOW, make_attempt, make_record, request_id

ESTIMATE = Cost(
    total_usd=Decimal("0.000015"),
    lines={"input_tokens": Decimal("0.000015")},
    status="estimated",
    price_version="p1",
)


def make_begun(request: UUID | None = None, **changes: Any) -> AttemptBegun:
    values: dict[str, Any] = {
        "request_id": request or request_id(),
        "received_at": NOW,
        "key_id": KEY_ID,
        "labels": {"team": "one"},
        "dialect": "openai",
        "stream": True,
        "requested_model": "gpt-4o-mini",
        "number": 1,
        "kind": "primary",
        "provider": "openai",
        "model": "openai/gpt-4o-mini",
        "endpoint": "openai/gpt-4o-mini",
        "provider_model": "gpt-4o-mini",
        "started_at": NOW,
        "estimated_cost": ESTIMATE,
        "estimated_usage": Usage(input_tokens=100, requests=1),
        "catalogue_version": "c1",
        "code_version": "0.1.0",
    }
    return AttemptBegun(**{**values, **changes})


def make_answered(**changes: Any) -> RequestRecord:
    """A record as most are: one attempt, answered."""
    return make_record(
        **{"attempts": (make_attempt(),), "received_at": datetime.now(UTC)} | changes
    )


def read_all(writer: Writer, *, live_sequence: int | None = None) -> Iterator[RequestRecord]:
    """Every record of a writer, as the shipper reads them."""
    position = Position()
    while True:
        batch = read_batch(writer, position, live_sequence=live_sequence)
        assert len(batch.found) <= MAX_FRAMES
        for found in batch.found:
            assert isinstance(found.record, RequestRecord), found.problem
            yield found.record
        position = batch.position
        if batch.is_end:
            return


def segments_of(directory: Path) -> list[Path]:
    return sorted(directory.glob("*.seg"))


def write_shadow(spool: Spool, *, ends: bool = True) -> tuple[RequestRecord, LateAttempts]:
    """A request with its record, and what came after it."""
    record = make_answered()
    begun = make_begun(record.id, number=2, kind="shadow")
    attempt = msgspec.structs.replace(record.attempts[0], number=2, kind="shadow")
    late = LateAttempts(
        id=record.id,
        received_at=record.received_at,
        key_id=record.key_id,
        labels=record.labels,
        attempts=(attempt,),
    )
    spool.append_begun(make_begun(record.id))
    spool.append_record(record)
    spool.append_begun(begun)
    if ends:
        spool.append_late(late)
    return record, late
