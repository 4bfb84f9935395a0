"""One gateway for the module's clients, in front of a simulated provider that serves any model."""

from collections.abc import Callable, Iterator

import msgspec
import openai
import pytest

from gateway.simulator.running import simulator_in_thread
from gateway.simulator.server import Simulator
from tests.installation import Gateway, installation, provider_toml

ENDPOINTS = {
    "test/plain": "plain",
    "test/limited": "limited!429,retry_after=7",
    "test/broken": "broken!500",
    "test/overloaded": "overloaded!503",
    "test/silent": "silent!hang",
    "test/cut": "cut!reset_mid@3",
    # Slowly enough that the error does not come in one packet with what precedes it.
    "test/half": "half!error200@4,tokens_per_s=100",
    "test/both": "both",
    "test/broken-first": "broken-first!500",
    "test/thinking": "thinking-r1!reasoning=reasoning",
}
OTHER_ENDPOINTS = {"test/limited": "limited-too!429,retry_after=9", "test/both": "both"}
EMBEDDING = """
[[providers.alpha.endpoints]]
model = "test/embed"
id = "embed"
mode = "embedding"
input_usd_per_mtok = 1
"""
CLAUDE = """
[providers.claude]
protocol = "anthropic"
base_url = "{base_url}/anthropic/v1"
allow_private = true
[[providers.claude.endpoints]]
model = "test/claude"
id = "claude-sonnet-4-5"
max_output_tokens = 64_000
input_usd_per_mtok = 3
output_usd_per_mtok = 15
cache_read_usd_per_mtok = 0.3
cache_write_usd_per_mtok = 3.75
web_search_usd = 0.01
thinking = {{ style = "budget", min_tokens = 1024, can_be_off = true }}
capabilities = {{ tools = true, tool_choice = true, web_search = true, reasoning = true }}
"""
DEADLINES = ("whole_answer_s = 0.3", "first_token_s = 0.3")


class Site(msgspec.Struct, frozen=True, kw_only=True):
    """A gateway, a key for it, and the provider behind it."""

    gateway: Gateway
    key: str
    simulator: Simulator

    @property
    def base_url(self) -> str:
        return f"{self.gateway.url}/v1"


@pytest.fixture(scope="module")
def site(
    tmp_path_factory: pytest.TempPathFactory, postgres_dsn: Callable[..., str]
) -> Iterator[Site]:
    with simulator_in_thread(speed=0) as simulator:
        base_url = f"{simulator.base_url}/v1"
        toml = provider_toml("alpha", base_url, ENDPOINTS, options=DEADLINES) + EMBEDDING
        toml += provider_toml("beta", base_url, OTHER_ENDPOINTS, options=DEADLINES)
        toml += CLAUDE.format(base_url=simulator.base_url)
        home = tmp_path_factory.mktemp("clients") / "home"
        with (
            installation(home, toml=toml, TOLLWAY_DATABASE_URL=postgres_dsn()) as place,
            place.serve() as gateway,
        ):
            yield Site(gateway=gateway, key=gateway.make_key(), simulator=simulator)


@pytest.fixture
def client(site: Site) -> Iterator[openai.OpenAI]:
    """The official client as a user makes it: a base URL and a key are all that is given."""
    with openai.OpenAI(base_url=site.base_url, api_key=site.key) as official:
        yield official


@pytest.fixture
def received(site: Site) -> Callable[[], int]:
    """How many attempts reached the provider since the test began."""
    before = site.simulator.ledger.received
    return lambda: site.simulator.ledger.received - before
