"""What a new key may be, and that its text is kept nowhere."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

from gateway.domain.keys import digest_key, parse_key
from gateway.storage.key_issue import KeyWish, count_keys, issue_key
from gateway.storage.keys import list_keys, load_callers

pytestmark = pytest.mark.anyio
PEPPER = b"pepper"


async def issue(connection: AsyncConnection, **wish: Any) -> tuple[Any, str]:
    values: dict[str, Any] = {"name": "one"} | wish
    return await issue_key(connection, KeyWish(**values), pepper=PEPPER, actor="tests")


async def test_an_issued_key_is_stored_as_wished_and_its_text_is_not(
    connection: AsyncConnection,
) -> None:
    expires_at = datetime.now(UTC) + timedelta(days=1)
    wish = {
        "labels": {"team": "one"},
        "allowed_models": ("acme/*",),
        "allowed_providers": ("alpha",),
        "provider_configs_origins": ("https://api.example.com:8443",),
        "default_model": "acme/large",
        "slash_pins_provider": False,
        "expires_at": expires_at,
    }
    stored, shown = await issue(connection, **wish)

    parsed = parse_key(shown)
    assert parsed is not None
    assert (stored.kid, stored.last4, stored.created_by) == (parsed.kid, parsed.last4, "tests")
    assert {name: getattr(stored, name) for name in wish} == wish
    callers = dict(await load_callers(connection))
    assert callers[digest_key(shown, PEPPER)].allowed_models == ("acme/*",)
    for table in ("api_key", "audit_entry"):
        rows = await connection.execute(text(f"SELECT row_to_json({table})::text FROM {table}"))
        assert not any(shown[14:46] in row for (row,) in rows)


async def test_keys_are_counted_with_those_made_before(connection: AsyncConnection) -> None:
    assert await count_keys(connection) == 0
    keys = {(await issue(connection))[1] for _ in range(3)}

    assert len(keys) == 3
    assert await count_keys(connection) == 3
    assert len(await list_keys(connection)) == 3


@pytest.mark.parametrize(
    ("wish", "field"),
    [
        ({"name": ""}, "name"),
        ({"name": "   "}, "name"),
        ({"name": "n" * 129}, "name"),
        ({"name": "nul\0"}, "name"),
        ({"labels": {"": "x"}}, "labels"),
        ({"labels": {"team=a": "x"}}, "labels"),
        ({"labels": {"l" * 65: "x"}}, "labels"),
        ({"labels": {"team": "x" * 257}}, "labels"),
        ({"labels": {"team": "nul\0"}}, "labels"),
        ({"labels": {str(number): "x" for number in range(33)}}, "labels"),
        ({"default_model": "nul\0"}, "default_model"),
        ({"allowed_models": ("nul\0",)}, "allowed_models"),
        ({"allowed_providers": ("",)}, "allowed_providers"),
        ({"provider_configs_origins": ("api.example.com",)}, "provider_configs_origins"),
        ({"provider_configs_origins": ("https://a.example/v1",)}, "provider_configs_origins"),
        ({"provider_configs_origins": ("https://u@a.example",)}, "provider_configs_origins"),
        ({"expires_at": datetime(2020, 1, 1, tzinfo=UTC)}, "expires_at"),
        ({"expires_at": datetime(2099, 1, 1)}, "expires_at"),  # noqa: DTZ001 - what is tested
    ],
)
async def test_a_wish_that_contradicts_itself_names_the_field(
    connection: AsyncConnection, wish: dict[str, Any], field: str
) -> None:
    with pytest.raises(ValueError, match=f"^{field}"):
        await issue(connection, **wish)
    assert await count_keys(connection) == 0
