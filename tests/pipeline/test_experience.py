"""What one request teaches the plan of the next."""

from typing import Any

import pytest

from gateway.routing.plan import Plan
from gateway.simulator.server import Simulator
from tests.pipeline.rig import Offer, Rig, chat_request, read_all, rig_on
from tests.routing.factories import make_caller

pytestmark = pytest.mark.anyio


def next_plan(rig: Rig, **members: Any) -> Plan:
    return rig.pipeline.plan(chat_request(**members), make_caller())


async def test_costs_are_expected_for_answers_as_long_as_this_keys(simulator: Simulator) -> None:
    async with rig_on(simulator, Offer(do="tokens=40")) as rig:
        assert [one.output_tokens for one in next_plan(rig).candidates] == [None]
        for _ in range(3):
            await rig.whole()

        assert [one.output_tokens for one in next_plan(rig).candidates] == [40]
        assert [one.output_tokens for one in next_plan(rig, max_tokens=9).candidates] == [9]


async def test_a_conversation_is_expected_to_find_its_prompt_where_it_was_answered(
    simulator: Simulator,
) -> None:
    async with rig_on(simulator, Offer(do="500"), Offer(), Offer()) as rig:
        await read_all(await rig.stream(session_id="talk"))

        plan = next_plan(rig, session_id="talk")
        warm = [one.endpoint.provider for one in plan.candidates if one.cached_tokens]
        assert warm == ["p2"], "the first failed, the second answered"
        other = next_plan(rig, session_id="another")
        assert not any(one.cached_tokens for one in other.candidates)


async def test_a_conversation_moves_to_whoever_answered_it_after_a_failure(
    simulator: Simulator,
) -> None:
    async with rig_on(simulator, Offer(), Offer()) as rig:
        await rig.whole(session_id="talk")
        # As when the first one fails: it is the second that holds the prompt now.
        await rig.whole(session_id="talk", provider={"order": ["p2"]})

        plan = next_plan(rig, session_id="talk")
        warm = [one.endpoint.provider for one in plan.candidates if one.cached_tokens]
    assert warm == ["p2"]
