"""Sends one request to one endpoint and reads its answer, within its deadlines and size limits."""

import functools
import os
import time
from collections.abc import AsyncIterator, Mapping

import httpx
import msgspec

from gateway.chat.request import ChatRequest
from gateway.domain.outcomes import STALE_CONNECTION, Outcome
from gateway.execution.attempt import Attempt
from gateway.execution.aws_signing import Sign
from gateway.execution.deadlines import Deadlines
from gateway.execution.google_token import SecretOf
from gateway.execution.media import MediaFetcher
from gateway.execution.time_limit import TimeLimit
from gateway.execution.transport import StaleConnectionError, TlsError
from gateway.providers.base import (
    Adapter,
    Completion,
    Fault,
    FaultError,
    StreamDecoder,
    Target,
    UpstreamRequest,
)
from gateway.providers.echo import redacted_body
from gateway.routing.filters import fetches_addresses

MAX_ANSWER_BYTES = 32 * 1024 * 1024
_MAX_ERROR_BYTES = 64 * 1024
_REMEMBERED = 4096
_STREAMS = ("text/event-stream", "application/vnd.amazon.eventstream")
_OK = 200
_MULTIPLE_CHOICES = 300


Origin = tuple[str, str, int | None]


class Access(msgspec.Struct, frozen=True, kw_only=True):
    """How an endpoint is reached from here. ``secret`` is a credential: never log this value."""

    target: Target
    adapter: Adapter
    transport: httpx.AsyncBaseTransport
    secret: str
    origin: Origin
    """Scheme, host and port that the credential belongs to; it is sent nowhere else."""
    deadlines: Deadlines
    sign: Sign | None = None
    """Signs each request instead of a secret that goes with it."""
    secret_of: SecretOf | None = None
    """Gives the secret where it changes over time; ``secret`` is then empty."""
    drains_on_disconnect: bool = False
    """Read on for the true usage when the caller hangs up, where the provider bills anyway."""
    is_of_caller: bool = False
    """Address and credential came with the request: nothing of them is remembered."""

    def __repr__(self) -> str:
        return f"Access({self.target.endpoint.id})"


def origin_of(url: httpx.URL) -> Origin:
    """Scheme, host and port of an address, for comparing."""
    return (url.scheme, url.host, url.port)


class StaleConnectionFaultError(FaultError):
    """A reused connection was reset before any byte of an answer; asking again at once is safe."""


# No connection rather than a broken answer: the request was not read, so nothing is billed.
_STALE = Fault(
    outcome=Outcome.CONNECT_ERROR,
    code=STALE_CONNECTION,
    message="the provider had closed the connection that was reused",
)


class OpenStream:
    """A streamed answer whose headers have arrived."""

    __slots__ = ("_iterator", "_response", "decoder")

    def __init__(self, response: httpx.Response, decoder: StreamDecoder) -> None:
        self._response = response
        stream = response.stream
        if not isinstance(stream, httpx.AsyncByteStream):
            raise TypeError("the transport answered with a synchronous stream")
        self._iterator: AsyncIterator[bytes] = aiter(stream)
        self.decoder = decoder

    async def read(self) -> bytes | None:
        """The next bytes; None at the end.

        Raises:
            FaultError: the connection broke.
        """
        try:
            return await anext(self._iterator, None)
        except httpx.TransportError as exc:
            raise FaultError(_read_fault(exc, self._response.status_code)) from exc

    async def aclose(self) -> None:
        """Close the connection at once if the answer is unfinished, so that the provider stops."""
        await self._response.aclose()


class Upstream:
    """Calls endpoints. One instance serves all; it holds no state of its own."""

    def __init__(self, media: MediaFetcher | None = None) -> None:
        """Make it; ``media`` fetches what endpoints do not fetch themselves, None never does."""
        self._media = media

    async def complete(
        self, request: ChatRequest, access: Access, attempt: Attempt, *, until_s: float
    ) -> Completion:
        """The whole answer of one attempt.

        Args:
            request: what the client asked.
            access: the endpoint.
            attempt: is told what is observed.
            until_s: the request's overall deadline on the monotonic clock.

        Raises:
            FaultError: anything but an answer.
        """
        allowed_s = access.deadlines.whole_answer_s
        try:
            with TimeLimit(min(allowed_s, until_s - time.monotonic())):
                response = await self._send(request, access, attempt)
                try:
                    body = await _read_all(response, MAX_ANSWER_BYTES)
                finally:
                    await response.aclose()
        except TimeoutError as exc:
            raise FaultError(_late(Outcome.FIRST_TOKEN_TIMEOUT, allowed_s, until_s)) from exc
        completion = access.adapter.parse_response(
            response.status_code, _header_map(response), body, access.target
        )
        attempt.observe_completion(completion)
        return completion

    async def open(self, request: ChatRequest, access: Access, attempt: Attempt) -> OpenStream:
        """A stream whose status is 2xx. The caller sets the deadline.

        Raises:
            FaultError: the endpoint refused or could not be reached.
        """
        response = await self._send(request, access, attempt)
        content_type = response.headers.get("content-type", "")
        if not any(kind in content_type for kind in _STREAMS):
            # A provider that ignores ``stream``, or a proxy's page: the adapter can tell.
            try:
                body = await _read_all(response, MAX_ANSWER_BYTES)
            finally:
                await response.aclose()
            raise FaultError(_not_a_stream(access, attempt, response, body, content_type))
        return OpenStream(response, access.adapter.open_stream(access.target))

    async def _send(self, request: ChatRequest, access: Access, attempt: Attempt) -> httpx.Response:
        """Send, and read an error's body; returns only 2xx answers."""
        if request.names_addresses and not fetches_addresses(access.target.endpoint):
            request = await self._with_data(request, access)
        secret = access.secret if access.secret_of is None else await access.secret_of()
        wire = access.adapter.build_request(request, access.target, secret)
        attempt.warnings = wire.warnings
        if request.echo_upstream_body:
            attempt.echo = redacted_body(wire)
        if access.sign is not None:
            wire = access.sign(wire)
        outgoing = _to_httpx(wire, access)
        try:
            response = await access.transport.handle_async_request(outgoing)
        except httpx.TransportError as exc:
            if isinstance(exc, StaleConnectionError):
                raise StaleConnectionFaultError(_STALE) from exc
            raise FaultError(_send_fault(exc)) from exc
        attempt.status_code = response.status_code
        if _OK <= response.status_code < _MULTIPLE_CHOICES:
            return response
        try:
            body = await _read_all(response, _MAX_ERROR_BYTES, cut=True)
        finally:
            await response.aclose()
        raise FaultError(
            access.adapter.parse_error(
                response.status_code, _header_map(response), body, access.target
            )
        )

    async def _with_data(self, request: ChatRequest, access: Access) -> ChatRequest:
        if self._media is not None:
            return await self._media.inline(request)
        provider = access.target.endpoint.provider
        raise FaultError(
            Fault(
                outcome=Outcome.UNSUPPORTED,
                message=f"{provider} does not fetch images or files by their address; send a data "
                "URL, or have the operator set `fetch = true` under `[media]`",
            )
        )


def _to_httpx(wire: UpstreamRequest, access: Access) -> httpx.Request:
    url, origin = _address(wire.url)
    has_credential = (
        access.secret
        or access.sign is not None
        or access.secret_of is not None
        or access.is_of_caller
    )
    if has_credential and origin != access.origin:
        provider = access.target.endpoint.provider
        raise FaultError(
            Fault(
                outcome=Outcome.GATEWAY_ERROR,
                message=f"the credential of {provider} is not for {url.host}",
            )
        )
    request = httpx.Request(
        wire.method,
        url,
        headers=httpx.Headers(wire.headers)
        if access.is_of_caller
        else _headers(tuple(wire.headers)),
        # As a stream, so that httpx adds no headers of its own: the transport knows what is due.
        stream=httpx.ByteStream(wire.body),
        extensions={"timeout": {"connect": access.deadlines.connect_s}},
    )
    request.read()
    return request


# Parsed once: an endpoint's address and headers are the same for every request.
@functools.lru_cache(maxsize=_REMEMBERED)
def _address(url: str) -> tuple[httpx.URL, Origin]:
    parsed = httpx.URL(url)
    return parsed, origin_of(parsed)


@functools.lru_cache(maxsize=_REMEMBERED)
def _headers(pairs: tuple[tuple[str, str], ...]) -> httpx.Headers:
    return httpx.Headers(list(pairs))


def _header_map(response: httpx.Response) -> Mapping[str, str]:
    return response.headers


async def _read_all(response: httpx.Response, limit: int, *, cut: bool = False) -> bytes:
    """All bytes of a body up to a limit; past it an error, or just the part that was read."""
    stream = response.stream
    if not isinstance(stream, httpx.AsyncByteStream):
        raise TypeError("the transport answered with a synchronous stream")
    parts: list[bytes] = []
    size = 0
    try:
        async for part in stream:
            parts.append(part)
            size += len(part)
            if size > limit:
                if cut:
                    break
                raise FaultError(
                    Fault(
                        outcome=Outcome.BAD_RESPONSE,
                        message=f"the answer is larger than {limit} bytes",
                        status_code=response.status_code,
                    )
                )
    except httpx.TransportError as exc:
        if cut:
            return b"".join(parts)
        raise FaultError(_read_fault(exc, response.status_code)) from exc
    return parts[0] if len(parts) == 1 else b"".join(parts)


def _send_fault(exc: httpx.TransportError) -> Fault:
    if isinstance(exc, TlsError):
        return Fault(outcome=Outcome.TLS_ERROR, message=f"TLS failed: {exc}"[:512])
    if isinstance(exc, httpx.ConnectTimeout):
        return Fault(outcome=Outcome.CONNECT_TIMEOUT, message="no connection within the limit")
    if isinstance(exc, httpx.ConnectError):
        return Fault(outcome=Outcome.CONNECT_ERROR, message=f"no connection ({_reason(exc)})")
    return _read_fault(exc, 0)


def _reason(exc: BaseException) -> str:
    """Why a connection failed, without the address: clients need not know where providers are."""
    cause: BaseException | None = exc
    while cause is not None:
        if isinstance(cause, OSError) and cause.strerror and cause.errno is not None:
            return os.strerror(cause.errno) if cause.errno > 0 else "name not resolved"
        cause = cause.__cause__ or cause.__context__
    return "refused"


def _read_fault(exc: httpx.TransportError, status_code: int) -> Fault:
    if isinstance(exc, httpx.RemoteProtocolError):
        return Fault(
            outcome=Outcome.READ_ERROR,
            message=f"the answer was cut off or is not HTTP: {exc}"[:512],
            status_code=status_code,
        )
    return Fault(
        outcome=Outcome.READ_ERROR,
        message=f"the connection broke: {exc}"[:512],
        status_code=status_code,
    )


def _late(outcome: Outcome, allowed_s: float, until_s: float) -> Fault:
    if until_s <= time.monotonic():
        return Fault(outcome=Outcome.TOTAL_TIMEOUT, message="the request's whole time is used up")
    return Fault(outcome=outcome, message=f"no answer within {allowed_s:g} s")


def _not_a_stream(
    access: Access, attempt: Attempt, response: httpx.Response, body: bytes, content_type: str
) -> Fault:
    """What a 2xx answer without an event stream is: a disguised error, or unreadable."""
    try:
        completion = access.adapter.parse_response(
            response.status_code, _header_map(response), body, access.target
        )
    except FaultError as exc:
        return exc.fault
    # Of no use to the client, and the provider bills it all the same.
    attempt.observe_completion(completion)
    return Fault(
        outcome=Outcome.BAD_RESPONSE,
        message=f"asked for a stream, answered with {content_type or 'no content type'}"[:512],
        status_code=response.status_code,
    )
