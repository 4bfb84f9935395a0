"""Changes of configuration: counted, announced and audited in the transaction that makes them."""

from collections.abc import Mapping
from datetime import datetime

from sqlalchemy import func, insert, select
from sqlalchemy.dialects.postgresql import insert as upsert
from sqlalchemy.ext.asyncio import AsyncConnection

from gateway.storage.decision_tables import audit_entry, config_epoch

CONFIG_CHANNEL = "tollway_config"
"""What gateways listen to; the payload is `name:epoch`. A lost notice is caught by polling."""

KEYS = "keys"
"""The name under which changes of keys are counted."""
PRICES = "prices"
"""The name under which changes of the operator's prices are counted."""
RULES = "rules"
"""The name under which changes of rule sets are counted."""
BUDGETS = "budgets"
"""The name under which changes of budgets are counted."""


async def record_change(
    connection: AsyncConnection,
    name: str,
    *,
    at: datetime,
    actor: str,
    action: str,
    subject: str,
    before: Mapping[str, object] | None = None,
    after: Mapping[str, object] | None = None,
) -> int:
    """Count a change, announce it at commit and write it to the audit log; returns the new epoch.

    Args:
        connection: in the transaction of the change.
        name: which part of the configuration changed.
        at: aware UTC.
        actor: who did it, as shown to operators.
        action: a verb and a noun, such as `key.create`.
        subject: what it was done to.
        before: its public state; None when it is new. Never a secret.
        after: the same for afterwards; None when it is gone.
    """
    statement = upsert(config_epoch).values(name=name, epoch=1, changed_at=at)
    epoch = await connection.scalar(
        statement.on_conflict_do_update(
            index_elements=[config_epoch.c.name],
            set_={"epoch": config_epoch.c.epoch + 1, "changed_at": at},
        ).returning(config_epoch.c.epoch)
    )
    await connection.execute(
        insert(audit_entry).values(
            at=at, actor=actor, action=action, subject=subject, before=before, after=after
        )
    )
    await connection.execute(select(func.pg_notify(CONFIG_CHANNEL, f"{name}:{epoch}")))
    return int(epoch or 0)


async def read_epoch(connection: AsyncConnection, name: str = KEYS) -> int:
    """How many changes were made under that name; 0 before the first."""
    epoch = await connection.scalar(select(config_epoch.c.epoch).where(config_epoch.c.name == name))
    return epoch or 0
