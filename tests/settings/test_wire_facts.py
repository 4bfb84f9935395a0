"""Abilities that the way to a provider adds and takes away."""

import pytest

from gateway.settings.wire_facts import apply_wire_facts, assume_wire_facts, facts_of
from tests.routing.factories import make_endpoint

SEARCHES = {"web_search": True, "tools": True}


@pytest.mark.parametrize(
    ("provider", "model", "searches"),
    [
        ("openai", "gpt-4o-search-preview", True),
        ("openai", "gpt-5.4-mini", False),
        ("openrouter", "openai/gpt-5.4-mini", True),
        ("alibaba", "qwen-plus", True),
    ],
)
def test_a_search_that_cannot_be_asked_for_is_none(
    provider: str, model: str, searches: bool
) -> None:
    endpoint = make_endpoint(provider, provider_model=model, capabilities=SEARCHES)

    on_the_way = apply_wire_facts([endpoint], {provider: "openai"}) or [endpoint]

    assert on_the_way[0].capabilities["web_search"] is searches
    assert on_the_way[0].capabilities["tools"] is True


def test_free_text_tools_are_openais_own() -> None:
    new = make_endpoint("openai", provider_model="gpt-5.4")
    old = make_endpoint("openai", provider_model="gpt-4o")
    other = make_endpoint("anthropic")

    assert facts_of(new, "openai")["custom_tools"] is True
    assert "custom_tools" not in facts_of(old, "openai")
    assert facts_of(other, "anthropic")["custom_tools"] is False


def test_a_parameter_that_a_service_refuses_is_not_supported_there() -> None:
    assert facts_of(make_endpoint("mistral"), "openai")["logprobs"] is False


def test_what_an_operator_asserts_stands() -> None:
    own = make_endpoint("openai", provider_model="gpt-4o", capabilities={"web_search": True})

    assert assume_wire_facts(own, "openai").capabilities["web_search"] is True


def test_an_endpoint_without_peculiarities_stays_as_it_is() -> None:
    assert apply_wire_facts([make_endpoint("acme")], {"acme": "openai"}) == []


def test_what_converse_has_no_word_for_is_not_there() -> None:
    able = make_endpoint("amazon-bedrock", capabilities={"tools": True, "logprobs": True})

    (changed,) = apply_wire_facts([able], {"amazon-bedrock": "bedrock"})

    assert changed.capabilities["logprobs"] is False
    assert changed.capabilities["web_search"] is False
    assert changed.capabilities["tools"] is True


def test_what_the_messages_api_has_no_word_for_is_not_there() -> None:
    able = make_endpoint("anthropic", capabilities={"tools": True, "logprobs": True, "stop": False})

    (changed,) = apply_wire_facts([able], {"anthropic": "anthropic"})

    assert changed.capabilities["logprobs"] is False
    assert changed.capabilities["n"] is False
    assert changed.capabilities["stop"] is True
    assert changed.capabilities["tools"] is True
