"""What the operator decided about prices: rows that are added and never changed."""

from datetime import datetime
from decimal import Decimal
from typing import Any

from sqlalchemy import RowMapping, func, insert, select
from sqlalchemy.ext.asyncio import AsyncConnection

from gateway.storage.changes import PRICES, record_change
from gateway.storage.tables import price_change
from pricing.operator_layer import ChangeKind, PriceChange

_LOCK = int.from_bytes(b"tw-price")
_COLUMNS = tuple(price_change.c[field] for field in PriceChange.__struct_fields__)


async def add_price_change(
    connection: AsyncConnection,
    *,
    kind: ChangeKind,
    target: str,
    effective_from: datetime,
    effective_to: datetime | None,
    terms: dict[str, Any] | None,
    factor: Decimal | None,
    endpoint: dict[str, Any] | None,
    at: datetime,
    actor: str,
    reason: str,
) -> PriceChange:
    """Add a change that has been checked; the caller holds `lock_prices` since then.

    Args:
        connection: in a transaction, which the caller commits.
        kind: what is decided.
        target: about what; see `PriceChange`.
        effective_from: aware UTC.
        effective_to: exclusive; None means until further notice.
        terms: of a price; amounts as texts.
        factor: of a discount.
        endpoint: of an endpoint; amounts as texts.
        at: now, aware UTC.
        actor: who did it, as shown to operators.
        reason: for the history.
    """
    rows = await connection.execute(
        insert(price_change)
        .values(
            kind=kind,
            target=target,
            effective_from=effective_from,
            effective_to=effective_to,
            terms=terms,
            factor=factor,
            endpoint=endpoint,
            recorded_at=at,
            recorded_by=actor,
            reason=reason,
        )
        .returning(*_COLUMNS)
    )
    added = _read(rows.mappings().one())
    await record_change(
        connection,
        PRICES,
        at=at,
        actor=actor,
        action=f"price.{kind}",
        subject=target,
        after={
            "id": added.id,
            "effective_from": effective_from.isoformat(),
            "effective_to": None if effective_to is None else effective_to.isoformat(),
            "terms": terms,
            "factor": None if factor is None else str(factor),
            "endpoint": endpoint,
            "reason": reason,
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
