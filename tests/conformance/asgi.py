"""A caller without a socket: hands bytes to an application and collects what it sends."""

import asyncio
import json
from typing import Any, NamedTuple

from gateway.api.front import Front
from tests.pipeline.rig import events_of

WITHIN_S = 10.0


class Answered(NamedTuple):
    """What came back; ``headers`` by lower-case name."""

    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def kind(self) -> str:
        return self.headers["content-type"].partition(";")[0]

    def json(self) -> Any:
        return json.loads(self.body)

    def chunks(self) -> list[Any]:
        """The events of a stream, which must end with ``[DONE]``."""
        *chunks, last = events_of(self.body)
        assert last == "[DONE]"
        return chunks


async def call(
    app: Front,
    path: str,
    body: bytes = b"",
    *,
    method: str = "POST",
    headers: dict[str, str] | None = None,
    query: bytes = b"",
) -> Answered:
    """One exchange."""
    sent: list[Any] = []
    is_over = asyncio.Event()
    unread = [{"type": "http.request", "body": body, "more_body": False}]

    async def receive() -> Any:
        if unread:
            return unread.pop()
        await is_over.wait()
        return {"type": "http.disconnect"}

    async def send(message: Any) -> None:
        sent.append(message)

    given = {"content-length": str(len(body))} | (headers or {})
    scope: Any = {
        "type": "http",
        "asgi": {"version": "3.0"},
        "http_version": "1.1",
        "method": method,
        "scheme": "http",
        "path": path,
        "raw_path": path.encode(),
        "root_path": "",
        "query_string": query,
        "headers": [(name.encode(), value.encode("latin-1")) for name, value in given.items()],
        "client": ("127.0.0.1", 1),
        "server": ("127.0.0.1", 80),
        "state": {},
    }
    async with asyncio.timeout(WITHIN_S):
        await app(scope, receive, send)
    is_over.set()
    start, *parts = sent
    assert start["type"] == "http.response.start"
    assert parts[-1].get("more_body", False) is False
    return Answered(
        status=start["status"],
        headers={name.decode().lower(): value.decode() for name, value in start["headers"]},
        body=b"".join(part.get("body", b"") for part in parts),
    )
