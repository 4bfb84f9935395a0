"""Who may use a route of the admin listener: by the owner token, or by the session of a user."""

import hmac
from collections.abc import Awaitable, Callable
from typing import Any

from litestar.connection import ASGIConnection
from litestar.handlers import BaseRouteHandler

from gateway.api.roles import need_of
from gateway.domain.errors import AuthenticationError, PermissionDeniedError
from gateway.domain.principal import OWNER, Principal

FindSession = Callable[[str, bool], Awaitable[Principal | None]]
"""Who holds the session of that token, and whether this use keeps it alive; None when nobody."""

BACKGROUND_HEADER = "x-tollway-background"
"""Sent with what no person asked for, such as a page that refreshes itself: a session that is used
for nothing else ends."""


async def no_sessions(_token: str, _is_use: bool) -> Principal | None:  # noqa: FBT001 - a FindSession
    """Nobody is signed in: the owner token alone opens the listener."""
    return None


class Guard:
    """Lets through who may, and puts them into the request as ``request.user``."""

    def __init__(self, owner_token: str, find_session: FindSession = no_sessions) -> None:
        self._owner_token = owner_token.encode()
        self._find_session = find_session

    async def __call__(
        self, connection: ASGIConnection[Any, Any, Any, Any], handler: BaseRouteHandler
    ) -> None:
        """Decide by the matched route, never by the path's text.

        Raises:
            AuthenticationError: no token, or one that stands for nobody (any more).
            PermissionDeniedError: a role that may not.
            OverloadedError: the database cannot say whose session it is.
        """
        need = need_of(handler)
        if need == "nobody":
            return
        principal = await self._who(
            connection.headers.get("authorization", ""),
            is_use=BACKGROUND_HEADER not in connection.headers,
        )
        # What the framework adds by itself, such as OPTIONS, declares nothing.
        if not principal.may(need or "owner"):
            raise PermissionDeniedError(
                f"this needs the role {need or 'owner'!r}; {principal.name!r} has the role "
                f"{principal.role!r}",
                code="role_missing",
            )
        connection.scope["user"] = principal

    async def _who(self, authorization: str, *, is_use: bool) -> Principal:
        token = bearer_token(authorization)
        if token is not None:
            if hmac.compare_digest(token.encode(), self._owner_token):
                return OWNER
            found = await self._find_session(token, is_use)
            if found is not None:
                return found
        raise AuthenticationError(
            "the admin API needs 'Authorization: Bearer TOKEN' with the owner token of the data "
            "directory, or with the token of a session from POST /admin/session",
            code="not_signed_in",
        )


def bearer_token(authorization: str) -> str | None:
    """What an Authorization header carries; None when it is not a bearer token."""
    scheme, _, shown = authorization.partition(" ")
    shown = shown.strip()
    return shown if scheme.lower() == "bearer" and shown else None
