"""The audit log: what was changed, by whom, from what to what. Rows are added, never changed."""

from collections.abc import Mapping
from datetime import datetime
from typing import Any

import msgspec
from sqlalchemy import insert, select
from sqlalchemy.ext.asyncio import AsyncConnection

from gateway.storage.decision_tables import audit_entry


class AuditEntry(msgspec.Struct, frozen=True, kw_only=True):
    """One change."""

    id: int
    """Counts up."""
    at: datetime
    actor: str
    """The name of a user, ``owner`` for the owner token, or the command that did it."""
    action: str
    """A noun and a verb, such as ``key.create``."""
    subject: str
    before: dict[str, Any] | None = None
    """Its public state before the change; None when it was new."""
    after: dict[str, Any] | None = None


_COLUMNS = tuple(audit_entry.c[field] for field in AuditEntry.__struct_fields__)


async def add_entry(
    connection: AsyncConnection,
    *,
    at: datetime,
    actor: str,
    action: str,
    subject: str,
    before: Mapping[str, object] | None = None,
    after: Mapping[str, object] | None = None,
) -> None:
    """Write down what gateways need not be told of; see `changes.record_change` for the rest.

    Args:
        connection: in the transaction of the change.
        at: aware UTC.
        actor: who did it, as shown to operators.
        action: a noun and a verb.
        subject: what it was done to.
        before: its public state; None when it is new. Never a secret.
        after: the same for afterwards; None when it is gone.
    """
    await connection.execute(
        insert(audit_entry).values(
            at=at, actor=actor, action=action, subject=subject, before=before, after=after
        )
    )


async def list_entries(
    connection: AsyncConnection,
    *,
    before_id: int | None,
    limit: int,
    actor: str | None = None,
    subject: str | None = None,
    action: str | None = None,
) -> list[AuditEntry]:
    """Entries, newest first, those older than ``before_id`` where one is given."""
    statement = select(*_COLUMNS).order_by(audit_entry.c.id.desc()).limit(limit)
    if before_id is not None:
        statement = statement.where(audit_entry.c.id < before_id)
    for column, value in (("actor", actor), ("subject", subject), ("action", action)):
        if value is not None:
            statement = statement.where(audit_entry.c[column] == value)
    rows = await connection.execute(statement)
    return [
        AuditEntry(**{field: row[field] for field in AuditEntry.__struct_fields__})
        for row in rows.mappings()
    ]
