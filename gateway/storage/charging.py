"""Charges budgets with the records that were just inserted, and with no other."""

from collections.abc import Sequence
from datetime import date
from uuid import UUID

import msgspec
from sqlalchemy import ARRAY, Date, Uuid, any_, literal, literal_column, select, text
from sqlalchemy.ext.asyncio import AsyncConnection

from gateway.domain.budgets import Charge
from gateway.storage.leases import Key, charge
from gateway.storage.record_tables import request_record

# The system column of a row tells which transaction inserted it.
_IS_OURS = literal_column("xmin") == text("pg_current_xact_id()::xid")


class Charged(msgspec.Struct, frozen=True, kw_only=True):
    """A record and what it is charged with."""

    id: UUID
    day: date
    charge: Charge


async def charge_new(connection: AsyncConnection, worker: str, charged: Sequence[Charged]) -> None:
    """Charge for the records that this very transaction has inserted.

    Args:
        connection: in the transaction that inserted them, without a savepoint in between.
        worker: who wrote the records, and leased what they cost.
        charged: of the batch; those that were there before are passed over.
    """
    if not charged:
        return
    columns = request_record.c
    rows = await connection.scalars(
        select(columns.id).where(
            columns.id == any_(literal([one.id for one in charged], ARRAY(Uuid))),
            # Partitions are left out by the day alone.
            columns.day == any_(literal(sorted({one.day for one in charged}), ARRAY(Date))),
            _IS_OURS,
        )
    )
    new = set(rows)
    sums: dict[Key, int] = {}
    for one in charged:
        if one.id in new:
            for window in one.charge.windows:
                key = (window.budget, window.since)
                sums[key] = sums.get(key, 0) + one.charge.nusd
    if sums:
        await charge(connection, worker, sums)
