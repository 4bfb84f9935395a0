"""Signing in over the admin API, who is signed in, another password, and signing out."""

import asyncio
from datetime import UTC, datetime
from typing import Annotated, Any
from uuid import UUID

import msgspec
from litestar import Request, delete, get, post
from litestar.handlers import HTTPRouteHandler
from litestar.params import JSONBody
from msgspec import Meta

from gateway.api.admin.desk import ask_database, refused
from gateway.api.admin.guard import bearer_token
from gateway.api.failed_attempts import FailedAttempts
from gateway.api.roles import OPEN, AdminRequest, needs
from gateway.domain.errors import AuthenticationError, InvalidRequestError, RateLimitedError
from gateway.domain.principal import Principal, Role
from gateway.domain.wishes import WishError
from gateway.storage.asking import Asker
from gateway.storage.engine import Connection
from gateway.storage.passwords import LONGEST, check_password, hash_password, is_password
from gateway.storage.sessions import NewSession, begin_session, end_session, find_session
from gateway.storage.users import find_password, set_password

OF_ONE_NAME = 10
"""Wrong passwords for one name within `OF_ONE_NAME_S`; the owner token always works."""
OF_ONE_NAME_S = 300.0
OF_ALL = 60
"""Wrong passwords altogether within `OF_ALL_S`."""
OF_ALL_S = 60.0

_EVERYBODY = ""
# Each takes a core for tens of milliseconds and 64 MiB meanwhile.
_HASHED_AT_ONCE = 2

Password = Annotated[str, Meta(max_length=LONGEST)]


class SignIn(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Name and password of a user."""

    name: Annotated[str, Meta(max_length=64)]
    password: Password

    def __repr__(self) -> str:
        return f"SignIn({self.name!r})"


class NewPassword(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A user's own password, and the one that takes its place."""

    current: Password
    new: Password

    def __repr__(self) -> str:
        return "NewPassword()"


class SignedIn(msgspec.Struct, frozen=True, kw_only=True):
    """Who is signed in."""

    name: str
    """``owner`` for the owner token."""
    role: Role


class Session(msgspec.Struct, frozen=True, kw_only=True):
    """A session that was just begun."""

    token: str
    """For `Authorization: Bearer TOKEN`; it is kept nowhere and cannot be shown again."""
    name: str
    role: Role
    expires_at: datetime
    """At the latest; half an hour without use ends it earlier."""

    def __repr__(self) -> str:
        return f"Session({self.name!r})"


class SessionDesk:
    """Checks passwords, a few at a time, and finds the holders of sessions."""

    def __init__(self, ask: Asker) -> None:
        self._ask = ask
        self._of_name = FailedAttempts(most=OF_ONE_NAME, within_s=OF_ONE_NAME_S)
        self._of_all = FailedAttempts(most=OF_ALL, within_s=OF_ALL_S)
        self._hashing = asyncio.Semaphore(_HASHED_AT_ONCE)

    async def find(self, token: str, is_use: bool) -> Principal | None:  # noqa: FBT001 - a FindSession
        """What the guard asks."""
        return await ask_database(
            self._ask,
            lambda connection: find_session(connection, token, at=datetime.now(UTC), is_use=is_use),
        )

    async def sign_in(self, name: str, password: str, *, old_token: str | None) -> NewSession:
        """Begin a session, and end the one that was held until now.

        Raises:
            AuthenticationError: a wrong name or password; the same words, after the same time.
            RateLimitedError: too many of them.
        """
        user_id = await self._check(name, password)

        async def begin(connection: Connection) -> NewSession | None:
            now = datetime.now(UTC)
            if old_token is not None:
                await end_session(connection, old_token, at=now)
            return await begin_session(connection, user_id, at=now)

        session = await ask_database(self._ask, begin)
        if session is None:
            raise _wrong()
        return session

    async def sign_out(self, token: str) -> bool:
        """End a session."""
        return await ask_database(
            self._ask, lambda connection: end_session(connection, token, at=datetime.now(UTC))
        )

    async def change_password(self, principal: Principal, wish: NewPassword) -> None:
        """Give a user the password they chose; all their sessions end.

        Raises:
            AuthenticationError: the current password is wrong.
            InvalidRequestError: the new one cannot be used.
        """
        if principal.user_id is None:
            raise InvalidRequestError(
                "the owner token has no password; POST /admin/users/NAME/password sets a user's"
            )
        try:
            check_password(wish.new, name=principal.name)
        except WishError as exc:
            raise refused(exc) from exc
        await self._check(principal.name, wish.current)
        hashed = await self.hash(wish.new)
        await ask_database(
            self._ask,
            lambda connection: set_password(
                connection, principal.name, hashed, at=datetime.now(UTC), actor=principal.name
            ),
        )

    async def hash(self, password: str) -> str:
        """What is stored of a password."""
        async with self._hashing:
            return await asyncio.to_thread(hash_password, password)

    async def _check(self, name: str, password: str) -> UUID:
        self._refuse_the_hasty(name)
        # Noted beforehand: a thousand attempts at once are a thousand attempts.
        self._of_name.note(name)
        self._of_all.note(_EVERYBODY)
        found = await ask_database(self._ask, lambda connection: find_password(connection, name))
        async with self._hashing:
            is_right = await asyncio.to_thread(is_password, password, found[1] if found else None)
        if found is None or not is_right:
            raise _wrong()
        self._of_name.forget(name)
        self._of_all.take_back(_EVERYBODY)
        return found[0]

    def _refuse_the_hasty(self, name: str) -> None:
        wait_s = self._of_name.wait_s(name) or self._of_all.wait_s(_EVERYBODY)
        if wait_s is not None:
            raise RateLimitedError(
                f"too many wrong passwords; wait {wait_s:.0f} s. The owner token of the data "
                "directory works meanwhile",
                code="too_many_sign_ins",
                retry_after_s=wait_s,
            )


def admin_session_routes(desk: SessionDesk) -> list[HTTPRouteHandler]:
    """``/admin/session``."""

    @post("/admin/session", operation_id="signIn", tags=["sessions"], opt=OPEN, security=[{}])
    async def sign_in(
        request: Request[Any, Any, Any],
        data: JSONBody[SignIn],
    ) -> Session:
        """Begin a session of at most 12 hours, or half an hour without use.

        A session that is shown in `Authorization` ends: its token is replaced by another one.
        """
        begun = await desk.sign_in(
            data.name.strip().lower(),
            data.password,
            old_token=bearer_token(request.headers.get("authorization", "")),
        )
        return Session(
            token=begun.token,
            name=begun.principal.name,
            role=begun.principal.role,
            expires_at=begun.expires_at,
        )

    @get(
        "/admin/session",
        operation_id="showSession",
        tags=["sessions"],
        sync_to_thread=False,
        opt=needs("auditor"),
    )
    def show(request: AdminRequest) -> SignedIn:
        """Who is signed in, with the role they have now."""
        return SignedIn(name=request.user.name, role=request.user.role)

    @delete("/admin/session", operation_id="signOut", tags=["sessions"], opt=needs("auditor"))
    async def sign_out(request: AdminRequest) -> None:
        """End the session at once. The owner token stays."""
        token = bearer_token(request.headers.get("authorization", ""))
        if token is not None:
            await desk.sign_out(token)

    @post(
        "/admin/session/password",
        operation_id="changeOwnPassword",
        tags=["sessions"],
        status_code=204,
        opt=needs("auditor"),
    )
    async def change_password(request: AdminRequest, data: JSONBody[NewPassword]) -> None:
        """Take another password; all sessions of the user end, this one included."""
        await desk.change_password(request.user, data)

    return [sign_in, show, sign_out, change_password]


def _wrong() -> AuthenticationError:
    return AuthenticationError("the name or the password is wrong", code="sign_in_failed")
