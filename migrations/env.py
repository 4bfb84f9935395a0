"""What Alembic runs: one migrator at a time per database, blind to partitions."""

import asyncio
import os

from alembic import context
from alembic.util.exc import CommandError
from sqlalchemy import Connection, column, func, select, table

from gateway.storage import coarse_tables, tables
from gateway.storage.engine import make_engine

# Any number will do as long as it never changes.
ADVISORY_LOCK = int.from_bytes(b"tollway")
LOCK_TIMEOUT_MS = 10_000
WAIT_FOR_OTHERS_MS = 600_000
OLDEST_SERVER = 15
# One description: each of both rooms adds its tables to it by being imported.
METADATA = {coarse_tables.metadata, tables.metadata}


def migrate(connection: Connection) -> None:
    """Do what the command asked for on this connection, alone."""
    require_suitable_server(connection)
    take_turn(connection)
    try:
        partitions = partition_names(connection)
        # Alembic opens a transaction per step; it would join one that is open already.
        connection.commit()
        context.configure(
            connection=connection,
            target_metadata=list(METADATA),
            transaction_per_migration=True,
            compare_server_default=True,
            include_name=lambda name, kind, _: kind != "table" or name not in partitions,
        )
        with context.begin_transaction():
            context.run_migrations()
        connection.commit()
    finally:
        end_turn(connection)


def require_suitable_server(connection: Connection) -> None:
    number = connection.scalar(select(func.current_setting("server_version_num")))
    version = int(number or 0) // 10_000
    if version < OLDEST_SERVER:
        raise CommandError(f"PostgreSQL {version} is too old; {OLDEST_SERVER} or newer is needed")
    encoding = connection.scalar(select(func.current_setting("server_encoding")))
    if encoding != "UTF8":
        raise CommandError(f"the database's encoding is {encoding}; create it with ENCODING 'UTF8'")


def take_turn(connection: Connection) -> None:
    # Of the session, since every step commits. Locks of tables must not queue long in front of live
    # traffic, but waiting for another migrator may take as long as a migration.
    set_lock_timeout(connection, WAIT_FOR_OTHERS_MS)
    connection.execute(select(func.pg_advisory_lock(ADVISORY_LOCK)))
    set_lock_timeout(connection, LOCK_TIMEOUT_MS)


def end_turn(connection: Connection) -> None:
    if connection.invalidated:
        return
    connection.rollback()
    connection.execute(select(func.pg_advisory_unlock(ADVISORY_LOCK)))
    connection.commit()


def set_lock_timeout(connection: Connection, milliseconds: int) -> None:
    is_local = False
    connection.execute(select(func.set_config("lock_timeout", str(milliseconds), is_local)))


def partition_names(connection: Connection) -> frozenset[str]:
    """Partitions come and go with the days; they follow their parents and are no drift."""
    pg_class = table("pg_class", column("relname"), column("relispartition"))
    names = connection.scalars(select(pg_class.c.relname).where(pg_class.c.relispartition))
    return frozenset(names)


async def connect_and_migrate() -> None:
    """For the `alembic` command, which brings no connection along."""
    dsn = context.get_x_argument(as_dictionary=True).get("dsn")
    dsn = dsn or os.environ.get("TOLLWAY_DATABASE_URL")
    if not dsn:
        raise CommandError("set TOLLWAY_DATABASE_URL, or give -x dsn=postgresql://…")
    engine = make_engine(
        dsn, application_name="alembic", pool_size=1, command_timeout_s=None, statement_timeout_s=0
    )
    try:
        async with engine.connect() as connection:
            await connection.run_sync(migrate)
    finally:
        await engine.dispose()


if context.is_offline_mode():
    raise CommandError("migrations need a database; --sql is not supported")
given = context.config.attributes.get("connection")
if given is None:
    asyncio.run(connect_and_migrate())
else:
    migrate(given)
