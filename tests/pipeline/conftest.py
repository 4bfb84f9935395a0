"""A simulator without delays, and a port on which nobody listens."""

from collections.abc import AsyncIterator, Iterator

import pytest

from gateway.simulator.server import Simulator
from tests.pipeline.rig import DeadPort


@pytest.fixture
async def simulator(anyio_backend: str) -> AsyncIterator[Simulator]:
    async with Simulator(speed=0) as running:
        yield running


@pytest.fixture
def dead_port() -> Iterator[DeadPort]:
    port = DeadPort()
    yield port
    port.close()
