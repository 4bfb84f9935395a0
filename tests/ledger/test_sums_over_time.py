"""Whatever comes, comes again, is corrected, summed, forgotten and rebuilt: sums tell the rows.

The rows and their corrections are added up here in Python, by none of the statements that make the
sums, and compared with every roll-up after each step.
"""

import asyncio
import random
from collections import Counter
from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any
from uuid import UUID

from hypothesis import Phase, example, given, settings
from hypothesis import strategies as st
from sqlalchemy import Table, select, text
from sqlalchemy.ext.asyncio import AsyncConnection

from gateway.domain.outcomes import Outcome
from gateway.domain.records import AttemptRecord, LateAttempts, RequestRecord
from gateway.storage.coarse_tables import COARSE
from gateway.storage.ingest import insert_absent
from gateway.storage.partitions import ensure_partitions
from gateway.storage.rollup_tables import (
    fallback,
    latency,
    usage_attempt,
    usage_request,
    v_fallback,
    v_latency,
    v_latency_key_hour,
    v_usage_attempt,
    v_usage_request,
)
from gateway.storage.rollup_upkeep import forget_minutes, sum_quarters, thin_pending
from gateway.storage.rows import attempt_rows, record_day, request_row
from gateway.storage.tables import attempt_record, cost_adjustment, request_record
from pricing.cost import UNPRICED, Cost
from tests.ledger.rated import (
    ANSWER,
    LISTED,
    TABLES,
    TENFOLD,
    attempt,
    priced_from,
    rebuild,
    record,
    rerate,
)
from tests.properties import many
from tests.storage.samples import NOW, patient_engine_of, request_id

MUCH_LATER = NOW + timedelta(days=3)
KEYS = tuple(UUID(int=number) for number in (1, 2))
CATALOGUES = (
    TABLES,
    priced_from(NOW, TENFOLD),
    priced_from(NOW, {"input_usd_per_mtok": "0.5", "output_usd_per_mtok": "0.25"}),
)
WAITING_ROOMS = (
    "arriving_request",
    "arriving_attempt",
    "stored_request_record",
    "stored_attempt_record",
)
FREE = Cost(total_usd=Decimal(0))
Arrival = RequestRecord | LateAttempts
Row = Mapping[str, Any]
Sums = Counter[tuple[object, ...]]


def made_up(draw: random.Random) -> list[Arrival]:
    """Requests of some hours; copies of some, which are told of on their own."""
    found: list[Arrival] = []
    for _ in range(12):
        at = NOW - timedelta(minutes=draw.randrange(150))
        tries = [made_up_attempt(draw, at, 1)]
        while tries[-1].outcome is not Outcome.SUCCESS and len(tries) < draw.choice([1, 2, 3]):
            tries.append(made_up_attempt(draw, at, len(tries) + 1))
        one = record(
            *tries,
            id=request_id(at),
            received_at=at,
            key_id=draw.choice(KEYS),
            outcome=tries[-1].outcome,
            is_paid_by_caller=draw.random() < 0.15,
            baseline_cost_usd=draw.choice([None, Decimal("0.05")]),
        )
        found.append(one)
        if draw.random() < 0.3:
            copy = made_up_attempt(draw, at, len(tries) + 1, kind="shadow")
            found.append(
                LateAttempts(
                    id=one.id,
                    received_at=at,
                    key_id=one.key_id,
                    labels=one.labels,
                    attempts=(copy,),
                )
            )
    draw.shuffle(found)
    return found


def made_up_attempt(
    draw: random.Random, at: datetime, number: int, *, kind: str | None = None
) -> AttemptRecord:
    outcome = draw.choice([Outcome.SUCCESS, Outcome.SUCCESS, Outcome.IDLE_TIMEOUT])
    is_metered = outcome is Outcome.SUCCESS or draw.random() < 0.5
    return attempt(
        draw.choice(["acme", "best"]),
        number=number,
        kind=kind or ("primary" if number == 1 else draw.choice(["fallback", "hedge"])),
        # Of the next hour, now and then.
        started_at=at + timedelta(seconds=40 * number),
        duration_ms=draw.choice([5.0, 80.0]),
        outcome=outcome,
        usage=ANSWER if is_metered else None,
        usage_source="reported" if is_metered else None,
        cost=draw.choice([LISTED, LISTED, UNPRICED]) if is_metered else FREE,
    )


async def arrive(connection: AsyncConnection, arrivals: Sequence[Arrival]) -> None:
    await ensure_partitions(connection, {record_day(one) for one in arrivals})
    requests = [request_row(one) for one in arrivals if isinstance(one, RequestRecord)]
    attempts = [row for one in arrivals for row in attempt_rows(one)]
    await insert_absent(connection, requests, attempts)
    # As the end of its transaction does it.
    for table in WAITING_ROOMS:
        await connection.execute(text(f"TRUNCATE {table}"))


async def sum_up(connection: AsyncConnection) -> None:
    await thin_pending(connection)
    while await sum_quarters(connection, MUCH_LATER):
        pass


async def forget(connection: AsyncConnection) -> None:
    while await forget_minutes(connection, NOW - timedelta(minutes=75)):
        pass


async def read(connection: AsyncConnection, table: Table) -> list[Row]:
    return [dict(row) for row in (await connection.execute(select(table))).mappings()]


def day_of(row: Row, column: str) -> object:
    return row[column].date()


class Told:
    """What the rows and their corrections come to."""

    def __init__(self, requests: list[Row], attempts: list[Row], made: list[Row]) -> None:
        self.of_requests, self.of_attempts, self.of_fallbacks, self.of_latency = (
            Sums(),
            Sums(),
            Sums(),
            Sums(),
        )
        by_request: dict[UUID, list[Row]] = {}
        by_attempt: dict[tuple[UUID, int], list[Row]] = {}
        for one in made:
            by_request.setdefault(one["request_id"], []).append(one)
            by_attempt.setdefault((one["request_id"], one["number"]), []).append(one)
        tries: dict[UUID, list[Row]] = {}
        costs: dict[tuple[UUID, int], Decimal | None] = {}
        for row in attempts:
            tries.setdefault(row["request_id"], []).append(row)
            place = (row["request_id"], row["number"])
            corrections = [one["difference_usd"] for one in by_attempt.get(place, [])]
            costs[place] = corrected(row["cost_usd"], corrections)
            self._attempt(row, costs[place], sum(corrections, Decimal(0)))
        for row in requests:
            corrections = [
                one["request_difference_usd"]
                for one in by_request.get(row["id"], [])
                if one["request_difference_usd"] is not None
            ]
            usd = corrected(row["cost_usd"], corrections)
            self._request(row, usd, sum(corrections, Decimal(0)))
            for one in tries[row["id"]]:
                self._fallback(row, one, costs[(row["id"], one["number"])])

    def _request(self, row: Row, usd: Decimal | None, adjustment_usd: Decimal) -> None:
        key = (
            day_of(row, "received_at"),
            row["used_endpoint"] or "",
            row["outcome"],
            row["is_fallback"],
            row["key_id"],
        )
        is_ours, baseline_usd = not row["is_paid_by_caller"], row["baseline_cost_usd"]
        is_compared = is_ours and usd is not None and baseline_usd is not None
        self.of_requests.update(
            {
                (*key, "requests"): 1,
                (*key, "attempts"): row["attempts_count"],
                (*key, "prompt_tokens"): row["prompt_tokens"] or 0,
                (*key, "cost_usd"): (usd or 0) if is_ours else 0,
                (*key, "unpriced"): int(is_ours and usd is None),
                (*key, "baselined"): int(is_compared),
                (*key, "baseline_usd"): baseline_usd if is_compared else 0,
                (*key, "baselined_cost_usd"): usd if is_compared else 0,
                (*key, "adjustment_usd"): adjustment_usd if is_ours else 0,
                (*key, "caller_usd"): 0 if is_ours else (usd or 0),
                (*key, "caller_requests"): int(not is_ours),
            }  # pyright: ignore[reportArgumentType] - counts and amounts alike
        )
        if row["outcome"] == "success":
            self.of_latency[("request", row["used_endpoint"])] += 1

    def _attempt(self, row: Row, usd: Decimal | None, adjustment_usd: Decimal) -> None:
        key = (
            day_of(row, "started_at"),
            row["endpoint"],
            row["outcome"],
            row["kind"],
            row["key_id"],
        )
        is_ours = not row["is_paid_by_caller"]
        is_billable = is_ours and (row["usage_source"] is not None or row["cost_usd"] is None)
        self.of_attempts.update(
            {
                (*key, "attempts"): 1,
                (*key, "billable"): int(is_billable),
                (*key, "unpriced"): int(is_ours and usd is None),
                (*key, "input_tokens"): row["input_tokens"] or 0,
                (*key, "cost_usd"): (usd or 0) if is_ours else 0,
                # Nothing but prompts and answers costs anything here.
                (*key, "parts_usd"): (usd or 0) if is_ours else 0,
                (*key, "adjustment_usd"): adjustment_usd if is_ours else 0,
                (*key, "caller_usd"): 0 if is_ours else (usd or 0),
            }  # pyright: ignore[reportArgumentType] - counts and amounts alike
        )
        if row["outcome"] == "success":
            self.of_latency[("attempt", row["endpoint"])] += 1

    def _fallback(self, request: Row, row: Row, usd: Decimal | None) -> None:
        is_left = request["is_fallback"] and row["endpoint"] != request["used_endpoint"]
        if not is_left or row["kind"] == "shadow":
            return
        key = (
            day_of(request, "received_at"),
            row["endpoint"],
            request["used_endpoint"],
            row["outcome"],
        )
        is_ours = not row["is_paid_by_caller"]
        self.of_fallbacks.update(
            {
                (*key, "attempts"): 1,
                (*key, "requests"): int(row["number"] == 1),
                (*key, "added_usd"): (usd or 0) if is_ours else 0,
                (*key, "unpriced"): int(is_ours and usd is None),
            }  # pyright: ignore[reportArgumentType] - counts and amounts alike
        )


def corrected(recorded: Decimal | None, corrections: list[Decimal]) -> Decimal | None:
    return sum(corrections, recorded or Decimal(0)) if corrections else recorded


def summed(rows: list[Row], dimensions: Sequence[str], measures: Sequence[str]) -> Sums:
    found = Sums()
    for row in rows:
        key = (row["at"].date(), *(row[name] for name in dimensions))
        parts = {"parts_usd": row.get("cost_input_usd", 0) + row.get("cost_output_usd", 0)}
        for name in measures:
            found[(*key, name)] += (row | parts)[name]  # pyright: ignore[reportOperatorIssue]
    return found


def without_nothing(sums: Sums) -> dict[tuple[object, ...], object]:
    return {key: amount for key, amount in sums.items() if amount}


def narrowed(sums: Sums, places: Sequence[int]) -> Sums:
    """Added up over the other dimensions; the measure comes last."""
    found = Sums()
    for key, amount in sums.items():
        found[(*(key[place] for place in places), key[-1])] += amount
    return found


REQUEST = ("endpoint", "outcome", "is_fallback", "key_id")
ATTEMPT = ("endpoint", "outcome", "kind", "key_id")
FALLBACK = ("from_endpoint", "to_endpoint", "reason")
REQUEST_MEASURES = [
    "requests",
    "attempts",
    "prompt_tokens",
    "cost_usd",
    "unpriced",
    "baselined",
    "baseline_usd",
    "baselined_cost_usd",
    "adjustment_usd",
    "caller_usd",
    "caller_requests",
]
ATTEMPT_MEASURES = [
    "attempts",
    "billable",
    "unpriced",
    "input_tokens",
    "cost_usd",
    "parts_usd",
    "adjustment_usd",
    "caller_usd",
]


async def compare(connection: AsyncConnection) -> None:
    told = Told(
        await read(connection, request_record),
        await read(connection, attempt_record),
        await read(connection, cost_adjustment),
    )
    wanted = {
        usage_request: (told.of_requests, REQUEST, REQUEST_MEASURES),
        usage_attempt: (told.of_attempts, ATTEMPT, ATTEMPT_MEASURES),
        fallback: (told.of_fallbacks, FALLBACK, ["attempts", "requests", "added_usd", "unpriced"]),
    }
    views = [(v_usage_request, usage_request), (v_usage_attempt, usage_attempt)]
    views += [(v_fallback, fallback)]
    views += [(one.view, one.of) for one in COARSE if one.of is not latency]
    for view, roll_up in views:
        expected, dimensions, measures = wanted[roll_up]
        present = [name for name in dimensions if name in view.c]
        places = [0, *(1 + dimensions.index(name) for name in present)]
        found = summed(await read(connection, view), present, measures)
        assert without_nothing(found) == without_nothing(narrowed(expected, places)), view.name
    counted = Sums()
    for row in await read(connection, v_latency):
        if row["metric"] in {"request", "attempt"}:
            counted[(row["metric"], row["endpoint"])] += row["samples"]
    assert counted == told.of_latency
    of_keys = await read(connection, v_latency_key_hour)
    assert sum(row["samples"] for row in of_keys if row["metric"] == "request") == sum(
        amount for (metric, _), amount in counted.items() if metric == "request"
    )


Step = tuple[str, list[int]]
STEPS: st.SearchStrategy[Step] = st.one_of(
    # Which arrivals, some of them again.
    st.tuples(st.just("arrive"), st.lists(st.integers(0, 30), min_size=1, max_size=12)),
    # Which prices are believed.
    st.tuples(
        st.just("rerate"), st.lists(st.integers(0, len(CATALOGUES) - 1), min_size=1, max_size=1)
    ),
    st.tuples(st.sampled_from(["sum_up", "forget", "rebuild"]), st.just([0])),
)


async def live_through(dsn: str, seed: int, steps: Sequence[Step]) -> None:
    arrivals = made_up(random.Random(seed))
    engine = patient_engine_of(dsn)
    async with engine.connect() as connection:
        await arrive(connection, arrivals[::2])
        await compare(connection)
        for step, detail in steps:
            if step == "arrive":
                chosen = {one % len(arrivals) for one in detail}
                await arrive(connection, [arrivals[one] for one in sorted(chosen)])
            elif step == "rerate":
                await rerate(connection, CATALOGUES[detail[0]])
            else:
                await {"sum_up": sum_up, "forget": forget, "rebuild": rebuild}[step](connection)
            await compare(connection)
        await connection.rollback()
    await engine.dispose()


@example(
    seed=7,
    steps=[
        ("rerate", [1]),
        ("arrive", [1, 3, 5, 7]),
        ("sum_up", []),
        ("forget", []),
        ("rerate", [2]),
        ("arrive", list(range(31))),
        ("rerate", [0]),
        ("rebuild", []),
        ("sum_up", []),
    ],
)
@settings(max_examples=many(4), phases=[Phase.explicit, Phase.generate])
@given(seed=st.integers(0, 1 << 32), steps=st.lists(STEPS, min_size=3, max_size=6))
def test_sums_tell_the_rows_and_their_corrections(dsn: str, seed: int, steps: list[Step]) -> None:
    asyncio.run(live_through(dsn, seed, steps))
