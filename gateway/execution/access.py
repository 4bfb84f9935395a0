"""How each endpoint is reached: joins what a provider needs with what its endpoints say."""

import httpx
import msgspec

from gateway.execution.deadlines import Deadlines
from gateway.execution.upstream import Access, origin_of
from gateway.providers.base import Adapter, Quirks, Target
from pricing.catalogue import Endpoint


class ProviderAccess(msgspec.Struct, frozen=True, kw_only=True):
    """One enabled provider. ``secret`` is a credential: never log this value."""

    id: str
    base_url: str
    adapter: Adapter
    quirks: Quirks
    transport: httpx.AsyncBaseTransport
    secret: str
    deadlines: Deadlines
    drains_on_disconnect: bool = False

    def __repr__(self) -> str:
        return f"ProviderAccess({self.id})"


class AccessBook:
    """Access by endpoint, made when an endpoint is first used; bounded by the catalogue's size."""

    def __init__(self, providers: dict[str, ProviderAccess]) -> None:
        self._providers = providers
        self._made: dict[str, Access] = {}

    def __call__(self, endpoint: Endpoint) -> Access:
        """The access of an endpoint whose provider is enabled.

        Raises:
            KeyError: its provider is not enabled; routing never offers such an endpoint.
        """
        access = self._made.get(endpoint.id)
        # A catalogue that was swapped brings new endpoint values under the same ids.
        if access is None or access.target.endpoint is not endpoint:
            provider = self._providers[endpoint.provider]
            base_url = provider.base_url.rstrip("/")
            access = Access(
                target=Target(endpoint=endpoint, base_url=base_url, quirks=provider.quirks),
                adapter=provider.adapter,
                transport=provider.transport,
                secret=provider.secret,
                origin=origin_of(httpx.URL(base_url)),
                deadlines=provider.deadlines,
                drains_on_disconnect=provider.drains_on_disconnect,
            )
            self._made[endpoint.id] = access
        return access
