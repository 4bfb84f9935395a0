"""The demo's past: founded, written and stored by processes of their own, with a progress bar."""

import asyncio
import json
import subprocess
import sys
import threading
from collections.abc import Awaitable, Callable, Generator
from contextlib import contextmanager
from datetime import UTC, datetime
from queue import SimpleQueue

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TextColumn,
    TimeRemainingColumn,
)

from gateway.cli.database import ask
from gateway.cli.printing import CommandError
from gateway.demo.lane import STATEMENT_S
from gateway.demo.organisation import Past, find_past, finish, found, key_text
from gateway.demo.scenario import HABITS
from gateway.demo.storing import make_partitions, sum_up
from gateway.demo.timetable import timetable
from gateway.domain.keys import parse_key
from gateway.storage.engine import Engine, make_engine
from gateway.storage.keys import list_keys

LANES = 2
_END_S = 10.0


def make_past(
    database_url: str, requests: int, *, pepper: bytes, with_rules: bool, quiet: bool
) -> None:
    """Give the installation a made-up past; nothing is done where it has one.

    A past that was broken off is gone on with, as it was begun.

    Raises:
        CommandError: the database does not answer, or a process that stores failed.
    """
    past = ask(database_url, find_past)
    if past is not None and past.is_complete:
        return
    if past is None:
        past = begun = Past(now=datetime.now(UTC).replace(microsecond=0), requests=requests)
        ask(
            database_url,
            lambda connection: found(connection, begun, pepper=pepper, with_rules=with_rules),
        )
    _store(database_url, past, quiet=quiet)
    complete = past
    ask(database_url, lambda connection: finish(connection, complete, at=datetime.now(UTC)))


def live_senders(database_url: str, *, pepper: bytes) -> list[dict[str, object]]:
    """Who sends live traffic: the made-up keys that are still valid, with what they ask for."""
    valid = {key.kid for key in ask(database_url, list_keys) if key.revoked_at is None}
    senders: list[dict[str, object]] = []
    for habit in HABITS:
        text = key_text(habit, pepper)
        parsed = parse_key(text)
        if parsed is None or parsed.kid not in valid:
            continue
        senders.append(
            {
                "api_key": text,
                "share": habit.share,
                "models": habit.models,
                "stream": habit.stream,
                "prompt_tokens": habit.prompt_tokens.median,
                "users": habit.users,
            }
        )
    return senders


def _store(database_url: str, past: Past, *, quiet: bool) -> None:
    slots = timetable(past.now, past.requests, days=past.days)
    asyncio.run(_with_engine(database_url, lambda engine: make_partitions(engine, slots)))
    told: SimpleQueue[int | None] = SimpleQueue()
    lanes = [_start_lane(database_url, lane, told) for lane in range(LANES)]
    try:
        with _progress(past.requests, quiet=quiet) as advance:
            running = LANES
            while running:
                stored = told.get()
                if stored is None:
                    running -= 1
                else:
                    advance(stored)
        if any(lane.wait(_END_S) for lane in lanes):
            raise CommandError("the demo's past could not be stored; start again to go on with it")
    finally:
        for lane in lanes:
            lane.kill()
            lane.wait()
            if lane.stdin is not None:
                lane.stdin.close()
    asyncio.run(_with_engine(database_url, lambda engine: sum_up(engine, past.now)))


def _start_lane(
    database_url: str, lane: int, told: SimpleQueue[int | None]
) -> subprocess.Popen[bytes]:
    process = subprocess.Popen(
        [sys.executable, "-m", "gateway.processes.begin", "gateway.demo.lane"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        start_new_session=True,
    )
    # The address holds a password, so it travels by pipe.
    orders = {"database_url": database_url, "lane": lane, "lanes": LANES}
    if process.stdin is not None:
        process.stdin.write(json.dumps(orders).encode() + b"\n")
        process.stdin.flush()
    threading.Thread(target=_listen, args=(process, told), daemon=True).start()
    return process


def _listen(process: subprocess.Popen[bytes], told: SimpleQueue[int | None]) -> None:
    if process.stdout is not None:
        with process.stdout as lines:
            for line in lines:
                told.put(int(line))
    told.put(None)


@contextmanager
def _progress(requests: int, *, quiet: bool) -> Generator[Callable[[int], None]]:
    columns = (
        TextColumn("Writing two weeks of made-up traffic"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("requests"),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=Console(stderr=True), disable=quiet) as progress:
        task = progress.add_task("", total=requests)
        yield lambda stored: progress.advance(task, stored)


async def _with_engine(database_url: str, work: Callable[[Engine], Awaitable[None]]) -> None:
    engine = make_engine(
        database_url,
        pool_size=1,
        application_name="tollway demo",
        command_timeout_s=STATEMENT_S,
        statement_timeout_s=STATEMENT_S,
        lock_timeout_s=STATEMENT_S,
    )
    try:
        await work(engine)
    finally:
        await engine.dispose()
