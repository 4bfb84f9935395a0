"""Starts the worker processes, starts those anew that die, and takes all of them down together."""

import logging
import os
import select
import signal
import subprocess
import sys
import time
from collections.abc import Callable

import msgspec

from gateway.processes.orders import Orders

_log = logging.getLogger("tollway.supervisor")
_READY_S = 30.0
_RESTART_PAUSE_S = 1.0


class StartError(Exception):
    """A worker did not become ready; its own words stand above this error on standard error."""


class Workers:
    """The worker processes of one node."""

    def __init__(self, make_orders: Callable[[int, int], Orders], count: int) -> None:
        """Prepare, without starting anything.

        Args:
            make_orders: the orders for a worker's number and its status pipe.
            count: how many.
        """
        self._make_orders = make_orders
        self._count = count
        self._processes: dict[int, subprocess.Popen[bytes]] = {}
        self._due_s: dict[int, float] = {}

    @property
    def pids(self) -> list[int]:
        return [process.pid for process in self._processes.values()]

    def start(self) -> None:
        """Start all and wait until each is ready.

        Raises:
            StartError: one of them ended or took too long; the others have been ended.
        """
        try:
            pipes = [self._spawn(number) for number in range(self._count)]
            for number, pipe in enumerate(pipes):
                self._await_ready(number, pipe)
        except BaseException:
            self.stop(within_s=5.0)
            raise

    def revive(self, should_stop: Callable[[], bool]) -> None:
        """Start anew those that died, after a pause so that a broken one does not spin."""
        now_s = time.monotonic()
        for number, process in list(self._processes.items()):
            code = process.poll()
            if code is None or should_stop():
                continue
            due_s = self._due_s.get(number)
            if due_s is None:
                _log.error("worker %d ended with %s; it is started anew", number, _told(code))
                self._due_s[number] = now_s + _RESTART_PAUSE_S
            elif now_s >= due_s:
                del self._due_s[number]
                os.close(self._spawn(number))

    def stop(self, *, within_s: float) -> None:
        """Ask all to drain, and end by force those that take longer than given."""
        for process in self._processes.values():
            if process.poll() is None:
                process.send_signal(signal.SIGTERM)
        until_s = time.monotonic() + within_s
        for number, process in self._processes.items():
            try:
                process.wait(max(0.0, until_s - time.monotonic()))
            except subprocess.TimeoutExpired:
                _log.error("worker %d did not drain in time and is ended", number)
                process.kill()
                process.wait()

    def hurry(self) -> None:
        """Ask again: a worker that is told twice does not wait for its streams."""
        for process in self._processes.values():
            if process.poll() is None:
                process.send_signal(signal.SIGTERM)

    def _spawn(self, number: int) -> int:
        reading, writing = os.pipe()
        orders = self._make_orders(number, writing)
        process = subprocess.Popen(
            [sys.executable, "-m", "gateway.processes.begin", "gateway.processes.worker"],
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            pass_fds=(writing,),
            start_new_session=True,
        )
        os.close(writing)
        self._processes[number] = process
        # The pipe stays open: its end tells the worker that we are gone.
        if process.stdin is not None:
            process.stdin.write(msgspec.json.encode(orders) + b"\n")
            process.stdin.flush()
        return reading

    def _await_ready(self, number: int, pipe: int) -> None:
        try:
            readable, _, _ = select.select([pipe], [], [], _READY_S)
            if not readable:
                raise StartError(f"worker {number} was not ready within {_READY_S:g} s")
            if not os.read(pipe, 16):
                code = self._processes[number].wait()
                raise StartError(f"worker {number} ended with {_told(code)} before it was ready")
        finally:
            os.close(pipe)


def _told(code: int) -> str:
    return f"signal {signal.Signals(-code).name}" if code < 0 else f"exit code {code}"
