import asyncio
from datetime import timedelta
from uuid import UUID

import pytest
from sqlalchemy import select
from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncConnection

from gateway.domain.caller import Caller
from gateway.domain.keys import digest_key
from gateway.storage.changes import CONFIG_CHANNEL, KEYS, read_epoch, record_change
from gateway.storage.engine import asyncpg_kwargs, connect_raw
from gateway.storage.keys import insert_key, list_keys, load_callers, revoke_key
from gateway.storage.tables import audit_entry
from tests.storage.samples import KEY_ID, NOW, engine_of, make_stored_key

DIGEST = digest_key("a key", b"pepper")
OTHER_DIGEST = digest_key("another key", b"pepper")


@pytest.mark.anyio
async def test_a_key_is_loaded_as_the_caller_it_was_made_for(connection: AsyncConnection) -> None:
    key = make_stored_key(
        labels={"team": "one"},
        allowed_models=("openai/*",),
        allowed_providers=("openai", "azure"),
        default_model="openai/gpt-4o",
        slash_pins_provider=False,
        has_hard_budget=True,
        expires_at=NOW,
    )

    await insert_key(connection, key, digest=DIGEST)

    assert await list_keys(connection) == [key]
    assert await load_callers(connection) == [
        (
            DIGEST,
            Caller(
                key_id=KEY_ID,
                kid="01234567",
                name="team one",
                labels={"team": "one"},
                allowed_models=("openai/*",),
                allowed_providers=("openai", "azure"),
                default_model="openai/gpt-4o",
                slash_pins_provider=False,
                has_hard_budget=True,
                expires_at=NOW,
            ),
        )
    ]


@pytest.mark.anyio
async def test_a_revoked_key_is_listed_but_not_loaded(connection: AsyncConnection) -> None:
    await insert_key(connection, make_stored_key(), digest=DIGEST)
    await insert_key(connection, make_stored_key(id=UUID(int=2), kid="b"), digest=OTHER_DIGEST)

    revoked = await revoke_key(connection, "01234567", at=NOW, actor="owner")

    assert revoked == make_stored_key(revoked_at=NOW)
    assert [key.revoked_at for key in await list_keys(connection)] == [NOW, None]
    assert [digest for digest, _ in await load_callers(connection)] == [OTHER_DIGEST]


@pytest.mark.anyio
async def test_a_key_is_revoked_once_and_an_unknown_one_not_at_all(
    connection: AsyncConnection,
) -> None:
    await insert_key(connection, make_stored_key(), digest=DIGEST)
    first = await revoke_key(connection, "01234567", at=NOW, actor="owner")
    epoch = await read_epoch(connection)

    again = await revoke_key(
        connection, "01234567", at=NOW + timedelta(days=1), actor="somebody else"
    )

    assert again == first
    assert await revoke_key(connection, "unknown", at=NOW, actor="owner") is None
    assert await read_epoch(connection) == epoch


@pytest.mark.anyio
async def test_every_change_raises_the_epoch_and_is_audited_without_the_digest(
    connection: AsyncConnection,
) -> None:
    assert await read_epoch(connection) == 0

    epoch = await insert_key(connection, make_stored_key(), digest=DIGEST)
    await revoke_key(connection, "01234567", at=NOW, actor="admin")

    entries = (
        (await connection.execute(select(audit_entry).order_by(audit_entry.c.id))).mappings().all()
    )
    assert epoch == 1
    assert await read_epoch(connection) == 2
    assert [(entry["actor"], entry["action"], entry["subject"]) for entry in entries] == [
        ("owner", "key.create", "01234567"),
        ("admin", "key.revoke", "01234567"),
    ]
    assert entries[0]["before"] is None
    assert entries[0]["after"]["name"] == "team one"
    assert "digest" not in entries[0]["after"]
    assert entries[1]["after"]["revoked_at"] == "2026-11-21T10:30:00Z"


@pytest.mark.anyio
async def test_a_kid_cannot_be_used_twice_and_the_error_does_not_show_the_digest(
    connection: AsyncConnection,
) -> None:
    await insert_key(connection, make_stored_key(), digest=DIGEST)

    with pytest.raises(IntegrityError) as caught:
        await insert_key(connection, make_stored_key(id=UUID(int=2)), digest=OTHER_DIGEST)

    assert "uq_api_key_kid" in str(caught.value)
    assert OTHER_DIGEST.hex() not in str(caught.value)
    assert repr(OTHER_DIGEST) not in str(caught.value)


@pytest.mark.anyio
async def test_listeners_hear_of_a_change_when_it_is_committed(
    anyio_backend: str, dsn: str
) -> None:
    heard: asyncio.Queue[str] = asyncio.Queue()
    listener = await connect_raw(asyncpg_kwargs(dsn))
    await listener.add_listener(CONFIG_CHANNEL, lambda *message: heard.put_nowait(message[-1]))
    engine = engine_of(dsn)

    async with engine.begin() as connection:
        epoch = await record_change(
            connection, KEYS, at=NOW, actor="owner", action="key.create", subject="x"
        )
        assert heard.empty()
    announced = await asyncio.wait_for(heard.get(), 10)

    await engine.dispose()
    await listener.close()
    assert announced == f"keys:{epoch}"
