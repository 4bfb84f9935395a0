"""Users over the admin API: for owners alone."""

from datetime import UTC, datetime
from typing import Annotated

import msgspec
from litestar import delete, get, post
from litestar.handlers import HTTPRouteHandler
from litestar.params import JSONBody, Parameter

from gateway.api.admin.desk import ask_database, not_found, refused
from gateway.api.admin.sessions import Password, SessionDesk
from gateway.api.roles import AdminRequest, needs
from gateway.domain.errors import GatewayError
from gateway.domain.principal import Role
from gateway.domain.wishes import WishError
from gateway.storage.asking import Asker
from gateway.storage.passwords import check_name, check_password
from gateway.storage.users import (
    StoredUser,
    create_user,
    list_users,
    revoke_user,
    set_password,
    set_role,
)

Name = Annotated[str, Parameter(description="of the user", max_length=64)]


class UserWish(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A new user."""

    name: str
    role: Role
    password: Password

    def __repr__(self) -> str:
        return f"UserWish({self.name!r}, {self.role!r})"


class RoleWish(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Another role."""

    role: Role


class PasswordWish(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Another password."""

    password: Password

    def __repr__(self) -> str:
        return "PasswordWish()"


class UserList(msgspec.Struct, frozen=True, kw_only=True):
    """Every user, oldest first."""

    data: list[StoredUser]


def admin_user_routes(ask: Asker, desk: SessionDesk) -> list[HTTPRouteHandler]:
    """``/admin/users``."""

    @get("/admin/users", operation_id="listUsers", tags=["users"], opt=needs("owner"))
    async def show() -> UserList:
        """Every user, revoked ones included; never their passwords."""
        return UserList(data=await ask_database(ask, list_users))

    @post("/admin/users", operation_id="createUser", tags=["users"], opt=needs("owner"))
    async def create(request: AdminRequest, data: JSONBody[UserWish]) -> StoredUser:
        """Make a user, who may sign in at once."""
        _check(data.name, data.password)
        hashed = await desk.hash(data.password)
        return await ask_database(
            ask,
            lambda connection: create_user(
                connection,
                name=data.name,
                role=data.role,
                password_hash=hashed,
                at=datetime.now(UTC),
                actor=request.user.name,
            ),
        )

    @post(
        "/admin/users/{name:str}/role",
        operation_id="changeRole",
        tags=["users"],
        status_code=200,
        opt=needs("owner"),
    )
    async def change_role(
        request: AdminRequest, name: Name, data: JSONBody[RoleWish]
    ) -> StoredUser:
        """Give a user another role; it holds for their open sessions too."""
        changed = await ask_database(
            ask,
            lambda connection: set_role(
                connection, name, data.role, at=datetime.now(UTC), actor=request.user.name
            ),
        )
        return _found(changed, name)

    @post(
        "/admin/users/{name:str}/password",
        operation_id="changePassword",
        tags=["users"],
        status_code=200,
        opt=needs("owner"),
    )
    async def change_password(
        request: AdminRequest, name: Name, data: JSONBody[PasswordWish]
    ) -> StoredUser:
        """Give a user another password; their sessions end."""
        _check(name, data.password)
        hashed = await desk.hash(data.password)
        changed = await ask_database(
            ask,
            lambda connection: set_password(
                connection, name, hashed, at=datetime.now(UTC), actor=request.user.name
            ),
        )
        return _found(changed, name)

    @delete(
        "/admin/users/{name:str}",
        operation_id="revokeUser",
        tags=["users"],
        status_code=200,
        opt=needs("owner"),
    )
    async def revoke(request: AdminRequest, name: Name) -> StoredUser:
        """Keep a user out for good; their sessions end at once."""
        revoked = await ask_database(
            ask,
            lambda connection: revoke_user(
                connection, name, at=datetime.now(UTC), actor=request.user.name
            ),
        )
        return _found(revoked, name)

    return [show, create, change_role, change_password, revoke]


def _check(name: str, password: str) -> None:
    try:
        check_name(name)
        check_password(password, name=name)
    except WishError as exc:
        raise refused(exc) from exc


def _found(user: StoredUser | None, name: str) -> StoredUser:
    if user is None:
        raise _unknown(name)
    return user


def _unknown(name: str) -> GatewayError:
    return not_found(f"user {name!r}", "GET /admin/users", code="user_not_found")
