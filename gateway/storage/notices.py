"""What operators are to be told of, kept for whoever tells them; the oldest are forgotten."""

from collections.abc import Mapping

from sqlalchemy import delete, func, insert
from sqlalchemy.ext.asyncio import AsyncConnection

from gateway.storage.notice_tables import notice

MOST_KEPT = 10_000


async def add_notice(
    connection: AsyncConnection, *, kind: str, subject: str, details: Mapping[str, object]
) -> int:
    """Add a notice in the transaction of what it tells of; returns its number.

    Args:
        connection: in a transaction, which the caller commits.
        kind: such as ``budget_threshold``.
        subject: what it is about, as operators call it.
        details: facts; amounts of money as texts.
    """
    number = await connection.scalar(
        insert(notice)
        .values(at=func.now(), kind=kind, subject=subject, details=dict(details))
        .returning(notice.c.id)
    )
    await connection.execute(delete(notice).where(notice.c.id <= (number or 0) - MOST_KEPT))
    return number or 0
