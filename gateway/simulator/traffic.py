"""A client that keeps a gateway a little busy: plausible requests, streams, and some that fail.

Speaks plain HTTP over asyncio streams and knows nothing of the gateway but its address and a key,
both told by a JSON line on standard input; it ends when that input does.
"""

import asyncio
import contextlib
import os
import random
import sys
from urllib.parse import urlsplit

import msgspec

_MODELS = (
    ("simulated/fast", 10),
    ("simulated/smart", 4),
    ("simulated/vision", 2),
    ("simulated/long", 2),
    # Nobody serves it: a refused request belongs to the picture.
    ("simulated/retired", 1),
)
_QUESTIONS = (
    "Summarise the ticket in one sentence.",
    "Which of these invoices is overdue?",
    "Translate the greeting into French.",
    "Write a unit test for the parser.",
    "Why did the nightly build fail?",
)
_PAUSE_S = 0.4
_MAX_OPEN = 16
_TIMEOUT_S = 60.0
_STREAM_SHARE = 0.4


class Orders(msgspec.Struct, frozen=True, kw_only=True):
    """Where to send requests, and with which key."""

    gateway_url: str
    api_key: str


async def _send(orders: Orders, chance: random.Random) -> None:
    address = urlsplit(orders.gateway_url)
    names = [name for name, _ in _MODELS]
    weights = [weight for _, weight in _MODELS]
    body = msgspec.json.encode(
        {
            "model": chance.choices(names, weights)[0],
            "messages": [
                {"role": "user", "content": chance.choice(_QUESTIONS) * chance.randint(1, 40)}
            ],
            "max_tokens": chance.choice((64, 256, 512)),
            "stream": chance.random() < _STREAM_SHARE,
        }
    )
    head = (
        f"POST /v1/chat/completions HTTP/1.1\r\nHost: {address.netloc}\r\n"
        f"Authorization: Bearer {orders.api_key}\r\nContent-Type: application/json\r\n"
        f"Content-Length: {len(body)}\r\nConnection: close\r\n\r\n"
    )
    # The gateway may be starting anew; the next request tries again.
    with contextlib.suppress(OSError, TimeoutError):
        async with asyncio.timeout(_TIMEOUT_S):
            reader, writer = await asyncio.open_connection(address.hostname, address.port)
            try:
                writer.write(head.encode() + body)
                while await reader.read(65_536):
                    pass
            finally:
                writer.close()


async def run(orders: Orders) -> None:
    """Send requests until standard input ends."""
    chance = random.Random()  # noqa: S311 - nothing secret hangs on it
    ended = asyncio.Event()
    asyncio.get_running_loop().add_reader(0, lambda: None if os.read(0, 4096) else ended.set())
    open_requests: set[asyncio.Task[None]] = set()
    while not ended.is_set():
        if len(open_requests) < _MAX_OPEN:
            task = asyncio.create_task(_send(orders, chance))
            open_requests.add(task)
            task.add_done_callback(open_requests.discard)
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(chance.expovariate(1 / _PAUSE_S)):
                await ended.wait()


if __name__ == "__main__":
    asyncio.run(run(msgspec.json.decode(sys.stdin.buffer.readline(), type=Orders)))
