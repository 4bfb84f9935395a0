"""The load generator and the canned provider agree, so that figures mean something."""

import asyncio

import pytest

from tests.benchmarks.load import Load, run
from tests.benchmarks.upstream import CannedProvider

pytestmark = pytest.mark.anyio


async def run_against_provider(mode: str) -> tuple[int, int, int]:
    """Requests, events and errors of a short run."""
    server = await asyncio.get_running_loop().create_server(
        lambda: CannedProvider(chunks=5, interval_s=0.001), "127.0.0.1", 0
    )
    url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/v1/chat/completions"
    load = Load(url=url, api_key="k", mode=mode, duration_s=0.3, rate_per_s=100, connections=4)
    result = await run(load)
    server.close()
    assert result.p50_ms <= result.p99_ms
    return result.requests, result.events, result.errors


async def test_closed_loop_keeps_every_connection_busy() -> None:
    requests, events, errors = await run_against_provider("closed")

    assert requests > 50
    assert (events, errors) == (0, 0)


async def test_open_loop_sends_at_its_rate() -> None:
    requests, events, errors = await run_against_provider("open")

    assert requests == 30
    assert (events, errors) == (0, 0)


async def test_streams_count_every_event() -> None:
    requests, events, errors = await run_against_provider("streams")

    assert requests > 4
    # The role, five chunks, the finish, the usage and the end; the last round may be cut short.
    assert requests * 9 <= events <= (requests + 4) * 9
    assert errors == 0
