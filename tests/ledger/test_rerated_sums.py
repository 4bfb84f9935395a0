"""After history was re-rated, the sums say what the rows and their corrections say."""

from collections import Counter
from datetime import timedelta
from decimal import Decimal
from typing import Any

import pytest
from sqlalchemy import Table, func, select
from sqlalchemy.ext.asyncio import AsyncConnection

from gateway.domain.outcomes import Outcome
from gateway.domain.records import RequestRecord
from gateway.storage.adjusted import adjusted_attempts, adjusted_requests
from gateway.storage.coarse_tables import COARSE
from gateway.storage.ingest import insert_absent
from gateway.storage.partitions import ensure_partitions
from gateway.storage.rollup_tables import (
    ROLL_UPS,
    v_fallback,
    v_latency,
    v_usage_attempt,
    v_usage_request,
)
from gateway.storage.rollup_upkeep import forget_minutes, sum_quarters
from gateway.storage.rows import attempt_rows, record_day, request_row
from pricing.cost import UNPRICED
from tests.ledger.rated import TABLES, TENFOLD, attempt, priced_from, rebuild, record, rerate
from tests.storage.samples import NOW

pytestmark = pytest.mark.anyio

LATER = NOW + timedelta(days=1)
VIEWS = (v_usage_request, v_usage_attempt, v_fallback, v_latency)
DEARER = priced_from(NOW, TENFOLD)


async def store(connection: AsyncConnection, *records: RequestRecord) -> None:
    await ensure_partitions(connection, {record_day(one) for one in records})
    attempts = [row for one in records for row in attempt_rows(one)]
    await insert_absent(connection, [request_row(one) for one in records], attempts)


async def summed(connection: AsyncConnection, view: Table, *names: str) -> tuple[Any, ...]:
    row = await connection.execute(select(*(func.sum(view.c[name]) for name in names)))
    return tuple(row.one())


async def totals(connection: AsyncConnection) -> list[Counter[Any]]:
    """Of every view: each measure that is not 0, by its dimensions."""
    found: list[Counter[Any]] = []
    for roll_up, view in zip(ROLL_UPS, VIEWS, strict=True):
        counted: Counter[Any] = Counter()
        for row in (await connection.execute(select(view))).mappings():
            key = tuple(row[name] for name in roll_up.dimensions)
            for name in roll_up.measures:
                counted[(*key, name)] += row[name]
        found.append(Counter({key: amount for key, amount in counted.items() if amount}))
    return found


async def rows_usd(connection: AsyncConnection) -> tuple[Decimal, Decimal]:
    """What the requests and what the attempts cost, told by the rows and their corrections."""
    requests = adjusted_requests([], []).subquery()
    attempts = adjusted_attempts([], []).subquery()
    of_requests = await connection.scalar(
        select(func.sum(requests.c.cost_usd)).where(~requests.c.is_paid_by_caller)
    )
    of_attempts = await connection.scalar(
        select(func.sum(attempts.c.cost_usd)).where(~attempts.c.is_paid_by_caller)
    )
    return of_requests or Decimal(0), of_attempts or Decimal(0)


async def test_sums_have_corrections_in_them_and_tell_how_much_that_is(
    connection: AsyncConnection,
) -> None:
    await store(connection, record(attempt(), baseline_cost_usd=Decimal(1)), record(attempt()))

    report = await rerate(connection, DEARER)

    # Each answer costs 0.02 instead of 0.002: 0.01 for its prompt and 0.01 for its tokens.
    assert report.difference_usd == Decimal("0.036")
    assert await summed(
        connection, v_usage_request, "cost_usd", "adjustment_usd", "requests", "prompt_tokens"
    ) == (Decimal("0.04"), Decimal("0.036"), 2, 2_000)
    assert await summed(
        connection, v_usage_request, "baselined", "baseline_usd", "baselined_cost_usd"
    ) == (1, Decimal(1), Decimal("0.02"))
    assert await summed(
        connection,
        v_usage_attempt,
        "cost_usd",
        "adjustment_usd",
        "cost_input_usd",
        "cost_output_usd",
        "cost_other_usd",
        "attempts",
    ) == (*map(Decimal, ("0.04", "0.036", "0.02", "0.02", "0")), 2)
    assert await rows_usd(connection) == (Decimal("0.04"), Decimal("0.04"))


async def test_what_had_no_price_leaves_the_unpriced_and_enters_the_comparison(
    connection: AsyncConnection,
) -> None:
    await store(
        connection, record(attempt(cost=UNPRICED), baseline_cost_usd=Decimal(1)), record(attempt())
    )
    assert await summed(connection, v_usage_request, "unpriced", "baselined") == (1, 0)

    await rerate(connection, TABLES)

    assert await summed(
        connection, v_usage_request, "unpriced", "cost_usd", "adjustment_usd", "baselined"
    ) == (0, Decimal("0.004"), Decimal("0.002"), 1)
    assert await summed(
        connection, v_usage_attempt, "unpriced", "billable", "cost_usd", "cost_input_usd"
    ) == (0, 2, Decimal("0.004"), Decimal("0.002"))


async def test_money_that_failed_attempts_added_is_corrected_too(
    connection: AsyncConnection,
) -> None:
    failed = attempt(outcome=Outcome.FIRST_TOKEN_TIMEOUT)
    await store(connection, record(failed, attempt("best", number=2, kind="fallback")))

    await rerate(connection, DEARER)

    assert await summed(connection, v_fallback, "attempts", "added_usd") == (1, Decimal("0.02"))
    assert await summed(connection, v_usage_request, "cost_usd") == (Decimal("0.022"),)


async def test_a_repeat_of_a_call_is_no_second_request(connection: AsyncConnection) -> None:
    broken = attempt(outcome=Outcome.CONNECT_ERROR, usage=None, usage_source=None)
    await store(
        connection,
        record(broken, attempt(number=2)),
        record(broken, attempt("best", number=2), attempt("best", number=3, kind="shadow")),
    )

    rows = await connection.execute(
        select(v_usage_attempt.c.endpoint, func.sum(v_usage_attempt.c.requests)).group_by(
            v_usage_attempt.c.endpoint
        )
    )
    assert dict(map(tuple, rows)) == {"acme/large": 2, "best/large": 1}


async def test_a_rebuild_finds_what_corrections_left(connection: AsyncConnection) -> None:
    await store(
        connection,
        *(record(attempt(), baseline_cost_usd=Decimal(1)) for _ in range(3)),
        record(attempt(cost=UNPRICED)),
        record(attempt(cost=UNPRICED), attempt("best", number=2, cost=UNPRICED)),
        record(attempt(), attempt(number=2, kind="shadow")),
        record(attempt(outcome=Outcome.BAD_RESPONSE), attempt("best", number=2)),
        record(attempt(), is_paid_by_caller=True),
    )
    before = await totals(connection)

    await rerate(connection, DEARER)
    corrected = await totals(connection)
    await rebuild(connection)
    rebuilt = await totals(connection)
    again = await rerate(connection, DEARER)
    assert again.difference_usd == 0
    assert await totals(connection) == rebuilt == corrected != before
    assert await rows_usd(connection) == (
        (await summed(connection, v_usage_request, "cost_usd"))[0],
        (await summed(connection, v_usage_attempt, "cost_usd"))[0],
    )

    # Back under the tables' price, what was unknown stays known.
    await rerate(connection, TABLES)
    adjusted = await summed(connection, v_usage_request, "adjustment_usd")
    # Three requests of 0.002 were unknown attempts: one alone, two together.
    assert adjusted == (Decimal("0.006"),)


async def test_corrections_reach_sums_whose_minutes_are_forgotten(
    connection: AsyncConnection,
) -> None:
    await store(connection, *(record(attempt()) for _ in range(3)))
    while await sum_quarters(connection, LATER):
        pass
    while await forget_minutes(connection, LATER):
        pass

    await rerate(connection, DEARER)
    at_once = await summed(connection, v_usage_attempt, "cost_usd", "adjustment_usd", "attempts")
    while await sum_quarters(connection, LATER):
        pass

    assert at_once == (Decimal("0.06"), Decimal("0.054"), 3)
    assert await summed(connection, v_usage_attempt, "cost_usd", "adjustment_usd", "attempts") == (
        Decimal("0.06"),
        Decimal("0.054"),
        3,
    )


@pytest.mark.parametrize("are_minutes_kept", [True, False])
async def test_hours_and_days_that_were_summed_have_corrections_in_them_at_once(
    connection: AsyncConnection, *, are_minutes_kept: bool
) -> None:
    much_later = NOW + timedelta(days=3)
    await store(connection, *(record(attempt()) for _ in range(3)))
    while await sum_quarters(connection, much_later):
        pass
    while not are_minutes_kept and await forget_minutes(connection, LATER):
        pass
    views = [one.view for one in COARSE if "cost_usd" in one.view.c]
    names = ("cost_usd", "adjustment_usd")
    assert {await summed(connection, one, *names) for one in views} == {(Decimal("0.006"), 0)}

    await rerate(connection, DEARER)
    at_once = {await summed(connection, one, *names) for one in views}
    while await sum_quarters(connection, much_later):
        pass
    later = {await summed(connection, one, *names) for one in views}

    assert at_once == later == {(Decimal("0.06"), Decimal("0.054"))}


async def test_what_callers_pay_is_apart_from_what_is_spent(connection: AsyncConnection) -> None:
    await store(
        connection,
        record(attempt()),
        record(attempt(), is_paid_by_caller=True, baseline_cost_usd=Decimal(1)),
        record(attempt(cost=UNPRICED), is_paid_by_caller=True),
    )

    report = await rerate(connection, DEARER)

    assert report.verdicts == {"adjusted": 1, "paid_by_caller": 2}
    assert await summed(
        connection, v_usage_request, "requests", "cost_usd", "caller_usd", "unpriced", "baselined"
    ) == (3, Decimal("0.02"), Decimal("0.002"), 0, 0)
    assert await summed(
        connection, v_usage_attempt, "attempts", "billable", "cost_usd", "caller_usd", "unpriced"
    ) == (3, 1, Decimal("0.02"), Decimal("0.002"), 0)
