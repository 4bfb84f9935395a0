"""Changes what a key may do, and finds keys page by page."""

from datetime import datetime
from typing import Any, Literal

import msgspec
from msgspec import UNSET, UnsetType
from sqlalchemy import ColumnElement, Text, cast, func, or_, select, tuple_, update
from sqlalchemy.ext.asyncio import AsyncConnection

from gateway.domain.wishes import WishError
from gateway.storage.access_tables import api_key
from gateway.storage.changes import KEYS, record_change
from gateway.storage.key_issue import KeyWish, check_expiry, check_wish
from gateway.storage.keys import PUBLIC_COLUMNS, StoredKey, audited_key, stored_key

KeyState = Literal["working", "ended", "all"]

_LISTS = {"allowed_models", "allowed_providers", "provider_configs_origins"}
_MOST_WORDS = 8


class KeyChange(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What should be otherwise about a key; what is left out stays.

    Its id, its secret (see rotation) and who made it stay for good.
    """

    name: str | UnsetType = UNSET
    labels: dict[str, str] | UnsetType = UNSET
    """All of them: what is not named is gone."""
    allowed_models: tuple[str, ...] | UnsetType = UNSET
    """Empty is every model."""
    allowed_providers: tuple[str, ...] | UnsetType = UNSET
    """Empty is every enabled provider."""
    default_model: str | UnsetType | None = UNSET
    slash_pins_provider: bool | UnsetType | None = UNSET
    """None goes by the installation."""
    provider_configs_origins: tuple[str, ...] | UnsetType = UNSET
    requests_per_minute: int | UnsetType | None = UNSET
    tokens_per_minute: int | UnsetType | None = UNSET
    concurrency: int | UnsetType | None = UNSET
    """None of each is no limit."""
    expires_at: datetime | UnsetType | None = UNSET
    """Aware and to come; None is never. It lets an expired key work again."""

    def given(self) -> dict[str, Any]:
        """What should be otherwise, by field."""
        fields = {field: getattr(self, field) for field in self.__struct_fields__}
        return {field: value for field, value in fields.items() if value is not UNSET}


async def change_key(
    connection: AsyncConnection, kid: str, change: KeyChange, *, at: datetime, actor: str
) -> StoredKey | None:
    """Change a key; None when there is none of that `kid`. Nothing is recorded of no change.

    Requests that are open keep what they began with. What was spent stays with the labels of then.

    Raises:
        WishError: the key was revoked, or cannot be so; the message begins with the field.
    """
    given = change.given()
    if "\0" in kid:
        return None
    rows = await connection.execute(
        select(*PUBLIC_COLUMNS).where(api_key.c.kid == kid).with_for_update()
    )
    row = rows.mappings().one_or_none()
    if row is None:
        return None
    before = stored_key(row)
    if before.revoked_at is not None:
        raise WishError(f"kid: the key {kid!r} was revoked, which is for good; make a new one")
    after = msgspec.structs.replace(before, **given)
    if after == before:
        return before
    try:
        check_wish(KeyWish(**{name: getattr(after, name) for name in KeyWish.__struct_fields__}))
        if after.expires_at != before.expires_at:
            check_expiry(after.expires_at, at)
    except ValueError as exc:
        raise WishError(str(exc)) from exc
    values = {field: list(given[field]) if field in _LISTS else given[field] for field in given}
    await connection.execute(update(api_key).where(api_key.c.id == before.id).values(**values))
    await record_change(
        connection,
        KEYS,
        at=at,
        actor=actor,
        action="key.change",
        subject=kid,
        before=audited_key(before),
        after=audited_key(after),
    )
    return after


async def page_keys(
    connection: AsyncConnection,
    *,
    limit: int,
    after: str | None = None,
    search: str = "",
    state: KeyState = "all",
) -> list[StoredKey]:
    """Keys newest first, ended ones included unless the state says otherwise.

    Args:
        connection: of the database.
        limit: how many at most.
        after: only those that are older than the key with this `kid`.
        search: every word of it is in the name, the `kid`, the end of the text, or ``label=value``.
        state: ``working`` is neither revoked nor expired by the clock of the database.

    Raises:
        WishError: there is no key to read on from.
    """
    chosen = select(*PUBLIC_COLUMNS).where(
        *map(_has, search.replace("\0", "").split()[:_MOST_WORDS])
    )
    is_over = or_(api_key.c.revoked_at.is_not(None), api_key.c.expires_at <= func.now())
    if state == "ended":
        chosen = chosen.where(is_over)
    elif state == "working":
        chosen = chosen.where(is_over.is_not(True))
    if after is not None:
        last = await find_key(connection, after)
        if last is None:
            raise WishError(f"after: there is no key {after!r}; begin without it")
        chosen = chosen.where(
            tuple_(api_key.c.created_at, api_key.c.kid) < (last.created_at, last.kid)
        )
    rows = await connection.execute(
        chosen.order_by(api_key.c.created_at.desc(), api_key.c.kid.desc()).limit(limit)
    )
    return [stored_key(row) for row in rows.mappings()]


async def find_key(connection: AsyncConnection, kid: str) -> StoredKey | None:
    """The key of that `kid`; None when there is none."""
    if "\0" in kid:
        return None
    rows = await connection.execute(select(*PUBLIC_COLUMNS).where(api_key.c.kid == kid))
    row = rows.mappings().one_or_none()
    return None if row is None else stored_key(row)


def _has(word: str) -> ColumnElement[bool]:
    pair = func.jsonb_each_text(api_key.c.labels).table_valued("key", "value", name="pair")
    is_label = select(pair.c.key).where(
        func.concat(pair.c.key, "=", pair.c.value).icontains(word, autoescape=True)
    )
    columns = (api_key.c.name, api_key.c.kid, api_key.c.last4)
    return or_(
        *(cast(column, Text).icontains(word, autoescape=True) for column in columns),
        is_label.exists(),
    )
