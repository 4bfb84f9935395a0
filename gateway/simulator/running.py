"""Running a simulator apart from the caller's event loop: in a process or a thread of its own."""

import asyncio
import contextlib
import os
import signal
import sys
import threading
from collections.abc import Generator
from pathlib import Path

import msgspec

from gateway.simulator.manifest import MANIFEST
from gateway.simulator.script import Script, load_script
from gateway.simulator.server import Simulator

STOP_S = 10.0

try:
    from uvloop import new_event_loop
except ImportError:  # uvloop is not to be had on Windows
    from asyncio import new_event_loop


def run(
    host: str = "127.0.0.1",
    port: int = 0,
    *,
    script_path: Path | None = None,
    ledger_path: Path | None = None,
    api_key: str | None = None,
    speed: float = 1.0,
    until_stdin_closes: bool = False,
) -> None:
    """Serve until SIGINT or SIGTERM, or until standard input closes when that is asked.

    Prints one JSON line once requests are answered: `port`, `base_url`, `providers`, and
    `stand_ins`, the base URLs by protocol at which any model is served. Raises ScriptError for a
    script that cannot be read and OSError for an address or a ledger file that cannot be had, both
    before anything is printed.
    """
    script = load_script(script_path) if script_path is not None else None
    simulator = Simulator(
        host=host, port=port, script=script, ledger_path=ledger_path, api_key=api_key, speed=speed
    )
    with asyncio.Runner(loop_factory=new_event_loop) as runner:
        runner.run(_serve(simulator, until_stdin_closes=until_stdin_closes))


async def _serve(simulator: Simulator, *, until_stdin_closes: bool) -> None:
    loop = asyncio.get_running_loop()
    asked_to_stop = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, asked_to_stop.set)
    async with simulator:
        if until_stdin_closes:
            _watch_stdin(loop, asked_to_stop)
        ready = {
            "port": simulator.port,
            "base_url": simulator.base_url,
            "providers": [provider.id for provider in MANIFEST],
            "stand_ins": simulator.stand_ins,
        }
        sys.stdout.write(msgspec.json.encode(ready).decode() + "\n")
        sys.stdout.flush()
        await asked_to_stop.wait()
        if until_stdin_closes:
            loop.remove_reader(0)


def _watch_stdin(loop: asyncio.AbstractEventLoop, asked_to_stop: asyncio.Event) -> None:
    try:
        loop.add_reader(0, _on_stdin, asked_to_stop)
    except PermissionError as exc:
        message = "standard input is a file, which cannot be waited on; give a pipe"
        raise OSError(message) from exc


def _on_stdin(asked_to_stop: asyncio.Event) -> None:
    if not os.read(0, 4096):
        asked_to_stop.set()


@contextlib.contextmanager
def simulator_in_thread(
    *,
    script: Script | None = None,
    ledger_path: Path | None = None,
    api_key: str | None = None,
    speed: float = 1.0,
) -> Generator[Simulator]:
    """A simulator in a thread of its own, for callers without an event loop.

    Counts and ledger may be read from the calling thread; nothing else of it may be called.
    """
    simulator = Simulator(script=script, ledger_path=ledger_path, api_key=api_key, speed=speed)
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever, name="simulator", daemon=True)
    thread.start()
    try:
        asyncio.run_coroutine_threadsafe(simulator.start(), loop).result(STOP_S)
        yield simulator
    finally:
        asyncio.run_coroutine_threadsafe(simulator.stop(), loop).result(STOP_S)
        loop.call_soon_threadsafe(loop.stop)
        thread.join(STOP_S)
        loop.close()
