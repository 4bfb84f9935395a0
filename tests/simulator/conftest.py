"""A simulator without delays, and the official client in front of it."""

from collections.abc import AsyncIterator

import openai
import pytest

from gateway.simulator.server import Simulator


@pytest.fixture
async def simulator(anyio_backend: str) -> AsyncIterator[Simulator]:
    async with Simulator(speed=0) as running:
        yield running


@pytest.fixture
async def client(simulator: Simulator) -> AsyncIterator[openai.AsyncOpenAI]:
    """The official client on the stand-in, which serves any model."""
    async with openai.AsyncOpenAI(
        base_url=f"{simulator.base_url}/v1",
        api_key="sk-abcdefghijklmnopqrstuvwxyz",
        max_retries=0,
        http_client=openai.DefaultAsyncHttpxClient(trust_env=False),
    ) as official:
        yield official
