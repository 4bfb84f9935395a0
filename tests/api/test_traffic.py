"""Admission, callers that do not read, and the drain, with requests that only wait."""

import asyncio
import time

import pytest

from gateway.api.traffic import Traffic
from gateway.domain.errors import OverloadedError
from gateway.domain.outcomes import Outcome
from tests.pipeline.rig import until

pytestmark = pytest.mark.anyio


class Waiting:
    """A request that waits until it is cancelled, and says farewell as long as it is told to."""

    def __init__(self, traffic: Traffic, *, farewell_s: float = 0.0) -> None:
        self._traffic = traffic
        self._farewell_s = farewell_s
        self.ended_as: Outcome | None = None
        self.cancelled = 0
        self.may_end = asyncio.Event()
        self.task = asyncio.create_task(self._serve())

    async def _serve(self) -> None:
        with self._traffic.admit() as request:
            self.request = request
            try:
                await self.may_end.wait()
            except asyncio.CancelledError:
                self.cancelled = 1
                self.ended_as = request.interruption.outcome
                await self._say_farewell()

    async def _say_farewell(self) -> None:
        try:
            await asyncio.sleep(self._farewell_s)
        except asyncio.CancelledError:
            self.cancelled = 2
            raise


async def open_requests(traffic: Traffic, count: int, *, farewell_s: float = 0.0) -> list[Waiting]:
    requests = [Waiting(traffic, farewell_s=farewell_s) for _ in range(count)]
    await until(lambda: traffic.open_count == count)
    return requests


async def test_requests_are_counted_while_they_are_open() -> None:
    traffic = Traffic(most=10, stalled_client_s=30)
    requests = await open_requests(traffic, 3)
    for request in requests:
        request.may_end.set()
    await asyncio.gather(*(request.task for request in requests))

    assert traffic.open_count == 0


async def test_one_request_too_many_is_refused_and_told_when_to_come_back() -> None:
    traffic = Traffic(most=2, stalled_client_s=30)
    requests = await open_requests(traffic, 2)
    with pytest.raises(OverloadedError) as caught:
        traffic.admit()
    assert (caught.value.status, caught.value.retry_after_s) == (503, 1)
    assert caught.value.should_retry is True

    requests[0].may_end.set()
    await requests[0].task
    with traffic.admit():
        assert traffic.open_count == 2
    requests[1].may_end.set()
    await requests[1].task


async def test_a_request_that_fails_is_not_open_any_more() -> None:
    traffic = Traffic(most=2, stalled_client_s=30)
    with pytest.raises(ZeroDivisionError), traffic.admit():
        raise ZeroDivisionError

    assert traffic.open_count == 0


async def test_a_drain_with_nothing_open_is_over_at_once() -> None:
    traffic = Traffic(most=2, stalled_client_s=30)
    await traffic.drain(within_s=60)

    assert traffic.is_draining


async def test_a_drain_waits_for_what_ends_by_itself() -> None:
    traffic = Traffic(most=2, stalled_client_s=30)
    (request,) = await open_requests(traffic, 1)
    drain = asyncio.create_task(traffic.drain(within_s=60))
    await until(lambda: traffic.is_draining)
    assert not drain.done()
    request.may_end.set()
    await drain

    assert request.cancelled == 0


async def test_a_drain_ends_what_is_open_too_long_and_lets_it_say_why() -> None:
    traffic = Traffic(most=9, stalled_client_s=30)
    requests = await open_requests(traffic, 5)
    await traffic.drain(within_s=0.02)

    assert [request.ended_as for request in requests] == [Outcome.GATEWAY_SHUTDOWN] * 5
    assert [request.cancelled for request in requests] == [1] * 5
    assert traffic.open_count == 0


async def test_a_drain_does_not_wait_for_farewells_that_nobody_reads() -> None:
    traffic = Traffic(most=2, stalled_client_s=30)
    (request,) = await open_requests(traffic, 1, farewell_s=60)
    began_s = time.monotonic()
    await traffic.drain(within_s=0.02, farewell_s=0.05)
    await asyncio.wait([request.task], timeout=5)

    assert request.cancelled == 2
    assert time.monotonic() - began_s < 5


async def test_a_caller_that_does_not_read_is_cut_off() -> None:
    traffic = Traffic(most=2, stalled_client_s=0.05)
    stalled, reading = await open_requests(traffic, 2)
    stalled.request.send_began_at_s = time.monotonic() - 1
    sweep = asyncio.create_task(traffic.sweep())
    await until(lambda: stalled.cancelled)

    assert reading.cancelled == 0
    assert stalled.request.interruption.outcome is Outcome.CLIENT_CANCELLED
    sweep.cancel()
    reading.may_end.set()
    await asyncio.wait([stalled.task, reading.task])
