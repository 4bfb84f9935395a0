import time

import pytest

from gateway.routing.patterns import is_named_by, matches
from tests.routing.factories import make_endpoint


@pytest.mark.parametrize(
    ("pattern", "text", "fits"),
    [
        pytest.param("openai/gpt-4o", "openai/gpt-4o", True, id="itself"),
        pytest.param("openai/gpt-4o", "openai/gpt-4o-mini", False, id="not-a-prefix"),
        pytest.param("openai/*", "openai/gpt-4o", True, id="prefix"),
        pytest.param("*", "", True, id="anything"),
        pytest.param("*-mini", "openai/gpt-4o-mini", True, id="suffix"),
        pytest.param("a*b*c", "a-b-b-c", True, id="middle"),
        pytest.param("a*a", "a", False, id="no-overlap"),
        pytest.param("ab*ba", "aba", False, id="no-overlap-of-pieces"),
        pytest.param("openai/gpt-[4]o", "openai/gpt-4o", False, id="brackets-mean-themselves"),
        pytest.param("gpt?", "gpt4", False, id="question-mark-means-itself"),
    ],
)
def test_only_the_star_is_special(pattern: str, text: str, fits: bool) -> None:
    assert matches(pattern, text) is fits


def test_a_hostile_pattern_costs_no_more_than_its_length() -> None:
    started = time.perf_counter()

    assert not matches("a*" * 2_000 + "b", "a" * 4_000)

    assert time.perf_counter() - started < 1


@pytest.mark.parametrize(
    ("slug", "provider", "provider_model", "quantization", "named"),
    [
        pytest.param("deepinfra", "deepinfra", "x", None, True, id="base"),
        pytest.param("deepinfra", "deepinfra/turbo", "x", None, True, id="base-covers-variant"),
        pytest.param("deepinfra/turbo", "deepinfra/turbo", "x", None, True, id="variant"),
        pytest.param("deepinfra/turbo", "deepinfra", "x", None, False, id="variant-is-not-base"),
        pytest.param("deepinfra/fp8", "deepinfra", "x", "fp8", True, id="quantization"),
        pytest.param("deepinfra/fp8", "deepinfra", "x", "fp4", False, id="other-quantization"),
        pytest.param("deepinfra/meta/l", "deepinfra", "Meta/L", None, True, id="endpoint-id"),
        pytest.param("deep", "deepinfra", "x", None, False, id="not-a-prefix"),
        pytest.param("google-vertex", "google", "x", None, False, id="longer-name"),
        pytest.param("google", "google-vertex", "x", None, False, id="shorter-name"),
    ],
)
def test_a_slug_covers_its_variants(
    slug: str, provider: str, provider_model: str, quantization: str | None, named: bool
) -> None:
    endpoint = make_endpoint(provider, None, provider_model, quantization=quantization)

    assert is_named_by(endpoint, slug) is named
