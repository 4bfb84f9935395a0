"""Whether this worker lives and whether traffic should come to it. Postgres is never asked."""

from collections.abc import Callable

import msgspec
from litestar import Response, get
from litestar.handlers import HTTPRouteHandler

from gateway.api.roles import OPEN


class Readiness(msgspec.Struct, frozen=True, kw_only=True):
    """Why a worker is ready or not; constant in size and without secrets."""

    ready: bool
    reason: str = "ok"


def health_routes(readiness: Callable[[], Readiness]) -> list[HTTPRouteHandler]:
    """``/healthz`` and ``/readyz``."""

    @get("/healthz", sync_to_thread=False, operation_id="healthz", tags=["health"], opt=OPEN)
    def healthz() -> dict[str, str]:
        """The process runs and its loop turns."""
        return {"status": "ok"}

    @get("/readyz", sync_to_thread=False, operation_id="readyz", tags=["health"], opt=OPEN)
    def readyz() -> Response[Readiness]:
        """503 while traffic should go elsewhere."""
        state = readiness()
        return Response(state, status_code=200 if state.ready else 503)

    return [healthz, readyz]
