"""Which address reaches which simulated provider, and which protocol is spoken there.

`http://HOST:PORT/simulated-atlas/v1` is a provider of the manifest and serves its models. Each
protocol has a stand-in for a real provider, which serves any model name:

| base URL | stands in for |
| --- | --- |
| `http://HOST:PORT/v1` | OpenAI and what is compatible with it |
| `http://HOST:PORT/anthropic/v1` | Anthropic Messages |
| `http://HOST:PORT/gemini/v1beta` | Gemini generateContent |
| `http://HOST:PORT/bedrock` | Amazon Bedrock Converse |

Without the protocol's name, `/v1` and `/v1beta` speak the protocol that has the rest of the path.
"""

import msgspec

from gateway.simulator.anthropic import ANTHROPIC
from gateway.simulator.bedrock import BEDROCK
from gateway.simulator.gemini import GEMINI
from gateway.simulator.manifest import BASE_PATHS, MANIFEST, SimulatedProvider, find_provider
from gateway.simulator.openai import OPENAI
from gateway.simulator.wire import Addressed, RefusedError, WireProtocol

PROTOCOLS: dict[str, WireProtocol] = {
    protocol.name: protocol for protocol in (OPENAI, ANTHROPIC, GEMINI, BEDROCK)
}
STAND_IN_PATHS = {name: f"/{name}{BASE_PATHS[name]}" for name in PROTOCOLS} | {
    "openai": BASE_PATHS["openai"]
}
_VERSIONS = frozenset({"v1", "v1beta"})


class Way(msgspec.Struct, frozen=True, kw_only=True):
    """Who answers at a path.

    `name` is the path's first segment, None for stand-ins without one; `route` what follows the
    base URL; `provider` is None for stand-ins and for names that nobody has.
    """

    name: str | None
    protocol: WireProtocol
    provider: SimulatedProvider | None
    route: str
    addressed: Addressed | None

    @property
    def is_known(self) -> bool:
        """Whether the protocol has such a path."""
        return self.addressed is not None or self.route in self.protocol.routes


def find_way(target: str) -> Way:
    """`/simulated-atlas/v1/models`: that provider; `/v1/models`, `/anthropic/v1/…`: stand-ins."""
    first, _, rest = target.lstrip("/").partition("/")
    name = None if first in _VERSIONS else first
    if name is not None:
        version, _, below = rest.partition("/")
        rest = below if version in _VERSIONS else rest
    route = rest.partition("?")[0].rstrip("/")
    provider = find_provider(name or "")
    if provider is not None:
        protocol = PROTOCOLS[provider.protocol]
    else:
        protocol = PROTOCOLS.get(name or "") or _by_route(route, rest)
    return Way(
        name=name,
        protocol=protocol,
        provider=provider,
        route=route,
        addressed=protocol.address(rest),
    )


def _by_route(route: str, below: str) -> WireProtocol:
    for protocol in PROTOCOLS.values():
        if route in protocol.routes or protocol.address(below) is not None:
            return protocol
    return OPENAI


def check_provider(way: Way) -> None:
    """Refuse a name that nobody has, with those there are."""
    if way.name is not None and way.provider is None and way.name not in PROTOCOLS:
        names = ", ".join(one.id for one in MANIFEST)
        raise RefusedError(404, f"No simulated provider `{way.name}`. Known: {names}.")
