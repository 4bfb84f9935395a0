"""The operator's decisions about prices are kept exactly, in order, and audited."""

from decimal import Decimal
from typing import Any

import pytest
from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncConnection

from gateway.storage.changes import PRICES, read_epoch
from gateway.storage.price_changes import add_price_change, load_price_changes, lock_prices
from gateway.storage.tables import audit_entry
from pricing.operator_layer import PriceChange
from tests.storage.samples import NOW

TERMS = {"input_usd_per_mtok": "0.000000000001", "output_usd_per_mtok": "8"}


async def add(connection: AsyncConnection, **fields: Any) -> PriceChange:
    known: dict[str, Any] = {
        "id": "0",
        "kind": "price",
        "target": "acme/large",
        "effective_from": NOW,
        "recorded_at": NOW,
        "recorded_by": "ann",
        "reason": "contract 7",
    }
    return await add_price_change(connection, PriceChange(**(known | fields)))


@pytest.mark.anyio
async def test_changes_come_back_exactly_and_in_order(connection: AsyncConnection) -> None:
    await lock_prices(connection)
    first = await add(connection, terms=TERMS)
    second = await add(connection, kind="discount", factor=Decimal("0.85"))

    assert await load_price_changes(connection) == [first, second]
    assert first.terms == TERMS
    assert second.factor == Decimal("0.85")


@pytest.mark.anyio
async def test_a_change_is_announced_and_audited(connection: AsyncConnection) -> None:
    before = await read_epoch(connection, PRICES)
    await add(connection, terms=TERMS)

    assert await read_epoch(connection, PRICES) == before + 1
    entry = (
        await connection.execute(select(audit_entry).order_by(audit_entry.c.id.desc()).limit(1))
    ).one()
    assert (entry.actor, entry.action, entry.subject) == ("ann", "price.price", "acme/large")
    assert entry.after["terms"] == TERMS
