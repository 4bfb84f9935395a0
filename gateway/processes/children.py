"""Helper processes beside the workers: the dashboard and the simulated providers."""

import json
import logging
import socket
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

from gateway.processes.supervisor import StartError

_log = logging.getLogger("tollway.children")
_READY_S = 30.0
_RESTART_PAUSE_S = 2.0
_PAUSE_S = 0.05


class Child:
    """A process of ours that ends when we do: its standard input is the line to us."""

    def __init__(self, name: str, module: str, orders: dict[str, object]) -> None:
        self.name = name
        self._module = module
        self._orders = orders
        self._is_wanted = True
        self._due_s: float | None = None
        self.process = self._spawn()

    def revive(self) -> None:
        """Start it anew if it died, after a pause so that a broken one does not spin."""
        code = self.process.poll()
        if code is None or not self._is_wanted:
            return
        now_s = time.monotonic()
        if self._due_s is None:
            _log.error("the %s ended with exit code %s; it is started anew", self.name, code)
            self._due_s = now_s + _RESTART_PAUSE_S
        elif now_s >= self._due_s:
            self._due_s = None
            self.process = self._spawn()

    def _spawn(self) -> subprocess.Popen[bytes]:
        process = subprocess.Popen(  # noqa: S603 - our own module, by our own interpreter
            [sys.executable, "-m", "gateway.processes.begin", self._module],
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            start_new_session=True,
        )
        # Orders may hold a password, so they travel by pipe, not by arguments or environment.
        if process.stdin is not None:
            process.stdin.write(json.dumps(self._orders).encode() + b"\n")
            process.stdin.flush()
        return process

    def await_port(self, host: str, port: int) -> None:
        """Wait until it accepts connections.

        Raises:
            StartError: it ended, or took too long.
        """
        until_s = time.monotonic() + _READY_S
        while time.monotonic() < until_s:
            code = self.process.poll()
            if code is not None:
                raise StartError(f"the {self.name} ended with exit code {code} at its start")
            try:
                socket.create_connection((host, port), timeout=1.0).close()
            except OSError:
                time.sleep(_PAUSE_S)
                continue
            return
        raise StartError(f"the {self.name} was not ready within {_READY_S:g} s")

    def stop(self, *, within_s: float) -> None:
        """Ask it to end, then make it."""
        self._is_wanted = False
        if self.process.poll() is None:
            self.process.terminate()
            try:
                self.process.wait(within_s)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()
        if self.process.stdin is not None:
            self.process.stdin.close()


def start_dashboard(
    database_url: str,
    host: str,
    port: int,
    *,
    gateway_url: str,
    admin_url: str,
    owner_token_file: Path,
    sign_in: bool = False,
    baseline: str | None = None,
) -> Child:
    """The dashboard, reading the database as a role that can only read.

    What it changes it asks of the admin listener. With ``sign_in``, or at an address that others
    can reach, nobody sees anything before signing in. Savings are told by the name
    of their ``baseline``.
    """
    orders: dict[str, object] = {
        "database_url": database_url,
        "host": host,
        "port": port,
        "gateway_url": gateway_url,
        "admin_url": admin_url,
        "owner_token_file": str(owner_token_file),
        "sign_in": sign_in,
        "baseline": baseline,
    }
    return Child("dashboard", "dashboard.serve", orders)


def start_simulator(host: str, port: int) -> Child:
    """The simulated providers."""
    return Child("simulator", "gateway.simulator.child", {"host": host, "port": port})


def start_traffic(gateway_url: str, senders: Sequence[Mapping[str, object]]) -> Child:
    """A little traffic, as clients would send it: see `gateway.simulator.traffic`."""
    orders: dict[str, object] = {"gateway_url": gateway_url, "senders": list(senders)}
    return Child("demo traffic", "gateway.simulator.traffic", orders)
