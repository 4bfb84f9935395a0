"""Keys over the admin API: create (shown once), find, change, rotate, revoke."""

from datetime import UTC, datetime, timedelta
from typing import Annotated

import msgspec
from litestar import delete, get, patch, post
from litestar.handlers import HTTPRouteHandler
from litestar.params import JSONBody, Parameter, QueryParameter
from msgspec import Meta

from gateway.api.admin.desk import ask_database, not_found
from gateway.api.roles import AdminRequest, needs
from gateway.domain.errors import GatewayError
from gateway.domain.wishes import WishError
from gateway.storage.asking import Asker
from gateway.storage.engine import Connection
from gateway.storage.key_changes import KeyChange, KeyState, change_key, find_key, page_keys
from gateway.storage.key_issue import LONGEST_OVERLAP, KeyWish, issue_key, reissue_key
from gateway.storage.keys import StoredKey, revoke_key


class CreatedKey(msgspec.Struct, frozen=True, kw_only=True):
    """A key that was just made."""

    key: StoredKey
    text: str
    """The key itself; it is kept nowhere and cannot be shown again."""


class Rotation(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """For how long a key's old secret works beside its new one."""

    overlap_s: Annotated[int, Meta(ge=0, le=int(LONGEST_OVERLAP.total_seconds()))] = 86_400


class KeyPage(msgspec.Struct, frozen=True, kw_only=True):
    """Keys, newest first."""

    data: list[StoredKey]
    next_after: str | None = None
    """For ``after``, to read on; None at the end."""


Kid = Annotated[str, Parameter(description="the public part of the key", max_length=64)]
_MOST = 500


def admin_key_routes(ask: Asker, pepper: bytes) -> list[HTTPRouteHandler]:
    """``/admin/keys``."""

    @post("/admin/keys", operation_id="createKey", tags=["keys"], opt=needs("owner"))
    async def create(request: AdminRequest, data: JSONBody[KeyWish]) -> CreatedKey:
        """Make a key. Its text is in this answer and nowhere else."""

        async def make(connection: Connection) -> tuple[StoredKey, str]:
            try:
                return await issue_key(connection, data, pepper=pepper, actor=request.user.name)
            except ValueError as exc:
                raise WishError(str(exc)) from exc

        stored, text = await ask_database(ask, make)
        return CreatedKey(key=stored, text=text)

    @get("/admin/keys", operation_id="listKeys", tags=["keys"], opt=needs("auditor"))
    async def show(
        limit: Annotated[int, Parameter(ge=1, le=_MOST)] = 100,
        after: Annotated[
            str | None,
            Parameter(description="only keys older than the one of this `kid`", max_length=64),
        ] = None,
        search: Annotated[
            str,
            Parameter(
                description="words that are all in the name, the `kid`, the end of the text or "
                "in `label=value`",
                max_length=200,
            ),
        ] = "",
        standing: Annotated[
            KeyState, QueryParameter(name="state", description="`ended` is revoked or expired")
        ] = "all",
    ) -> KeyPage:
        """Keys, newest first, revoked and expired ones included; never their text."""

        async def look(connection: Connection) -> KeyPage:
            found = await page_keys(
                connection, limit=limit + 1, after=after, search=search, state=standing
            )
            has_more = len(found) > limit
            return KeyPage(
                data=found[:limit], next_after=found[limit - 1].kid if has_more else None
            )

        return await ask_database(ask, look)

    @get("/admin/keys/{kid:str}", operation_id="getKey", tags=["keys"], opt=needs("auditor"))
    async def show_one(kid: Kid) -> StoredKey:
        """One key, revoked or expired ones too; never its text."""
        return _found(await ask_database(ask, lambda connection: find_key(connection, kid)), kid)

    @patch("/admin/keys/{kid:str}", operation_id="changeKey", tags=["keys"], opt=needs("owner"))
    async def change(request: AdminRequest, kid: Kid, data: JSONBody[KeyChange]) -> StoredKey:
        """Change what a key may do, and until when; every gateway process follows within a second.

        What is left out stays. Requests that are open keep what they began with. The id and the
        secret stay; a revoked key cannot be changed.
        """
        at = datetime.now(UTC)
        changed = await ask_database(
            ask,
            lambda connection: change_key(connection, kid, data, at=at, actor=request.user.name),
        )
        return _found(changed, kid)

    @post(
        "/admin/keys/{kid:str}/rotate",
        operation_id="rotateKey",
        tags=["keys"],
        status_code=200,
        opt=needs("owner"),
    )
    async def rotate(
        request: AdminRequest,
        kid: Kid,
        data: JSONBody[Rotation],
    ) -> CreatedKey:
        """Give a key another secret, told here alone; the old one works on for a while."""
        found = await ask_database(
            ask,
            lambda connection: reissue_key(
                connection,
                kid,
                overlap=timedelta(seconds=data.overlap_s),
                pepper=pepper,
                actor=request.user.name,
            ),
        )
        if found is None:
            raise _missing(kid)
        return CreatedKey(key=found[0], text=found[1])

    @delete(
        "/admin/keys/{kid:str}",
        operation_id="revokeKey",
        tags=["keys"],
        status_code=200,
        opt=needs("owner"),
    )
    async def revoke(
        request: AdminRequest,
        kid: Kid,
        *,
        end_requests: Annotated[
            bool,
            Parameter(description="end its open requests, too, instead of letting them finish"),
        ] = False,
    ) -> StoredKey:
        """Revoke a key for good; every gateway process knows within a second."""
        at = datetime.now(UTC)
        revoked = await ask_database(
            ask,
            lambda connection: revoke_key(
                connection, kid, at=at, actor=request.user.name, ends_requests=end_requests
            ),
        )
        return _found(revoked, kid)

    return [create, show, show_one, change, rotate, revoke]


def _found(key: StoredKey | None, kid: str) -> StoredKey:
    if key is None:
        raise _missing(kid)
    return key


def _missing(kid: str) -> GatewayError:
    return not_found(f"key {kid!r}", "GET /admin/keys", code="key_not_found")
