"""A time limit means what ``asyncio.timeout`` means."""

import asyncio

import pytest

from gateway.execution.time_limit import TimeLimit

pytestmark = pytest.mark.anyio


async def test_what_ends_in_time_is_left_alone() -> None:
    with TimeLimit(60):
        await asyncio.sleep(0)

    await asyncio.sleep(0.01)
    assert not asyncio.current_task().cancelling()  # type: ignore[union-attr]


@pytest.mark.parametrize("seconds", [0.01, 0.0, -1.0])
async def test_what_takes_longer_meets_a_timeout_error(seconds: float) -> None:
    with pytest.raises(TimeoutError), TimeLimit(seconds):
        await asyncio.sleep(60)

    assert not asyncio.current_task().cancelling()  # type: ignore[union-attr]


async def test_another_error_passes() -> None:
    with pytest.raises(ValueError, match="own"), TimeLimit(60):
        raise ValueError("own")


async def test_an_error_met_after_time_was_up_passes() -> None:
    async def work() -> None:
        with TimeLimit(0.01):
            try:
                await asyncio.sleep(60)
            except asyncio.CancelledError as exc:
                raise ValueError("late") from exc

    with pytest.raises(ValueError, match="late"):
        await work()

    assert not asyncio.current_task().cancelling()  # type: ignore[union-attr]


async def test_a_cancellation_from_outside_stays_one() -> None:
    async def work() -> None:
        with TimeLimit(60):
            await asyncio.sleep(60)

    task = asyncio.create_task(work())
    await asyncio.sleep(0)
    task.cancel()

    with pytest.raises(asyncio.CancelledError):
        await task


async def test_a_cancellation_from_outside_outweighs_a_limit_that_is_up() -> None:
    async def work() -> None:
        with TimeLimit(0.0):
            await asyncio.sleep(60)

    task = asyncio.create_task(work())
    await asyncio.sleep(0)
    asyncio.get_running_loop().call_soon(task.cancel)

    with pytest.raises(asyncio.CancelledError):
        await task


async def test_limits_nest() -> None:
    with pytest.raises(TimeoutError), TimeLimit(0.01), TimeLimit(60):
        await asyncio.sleep(60)

    with TimeLimit(60):
        with pytest.raises(TimeoutError), TimeLimit(0.01):
            await asyncio.sleep(60)
        await asyncio.sleep(0)
