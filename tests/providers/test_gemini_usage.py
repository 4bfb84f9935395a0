"""Gemini's usage becomes disjoint meters, and costs what it should, from the raw body on."""

from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pricing.cost import compute_cost
from pricing.price import resolve
from pricing.usage import Usage
from tests.providers.gemini_judge import (
    ADAPTER,
    answer_of,
    as_events,
    decode,
    endpoint_of,
    target_of,
    whole,
)

AT = datetime(2026, 11, 17, 12, tzinfo=UTC)


def meters(**counts: Any) -> Usage:
    body = answer_of({"text": "x"}, usageMetadata=counts)
    usage = ADAPTER.parse_response(200, {}, body, target_of()).usage
    assert usage is not None
    return usage


def modality(name: str, tokens: int) -> dict[str, Any]:
    return {"modality": name, "tokenCount": tokens}


GOLDEN: list[Any] = [
    # 150,000 x 2.50 + 100,000 x 0.25 + 1,000 x 15 + 3,000 x 15 = 375,000 + 25,000 + 60,000
    pytest.param(
        "gemini-2.5-pro",
        {
            "promptTokenCount": 250_000,
            "cachedContentTokenCount": 100_000,
            "candidatesTokenCount": 1000,
            "thoughtsTokenCount": 3000,
            "totalTokenCount": 254_000,
        },
        "0.46",
        id="14-gemini-long",
    ),
    # 20 x 0.30 + 198 x 2.50 + 405 x 2.50 = 6 + 495 + 1012.5
    pytest.param(
        "gemini-2.5-flash",
        {
            "promptTokenCount": 20,
            "candidatesTokenCount": 198,
            "thoughtsTokenCount": 405,
            "totalTokenCount": 623,
        },
        "0.0015135",
        id="15-gemini-thoughts-real",
    ),
    # 60 x 0.30 + 1,200 x 1 + 50 x 2.50 = 18 + 1,200 + 125
    pytest.param(
        "gemini-2.5-flash",
        {
            "promptTokenCount": 1260,
            "promptTokensDetails": [modality("TEXT", 60), modality("AUDIO", 1200)],
            "candidatesTokenCount": 50,
            "totalTokenCount": 1310,
        },
        "0.001343",
        id="17-gemini-audio",
    ),
]


@pytest.mark.parametrize(("model", "counts", "usd"), GOLDEN)
def test_a_golden_example_costs_what_was_worked_out_by_hand(
    model: str, counts: dict[str, Any], usd: str
) -> None:
    body = answer_of({"text": "x"}, usageMetadata=counts)

    counted = ADAPTER.parse_response(200, {}, body, target_of(model)).usage
    streamed = decode(target_of(model), as_events(body))[-1].usage

    assert counted == streamed
    assert counted is not None
    price = resolve(
        endpoint_of(model), at=AT, prompt_tokens=counted.prompt_tokens, service_tier=None
    )
    assert compute_cost(counted, price).total_usd == Decimal(usd)


def test_pitfall_14_thoughts_are_output_beside_the_candidates() -> None:
    usage = meters(
        promptTokenCount=20, candidatesTokenCount=198, thoughtsTokenCount=405, totalTokenCount=623
    )

    assert (usage.output_tokens, usage.reasoning_tokens, usage.completion_tokens) == (198, 405, 603)


def test_thoughts_inside_the_candidates_are_not_counted_twice() -> None:
    usage = meters(
        promptTokenCount=20, candidatesTokenCount=603, thoughtsTokenCount=405, totalTokenCount=623
    )

    assert (usage.output_tokens, usage.reasoning_tokens) == (198, 405)


def test_what_tools_fetched_belongs_to_the_prompt() -> None:
    usage = meters(promptTokenCount=20, toolUsePromptTokenCount=100, candidatesTokenCount=5)

    assert usage.prompt_tokens == 120


def test_candidates_that_are_left_out_are_what_the_total_leaves() -> None:
    thinking = meters(promptTokenCount=20, thoughtsTokenCount=80, totalTokenCount=100)
    silent = meters(promptTokenCount=20, totalTokenCount=25)

    assert (thinking.output_tokens, thinking.reasoning_tokens) == (0, 80)
    assert silent.output_tokens == 5


def test_modalities_are_metered_apart_on_both_sides_and_in_the_cache() -> None:
    usage = meters(
        promptTokenCount=1000,
        cachedContentTokenCount=300,
        promptTokensDetails=[
            modality("AUDIO", 400),
            modality("IMAGE", 100),
            modality("DOCUMENT", 50),
            modality("VIDEO", 200),
        ],
        cacheTokensDetails=[modality("AUDIO", 200), modality("TEXT", 100)],
        candidatesTokenCount=1300,
        candidatesTokensDetails=[modality("IMAGE", 1290)],
    )

    assert usage == Usage(
        input_tokens=150,
        cache_read_tokens=100,
        audio_input_tokens=200,
        audio_cache_read_tokens=200,
        image_input_tokens=150,
        video_input_tokens=200,
        output_tokens=10,
        image_output_tokens=1290,
        requests=1,
    )


@pytest.mark.parametrize("do", ["usage_string", "usage_float"])
def test_counts_of_another_type_are_read_and_doubted(do: str) -> None:
    completion = whole(target_of(), do=do)

    assert completion.is_usage_doubtful
    assert completion.usage is not None
    assert completion.usage.output_tokens > 0


@pytest.mark.parametrize("do", ["usage_negative", "usage_huge"])
def test_counts_that_cannot_be_true_are_not_believed(do: str) -> None:
    completion = whole(target_of(), do=do)

    assert completion.is_usage_doubtful


def test_without_usage_there_is_none() -> None:
    assert ADAPTER.parse_response(200, {}, answer_of({"text": "x"}), target_of()).usage is None


counts = st.integers(0, 2_000_000)
details = st.lists(
    st.builds(modality, st.sampled_from(["TEXT", "AUDIO", "IMAGE", "VIDEO", "DOCUMENT"]), counts),
    max_size=4,
)


@given(
    st.fixed_dictionaries(
        {"promptTokenCount": counts, "candidatesTokenCount": counts},
        optional={
            "cachedContentTokenCount": counts,
            "thoughtsTokenCount": counts,
            "toolUsePromptTokenCount": counts,
            "totalTokenCount": counts,
            "promptTokensDetails": details,
            "cacheTokensDetails": details,
            "candidatesTokensDetails": details,
        },
    )
)
def test_meters_are_disjoint_and_never_negative(raw: dict[str, Any]) -> None:
    usage = meters(**raw)

    assert all(getattr(usage, name) >= 0 for name in Usage.__struct_fields__)
    assert usage.prompt_tokens == raw["promptTokenCount"] + raw.get("toolUsePromptTokenCount", 0)
