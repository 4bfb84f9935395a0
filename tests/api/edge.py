"""The HTTP edge on a real server: keys, routes, and raw bytes over a socket."""

import asyncio
import json
import socket
import time
import uuid
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import Any

import httpx
import msgspec

from gateway.api.auth import authenticate
from gateway.api.embeddings import EMBEDDINGS, for_embeddings
from gateway.api.health import Readiness
from gateway.api.messages import MESSAGES
from gateway.api.surface import Surroundings, data_app
from gateway.api.traffic import Traffic
from gateway.domain.caller import Caller
from gateway.domain.keys import digest_key, make_key
from gateway.exchange import Api
from gateway.execution.access import AccessBook, ProviderAccess
from gateway.gathering import Policy
from gateway.pipeline import Pipeline
from gateway.processes.worker import _server  # pyright: ignore[reportPrivateUsage]
from gateway.storage.asking import Asker
from tests.installation import PLAIN
from tests.pipeline.rig import Rig

PEPPER = b"pepper"
CHAT = "/v1/chat/completions"
NO_DATABASE = "postgresql://nobody@127.0.0.1:1/nothing"


class Edge:
    """One application in front of a rig. The key ``key`` may do everything."""

    def __init__(
        self,
        rig: Rig,
        *,
        most: int = 100,
        body_limit: int = 65_536,
        ask: Asker | None = None,
        cors_origins: tuple[str, ...] = (),
    ) -> None:
        self.rig = rig
        self.key = make_key(lambda count: b"k" * count).text
        self.traffic = Traffic(most=most, stalled_client_s=30)
        self.readiness = Readiness(ready=True)
        self.port = 0
        self.let_in(self.key)
        self.app = data_app(
            Surroundings(
                chat=rig.pipeline,
                embeddings=_pipeline(rig, EMBEDDINGS, for_embeddings(rig.providers)),
                messages=_pipeline(rig, MESSAGES, rig.providers),
                authenticate=self._caller_of,
                traffic=self.traffic,
                catalogue=lambda: rig.snapshots.current.catalogue,
                health=rig.health,
                readiness=lambda: self.readiness,
                ask=ask or Asker(NO_DATABASE, within_s=0.2, application_name="tests"),
                body_limit=body_limit,
                cors_origins=cors_origins,
            )
        )

    def _caller_of(self, headers: dict[str, str]) -> Caller:
        snapshot = self.rig.snapshots.current
        return authenticate(headers, snapshot, PEPPER, now_s=time.time())

    def let_in(self, key: str, **fields: Any) -> None:
        """Make a key known."""
        snapshot = self.rig.snapshots.current
        known: dict[str, Any] = {"key_id": uuid.uuid4(), "kid": key[5:13], "name": "tests"}
        caller = Caller(**(known | fields))
        self.rig.snapshots.current = msgspec.structs.replace(
            snapshot,
            callers={**snapshot.callers, digest_key(key, PEPPER): caller},
            confirmed_at_s=time.time(),
        )

    @property
    def caller(self) -> Caller:
        """Whom ``key`` stands for."""
        return self.rig.snapshots.current.callers[digest_key(self.key, PEPPER)]

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def client(self, **headers: str) -> httpx.AsyncClient:
        """A client with the key, unless other headers are given."""
        carried = headers or {"authorization": f"Bearer {self.key}"}
        return httpx.AsyncClient(
            base_url=self.url, headers=carried, trust_env=False, timeout=10, verify=PLAIN
        )

    def head(self, body: bytes = b"", *more: str, path: str = CHAT, length: bool = True) -> bytes:
        """The head of a POST with the key, ready to be sent over a socket."""
        lines = [
            f"POST {path} HTTP/1.1",
            "Host: gateway",
            f"Authorization: Bearer {self.key}",
            "Content-Type: application/json",
            *([f"Content-Length: {len(body)}"] if length else []),
            *more,
        ]
        return "\r\n".join(lines).encode() + b"\r\n\r\n"


def _pipeline(rig: Rig, api: Api, providers: dict[str, ProviderAccess]) -> Pipeline:
    """A pipeline beside the rig's own, for another API."""
    return Pipeline(
        snapshots=rig.snapshots,
        runner=rig.runner,
        access_of=AccessBook(providers),
        health=rig.health,
        ledger=rig.ledger,
        policy=Policy(slash_pins_provider=True, expected_output_tokens=100, code_version="test"),
        api=api,
    )


@asynccontextmanager
async def served(edge: Edge) -> AsyncGenerator[Edge]:
    """Serve the application with the server and the settings of a worker."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        edge.port = probe.getsockname()[1]
    server = _server(edge.app, "127.0.0.1", edge.port)
    serving = asyncio.create_task(server.serve())
    try:
        await _reachable(edge.port)
        yield edge
    finally:
        server.stop()
        await asyncio.wait([serving], timeout=3)
        serving.cancel()


async def _reachable(port: int) -> None:
    async with asyncio.timeout(5):
        while True:
            try:
                _, writer = await asyncio.open_connection("127.0.0.1", port)
            except OSError:
                await asyncio.sleep(0.005)
                continue
            writer.close()
            await writer.wait_closed()
            return


class Wire:
    """A connection of our own making: says exactly these bytes and hears what comes back."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer

    async def say(self, data: bytes) -> None:
        self._writer.write(data)
        await self._writer.drain()

    async def hear(self) -> tuple[int, dict[str, str], bytes]:
        """Status, headers and body of one answer that has a length or ends the connection."""
        async with asyncio.timeout(5):
            head = await self._reader.readuntil(b"\r\n\r\n")
            first, *rest = head.decode("latin-1").strip().split("\r\n")
            pairs = [line.partition(": ") for line in rest]
            headers = {name.lower(): value for name, _, value in pairs}
            if "content-length" in headers:
                body = await self._reader.readexactly(int(headers["content-length"]))
            else:
                body = await self._reader.read()
        return int(first.split()[1]), headers, body

    async def hear_until(self, marker: bytes) -> bytes:
        async with asyncio.timeout(5):
            return await self._reader.readuntil(marker)

    async def hear_all(self) -> bytes:
        async with asyncio.timeout(5):
            return await self._reader.read()

    def hang_up(self, *, with_reset: bool = False) -> float:
        """Close; returns the monotonic instant at which that was done."""
        if with_reset:
            self._writer.transport.abort()
        else:
            self._writer.close()
        return time.monotonic()


@asynccontextmanager
async def wire_to(edge: Edge) -> AsyncGenerator[Wire]:
    reader, writer = await asyncio.open_connection("127.0.0.1", edge.port)
    try:
        yield Wire(reader, writer)
    finally:
        writer.transport.abort()


def chat_json(**members: Any) -> bytes:
    return json.dumps(
        {"model": "acme/large", "messages": [{"role": "user", "content": "hi"}]} | members
    ).encode()


def error_in(body: bytes) -> dict[str, Any]:
    """The error of a body in OpenAI's shape, which is checked."""
    decoded = json.loads(body)
    assert set(decoded) == {"error"}
    assert set(decoded["error"]) >= {"message", "type", "param", "code"}
    return decoded["error"]
