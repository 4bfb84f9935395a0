"""What a provider does not count is estimated by what it counted before, and marked."""

from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.domain.token_ratio import TokenRatio, prompt_size
from gateway.ledger.budget_bounds import prompt_bound
from gateway.simulator.server import Simulator
from pricing.usage import Usage
from tests.execution.samples import make_end
from tests.pipeline.rig import Offer, Rig, chat_request, rig_on
from tests.routing.factories import make_caller

pytestmark = pytest.mark.anyio
TEXT = "Where does the toll road lead? " * 40


def asked(rig: Rig, **members: Any) -> int | None:
    messages = [{"role": "user", "content": TEXT}]
    request = chat_request(messages=messages, **members)
    return rig.pipeline.plan(request, make_caller()).prompt_tokens


def teach(rig: Rig, *, prompt_bytes_per_token: int, output_bytes_per_token: int) -> None:
    """As if the model had answered long prompts at length."""
    ratios = rig.experience.ratios
    size = prompt_size(text_bytes=100_000 * prompt_bytes_per_token, tokens_estimate=0)
    usage = Usage(input_tokens=100_000, output_tokens=100_000)
    for _ in range(3):
        ratios.learn(
            make_end(
                endpoint=rig.endpoints[0],
                usage=usage,
                text_bytes=100_000 * output_bytes_per_token,
            ),
            size,
        )


async def test_a_plan_and_an_answer_without_usage_go_by_what_the_model_usually_counts(
    simulator: Simulator,
) -> None:
    async with rig_on(simulator, Offer(do="usage_missing,tokens=100")) as rig:
        assert asked(rig) == -(-len(TEXT) // 4) + 4
        teach(rig, prompt_bytes_per_token=2, output_bytes_per_token=2)
        ratio = rig.experience.ratios.of("acme/large")
        assert 2 < ratio.prompt < 2.01

        assert asked(rig) == int(-(-len(TEXT) // ratio.prompt)) + 4
        _, told = await rig.whole(messages=[{"role": "user", "content": TEXT}])

    (attempt,) = rig.ledger.only.attempts
    assert attempt.usage_source == "estimated"
    assert attempt.cost.status == "estimated"
    assert attempt.usage is not None
    assert attempt.usage.input_tokens == int(-(-len(TEXT) // ratio.prompt)) + 4
    written = len(told["choices"][0]["message"]["content"].encode())
    assert attempt.usage.output_tokens == int(-(-written // ratio.output))
    assert rig.ledger.begun[0].estimated_usage.input_tokens == attempt.usage.input_tokens


async def test_answers_that_are_counted_teach_and_pictures_do_not(simulator: Simulator) -> None:
    async with rig_on(simulator, Offer(do="tokens=40")) as rig:
        await rig.whole()
        first = rig.experience.ratios.known()["acme/large"]
        picture = {"type": "image_url", "image_url": {"url": "data:image/png;base64,AA=="}}
        text = {"type": "text", "text": TEXT}
        await rig.whole(messages=[{"role": "user", "content": [text, picture]}])
        second = rig.experience.ratios.known()["acme/large"]

    assert first.prompt_bytes > 0
    assert second.prompt_bytes == first.prompt_bytes
    assert second.output_tokens == first.output_tokens + 40


@given(
    words=st.lists(st.text(max_size=60), min_size=1, max_size=20),
    bytes_per_token=st.floats(min_value=1, max_value=12),
)
def test_what_budgets_reserve_stays_a_bound_whatever_was_learned(
    words: list[str], bytes_per_token: float
) -> None:
    request = chat_request(messages=[{"role": "user", "content": word} for word in words])
    size = prompt_size(
        text_bytes=request.prompt_bytes, tokens_estimate=request.prompt_tokens_estimate
    )
    estimate = size.tokens(TokenRatio(prompt=bytes_per_token))
    learned = msgspec.structs.replace(request, prompt_tokens_estimate=estimate)

    # A token a byte, and 8 tokens for what frames each message.
    assert prompt_bound(learned) >= request.prompt_bytes + 8 * len(words)
