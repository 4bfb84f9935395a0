"""Reaches providers with what a request brings along: its address, its credential, nobody else's.

The credential goes to an origin that the operator allowed to the caller's key, over the same
guarded connections as everything else. It lives as long as the request: it is in no cache, and
what providers say is searched for it before anything is kept.
"""

from collections.abc import Collection, Mapping

import httpx
from msgspec import structs

from gateway.chat.provider_configs import MEMBER, ProviderConfig
from gateway.chat.request import ChatRequest
from gateway.domain.errors import InvalidRequestError
from gateway.execution.access import AccessBook, ProviderAccess
from gateway.execution.deadlines import Deadlines
from gateway.execution.egress import DEFAULT_PORTS, EgressPolicy, origin_of
from gateway.providers.base import (
    Adapter,
    Completion,
    Fault,
    FaultError,
    StreamDecoder,
    StreamEvent,
    Target,
    UpstreamRequest,
)
from gateway.providers.registry import adapter_for, quirks_of
from gateway.providers.scrub import HIDDEN

_MS_PER_S = 1000.0
_SHORTEST_SECRET = 4
_Origin = tuple[str, str, int]


class OwnAccess:
    """Makes the access of one request; holds nothing of any."""

    def __init__(
        self,
        enabled: Mapping[str, ProviderAccess],
        *,
        transport: httpx.AsyncBaseTransport,
        policy: EgressPolicy,
        deadlines: Deadlines,
        user_agent: str,
    ) -> None:
        """Make it.

        Args:
            enabled: the operator's providers: their protocols and addresses, never their secrets.
            transport: guarded by ``policy``.
            policy: says which origins may be private, and without TLS.
            deadlines: of providers that are not enabled.
            user_agent: names us.
        """
        self._enabled = enabled
        self._transport = transport
        self._policy = policy
        self._deadlines = deadlines
        self._user_agent = user_agent

    def book(self, request: ChatRequest, origins: Collection[str]) -> AccessBook:
        """How the request's own providers are reached.

        Args:
            request: with ``provider_configs``.
            origins: that the caller's key may name.

        Raises:
            InvalidRequestError: an address is not allowed, or missing; names the member.
        """
        allowed = frozenset(_origin(httpx.URL(origin)) for origin in origins)
        return AccessBook(
            {one.provider: self._access(one, allowed) for one in request.provider_configs}
        )

    def _access(self, config: ProviderConfig, allowed: frozenset[_Origin]) -> ProviderAccess:
        known = self._enabled.get(config.provider)
        place = f"{MEMBER}.{config.provider}"
        base_url = config.base_url or (known.base_url if known is not None else None)
        if base_url is None:
            raise _refused(f"{place}.base_url", "is missing; that provider is not enabled here")
        self._check(f"{place}.base_url", base_url, allowed)
        deadlines = known.deadlines if known is not None else self._deadlines
        if config.timeout_ms is not None:
            limit_s = config.timeout_ms / _MS_PER_S
            deadlines = structs.replace(
                deadlines,
                first_token_s=limit_s,
                first_token_reasoning_s=limit_s,
                whole_answer_s=limit_s,
            )
        adapter = (
            known.adapter
            if known is not None
            else adapter_for("openai", user_agent=self._user_agent)
        )
        return ProviderAccess(
            id=config.provider,
            base_url=base_url,
            adapter=OwnAdapter(adapter, config),
            quirks=known.quirks if known is not None else quirks_of(config.provider),
            transport=self._transport,
            secret=config.api_key,
            deadlines=deadlines,
            is_of_caller=True,
        )

    def _check(self, place: str, base_url: str, allowed: frozenset[_Origin]) -> None:
        try:
            url = httpx.URL(base_url)
        except httpx.InvalidURL:
            raise _refused(place, "is no address") from None
        if url.userinfo or url.query or url.fragment or not url.host:
            raise _refused(place, "must be https://host/path without user, query or fragment")
        is_private = self._policy.allows_private(*origin_of(url))
        if url.scheme != "https" and not (url.scheme == "http" and is_private):
            raise _refused(place, "must begin with https://")
        if _origin(url) not in allowed:
            raise _refused(place, "is not among the origins that the operator allowed to this key")


class OwnAdapter:
    """An adapter that sends a request's own headers, and keeps its credential out of faults."""

    def __init__(self, adapter: Adapter, config: ProviderConfig) -> None:
        self._adapter = adapter
        self._config = config
        values = (config.api_key, *(value for _, value in _sent(config)))
        self._secrets = sorted({v for v in values if len(v) >= _SHORTEST_SECRET}, key=len)[::-1]

    def build_request(self, request: ChatRequest, target: Target, secret: str) -> UpstreamRequest:
        """The request, with the credential where the caller wants it."""
        own = _sent(self._config)
        if self._config.auth is not None:
            secret = ""
        wire = self._adapter.build_request(request, target, secret)
        replaced = {name.lower() for name, _ in own}
        kept = [pair for pair in wire.headers if pair[0].lower() not in replaced]
        return structs.replace(wire, headers=[*kept, *own])

    def parse_response(
        self, status: int, headers: Mapping[str, str], body: bytes, target: Target
    ) -> Completion:
        """A complete 2xx answer.

        Raises:
            FaultError: it is not an answer, or an error in disguise.
        """
        try:
            return self._adapter.parse_response(status, headers, body, target)
        except FaultError as exc:
            raise FaultError(self.discreet(exc.fault)) from None

    def parse_error(
        self, status: int, headers: Mapping[str, str], body: bytes, target: Target
    ) -> Fault:
        """Classify any other answer."""
        return self.discreet(self._adapter.parse_error(status, headers, body, target))

    def open_stream(self, target: Target) -> StreamDecoder:
        """A decoder for one streamed answer."""
        return _DiscreetDecoder(self._adapter.open_stream(target), self)

    def discreet(self, fault: Fault) -> Fault:
        """The fault without the credential, should the provider have repeated it."""
        return structs.replace(
            fault,
            message=self._without(fault.message),
            code=fault.code and self._without(fault.code),
            upstream_id=fault.upstream_id and self._without(fault.upstream_id),
        )

    def _without(self, text: str) -> str:
        for secret in self._secrets:
            text = text.replace(secret, HIDDEN)
        return text


class _DiscreetDecoder:
    """A decoder whose faults hold no credential."""

    __slots__ = ("_decoder", "_owner")

    def __init__(self, decoder: StreamDecoder, owner: OwnAdapter) -> None:
        self._decoder = decoder
        self._owner = owner

    def feed(self, data: bytes) -> list[StreamEvent]:
        """Events completed by these bytes."""
        return self._seen(self._decoder.feed(data))

    def end(self) -> list[StreamEvent]:
        """What the end of the stream completes."""
        return self._seen(self._decoder.end())

    def _seen(self, events: list[StreamEvent]) -> list[StreamEvent]:
        return [
            event
            if event.fault is None
            else structs.replace(event, fault=self._owner.discreet(event.fault))
            for event in events
        ]


def _sent(config: ProviderConfig) -> tuple[tuple[str, str], ...]:
    return config.headers if config.auth is None else (*config.headers, config.auth)


def _origin(url: httpx.URL) -> _Origin:
    return url.scheme, url.host, url.port or DEFAULT_PORTS.get(url.scheme, 0)


def _refused(place: str, what: str) -> InvalidRequestError:
    return InvalidRequestError(f"`{place}` {what}.", param=place, code="not_allowed")
