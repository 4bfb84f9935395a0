"""Traffic with all that sums of money can meet: keys, rules, baselines, waste, corrections."""

import asyncio
import random
from collections.abc import Sequence
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any
from uuid import UUID

import msgspec
from sqlalchemy import insert, text

from gateway.domain.outcomes import Outcome
from gateway.domain.records import AttemptRecord, RequestRecord
from gateway.storage.adjustments import (
    RecordedRequest,
    Span,
    add_adjustments,
    count_by_day,
    lock_adjustments,
    read_requests,
)
from gateway.storage.rollup_upkeep import sum_quarters
from gateway.storage.tables import api_key
from gateway.storage.waiting import run_bounded
from pricing.cost import Cost
from pricing.rerating import Correction
from pricing.usage import Usage
from tests.dashboard import traffic
from tests.storage.samples import KEY_ID, engine_of

KEYS: dict[str, UUID] = {
    "team one": KEY_ID,
    "batch": UUID("0199d1e0-0000-7000-8000-000000000002"),
    "web": UUID("0199d1e0-0000-7000-8000-000000000003"),
}
RULES = (None, "r1", "r2")
DAYS = 40


def records(end: datetime, count: int = 500) -> list[RequestRecord]:
    draw = random.Random(11)
    made = [
        *traffic.made_up_records(count // 2, end=end, days=6.5, seed=3),
        *traffic.made_up_records(count // 2, end=end, days=DAYS, seed=4),
        traffic.fallback_record(end),
    ]
    return [_enriched(one, draw) for one in made]


def _enriched(record: RequestRecord, draw: random.Random) -> RequestRecord:
    attempts = [_wasting(one, draw) for one in record.attempts]
    if attempts and draw.random() < 0.06:
        attempts.append(_copy_of(attempts[-1], draw))
    paid = [one.cost.total_usd for one in attempts if one.kind != "shadow"]
    cost = None if None in paid else sum(filter(None, paid), Decimal(0))
    is_served = record.outcome is Outcome.SUCCESS
    environment = {"env": "prod"} if draw.random() < 0.5 else {}
    team = {"team": draw.choice(("one", "two"))}
    return msgspec.structs.replace(
        record,
        key_id=draw.choice(list(KEYS.values())),
        labels=team | environment if "team" in record.labels else record.labels,
        rule_version=draw.choice(RULES),
        is_paid_by_caller=draw.random() < 0.07,
        cost_usd=cost,
        baseline_cost_usd=_some_usd(draw) if is_served and draw.random() < 0.6 else None,
        attempts=tuple(attempts),
    )


def _wasting(attempt: AttemptRecord, draw: random.Random) -> AttemptRecord:
    """Some of what failed had cost something, a part of it unknown."""
    if attempt.outcome is Outcome.SUCCESS or draw.random() < 0.4:
        return attempt
    cost = Cost(total_usd=None, status="unpriced")
    if draw.random() < 0.7:
        usd = _some_usd(draw)
        cost = Cost(total_usd=usd, lines={"input_tokens": usd}, status="estimated")
    return msgspec.structs.replace(
        attempt,
        usage=Usage(input_tokens=draw.randint(1, 5_000)),
        usage_source="estimated",
        cost=cost,
    )


def _copy_of(attempt: AttemptRecord, draw: random.Random) -> AttemptRecord:
    return msgspec.structs.replace(
        attempt,
        number=attempt.number + 1,
        kind="shadow",
        outcome=draw.choice((Outcome.SUCCESS, Outcome.OVERLOADED)),
        started_at=attempt.started_at + timedelta(milliseconds=attempt.duration_ms),
    )


def _some_usd(draw: random.Random) -> Decimal:
    return Decimal(draw.randint(1, 10**11)).scaleb(-12)


def fill(dsn: str, made: Sequence[RequestRecord], *, at: datetime) -> None:
    """Blocks; some costs are corrected afterwards, as re-rating does it."""
    traffic.fill(dsn, made)
    asyncio.run(_correct(dsn, at))


async def _correct(dsn: str, at: datetime) -> None:
    engine = engine_of(dsn)
    span = Span(since=at - timedelta(days=DAYS + 2), until=at + timedelta(days=1))
    try:
        async with engine.begin() as connection:
            keys = [
                {**traffic.key_row(key_id), "name": name, "kid": f"0123456{number}"}
                for number, (name, key_id) in enumerate(KEYS.items())
                if key_id != KEY_ID
            ]
            await connection.execute(insert(api_key), keys)
        # Twice, so that some are corrections of corrections.
        for seed in (1, 2):
            async with engine.begin() as connection:
                await lock_adjustments(connection)
                found = [
                    request
                    for day in await count_by_day(connection, span)
                    for request in await read_requests(connection, span, day, after=None, limit=999)
                ]
                await add_adjustments(
                    connection,
                    _corrections(found, random.Random(seed)),
                    at=at,
                    actor="tests",
                    reason="a price was wrong",
                )
            # Some corrections come before their quarters, hours and days are summed, some after.
            while await run_bounded(
                engine, lambda one: sum_quarters(one, at - timedelta(hours=30)), seconds=60
            ):
                pass
    finally:
        await engine.dispose()


def _corrections(
    found: Sequence[RecordedRequest], draw: random.Random
) -> list[tuple[RecordedRequest, Correction]]:
    made: list[tuple[RecordedRequest, Correction]] = []
    for request in found:
        attempt = request.attempts[0]
        if len(request.attempts) > 1 or attempt.is_paid_by_caller or draw.random() < 0.8:
            continue
        usd = _some_usd(draw)
        half = usd.quantize(Decimal("0.000001"))
        lines = {"input_tokens": half, "output_tokens": usd - half}
        difference = usd - (attempt.cost_usd or Decimal(0))
        made.append(
            (
                request,
                Correction(
                    attempt=attempt,
                    cost=Cost(total_usd=usd, lines=lines, price_version="corrected"),
                    difference_usd=difference,
                    request_difference_usd=difference,
                ),
            )
        )
    return made


class Rows:
    """What plain SQL says of the rows themselves."""

    def __init__(self, dsn: str) -> None:
        self._runner = asyncio.Runner()
        self._engine = engine_of(dsn)

    def read(self, statement: str, **parameters: Any) -> list[dict[str, Any]]:
        """Blocks."""
        return self._runner.run(self._read(statement, parameters))

    def close(self) -> None:
        self._runner.run(self._engine.dispose())
        self._runner.close()

    async def _read(self, statement: str, parameters: dict[str, Any]) -> list[dict[str, Any]]:
        async with self._engine.connect() as connection:
            found = await connection.execute(text(statement), parameters)
            return [dict(row) for row in found.mappings()]
