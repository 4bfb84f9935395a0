"""Keys over the admin API: create (shown once), list, revoke."""

from datetime import UTC, datetime, timedelta
from typing import Annotated

import msgspec
from litestar import delete, get, post
from litestar.handlers import HTTPRouteHandler
from litestar.params import JSONBody, Parameter
from msgspec import Meta

from gateway.api.admin.desk import ask_database, not_found
from gateway.api.roles import AdminRequest, needs
from gateway.domain.errors import GatewayError, InvalidRequestError, OverloadedError
from gateway.storage.asking import Asker
from gateway.storage.key_issue import LONGEST_OVERLAP, KeyWish, issue_key, reissue_key
from gateway.storage.keys import StoredKey, list_keys, revoke_key
from gateway.storage.waiting import DatabaseUnavailableError


class CreatedKey(msgspec.Struct, frozen=True, kw_only=True):
    """A key that was just made."""

    key: StoredKey
    text: str
    """The key itself; it is kept nowhere and cannot be shown again."""


class Rotation(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """For how long a key's old secret works beside its new one."""

    overlap_s: Annotated[int, Meta(ge=0, le=int(LONGEST_OVERLAP.total_seconds()))] = 86_400


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

    @post(
        "/admin/keys/{kid:str}/rotate",
        operation_id="rotateKey",
        tags=["keys"],
        status_code=200,
        opt=needs("owner"),
    )
    async def rotate(
        request: AdminRequest,
        kid: Annotated[str, Parameter(description="the public part of the key")],
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
            raise not_found(f"key {kid!r}", "GET /admin/keys", code="key_not_found")
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
        kid: Annotated[str, Parameter(description="the public part of the key")],
        *,
        end_requests: Annotated[
            bool,
            Parameter(description="end its open requests, too, instead of letting them finish"),
        ] = False,
    ) -> StoredKey:
        """Revoke a key for good; every gateway process knows within a second."""
        try:
            revoked = await ask(
                lambda connection: revoke_key(
                    connection,
                    kid,
                    at=datetime.now(UTC),
                    actor=request.user.name,
                    ends_requests=end_requests,
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

    return [create, show, rotate, revoke]


def _away() -> OverloadedError:
    return OverloadedError(
        "the database does not answer; try again", code="database_unavailable", retry_after_s=5
    )
