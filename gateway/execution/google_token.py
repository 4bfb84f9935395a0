"""Access tokens for Vertex AI: a service account's signature exchanged for a token, and kept.

RFC 7523 as developers.google.com/identity/protocols/oauth2/service-account has it. A token lives an
hour; a new one is fetched in the background minutes before, so that requests do not wait. Neither
key nor token is ever in a message, a log or a repr.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import Any, Final
from urllib.parse import urlencode

import httpx
import msgspec

from gateway.domain.outcomes import Outcome
from gateway.providers.base import Fault, FaultError
from gateway.providers.scrub import scrub

SecretOf = Callable[[], Awaitable[str]]
"""A credential that changes over time. Raises `FaultError` when there is none."""

SCOPE: Final = "https://www.googleapis.com/auth/cloud-platform"
_GRANT: Final = "urn:ietf:params:oauth:grant-type:jwt-bearer"
_LIFETIME_S: Final = 3600
_REFRESH_BEFORE_S: Final = 300.0
_USABLE_BEFORE_S: Final = 30.0
_WITHIN_S: Final = 10.0
_REST_AFTER_FAILURE_S: Final = 5.0
_MOST_BYTES: Final = 64 * 1024
_OK: Final = 200
_FIRST_SERVER_STATUS: Final = 500
_TOO_MANY: Final = 429


class ServiceAccount(msgspec.Struct, frozen=True, kw_only=True):
    """A key file of Google Cloud. ``private_key`` is a credential: never log this value."""

    client_email: str
    private_key: str
    token_uri: str = "https://oauth2.googleapis.com/token"  # noqa: S105 -- an address
    private_key_id: str | None = None
    project_id: str | None = None

    def __repr__(self) -> str:
        return "ServiceAccount()"


class _Answer(msgspec.Struct, kw_only=True):
    access_token: str = ""
    expires_in: float = 300.0


class _Refusal(msgspec.Struct, kw_only=True):
    error: str = ""
    error_description: str = ""


_ANSWER: Final = msgspec.json.Decoder(_Answer, strict=False)
_REFUSAL: Final = msgspec.json.Decoder(_Refusal)


class GoogleTokens:
    """The token of one service account; belongs to the event loop of its first call.

    One fetch at a time serves everybody who waits. ``now`` is a clock in seconds: Unix time, since
    the signature states it.
    """

    def __init__(
        self,
        account: ServiceAccount,
        transport: httpx.AsyncBaseTransport,
        *,
        now: Callable[[], float] = time.time,
    ) -> None:
        """Fetch through ``transport``, which is guarded like every way out.

        Raises:
            ValueError: the private key cannot be read.
        """
        self._account = account
        self._transport = transport
        self._now = now
        self._sign = _make_signer(account)
        self._token = ""
        self._expires_at_s = 0.0
        self._fetching: asyncio.Task[None] | None = None
        self._fault: Fault | None = None
        self._rests_until_s = 0.0

    def __repr__(self) -> str:
        return "GoogleTokens()"

    async def __call__(self) -> str:
        """A token that is good for a while yet.

        Raises:
            FaultError: the service account was refused, or nobody answered.
        """
        left_s = self._expires_at_s - self._now()
        if left_s <= _REFRESH_BEFORE_S:
            self._begin()
        if left_s > _USABLE_BEFORE_S:
            return self._token
        if self._fetching is not None:
            # Whoever hangs up does not take the token from the others who wait.
            await asyncio.wait([self._fetching])
        if self._expires_at_s - self._now() > 0 and self._token:
            return self._token
        raise FaultError(self._fault or _unreachable("no token"))

    async def aclose(self) -> None:
        """Stop fetching."""
        if self._fetching is not None:
            self._fetching.cancel()
            await asyncio.wait([self._fetching])

    def _begin(self) -> None:
        is_resting = self._fault is not None and self._now() < self._rests_until_s
        if self._fetching is None and not is_resting:
            self._fetching = asyncio.get_running_loop().create_task(
                self._fetch(), name="google token"
            )
            self._fetching.add_done_callback(self._on_done)

    def _on_done(self, task: asyncio.Task[None]) -> None:
        self._fetching = None
        if not task.cancelled() and (exc := task.exception()) is not None:
            self._fail(_unreachable(type(exc).__name__))

    async def _fetch(self) -> None:
        """Set token or fault; raises nothing that is foreseen."""
        try:
            async with asyncio.timeout(_WITHIN_S):
                status, body = await self._ask()
        except TimeoutError:
            self._fail(_unreachable(f"no answer within {_WITHIN_S:g} s"))
            return
        except httpx.TransportError as exc:
            self._fail(_unreachable(type(exc).__name__))
            return
        if status != _OK:
            self._fail(_refused(status, body))
            return
        try:
            answer = _ANSWER.decode(body)
        except msgspec.DecodeError:
            answer = _Answer()
        if not answer.access_token:
            self._fail(_unreachable("an answer without a token"))
            return
        self._token = answer.access_token
        self._expires_at_s = self._now() + max(0.0, answer.expires_in)
        self._fault = None

    def _fail(self, fault: Fault) -> None:
        self._fault = fault
        self._rests_until_s = self._now() + _REST_AFTER_FAILURE_S

    async def _ask(self) -> tuple[int, bytes]:
        form = urlencode({"grant_type": _GRANT, "assertion": self._sign(int(self._now()))})
        request = httpx.Request(
            "POST",
            self._account.token_uri,
            headers={
                "Content-Type": "application/x-www-form-urlencoded",
                "Accept": "application/json",
                "Accept-Encoding": "identity",
            },
            stream=httpx.ByteStream(form.encode()),
            extensions={"timeout": {"connect": _WITHIN_S}},
        )
        request.read()
        response = await self._transport.handle_async_request(request)
        try:
            body = b""
            if isinstance(response.stream, httpx.AsyncByteStream):
                async for part in response.stream:
                    body += part
                    if len(body) > _MOST_BYTES:
                        break
            return response.status_code, body
        finally:
            await response.aclose()


def _make_signer(account: ServiceAccount) -> Callable[[int], str]:
    """A function from a Unix time to a signed assertion.

    Raises:
        ValueError: the private key cannot be read.
    """
    # Slow to import, and only service accounts need them.
    import jwt  # noqa: PLC0415
    from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey  # noqa: PLC0415
    from cryptography.hazmat.primitives.serialization import load_pem_private_key  # noqa: PLC0415

    try:
        key = load_pem_private_key(account.private_key.encode(), password=None)
    except (ValueError, TypeError):
        # Not chained: what the library says may hold a part of the key.
        raise ValueError("the private key of the service account cannot be read") from None
    if not isinstance(key, RSAPrivateKey):
        raise ValueError("the private key of the service account is no RSA key")  # noqa: TRY004
    private_key: Any = key
    headers = {"kid": account.private_key_id} if account.private_key_id else None

    def sign(now_s: int) -> str:
        claims = {
            "iss": account.client_email,
            "scope": SCOPE,
            "aud": account.token_uri,
            "iat": now_s,
            "exp": now_s + _LIFETIME_S,
        }
        return jwt.encode(claims, private_key, algorithm="RS256", headers=headers)

    return sign


def _refused(status: int, body: bytes) -> Fault:
    try:
        refusal = _REFUSAL.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError):
        refusal = _Refusal()
    if status >= _FIRST_SERVER_STATUS or status == _TOO_MANY:
        return _unreachable(f"status {status}")
    why = scrub(f"{refusal.error} {refusal.error_description}") or f"status {status}"
    return Fault(
        outcome=Outcome.AUTH_FAILED,
        message=f"Google refused the service account: {why}"[:512],
        status_code=status,
        code=scrub(refusal.error)[:64] or None,
    )


def _unreachable(what: str) -> Fault:
    return Fault(
        outcome=Outcome.CONNECT_ERROR,
        message=f"no access token from Google: {what}"[:512],
        code="token_unavailable",
    )
