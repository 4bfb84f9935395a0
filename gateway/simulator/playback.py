"""Sends an answer as its behaviour says: at a pace, in a form, and well or badly.

Knows HTTP, and no provider's JSON or framing beyond the bytes it is handed.
"""

import asyncio
import functools
import zlib
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from typing import NoReturn

import msgspec

from gateway.simulator.connection import Exchange
from gateway.simulator.ledger import LedgerEntry, Outcome
from gateway.simulator.script import Behaviour
from gateway.simulator.wire import Answer, Frame, RefusedError, WireProtocol

MIB = 1024 * 1024
# Before a reset, so that what was written is read and not discarded with the socket.
RESET_AFTER_S = 0.02
METADATA_URL = "http://169.254.169.254/latest/meta-data/"
HTML = (
    b"<html><head><title>502 Bad Gateway</title></head>"
    b"<body><center><h1>502 Bad Gateway</h1></center></body></html>\n"
)

_JSON = "application/json"
_CUTS = frozenset(
    {"hang_mid", "reset_mid", "truncated", "truncated_clean", "bad_chunk", "error200"}
)


class Pace(msgspec.Struct, frozen=True, kw_only=True):
    """When tokens come: the first after `first_token_s`, then one each `token_s`; 0 is at once."""

    first_token_s: float = 0
    token_s: float = 0

    def at(self, produced: int) -> float:
        """Seconds from the start until that many tokens are there."""
        return self.first_token_s + produced * self.token_s


class Playback:
    """One exchange being answered; keeps its ledger entry up to date on the way."""

    def __init__(
        self,
        exchange: Exchange,
        protocol: WireProtocol,
        behaviour: Behaviour,
        pace: Pace,
        entry: LedgerEntry,
    ) -> None:
        self._exchange = exchange
        self._protocol = protocol
        self._form = protocol.stream
        self._behaviour = behaviour
        self._pace = pace
        self._entry = entry

    async def instead(self, *, is_stream: bool) -> Outcome | None:
        """Endings that need no answer; None when this behaviour wants one."""
        behaviour, exchange = self._behaviour, self._exchange
        ending = behaviour.ending
        refused = ("context_length", "insufficient_quota", "content_policy")
        if behaviour.status is not None or ending in refused:
            await self._scripted_delay()
            presented = self._protocol.credential(exchange.headers)
            self.refuse(self._protocol.scripted(behaviour, presented))
            return "refused"
        if ending not in _INSTEAD:
            return None
        await self._scripted_delay()
        if ending == "hang":
            await _for_ever()
        elif ending == "reset":
            exchange.reset()
        elif ending == "close":
            exchange.close()
        elif ending == "redirect":
            self._send(307, {"location": METADATA_URL}, b"")
        elif ending == "html200":
            self._send(200, {"content-type": "text/html"}, HTML)
        elif ending == "empty200":
            self._send(200, {"content-type": self._form.content_type if is_stream else _JSON}, b"")
        elif ending == "gzip_bomb":
            bomb = _gzip_bomb(behaviour.megabytes or 200)
            headers = {"content-type": _JSON, "content-encoding": "gzip"}
            self._send(200, headers, bomb)
        elif ending == "hang_headers":
            self._begin(self._form.content_type if is_stream else _JSON)
            await _for_ever()
        elif ending == "comments_only":
            await self._comment_for_ever()
        else:
            await self._huge_body(is_stream=is_stream)
        return "faulted"

    def refuse(self, refusal: RefusedError) -> None:
        """An error answer, with the retry headers and the body shape that were asked for."""
        behaviour = self._behaviour
        headers = {"content-type": _JSON, **self._protocol.error_headers(refusal)}
        retry_after = behaviour.retry_after
        if retry_after is not None:
            kind, _, seconds = retry_after.partition(":")
            if kind == "date" and seconds.lstrip("-").isdigit():
                moment = datetime.now(UTC) + timedelta(seconds=int(seconds))
                retry_after = format_datetime(moment, usegmt=True)
            headers["retry-after"] = retry_after
        if behaviour.retry_after_ms is not None:
            headers["retry-after-ms"] = behaviour.retry_after_ms
        body = self._protocol.error(refusal)
        if behaviour.shape is not None:
            body = _shaped(behaviour.shape, refusal, body)
        if behaviour.shape == "html":
            headers["content-type"] = "text/html"
        self._send(refusal.status, headers, body)

    async def whole(self, answer: Answer) -> Outcome:
        """The answer in one body, after the time it takes to generate."""
        behaviour, exchange, entry = self._behaviour, self._exchange, self._entry
        await self._generate(answer)
        entry.completion_tokens = answer.bill.completion_tokens
        entry.reasoning_tokens = answer.bill.reasoning_tokens
        ending = behaviour.ending
        body = answer.body
        if ending == "malformed_json":
            body = body[: len(body) * 2 // 3]
        elif ending == "bad_utf8":
            body = _spoil(body, answer.text)
        elif ending == "error200":
            body = self._protocol.error(self._protocol.scripted(behaviour, None))
        if "bom" in behaviour.forms:
            body = b"\xef\xbb\xbf" + body
        content_type = "text/plain" if ending == "wrong_type" else _JSON
        if ending in _CUTS and ending != "error200":
            framing = {"truncated_clean": "close", "bad_chunk": "chunked"}.get(ending, "length")
            self._begin(content_type, framing=framing, length=len(body))
            exchange.write(body[: len(body) // 2])
            return await self._cut()
        entry.is_usage_sent = answer.is_usage_sent and ending is None
        if ending == "slow_drip" or "split_utf8" in behaviour.forms:
            self._begin(content_type, framing="length", length=len(body))
            await self._drip(body)
            exchange.end()
        elif ending == "length_and_chunked":
            self._begin(content_type, extra={"content-length": str(len(body))})
            exchange.write(body)
            exchange.end()
        else:
            headers = {"content-type": content_type}
            if ending == "huge_header":
                headers["x-huge"] = "h" * (256 * 1024)
            if ending == "stale":
                exchange.reset_next()
            self._send(200, headers, body)
            await exchange.drain()
        return "completed" if ending in _HARMLESS else "faulted"

    async def stream(self, answer: Answer, frames: tuple[Frame, ...]) -> Outcome:
        """The answer event by event."""
        behaviour, exchange = self._behaviour, self._exchange
        ending = behaviour.ending
        if ending == "json_for_stream":
            return await self.whole(answer)
        self._form = answer.form or self._form
        frames = _edited(frames, behaviour)
        end = _position(frames, behaviour.at or 0) if ending in _CUTS else len(frames)
        started = exchange.received_at
        await self._until(started + self._pace.first_token_s)
        extra = {"content-length": "4096"} if ending == "length_and_chunked" else {}
        if ending == "huge_header":
            extra["x-huge"] = "h" * (256 * 1024)
        if ending == "stale":
            exchange.reset_next()
        content_type = "text/plain" if ending == "wrong_type" else self._form.content_type
        framing = "close" if ending == "truncated_clean" else "chunked"
        self._begin(content_type, framing=framing, extra=extra)
        if "bom" in behaviour.forms:
            exchange.write(b"\xef\xbb\xbf")
        for frame in frames[:end]:
            await self._frame(frame, started)
        if ending in _CUTS:
            return await self._cut()
        if ending == "endless":
            await self._content_for_ever(frames, started)
        if "after_done" in behaviour.forms:
            await self._frame(frames[0], started)
        self._entry.reasoning_tokens = answer.bill.reasoning_tokens
        exchange.end()
        await exchange.drain()
        return "completed" if ending in _HARMLESS else "faulted"

    async def _frame(self, frame: Frame, started: float) -> None:
        behaviour, exchange, entry = self._behaviour, self._exchange, self._entry
        await self._until(started + self._pace.at(frame.produced))
        data = self._form.encode(frame, behaviour.forms)
        if behaviour.ending == "slow_drip" or "split_utf8" in behaviour.forms:
            await self._drip(data)
        else:
            exchange.write(data)
        entry.events_sent += 1
        entry.completion_tokens = max(entry.completion_tokens, frame.produced)
        entry.is_usage_sent = entry.is_usage_sent or frame.kind == "usage" or frame.has_usage
        await exchange.drain()

    async def _cut(self) -> Outcome:
        exchange, ending = self._exchange, self._behaviour.ending
        if ending == "hang_mid":
            await _for_ever()
        elif ending == "reset_mid":
            await asyncio.sleep(RESET_AFTER_S)
            exchange.reset()
        elif ending == "error200":
            exchange.write(self._form.encode(self._error_frame(), self._behaviour.forms))
            exchange.end()
        else:
            if ending == "bad_chunk":
                exchange.write_raw(b"zz\r\nnot a chunk")
            exchange.close()
        return "faulted"

    def _error_frame(self) -> Frame:
        refusal = self._protocol.scripted(self._behaviour, None)
        if self._protocol.error_frame is not None:
            return self._protocol.error_frame(refusal)
        return Frame(kind="content", data=self._protocol.error(refusal), is_error=True)

    async def _generate(self, answer: Answer) -> None:
        tokens = answer.bill.completion_tokens
        started = self._exchange.received_at
        try:
            await self._until(started + self._pace.at(tokens))
        except asyncio.CancelledError:
            # Hung up on while generating: what was generated by now is billed.
            if self._pace.token_s > 0:
                elapsed = asyncio.get_running_loop().time() - started - self._pace.first_token_s
                done = int(elapsed / self._pace.token_s)
                self._entry.completion_tokens = min(max(done, 0), tokens)
            raise

    async def _drip(self, data: bytes) -> None:
        interval_s = self._behaviour.interval_ms / 1000
        is_slow = self._behaviour.ending == "slow_drip"
        for value in data:
            self._exchange.write(bytes([value]))
            # Inside a character the pause is real, so that the peer reads half of it.
            is_inside = value >= 0x80  # noqa: PLR2004 -- UTF-8 lead and continuation bytes
            await asyncio.sleep(interval_s if is_slow else 0.001 if is_inside else 0)

    async def _comment_for_ever(self) -> NoReturn:
        self._begin(self._form.content_type)
        while True:
            self._exchange.write(self._form.keep_alive)
            await self._exchange.drain()
            await asyncio.sleep(max(self._behaviour.interval_ms, 1) / 1000)

    async def _content_for_ever(self, frames: tuple[Frame, ...], started: float) -> NoReturn:
        content = [frame for frame in frames if frame.kind == "content"] or list(frames)
        each = max(content[-1].produced // len(content), 1)
        produced = content[-1].produced
        while True:
            for frame in content:
                produced += each
                await self._frame(msgspec.structs.replace(frame, produced=produced), started)
                await asyncio.sleep(0 if self._pace.token_s > 0 else 0.001)

    async def _huge_body(self, *, is_stream: bool) -> None:
        exchange = self._exchange
        self._begin(self._form.content_type if is_stream else _JSON)
        block = b"x" * (64 * 1024)
        count = (self._behaviour.megabytes or 64) * 16
        before, after = b'{"text":"', b'"}'
        if is_stream:
            before, after = self._form.around(count * len(block))
        exchange.write(before)
        for _ in range(count):
            exchange.write(block)
            await exchange.drain()
        exchange.write(after)
        exchange.end()

    async def _scripted_delay(self) -> None:
        if self._behaviour.first_token_ms is not None:
            await self._until(self._exchange.received_at + self._pace.first_token_s)

    async def _until(self, moment: float) -> None:
        # `loop.time` is the monotonic clock that `received_at` was read from.
        left = moment - asyncio.get_running_loop().time()
        if left > 0:
            await asyncio.sleep(left)

    def _begin(
        self,
        content_type: str,
        *,
        framing: str = "chunked",
        length: int = 0,
        extra: dict[str, str] | None = None,
    ) -> None:
        self._entry.status = 200
        headers = {"content-type": content_type, **self._headers(), **(extra or {})}
        if framing == "length":
            self._exchange.begin(200, headers, "length", length=length)
        else:
            self._exchange.begin(200, headers, "close" if framing == "close" else "chunked")

    def _send(self, status: int, headers: dict[str, str], body: bytes) -> None:
        self._entry.status = status
        self._exchange.send(status, headers | self._headers(), body)

    def _headers(self) -> dict[str, str]:
        request_id = {self._protocol.request_id_header: f"req_{self._entry.number:016x}"}
        return request_id | self._protocol.headers


_INSTEAD = frozenset(
    {
        "hang",
        "hang_headers",
        "reset",
        "close",
        "redirect",
        "html200",
        "empty200",
        "gzip_bomb",
        "comments_only",
        "huge_body",
    }
)
# Endings after which the caller has everything, even when they are there to annoy.
_HARMLESS = frozenset({None, "stale", "wrong_type", "slow_drip", "length_and_chunked"})


def _edited(frames: tuple[Frame, ...], behaviour: Behaviour) -> tuple[Frame, ...]:
    ending = behaviour.ending
    dropped = {
        "no_done": ("done",),
        "no_finish": ("finish", "done"),
        "endless": ("finish", "usage", "done"),
    }.get(ending or "", ())
    frames = tuple(frame for frame in frames if frame.kind not in dropped)
    if ending not in ("malformed_json", "bad_utf8", "bad_checksum"):
        return frames
    content = [index for index, frame in enumerate(frames) if frame.kind == "content"] or [0]
    index = content[min(behaviour.at or 0, len(content) - 1)]
    frame = frames[index]
    if ending == "malformed_json":
        spoilt = msgspec.structs.replace(frame, data=frame.data[: len(frame.data) * 2 // 3])
    elif ending == "bad_utf8":
        spoilt = msgspec.structs.replace(frame, data=_spoil(frame.data, frame.text))
    else:
        spoilt = msgspec.structs.replace(frame, is_damaged=True)
    return (*frames[:index], spoilt, *frames[index + 1 :])


def _position(frames: tuple[Frame, ...], at: int) -> int:
    """How many frames to send so that `at` content frames are among them."""
    if at == 0:
        return 0
    content = [index for index, frame in enumerate(frames) if frame.kind == "content"]
    return content[min(at, len(content)) - 1] + 1 if content else min(1, len(frames))


def _spoil(data: bytes, text: str) -> bytes:
    # 0xC3 asks for a continuation byte that `(` is not.
    inside = msgspec.json.encode(text)[1:-1]
    return data.replace(inside, b"\xc3(" + inside, 1) if inside else data + b"\xc3("


def _shaped(shape: str, refusal: RefusedError, body: bytes) -> bytes:
    message = refusal.message
    shapes: dict[str, bytes] = {
        "string": msgspec.json.encode({"error": message}),
        "detail": msgspec.json.encode({"detail": message}),
        "message": msgspec.json.encode({"message": message}),
        "array": b"[" + body + b"]",
        "html": HTML,
        "empty": b"",
    }
    return shapes[shape]


@functools.lru_cache(maxsize=4)
def _gzip_bomb(megabytes: int) -> bytes:
    # One flushed deflate block of blanks, repeated: small, quick, and valid to its checksum.
    blanks = b" " * MIB
    deflate = zlib.compressobj(9, zlib.DEFLATED, -zlib.MAX_WBITS)
    block = deflate.compress(blanks) + deflate.flush(zlib.Z_FULL_FLUSH)
    last = deflate.flush(zlib.Z_FINISH)
    crc = 0
    for _ in range(megabytes):
        crc = zlib.crc32(blanks, crc)
    size = (megabytes * MIB) & 0xFFFFFFFF
    head = b"\x1f\x8b\x08\x00\x00\x00\x00\x00\x02\xff"
    tail = crc.to_bytes(4, "little") + size.to_bytes(4, "little")
    return head + block * megabytes + last + tail


async def _for_ever() -> NoReturn:
    # Ends by cancellation, when the peer leaves or the simulator stops.
    await asyncio.get_running_loop().create_future()
    raise AssertionError
