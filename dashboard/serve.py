"""The dashboard's process: `python -m dashboard.serve`, its orders as one JSON line on stdin.

The orders come by pipe because they hold a password: arguments and environment can be read by
others. The end of standard input means that whoever started us is gone, and ends us too.
"""

import asyncio
import contextlib
import importlib
import ipaddress
import json
import os
import socket
import sys
import threading
import time
from collections.abc import AsyncGenerator
from pathlib import Path
from typing import Any

import msgspec
import uvicorn
from starlette.middleware import Middleware
from streamlit.starlette import App
from streamlit.web.bootstrap import load_config_options

from dashboard import looks
from dashboard.admin import Admin, token_in
from dashboard.failures import on_script_error
from dashboard.gate import Gate
from dashboard.installation import USUAL_GATEWAY_URL, Installation, installation, show
from dashboard.pings import Pings
from dashboard.pool import Pool
from dashboard.reader import token_of_reader
from dashboard.sessions import Sessions

_END_WITHIN_S = 3
_MAX_MESSAGE_BYTES = 200 * 1024 * 1024
_BACKLOG = 128


class Orders(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Where to listen and what to read. Port 0 lets the system choose."""

    database_url: str
    host: str = "127.0.0.1"
    port: int = 8501
    gateway_url: str = USUAL_GATEWAY_URL
    """Where clients reach the gateway, for the examples on empty pages."""
    admin_url: str | None = None
    """The gateway's admin listener; None leaves nothing to change."""
    owner_token_file: str | None = None
    """What opens it where nobody has to sign in; read whenever it is asked."""
    sign_in: bool = False
    """Let in those who are signed in alone; so it is anyway at an address others can reach."""
    baseline: str | None = None
    """What savings are told against, as ``savings.baseline`` declares it."""

    def __repr__(self) -> str:
        return f"Orders(host={self.host!r}, port={self.port!r})"


class RefusedError(Exception):
    """The orders cannot be followed; the message is for the operator."""


def read_orders(line: bytes) -> Orders:
    """The orders in a line of standard input.

    Raises:
        RefusedError: it is not such a line, or nobody could sign in where everybody has to.
    """
    try:
        orders = msgspec.json.decode(line, type=Orders)
    except msgspec.DecodeError as exc:
        raise RefusedError(
            f"expected one JSON line with database_url, host and port on standard input: {exc}"
        ) from exc
    host = "127.0.0.1" if orders.host == "localhost" else orders.host
    try:
        is_local = ipaddress.ip_address(host).is_loopback
    except ValueError as exc:
        raise RefusedError(f"refusing to listen on {host!r}: give an address of IP") from exc
    needs_sign_in = orders.sign_in or not is_local
    if needs_sign_in and orders.admin_url is None:
        raise RefusedError(
            f"refusing to listen on {host}: whoever comes in has to sign in, and that needs the "
            "address of the gateway's admin listener (admin_url)"
        )
    return msgspec.structs.replace(orders, host=host, sign_in=needs_sign_in)


def make_app(*, is_local: bool = True) -> App:
    """The ASGI application; `show` and Streamlit's options come before it."""
    shown = installation()
    return App(
        Path(__file__).with_name("app.py"),
        lifespan=_warm_up,
        middleware=[
            Middleware(
                Gate,
                shown.sessions,
                is_local=is_local,
                needs_sign_in=shown.needs_sign_in,
            ),
            Middleware(Pings),
        ],
        on_script_error=on_script_error,
    )


def serve(orders: Orders) -> None:
    """Serve until a signal comes or standard input ends.

    Raises:
        RefusedError: the address is taken.
    """
    load_config_options(looks.OPTIONS | {"server.address": orders.host})
    show(
        Installation(
            pool=Pool(orders.database_url),
            gateway_url=orders.gateway_url,
            admin=_admin(orders),
            sessions=Sessions(orders.admin_url) if orders.admin_url is not None else None,
            needs_sign_in=orders.sign_in,
            baseline=orders.baseline,
        )
    )
    config = uvicorn.Config(
        make_app(is_local=_is_loopback(orders.host)),
        log_level="warning",
        access_log=False,
        server_header=False,
        ws="websockets-sansio",
        ws_max_size=_MAX_MESSAGE_BYTES,
        ws_per_message_deflate=False,
        timeout_graceful_shutdown=_END_WITHIN_S,
    )
    server = _Server(config)
    with _listen(orders.host, orders.port) as listener:
        threading.Thread(target=_end_with_parent, args=(server,), daemon=True).start()
        asyncio.run(server.serve(sockets=[listener]))


def main() -> int:
    """Exit code 1 for orders that cannot be followed."""
    try:
        serve(read_orders(sys.stdin.buffer.readline()))
    except RefusedError as exc:
        sys.stderr.write(f"dashboard: {exc}\n")
        return 1
    return 0


def _admin(orders: Orders) -> Admin | None:
    if orders.admin_url is None:
        return None
    # Where people sign in, each changes things as themselves and nobody as the machine's owner.
    file = None if orders.sign_in else orders.owner_token_file
    own = token_in(Path(file)) if file is not None else None
    return Admin(orders.admin_url, token_of_reader(own))


@contextlib.asynccontextmanager
async def _warm_up(_app: App) -> AsyncGenerator[dict[str, Any] | None]:
    # Loaded now rather than by the first reader; not before, since caches want Streamlit running.
    importlib.import_module("dashboard.views")
    yield None


class _Server(uvicorn.Server):
    """Says on standard output where it listens, as one JSON line."""

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        for listener in sockets or ():
            host, port = listener.getsockname()[:2]
            shown = f"[{host}]" if ":" in host else host
            sys.stdout.write(json.dumps({"url": f"http://{shown}:{port}"}) + "\n")
        sys.stdout.flush()


def _listen(host: str, port: int) -> socket.socket:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    address: Any = (host, port)
    try:
        return socket.create_server(address, family=family, backlog=_BACKLOG)
    except OSError as exc:
        raise RefusedError(f"cannot listen on {host} port {port}: {exc.strerror or exc}") from exc


def _end_with_parent(server: uvicorn.Server) -> None:
    while sys.stdin.buffer.read(4096):
        pass
    server.should_exit = True
    # A script that waits for a query would keep the interpreter from ending.
    time.sleep(2 * _END_WITHIN_S)
    os._exit(0)


def _is_loopback(host: str) -> bool:
    return ipaddress.ip_address(host).is_loopback


if __name__ == "__main__":
    sys.exit(main())
