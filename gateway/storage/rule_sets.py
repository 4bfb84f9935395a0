"""Versions of the operator's rules in Postgres: added, never changed, one of them in force."""

import hashlib
from datetime import datetime

import msgspec
from sqlalchemy import RowMapping, func, insert, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from gateway.storage.changes import RULES, record_change
from gateway.storage.decision_tables import rule_set

EMPTY_VERSION = "empty"
"""The version of a set without rules."""

_LOCK = int.from_bytes(b"tw-rules")


class StoredRuleSet(msgspec.Struct, frozen=True, kw_only=True):
    """One version, with its text."""

    number: int
    """Counts up; gaps mean nothing."""
    version: str
    """A hash of what the rules say, as records carry it."""
    source: str
    """TOML, as it was applied, comments and all."""
    comment: str | None = None
    created_at: datetime
    created_by: str
    is_active: bool
    activated_at: datetime | None = None
    """When it came into force last."""


_COLUMNS = tuple(rule_set.c[field] for field in StoredRuleSet.__struct_fields__)


async def add_rule_set(
    connection: AsyncConnection,
    *,
    source: str,
    version: str,
    comment: str | None,
    at: datetime,
    actor: str,
) -> StoredRuleSet:
    """Put a text in force as a new version; the same text that is in force stays as it is.

    Args:
        connection: in a transaction, which the caller commits.
        source: has been compiled without an error.
        version: of the compiled set.
        comment: for the history.
        at: aware UTC.
        actor: who did it, as shown to operators.
    """
    await _lock(connection)
    before = await active_rule_set(connection)
    if before is not None and before.source == source:
        return before
    number = await connection.scalar(
        insert(rule_set)
        .values(
            version=version,
            sha256=hashlib.sha256(source.encode()).digest(),
            source=source,
            comment=comment,
            created_at=at,
            created_by=actor,
            is_active=False,
        )
        .returning(rule_set.c.number)
    )
    return await _activate(
        connection, int(number or 0), before, at=at, actor=actor, action="rules.apply"
    )


async def roll_back(
    connection: AsyncConnection,
    number: int | None,
    *,
    at: datetime,
    actor: str,
    note: str | None = None,
) -> StoredRuleSet | None:
    """Put an earlier version in force again; None when there is none of that number.

    Without a number: the one before that which is in force. The note is for the audit log: what a
    version says of itself stays as it is.
    """
    await _lock(connection)
    before = await active_rule_set(connection)
    if number is None:
        earlier = select(func.max(rule_set.c.number))
        if before is not None:
            earlier = earlier.where(rule_set.c.number < before.number)
        number = await connection.scalar(earlier)
    wanted = None if number is None else await read_rule_set(connection, number)
    if wanted is None or wanted.is_active:
        return wanted
    return await _activate(
        connection, wanted.number, before, at=at, actor=actor, action="rules.rollback", note=note
    )


async def active_rule_set(connection: AsyncConnection) -> StoredRuleSet | None:
    """What is in force; None when nothing ever was."""
    rows = await connection.execute(select(*_COLUMNS).where(rule_set.c.is_active))
    row = rows.mappings().one_or_none()
    return None if row is None else _stored(row)


async def read_rule_set(connection: AsyncConnection, number: int) -> StoredRuleSet | None:
    """A version by its number."""
    rows = await connection.execute(select(*_COLUMNS).where(rule_set.c.number == number))
    row = rows.mappings().one_or_none()
    return None if row is None else _stored(row)


async def list_rule_sets(
    connection: AsyncConnection, *, limit: int, before: int | None = None
) -> list[StoredRuleSet]:
    """The versions, newest first; with a number, only those before it."""
    statement = select(*_COLUMNS).order_by(rule_set.c.number.desc()).limit(limit)
    if before is not None:
        statement = statement.where(rule_set.c.number < before)
    return [_stored(row) for row in (await connection.execute(statement)).mappings()]


async def _activate(
    connection: AsyncConnection,
    number: int,
    before: StoredRuleSet | None,
    *,
    at: datetime,
    actor: str,
    action: str,
    note: str | None = None,
) -> StoredRuleSet:
    await connection.execute(update(rule_set).where(rule_set.c.is_active).values(is_active=False))
    rows = await connection.execute(
        update(rule_set)
        .where(rule_set.c.number == number)
        .values(is_active=True, activated_at=at)
        .returning(*_COLUMNS)
    )
    after = _stored(rows.mappings().one())
    await record_change(
        connection,
        RULES,
        at=at,
        actor=actor,
        action=action,
        subject=str(number),
        before=None if before is None else _audited(before),
        after=_audited(after) | ({"note": note} if note else {}),
    )
    return after


async def _lock(connection: AsyncConnection) -> None:
    """One change after the other: two at once would each take the other's predecessor away."""
    await connection.execute(select(func.pg_advisory_xact_lock(_LOCK)))


def _stored(row: RowMapping) -> StoredRuleSet:
    fields = {field: row[field] for field in StoredRuleSet.__struct_fields__}
    return msgspec.convert(fields, StoredRuleSet)


def _audited(stored: StoredRuleSet) -> dict[str, object]:
    """Without the text, which stands in its own row for good."""
    return {"number": stored.number, "version": stored.version, "comment": stored.comment}
