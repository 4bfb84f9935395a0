"""What users of other gateways complain about, where the attempt loop has the answer.

Numbers are those of the list in ``contract.md``; each test is named after what the user wanted.
"""

import time

import msgspec
import pytest

from gateway.domain.errors import GatewayError, RateLimitedError, UpstreamTimeoutError
from gateway.domain.outcomes import Outcome
from gateway.execution.deadlines import Deadlines
from gateway.execution.retry_budget import Refill, RetryBudget
from gateway.routing.rules.rule_set import compile_rules
from gateway.simulator.server import Simulator
from tests.pipeline.rig import QUICK, Offer, StreamedAnswer, asked, read_all, rig_on, text_of

pytestmark = pytest.mark.anyio


@pytest.mark.parametrize("stream", [False, True])
async def test_5_i_want_to_know_who_served_me_and_why_it_fell_back(
    simulator: Simulator, stream: bool
) -> None:
    async with rig_on(simulator, Offer(do="503"), Offer(do="text=hello")) as rig:
        if stream:
            events = await read_all(await rig.stream())
            metadata = events[-2]["metadata"]
        else:
            answer, body = await rig.whole()
            metadata = body["metadata"]
            headers = dict(answer.headers)
            assert (headers["x-tollway-provider"], headers["x-tollway-attempts"]) == ("p2", "2")
        record = rig.ledger.only

    assert metadata["used_provider"] == "p2"
    assert [(step["provider"], step["outcome"]) for step in metadata["routing"]] == [
        ("p1", "overloaded"),
        ("p2", "success"),
    ]
    assert [(a.provider, a.kind, a.outcome.value) for a in record.attempts] == [
        ("p1", "primary", "overloaded"),
        ("p2", "fallback", "success"),
    ]
    assert record.is_fallback


async def test_10_i_want_a_rate_limit_to_move_on_at_once_and_to_be_left_alone_until_it_ends(
    simulator: Simulator,
) -> None:
    async with rig_on(simulator, Offer(do="429,retry_after=90"), Offer()) as rig:
        began_s = time.monotonic()
        for _ in range(3):
            _, body = await rig.whole()
            assert body["provider"] == "p2"

    assert time.monotonic() - began_s < 1.5
    limited = [entry for entry in asked(simulator) if "429" in (entry.model or "")]
    assert len(limited) == 1, "nobody asks again before the 90 seconds are over"


async def test_10_i_want_the_smallest_retry_after_when_all_are_limited(
    simulator: Simulator,
) -> None:
    async with rig_on(
        simulator, Offer(do="429,retry_after=40"), Offer(do="429,retry_after=7")
    ) as rig:
        with pytest.raises(RateLimitedError) as caught:
            await rig.answer()

    assert (caught.value.status, caught.value.retry_after_s) == (429, 7)
    assert rig.ledger.only.status_code == 429


async def test_11_i_want_retries_not_to_multiply(simulator: Simulator) -> None:
    budget = RetryBudget(Refill(per_s=0.0))
    async with rig_on(simulator, Offer(do="500"), budget=budget) as rig:
        for _ in range(200):
            with pytest.raises(GatewayError) as caught:
                await rig.run()
            assert caught.value.should_retry is False, "the client's library must not retry too"

    assert len(asked(simulator)) <= 200 + 20 + 20, "a full bucket, and a tenth of the requests"


@pytest.mark.parametrize("do", ["401", "402", "403"])
async def test_12_i_want_a_provider_that_refuses_our_account_to_be_replaced_and_left_alone(
    simulator: Simulator, do: str
) -> None:
    async with rig_on(simulator, Offer(do=do), Offer()) as rig:
        for _ in range(3):
            _, body = await rig.whole()
            assert body["provider"] == "p2"

    refused = [entry for entry in asked(simulator) if (entry.model or "").endswith(do)]
    # One 403 does not say whether the key or the model is meant; a second one is not waited for.
    assert len(refused) <= (3 if do == "403" else 1)


@pytest.mark.parametrize("models", [["acme/large"], ["acme/large", "acme/small"]])
async def test_13_i_want_every_kind_of_request_retried_elsewhere_in_the_same_way(
    simulator: Simulator, models: list[str]
) -> None:
    last = Offer(do="text=hello", model=models[-1])
    async with rig_on(simulator, Offer(do="500"), last) as rig:
        whole, _ = await rig.whole(models=models)
        streamed = await rig.stream(models=models)
        assert isinstance(streamed, StreamedAnswer)
        assert text_of(await read_all(streamed)).startswith("hello")

    assert whole.status == 200
    assert all(record.used_provider == "p2" for record in rig.ledger.records)


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("do", ["hang", "hang_headers"])
async def test_14_i_want_silence_to_end_long_before_the_total_deadline(
    simulator: Simulator, do: str, stream: bool
) -> None:
    async with rig_on(
        simulator, Offer(do=do, deadlines=QUICK), Offer(do="text=hello"), total_s=600
    ) as rig:
        began_s = time.monotonic()
        if stream:
            await read_all(await rig.stream())
        else:
            await rig.whole()

    assert time.monotonic() - began_s < 3
    assert rig.ledger.only.attempts[0].outcome is Outcome.FIRST_TOKEN_TIMEOUT


async def test_14_i_want_each_endpoint_to_have_deadlines_of_its_own(simulator: Simulator) -> None:
    hasty = Offer(do="first_token_ms=400", deadlines=Deadlines(whole_answer_s=0.1))
    patient = Offer(do="first_token_ms=400", deadlines=Deadlines(whole_answer_s=30))
    async with rig_on(simulator, hasty) as rig:
        with pytest.raises(UpstreamTimeoutError):
            await rig.answer()
    async with rig_on(simulator, patient) as rig:
        await rig.whole()


async def test_24_i_want_new_rules_without_losing_what_is_known_of_limits(
    simulator: Simulator,
) -> None:
    async with rig_on(simulator, Offer(do="429,retry_after=90"), Offer()) as rig:
        await rig.whole()
        rules = compile_rules(
            '[[rules]]\nname = "label"\nthen.labels = { tier = "gold" }\n', source="rules"
        )
        rig.snapshots.current = msgspec.structs.replace(rig.snapshots.current, rules=rules)
        _, body = await rig.whole()

    assert body["provider"] == "p2"
    assert rig.ledger.records[-1].labels["tier"] == "gold"
    assert len(rig.ledger.records[-1].attempts) == 1, "the limited endpoint still rests"
