"""How each endpoint is reached: joins what a provider needs with what its endpoints say."""

import httpx
import msgspec

from gateway.execution.aws_signing import Sign
from gateway.execution.deadlines import Deadlines
from gateway.execution.google_token import SecretOf
from gateway.execution.upstream import Access, origin_of
from gateway.providers.base import Adapter, Quirks, Target
from pricing.catalogue import Endpoint

_ONLY_ONE = (0,)


class ProviderAccess(msgspec.Struct, frozen=True, kw_only=True):
    """One enabled provider. Secrets are credentials: never log this value."""

    id: str
    base_url: str
    adapter: Adapter
    quirks: Quirks
    transport: httpx.AsyncBaseTransport
    secret: str
    further_secrets: tuple[str, ...] = ()
    """Credentials beside the first one, used in turn with it."""
    deadlines: Deadlines
    sign: Sign | None = None
    """Signs requests where there is no secret to send along."""
    secret_of: SecretOf | None = None
    """Gives the secret where it changes over time; ``secret`` is then empty."""
    drains_on_disconnect: bool = False
    is_of_caller: bool = False
    """Address and credential came with the request."""

    def __repr__(self) -> str:
        return f"ProviderAccess({self.id})"


class AccessBook:
    """Access by endpoint, made when an endpoint is first used; bounded by the catalogue's size."""

    def __init__(self, providers: dict[str, ProviderAccess]) -> None:
        self._providers = providers
        self._made: dict[tuple[str, int], Access] = {}
        self._turns = {
            name: _turns(1 + len(provider.further_secrets))
            for name, provider in providers.items()
            if provider.further_secrets
        }
        self._turn = dict.fromkeys(self._turns, 0)

    def __call__(self, endpoint: Endpoint, credential: int = 0) -> Access:
        """The access of an endpoint whose provider is enabled, with one of its credentials.

        Raises:
            KeyError: its provider is not enabled; routing never offers such an endpoint.
        """
        key = (endpoint.id, credential)
        access = self._made.get(key)
        # A catalogue that was swapped brings new endpoint values under the same ids.
        if access is None or access.target.endpoint is not endpoint:
            provider = self._providers[endpoint.provider]
            base_url = provider.base_url.rstrip("/")
            access = Access(
                target=Target(endpoint=endpoint, base_url=base_url, quirks=provider.quirks),
                adapter=provider.adapter,
                transport=provider.transport,
                secret=(provider.secret, *provider.further_secrets)[credential],
                origin=origin_of(httpx.URL(base_url)),
                deadlines=provider.deadlines,
                sign=provider.sign,
                secret_of=provider.secret_of,
                drains_on_disconnect=provider.drains_on_disconnect,
                is_of_caller=provider.is_of_caller,
            )
            self._made[key] = access
        return access

    def credentials_in_turn(self, provider: str) -> tuple[int, ...]:
        """A provider's credentials in the order to try; begins with another one every time."""
        turns = self._turns.get(provider)
        if turns is None:
            return _ONLY_ONE
        turn = self._turn[provider]
        self._turn[provider] = (turn + 1) % len(turns)
        return turns[turn]


def _turns(count: int) -> tuple[tuple[int, ...], ...]:
    """Every way to begin: ``(0, 1, 2)``, ``(1, 2, 0)``, ``(2, 0, 1)``."""
    return tuple(tuple((first + n) % count for n in range(count)) for first in range(count))
