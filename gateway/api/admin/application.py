"""The admin listener's application: it is not built while a route does not say who may use it."""

from collections.abc import Sequence
from typing import Any

from litestar import Litestar, Response, Router
from litestar.handlers import HTTPRouteHandler
from litestar.openapi import OpenAPIConfig
from litestar.openapi.plugins import JsonRenderPlugin
from litestar.openapi.spec import Components, SecurityScheme
from litestar.serialization import default_serializer
from litestar.types import Serializer

from gateway.api.admin.examples import ExampledOperation
from gateway.api.admin.guard import Guard
from gateway.api.failures import answer_exception
from gateway.api.roles import declared_routes, needs
from gateway.domain.plain_json import encode_with_texts
from gateway.version import CODE_VERSION

_JSON = "application/json"
_MAX_BODY_BYTES = 2 * 1024 * 1024
_ABOUT = """\
The admin API of Tollway, on a listener of its own at 127.0.0.1. Every request carries
`Authorization: Bearer TOKEN`: the owner token of the data directory, or the token of a session from
`POST /admin/session`. Amounts of money are exact USD; what is not known is null.
"""


class AdminResponse(Response[Any]):
    """An answer whose amounts of money are texts without exponents."""

    def render(
        self,
        content: Any,  # noqa: ANN401 - whatever a route answers
        media_type: str,
        enc_hook: Serializer = default_serializer,
    ) -> bytes:
        if media_type != _JSON or isinstance(content, bytes | str):
            return super().render(content, media_type, enc_hook)
        return encode_with_texts(content, enc_hook)


def admin_app(routes: Sequence[HTTPRouteHandler], guard: Guard) -> Litestar:
    """The application.

    Raises:
        UndeclaredRouteError: a route without `opt=needs(…)`.
    """
    for route in routes:
        route.summary = route.summary or _first_line(route)
        route.operation_class = ExampledOperation
    schema = Router("/schema", route_handlers=[], opt=needs("auditor"), include_in_schema=False)
    app = Litestar(
        routes,
        guards=[guard],
        response_class=AdminResponse,
        openapi_config=OpenAPIConfig(
            title="Tollway admin",
            version=CODE_VERSION,
            description=_ABOUT,
            # The other pages that the framework knows load scripts from other hosts.
            render_plugins=(JsonRenderPlugin(),),
            openapi_router=schema,
            components=Components(
                security_schemes={"bearer": SecurityScheme(type="http", scheme="bearer")}
            ),
            security=[{"bearer": []}],
            use_handler_docstrings=True,
        ),
        exception_handlers={Exception: answer_exception},
        request_max_body_size=_MAX_BODY_BYTES,
        logging_config=None,
    )
    declared_routes(app)
    return app


def _first_line(route: HTTPRouteHandler) -> str | None:
    """The summary of a route is the first line of what its function says of itself."""
    told = (route.fn.__doc__ or "").strip()
    return told.partition("\n")[0] or None
