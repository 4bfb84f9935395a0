"""What each route of the admin listener says of who may use it; a route that says nothing is shut.

A route declares it with ``opt=needs("operator")``, or ``opt=OPEN`` where nobody has to sign in.
"""

from collections.abc import Iterable, Mapping
from typing import Any, Literal, TypeAlias

from litestar import Litestar, Request
from litestar.handlers import BaseRouteHandler, HTTPRouteHandler
from litestar.routes import HTTPRoute

from gateway.domain.principal import ROLES, Principal, Role

Need: TypeAlias = Role | Literal["nobody"]
"""The least role that a route takes; ``nobody`` has to sign in."""
AdminRequest: TypeAlias = Request[Principal, Any, Any]
"""A request that the guard let in: ``request.user`` is who sent it."""

_KEY = "needs"
_AUTOMATIC = frozenset({"OPTIONS", "HEAD"})


class UndeclaredRouteError(Exception):
    """A route does not say who may use it."""


def needs(role: Role) -> dict[str, Any]:
    """For a route's ``opt``: only those who have the role, or one above it."""
    return {_KEY: role}


OPEN: Mapping[str, Any] = {_KEY: "nobody"}
"""For a route's ``opt``: health checks, and signing in."""


def need_of(handler: BaseRouteHandler) -> Need | None:
    """What a route declared; None when it declared nothing, or something that is none."""
    declared = handler.opt.get(_KEY)
    return declared if declared in (*ROLES, "nobody") else None


def declared_routes(app: Litestar) -> list[tuple[str, str, Need]]:
    """Method, path and need of every route, sorted.

    Raises:
        UndeclaredRouteError: one of them says nothing.
    """
    found: list[tuple[str, str, Need]] = []
    for path, handler in _handlers(app):
        methods = set(map(str, handler.http_methods)) - _AUTOMATIC
        need = need_of(handler)
        if need is None and methods:
            raise UndeclaredRouteError(
                f"{' '.join(sorted(methods))} {path} does not say who may use it; "
                'give it opt=needs("owner"), needs("operator"), needs("auditor") or OPEN'
            )
        if need is not None:
            found.extend((method, path, need) for method in methods)
    return sorted(found, key=lambda route: (route[1], route[0]))


def _handlers(app: Litestar) -> Iterable[tuple[str, HTTPRouteHandler]]:
    for route in app.routes:
        if not isinstance(route, HTTPRoute):
            raise UndeclaredRouteError(f"{route.path}: the admin listener serves HTTP alone")
        for handler in route.route_handlers:
            yield route.path, handler
