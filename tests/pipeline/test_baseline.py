"""Every answer remembers what it would have cost at the operator's baseline."""

from decimal import Decimal

import msgspec
import pytest

from gateway.domain.errors import GatewayError
from gateway.gathering import Policy
from gateway.pipeline import Pipeline
from gateway.simulator.server import Simulator
from pricing.savings import Baseline
from tests.pipeline.rig import Offer, Rig, rig_on

pytestmark = pytest.mark.anyio


def compare(rig: Rig, baseline: Baseline) -> None:
    """The rig's pipeline again, with a baseline."""
    rig.pipeline = Pipeline(
        snapshots=rig.snapshots,
        runner=rig.runner,
        access_of=rig.access,
        health=rig.health,
        ledger=rig.ledger,
        policy=Policy(
            slash_pins_provider=True,
            expected_output_tokens=100,
            code_version="test",
            baseline=baseline,
        ),
    )


async def test_failed_attempts_count_against_what_was_saved(simulator: Simulator) -> None:
    dear = Offer(input_usd="10", output_usd="20")
    async with rig_on(simulator, Offer(do="500"), Offer(), dear) as rig:
        compare(rig, Baseline())
        await rig.whole()

        record = rig.ledger.only
        served = record.attempts[-1].usage
        assert served is not None
        micros = 10 * served.prompt_tokens + 20 * served.completion_tokens
        assert record.baseline_cost_usd == Decimal(micros).scaleb(-6)
        assert record.cost_usd == Decimal(micros).scaleb(-7)


async def test_streams_have_a_baseline_too_and_requests_without_an_answer_none(
    simulator: Simulator,
) -> None:
    async with rig_on(simulator, Offer()) as rig:
        compare(rig, Baseline(endpoint=rig.endpoints[0]))
        answer = await rig.stream()
        async for _ in answer.events:
            pass
        assert rig.ledger.only.baseline_cost_usd == rig.ledger.only.cost_usd

    async with rig_on(simulator, Offer(do="500")) as rig:
        compare(rig, Baseline(endpoint=rig.endpoints[0]))
        with pytest.raises(GatewayError):
            await rig.whole()
        assert rig.ledger.only.baseline_cost_usd is None


async def test_without_a_baseline_nothing_is_compared(simulator: Simulator) -> None:
    async with rig_on(simulator, Offer()) as rig:
        await rig.whole()

        assert rig.ledger.only.baseline_cost_usd is None
        assert msgspec.json.encode(rig.ledger.only)
