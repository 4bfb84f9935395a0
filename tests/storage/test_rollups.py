"""What arrives is added to the roll-ups once, and says the same as the rows themselves."""

import random
from collections import Counter
from collections.abc import AsyncIterator, Callable
from datetime import timedelta
from decimal import Decimal
from typing import Any

import pytest
from sqlalchemy import Table, select, text
from sqlalchemy.ext.asyncio import AsyncEngine

from gateway.domain.histograms import middle_of
from gateway.domain.outcomes import Outcome
from gateway.domain.records import LateAttempts, RequestRecord
from gateway.storage.ingest import insert_absent
from gateway.storage.partitions import ensure_partitions
from gateway.storage.rollup_rebuild import rebuild_hour, rebuildable_since
from gateway.storage.rollup_tables import (
    ROLL_UPS,
    fallback,
    label_set,
    latency_key_hour,
    provider_seen,
    rollup_pending,
    usage_attempt,
    usage_request,
    v_fallback,
    v_latency,
    v_latency_key_hour,
    v_latency_minute,
    v_usage_attempt,
    v_usage_request,
)
from gateway.storage.rollup_upkeep import (
    forget_minutes,
    forget_quarters,
    sum_quarters,
    thin_pending,
)
from gateway.storage.rows import attempt_rows, record_day, request_row
from gateway.storage.waiting import run_bounded
from pricing.cost import Cost
from pricing.usage import Usage
from tests.dashboard.traffic import made_up_records
from tests.storage.samples import (
    NOW,
    make_attempt,
    make_full_record,
    make_record,
    migrated,
    patient_engine_of,
    request_id,
)

DEADLINE_S = 60.0
LATER = NOW + timedelta(days=1)
VIEWS = (v_usage_request, v_usage_attempt, v_fallback, v_latency)


@pytest.fixture(scope="module")
def template(postgres_dsn: Callable[..., str]) -> str:
    return migrated(postgres_dsn)


@pytest.fixture
async def engine(
    anyio_backend: str, template: str, postgres_dsn: Callable[..., str]
) -> AsyncIterator[AsyncEngine]:
    engine = patient_engine_of(postgres_dsn(template=template))
    yield engine
    await engine.dispose()


async def store(engine: AsyncEngine, *records: RequestRecord | LateAttempts) -> None:
    days = {record_day(record) for record in records}
    requests = [request_row(record) for record in records if isinstance(record, RequestRecord)]
    attempts = [row for record in records for row in attempt_rows(record)]
    await run_bounded(
        engine, lambda connection: ensure_partitions(connection, days), seconds=DEADLINE_S
    )
    await run_bounded(
        engine,
        lambda connection: insert_absent(connection, requests, attempts),
        seconds=DEADLINE_S,
    )


async def read(engine: AsyncEngine, table: Table) -> list[dict[str, Any]]:
    async with engine.connect() as connection:
        rows = await connection.execute(select(table).order_by(*table.columns))
        return [dict(row) for row in rows.mappings()]


async def sum_up(engine: AsyncEngine) -> None:
    while await run_bounded(
        engine, lambda connection: sum_quarters(connection, LATER), seconds=DEADLINE_S
    ):
        pass


async def totals(engine: AsyncEngine) -> list[Counter[Any]]:
    """Of every view: each measure by its dimensions and day, whatever the grain."""
    found: list[Counter[Any]] = []
    for roll_up, view in zip(ROLL_UPS, VIEWS, strict=True):
        counted: Counter[Any] = Counter()
        for row in await read(engine, view):
            key = (row["at"].date(), *(row[name] for name in roll_up.dimensions))
            for name in roll_up.measures:
                counted[(*key, name)] += row[name]
        found.append(counted)
    return found


@pytest.mark.anyio
async def test_a_request_is_counted_once_with_all_that_it_used(engine: AsyncEngine) -> None:
    record = make_full_record()

    await store(engine, record)
    await store(engine, record)

    (request,) = await read(engine, usage_request.minute)
    assert request["requests"] == request["tried"] == 1
    assert request["cost_usd"] == Decimal("0.123456789012")
    assert request["attempts"] == 2
    assert request["endpoint"] == "azure/gpt-4o-eu"
    assert request["rule_version"] == "rules-3"
    attempts = {row["outcome"]: row for row in await read(engine, usage_attempt.minute)}
    served, failed = attempts["success"], attempts["rate_limited"]
    parts = sum(
        (
            value
            for name, value in served.items()
            if name.startswith("cost_") and name != "cost_usd"
        ),
        Decimal(0),
    )
    assert served["cost_usd"] == parts == Decimal("0.123456789012")
    usage = record.attempts[1].usage
    assert usage is not None
    prompt = served["input_tokens"] + served["cache_read_tokens"] + served["cache_write_tokens"]
    assert prompt == usage.prompt_tokens
    assert served["output_tokens"] + served["reasoning_tokens"] == usage.completion_tokens
    assert failed["first_tries"] == failed["served_elsewhere"] == failed["rescued"] == 1
    assert served["first_tries"] == served["rescued"] == 0
    (step,) = await read(engine, fallback.minute)
    assert (step["from_endpoint"], step["to_endpoint"]) == (
        "openai/gpt-4o-mini",
        "azure/gpt-4o-eu",
    )
    assert (step["reason"], step["requests"], step["added_us"]) == ("rate_limited", 1, 20_250)


@pytest.mark.anyio
async def test_an_unknown_cost_is_counted_and_never_summed(engine: AsyncEngine) -> None:
    unknown = Cost(total_usd=None, lines={"input_tokens": Decimal("0.5")}, status="unpriced")
    usage = Usage(input_tokens=5, requests=1)
    attempt = make_attempt(cost=unknown, usage=usage, usage_source="reported")

    await store(engine, make_record(attempts=(attempt,), cost_usd=None))

    (request,) = await read(engine, usage_request.minute)
    (row,) = await read(engine, usage_attempt.minute)
    assert (request["cost_usd"], request["unpriced"]) == (0, 1)
    assert (row["cost_usd"], row["unpriced"], row["billable"]) == (0, 1, 1)
    assert (row["cost_input_usd"], row["input_tokens"]) == (0, 5)


@pytest.mark.anyio
async def test_what_a_baseline_saves_covers_the_requests_that_have_both_costs(
    engine: AsyncEngine,
) -> None:
    await store(
        engine,
        make_record(cost_usd=Decimal("0.2"), baseline_cost_usd=Decimal("0.5")),
        make_record(cost_usd=Decimal("0.4"), baseline_cost_usd=None),
        make_record(cost_usd=None, baseline_cost_usd=Decimal("0.9")),
    )

    (row,) = await read(engine, usage_request.minute)

    assert (row["requests"], row["baselined"]) == (3, 1)
    assert (row["baseline_usd"], row["baselined_cost_usd"]) == (Decimal("0.5"), Decimal("0.2"))


@pytest.mark.anyio
async def test_late_attempts_count_as_attempts_alone(engine: AsyncEngine) -> None:
    record = make_record(attempts=(make_attempt(),))
    shadow = make_attempt(number=2, kind="shadow", outcome=Outcome.SERVER_ERROR)
    late = LateAttempts(
        id=record.id,
        received_at=NOW,
        key_id=record.key_id,
        labels=record.labels,
        attempts=(shadow,),
    )

    await store(engine, record)
    await store(engine, late)

    (request,) = await read(engine, usage_request.minute)
    attempts = await read(engine, usage_attempt.minute)
    assert (request["requests"], request["attempts"]) == (1, 1)
    assert {row["kind"]: row["attempts"] for row in attempts} == {"primary": 1, "shadow": 1}
    assert sum(row["rescued"] for row in attempts) == 0


@pytest.mark.anyio
async def test_equal_labels_share_one_set_however_they_are_written(engine: AsyncEngine) -> None:
    await store(
        engine,
        make_record(labels={"team": "one", "env": "prod"}),
        make_record(labels={"env": "prod", "team": "one"}),
        make_record(labels={}),
    )

    rows = await read(engine, usage_request.minute)
    sets = {row["id"]: row["labels"] for row in await read(engine, label_set)}

    assert {row["requests"]: sets[row["label_set"]] for row in rows} == {
        2: {"team": "one", "env": "prod"},
        1: {},
    }


@pytest.mark.anyio
async def test_a_provider_keeps_the_time_it_was_first_seen(engine: AsyncEngine) -> None:
    await store(engine, make_record(attempts=(make_attempt(),)))
    earlier = make_attempt(started_at=NOW - timedelta(hours=5))
    await store(engine, make_record(attempts=(earlier,)))

    (seen,) = await read(engine, provider_seen)

    assert seen == {"provider": "openai", "first_seen_at": NOW}


@pytest.mark.anyio
async def test_histograms_answer_within_two_percent(engine: AsyncEngine) -> None:
    draw = random.Random(3)
    durations = sorted(draw.lognormvariate(6, 1.2) for _ in range(500))
    await store(engine, *(make_record(duration_ms=one) for one in durations))

    counts: Counter[int] = Counter()
    for row in await read(engine, v_latency_minute):
        if row["metric"] == "request":
            counts[row["bucket"]] += row["samples"]

    assert sum(counts.values()) == 500
    seen = 0
    for bucket, samples in sorted(counts.items()):
        middle = middle_of(bucket)
        for exact in durations[seen : seen + samples]:
            assert middle == pytest.approx(exact, rel=0.02)
        seen += samples
    assert sum(row["samples"] for row in await read(engine, v_latency_key_hour)) == 500


@pytest.mark.anyio
@pytest.mark.parametrize("value", [0.0, -5.0, 1e300, 1e-300])
async def test_a_latency_that_cannot_be_true_still_has_a_bucket(
    engine: AsyncEngine, value: float
) -> None:
    await store(engine, make_record(duration_ms=value))

    rows = [row for row in await read(engine, v_latency_minute) if row["metric"] == "request"]

    assert sum(row["samples"] for row in rows) == 1


@pytest.mark.anyio
async def test_the_views_say_the_same_before_and_after_quarters_are_summed(
    engine: AsyncEngine,
) -> None:
    records = made_up_records(150, end=NOW, days=0.2)
    await store(engine, *records[::2])
    before = await totals(engine)
    await sum_up(engine)
    assert await totals(engine) == before
    assert await read(engine, rollup_pending) == []

    await store(engine, *records[1::2])
    await run_bounded(engine, thin_pending, seconds=DEADLINE_S)
    both = await totals(engine)
    await sum_up(engine)

    assert await totals(engine) == both != before
    assert sum(row["requests"] for row in await read(engine, usage_request.quarter)) == len(records)


@pytest.mark.anyio
async def test_a_quarter_that_still_runs_is_left_alone(engine: AsyncEngine) -> None:
    await store(engine, make_record())

    summed = await run_bounded(
        engine,
        lambda connection: sum_quarters(connection, NOW + timedelta(minutes=10)),
        seconds=DEADLINE_S,
    )

    assert summed == 0
    assert await read(engine, usage_request.quarter) == []


@pytest.mark.anyio
async def test_records_that_come_after_their_minutes_were_forgotten_are_added(
    engine: AsyncEngine,
) -> None:
    records = made_up_records(80, end=NOW, days=0.1)
    await store(engine, *records[::2])
    while await run_bounded(
        engine, lambda connection: forget_minutes(connection, LATER), seconds=DEADLINE_S
    ):
        pass
    assert await read(engine, usage_request.minute) == []

    await store(engine, *records[1::2])
    both = await totals(engine)
    await sum_up(engine)

    assert await totals(engine) == both
    assert await read(engine, usage_request.minute) == []
    assert sum(row["requests"] for row in await read(engine, usage_request.quarter)) == len(records)


@pytest.mark.anyio
async def test_a_rebuild_from_the_rows_changes_nothing_that_was_right(engine: AsyncEngine) -> None:
    # Attempts that begin in another hour than their request, and one without.
    records = made_up_records(150, end=NOW, days=0.15)
    edge = NOW.replace(minute=59, second=59, microsecond=999_000)
    crossing = make_full_record()
    later = tuple(
        make_attempt(
            number=one.number,
            kind=one.kind,
            outcome=one.outcome,
            provider=one.provider,
            endpoint=one.endpoint,
            started_at=edge + timedelta(milliseconds=10 * one.number),
            duration_ms=5.0,
        )
        for one in crossing.attempts
    )
    records.append(
        make_record(
            id=request_id(edge),
            received_at=edge,
            is_fallback=True,
            used_provider="azure",
            used_endpoint="azure/gpt-4o-eu",
            used_model="openai/gpt-4o-mini",
            attempts=later,
        )
    )
    await store(engine, *records)
    await sum_up(engine)
    right = await totals(engine)
    keys = await read(engine, latency_key_hour)
    first = await run_bounded(engine, rebuildable_since, seconds=DEADLINE_S)
    assert first is not None

    for _ in range(2):
        hour = first
        while hour < LATER:
            await run_bounded(
                engine, lambda connection, hour=hour: rebuild_hour(connection, hour), seconds=60
            )
            hour += timedelta(hours=1)

    assert await totals(engine) == right
    assert await read(engine, latency_key_hour) == keys


@pytest.mark.anyio
async def test_a_rebuild_of_an_hour_reads_each_row_about_once(engine: AsyncEngine) -> None:
    records = made_up_records(300, end=NOW, days=0.2)
    rows = len(records) + sum(len(record.attempts) for record in records)
    await store(engine, *records)
    read_rows = text(
        "SELECT sum(seq_tup_read + coalesce(idx_tup_fetch, 0)) FROM pg_stat_xact_all_tables "
        "WHERE relname ~ '^(request|attempt)_record_[0-9]+$'"
    )

    async with engine.begin() as connection:
        assert await rebuild_hour(connection, NOW.replace(minute=0))
        read = await connection.scalar(read_rows)

    # Of a table as small as this one, an hour is found by looking through all of it.
    assert 0 < read < 3 * rows


@pytest.mark.anyio
async def test_old_quarters_are_forgotten(engine: AsyncEngine) -> None:
    await store(engine, *made_up_records(20, end=NOW, days=0.1))
    await sum_up(engine)

    removed = await run_bounded(
        engine, lambda connection: forget_quarters(connection, LATER), seconds=DEADLINE_S
    )

    assert removed > 0
    for roll_up in ROLL_UPS:
        assert await read(engine, roll_up.quarter) == []
