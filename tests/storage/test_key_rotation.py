"""Rotating a key: its new secret works, its old one for as long as was chosen."""

from collections.abc import AsyncIterator, Callable
from datetime import UTC, datetime, timedelta

import pytest
from anyio.to_thread import run_sync as in_thread
from sqlalchemy import select, text, update

import migrations
from gateway.domain.caller import Caller
from gateway.domain.keys import digest_key, parse_key
from gateway.domain.wishes import WishError
from gateway.storage.asking import Asker
from gateway.storage.key_issue import LONGEST_OVERLAP, KeyWish, issue_key, reissue_key
from gateway.storage.keys import StoredKey, last_uses, load_callers, revoke_key
from gateway.storage.tables import audit_entry, key_retiring
from tests.storage.samples import NOW

pytestmark = pytest.mark.anyio

PEPPER = b"pepper"
DAY = timedelta(days=1)


@pytest.fixture
async def ask(anyio_backend: str, postgres_dsn: Callable[..., str]) -> AsyncIterator[Asker]:
    dsn = postgres_dsn()
    await in_thread(migrations.upgrade, dsn)
    asker = Asker(dsn, within_s=10.0, application_name="tests")
    yield asker
    await asker.aclose()


async def issue(ask: Asker, **wish: object) -> tuple[StoredKey, str]:
    return await ask(
        lambda c: issue_key(c, KeyWish(name="k", **wish), pepper=PEPPER, actor="tests")  # pyright: ignore[reportArgumentType] - checked by the struct
    )


async def rotate(ask: Asker, kid: str, overlap: timedelta = DAY) -> tuple[StoredKey, str]:
    found = await ask(lambda c: reissue_key(c, kid, overlap=overlap, pepper=PEPPER, actor="tests"))
    assert found is not None
    return found


async def callers(ask: Asker) -> dict[bytes, Caller]:
    return dict(await ask(load_callers))


async def test_both_secrets_stand_for_the_key_and_the_old_one_ends(ask: Asker) -> None:
    key, old = await issue(ask, labels={"team": "search"})
    began = datetime.now(UTC)

    rotated, new = await rotate(ask, key.kid)

    assert new != old
    parsed = parse_key(new)
    assert parsed is not None
    assert (parsed.kid, parsed.last4) == (key.kid, rotated.last4)
    found = await callers(ask)
    by_old, by_new = found[digest_key(old, PEPPER)], found[digest_key(new, PEPPER)]
    assert by_old.key_id == by_new.key_id == key.id
    assert by_old.labels == {"team": "search"}
    assert by_new.expires_at is None
    assert by_old.expires_at is not None
    assert timedelta(0) <= by_old.expires_at - began - DAY < timedelta(minutes=1)


async def test_there_are_never_more_than_two_secrets(ask: Asker) -> None:
    key, first = await issue(ask)
    _, second = await rotate(ask, key.kid)
    _, third = await rotate(ask, key.kid)

    assert set(await callers(ask)) == {digest_key(second, PEPPER), digest_key(third, PEPPER)}
    assert digest_key(first, PEPPER) not in await callers(ask)


async def test_without_overlap_the_old_secret_ends_at_once(ask: Asker) -> None:
    key, old = await issue(ask)
    _, new = await rotate(ask, key.kid, timedelta(0))

    assert set(await callers(ask)) == {digest_key(new, PEPPER)}
    assert digest_key(old, PEPPER) not in await callers(ask)


async def test_a_secret_whose_time_is_over_is_not_loaded(ask: Asker) -> None:
    key, _ = await issue(ask)
    _, new = await rotate(ask, key.kid)
    await ask(lambda c: c.execute(update(key_retiring).values(expires_at=NOW)))

    assert set(await callers(ask)) == {digest_key(new, PEPPER)}


async def test_an_old_secret_does_not_outlive_its_key(ask: Asker) -> None:
    ends = datetime.now(UTC) + timedelta(hours=1)
    key, old = await issue(ask, expires_at=ends)
    await rotate(ask, key.kid)
    assert (await callers(ask))[digest_key(old, PEPPER)].expires_at == ends

    await ask(lambda c: revoke_key(c, key.kid, at=datetime.now(UTC), actor="tests"))

    assert await callers(ask) == {}
    with pytest.raises(WishError, match="was revoked"):
        await rotate(ask, key.kid)


async def test_no_secret_stands_in_the_database_and_the_change_is_audited(ask: Asker) -> None:
    key, old = await issue(ask)
    _, new = await rotate(ask, key.kid)

    dump = await ask(
        lambda c: c.scalar(
            text(
                "SELECT string_agg(t, '') FROM (SELECT api_key::text AS t FROM api_key UNION ALL "
                "SELECT key_retiring::text FROM key_retiring UNION ALL "
                "SELECT audit_entry::text FROM audit_entry) AS everything"
            )
        )
    )
    for secret in (old, new):
        assert secret not in str(dump)
        assert secret[14:46] not in str(dump)
    entries = await ask(
        lambda c: c.execute(select(audit_entry).where(audit_entry.c.action == "key.rotate"))
    )
    entry = entries.mappings().one()
    assert entry["before"]["last4"] == old[-4:]
    assert entry["after"]["last4"] == new[-4:]


async def test_what_cannot_be_rotated(ask: Asker) -> None:
    key, _ = await issue(ask)
    for kid in ("nobody00", "schlüssel"):
        assert (
            await ask(
                lambda c, kid=kid: reissue_key(c, kid, overlap=DAY, pepper=PEPPER, actor="tests")
            )
            is None
        )
    with pytest.raises(WishError, match="overlap_s"):
        await rotate(ask, key.kid, LONGEST_OVERLAP + DAY)


async def test_a_key_that_was_never_used_has_no_last_use(ask: Asker) -> None:
    await issue(ask)

    assert await ask(last_uses) == {}
