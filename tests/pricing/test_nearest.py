"""Whoever mistypes a name is told those that look like it."""

import pytest

from pricing.catalogue import Catalogue
from pricing.nearest import Names
from pricing.savings import find_endpoint

KNOWN = (
    "azure/gpt-4o",
    "openai/gpt-4o",
    "openai/gpt-4o-mini",
    "groq/llama-3.1-8b-instant",
    "openrouter/openai/gpt-4o",
)


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("openai/gpt-4oo", "openai/gpt-4o"),
        ("OpenAI/GPT4o-mini", "openai/gpt-4o-mini"),
        ("grok/llama-3.1-8b-instant", "groq/llama-3.1-8b-instant"),
        ("llama-3.1-8b-instnt", "groq/llama-3.1-8b-instant"),
    ],
)
def test_the_likest_name_comes_first(name: str, expected: str) -> None:
    assert Names(KNOWN).nearest(name)[0] == expected


def test_a_name_that_is_known_twice_is_told_once() -> None:
    assert Names([*KNOWN, *KNOWN]).nearest("openai/gpt-4oo", 2) == (
        "openai/gpt-4o",
        "openai/gpt-4o-mini",
    )


@pytest.mark.parametrize("name", ["", "x", "zzzzzz", "\0" * 9, "q" * 100_000])
def test_what_looks_like_nothing_has_nothing_near(name: str) -> None:
    assert Names(KNOWN).nearest(name) == ()


@pytest.mark.parametrize(
    ("name", "near"),
    [
        ("anthropc/claude-sonnet-4-5", "near are anthropic/claude-sonnet-4-5"),
        ("groq/llama-3.1-8b-instnt", "near are groq/llama-3.1-8b-instant"),
        pytest.param("qwen/qwen3-32b", "/", id="a-model-is-answered-with-its-endpoints"),
    ],
)
def test_a_baseline_that_is_no_endpoint_is_told_near_ones(
    shipped: Catalogue, name: str, near: str
) -> None:
    with pytest.raises(LookupError) as refused:
        find_endpoint(name, shipped)

    assert near in refused.value.args[0]
    if serving := shipped.endpoints_of(name):
        assert f"near are {', '.join(one.id for one in serving[:3])}" in refused.value.args[0]
