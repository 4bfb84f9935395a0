"""Webhooks and what is on its way to them: at least once, each notice once per webhook."""

from datetime import datetime, timedelta
from uuid import UUID, uuid4

import msgspec
from sqlalchemy import (
    ColumnElement,
    and_,
    delete,
    func,
    insert,
    literal,
    or_,
    select,
    text,
    update,
)
from sqlalchemy.dialects.postgresql import insert as upsert
from sqlalchemy.ext.asyncio import AsyncConnection

from gateway.domain.notices import KINDS, Event
from gateway.domain.wishes import WishError
from gateway.storage.audit import add_entry
from gateway.storage.notice_tables import notice, webhook, webhook_delivery
from gateway.storage.notices import add_notice

MOST_WEBHOOKS = 32
MOST_WAITING = 1_000
"""Of one webhook; beyond it the oldest are given up."""
GIVE_UP_AFTER = timedelta(hours=24)
KEPT_FOR = timedelta(days=7)
"""After which what was delivered or given up is forgotten."""

_HELD_FOR = timedelta(seconds=60)
_LONGEST_URL = 2_048
_LONGEST_PROBLEM = 300
_LOCK = int.from_bytes(b"tw-told")


class StoredWebhook(msgspec.Struct, frozen=True, kw_only=True):
    """A webhook; its secret is derived, see `gateway.notices.signing`."""

    id: UUID
    url: str
    kinds: tuple[str, ...]
    """Of notices; empty means all."""
    created_at: datetime
    created_by: str


class WebhookState(StoredWebhook, frozen=True, kw_only=True):
    """A webhook, and how it fares."""

    waiting: int = 0
    last_delivered_at: datetime | None = None
    last_problem: str | None = None
    """Of the latest delivery that failed, if none succeeded since."""


class Delivery(msgspec.Struct, frozen=True, kw_only=True):
    """An event on its way."""

    id: int
    webhook_id: UUID
    url: str
    event: Event
    tries: int
    """Counting the one that is about to be made."""
    created_at: datetime


class Outcome(msgspec.Struct, frozen=True, kw_only=True):
    """What became of one try."""

    is_delivered: bool
    status_code: int | None = None
    problem: str | None = None
    is_final: bool = False
    """The receiver wants no more of it."""


_COLUMNS = tuple(webhook.c[field] for field in StoredWebhook.__struct_fields__)
_IS_WAITING: ColumnElement[bool] = and_(
    webhook_delivery.c.delivered_at.is_(None), webhook_delivery.c.gave_up_at.is_(None)
)


async def add_webhook(
    connection: AsyncConnection, *, url: str, kinds: tuple[str, ...], at: datetime, actor: str
) -> StoredWebhook:
    """Store a webhook whose address has been checked.

    Raises:
        WishError: a kind that there is not, or too many webhooks.
    """
    unknown = sorted(set(kinds) - set(KINDS))
    if unknown:
        raise WishError(f"kinds: {unknown[0]!r} is none; there are {', '.join(KINDS)}")
    if len(url) > _LONGEST_URL:
        raise WishError(f"url: give at most {_LONGEST_URL} characters")
    count = await connection.scalar(select(func.count()).select_from(webhook)) or 0
    if count >= MOST_WEBHOOKS:
        raise WishError(f"url: there are {count} webhooks already; delete one first")
    made = StoredWebhook(
        id=uuid4(), url=url, kinds=tuple(dict.fromkeys(kinds)), created_at=at, created_by=actor
    )
    await connection.execute(
        insert(webhook).values(**msgspec.structs.asdict(made) | {"kinds": list(made.kinds)})
    )
    await add_entry(
        connection,
        at=at,
        actor=actor,
        action="webhook.create",
        subject=str(made.id),
        after=msgspec.to_builtins(made),
    )
    return made


async def list_webhooks(connection: AsyncConnection) -> list[StoredWebhook]:
    """Every webhook, oldest first."""
    rows = await connection.execute(select(*_COLUMNS).order_by(webhook.c.created_at))
    return [_stored(row) for row in rows.mappings()]


async def read_states(connection: AsyncConnection) -> list[WebhookState]:
    """Every webhook and how it fares, oldest first."""
    hooks = await list_webhooks(connection)
    rows = await connection.execute(
        select(
            webhook_delivery.c.webhook_id,
            func.count().filter(_IS_WAITING).label("waiting"),
            func.max(webhook_delivery.c.delivered_at).label("delivered_at"),
            func.max(webhook_delivery.c.created_at)
            .filter(webhook_delivery.c.problem.is_not(None))
            .label("failed_at"),
            func.array_agg(
                webhook_delivery.c.problem, type_=webhook.c.kinds.type
            ).filter(webhook_delivery.c.problem.is_not(None)).label("problems"),
        ).group_by(webhook_delivery.c.webhook_id)
    )  # fmt: skip
    by_id = {row.webhook_id: row for row in rows}
    states: list[WebhookState] = []
    for hook in hooks:
        row = by_id.get(hook.id)
        is_failing = row is not None and row.failed_at is not None
        states.append(
            WebhookState(
                **msgspec.structs.asdict(hook),
                waiting=row.waiting if row is not None else 0,
                last_delivered_at=row.delivered_at if row is not None else None,
                last_problem=row.problems[-1]
                if row is not None
                and is_failing
                and (row.delivered_at is None or row.delivered_at < row.failed_at)
                else None,
            )
        )
    return states


async def delete_webhook(
    connection: AsyncConnection, webhook_id: UUID, *, at: datetime, actor: str
) -> StoredWebhook | None:
    """Delete a webhook and what is on its way to it; None where there is none."""
    rows = await connection.execute(
        delete(webhook).where(webhook.c.id == webhook_id).returning(*_COLUMNS)
    )
    row = rows.mappings().one_or_none()
    if row is None:
        return None
    gone = _stored(row)
    await add_entry(
        connection,
        at=at,
        actor=actor,
        action="webhook.delete",
        subject=str(gone.id),
        before=msgspec.to_builtins(gone),
    )
    return gone


async def tell(
    connection: AsyncConnection,
    *,
    kind: str,
    subject: str,
    details: dict[str, object],
    apart: timedelta,
) -> bool:
    """Add a notice, unless one of that kind and subject was added lately; whether it was added.

    Args:
        connection: in a transaction, which the caller commits.
        kind: of the notice.
        subject: what it is about.
        details: facts.
        apart: how long the same is not told again.
    """
    await connection.execute(select(func.pg_advisory_xact_lock(_LOCK)))
    told = await connection.scalar(
        select(notice.c.id)
        .where(notice.c.kind == kind, notice.c.subject == subject, notice.c.at > func.now() - apart)
        .limit(1)
    )
    if told is not None:
        return False
    await add_notice(connection, kind=kind, subject=subject, details=details)
    return True


async def fan_out(connection: AsyncConnection) -> None:
    """Put every notice that is new on its way to each webhook that wants it.

    A webhook is told of what comes after it. What too many wait behind is given up, oldest first.
    """
    event = func.jsonb_build_object(
        literal("id"),
        func.concat("evt_", notice.c.id),
        literal("type"),
        notice.c.kind,
        literal("at"),
        func.to_char(func.timezone("UTC", notice.c.at), 'YYYY-MM-DD"T"HH24:MI:SS.MS"Z"'),
        literal("subject"),
        notice.c.subject,
        literal("details"),
        notice.c.details,
    )
    new = (
        select(webhook.c.id, notice.c.id, event, func.now(), func.now(), literal(0))
        .select_from(notice)
        .join(
            webhook,
            and_(
                webhook.c.created_at <= notice.c.at,
                or_(
                    webhook.c.kinds == text("'{}'::text[]"),
                    notice.c.kind == func.any(webhook.c.kinds),
                ),
            ),
        )
        .outerjoin(
            webhook_delivery,
            and_(
                webhook_delivery.c.notice_id == notice.c.id,
                webhook_delivery.c.webhook_id == webhook.c.id,
            ),
        )
        .where(notice.c.at > func.now() - GIVE_UP_AFTER, webhook_delivery.c.id.is_(None))
    )
    fields = ["webhook_id", "notice_id", "event", "created_at", "next_try_at", "tries"]
    await connection.execute(
        upsert(webhook_delivery).from_select(fields, new).on_conflict_do_nothing()
    )
    place = (
        func.row_number()
        .over(partition_by=webhook_delivery.c.webhook_id, order_by=webhook_delivery.c.id.desc())
        .label("place")
    )
    waiting = select(webhook_delivery.c.id, place).where(_IS_WAITING).subquery()
    crowded_out = select(waiting.c.id).where(waiting.c.place > MOST_WAITING)
    await connection.execute(
        update(webhook_delivery)
        .where(webhook_delivery.c.id.in_(crowded_out))
        .values(gave_up_at=func.now(), problem="too many were waiting")
    )


async def take_due(connection: AsyncConnection, *, most: int) -> list[Delivery]:
    """Deliveries that are due, held for a minute: nobody else takes them meanwhile."""
    due = (
        select(webhook_delivery.c.id)
        .where(_IS_WAITING, webhook_delivery.c.next_try_at <= func.now())
        .order_by(webhook_delivery.c.next_try_at)
        .limit(most)
        .with_for_update(skip_locked=True)
    )
    rows = await connection.execute(
        update(webhook_delivery)
        .where(webhook_delivery.c.id.in_(due), webhook.c.id == webhook_delivery.c.webhook_id)
        .values(tries=webhook_delivery.c.tries + 1, next_try_at=func.now() + _HELD_FOR)
        .returning(
            webhook_delivery.c.id,
            webhook_delivery.c.webhook_id,
            webhook.c.url,
            webhook_delivery.c.event,
            webhook_delivery.c.tries,
            webhook_delivery.c.created_at,
        )
    )
    return [
        Delivery(
            id=row.id,
            webhook_id=row.webhook_id,
            url=row.url,
            event=msgspec.convert(row.event, Event),
            tries=row.tries,
            created_at=row.created_at,
        )
        for row in rows
    ]


async def settle(
    connection: AsyncConnection, delivery: Delivery, outcome: Outcome, *, again_in: timedelta
) -> None:
    """Write down what became of a try; one that failed is due again, until a day is over."""
    gives_up = outcome.is_final or webhook_delivery.c.created_at < func.now() - GIVE_UP_AFTER
    problem = None if outcome.problem is None else outcome.problem[:_LONGEST_PROBLEM]
    values: dict[str, object] = {"status_code": outcome.status_code, "problem": problem}
    if outcome.is_delivered:
        values["delivered_at"] = func.now()
    elif outcome.is_final:
        values["gave_up_at"] = func.now()
    else:
        values["next_try_at"] = func.now() + again_in
    target = update(webhook_delivery).where(webhook_delivery.c.id == delivery.id)
    await connection.execute(target.values(**values))
    if not outcome.is_delivered and not outcome.is_final:
        await connection.execute(
            target.where(gives_up).values(gave_up_at=func.now())  # pyright: ignore[reportArgumentType] - a column here
        )


async def forget_old(connection: AsyncConnection) -> None:
    """Delete what was delivered or given up long ago."""
    await connection.execute(
        delete(webhook_delivery).where(
            ~_IS_WAITING, webhook_delivery.c.created_at < func.now() - KEPT_FOR
        )
    )


def _stored(row: object) -> StoredWebhook:
    fields: dict[str, object] = {
        field: row[field]  # pyright: ignore[reportIndexIssue] - a mapping of the columns
        for field in StoredWebhook.__struct_fields__
    }
    return msgspec.convert(fields, StoredWebhook)
