"""A preview of prices reads the newest attempts of a quarter of an hour, each of them once."""

from datetime import timedelta
from decimal import Decimal

import pytest
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

from gateway.storage.preview_rows import newest_places, read_attempts
from tests.ledger.rated import TENFOLD, attempt, priced_from, record, rerate
from tests.storage.samples import NOW, store

pytestmark = pytest.mark.anyio
SECOND = timedelta(seconds=1)
READ_ROWS = text(
    "SELECT sum(seq_tup_read + coalesce(idx_tup_fetch, 0)) FROM pg_stat_xact_all_tables "
    "WHERE relname ~ '^attempt_record_[0-9]+$'"
)


async def test_the_newest_of_each_endpoint_come_newest_first_with_their_corrections(
    connection: AsyncConnection,
) -> None:
    begun = [NOW + number * SECOND for number in range(6)]
    providers = ("acme", "best", "acme", "acme", "best", "acme")
    await store(
        connection,
        record(attempt(started_at=NOW - SECOND)),
        *(
            record(attempt(provider, started_at=at))
            for provider, at in zip(providers, begun, strict=True)
        ),
        record(attempt(started_at=NOW + timedelta(minutes=15))),
    )
    await rerate(connection, priced_from(begun[5], TENFOLD), provider="acme")

    places = await newest_places(connection, {"acme/large": 2, "best/large": 5}, NOW)
    found = [one for page in places.pages(3) for one in await read_attempts(connection, page, NOW)]

    assert len(places) == 4
    assert [(one.endpoint, one.started_at) for one in found] == [
        ("acme/large", begun[5]),
        ("best/large", begun[4]),
        ("acme/large", begun[3]),
        ("best/large", begun[1]),
    ]
    assert [one.cost_usd for one in found] == [
        Decimal("0.02"),
        Decimal("0.002"),
        Decimal("0.002"),
        Decimal("0.002"),
    ]


async def test_a_quarter_without_attempts_has_no_places(connection: AsyncConnection) -> None:
    places = await newest_places(connection, {"acme/large": 2}, NOW)

    assert (len(places), list(places.pages(3))) == (0, [])


async def test_a_busy_quarter_is_not_read_again_for_every_page(
    connection: AsyncConnection,
) -> None:
    rows = 400
    await store(
        connection, *(record(attempt(started_at=NOW + number * SECOND)) for number in range(rows))
    )
    await connection.execute(text("ANALYZE attempt_record"))

    places = await newest_places(connection, {"acme/large": rows}, NOW)
    found = 0
    for page in places.pages(10):
        found += len(await read_attempts(connection, page, NOW))

    assert found == rows
    # Once to find them, and each of them once more by its key.
    assert await connection.scalar(READ_ROWS) <= 3 * rows
