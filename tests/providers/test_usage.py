"""Usage objects of many services, as disjoint meters. The raw ones are real or documented."""

import json
from decimal import Decimal
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec import Raw

from gateway.providers.usage import USAGE_FLAVOURS, Metered, normalise_usage
from pricing.usage import METERS, Usage
from tests.properties import many


def normalise(raw: object, flavour: str = "openai") -> Metered:
    return normalise_usage(Raw(json.dumps(raw).encode()), flavour)


def usage(**meters: int) -> Usage:
    return Usage(requests=1, **meters)


@pytest.mark.parametrize(
    ("flavour", "raw", "expected"),
    [
        pytest.param(
            "openai",
            {
                "prompt_tokens": 2006,
                "completion_tokens": 300,
                "total_tokens": 2306,
                "prompt_tokens_details": {"cached_tokens": 1920},
                "completion_tokens_details": {"reasoning_tokens": 0},
            },
            usage(input_tokens=86, cache_read_tokens=1920, output_tokens=300),
            id="openai-cached",
        ),
        pytest.param(
            "openai",
            {
                "prompt_tokens": 1486,
                "completion_tokens": 651,
                "total_tokens": 2137,
                "prompt_tokens_details": {"cached_tokens": 1408, "audio_tokens": 0},
                "completion_tokens_details": {"reasoning_tokens": 512, "audio_tokens": 0},
            },
            usage(input_tokens=78, cache_read_tokens=1408, output_tokens=139, reasoning_tokens=512),
            id="openai-reasoning-inside",
        ),
        pytest.param(
            "openai",
            {
                "input_tokens": 272001,
                "output_tokens": 1000,
                "input_tokens_details": {"cached_tokens": 200000},
                "output_tokens_details": {"reasoning_tokens": 0},
            },
            usage(input_tokens=72001, cache_read_tokens=200000, output_tokens=1000),
            id="openai-responses-names",
        ),
        pytest.param(
            "openai",
            {
                "prompt_tokens": 1000,
                "completion_tokens": 10,
                "total_tokens": 1010,
                "prompt_tokens_details": {"cached_tokens": 100, "cache_write_tokens": 600},
            },
            usage(
                input_tokens=300, cache_read_tokens=100, cache_write_tokens=600, output_tokens=10
            ),
            id="openai-cache-write",
        ),
        pytest.param(
            "openai",
            {
                "prompt_tokens": 100,
                "completion_tokens": 50,
                "total_tokens": 150,
                "prompt_tokens_details": {"audio_tokens": 80},
                "completion_tokens_details": {"audio_tokens": 40},
            },
            usage(input_tokens=20, audio_input_tokens=80, output_tokens=10, audio_output_tokens=40),
            id="openai-audio",
        ),
        pytest.param(
            "openai",
            {
                "prompt_tokens": 100,
                "completion_tokens": 0,
                "prompt_tokens_details": {"audio_tokens": 80, "cached_tokens": 50},
            },
            usage(cache_read_tokens=20, audio_input_tokens=50, audio_cache_read_tokens=30),
            id="cached-audio",
        ),
        pytest.param(
            "openai",
            {"prompt_tokens": 8, "total_tokens": 8},
            usage(input_tokens=8),
            id="embedding",
        ),
        pytest.param(
            "deepseek",
            {
                "prompt_tokens": 10000,
                "prompt_cache_hit_tokens": 8000,
                "prompt_cache_miss_tokens": 2000,
                "completion_tokens": 1500,
                "completion_tokens_details": {"reasoning_tokens": 1000},
            },
            usage(
                input_tokens=2000, cache_read_tokens=8000, output_tokens=500, reasoning_tokens=1000
            ),
            id="deepseek",
        ),
        pytest.param(
            "deepseek",
            {
                "prompt_cache_hit_tokens": 8000,
                "prompt_cache_miss_tokens": 2000,
                "completion_tokens": 1,
            },
            usage(input_tokens=2000, cache_read_tokens=8000, output_tokens=1),
            id="deepseek-without-total",
        ),
        pytest.param(
            "xai",
            {
                "prompt_tokens": 10120,
                "completion_tokens": 1499,
                "total_tokens": 14428,
                "prompt_tokens_details": {"cached_tokens": 128},
                "completion_tokens_details": {"reasoning_tokens": 2809},
            },
            usage(
                input_tokens=9992, cache_read_tokens=128, output_tokens=1499, reasoning_tokens=2809
            ),
            id="xai-reasoning-outside",
        ),
        pytest.param(
            "xai",
            {
                "prompt_tokens": 10,
                "completion_tokens": 30,
                "total_tokens": 40,
                "completion_tokens_details": {"reasoning_tokens": 20},
            },
            usage(input_tokens=10, output_tokens=10, reasoning_tokens=20),
            id="xai-total-says-inside",
        ),
        pytest.param(
            "openai",
            {
                "prompt_tokens": 10,
                "completion_tokens": 30,
                "total_tokens": 60,
                "completion_tokens_details": {"reasoning_tokens": 20},
            },
            usage(input_tokens=10, output_tokens=30, reasoning_tokens=20),
            id="total-says-outside",
        ),
        pytest.param(
            "openai",
            {
                "prompt_tokens": 4641,
                "completion_tokens": 1817,
                "total_tokens": 6458,
                "prompt_tokens_details": {"cached_tokens": 4608},
            },
            usage(input_tokens=33, cache_read_tokens=4608, output_tokens=1817),
            id="groq",
        ),
        pytest.param(
            "mistral",
            {
                "prompt_tokens": 1013,
                "completion_tokens": 100,
                "total_tokens": 1113,
                "prompt_tokens_details": {"cached_tokens": 1008},
            },
            usage(input_tokens=5, cache_read_tokens=1008, output_tokens=100),
            id="mistral",
        ),
        pytest.param(
            "moonshot",
            {"prompt_tokens": 19, "completion_tokens": 21, "total_tokens": 40, "cached_tokens": 10},
            usage(input_tokens=9, cache_read_tokens=10, output_tokens=21),
            id="moonshot",
        ),
        pytest.param(
            "gemini",
            {"prompt_tokens": 20, "completion_tokens": 198, "total_tokens": 623},
            usage(input_tokens=20, output_tokens=198, reasoning_tokens=405),
            id="gemini-reasoning-only-in-total",
        ),
        pytest.param(
            "perplexity",
            {
                "prompt_tokens": 33,
                "completion_tokens": 7163,
                "total_tokens": 7196,
                "citation_tokens": 20016,
                "num_search_queries": 18,
                "reasoning_tokens": 73997,
            },
            usage(
                input_tokens=33,
                output_tokens=7163,
                reasoning_tokens=73997,
                citation_tokens=20016,
                web_searches=18,
            ),
            id="perplexity-deep-research",
        ),
        pytest.param(
            "anthropic",
            {
                "input_tokens": 2048,
                "cache_read_input_tokens": 1800,
                "cache_creation_input_tokens": 248,
                "cache_creation": {
                    "ephemeral_5m_input_tokens": 148,
                    "ephemeral_1h_input_tokens": 100,
                },
                "output_tokens": 503,
            },
            usage(
                input_tokens=2048,
                cache_read_tokens=1800,
                cache_write_tokens=148,
                cache_write_1h_tokens=100,
                output_tokens=503,
            ),
            id="anthropic-exclusive",
        ),
        pytest.param(
            "openai",
            {
                "prompt_tokens": 4096,
                "cache_read_input_tokens": 1800,
                "cache_creation_input_tokens": 248,
                "completion_tokens": 503,
            },
            usage(
                input_tokens=2048,
                cache_read_tokens=1800,
                cache_write_tokens=248,
                output_tokens=503,
            ),
            id="pair-inclusive",
        ),
        pytest.param(
            "openrouter",
            {
                "prompt_tokens": 100,
                "completion_tokens": 1300,
                "total_tokens": 1400,
                "completion_tokens_details": {"reasoning_tokens": 0, "image_tokens": 1290},
                "server_tool_use": {"web_search_requests": 2},
            },
            usage(input_tokens=100, output_tokens=10, image_output_tokens=1290, web_searches=2),
            id="image-output",
        ),
        pytest.param(
            "openai",
            {"prompt_tokens": 0, "completion_tokens": 0, "total_tokens": 0},
            usage(),
            id="zero-is-zero",
        ),
        pytest.param(
            "openai",
            {"prompt_tokens": 5, "completion_tokens": 1, "prompt_tokens_details": None},
            usage(input_tokens=5, output_tokens=1),
            id="null-details",
        ),
        pytest.param(
            "acme",
            {"prompt_tokens": 5, "completion_tokens": 1},
            usage(input_tokens=5, output_tokens=1),
            id="unknown-flavour",
        ),
    ],
)
def test_meters_are_disjoint(flavour: str, raw: dict[str, Any], expected: Usage) -> None:
    result = normalise(raw, flavour)

    assert result == Metered(usage=expected)


@pytest.mark.parametrize(
    ("flavour", "raw", "cost"),
    [
        pytest.param(
            "openrouter",
            {"cost": 0.95, "cost_details": {"upstream_inference_cost": 19}},
            "0.95",
            id="openrouter",
        ),
        pytest.param("openrouter", {"cost": 0}, "0", id="openrouter-free"),
        pytest.param("openrouter", {"cost": 0.01, "is_byok": True}, None, id="openrouter-own-key"),
        pytest.param("xai", {"cost_in_usd_ticks": 232856000}, "0.0232856", id="xai"),
        pytest.param("perplexity", {"cost": {"total_cost": 0.006}}, "0.006", id="perplexity"),
        pytest.param("openai", {"cost": 12}, None, id="unknown-unit"),
        pytest.param("openrouter", {}, None, id="none"),
    ],
)
def test_a_reported_cost_is_exact(flavour: str, raw: dict[str, Any], cost: str | None) -> None:
    result = normalise({"prompt_tokens": 194, "completion_tokens": 2, **raw}, flavour)

    assert result.reported_cost_usd == (None if cost is None else Decimal(cost))
    assert not result.is_doubtful
    assert result.usage == usage(input_tokens=194, output_tokens=2)


def test_a_reported_cost_that_cannot_be_true_is_not_believed() -> None:
    for cost in (-1, "NaN", "x", {"a": 1}):
        result = normalise({"prompt_tokens": 1, "completion_tokens": 1, "cost": cost}, "openrouter")

        assert result.reported_cost_usd is None
        assert result.is_doubtful


@pytest.mark.parametrize("raw", [b"null", b"{}", b'{"total_tokens":5}', b'{"foo":"bar"}'])
def test_nothing_usable_is_no_usage(raw: bytes) -> None:
    assert normalise_usage(raw) == Metered()


@pytest.mark.parametrize(
    ("raw", "expected"),
    [
        pytest.param(
            {"prompt_tokens": -1, "completion_tokens": 3}, usage(output_tokens=3), id="minus"
        ),
        pytest.param({"prompt_tokens": 10**18}, None, id="absurd"),
        pytest.param(
            {
                "prompt_tokens": 10,
                "completion_tokens": 3,
                "prompt_tokens_details": {"cached_tokens": 90},
            },
            usage(cache_read_tokens=10, output_tokens=3),
            id="more-cached-than-read",
        ),
        pytest.param(
            {
                "prompt_tokens": 10,
                "completion_tokens": 3,
                "prompt_tokens_details": {"cached_tokens": -9},
            },
            usage(input_tokens=10, output_tokens=3),
            id="minus-cached",
        ),
        pytest.param(
            {
                "prompt_tokens": 10,
                "completion_tokens": 3,
                "completion_tokens_details": {"reasoning_tokens": 7},
            },
            usage(input_tokens=10, reasoning_tokens=3),
            id="more-reasoning-than-output",
        ),
        pytest.param(
            {"prompt_tokens": "10", "completion_tokens": 3.0},
            usage(input_tokens=10, output_tokens=3),
            id="text-and-fractions",
        ),
        pytest.param({"prompt_tokens": 10}, usage(input_tokens=10), id="one-side-only"),
        pytest.param([1], None, id="list"),
        pytest.param("x", None, id="text"),
    ],
)
def test_what_cannot_be_true_is_marked(raw: object, expected: Usage | None) -> None:
    result = normalise(raw)

    assert result.usage == expected
    assert result.is_doubtful


def test_further_counts_are_kept_for_clients() -> None:
    result = normalise(
        {
            "prompt_tokens": 1,
            "completion_tokens": 9,
            "completion_tokens_details": {
                "accepted_prediction_tokens": 4,
                "rejected_prediction_tokens": 0,
            },
        }
    )

    assert result.details == {"accepted_prediction_tokens": 4, "rejected_prediction_tokens": 0}


ODD: list[Any] = [10**18, "7", 1.5, True, [], {}]
COUNT: st.SearchStrategy[Any] = st.none() | st.integers(-5, 100) | st.sampled_from(ODD)
NAMES = [
    "prompt_tokens",
    "completion_tokens",
    "total_tokens",
    "cached_tokens",
    "reasoning_tokens",
    "prompt_cache_hit_tokens",
    "prompt_cache_miss_tokens",
    "cache_read_input_tokens",
    "cache_creation_input_tokens",
    "citation_tokens",
    "cost",
]
DETAILS = st.dictionaries(
    st.sampled_from(["cached_tokens", "audio_tokens", "reasoning_tokens", "image_tokens"]), COUNT
)


@given(
    raw=st.dictionaries(st.sampled_from(NAMES), COUNT),
    prompt_details=DETAILS | st.none(),
    completion_details=DETAILS | st.none(),
    flavour=st.sampled_from(sorted(USAGE_FLAVOURS)),
)
@settings(max_examples=many(300))
def test_no_meter_is_ever_negative_and_the_sides_add_up(
    raw: dict[str, Any], prompt_details: Any, completion_details: Any, flavour: str
) -> None:
    raw |= {
        "prompt_tokens_details": prompt_details,
        "completion_tokens_details": completion_details,
    }

    result = normalise_usage(msgspec.json.encode(raw), flavour)

    if result.usage is None:
        return
    assert all(getattr(result.usage, meter) >= 0 for meter in METERS)
    prompt = raw.get("prompt_tokens")
    if type(prompt) is int and 0 <= prompt <= 100 and flavour != "anthropic":
        assert result.usage.prompt_tokens == prompt
