"""How models think stands in the tables, not in code."""

from typing import Any

import pytest

from pricing.catalogue import CatalogueError, Thinking, endpoint_from_config, load_catalogue
from pricing.importers.behaviour import behave

CATALOGUE = load_catalogue()


@pytest.mark.parametrize(
    ("endpoint", "thinking"),
    [
        pytest.param(
            "anthropic/claude-sonnet-4-5",
            Thinking(style="budget", min_tokens=1024, can_be_off=True),
            id="budget",
        ),
        pytest.param(
            "anthropic/claude-opus-4-6",
            Thinking(style="adaptive", efforts=("low", "medium", "high", "max"), can_be_off=True),
            id="adaptive",
        ),
        pytest.param(
            "google/gemini-2.5-pro",
            Thinking(style="budget", min_tokens=128, max_tokens=32_768, can_be_off=False),
            id="gemini-budget",
        ),
        pytest.param(
            "openai/gpt-5-mini",
            Thinking(
                style="effort", efforts=("minimal", "low", "medium", "high"), can_be_off=False
            ),
            id="effort",
        ),
        pytest.param("anthropic/claude-3-haiku", Thinking(style="none"), id="none"),
        pytest.param("openai/gpt-6-sol", None, id="unknown"),
    ],
)
def test_the_tables_know_how_a_model_thinks(endpoint: str, thinking: Thinking | None) -> None:
    assert CATALOGUE.endpoints_by_id[endpoint].thinking == thinking


def test_every_model_that_thinks_is_one_that_reasons() -> None:
    contradictions = [
        endpoint.id
        for endpoint in CATALOGUE.endpoints_by_id.values()
        if endpoint.thinking is not None
        and endpoint.capabilities.get("reasoning") is not (endpoint.thinking.style != "none")
    ]

    assert contradictions == []


def test_current_claude_models_say_how_much_they_write() -> None:
    silent = [
        endpoint.provider_model
        for endpoint in CATALOGUE.endpoints_by_id.values()
        if endpoint.provider == "anthropic"
        and endpoint.prices
        and endpoint.max_output_tokens is None
        and "-5-2" not in endpoint.provider_model
    ]

    assert silent == []


@pytest.mark.parametrize(
    ("declared", "key"),
    [
        pytest.param({"style": "effort", "efforts": ["high", "low"]}, "efforts", id="order"),
        pytest.param({"style": "effort", "efforts": ["lots"]}, "efforts", id="unknown-word"),
        pytest.param(
            {"style": "budget", "min_tokens": 9, "max_tokens": 8}, "min_tokens", id="limits"
        ),
        pytest.param({"style": "effort", "eforts": []}, "eforts", id="unknown-key"),
    ],
)
def test_wrong_facts_about_thinking_are_refused_by_name(declared: dict[str, Any], key: str) -> None:
    with pytest.raises(CatalogueError) as caught:
        endpoint_from_config("p", {"id": "m", "thinking": declared})

    assert caught.value.key == key


def test_rules_yield_to_what_the_sources_say() -> None:
    rule = {
        "ids": ["m*"],
        "thinking": {"style": "budget", "min_tokens": 1024},
        "max_output_tokens": 5,
        "capabilities": {"tools": True, "vision": True},
    }
    known: dict[str, Any] = {
        "id": "m1",
        "mode": "chat",
        "max_output_tokens": 4,
        "capabilities": {"tools": False, "reasoning": False},
    }

    behave("p", known, [rule])

    assert known["max_output_tokens"] == 4
    assert known["capabilities"] == {"tools": False, "reasoning": False, "vision": True}
    assert "thinking" not in known
