"""Fetches the images and files that a request names by address, for endpoints that take data only.

Off unless the operator switches it on: whoever can send a request could otherwise make this machine
call addresses of their choice. Only https, only public addresses (the transport's guard sees the
final one), no credentials, few redirects and each checked anew, a cap on size, number and time,
and the bytes themselves must be of a kind that is meant.
"""

import asyncio
import base64
from collections.abc import Callable
from typing import Any, cast

import httpx
import msgspec
from msgspec import Raw, structs

from gateway.chat.request import ChatRequest
from gateway.domain.outcomes import Outcome
from gateway.execution.egress import origin_of
from gateway.providers.base import Fault, FaultError

MAX_BYTES = 20 * 1024 * 1024
"""Of all that one request names, together."""
MAX_ADDRESSES = 16
WITHIN_S = 10.0
_MOST_REDIRECTS = 3
_REDIRECTS = frozenset({301, 302, 303, 307, 308})
_OK = 200
_QUOTED = 200

_MESSAGES = msgspec.json.Decoder(list[dict[str, Any]])
_ENCODER = msgspec.json.Encoder()


class Media(msgspec.Struct, frozen=True, kw_only=True):
    """What was fetched. ``kind`` is a media type that its first bytes prove."""

    kind: str
    data: bytes

    @property
    def url(self) -> str:
        """The same as a ``data:`` URL."""
        return f"data:{self.kind};base64,{base64.b64encode(self.data).decode()}"


class MediaFetcher:
    """Replaces addresses in requests by what is found there."""

    def __init__(
        self,
        transport: httpx.AsyncBaseTransport,
        *,
        max_bytes: int = MAX_BYTES,
        within_s: float = WITHIN_S,
        private_origins: frozenset[tuple[str, int]] = frozenset(),
    ) -> None:
        """Make a fetcher.

        Args:
            transport: its own, guarded, with no allowance for private addresses but these.
            max_bytes: of all addresses of one request together.
            within_s: for all of them together.
            private_origins: host and port of the operator's own file servers, which may be asked
                without TLS.
        """
        self._transport = transport
        self._max_bytes = max_bytes
        self._within_s = within_s
        self._private_origins = private_origins

    async def inline(self, request: ChatRequest) -> ChatRequest:
        """The request with data in the place of addresses; itself when it names none.

        Raises:
            FaultError: something cannot be fetched; names the member and why.
        """
        if not request.names_addresses:
            return request
        messages = _MESSAGES.decode(request.body["messages"])
        found = _addresses(messages)
        if not found:
            return request
        if len(found) > MAX_ADDRESSES:
            raise _refused(
                "messages", f"name {len(found)} addresses; at most {MAX_ADDRESSES} are fetched"
            )
        left = self._max_bytes
        try:
            async with asyncio.timeout(self._within_s):
                for where, address, put in found:
                    media = await self._fetch(where, address, left)
                    left -= len(media.data)
                    put(media.url)
        except TimeoutError as exc:
            raise _refused("messages", f"could not be fetched within {self._within_s:g} s") from exc
        body = {**request.body, "messages": Raw(_ENCODER.encode(messages))}
        return structs.replace(request, body=body)

    async def _fetch(self, where: str, address: str, most: int) -> Media:
        for _ in range(_MOST_REDIRECTS + 1):
            url = self._checked(where, address)
            request = httpx.Request(
                "GET",
                url,
                headers={"Accept": "image/*, application/pdf", "Accept-Encoding": "identity"},
                extensions={"timeout": {"connect": self._within_s}},
            )
            try:
                response = await self._transport.handle_async_request(request)
            except httpx.TransportError as exc:
                raise _refused(where, "cannot be reached, or may not be") from exc
            try:
                if response.status_code in _REDIRECTS and "location" in response.headers:
                    address = str(url.join(response.headers["location"]))
                    continue
                if response.status_code != _OK:
                    raise _refused(where, f"was answered with the status {response.status_code}")
                data = await _read(response, most, where)
            finally:
                await response.aclose()
            kind = kind_of(data)
            if kind is None:
                raise _refused(where, "is neither an image (PNG, JPEG, GIF, WebP) nor a PDF")
            return Media(kind=kind, data=data)
        raise _refused(where, f"leads on more than {_MOST_REDIRECTS} times")

    def _checked(self, where: str, address: str) -> httpx.URL:
        try:
            url = httpx.URL(address)
        except httpx.InvalidURL as exc:
            raise _refused(where, "is no address") from exc
        is_own = url.scheme == "http" and origin_of(url) in self._private_origins
        if url.scheme != "https" and not is_own:
            raise _refused(where, "must begin with https://")
        if url.userinfo:
            raise _refused(where, "holds a user name, which is not passed on; leave it out")
        return url.copy_with(fragment=None)


def kind_of(data: bytes) -> str | None:
    """The media type that the first bytes prove; None for anything else."""
    if data[:4] == b"RIFF" and data[8:12] == b"WEBP":
        return "image/webp"
    return next((kind for mark, kind in _MARKS if data.startswith(mark)), None)


# developer.mozilla.org/docs/Web/Media/Guides/Formats/Image_types and ISO 32000-1, 7.5.2.
_MARKS = (
    (b"\x89PNG\r\n\x1a\n", "image/png"),
    (b"\xff\xd8\xff", "image/jpeg"),
    (b"GIF87a", "image/gif"),
    (b"GIF89a", "image/gif"),
    (b"%PDF-", "application/pdf"),
)


async def _read(response: httpx.Response, most: int, where: str) -> bytes:
    stream = response.stream
    if not isinstance(stream, httpx.AsyncByteStream):
        raise TypeError("the transport answered with a synchronous stream")
    data = bytearray()
    try:
        async for part in stream:
            data += part
            if len(data) > most:
                raise _refused(where, "is too large; send less, or a smaller picture")
    except httpx.TransportError as exc:
        raise _refused(where, "broke off while it was fetched") from exc
    return bytes(data)


Found = tuple[str, str, Callable[[str], None]]
"""Where an address stands, the address, and how it is replaced."""
Members = dict[str, Any]


def _addresses(messages: list[Members]) -> list[Found]:
    found: list[Found] = []
    for index, message in enumerate(messages):
        for number, part in enumerate(_objects(message.get("content"))):
            for holder, key in _holders(part):
                if _is_address(holder.get(key)):
                    where = f"messages.{index}.content.{number}"
                    found.append((where, holder[key], _putter(holder, key)))
    return found


def _objects(content: object) -> list[Members]:
    """The parts of a content, in their places."""
    if not isinstance(content, list):
        return []
    parts = cast(list[object], content)
    return [cast(Members, part) if isinstance(part, dict) else {} for part in parts]


def _holders(part: Members) -> list[tuple[Members, str]]:
    """What in a part can hold an address, and under which name."""
    held: list[tuple[Members, str]] = [(part, "image_url")]
    for name, key in (("image_url", "url"), ("file", "file_data")):
        inner: object = part.get(name)
        if isinstance(inner, dict):
            held.append((cast(Members, inner), key))
    return held


def _is_address(value: object) -> bool:
    return isinstance(value, str) and value[:8].lower().startswith(("http://", "https://"))


def _putter(holder: Members, key: str) -> Callable[[str], None]:
    def put(url: str) -> None:
        holder[key] = url

    return put


def _refused(where: str, why: str) -> FaultError:
    """A fault of the request: no other endpoint could do better."""
    return FaultError(
        Fault(outcome=Outcome.INVALID_REQUEST, message=f"the address in `{where}` {why}"[:512])
    )
