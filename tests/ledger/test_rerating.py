"""History under corrected prices: corrections beside the records, announced and made alike."""

import functools
from collections import Counter
from datetime import datetime, timedelta
from decimal import Decimal

import pytest
from sqlalchemy import func, select
from sqlalchemy.ext.asyncio import AsyncConnection

from gateway.domain.outcomes import Outcome
from gateway.storage.adjusted import (
    attempt_adjustments,
    effective_usd,
    of_attempt,
    of_request,
    request_adjustments,
)
from gateway.storage.adjustments import adjustments_of
from gateway.storage.audit import list_entries
from gateway.storage.provider_totals import read_provider_totals
from gateway.storage.tables import attempt_record, request_record
from pricing.cost import UNPRICED, Cost
from pricing.reconciling import Account
from pricing.usage import Usage
from tests.ledger.rated import TABLES, TENFOLD, attempt, priced_from, record, rerate
from tests.storage.samples import (
    KEY_ID,
    NOW,
    store,
)

HOUR = timedelta(hours=1)


async def attempts_usd(connection: AsyncConnection) -> Decimal:
    joined = attempt_adjustments()
    total = await connection.scalar(
        select(func.sum(effective_usd(attempt_record.c.cost_usd, joined)))
        .select_from(attempt_record)
        .outerjoin(joined, of_attempt(attempt_record, joined))
    )
    return total or Decimal(0)


async def requests_usd(connection: AsyncConnection) -> list[Decimal | None]:
    joined = request_adjustments()
    rows = await connection.scalars(
        select(effective_usd(request_record.c.cost_usd, joined))
        .select_from(request_record)
        .outerjoin(joined, of_request(request_record, joined))
        .order_by(request_record.c.id)
    )
    return list(rows)


@pytest.mark.anyio
async def test_what_was_paid_for_a_region_and_a_speed_is_found_unchanged(
    connection: AsyncConnection,
) -> None:
    # 0.001 for the prompt and 0.001 for the answer at the list price.
    paid = [(None, None, "0.002"), ("us", None, "0.0022"), ("us", "fast", "0.0044")]
    paid += [("global", "standard", "0.002"), ("nowhere", "fast", "0.004")]
    placed = {"model": "acme/placed", "endpoint": "acme/placed", "provider_model": "placed"}
    for region, tier, usd in paid:
        told = {"served_region": region, "service_tier": tier, **placed}
        await store(connection, record(attempt(cost=Cost(total_usd=Decimal(usd)), **told)))

    found = await rerate(connection, TABLES)

    assert (found.difference_usd, found.verdicts) == (Decimal(0), {"unchanged": 5})


@pytest.mark.anyio
async def test_a_dry_run_announces_what_a_run_does_and_a_second_run_does_nothing(
    connection: AsyncConnection,
) -> None:
    # 3 requests of an hour before the corrected price, 4 of an hour in which it holds.
    await store(connection, *(record(attempt(), at=NOW) for _ in range(3)))
    late = [record(attempt(started_at=NOW + HOUR), at=NOW + HOUR) for _ in range(4)]
    await store(connection, *late)
    believed = priced_from(NOW + HOUR, TENFOLD)

    announced = await rerate(connection, believed, is_dry_run=True)
    assert await attempts_usd(connection) == Decimal("0.014")
    done = await rerate(connection, believed)
    again = await rerate(connection, believed)

    # 4 attempts at 0.02 instead of 0.002.
    assert announced.difference_usd == done.difference_usd == Decimal("0.072")
    assert announced.rows == done.rows
    assert [row.attempts for row in done.rows] == [4]
    assert done.verdicts == {"unchanged": 3, "adjusted": 4}
    assert (again.difference_usd, again.verdicts) == (Decimal(0), {"unchanged": 7})
    assert await attempts_usd(connection) == Decimal("0.086")
    assert Counter(await requests_usd(connection)) == {Decimal("0.002"): 3, Decimal("0.02"): 4}


@pytest.mark.anyio
async def test_a_run_that_corrected_something_is_in_the_audit_log(
    connection: AsyncConnection,
) -> None:
    await store(connection, *(record(attempt()) for _ in range(3)))
    believed = priced_from(NOW, TENFOLD)

    await rerate(connection, believed, is_dry_run=True)
    await rerate(connection, believed)
    await rerate(connection, believed)

    end, begin = await list_entries(connection, before_id=None, limit=10)
    for entry in (begin, end):
        assert (entry.actor, entry.action, entry.subject) == ("ann", "costs.rerate", "all models")
    assert begin.after is not None
    assert end.after is not None
    assert (begin.after["state"], begin.after["reason"]) == ("begun", "their invoice")
    assert (end.after["state"], end.after["reason"]) == ("finished", "their invoice")
    assert (end.after["attempts"], end.after["difference_usd"]) == (3, "0.054000000000")


@pytest.mark.anyio
async def test_a_run_that_is_broken_off_is_in_the_audit_log_with_what_it_corrected(
    connection: AsyncConnection,
) -> None:
    await store(connection, *(record(attempt()) for _ in range(5)))
    believed = priced_from(NOW, TENFOLD)

    def break_off(done: int, _of: int) -> None:
        if done:
            raise ConnectionError("the run is broken off")

    with pytest.raises(ConnectionError):
        await rerate(connection, believed, batch_requests=2, on_progress=break_off)
    # Two attempts at 0.02 instead of 0.002.
    assert await attempts_usd(connection) == Decimal("0.046")
    (entry,) = await list_entries(connection, before_id=None, limit=10)
    assert entry.after is not None
    assert (entry.action, entry.after["state"]) == ("costs.rerate", "begun")

    await rerate(connection, believed)

    newest, *_ = entries = await list_entries(connection, before_id=None, limit=10)
    assert len(entries) == 3
    assert newest.after is not None
    assert (newest.after["state"], newest.after["attempts"]) == ("finished", 3)
    assert newest.after["difference_usd"] == "0.054000000000"


@pytest.mark.anyio
async def test_what_was_recorded_stays_and_the_correction_says_why(
    connection: AsyncConnection,
) -> None:
    stored = record(attempt())
    await store(connection, stored)
    await rerate(connection, priced_from(NOW, TENFOLD))
    await rerate(connection, TABLES)

    recorded = await connection.scalar(select(attempt_record.c.cost_usd))
    there, back = await adjustments_of(connection, stored.id, NOW.date())

    assert recorded == Decimal("0.002")
    assert (there.old_cost_usd, there.new_cost_usd) == (Decimal("0.002"), Decimal("0.02"))
    assert there.price_version == "acme/large@operator#1"
    assert (there.recorded_by, there.reason) == ("ann", "their invoice")
    assert back.difference_usd == -there.difference_usd
    assert await requests_usd(connection) == [Decimal("0.002")]


@pytest.mark.anyio
async def test_a_request_becomes_known_once_all_its_attempts_are(
    connection: AsyncConnection,
) -> None:
    unpriced = {"cost": UNPRICED}
    both = record(attempt(**unpriced), attempt(number=2, kind="fallback", **unpriced))
    half = record(
        attempt(**unpriced),
        attempt(number=2, endpoint="acme/unpriced", model="acme/unpriced", **unpriced),
    )
    await store(connection, both, half)

    report = await rerate(connection, TABLES)

    assert report.verdicts == {"adjusted": 3, "unpriced": 1}
    assert report.unpriced_endpoints == ("acme/unpriced",)
    assert await attempts_usd(connection) == Decimal("0.006")
    assert set(await requests_usd(connection)) == {Decimal("0.004"), None}


@pytest.mark.anyio
async def test_copies_are_corrected_and_stay_no_part_of_their_request(
    connection: AsyncConnection,
) -> None:
    await store(connection, record(attempt(), attempt(number=2, kind="shadow")))

    report = await rerate(connection, priced_from(NOW, TENFOLD))

    assert report.difference_usd == Decimal("0.036")
    assert await requests_usd(connection) == [Decimal("0.02")]


@pytest.mark.anyio
async def test_what_the_provider_told_was_not_metered_or_is_unknown_keeps_its_cost(
    connection: AsyncConnection,
) -> None:
    told = Cost(total_usd=Decimal("0.5"), source="provider_reported", computed_usd=Decimal("0.002"))
    await store(
        connection,
        record(attempt(cost=told)),
        record(attempt(usage=None, usage_source=None, cost=Cost(total_usd=Decimal(0)))),
        record(attempt(endpoint="gone/x", provider="gone")),
    )

    report = await rerate(connection, priced_from(NOW, TENFOLD))

    assert report.verdicts == {"reported": 1, "unmetered": 1, "unknown_endpoint": 1}
    assert report.difference_usd == 0


@pytest.mark.anyio
async def test_what_budgets_held_for_an_attempt_nobody_saw_the_end_of_stays(
    connection: AsyncConnection,
) -> None:
    prompt = Usage(input_tokens=1_000, requests=1)
    crashed = {"outcome": Outcome.UNKNOWN_CRASH, "usage": prompt, "usage_source": "estimated"}
    held = Cost(total_usd=Decimal(1), status="upper_bound", price_version="acme/large")
    guessed = Cost(total_usd=Decimal("0.001"), status="estimated", price_version="acme/large")
    await store(
        connection,
        record(attempt(**crashed, cost=held)),
        record(attempt(**crashed, cost=guessed)),
    )

    assert (await rerate(connection, TABLES)).verdicts == {"unmetered": 1, "unchanged": 1}
    report = await rerate(connection, priced_from(NOW, TENFOLD))
    # Of the guess alone: a thousand tokens at 10 instead of 1 USD a million.
    assert report.difference_usd == Decimal("0.009")


@pytest.mark.anyio
async def test_only_the_span_the_model_and_the_provider_that_were_named_are_looked_at(
    connection: AsyncConnection,
) -> None:
    await store(
        connection,
        *(record(attempt(started_at=NOW + n * HOUR), at=NOW + n * HOUR) for n in range(3)),
    )
    believed = priced_from(NOW - HOUR, TENFOLD)
    look = functools.partial(rerate, connection, believed, is_dry_run=True)

    assert (await look(since=NOW + HOUR)).verdicts == {"adjusted": 2}
    assert (await look(until=NOW + HOUR)).verdicts == {"adjusted": 1}
    assert (await look(model="acme/large", provider="acme")).verdicts == {"adjusted": 3}
    assert (await look(model="acme/small")).verdicts == {}
    assert (await look(provider="other")).verdicts == {}


@pytest.mark.anyio
async def test_the_report_says_by_whom_and_how_far_back_records_reach(
    connection: AsyncConnection,
) -> None:
    early = NOW - 24 * HOUR
    await store(connection, record(attempt(started_at=early), at=early), record(attempt()))

    report = await rerate(connection, priced_from(early, TENFOLD))

    assert report.first_day == early.date()
    assert [(row.day, row.key_id) for row in report.rows] == [
        (early.date(), KEY_ID),
        (NOW.date(), KEY_ID),
    ]
    assert {(row.old_usd, row.new_usd) for row in report.rows} == {
        (Decimal("0.002"), Decimal("0.02"))
    }


@pytest.mark.anyio
async def test_what_a_provider_was_used_for_is_told_by_its_own_names_with_corrections(
    connection: AsyncConnection,
) -> None:
    midnight = datetime(2026, 11, 22, tzinfo=NOW.tzinfo)
    late = attempt(started_at=midnight)
    await store(connection, record(attempt(), attempt(number=2, usage=None)), record(late))
    await rerate(connection, priced_from(midnight, TENFOLD))

    found = await read_provider_totals(connection, "acme", first=NOW.date(), last=midnight.date())

    assert sorted(found, key=lambda one: one.day) == [
        Account(
            day=day,
            model="large",
            cost_usd=Decimal(usd),
            prompt_tokens=1_000,
            completion_tokens=500,
            requests=1,
        )
        for day, usd in ((NOW.date(), "0.002"), (midnight.date(), "0.02"))
    ]
