"""An edge on the simulator, served by the real server."""

import time
from collections.abc import AsyncIterator, Iterator

import pytest

from gateway.simulator.server import Simulator
from tests.api.edge import Edge, served
from tests.pipeline.conftest import dead_port, simulator
from tests.pipeline.rig import Offer, rig_on

__all__ = ["dead_port", "simulator"]


@pytest.fixture(scope="package", autouse=True)
def _threads_of_the_server_end_before_the_interpreter() -> Iterator[None]:  # pyright: ignore[reportUnusedFunction]
    yield
    # granian's threads outlive its stop, and abort a process that ends in the same moment.
    time.sleep(0.3)


@pytest.fixture
async def edge(simulator: Simulator) -> AsyncIterator[Edge]:
    async with rig_on(simulator, Offer(do="text=hello there")) as rig, served(Edge(rig)) as running:
        yield running
