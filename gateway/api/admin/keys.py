"""Keys over the admin API: create (shown once), list, revoke."""

from datetime import UTC, datetime
from typing import Annotated

import msgspec
from litestar import delete, get, post
from litestar.handlers import HTTPRouteHandler
from litestar.params import JSONBody, Parameter

from gateway.api.roles import AdminRequest, needs
from gateway.domain.errors import GatewayError, InvalidRequestError, OverloadedError
from gateway.storage.asking import Asker
from gateway.storage.key_issue import KeyWish, issue_key
from gateway.storage.keys import StoredKey, list_keys, revoke_key
from gateway.storage.waiting import DatabaseUnavailableError


class CreatedKey(msgspec.Struct, frozen=True, kw_only=True):
    """A key that was just made."""

    key: StoredKey
    text: str
    """The key itself; it is kept nowhere and cannot be shown again."""


class KeyList(msgspec.Struct, frozen=True, kw_only=True):
    """Every key, oldest first."""

    data: list[StoredKey]


def admin_key_routes(ask: Asker, pepper: bytes) -> list[HTTPRouteHandler]:
    """``/admin/keys``."""

    @post("/admin/keys", operation_id="createKey", tags=["keys"], opt=needs("owner"))
    async def create(request: AdminRequest, data: JSONBody[KeyWish]) -> CreatedKey:
        """Make a key. Its text is in this answer and nowhere else."""
        try:
            stored, text = await ask(
                lambda connection: issue_key(
                    connection, data, pepper=pepper, actor=request.user.name
                )
            )
        except ValueError as exc:
            raise InvalidRequestError(str(exc), param=str(exc).partition(":")[0]) from exc
        except DatabaseUnavailableError as exc:
            raise _away() from exc
        return CreatedKey(key=stored, text=text)

    @get("/admin/keys", operation_id="listKeys", tags=["keys"], opt=needs("auditor"))
    async def show() -> KeyList:
        """Every key, revoked and expired ones included; never their text."""
        try:
            return KeyList(data=await ask(list_keys))
        except DatabaseUnavailableError as exc:
            raise _away() from exc

    @delete(
        "/admin/keys/{kid:str}",
        operation_id="revokeKey",
        tags=["keys"],
        status_code=200,
        opt=needs("owner"),
    )
    async def revoke(
        request: AdminRequest,
        kid: Annotated[str, Parameter(description="the public part of the key")],
    ) -> StoredKey:
        """Revoke a key for good; every gateway process knows within a second."""
        try:
            revoked = await ask(
                lambda connection: revoke_key(
                    connection, kid, at=datetime.now(UTC), actor=request.user.name
                )
            )
        except DatabaseUnavailableError as exc:
            raise _away() from exc
        if revoked is None:
            raise GatewayError(
                f"there is no key {kid!r}; GET /admin/keys lists them",
                status=404,
                kind="invalid_request_error",
                code="key_not_found",
            )
        return revoked

    return [create, show, revoke]


def _away() -> OverloadedError:
    return OverloadedError(
        "the database does not answer; try again", code="database_unavailable", retry_after_s=5
    )
