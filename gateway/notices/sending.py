"""Sends one event to one webhook: signed, over the guarded transport, in bounded time."""

import asyncio
import time
from datetime import UTC, datetime
from uuid import UUID, uuid4

import httpx
import msgspec

from gateway.domain.notices import Event
from gateway.domain.wishes import WishError
from gateway.execution.egress import origin_of
from gateway.notices.signing import secret_of, sign
from gateway.storage.webhooks import Outcome
from gateway.version import USER_AGENT

_WITHIN_S = 10.0
_GONE = 410


class Courier:
    """Sends, one try at a time; never follows a redirect and never reads an answer's body."""

    def __init__(
        self,
        transport: httpx.AsyncBaseTransport,
        pepper: bytes,
        *,
        private_origins: frozenset[tuple[str, int]] = frozenset(),
    ) -> None:
        """Prepare.

        Args:
            transport: whose policy keeps us away from private addresses.
            pepper: that secrets are derived from.
            private_origins: hosts and ports of the operator's own, where TLS is not needed.
        """
        self._transport = transport
        self._pepper = pepper
        self._private_origins = private_origins

    def check(self, url: str) -> None:
        """Go on when a webhook may have this address.

        Raises:
            WishError: it may not.
        """
        try:
            parsed = httpx.URL(url)
        except httpx.InvalidURL as exc:
            raise WishError(f"url: is not an address: {exc}") from exc
        if parsed.userinfo or parsed.fragment or not parsed.host:
            raise WishError("url: give https://host/path, without user name, password or fragment")
        is_own = origin_of(parsed) in self._private_origins
        if parsed.scheme != "https" and not (parsed.scheme == "http" and is_own):
            raise WishError(
                "url: give an https address; one without TLS has to be listed as an origin under "
                "private_origins of [webhooks] in tollway.toml"
            )

    def secret(self, webhook_id: UUID) -> str:
        """Of a webhook, for whoever verifies what it gets."""
        return secret_of(webhook_id, self._pepper)

    async def aclose(self) -> None:
        """Let the connections go."""
        await self._transport.aclose()

    async def send(self, webhook_id: UUID, url: str, event: Event) -> Outcome:
        """Try once; whatever goes wrong is told in the outcome."""
        body = msgspec.json.encode(event)
        headers = sign(
            self.secret(webhook_id), event_id=event.id, unix_s=int(time.time()), body=body
        )
        request = httpx.Request(
            "POST",
            url,
            content=body,
            headers=headers | {"content-type": "application/json", "user-agent": USER_AGENT},
        )
        try:
            async with asyncio.timeout(_WITHIN_S):
                response = await self._transport.handle_async_request(request)
                await response.aclose()
        except TimeoutError:
            return Outcome(is_delivered=False, problem=f"no answer within {_WITHIN_S:g} s")
        except httpx.TransportError as exc:
            return Outcome(is_delivered=False, problem=str(exc) or type(exc).__name__)
        status = response.status_code
        if response.is_success:
            return Outcome(is_delivered=True, status_code=status)
        return Outcome(
            is_delivered=False,
            status_code=status,
            problem=f"it answered with HTTP {status}",
            is_final=status == _GONE,
        )


def trial_event() -> Event:
    """An event that means nothing, to try a webhook with."""
    now = datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
    return Event(id=f"evt_test_{uuid4().hex}", type="test", at=now, subject="test")
