"""A provider that costs next to nothing: canned chat completions, streamed or whole.

    python -m tests.benchmarks.upstream --chunks 100 --interval-ms 10

Prints the port it listens on as its first line. Stays until it is ended.
"""

import argparse
import asyncio
import json
from typing import Any, cast

import uvloop

_WORDS = "the quick brown fox jumps over the lazy dog and runs on "


def _payload(kind: str, **fields: Any) -> bytes:
    common = {"id": "chatcmpl-bench", "object": kind, "created": 1767225600, "model": "bench"}
    return json.dumps(common | fields, separators=(",", ":")).encode()


_USAGE = {"prompt_tokens": 25, "completion_tokens": 100, "total_tokens": 125}
_MESSAGE = {"role": "assistant", "content": _WORDS * 8}
_WHOLE = _payload(
    "chat.completion",
    choices=[{"index": 0, "message": _MESSAGE, "finish_reason": "stop"}],
    usage=_USAGE,
)
_ANSWER = (
    b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\nx-request-id: bench\r\n"
    b"content-length: %d\r\n\r\n%b" % (len(_WHOLE), _WHOLE)
)
_STREAM_HEAD = (
    b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\nx-request-id: bench\r\n"
    b"transfer-encoding: chunked\r\n\r\n"
)


def _event(data: bytes) -> bytes:
    event = b"data: " + data + b"\n\n"
    return b"%x\r\n%b\r\n" % (len(event), event)


def _delta(delta: dict[str, str], finish_reason: str | None = None) -> bytes:
    choice = {"index": 0, "delta": delta, "finish_reason": finish_reason}
    return _event(_payload("chat.completion.chunk", choices=[choice]))


_FIRST = _delta({"role": "assistant", "content": ""})
_NEXT = _delta({"content": "the quick "})
_LAST = (
    _delta({}, "stop")
    + _event(_payload("chat.completion.chunk", choices=[], usage=_USAGE))
    + _event(b"[DONE]")
    + b"0\r\n\r\n"
)


class CannedProvider(asyncio.Protocol):
    """Reads a request by its Content-Length and answers from memory."""

    def __init__(self, chunks: int, interval_s: float) -> None:
        self._chunks = chunks
        self._interval_s = interval_s
        self._received = b""
        self._timer: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002 (asyncio calls it)
        if self._timer is not None:
            self._timer.cancel()

    def data_received(self, data: bytes) -> None:
        self._received += data
        while (head_end := self._received.find(b"\r\n\r\n")) >= 0:
            head = self._received[:head_end].lower()
            _, found, length = head.partition(b"content-length:")
            end = head_end + 4 + (int(length.split(b"\r\n", 1)[0]) if found else 0)
            if len(self._received) < end:
                return
            body, self._received = self._received[head_end + 4 : end], self._received[end:]
            if b'"stream":true' in body or b'"stream": true' in body:
                self._transport.write(_STREAM_HEAD + _FIRST)
                self._schedule(self._chunks)
            else:
                self._transport.write(_ANSWER)

    def _schedule(self, left: int) -> None:
        loop = asyncio.get_running_loop()
        self._timer = loop.call_later(self._interval_s, self._send_chunk, left)

    def _send_chunk(self, left: int) -> None:
        if left == 0:
            self._transport.write(_LAST)
            return
        self._transport.write(_NEXT)
        self._schedule(left - 1)


async def _serve(chunks: int, interval_ms: float) -> None:
    server = await asyncio.get_running_loop().create_server(
        lambda: CannedProvider(chunks, interval_ms / 1000), "127.0.0.1", 0, backlog=4096
    )
    print(server.sockets[0].getsockname()[1], flush=True)
    await server.serve_forever()


if __name__ == "__main__":
    arguments = argparse.ArgumentParser()
    arguments.add_argument("--chunks", type=int, default=100)
    arguments.add_argument("--interval-ms", type=float, default=10)
    given = arguments.parse_args()
    uvloop.run(_serve(given.chunks, given.interval_ms))
