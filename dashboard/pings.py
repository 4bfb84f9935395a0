"""Answers what a browser asks below the path of a page, so that its console stays clean.

On a direct link to `/spend` Streamlit's own script looks for its server below that path first, and
for two answers of 404 the browser writes errors (github.com/streamlit/streamlit/issues/7074). An
answer without a configuration sends it on to the root just the same, and is no error.
"""

import re

from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Receive, Scope, Send

_LOOKED_FOR = re.compile(r"/[a-z]+/_stcore/(?:health|host-config)")


class Pings:
    """ASGI middleware."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer, or hand on."""
        if scope["type"] == "http" and _LOOKED_FOR.fullmatch(scope["path"]):
            await JSONResponse(None)(scope, receive, send)
            return
        await self._app(scope, receive, send)
