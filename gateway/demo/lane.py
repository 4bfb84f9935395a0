"""One of the processes that store the made-up past side by side, told by a JSON line on stdin.

Writes a line with the number of requests whenever some were stored, and ends when its input does.
"""

import asyncio
import os
import sys
import threading
from datetime import datetime

import msgspec

from gateway.demo.organisation import find_past, read_world
from gateway.demo.storing import store_hours
from gateway.demo.timetable import timetable
from gateway.demo.traffic import Author
from gateway.storage.engine import make_engine
from gateway.storage.waiting import run_bounded

STATEMENT_S = 60.0
"""Batches are large, and the machine may be a busy one."""
_LOOK_S = 15.0


class Orders(msgspec.Struct, frozen=True, kw_only=True):
    """Which part of the past to store, and where."""

    database_url: str
    lane: int
    lanes: int


async def run(orders: Orders) -> None:
    """Store every hour of this lane's days."""
    engine = make_engine(
        orders.database_url,
        pool_size=1,
        application_name="tollway demo",
        command_timeout_s=STATEMENT_S,
        statement_timeout_s=STATEMENT_S,
        lock_timeout_s=STATEMENT_S,
    )
    try:
        past = await run_bounded(engine, find_past, seconds=_LOOK_S)
        if past is None:
            raise RuntimeError("the past was not begun")
        world = await run_bounded(
            engine, lambda connection: read_world(connection, past), seconds=_LOOK_S
        )
        slots = timetable(past.now, past.requests, days=past.days)
        mine = [slot for slot in slots if _lane_of(slot.since, orders.lanes) == orders.lane]
        await store_hours(engine, Author(world), mine, _tell)
    finally:
        await engine.dispose()


def _lane_of(at: datetime, lanes: int) -> int:
    return at.toordinal() % lanes


def _tell(stored: int) -> None:
    sys.stdout.write(f"{stored}\n")
    sys.stdout.flush()


def _end_with_input() -> None:
    while os.read(0, 4096):
        pass
    os._exit(1)


if __name__ == "__main__":
    told = msgspec.json.decode(sys.stdin.buffer.readline(), type=Orders)
    threading.Thread(target=_end_with_input, daemon=True).start()
    asyncio.run(run(told))
