"""Mirrored requests: a copy is asked elsewhere, its answer is recorded and nobody gets it."""

import asyncio
import json

import pytest

from gateway.domain.errors import GatewayError
from gateway.domain.outcomes import Outcome
from gateway.simulator.server import Simulator
from tests.pipeline.rig import QUICK, Offer, Rig, asked, read_all, rig_on, text_of, until
from tests.routing.factories import make_caller

pytestmark = pytest.mark.anyio

GOOD = Offer(do="text=hello,tokens=10")
OTHER = Offer(do="tokens=20", model="acme/new", input_usd="3", output_usd="4")
TO_MODEL = """
[[rules]]
name = "compare"
then.mirror = { to = "acme/new", share = 1.0 }
"""


async def mirrored(rig: Rig, count: int = 1) -> None:
    await until(lambda: len(rig.ledger.late) == count)


@pytest.mark.parametrize("stream", [False, True])
async def test_a_copy_is_recorded_with_its_cost_and_changes_nothing_of_the_request(
    simulator: Simulator, stream: bool
) -> None:
    async with rig_on(simulator, GOOD, OTHER, rules=TO_MODEL) as rig:
        if stream:
            assert text_of(await read_all(await rig.stream())).startswith("hello")
        else:
            _, body = await rig.whole()
            assert body["metadata"]["attempts"] == 1
        await mirrored(rig)

    record = rig.ledger.only
    (real,) = record.attempts
    (late,) = rig.ledger.late
    (shadow,) = late.attempts
    assert (late.id, late.key_id, late.received_at) == (
        record.id,
        record.key_id,
        record.received_at,
    )
    assert (real.number, real.kind, real.model) == (1, "primary", "acme/large")
    assert (shadow.number, shadow.kind, shadow.model) == (2, "shadow", "acme/new")
    assert shadow.outcome is Outcome.SUCCESS
    assert shadow.usage is not None
    assert shadow.usage.completion_tokens == 20
    assert shadow.cost.total_usd
    assert record.cost_usd == real.cost.total_usd
    assert [begun.number for begun in rig.ledger.begun] == [1, 2]
    assert (shadow.ttft_ms is not None) is stream


async def test_the_answer_does_not_wait_for_the_copy(simulator: Simulator) -> None:
    silent = Offer(do="hang", model="acme/new")
    async with rig_on(simulator, GOOD, silent, rules=TO_MODEL) as rig:
        await asyncio.wait_for(rig.whole(), 2)
        await until(lambda: rig.shadows.running == 1 and len(asked(simulator)) == 2)
        assert rig.ledger.late == []
        await rig.shadows.aclose(within_s=0)

    (late,) = rig.ledger.late
    assert late.attempts[0].outcome is Outcome.GATEWAY_SHUTDOWN
    assert late.attempts[0].usage_source == "estimated"


@pytest.mark.parametrize(
    ("do", "outcome"),
    [
        ("500", Outcome.SERVER_ERROR),
        ("hang", Outcome.FIRST_TOKEN_TIMEOUT),
        ("401", Outcome.AUTH_FAILED),
    ],
)
async def test_a_copy_that_fails_is_recorded_once_and_tried_nowhere_else(
    simulator: Simulator, do: str, outcome: Outcome
) -> None:
    failing = Offer(do=do, model="acme/new", deadlines=QUICK)
    async with rig_on(simulator, GOOD, failing, rules=TO_MODEL) as rig:
        await rig.whole()
        await mirrored(rig)

    assert rig.ledger.late[0].attempts[0].outcome is outcome
    assert len(asked(simulator)) == 2
    assert rig.ledger.only.outcome is Outcome.SUCCESS


async def test_a_failed_request_is_compared_too_under_the_next_number(
    simulator: Simulator,
) -> None:
    async with rig_on(simulator, Offer(do="500"), OTHER, rules=TO_MODEL) as rig:
        with pytest.raises(GatewayError):
            await rig.answer(provider={"order": ["p1"]})
        await mirrored(rig)

    assert rig.ledger.late[0].attempts[0].number == len(rig.ledger.only.attempts) + 1


async def test_more_copies_than_may_be_under_way_are_dropped_and_counted(
    simulator: Simulator,
) -> None:
    silent = Offer(do="hang", model="acme/new")
    async with rig_on(simulator, GOOD, silent, rules=TO_MODEL, shadows_most=1) as rig:
        for _ in range(3):
            await rig.whole()
        await until(lambda: rig.shadows.started + rig.shadows.dropped == 3)

        assert (rig.shadows.started, rig.shadows.dropped) == (1, 2)
    assert len(rig.ledger.records) == 3


async def test_a_copy_goes_to_nobody_whom_the_request_rules_out(simulator: Simulator) -> None:
    async with rig_on(simulator, GOOD, OTHER, rules=TO_MODEL) as rig:
        await rig.whole(provider={"ignore": ["p2"]})
        await rig.whole(caller=make_caller(allowed_providers=("p1",)))
        await until(lambda: rig.shadows.unfit == 2)

    assert len(asked(simulator)) == 2


async def test_a_rule_may_name_one_endpoint(simulator: Simulator) -> None:
    one = Offer(do="text=a", model="acme/new")
    two = Offer(do="text=b", model="acme/new", input_usd="9")
    rules = TO_MODEL.replace('to = "acme/new"', f"to = {json.dumps('p3/new!text=b')}")
    async with rig_on(simulator, GOOD, one, two, rules=rules) as rig:
        await rig.whole()
        await mirrored(rig)

    assert rig.ledger.late[0].attempts[0].provider == "p3"


async def test_a_request_that_its_caller_gave_up_is_not_mirrored(simulator: Simulator) -> None:
    async with rig_on(simulator, Offer(do="hang"), OTHER, rules=TO_MODEL) as rig:
        task = asyncio.create_task(rig.answer())
        await until(lambda: len(asked(simulator)) == 1)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        await asyncio.sleep(0)

    assert (rig.shadows.started, rig.ledger.late) == (0, [])
    assert rig.ledger.only.outcome is Outcome.CLIENT_CANCELLED
