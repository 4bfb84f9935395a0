"""What may change of a key after it was made, and how keys are found page by page."""

from collections.abc import AsyncIterator, Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec
import pytest
from anyio.to_thread import run_sync as in_thread
from sqlalchemy import select

import migrations
from gateway.domain.keys import digest_key
from gateway.domain.wishes import WishError
from gateway.storage.asking import Asker
from gateway.storage.key_changes import KeyChange, change_key, find_key, page_keys
from gateway.storage.key_issue import KeyWish, issue_key
from gateway.storage.keys import StoredKey, load_callers, revoke_key
from gateway.storage.tables import audit_entry

pytestmark = pytest.mark.anyio

PEPPER = b"pepper"
WORKING_AGAIN = datetime.now(UTC) + timedelta(days=1)


@pytest.fixture
async def ask(anyio_backend: str, postgres_dsn: Callable[..., str]) -> AsyncIterator[Asker]:
    dsn = postgres_dsn()
    await in_thread(migrations.upgrade, dsn)
    asker = Asker(dsn, within_s=10.0, application_name="tests")
    yield asker
    await asker.aclose()


async def issue(ask: Asker, name: str = "k", **wish: object) -> tuple[StoredKey, str]:
    return await ask(
        lambda c: issue_key(c, KeyWish(name=name, **wish), pepper=PEPPER, actor="tests")  # pyright: ignore[reportArgumentType] - checked by the struct
    )


async def change(ask: Asker, kid: str, **what: Any) -> StoredKey | None:
    wished = msgspec.convert(what, KeyChange)
    at = datetime.now(UTC)
    return await ask(lambda c: change_key(c, kid, wished, at=at, actor="ada"))


async def test_what_is_named_changes_for_both_callers_and_operators_and_the_rest_stays(
    ask: Asker,
) -> None:
    key, text = await issue(
        ask,
        labels={"team": "one"},
        requests_per_minute=5,
        tokens_per_minute=7,
        allowed_models=("a",),
    )

    changed = await change(
        ask,
        key.kid,
        labels={"team": "two", "env": "prod"},
        requests_per_minute=None,
        allowed_models=(),
        allowed_providers=("openai",),
        slash_pins_provider=False,
        provider_configs_origins=("https://api.example.com",),
    )

    assert changed == msgspec.structs.replace(
        key,
        labels={"team": "two", "env": "prod"},
        requests_per_minute=None,
        allowed_models=(),
        allowed_providers=("openai",),
        slash_pins_provider=False,
        provider_configs_origins=("https://api.example.com",),
    )
    assert await ask(lambda c: find_key(c, key.kid)) == changed
    caller = dict(await ask(load_callers))[digest_key(text, PEPPER)]
    assert caller.labels == {"team": "two", "env": "prod"}
    assert (caller.requests_per_minute, caller.tokens_per_minute) == (None, 7)
    assert (caller.allowed_models, caller.allowed_providers) == ((), ("openai",))


async def test_the_audit_log_has_the_key_before_and_after(ask: Asker) -> None:
    key, text = await issue(ask, requests_per_minute=5)
    await change(ask, key.kid, requests_per_minute=6)
    await change(ask, key.kid, requests_per_minute=6)

    rows = await ask(
        lambda c: c.execute(select(audit_entry).where(audit_entry.c.action == "key.change"))
    )

    (entry,) = rows.mappings().all()
    assert (entry["actor"], entry["subject"]) == ("ada", key.kid)
    assert entry["before"]["requests_per_minute"] == 5
    assert entry["after"] == entry["before"] | {"requests_per_minute": 6}
    assert text[12:] not in str(entry)


@pytest.mark.parametrize(
    ("what", "field"),
    [
        ({"name": " "}, "name"),
        ({"labels": {"": "x"}}, "labels."),
        ({"requests_per_minute": 0}, "requests_per_minute"),
        ({"provider_configs_origins": ("api.example.com",)}, "provider_configs_origins"),
        ({"expires_at": datetime(2020, 1, 1, tzinfo=UTC)}, "expires_at"),
        ({"expires_at": datetime(2036, 1, 1)}, "expires_at"),  # noqa: DTZ001 - without a zone
    ],
)
async def test_what_cannot_be_names_its_field_and_changes_nothing(
    ask: Asker, what: dict[str, Any], field: str
) -> None:
    key, _ = await issue(ask)

    with pytest.raises(WishError) as told:
        await change(ask, key.kid, **what)

    assert told.value.field == field
    assert await ask(lambda c: find_key(c, key.kid)) == key


async def test_a_revoked_key_stays_as_it_is(ask: Asker) -> None:
    key, _ = await issue(ask)
    await ask(lambda c: revoke_key(c, key.kid, at=datetime.now(UTC), actor="tests"))

    with pytest.raises(WishError, match="was revoked"):
        await change(ask, key.kid, expires_at=WORKING_AGAIN)


async def test_an_expired_key_works_again_with_a_later_end_and_else_keeps_its_own(
    ask: Asker,
) -> None:
    ends = datetime.now(UTC) + timedelta(days=1)
    key, _ = await issue(ask, expires_at=ends)
    late = ends + timedelta(days=1)

    async def rename(connection: Any) -> StoredKey | None:
        return await change_key(connection, key.kid, KeyChange(name="b"), at=late, actor="ada")

    renamed = await ask(rename)
    assert renamed is not None
    assert renamed.expires_at == ends
    again = await change(ask, key.kid, expires_at=None)
    assert again is not None
    assert again.expires_at is None


async def test_no_key_is_changed_where_there_is_none(ask: Asker) -> None:
    assert await change(ask, "nothing1", name="x") is None
    assert await change(ask, "no\0thing", name="x") is None


async def test_pages_hold_every_key_once_newest_first(ask: Asker) -> None:
    made = [(await issue(ask, f"key {number}"))[0].kid for number in range(7)]

    seen: list[str] = []
    after: str | None = None
    while True:
        page = await ask(lambda c, after=after: page_keys(c, limit=3, after=after))
        seen += [key.kid for key in page]
        if len(page) < 3:
            break
        after = page[-1].kid

    assert seen == made[::-1]
    with pytest.raises(WishError, match="after: "):
        await ask(lambda c: page_keys(c, limit=3, after="nothing1"))


@pytest.mark.parametrize(
    ("search", "expected"),
    [
        ("SEARCH prod", ["search prod"]),
        ("team=search", ["search prod"]),
        ("100%", ["100%_\\ key"]),
        ("_\\", ["100%_\\ key"]),
        ("nothing", []),
        ("a\0b", []),
        ("", ["100%_\\ key", "other", "search prod"]),
    ],
)
async def test_every_word_is_searched_for_as_it_stands(
    ask: Asker, search: str, expected: list[str]
) -> None:
    await issue(ask, "search prod", labels={"team": "search"})
    await issue(ask, "other", labels={"team": "growth"})
    await issue(ask, "100%_\\ key")

    found = await ask(lambda c: page_keys(c, limit=10, search=search))

    # An id may hold what is searched for by chance, but never three letters and a space.
    assert [key.name for key in found] == expected


async def test_states_part_keys_that_work_from_those_that_ended(ask: Asker) -> None:
    working, _ = await issue(ask, "working")
    ended, _ = await issue(ask, "ended")
    await ask(lambda c: revoke_key(c, ended.kid, at=datetime.now(UTC), actor="tests"))

    found = {
        "working": await ask(lambda c: page_keys(c, limit=10, state="working")),
        "ended": await ask(lambda c: page_keys(c, limit=10, state="ended")),
    }

    assert [key.kid for key in found["working"]] == [working.kid]
    assert [key.kid for key in found["ended"]] == [ended.kid]
