"""A client that keeps a gateway a little busy: plausible requests, streams, and some that fail.

Speaks plain HTTP over asyncio streams and knows nothing of the gateway but its address and a few
keys, told by a JSON line on standard input; it ends when that input does.
"""

import asyncio
import contextlib
import os
import random
import sys
from urllib.parse import urlsplit

import msgspec

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
_MOST_PROMPT_TOKENS = 3_000
_WORDS_PER_QUESTION = 8


class Sender(msgspec.Struct, frozen=True, kw_only=True):
    """A key and what it asks for."""

    api_key: str
    share: float
    models: tuple[tuple[str, float], ...]
    """With how often each is asked for, relatively."""
    stream: float
    """Share of its requests."""
    prompt_tokens: float
    """About; longer ones than a few thousand are cut down."""
    users: int = 0
    """How many people are behind it; 0 sends no names."""


class Orders(msgspec.Struct, frozen=True, kw_only=True):
    """Where to send requests, and as whom."""

    gateway_url: str
    senders: tuple[Sender, ...]


def _body(sender: Sender, chance: random.Random) -> dict[str, object]:
    names, weights = zip(*sender.models, strict=True)
    words = min(sender.prompt_tokens, _MOST_PROMPT_TOKENS) * chance.uniform(0.3, 1.7)
    body: dict[str, object] = {
        "model": chance.choices(names, weights)[0],
        "messages": [
            {
                "role": "user",
                "content": chance.choice(_QUESTIONS) * max(1, int(words / _WORDS_PER_QUESTION)),
            }
        ],
        "max_tokens": chance.choice((64, 256, 512)),
        "stream": chance.random() < sender.stream,
    }
    if sender.users:
        body["user"] = f"user-{int(sender.users * chance.random() ** 2):04d}"
    return body


async def _send(orders: Orders, chance: random.Random) -> None:
    address = urlsplit(orders.gateway_url)
    shares = [sender.share for sender in orders.senders]
    sender = chance.choices(orders.senders, shares)[0]
    body = msgspec.json.encode(_body(sender, chance))
    head = (
        f"POST /v1/chat/completions HTTP/1.1\r\nHost: {address.netloc}\r\n"
        f"Authorization: Bearer {sender.api_key}\r\nContent-Type: application/json\r\n"
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
