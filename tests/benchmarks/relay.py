"""The bare relay that figures are compared with: the gateway's parts without the gateway.

    python -m tests.benchmarks.relay PORT UPSTREAM_URL

Litestar on granian's embedded server takes a chat completion, aiohttp sends it on as it is, and
the answer goes back as it came. No key, no routing, no accounting.
"""

import asyncio
import signal
import sys
from collections.abc import AsyncIterator
from typing import Any

import aiohttp
import uvloop
from granian.constants import HTTPModes, Interfaces
from granian.server.embed import Server
from litestar import Litestar, Request, Response, post
from litestar.response import Stream

_SENT_HEADERS = {
    "content-type": "application/json",
    "accept-encoding": "identity",
    "authorization": "Bearer sk-bench",
}


def make_app(upstream_url: str, session: aiohttp.ClientSession) -> Litestar:
    """One route, passing requests on to the upstream URL."""

    @post("/v1/chat/completions", status_code=200)
    async def relay(request: Request[Any, Any, Any]) -> Response[bytes] | Stream:
        body = await request.body()
        upstream = await session.post(
            upstream_url, data=body, headers=_SENT_HEADERS, allow_redirects=False
        )
        if upstream.content_type == "text/event-stream":
            return Stream(
                _pass_on(upstream), media_type="text/event-stream", status_code=upstream.status
            )
        answer = await upstream.read()
        return Response(answer, media_type="application/json", status_code=upstream.status)

    return Litestar([relay], openapi_config=None, logging_config=None)


async def _pass_on(upstream: aiohttp.ClientResponse) -> AsyncIterator[bytes]:
    try:
        async for chunk in upstream.content.iter_any():
            yield chunk
    finally:
        upstream.close()


async def _serve(port: int, upstream_url: str) -> None:
    connector = aiohttp.TCPConnector(limit=0)
    timeout = aiohttp.ClientTimeout(total=None)
    async with aiohttp.ClientSession(
        connector=connector, timeout=timeout, cookie_jar=aiohttp.DummyCookieJar()
    ) as session:
        server = Server(
            make_app(upstream_url, session),
            address="127.0.0.1",
            port=port,
            interface=Interfaces.ASGI,
            http=HTTPModes.http1,
            backlog=4096,
            backpressure=8192,
            log_enabled=False,
        )
        loop = asyncio.get_running_loop()
        loop.add_signal_handler(signal.SIGTERM, server.stop)
        await server.serve()


if __name__ == "__main__":
    uvloop.run(_serve(int(sys.argv[1]), sys.argv[2]))
