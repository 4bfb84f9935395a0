"""Two attempts at once on real sockets: who answers, what becomes of the other, who pays."""

import asyncio

import pytest

from gateway.domain.errors import GatewayError
from gateway.domain.outcomes import Outcome
from gateway.execution.course import NoAdvice
from gateway.execution.retry_budget import Refill, RetryBudget
from gateway.simulator.server import Simulator
from pricing.endpoint import Endpoint
from tests.execution.test_runner import said
from tests.pipeline.rig import QUICK, Offer, asked, read_all, rig_on, text_of, until

pytestmark = pytest.mark.anyio

SOON_S = 0.05
SILENT = Offer(do="hang")
GOOD = Offer(do="text=hello")


@pytest.mark.parametrize("stream", [False, True])
async def test_when_the_first_endpoint_is_silent_a_second_one_answers_and_the_first_is_cut_off(
    simulator: Simulator, stream: bool
) -> None:
    async with rig_on(simulator, SILENT, GOOD, hedge_after_s=SOON_S) as rig:
        served = await rig.run(stream=stream)
        assert "hello" in await said(served)
        served.attempt.end(Outcome.SUCCESS)

        assert [(start.number, start.kind) for start in rig.starts] == [
            (1, "primary"),
            (2, "hedge"),
        ]
        assert rig.told() == [("superseded", 0), ("success", 200)]
        silent = next(entry for entry in asked(simulator) if (entry.model or "").endswith("hang"))
        await until(lambda: silent.outcome == "client_closed")


@pytest.mark.parametrize("stream", [False, True])
async def test_when_the_first_speaks_after_all_the_second_is_cut_off(
    simulator: Simulator, stream: bool
) -> None:
    slow = Offer(do="text=hello,first_token_ms=200")
    async with rig_on(simulator, slow, SILENT, hedge_after_s=SOON_S) as rig:
        served = await rig.run(stream=stream)
        assert "hello" in await said(served)
        served.attempt.end(Outcome.SUCCESS)

        assert served.attempt.start.number == 1
        assert sorted(rig.told()) == [("success", 200), ("superseded", 0)]
        silent = next(entry for entry in asked(simulator) if (entry.model or "").endswith("hang"))
        await until(lambda: silent.outcome == "client_closed")


@pytest.mark.parametrize("stream", [False, True])
async def test_an_endpoint_that_answers_in_time_is_the_only_one_asked(
    simulator: Simulator, stream: bool
) -> None:
    async with rig_on(simulator, GOOD, SILENT, hedge_after_s=20.0) as rig:
        await said(await rig.run(stream=stream))

    assert len(asked(simulator)) == 1


async def test_a_failure_before_the_second_began_moves_on_at_once(simulator: Simulator) -> None:
    async with rig_on(simulator, Offer(do="500"), GOOD, hedge_after_s=20.0) as rig:
        await rig.run()

    assert [start.kind for start in rig.starts] == ["primary", "fallback"]
    assert rig.told() == [("server_error", 500), ("success", 200)]


async def test_when_the_second_fails_the_first_is_waited_for(simulator: Simulator) -> None:
    slow = Offer(do="text=hello,first_token_ms=200")
    async with rig_on(simulator, slow, Offer(do="500"), hedge_after_s=SOON_S) as rig:
        served = await rig.run()

    assert served.attempt.start.number == 1
    assert rig.told() == [("server_error", 500), ("success", 200)]


async def test_when_both_fail_the_third_endpoint_answers(simulator: Simulator) -> None:
    async with rig_on(
        simulator, SILENT, Offer(do="500"), GOOD, hedge_after_s=SOON_S, deadlines=QUICK
    ) as rig:
        await rig.run()

    assert rig.told() == [
        ("server_error", 500),
        ("first_token_timeout", 0),
        ("success", 200),
    ]
    assert [start.kind for start in rig.starts] == ["primary", "hedge", "fallback"]
    assert [start.number for start in rig.starts] == [1, 2, 3]


async def test_when_all_fail_every_failure_is_told(simulator: Simulator) -> None:
    async with rig_on(
        simulator, SILENT, Offer(do="500"), hedge_after_s=SOON_S, deadlines=QUICK, max_attempts=2
    ) as rig:
        with pytest.raises(GatewayError) as caught:
            await rig.run()

    assert {step["code"] for step in caught.value.metadata["previous_errors"]} == {
        "server_error",
        "first_token_timeout",
    }


async def test_only_another_endpoint_of_the_same_model_is_asked_beside(
    simulator: Simulator,
) -> None:
    other = Offer(do="text=hello", model="acme/other")
    async with rig_on(simulator, SILENT, other, hedge_after_s=SOON_S, deadlines=QUICK) as rig:
        await rig.run()

    assert [start.kind for start in rig.starts] == ["primary", "fallback"]
    assert rig.told()[0] == ("first_token_timeout", 0)


async def test_attempts_at_once_count_as_attempts(simulator: Simulator) -> None:
    async with rig_on(
        simulator, SILENT, GOOD, hedge_after_s=SOON_S, deadlines=QUICK, max_attempts=1
    ) as rig:
        with pytest.raises(GatewayError):
            await rig.run()

    assert len(rig.starts) == 1


async def test_an_endpoint_that_health_refuses_is_not_asked_beside(simulator: Simulator) -> None:
    class Refusing(NoAdvice):
        def may_try(self, endpoint: Endpoint, credential: int) -> bool:
            del credential
            return endpoint.provider != "p2"

    async with rig_on(
        simulator, SILENT, SILENT, GOOD, hedge_after_s=SOON_S, advice=Refusing()
    ) as rig:
        served = await rig.run()

    assert served.attempt.start.endpoint.provider == "p3"
    assert len(asked(simulator)) == 2


async def test_without_budget_nobody_is_asked_beside(simulator: Simulator) -> None:
    budget = RetryBudget(Refill(cap=1.0, per_request=0.0, per_s=0.0))
    async with rig_on(
        simulator, SILENT, GOOD, hedge_after_s=SOON_S, deadlines=QUICK, budget=budget
    ) as rig:
        await rig.run()
        await rig.run()

    assert [start.kind for start in rig.starts] == ["primary", "hedge", "primary", "fallback"]


@pytest.mark.parametrize("stream", [False, True])
async def test_a_caller_who_hangs_up_ends_both_attempts(simulator: Simulator, stream: bool) -> None:
    async with rig_on(simulator, SILENT, SILENT, hedge_after_s=SOON_S) as rig:
        task = asyncio.create_task(rig.run(stream=stream))
        await until(lambda: len(asked(simulator)) == 2)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert rig.told() == [("client_cancelled", 0)] * 2
        await until(lambda: all(entry.outcome == "client_closed" for entry in asked(simulator)))


@pytest.mark.parametrize("stream", [False, True])
async def test_both_attempts_are_recorded_and_paid_for(simulator: Simulator, stream: bool) -> None:
    async with rig_on(
        simulator, SILENT, Offer(do="text=hello,tokens=10"), hedge_after_s=SOON_S
    ) as rig:
        if stream:
            events = await read_all(await rig.stream())
            assert "hello" in text_of(events)
            metadata = events[-2]["metadata"]
        else:
            _, body = await rig.whole()
            metadata = body["metadata"]
        record = rig.ledger.only

    slow, quick = record.attempts
    assert [begun.number for begun in rig.ledger.begun] == [1, 2]
    assert (slow.number, slow.kind, slow.outcome) == (1, "primary", Outcome.SUPERSEDED)
    assert (quick.number, quick.kind, quick.outcome) == (2, "hedge", Outcome.SUCCESS)
    assert slow.usage_source == "estimated"
    assert slow.cost.total_usd
    assert quick.cost.total_usd
    assert record.cost_usd == slow.cost.total_usd + quick.cost.total_usd
    assert (record.used_provider, record.is_fallback, record.outcome) == (
        "p2",
        True,
        Outcome.SUCCESS,
    )
    assert [step["provider"] for step in metadata["routing"]] == ["p1", "p2"]


async def test_two_answers_in_the_same_moment_leave_one_winner_and_no_open_stream(
    simulator: Simulator,
) -> None:
    slow = Offer(do="text=hello,first_token_ms=100")
    async with rig_on(simulator, slow, Offer(do="text=hello"), hedge_after_s=0.098) as rig:
        for _ in range(10):
            served = await rig.run(stream=True)
            assert "hello" in await said(served)
            served.attempt.end(Outcome.SUCCESS)
        await until(lambda: all(entry.outcome != "open" for entry in asked(simulator)))

    assert [end.outcome for end in rig.ends].count(Outcome.SUCCESS) == 10
    assert len(rig.ends) == len(rig.starts)


async def test_a_loser_does_not_hurt_its_endpoints_health(simulator: Simulator) -> None:
    async with rig_on(simulator, SILENT, GOOD, hedge_after_s=SOON_S) as rig:
        for _ in range(6):
            await rig.whole()

    assert all(record.used_provider == "p2" for record in rig.ledger.records)
    assert rig.health.uptime_percent(rig.endpoints[0].id) is None
