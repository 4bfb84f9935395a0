"""A price that is set at a moment is that of every record from then on, and of none before."""

from datetime import UTC, datetime, timedelta
from decimal import Decimal

import msgspec
import pytest

from gateway.domain.records import RequestRecord
from gateway.simulator.server import Simulator
from pricing.operator_layer import PriceChange, apply_changes
from tests.pipeline.rig import Offer, Rig, rig_on

pytestmark = pytest.mark.anyio


def set_price(rig: Rig, at: datetime) -> None:
    change = PriceChange(
        id="1",
        kind="price",
        target=rig.endpoints[0].id,
        effective_from=at,
        terms={"input_usd_per_mtok": "10", "output_usd_per_mtok": "20"},
        recorded_at=at,
        recorded_by="ann",
        reason="dearer",
    )
    catalogue = apply_changes(rig.catalogue, [change])
    rig.snapshots.current = msgspec.structs.replace(rig.snapshots.current, catalogue=catalogue)


def times_listed(record: RequestRecord) -> Decimal:
    usage = record.attempts[0].usage
    assert usage is not None
    assert record.cost_usd is not None
    listed = Decimal(usage.prompt_tokens + 2 * usage.completion_tokens).scaleb(-6)
    return record.cost_usd / listed


async def test_records_from_the_moment_on_have_the_price_and_none_before(
    simulator: Simulator,
) -> None:
    async with rig_on(simulator, Offer()) as rig:
        await rig.whole()
        running = await rig.stream()
        set_price(rig, datetime.now(UTC))
        await rig.whole()
        async for _ in running.events:
            pass

    first, second, streamed = rig.ledger.records
    assert [times_listed(one) for one in (first, second, streamed)] == [1, 10, 1]
    assert second.attempts[0].cost.price_version == f"{rig.endpoints[0].id}@operator#1"


async def test_a_price_of_tomorrow_changes_nothing_today(simulator: Simulator) -> None:
    async with rig_on(simulator, Offer()) as rig:
        set_price(rig, datetime.now(UTC) + timedelta(days=1))
        await rig.whole()

    assert times_listed(rig.ledger.only) == 1
