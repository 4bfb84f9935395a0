"""Steering a simulator from another process, over its own port, under `/_simulator/`.

| request | does |
| --- | --- |
| `GET /_simulator/state` | counts: open connections, open and received requests, bench requests |
| `GET /_simulator/ledger?since=N` | the entries after number N, as a JSON array |
| `POST /_simulator/script` | replaces the script by the TOML in the body; 400 says what is wrong |
| `POST /_simulator/reset` | forgets script, ledger and prompt caches |
"""

from typing import Protocol
from urllib.parse import parse_qs, urlsplit

import msgspec

from gateway.simulator.connection import Exchange
from gateway.simulator.ledger import Ledger
from gateway.simulator.script import Script, ScriptError, parse_script

PREFIX = "/_simulator/"


class Steered(Protocol):
    """What can be steered."""

    @property
    def ledger(self) -> Ledger: ...
    def state(self) -> dict[str, int]: ...
    def use_script(self, script: Script) -> None: ...
    def reset(self) -> None: ...


def control(simulator: Steered, exchange: Exchange) -> None:
    """Answer one request below `PREFIX`."""
    url = urlsplit(exchange.target)
    asked = (exchange.method, url.path.removeprefix(PREFIX))
    if asked == ("GET", "state"):
        _json(exchange, 200, simulator.state())
    elif asked == ("GET", "ledger"):
        since = parse_qs(url.query).get("since", ["0"])[0]
        after = int(since) if since.isdigit() else 0
        _json(exchange, 200, [entry for entry in simulator.ledger if entry.number > after])
    elif asked == ("POST", "script"):
        try:
            script = parse_script(exchange.body.decode(errors="replace"), "script")
        except ScriptError as exc:
            _json(exchange, 400, {"error": str(exc)})
            return
        simulator.use_script(script)
        _json(exchange, 200, {"rules": len(script.rules)})
    elif asked == ("POST", "reset"):
        simulator.reset()
        _json(exchange, 200, simulator.state())
    else:
        _json(exchange, 404, {"error": f"no control {exchange.method} {url.path}"})


def _json(exchange: Exchange, status: int, value: object) -> None:
    exchange.send(status, {"content-type": "application/json"}, msgspec.json.encode(value))
