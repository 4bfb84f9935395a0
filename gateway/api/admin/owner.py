"""Who may use the admin listener: whoever holds the owner token of the data directory."""

import hmac
from typing import Any

from litestar.connection import ASGIConnection
from litestar.handlers import BaseRouteHandler

from gateway.domain.errors import AuthenticationError

_OPEN_PATHS = frozenset({"healthz", "readyz", "metrics"})


class OwnerGuard:
    """Refuses every route but health checks and metrics to whoever does not show the token."""

    def __init__(self, token: str) -> None:
        self._token = token.encode()

    def __call__(
        self, connection: ASGIConnection[Any, Any, Any, Any], handler: BaseRouteHandler
    ) -> None:
        """Decide by the matched route, never by the path's text.

        Raises:
            AuthenticationError: no token, or a wrong one.
        """
        if getattr(handler, "operation_id", None) in _OPEN_PATHS:
            return
        scheme, _, shown = connection.headers.get("authorization", "").partition(" ")
        if scheme.lower() != "bearer" or not hmac.compare_digest(
            shown.strip().encode(), self._token
        ):
            raise AuthenticationError(
                "the admin API needs 'Authorization: Bearer TOKEN' with the owner token "
                "of the data directory",
                code="invalid_owner_token",
            )
