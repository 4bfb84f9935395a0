"""Bytes a token, learned from what providers count and kept over a restart."""

from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.domain.outcomes import Outcome
from gateway.domain.token_ratio import USUAL, PromptSize, TokenRatio, prompt_size
from gateway.execution.token_ratios import (
    LEAST_BYTES,
    MOST_BYTES,
    MOST_MODELS,
    RatioCopy,
    TokenRatios,
)
from pricing.usage import Usage
from tests.execution.samples import make_end
from tests.properties import many
from tests.routing.factories import make_endpoint

MODEL = "acme/large"
COUNTS = st.integers(0, 2_000_000)


def teach(
    ratios: TokenRatios, *, prompt: PromptSize | None = None, model: str = MODEL, **end: Any
) -> None:
    ratios.learn(make_end(endpoint=make_endpoint("p", model), **end), prompt)


def answer(prompt_tokens: int, output_tokens: int, **more: int) -> Usage:
    return Usage(input_tokens=prompt_tokens, output_tokens=output_tokens, **more)


def test_a_model_of_which_nothing_is_known_has_the_usual_ratio() -> None:
    assert TokenRatios().of(MODEL) is USUAL


def test_what_providers_count_moves_the_ratio_towards_what_was_seen() -> None:
    ratios = TokenRatios()
    size = PromptSize(text_bytes=3_000, other_tokens=8)

    # A thousand tokens of three bytes and 500 of two, beside 500 believed ones of four.
    teach(ratios, prompt=size, usage=answer(1_008, 500), text_bytes=1_000)

    assert ratios.of(MODEL) == TokenRatio(prompt=5_000 / 1_500, output=3_000 / 1_000)
    assert ratios.of("acme/small") is USUAL


def test_thinking_that_is_billed_and_not_shown_counts() -> None:
    ratios = TokenRatios()

    teach(ratios, usage=answer(9, 100, reasoning_tokens=400), text_bytes=400)

    assert ratios.of(MODEL).output == 2_400 / 1_000


@pytest.mark.parametrize(
    "end",
    [
        pytest.param({"outcome": Outcome.IDLE_TIMEOUT}, id="not answered"),
        pytest.param({"is_usage_doubtful": True}, id="counts that contradict each other"),
        pytest.param({"usage": None}, id="no counts"),
        pytest.param({"usage": answer(7, 0)}, id="nothing but frames"),
        pytest.param({"usage": answer(90_000, 90_000)}, id="a prompt of the provider's own"),
        pytest.param({"usage": answer(9, 1)}, id="more bytes than a token can have"),
        pytest.param(
            {"usage": answer(1_000, 500, web_searches=1, audio_output_tokens=9)},
            id="what is no text",
        ),
    ],
)
def test_what_says_nothing_of_text_teaches_nothing(end: dict[str, Any]) -> None:
    ratios = TokenRatios()
    size = PromptSize(text_bytes=2_000, other_tokens=8)

    told: dict[str, Any] = {"usage": answer(1_000, 500), "text_bytes": 2_000} | end
    teach(ratios, prompt=size, **told)

    assert ratios.of(MODEL) == USUAL


def test_what_was_counted_long_ago_counts_less() -> None:
    ratios = TokenRatios()
    for bytes_per_token in (2, 4):
        for _ in range(40):
            size = PromptSize(text_bytes=bytes_per_token * 20_000)
            teach(ratios, prompt=size, usage=answer(20_000, 0))

    assert 3.5 < ratios.of(MODEL).prompt < 4


@settings(max_examples=many(50))
@given(st.lists(st.tuples(COUNTS, COUNTS, COUNTS, COUNTS), max_size=8))
def test_a_ratio_stays_within_what_text_can_be(seen: list[tuple[int, int, int, int]]) -> None:
    ratios = TokenRatios()
    for prompt_bytes, prompt_tokens, output_bytes, output_tokens in seen:
        teach(
            ratios,
            prompt=PromptSize(text_bytes=prompt_bytes),
            usage=answer(prompt_tokens, output_tokens),
            text_bytes=output_bytes,
        )

    ratio = ratios.of(MODEL)
    assert LEAST_BYTES <= ratio.prompt <= MOST_BYTES
    assert LEAST_BYTES <= ratio.output <= MOST_BYTES


def test_models_are_bounded_and_the_longest_unused_goes_first() -> None:
    ratios = TokenRatios()
    for number in range(MOST_MODELS + 1):
        teach(ratios, model=f"acme/m{number}", usage=answer(9, 500), text_bytes=1_000)

    assert ratios.of("acme/m0") is USUAL
    assert ratios.of("acme/m1") is not USUAL
    assert len(ratios.known()) == MOST_MODELS


@given(text_bytes=COUNTS, messages=st.integers(0, 1_000))
def test_an_estimate_taken_apart_is_the_same_with_the_usual_ratio(
    text_bytes: int, messages: int
) -> None:
    estimate = -(-text_bytes // 4) + 4 * messages

    size = prompt_size(text_bytes=text_bytes, tokens_estimate=estimate)

    assert size == PromptSize(text_bytes=text_bytes, other_tokens=4 * messages)
    assert size.tokens(USUAL) == estimate


def test_what_was_learned_outlives_the_worker_and_teaches_a_new_one(tmp_path: Path) -> None:
    ratios = TokenRatios()
    copy = RatioCopy(ratios, tmp_path / "snapshot", worker=0)
    teach(ratios, usage=answer(9, 500), text_bytes=1_000)
    copy.write()

    for worker in (0, 1):
        again = TokenRatios()
        RatioCopy(again, tmp_path / "snapshot", worker=worker)
        assert again.of(MODEL) == ratios.of(MODEL)


@pytest.mark.parametrize("damage", [b"", b"\xff", msgspec.msgpack.encode({"m": {"prompt": "x"}})])
def test_a_file_that_cannot_be_read_only_costs_what_was_learned(
    tmp_path: Path, damage: bytes
) -> None:
    (tmp_path / "token-ratios-0.msgpack").write_bytes(damage)
    ratios = TokenRatios()

    RatioCopy(ratios, tmp_path, worker=0)

    assert ratios.known() == {} or ratios.of(MODEL) == USUAL
