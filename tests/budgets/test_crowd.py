"""A budget for 100 requests, a thousand at once, four workers, leases of two seconds."""

import asyncio
import os
import random
import signal
import time
from collections import Counter
from collections.abc import Callable, Generator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import aiohttp
import httpx
from sqlalchemy import func, select
from sqlalchemy.ext.asyncio import AsyncConnection

from gateway.storage.tables import attempt_record, budget_lease, budget_period
from tests.installation import (
    MESSAGES,
    Gateway,
    SimulatorProcess,
    installation,
    wait_until,
)

IS_LONG = os.environ.get("TOLLWAY_LONG_TESTS") == "1"
WORKERS = 4 if IS_LONG else 2
CROWD = 1_000 if IS_LONG else 300
KILLS = 10 if IS_LONG else 2
ADMITTED = 100
FEE_NUSD = 10_000_000
LIMIT_NUSD = ADMITTED * FEE_NUSD + 10_000
"""A hundred fees, and what their tokens cost at a nano-dollar each; not a hundred and one."""
TTL_S = 2.0

TOML = """
workers = {workers}

[budgets]
lease_s = {ttl_s}

[providers.fee]
protocol = "openai"
base_url = "{base_url}/v1"
allow_private = true

[[providers.fee.endpoints]]
model = "case/fee"
id = "fee"
context_tokens = 128_000
max_output_tokens = 16_384
input_usd_per_mtok = 0.001
output_usd_per_mtok = 0.001
request_usd = 0.01
"""


class Site:
    """A gateway on simulated providers, with one budget for everyone."""

    def __init__(self, gateway: Gateway, simulator: SimulatorProcess, key: str) -> None:
        self.gateway = gateway
        self.simulator = simulator
        self.key = key

    @property
    def billed(self) -> int:
        """Requests that the provider took."""
        return self.simulator.state()["received"]


@contextmanager
def site(tmp_path: Path, dsn: str, *, speed: str) -> Generator[Site]:
    with SimulatorProcess("--speed", speed) as simulator:
        toml = TOML.format(workers=WORKERS, ttl_s=TTL_S, base_url=simulator.base_url)
        home = tmp_path / "home"
        with (
            installation(home, toml=toml, TOLLWAY_DATABASE_URL=dsn) as place,
            place.serve() as gateway,
        ):
            key = gateway.make_key()
            answer = httpx.post(
                f"{gateway.admin_url}/admin/budgets",
                json={
                    "name": "hundred",
                    "limit_usd": 1.00001,
                    "everyone": True,
                    "period": "total",
                    "strict": True,
                },
                headers=gateway.owner_headers,
                trust_env=False,
            )
            assert answer.status_code == 201, answer.text
            # Whoever does not know of it yet would let requests pass.
            wait_until("every worker holds a slice", lambda: len(holders(gateway)) == WORKERS)
            yield Site(gateway, simulator, key)


def holders(gateway: Gateway) -> set[int]:
    """The processes whose names leases are in."""

    async def look(connection: AsyncConnection) -> set[int]:
        names = await connection.scalars(select(budget_lease.c.worker))
        return {int(name.split("-")[1]) for name in names}

    return gateway.ask(look)


def books(gateway: Gateway) -> tuple[int, int, int]:
    """What is spent, what is leased, and what the rows cost, in nano-dollars."""

    async def look(connection: AsyncConnection) -> tuple[int, int, int]:
        spent = await connection.scalar(select(func.sum(budget_period.c.spent_nusd))) or 0
        held = budget_lease.c.granted_nusd - budget_lease.c.shipped_nusd
        leased = await connection.scalar(select(func.sum(held))) or 0
        cost_usd = await connection.scalar(select(func.sum(attempt_record.c.cost_usd))) or 0
        return int(spent), int(leased), int(cost_usd * 10**9)

    return gateway.ask(look)


async def crowd(place: Site, count: int, *, until_s: float) -> Counter[int]:
    """So many at once, each on its own connection; who is told to come back soon does."""
    body: dict[str, Any] = {"model": "case/fee", "messages": MESSAGES, "max_tokens": 16}
    headers = {"authorization": f"Bearer {place.key}"}
    url = f"{place.gateway.url}/v1/chat/completions"
    connector = aiohttp.TCPConnector(limit=0, force_close=True)
    async with aiohttp.ClientSession(connector=connector, headers=headers) as session:

        async def one() -> int:
            while True:
                try:
                    async with session.post(url, json=body) as answer:
                        await answer.read()
                        status = answer.status
                        pause_s = float(answer.headers.get("Retry-After", 0))
                except aiohttp.ClientError:
                    status, pause_s = 0, 0.0
                if status != 429 or time.monotonic() > until_s:
                    return status
                await asyncio.sleep(pause_s * random.uniform(1, 1.5))

        return Counter(await asyncio.gather(*(one() for _ in range(count))))


def test_exactly_as_many_are_admitted_as_the_budget_is_for(
    tmp_path: Path, postgres_dsn: Callable[..., str]
) -> None:
    with site(tmp_path, postgres_dsn(), speed="0") as place:
        began_s = time.monotonic()
        statuses = asyncio.run(crowd(place, CROWD, until_s=began_s + 10))
        took_s = time.monotonic() - began_s

        assert statuses == {200: ADMITTED, 402: CROWD - ADMITTED}, statuses
        assert place.billed == ADMITTED
        assert took_s < 10
        assert place.gateway.stop() == 0
        spent, leased, rows = books(place.gateway)
        assert (spent, leased) == (rows, 0)
        assert ADMITTED * FEE_NUSD < spent < LIMIT_NUSD
        print(f"{CROWD} requests, {WORKERS} workers: {took_s:.2f} s, {dict(statuses)}")


def test_whoever_is_killed_nothing_is_billed_beyond_the_limit(
    tmp_path: Path, postgres_dsn: Callable[..., str]
) -> None:
    # With the delays of providers, so that kills meet requests under way.
    with site(tmp_path, postgres_dsn(), speed="1") as place:
        most_billed = asyncio.run(under_kills(place))
        wait_until(
            "what the killed ones left is stored",
            lambda: holders(place.gateway) == {one.pid for one in place.gateway.workers()},
            within_s=2 * TTL_S + 20,
        )
        # All that is left, for whoever comes now.
        statuses = asyncio.run(crowd(place, CROWD, until_s=time.monotonic() + 10))
        assert place.gateway.stop() == 0

        spent, leased, rows = books(place.gateway)
        assert most_billed <= place.billed <= ADMITTED
        assert leased == 0
        assert rows == spent <= LIMIT_NUSD
        # Each worker may have held a part of a fee that nobody could use.
        assert spent > (ADMITTED - WORKERS) * FEE_NUSD, "nothing was lost either"
        print(f"{KILLS} kills: {place.billed} billed, {spent / FEE_NUSD:.2f} fees counted")
        print(dict(statuses))


async def under_kills(place: Site) -> int:
    """Crowds while workers are killed; the most that was billed at any look."""
    most = 0
    is_over = asyncio.Event()

    async def look() -> None:
        nonlocal most
        while not is_over.is_set():
            most = max(most, await asyncio.to_thread(lambda: place.billed))
            assert most <= ADMITTED, "more was billed than the limit allows"
            await asyncio.sleep(0.02)

    async def kill() -> None:
        for _ in range(KILLS):
            await asyncio.sleep(random.uniform(0.3, 0.9))
            workers = await asyncio.to_thread(place.gateway.workers)
            if workers:
                os.kill(random.choice(workers).pid, signal.SIGKILL)
        is_over.set()

    looking, killing = asyncio.create_task(look()), asyncio.create_task(kill())
    while not is_over.is_set():
        await crowd(place, 10, until_s=time.monotonic() + 1)
    await asyncio.gather(looking, killing)
    return most
