"""What is known of a provider outlives a worker, and not a restart of the whole."""

import os
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncConnection

from gateway.storage.tables import health_event
from tests.installation import (
    MESSAGES,
    Gateway,
    SimulatorProcess,
    installation,
    provider_toml,
    wait_until,
)


def test_a_refused_credential_stays_out_when_a_worker_is_killed_and_not_after_a_restart(
    tmp_path: Path, postgres_dsn: Callable[..., str]
) -> None:
    with SimulatorProcess("--speed", "0") as simulator:
        base_url = f"{simulator.base_url}/v1"
        toml = "workers = 2\n" + provider_toml("refusing", base_url, {"case/key": "refusing!401"})
        toml += provider_toml("sound", base_url, {"case/key": "sound"})
        home = tmp_path / "home"
        with installation(home, toml=toml, TOLLWAY_DATABASE_URL=postgres_dsn()) as place:
            with place.serve() as gateway:
                key = gateway.make_key()
                ask_often(gateway, key)
                assert calls_of(simulator, "refusing!401") == 1
                # What a worker saw goes to the database soon after, and would be lost with it.
                wait_until("the refusal is on record", lambda: changes_in(gateway))

                killed = gateway.workers()[0].pid
                os.kill(killed, signal.SIGKILL)
                wait_until("a new worker answers", lambda: has_two_others(gateway, killed, key))
                ask_often(gateway, key)
                assert calls_of(simulator, "refusing!401") == 1
                # Two workers and the third that took a place know of it: it happened once.
                assert changes_in(gateway) == [("credential", "refusing", 0, "open")]
                assert gateway.stop() == 0
            with place.serve() as gateway:
                ask_often(gateway, key)

            assert calls_of(simulator, "refusing!401") == 2


def ask_often(gateway: Gateway, key: str) -> None:
    """Over new connections, so that every worker is asked."""
    for _ in range(12):
        with gateway.client(key) as client:
            asked = {
                "model": "case/key",
                "messages": MESSAGES,
                "provider": {"order": ["refusing", "sound"]},
            }
            answer = client.post("/v1/chat/completions", json=asked)
        assert answer.status_code == 200, answer.text


def changes_in(gateway: Gateway) -> list[tuple[Any, ...]]:
    """What is on record of health."""
    e = health_event.c
    statement = select(e.level, e.provider, e.credential, e.state).order_by(e.at)

    async def read(connection: AsyncConnection) -> list[tuple[Any, ...]]:
        return [tuple(row) for row in await connection.execute(statement)]

    found: list[tuple[Any, ...]] = gateway.ask(read)
    return found


def has_two_others(gateway: Gateway, killed: int, key: str) -> bool:
    pids = [worker.pid for worker in gateway.workers()]
    return len(pids) == 2 and killed not in pids and gateway.accepts(key)


def calls_of(simulator: SimulatorProcess, model: str) -> int:
    return sum(entry["model"] == model for entry in simulator.ledger())
