"""What the operator decided about prices: rows that are added and never changed."""

from typing import Any

from sqlalchemy import RowMapping, func, insert, select
from sqlalchemy.ext.asyncio import AsyncConnection

from gateway.domain.plain_json import plain
from gateway.storage.changes import PRICES, record_change
from gateway.storage.decision_tables import price_change
from pricing.operator_layer import PriceChange

_LOCK = int.from_bytes(b"tw-price")
_COLUMNS = tuple(price_change.c[field] for field in PriceChange.__struct_fields__)


async def add_price_change(connection: AsyncConnection, decided: PriceChange) -> PriceChange:
    """Add a change that has been checked; the caller holds `lock_prices` since then.

    Args:
        connection: in a transaction, which the caller commits.
        decided: as `pricing.deciding.decide` made it; amounts inside its JSON are texts.

    Returns:
        The change with the id that it got.
    """
    fields = {
        name: getattr(decided, name) for name in PriceChange.__struct_fields__ if name != "id"
    }
    rows = await connection.execute(insert(price_change).values(fields).returning(*_COLUMNS))
    added = _read(rows.mappings().one())
    ends, factor = decided.effective_to, decided.factor
    await record_change(
        connection,
        PRICES,
        at=decided.recorded_at,
        actor=decided.recorded_by,
        action=f"price.{decided.kind}",
        subject=decided.target,
        after={
            "id": added.id,
            "effective_from": decided.effective_from.isoformat(),
            "effective_to": None if ends is None else ends.isoformat(),
            "terms": decided.terms,
            "factor": None if factor is None else plain(factor),
            "endpoint": decided.endpoint,
            "reason": decided.reason,
        },
    )
    return added


async def lock_prices(connection: AsyncConnection) -> None:
    """Until the transaction ends nobody else changes prices: what was checked stays true."""
    await connection.execute(select(func.pg_advisory_xact_lock(_LOCK)))


async def load_price_changes(connection: AsyncConnection) -> list[PriceChange]:
    """Every change, in the order in which they were recorded."""
    rows = await connection.execute(select(*_COLUMNS).order_by(price_change.c.id))
    return [_read(row) for row in rows.mappings()]


def _read(row: RowMapping) -> PriceChange:
    fields: dict[str, Any] = {**row, "id": str(row["id"])}
    return PriceChange(**fields)
