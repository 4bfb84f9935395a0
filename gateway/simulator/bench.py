"""Constant answers at next to no cost, so that a benchmark measures the gateway and not this.

Model `bench`, `bench:CHUNKS` or `bench:CHUNKS:INTERVAL_MS` (also written `bench-stream…`), on any
provider and on the stand-in: the answer is prepared bytes. Streams, when `"stream": true` is asked,
have CHUNKS content events (default 32), in one write or one each INTERVAL_MS; the usage event comes
when `include_usage` is asked. The body is searched, not decoded; nothing goes to the ledger.
"""

import asyncio
import functools
import re

import msgspec

from gateway.simulator.connection import Exchange

PROMPT_TOKENS = 32
DEFAULT_CHUNKS = 32
TEXT = " every toll"

# Inside a JSON string the quotes would be escaped, so a prompt cannot match.
_MODEL = re.compile(rb'"model":\s?"bench(?:-stream)?(?::(\d{1,5})(?::(\d{1,5}))?)?"')
_STREAM = re.compile(rb'"stream":\s?true')
_USAGE = re.compile(rb'"include_usage":\s?true')

_COMMON = {"id": "chatcmpl-bench", "created": 1767225600, "model": "bench"}


def answer_bench(exchange: Exchange) -> bool:
    """Answer when the request asks for the bench model; False when it does not."""
    body = exchange.body
    found = _MODEL.search(body)
    if found is None or not exchange.target.endswith("/chat/completions"):
        return False
    chunks = int(found[1] or DEFAULT_CHUNKS)
    if not _STREAM.search(body):
        exchange.write_raw(_whole(chunks))
        exchange.end()
        return True
    with_usage = _USAGE.search(body) is not None
    interval_ms = int(found[2] or 0)
    if interval_ms:
        _Ticks(exchange, chunks, interval_ms / 1000, with_usage=with_usage).start()
    else:
        exchange.write_raw(_stream(chunks, with_usage=with_usage))
        exchange.end()
    return True


class _Ticks:
    """A stream at a set rate: one timer, re-armed for each event."""

    def __init__(
        self, exchange: Exchange, chunks: int, interval_s: float, *, with_usage: bool
    ) -> None:
        self._exchange = exchange
        self._left = chunks
        self._last = _ending(chunks, with_usage=with_usage)
        self._interval_s = interval_s
        self._loop = asyncio.get_running_loop()
        self._due_at = self._loop.time()
        self._timer: asyncio.TimerHandle | None = None

    def start(self) -> None:
        self._exchange.on_gone = self.stop
        self._exchange.write_raw(_opening())
        self._arm()

    def stop(self) -> None:
        if self._timer is not None:
            self._timer.cancel()

    def _arm(self) -> None:
        self._due_at += self._interval_s
        self._timer = self._loop.call_at(self._due_at, self._tick)

    def _tick(self) -> None:
        if self._left > 0:
            self._left -= 1
            self._exchange.write_raw(_content())
            self._arm()
        else:
            self._exchange.write_raw(self._last)
            self._exchange.end()


def _usage(chunks: int) -> dict[str, object]:
    output = -(-len(TEXT) * chunks // 4)
    return {
        "prompt_tokens": PROMPT_TOKENS,
        "completion_tokens": output,
        "total_tokens": PROMPT_TOKENS + output,
        "prompt_tokens_details": {"cached_tokens": 0},
        "completion_tokens_details": {"reasoning_tokens": 0},
    }


@functools.lru_cache(maxsize=64)
def _whole(chunks: int) -> bytes:
    message = {"role": "assistant", "content": TEXT * chunks, "refusal": None}
    choice = {"index": 0, "message": message, "logprobs": None, "finish_reason": "stop"}
    answer = {"object": "chat.completion", "choices": [choice], "usage": _usage(chunks)}
    body = msgspec.json.encode(_COMMON | answer)
    head = f"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: {len(body)}"
    return head.encode() + b"\r\n\r\n" + body


@functools.lru_cache(maxsize=64)
def _stream(chunks: int, *, with_usage: bool) -> bytes:
    return _opening() + _content() * chunks + _ending(chunks, with_usage=with_usage)


def _event(payload: bytes) -> bytes:
    data = b"data: " + payload + b"\n\n"
    return b"%x\r\n%b\r\n" % (len(data), data)


def _chunk(choices: list[dict[str, object]], **more: object) -> bytes:
    fields = {"object": "chat.completion.chunk", "choices": choices, **more}
    return _event(msgspec.json.encode(_COMMON | fields))


def _delta(delta: dict[str, object], finish: str | None = None) -> bytes:
    return _chunk([{"index": 0, "delta": delta, "logprobs": None, "finish_reason": finish}])


@functools.lru_cache(maxsize=1)
def _opening() -> bytes:
    head = "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked"
    return head.encode() + b"\r\n\r\n" + _delta({"role": "assistant", "content": ""})


@functools.lru_cache(maxsize=1)
def _content() -> bytes:
    return _delta({"content": TEXT})


@functools.lru_cache(maxsize=64)
def _ending(chunks: int, *, with_usage: bool) -> bytes:
    usage = _chunk([], usage=_usage(chunks)) if with_usage else b""
    # The last HTTP chunk is `Exchange.end`'s for framed answers; these bytes are outside framing.
    return _delta({}, "stop") + usage + _event(b"[DONE]") + b"0\r\n\r\n"
