"""A lean load generator: one HTTP/1.1 request again and again over kept connections.

    python -m tests.benchmarks.load '{"url": …, "api_key": …, "mode": "closed", …}'

Prints one JSON object. Three modes: `closed` (every connection sends as soon as it is answered:
throughput), `open` (requests at a fixed rate, measured from the instant each was due: latency),
and `streams` (every connection holds a stream and starts the next when it ends: chunks).
"""

import asyncio
import json
import sys
import time
from collections import deque
from typing import Any, cast
from urllib.parse import urlsplit

import msgspec
import uvloop

_STREAM_END = b"0\r\n\r\n"
_STREAM_STAGGER_S = 0.013


class Load(msgspec.Struct, frozen=True, kw_only=True):
    """What to send, how often, for how long."""

    url: str
    api_key: str
    mode: str
    duration_s: float
    model: str = "bench"
    connections: int = 32
    rate_per_s: float = 200


class Result(msgspec.Struct, frozen=True, kw_only=True):
    """What came back. Latencies are of whole answers, or for streams of the first byte."""

    requests: int
    errors: int
    first_error: str
    duration_s: float
    events: int
    p50_ms: float
    p99_ms: float


class Client(asyncio.Protocol):
    """One connection with at most one request under way."""

    def __init__(self, tally: "Tally", request: bytes) -> None:
        self._tally = tally
        self._request = request
        self._is_busy = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)
        self._tally.on_idle(self)

    def connection_lost(self, exc: Exception | None) -> None:
        if self._is_busy:
            self._is_busy = False
            self._tally.add_error(f"connection lost: {exc!r}")
        self._tally.on_lost(self)

    def send(self, due_at: float) -> None:
        """Send the request; its latency counts from the given monotonic instant."""
        self._is_busy = True
        self._due_at = due_at
        self._first_byte_at = 0.0
        self._received = b""
        self._events = 0
        self._body_left: int | None = None
        self._is_head_done = False
        self._transport.write(self._request)

    def data_received(self, data: bytes) -> None:
        if not self._is_busy:
            return
        if not self._first_byte_at:
            self._first_byte_at = time.perf_counter()
        if not self._is_head_done:
            self._received += data
            head, found, data = self._received.partition(b"\r\n\r\n")
            if not found:
                return
            self._is_head_done = True
            self._status = head[9:12]
            _, has_length, length = head.lower().partition(b"content-length:")
            self._body_left = int(length.split(b"\r\n", 1)[0]) if has_length else None
            self._received = b""
        if self._body_left is not None:
            self._body_left -= len(data)
            if self._status != b"200":
                self._received += data
            if self._body_left <= 0:
                self._finish()
        else:
            events = data.count(b"data: ")
            self._events += events
            self._tally.events += events
            self._received = self._received[-8:] + data
            if self._received.endswith(_STREAM_END):
                self._finish()

    def _finish(self) -> None:
        self._is_busy = False
        if self._status == b"200":
            is_stream = self._body_left is None and self._events > 0
            answered_at = self._first_byte_at if is_stream else time.perf_counter()
            self._tally.latencies_s.append(answered_at - self._due_at)
        else:
            self._tally.add_error((self._status + b" " + self._received[:300]).decode())
        self._tally.on_idle(self)


class Tally:
    """Counts, and decides what an idle connection does next."""

    def __init__(self, load: Load) -> None:
        self._is_open_loop = load.mode == "open"
        self.latencies_s: list[float] = []
        self.events = 0
        self.errors = 0
        self.first_error = ""
        self.is_over = False
        self._idle: deque[Client] = deque()
        self._due: deque[float] = deque()

    def add_error(self, what: str) -> None:
        self.errors += 1
        self.first_error = self.first_error or what

    def request_due(self, due_at: float) -> None:
        if self._idle:
            self._idle.popleft().send(due_at)
        else:
            self._due.append(due_at)

    def on_idle(self, client: Client) -> None:
        if self.is_over:
            return
        if not self._is_open_loop:
            client.send(time.perf_counter())
        elif self._due:
            client.send(self._due.popleft())
        else:
            self._idle.append(client)

    def on_lost(self, client: Client) -> None:
        if client in self._idle:
            self._idle.remove(client)


def encode_request(load: Load) -> bytes:
    """The request as it goes over the wire."""
    parts = urlsplit(load.url)
    body: dict[str, Any] = {
        "model": load.model,
        "messages": [
            {"role": "system", "content": "You are a helpful assistant."},
            {"role": "user", "content": "Tell me about foxes and dogs, please. " * 4},
        ],
        "max_tokens": 256,
        "temperature": 0.7,
    }
    if load.mode == "streams":
        body["stream"] = True
    encoded = json.dumps(body, separators=(",", ":")).encode()
    head = (
        f"POST {parts.path} HTTP/1.1\r\nHost: {parts.netloc}\r\n"
        f"Authorization: Bearer {load.api_key}\r\nContent-Type: application/json\r\n"
        f"User-Agent: bench\r\nContent-Length: {len(encoded)}\r\n\r\n"
    )
    return head.encode() + encoded


async def run(load: Load) -> Result:
    """Put the load on, and count until its time is over."""
    loop = asyncio.get_running_loop()
    tally, request = Tally(load), encode_request(load)
    parts = urlsplit(load.url)
    transports: list[asyncio.BaseTransport] = []
    started_at = time.perf_counter()
    for _ in range(load.connections):
        transport, _protocol = await loop.create_connection(
            lambda: Client(tally, request), parts.hostname or "127.0.0.1", parts.port or 80
        )
        transports.append(transport)
        if load.mode == "streams":
            # Spread out, as real streams are: chunks that arrive together cost less.
            await asyncio.sleep(_STREAM_STAGGER_S)
    if load.mode == "open":
        for number in range(int(load.duration_s * load.rate_per_s)):
            due_at = started_at + number / load.rate_per_s
            if (early := due_at - time.perf_counter()) > 0:
                await asyncio.sleep(early)
            tally.request_due(due_at)
        await asyncio.sleep(0.2)
    else:
        await asyncio.sleep(load.duration_s)
    tally.is_over = True
    duration_s = time.perf_counter() - started_at
    done, events, errors = len(tally.latencies_s), tally.events, tally.errors
    latencies_ms = sorted(latency * 1000 for latency in tally.latencies_s) or [0.0]
    for transport in transports:
        cast("asyncio.Transport", transport).abort()
    return Result(
        requests=done,
        errors=errors,
        first_error=tally.first_error,
        duration_s=duration_s,
        events=events,
        p50_ms=latencies_ms[len(latencies_ms) // 2],
        p99_ms=latencies_ms[int(len(latencies_ms) * 0.99)],
    )


if __name__ == "__main__":
    given = msgspec.json.decode(sys.argv[1], type=Load)
    print(msgspec.json.encode(uvloop.run(run(given))).decode())
