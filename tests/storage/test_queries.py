import secrets
from datetime import date, timedelta
from decimal import Decimal
from uuid import UUID

import msgspec
import pytest
from sqlalchemy import select, text
from sqlalchemy.exc import DBAPIError, IntegrityError
from sqlalchemy.ext.asyncio import AsyncConnection

from gateway.domain.records import RequestRecord
from gateway.storage.partitions import ensure_partitions
from gateway.storage.queries import latest_records, read_record
from gateway.storage.rows import (
    ATTEMPT_COPY_COLUMNS,
    MAX_SESSION_ID_LENGTH,
    MAX_TEXT_LENGTH,
    REQUEST_COPY_COLUMNS,
    UnstorableRecordError,
    attempt_rows,
    request_row,
)
from gateway.storage.tables import attempt_record, request_record
from pricing.cost import UNPRICED, Cost
from pricing.usage import Usage
from tests.storage.samples import (
    NOW,
    make_attempt,
    make_full_record,
    make_record,
    store,
)

NAN = float("nan")


@pytest.mark.anyio
async def test_a_record_comes_back_as_it_was_stored(connection: AsyncConnection) -> None:
    record = make_full_record()

    await store(connection, record)

    assert await read_record(connection, record.id) == record


@pytest.mark.anyio
async def test_a_record_without_attempts_and_without_money_comes_back(
    connection: AsyncConnection,
) -> None:
    refused = make_record(status_code=402, cost_usd=None)
    unpriced = make_record(attempts=(make_attempt(usage=Usage(input_tokens=3), cost=UNPRICED),))

    await store(connection, refused, unpriced)

    assert await read_record(connection, refused.id) == refused
    assert await read_record(connection, unpriced.id) == unpriced


@pytest.mark.anyio
async def test_totals_add_up_the_attempts(connection: AsyncConnection) -> None:
    usage = Usage(input_tokens=10, cache_read_tokens=5, output_tokens=7, reasoning_tokens=2)
    record = make_record(
        attempts=(
            make_attempt(number=1, usage=usage),
            make_attempt(number=2, usage=None),
            make_attempt(number=3, usage=usage),
        )
    )
    await store(connection, record)

    columns = request_record.c
    totals = (
        await connection.execute(
            select(
                columns.attempts_count,
                columns.prompt_tokens,
                columns.completion_tokens,
                columns.cached_tokens,
                columns.reasoning_tokens,
            )
        )
    ).one()

    assert tuple(totals) == (3, 30, 18, 10, 4)


@pytest.mark.anyio
async def test_totals_are_null_when_nothing_was_metered(connection: AsyncConnection) -> None:
    await store(connection, make_record(attempts=(make_attempt(usage=None),)))

    columns = request_record.c
    row = (await connection.execute(select(columns.prompt_tokens, columns.cached_tokens))).one()

    assert tuple(row) == (None, None)


@pytest.mark.anyio
@pytest.mark.parametrize(
    ("changes", "stored"),
    [
        pytest.param({"user": "a\0b"}, {"user": "ab"}, id="nul"),
        pytest.param({"user": "a\ud800b"}, {"user": "a\ufffdb"}, id="surrogate"),
        pytest.param(
            {"requested_model": "m" * 9_000},
            {"requested_model": "m" * MAX_TEXT_LENGTH},
            id="long-text",
        ),
        pytest.param(
            {"session_id": "😀" * 3_000},
            {"session_id": "😀" * MAX_SESSION_ID_LENGTH},
            id="long-indexed-text",
        ),
        pytest.param({"labels": {"a\0": "\0b\ud800"}}, {"labels": {"a": "b\ufffd"}}, id="labels"),
        pytest.param({"plan": {"x": NAN}}, {"plan": {"x": None}}, id="nan-in-json"),
        pytest.param({"plan": {"x": "\\u0000"}}, {"plan": {"x": "\\u0000"}}, id="not-a-nul"),
        pytest.param({"plan": {"x": Decimal("0.15")}}, {"plan": {"x": "0.15"}}, id="money-in-json"),
        pytest.param({"warnings": ("a\0", "\ud800")}, {"warnings": ("a", "\ufffd")}, id="array"),
        pytest.param({"status_code": 3_000_000_000}, {"status_code": 2**31 - 1}, id="int4"),
    ],
)
async def test_poison_is_stored_in_its_closest_sane_form(
    connection: AsyncConnection, changes: dict[str, object], stored: dict[str, object]
) -> None:
    record = make_record(**changes)

    await store(connection, record, make_record())

    assert await read_record(connection, record.id) == msgspec.structs.replace(record, **stored)


@pytest.mark.anyio
async def test_json_too_deep_for_any_parser_is_cut(connection: AsyncConnection) -> None:
    plan: dict[str, object] = {}
    for _ in range(5_000):
        plan = {"deeper": plan}
    record = make_record(plan=plan)

    await store(connection, record)

    found = await read_record(connection, record.id)
    assert found is not None
    assert "deeper" in found.plan


@pytest.mark.anyio
async def test_a_count_beyond_bigint_is_clamped(connection: AsyncConnection) -> None:
    record = make_record(attempts=(make_attempt(usage=Usage(input_tokens=2**70)),))

    await store(connection, record)

    assert await connection.scalar(select(attempt_record.c.input_tokens)) == 2**63 - 1
    assert await connection.scalar(select(request_record.c.prompt_tokens)) == 2**63 - 1


@pytest.mark.parametrize(
    "record",
    [
        pytest.param(make_record(cost_usd=Decimal("NaN")), id="nan-money"),
        pytest.param(make_record(cost_usd=Decimal("Infinity")), id="infinite-money"),
        pytest.param(make_record(cost_usd=Decimal("-0.01")), id="negative-money"),
        pytest.param(make_record(cost_usd=Decimal("1e12")), id="too-much-money"),
        pytest.param(make_record(duration_ms=NAN), id="nan-duration"),
        pytest.param(make_record(ttft_ms=float("inf")), id="infinite-latency"),
        pytest.param(make_record(received_at=NOW, id=UUID(int=0)), id="id-without-time"),
        pytest.param(make_record(id=UUID(int=2**128 - 1)), id="id-from-far-away"),
        pytest.param(
            make_record(id=make_record().id, received_at=NOW.replace(tzinfo=None)), id="no-zone"
        ),
    ],
)
def test_what_would_falsify_money_or_time_is_refused(record: RequestRecord) -> None:
    with pytest.raises(UnstorableRecordError):
        request_row(record)


@pytest.mark.parametrize(
    "attempt",
    [
        pytest.param(make_attempt(number=0), id="number"),
        pytest.param(make_attempt(number=2**15), id="number-too-large"),
        pytest.param(
            make_attempt(cost=Cost(total_usd=None, lines={"images": Decimal("NaN")})), id="line"
        ),
    ],
)
def test_an_attempt_that_cannot_be_true_is_refused(attempt: object) -> None:
    with pytest.raises(UnstorableRecordError):
        attempt_rows(make_record(attempts=(attempt,)))


def test_rows_are_as_long_as_their_column_lists() -> None:
    record = make_full_record()

    assert len(request_row(record)) == len(REQUEST_COPY_COLUMNS)
    assert {len(row) for row in attempt_rows(record)} == {len(ATTEMPT_COPY_COLUMNS)}


@pytest.mark.anyio
@pytest.mark.parametrize("amount", ["NaN", "-0.000000000001"])
async def test_the_tables_themselves_refuse_what_is_not_money(
    connection: AsyncConnection, amount: str
) -> None:
    record = make_full_record()
    await store(connection, record)

    with pytest.raises(IntegrityError, match="is_money"):
        await connection.execute(request_record.update().values(cost_usd=Decimal(amount)))


@pytest.mark.anyio
async def test_an_id_that_was_never_seen_is_none(connection: AsyncConnection) -> None:
    assert await read_record(connection, make_record().id) is None
    assert await read_record(connection, UUID(int=2**128 - 1)) is None
    assert await read_record(connection, UUID(int=secrets.randbits(128))) is None


@pytest.mark.anyio
async def test_the_latest_records_come_newest_first_across_days(
    connection: AsyncConnection,
) -> None:
    other_key = UUID(int=7)
    old = make_record(received_at=NOW - timedelta(days=2))
    middle = make_record(received_at=NOW - timedelta(days=1), key_id=other_key)
    new = make_full_record()
    await store(connection, middle, new, old)

    assert await latest_records(connection, limit=5) == [new, middle, old]
    assert await latest_records(connection, limit=1) == [new]
    assert await latest_records(connection, limit=5, before=new.id) == [middle, old]
    assert await latest_records(connection, limit=5, key_id=other_key) == [middle]
    assert await latest_records(connection, limit=5, since=NOW.date()) == [new]


@pytest.mark.anyio
async def test_a_row_without_its_partition_is_refused(connection: AsyncConnection) -> None:
    await ensure_partitions(connection, [date(2026, 1, 1)])

    with pytest.raises(DBAPIError, match="no partition"):
        await connection.execute(
            request_record.insert().values(
                dict(zip(REQUEST_COPY_COLUMNS, request_row(make_record()), strict=True))
            )
        )


@pytest.mark.anyio
async def test_looking_up_an_id_reads_one_partition(connection: AsyncConnection) -> None:
    await ensure_partitions(connection, [NOW.date() + timedelta(days=n) for n in range(5)])

    explained = await connection.scalars(
        text(
            "EXPLAIN SELECT * FROM request_record "
            "WHERE day = '2026-11-21' AND id = '0199d1e0-0000-7000-8000-000000000001'"
        )
    )

    plan = "\n".join(explained)
    assert "request_record_20261121" in plan
    assert "request_record_20261122" not in plan
