"""From one region, only the endpoints are asked that it offers."""

import pytest

from gateway.providers.bedrock_regions import region_of, unreached_models
from pricing.catalogue import load_catalogue

MODELS = [
    "anthropic.claude-opus-5",
    "us.anthropic.claude-opus-5",
    "us-gov.anthropic.claude-opus-5",
    "eu.anthropic.claude-opus-5",
    "jp.anthropic.claude-opus-5",
    "apac.anthropic.claude-opus-5",
    "global.anthropic.claude-opus-5",
    "invoke/anthropic.claude-opus-5",
    "meta.llama3-8b",
    "global.moonshotai.kimi-k3",
    "moonshotai.kimi-k3",
]
ANYWHERE = {"meta.llama3-8b", "global.moonshotai.kimi-k3", "moonshotai.kimi-k3"}


@pytest.mark.parametrize(
    ("region", "reached"),
    [
        ("us-east-1", {"us.anthropic.claude-opus-5", "global.anthropic.claude-opus-5"}),
        ("eu-west-3", {"eu.anthropic.claude-opus-5", "global.anthropic.claude-opus-5"}),
        (
            "ap-northeast-1",
            {
                "jp.anthropic.claude-opus-5",
                "apac.anthropic.claude-opus-5",
                "global.anthropic.claude-opus-5",
            },
        ),
        ("sa-east-1", {"anthropic.claude-opus-5", "global.anthropic.claude-opus-5"}),
    ],
)
def test_a_region_reaches_its_own_geography(region: str, reached: set[str]) -> None:
    url = f"https://bedrock-runtime.{region}.amazonaws.com"

    assert set(MODELS) - unreached_models(MODELS, url) == reached | ANYWHERE


def test_the_government_has_profiles_of_its_own() -> None:
    url = "https://bedrock-runtime.us-gov-west-1.amazonaws.com"

    left = set(MODELS) - unreached_models(MODELS, url)

    assert left == {"us-gov.anthropic.claude-opus-5", "meta.llama3-8b", "moonshotai.kimi-k3"}


def test_an_address_without_a_region_reaches_all_profiles() -> None:
    assert unreached_models(MODELS, "http://127.0.0.1:9102/bedrock") == {MODELS[7]}
    assert region_of("http://127.0.0.1:9102/bedrock") is None


def test_every_model_of_the_tables_is_left_somewhere() -> None:
    models = [
        endpoint.provider_model
        for endpoint in load_catalogue().endpoints_by_id.values()
        if endpoint.provider == "amazon-bedrock"
    ]

    left = set(models) - unreached_models(models, "https://bedrock-runtime.us-east-1.amazonaws.com")

    assert "us.anthropic.claude-sonnet-4-5-20250929-v1:0" in left
    assert "amazon.nova-pro-v1:0" not in left
    assert len(left) > 100
