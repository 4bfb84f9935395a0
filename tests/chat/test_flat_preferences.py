"""Routing preferences in both published forms at once."""

import json
from decimal import Decimal
from typing import Any

import pytest

from gateway.chat.decode import decode_chat_request
from gateway.chat.dialects import Dialect
from gateway.chat.preferences import MaxPrice, ProviderPreferences
from gateway.domain.errors import InvalidRequestError

FLAT: dict[str, Any] = {
    "provider_order": ["OpenAI", "Amazon Bedrock"],
    "provider_only": ["openai", "amazon-bedrock"],
    "provider_ignore": ["xAI"],
    "provider_sort": "price",
    "provider_quantizations": ["fp8"],
    "provider_data_collection": "deny",
    "provider_zdr": True,
    "provider_require_parameters": True,
    "provider_enforce_distillable_text": True,
    "provider_max_prompt_price": 1,
    "provider_max_completion_price": "2.50",
    "provider_max_request_price": 0,
    "provider_max_image_price": 0.01,
}
NESTED: dict[str, Any] = {
    "order": ["openai", "amazon-bedrock"],
    "only": ["amazon-bedrock", "OpenAI"],
    "ignore": ["x-ai"],
    "sort": {"by": "price"},
    "quantizations": ["fp8"],
    "data_collection": "deny",
    "zdr": True,
    "require_parameters": True,
    "enforce_distillable_text": True,
    "max_price": {"prompt": "1.0", "completion": 2.5, "request": 0, "image": "0.010"},
}


def read(**members: Any) -> ProviderPreferences:
    body = {"model": "m", "messages": [{"role": "user", "content": "x"}], **members}
    return decode_chat_request(json.dumps(body).encode(), dialect=Dialect.OPENAI).provider


def test_every_flat_preference_is_read() -> None:
    assert read(**FLAT) == ProviderPreferences(
        order=("openai", "amazon-bedrock"),
        only=("openai", "amazon-bedrock"),
        ignore=("x-ai",),
        sort="price",
        quantizations=("fp8",),
        data_collection="deny",
        zdr=True,
        require_parameters=True,
        enforce_distillable_text=True,
        max_price=MaxPrice(
            prompt_usd_per_mtok=Decimal(1),
            completion_usd_per_mtok=Decimal("2.50"),
            request_usd=Decimal(0),
            image_usd=Decimal("0.01"),
        ),
    )


def test_the_same_wish_in_both_forms_is_fine() -> None:
    assert read(**FLAT, provider=NESTED) == read(**FLAT)


def test_wishes_of_both_forms_add_up() -> None:
    result = read(
        provider_sort="price",
        provider_max_prompt_price=1,
        provider={"allow_fallbacks": False, "max_price": {"completion": 2}},
    )

    assert result == ProviderPreferences(
        sort="price",
        allow_fallbacks=False,
        max_price=MaxPrice(prompt_usd_per_mtok=Decimal(1), completion_usd_per_mtok=Decimal(2)),
    )


def test_nulls_wish_for_nothing() -> None:
    assert read(provider_sort=None, provider_zdr=None, provider=None) == ProviderPreferences()
    assert read(provider_sort="price", provider={"sort": None}).sort == "price"
    assert read(provider_sort=None, provider={"sort": "price"}).sort == "price"


@pytest.mark.parametrize(
    ("flat", "value", "nested", "other"),
    [
        ("provider_order", ["b", "a"], "order", ["a", "b"]),
        ("provider_only", ["a"], "only", ["b"]),
        ("provider_ignore", ["a"], "ignore", []),
        ("provider_sort", "price", "sort", "latency"),
        ("provider_quantizations", ["fp8"], "quantizations", ["fp16"]),
        ("provider_data_collection", "deny", "data_collection", "allow"),
        ("provider_zdr", True, "zdr", False),
        ("provider_require_parameters", False, "require_parameters", True),
        ("provider_enforce_distillable_text", True, "enforce_distillable_text", False),
        ("provider_max_prompt_price", 1, "max_price.prompt", 2),
        ("provider_max_completion_price", 1, "max_price.completion", 2),
        ("provider_max_request_price", 1, "max_price.request", 2),
        ("provider_max_image_price", 1, "max_price.image", 2),
    ],
)
def test_a_contradiction_names_both_fields(
    flat: str, value: object, nested: str, other: object
) -> None:
    group, dot, part = nested.partition(".")
    provider = {group: {part: other} if dot else other}

    with pytest.raises(InvalidRequestError) as caught:
        read(**{flat: value}, provider=provider)

    assert caught.value.param == flat
    assert f"`{flat}` and `provider.{nested}` differ" in caught.value.message


def test_a_mistyped_preference_is_refused_with_the_nearest_one() -> None:
    with pytest.raises(InvalidRequestError) as caught:
        read(provider_max_promt_price=1)

    assert caught.value.param == "provider_max_promt_price"
    assert "did you mean `provider_max_prompt_price`" in caught.value.message


def test_the_header_switches_fallbacks_off_whatever_the_body_says() -> None:
    body = b'{"messages":[{"role":"user","content":"x"}],"provider":{"allow_fallbacks":true}}'

    request = decode_chat_request(
        body, dialect=Dialect.OPENROUTER, headers={"x-no-fallback": "true"}
    )

    assert request.provider.allow_fallbacks is False
