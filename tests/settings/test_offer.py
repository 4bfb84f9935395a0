"""What can be routed to here: shipped, the operator's own, and simulated endpoints together."""

from pathlib import Path

import pytest

from gateway.settings.load import load_settings
from gateway.settings.offer import Offer, make_offer
from pricing.catalogue import Thinking
from pricing.errors import CatalogueError

MOCK = """
[providers.mock]
base_url = "http://127.0.0.1:9102/v1"
allow_private = true

[[providers.mock.endpoints]]
model = "mock/fast"
id = "fast"
context_tokens = 128_000
input_usd_per_mtok = 0.15
output_usd_per_mtok = 0.60
"""


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One data directory for all, so that the tables are read once."""
    return tmp_path_factory.mktemp("data")


def offer(cache: Path, text: str = "", simulated_url: str | None = None, **env: str) -> Offer:
    (cache / "tollway.toml").write_text(text)
    settings = load_settings(environment={"TOLLWAY_DATA_DIR": str(cache), **env}, directory=cache)
    return make_offer(settings, simulated_url)


def test_without_anything_enabled_nothing_is_offered(cache: Path) -> None:
    made = offer(cache)

    assert made.providers == ()
    assert dict(made.catalogue.endpoints_by_id) == {}


def test_a_credential_brings_the_shipped_endpoints_of_its_provider_alone(cache: Path) -> None:
    made = offer(cache, OPENAI_API_KEY="k")

    assert {endpoint.provider for endpoint in made.catalogue.endpoints_by_id.values()} == {"openai"}
    assert made.catalogue.endpoints_of("openai/gpt-4o-mini")
    assert made.configured_models == frozenset()


def test_endpoints_of_the_file_stand_beside_them_and_are_known_by_name(cache: Path) -> None:
    made = offer(cache, MOCK, OPENAI_API_KEY="k")

    (endpoint,) = made.catalogue.endpoints_of("mock/fast")
    assert (endpoint.id, endpoint.context_tokens) == ("mock/fast", 128_000)
    assert str(endpoint.prices[0].base.input_usd_per_mtok) == "0.15"
    assert made.configured_models == {"mock/fast"}
    assert [provider.id for provider in made.providers] == ["mock", "openai"]


def test_simulated_providers_are_named_so_and_mix_in_only_when_asked_for(cache: Path) -> None:
    made = offer(cache, simulated_url="http://127.0.0.1:9102")

    assert made.providers
    assert all(provider.id.startswith("simulated-") for provider in made.providers)
    assert len(made.catalogue.endpoints_of("simulated/fast")) == 4


def test_a_wrong_endpoint_names_itself_and_the_key(cache: Path) -> None:
    with pytest.raises(
        CatalogueError, match=r"endpoint `fast`: .* did you mean `input_usd_per_mtok`"
    ):
        offer(cache, MOCK + "inptu_usd_per_mtok = 1\n")


def test_the_tables_are_read_from_their_cache_the_second_time(cache: Path) -> None:
    first, second = offer(cache, OPENAI_API_KEY="k"), offer(cache, OPENAI_API_KEY="k")

    assert (cache / "catalogue.cache").exists()
    assert first.catalogue.version == second.catalogue.version


def test_a_server_that_speaks_anthropics_protocol_is_one_table(cache: Path) -> None:
    text = """
[providers.my-claude]
protocol = "anthropic"
base_url = "http://127.0.0.1:9102/anthropic/v1"
allow_private = true

[[providers.my-claude.endpoints]]
id = "claude-opus-4-6"
model = "my/claude"
input_usd_per_mtok = 5
output_usd_per_mtok = 25
thinking = { style = "adaptive", efforts = ["low", "high"] }
"""
    made = offer(cache, text)

    (provider,) = made.providers
    (endpoint,) = made.catalogue.endpoints_of("my/claude")
    assert provider.provider.protocol == "anthropic"
    assert endpoint.thinking == Thinking(style="adaptive", efforts=("low", "high"))
    assert endpoint.capabilities["logprobs"] is False
