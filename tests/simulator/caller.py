"""A caller that shows what came over the socket, however wrong."""

import asyncio
import contextlib
import json
from collections.abc import Callable
from typing import Any, Literal, NamedTuple

from gateway.simulator.server import Simulator

QUESTION = [{"role": "user", "content": "How far is the bridge?"}]


class Reply(NamedTuple):
    """`body` is de-chunked as far as that went; `framing_is_whole` says whether it ended."""

    status: int | None
    headers: dict[str, str]
    body: bytes
    ended: Literal["whole", "fin", "reset", "open"]

    def json(self) -> Any:
        return json.loads(self.body)

    def events(self) -> list[Any]:
        """The payloads of a stream of plain events; `[DONE]` as text."""
        payloads = [
            line.removeprefix("data:").strip()
            for line in self.body.decode().splitlines()
            if line.startswith("data:")
        ]
        return [one if one == "[DONE]" else json.loads(one) for one in payloads]


def request_bytes(
    body: Any, *, path: str = "/v1/chat/completions", headers: dict[str, str] | None = None
) -> bytes:
    payload = body if isinstance(body, bytes) else json.dumps(body).encode()
    lines = [f"POST {path} HTTP/1.1", "host: simulator", f"content-length: {len(payload)}"]
    lines += [f"{name}: {value}" for name, value in (headers or {}).items()]
    return "\r\n".join([*lines, "", ""]).encode() + payload


async def ask(
    simulator: Simulator,
    model: str,
    *,
    stream: bool = False,
    path: str = "/v1/chat/completions",
    headers: dict[str, str] | None = None,
    patience_s: float = 5,
    **fields: Any,
) -> Reply:
    """One request on a connection of its own, read until it ends or patience does."""
    body = {"model": model, "messages": QUESTION, "stream": stream, **fields}
    reader, writer = await asyncio.open_connection("127.0.0.1", simulator.port)
    writer.write(request_bytes(body, path=path, headers=headers))
    try:
        return await read_reply(reader, patience_s=patience_s)
    finally:
        writer.close()
        with contextlib.suppress(OSError):
            await writer.wait_closed()


async def read_reply(reader: asyncio.StreamReader, *, patience_s: float = 5) -> Reply:
    raw = b""
    ended: Literal["whole", "fin", "reset", "open"] = "fin"
    try:
        async with asyncio.timeout(patience_s):
            while part := await reader.read(1 << 20):
                raw += part
                if is_whole(raw):
                    ended = "whole"
                    break
    except TimeoutError:
        ended = "open"
    except ConnectionResetError:
        ended = "reset"
    return parse(raw, ended)


def is_whole(raw: bytes) -> bool:
    head, end, body = raw.partition(b"\r\n\r\n")
    if not end:
        return False
    headers = head.lower()
    if b"transfer-encoding: chunked" in headers:
        return body.endswith(b"\r\n0\r\n\r\n") or body == b"0\r\n\r\n"
    length = headers.partition(b"content-length: ")[2].partition(b"\r\n")[0]
    return bool(length) and len(body) >= int(length)


def parse(raw: bytes, ended: Literal["whole", "fin", "reset", "open"]) -> Reply:
    if not raw:
        return Reply(None, {}, b"", ended)
    head, _, body = raw.partition(b"\r\n\r\n")
    first, *lines = head.decode().split("\r\n")
    headers = {name.lower(): value for name, _, value in (one.partition(": ") for one in lines)}
    if headers.get("transfer-encoding") == "chunked":
        body = dechunk(body)
    return Reply(int(first.split(" ")[1]), headers, body, ended)


def dechunk(body: bytes) -> bytes:
    whole = b""
    while body:
        size, _, rest = body.partition(b"\r\n")
        try:
            length = int(size, 16)
        except ValueError:
            break
        whole += rest[:length]
        body = rest[length + 2 :]
    return whole


async def until(condition: Callable[[], bool], *, patience_s: float = 5) -> None:
    """Wait for a condition; fails when it does not come true in time."""
    async with asyncio.timeout(patience_s):
        while not condition():  # noqa: ASYNC110 -- conditions are about sockets, not events
            await asyncio.sleep(0.002)
