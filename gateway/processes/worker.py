"""One worker process: serves the gateway in its own event loop until it is told to go.

Started through ``gateway.processes.begin`` with its orders on standard input; nothing is
inherited but that and the status pipe, so no connection or lock was opened before it began.
"""

import asyncio
import gc
import logging
import os
import signal
import sys
import threading
from collections.abc import Awaitable, Callable
from contextlib import suppress
from pathlib import Path
from typing import NoReturn

import msgspec
import uvloop
from granian.constants import HTTPModes, Interfaces
from granian.http import HTTP1Settings
from granian.server.embed import Server
from litestar.types import ASGIApp

from gateway.app import Place, Worker, create_app
from gateway.processes.data_directory import DataDirectory
from gateway.processes.logs import set_up_logging
from gateway.processes.orders import Orders
from gateway.settings.load import load_settings
from gateway.settings.values import Flags, Settings

# granian hangs silently past ``backpressure`` open requests, and its default (the backlog divided
# by the workers) is low; admission is ours, so its own limit is out of reach.
_BACKPRESSURE = 65_536
_BACKLOG = 4_096
_SWITCH_S = 0.0005
_GC_THRESHOLDS = (10_000, 20, 100)
_CLOSE_S = 2.0
_SHIP_S = 10.0
_LET_GO_S = 2.0

_log = logging.getLogger("tollway.worker")


def main() -> None:
    """Read the orders, serve, and exit 0 once everything is drained."""
    line = sys.stdin.buffer.readline()
    orders = msgspec.json.decode(line, type=Orders)
    set_up_logging()
    # Ctrl-C at a terminal reaches the whole group; the parent decides when we go.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    settings = load_settings(
        Flags(
            config=Path(orders.config_path) if orders.config_path else None,
            data_dir=Path(orders.data_dir),
        )
    )
    # The shipper prepares its batches in a thread: the event loop gets its turn back at once.
    sys.setswitchinterval(_SWITCH_S)
    try:
        uvloop.run(_serve(create_app(settings, _place(settings, orders)), orders))
    except Exception:  # noqa: BLE001 - said aloud, and told by the exit code
        _log.exception("worker %d cannot go on", orders.worker)
        _leave(1)


def _leave(code: int) -> NoReturn:
    # Neither threads of libraries nor a database that hangs may keep a drained process alive.
    logging.shutdown()
    os._exit(code)


async def _serve(worker: Worker, orders: Orders) -> None:
    going = asyncio.Event()
    at_once = asyncio.Event()
    orphaned = asyncio.Event()
    loop = asyncio.get_running_loop()

    def go() -> None:
        if going.is_set():
            at_once.set()
        going.set()

    def lose_parent() -> None:
        orphaned.set()
        going.set()

    loop.add_signal_handler(signal.SIGTERM, go)
    _watch_parent(loop, lose_parent)
    await worker.start()
    servers = [_server(worker.data, orders.host, orders.port)]
    if worker.admin is not None and orders.admin_port is not None:
        servers.append(_server(worker.admin, "127.0.0.1", orders.admin_port))
    serving = [asyncio.create_task(server.serve()) for server in servers]
    for task in serving:
        task.add_done_callback(_tell_failure)
        task.add_done_callback(lambda _: going.set())
    _settle_garbage()
    await _say_ready(orders)
    await going.wait()
    worker.traffic.is_draining = True
    # Without a parent the port is freed at once: whoever starts it anew will want it.
    await _first_of(asyncio.sleep(orders.drain_listen_s), at_once.wait(), orphaned.wait())
    for server in servers:
        server.stop()
    await _first_of(worker.traffic.drain(within_s=worker.drain_streams_s), at_once.wait())
    # Whoever is in a hurry skips the waiting, not the farewells.
    await worker.traffic.drain(within_s=0.0)
    with suppress(TimeoutError):
        # granian waits for open connections without limit; by now none of them is being served.
        async with asyncio.timeout(_CLOSE_S):
            await asyncio.wait(serving)
    stopping = asyncio.create_task(worker.stop(ship_within_s=_SHIP_S))
    done, _ = await asyncio.wait([stopping], timeout=_SHIP_S + _LET_GO_S)
    if not done:
        _log.warning("the database hangs; what it did not get is shipped at the next start")
    elif (exc := stopping.exception()) is not None:
        raise exc
    _leave(0)


def _place(settings: Settings, orders: Orders) -> Place:
    directory = DataDirectory(Path(orders.data_dir))
    return Place(
        worker=orders.worker,
        database_url=orders.database_url,
        pepper=directory.pepper(settings.secret),
        owner_token=directory.owner_token(),
        has_admin=orders.admin_port is not None,
        simulated_url=orders.simulated_url,
    )


def _settle_garbage() -> None:
    """Take what was loaded for good out of the collector's sight.

    The catalogue alone is some 100,000 objects; going through them over and over added tens of
    milliseconds to the slowest requests.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(*_GC_THRESHOLDS)


def _server(app: ASGIApp, host: str, port: int) -> Server:
    return Server(
        app,
        address=host,
        port=port,
        interface=Interfaces.ASGI,
        http=HTTPModes.http1,
        websockets=False,
        backlog=_BACKLOG,
        backpressure=_BACKPRESSURE,
        http1_settings=HTTP1Settings(header_read_timeout=10_000, max_buffer_size=8192 + 4096 * 100),
        log_enabled=False,
    )


async def _say_ready(orders: Orders) -> None:
    # The listener is bound by granian's own thread: ready means that it answers.
    host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(orders.host, orders.host)  # noqa: S104
    for at, port in ((host, orders.port), ("127.0.0.1", orders.admin_port)):
        if port is None:
            continue
        while True:
            try:
                _, writer = await asyncio.open_connection(at, port)
            except OSError:
                await asyncio.sleep(0.01)
                continue
            writer.close()
            break
    # For a worker that replaces another nobody waits at the other end.
    with suppress(BrokenPipeError):
        os.write(orders.status_fd, b"ready\n")
    os.close(orders.status_fd)


def _watch_parent(loop: asyncio.AbstractEventLoop, go: Callable[[], None]) -> None:
    def wait() -> None:
        while sys.stdin.buffer.read(1):
            pass
        with suppress(RuntimeError):
            loop.call_soon_threadsafe(go)

    threading.Thread(target=wait, name="parent-watch", daemon=True).start()


def _tell_failure(listener: asyncio.Task[None]) -> None:
    if not listener.cancelled() and (exc := listener.exception()) is not None:
        _log.error("a listener ended", exc_info=exc)


async def _first_of(*waits: Awaitable[object]) -> None:
    tasks = [asyncio.ensure_future(wait) for wait in waits]
    await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    for task in tasks:
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task


if __name__ == "__main__":
    main()
