"""The ``provider`` object of a request."""

import json
from decimal import Decimal
from typing import Any

import pytest
from msgspec import Raw

from gateway.chat.preferences import Bounds, MaxPrice, ProviderPreferences
from gateway.chat.routing_preferences import decode_preferences, to_provider_slug
from gateway.domain.errors import InvalidRequestError


def decode(value: object) -> ProviderPreferences:
    raw = value if isinstance(value, bytes) else json.dumps(value).encode()
    return decode_preferences(Raw(raw))


def test_nothing_means_the_defaults() -> None:
    assert decode({}) == decode(None) == decode_preferences(None) == ProviderPreferences()


def test_a_full_object_is_read() -> None:
    result = decode(
        {
            "order": ["Amazon Bedrock", "OpenAI", "openai"],
            "only": ["deepinfra/Turbo"],
            "ignore": ["xAI"],
            "allow_fallbacks": False,
            "require_parameters": True,
            "data_collection": "deny",
            "zdr": True,
            "enforce_distillable_text": True,
            "quantizations": ["fp8", "fp8", "bf16"],
            "sort": "price",
            "max_price": {"prompt": 0.1, "completion": "2.50", "request": 0, "image": None},
        }
    )

    assert result == ProviderPreferences(
        order=("amazon-bedrock", "openai"),
        only=("deepinfra/turbo",),
        ignore=("x-ai",),
        allow_fallbacks=False,
        require_parameters=True,
        data_collection="deny",
        zdr=True,
        enforce_distillable_text=True,
        quantizations=("fp8", "bf16"),
        sort="price",
        max_price=MaxPrice(
            prompt_usd_per_mtok=Decimal("0.1"),
            completion_usd_per_mtok=Decimal("2.50"),
            request_usd=Decimal(0),
        ),
    )


@pytest.mark.parametrize(
    ("name", "slug"),
    [
        ("OpenAI", "openai"),
        ("  Google Vertex ", "google-vertex"),
        ("Google AI Studio", "google"),
        ("Z.AI", "zai"),
        ("Moonshot AI", "moonshotai"),
        ("google-vertex/US-East5", "google-vertex/us-east5"),
    ],
)
def test_names_become_slugs(name: str, slug: str) -> None:
    assert to_provider_slug(name) == slug


def test_sort_may_be_an_object() -> None:
    result = decode({"sort": {"by": "latency", "partition": "none"}})

    assert (result.sort, result.partition) == ("latency", "none")


def test_a_number_alone_is_about_the_median() -> None:
    for member in ("preferred_max_latency", "max_latency", "min_throughput"):
        assert decode({member: 3}) == decode({member: {"p50": 3}})


def test_limits_of_time_and_speed_are_read_by_percentile() -> None:
    result = decode(
        {
            "min_throughput": 20,
            "max_latency": {"p90": 1.5, "p50": None},
            "preferred_min_throughput": {"p75": 40, "p99": 5},
            "preferred_max_latency": {},
        }
    )

    assert result == ProviderPreferences(
        min_throughput_tokens_per_s=Bounds(p50=20),
        max_latency_ms=Bounds(p90=1500),
        preferred_min_throughput_tokens_per_s=Bounds(p75=40, p99=5),
    )


def test_the_most_an_attempt_may_cost_is_read() -> None:
    assert decode({"max_cost_usd": "0.05"}).max_cost_usd == Decimal("0.05")


@pytest.mark.parametrize(
    ("value", "param", "words"),
    [
        pytest.param("x", "provider", "object", id="not-an-object"),
        pytest.param({"max_prce": {}}, "provider.max_prce", "`max_price`", id="typo"),
        pytest.param(
            {"max_price": {"promt": 1}}, "provider.max_price.promt", "`prompt`", id="typo-in-price"
        ),
        pytest.param(
            {"max_price": {"prompt": -1}}, "provider.max_price.prompt", "negative", id="minus"
        ),
        pytest.param(
            {"max_price": {"prompt": "NaN"}}, "provider.max_price.prompt", "negative", id="nan"
        ),
        pytest.param(
            {"max_price": {"prompt": "x"}},
            "provider.max_price.prompt",
            "decimal",
            id="not-a-number",
        ),
        pytest.param({"max_price": 3}, "provider.max_price", "object", id="price-number"),
        pytest.param({"order": "openai"}, "provider.order", "array", id="order-text"),
        pytest.param({"order": [" "]}, "provider.order", "empty", id="order-empty"),
        pytest.param({"sort": "cheapest"}, "provider.sort", "price, latency", id="sort"),
        pytest.param({"sort": {"by": "x"}}, "provider.sort.by", "invalid", id="sort-by"),
        pytest.param(
            {"sort": {"partition": "all"}}, "provider.sort.partition", "enum", id="partition"
        ),
        pytest.param({"data_collection": "no"}, "provider.data_collection", "enum", id="policy"),
        pytest.param({"quantizations": ["int2"]}, "provider.quantizations.0", "enum", id="quant"),
        pytest.param({"min_throughput": 0}, "provider.min_throughput", "> 0", id="no-speed"),
        pytest.param({"max_latency": {"p95": 1}}, "provider.max_latency", "p95", id="p95"),
        pytest.param({"max_latency": "1"}, "provider.max_latency", "float", id="latency-text"),
        pytest.param({"max_cost_usd": -1}, "provider.max_cost_usd", "negative", id="cost"),
        pytest.param({"api_key": "x"}, "provider.api_key", "operator", id="key"),
        pytest.param({"base_url": "http://x"}, "provider.base_url", "operator", id="address"),
        pytest.param(b'{"zdr":true,"zdr":false}', "provider.zdr", "twice", id="twice"),
        pytest.param(
            b'{"max_price":{"prompt":1,"prompt":9}}',
            "provider.max_price.prompt",
            "twice",
            id="price-twice",
        ),
    ],
)
def test_what_cannot_be_honoured_is_refused(value: Any, param: str, words: str) -> None:
    with pytest.raises(InvalidRequestError) as caught:
        decode(value)

    assert caught.value.param == param
    assert words in caught.value.message
