"""Every OpenAI-compatible provider is reached by its credential, and any server by its table."""

import json
from pathlib import Path
from typing import Any

import pytest

from gateway.providers.base import Target, UpstreamRequest
from gateway.providers.registry import PROFILES, SUPPORTED_PROTOCOLS, adapter_for, quirks_of
from gateway.providers.usage import USAGE_FLAVOURS
from gateway.settings.enabled import EnabledProvider, find_enabled
from gateway.settings.load import load_settings
from gateway.settings.offer import make_offer
from pricing.catalogue import load_catalogue
from pricing.endpoint import Endpoint
from tests.pipeline.rig import chat_request

CATALOGUE = load_catalogue()
COMPATIBLE = (
    "openai", "azure", "groq", "together", "fireworks", "deepinfra", "novita", "nebius", "mistral",
    "deepseek", "x-ai", "cerebras", "moonshotai", "zai", "alibaba", "perplexity", "openrouter",
    "nvidia", "cohere",
)  # fmt: skip
AZURE = "https://my-resource.openai.azure.com/openai/v1"
LOCAL = {
    "vllm": "http://127.0.0.1:8000/v1",
    "ollama": "http://127.0.0.1:11434/v1",
    "lm-studio": "http://127.0.0.1:1234/v1",
    "llama-cpp": "http://127.0.0.1:8080/v1",
}
KEY = "sk-canary-0123456789"


def enabled(here: Path, name: str, text: str = "", **environment: str) -> EnabledProvider:
    (here / "tollway.toml").write_text(text)
    settings = load_settings(
        environment={"TOLLWAY_DATA_DIR": str(here / "data")} | environment, directory=here
    )
    found, skipped = find_enabled(settings, CATALOGUE, frozenset(SUPPORTED_PROTOCOLS))
    assert not skipped
    (provider,) = [one for one in found if one.id == name]
    return provider


def asked_of(provider: EnabledProvider, endpoint: Endpoint, **members: Any) -> UpstreamRequest:
    target = Target(endpoint=endpoint, base_url=provider.base_url, quirks=quirks_of(provider.id))
    adapter = adapter_for(provider.provider.protocol)
    return adapter.build_request(chat_request(**members), target, provider.secret)


@pytest.mark.parametrize("name", COMPATIBLE)
def test_a_credential_is_all_that_a_shipped_provider_needs(tmp_path: Path, name: str) -> None:
    shipped = CATALOGUE.providers[name]
    assert shipped.credential_env
    environment = {shipped.credential_env: KEY}
    if name == "azure":
        environment["AZURE_OPENAI_BASE_URL"] = AZURE
    provider = enabled(tmp_path, name, **environment)

    offers = [one for one in CATALOGUE.endpoints_by_id.values() if one.provider == name]
    chats = [one for one in offers if one.mode == "chat"]
    assert any(one.prices for one in chats)
    wire = asked_of(provider, chats[0], stream=True)
    assert wire.url == f"{provider.base_url}/chat/completions"
    assert wire.url.startswith("https://")
    assert any(KEY in value for _, value in wire.headers)
    assert json.loads(wire.body)["model"] == chats[0].provider_model
    assert name in PROFILES
    assert quirks_of(name).usage_flavour in USAGE_FLAVOURS


def test_azure_is_called_at_its_v1_address_with_its_own_header(tmp_path: Path) -> None:
    provider = enabled(
        tmp_path, "azure", AZURE_OPENAI_API_KEY=KEY, AZURE_OPENAI_BASE_URL=AZURE + "/"
    )
    deployment = next(one for one in CATALOGUE.endpoints_by_id.values() if one.provider == "azure")
    wire = asked_of(provider, deployment)

    assert wire.url == f"{AZURE}/chat/completions"
    assert ("api-key", KEY) in wire.headers
    assert not any(name == "Authorization" for name, _ in wire.headers)


def test_a_deployment_of_ones_own_is_an_endpoint_of_the_table(tmp_path: Path) -> None:
    text = f"""
[providers.azure]
base_url = "{AZURE}"
api_key = "env:KEY"
[[providers.azure.endpoints]]
id = "our-deployment"
model = "openai/gpt-4o"
input_usd_per_mtok = 2.5
output_usd_per_mtok = 10
"""
    (tmp_path / "tollway.toml").write_text(text)
    settings = load_settings(
        environment={"KEY": KEY, "TOLLWAY_DATA_DIR": str(tmp_path / "data")}, directory=tmp_path
    )
    offer = make_offer(settings, None)

    endpoint = offer.catalogue.endpoints_by_id["azure/our-deployment"]
    (provider,) = offer.providers
    assert json.loads(asked_of(provider, endpoint).body)["model"] == "our-deployment"
    assert endpoint in offer.catalogue.endpoints_of("openai/gpt-4o")


@pytest.mark.parametrize("name", LOCAL)
def test_any_server_is_reached_by_its_address(tmp_path: Path, name: str) -> None:
    text = f"""
[providers.{name}]
base_url = "{LOCAL[name]}"
allow_private = true
[[providers.{name}.endpoints]]
id = "llama-3"
"""
    provider = enabled(tmp_path, name, text)
    endpoint = Endpoint(id=f"{name}/x", provider=name, provider_model="llama-3", model="acme/llama")
    wire = asked_of(provider, endpoint)

    assert provider.provider.protocol == "openai"
    assert wire.url == f"{LOCAL[name]}/chat/completions"
    assert not any(header == "Authorization" for header, _ in wire.headers)
    assert provider.allow_private
