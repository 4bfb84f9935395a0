"""The simulator itself: one loopback port on which all simulated providers answer.

Which address reaches which of them stands in `ways.py`.
"""

import asyncio
import logging
import time
from pathlib import Path
from typing import Any

import msgspec

from gateway.simulator.answers import PromptCache, seeded
from gateway.simulator.bench import answer_bench
from gateway.simulator.connection import Connection, Exchange
from gateway.simulator.control import PREFIX, control
from gateway.simulator.json_values import as_object
from gateway.simulator.ledger import Ledger, LedgerEntry, Outcome
from gateway.simulator.manifest import STAND_IN, SimulatedProvider
from gateway.simulator.playback import Pace, Playback
from gateway.simulator.script import (
    GOOD,
    Behaviour,
    BehaviourError,
    Script,
    parse_behaviour,
    split_model,
)
from gateway.simulator.ways import STAND_IN_PATHS, Way, check_provider, find_way
from gateway.simulator.wire import Arrival, Call, RefusedError, WireProtocol

BACKLOG = 4096
STAND_IN_FIRST_TOKEN_MS = 80.0
STAND_IN_TOKENS_PER_S = 250.0

_log = logging.getLogger(__name__)


class Simulator:
    """A server of simulated providers in the running event loop.

    `port` 0 takes a free one. `api_key` is demanded on every request when given. `speed` divides
    the providers' own delays, 0 meaning none at all; delays that a behaviour names are literal.
    `seed` fixes the jitter of delays.
    """

    def __init__(
        self,
        *,
        host: str = "127.0.0.1",
        port: int = 0,
        script: Script | None = None,
        ledger_path: Path | None = None,
        api_key: str | None = None,
        speed: float = 1.0,
        seed: int = 0,
    ) -> None:
        self.ledger = Ledger(ledger_path)
        self._host = host
        self._port = port
        self._script = script or Script()
        self._api_key = api_key
        self._speed = speed
        self._jitter = seeded(seed)
        self._script_at = time.monotonic()
        self._caches: dict[str, PromptCache] = {}
        self._connections: set[Connection] = set()
        self._tasks: set[asyncio.Task[None]] = set()
        self._server: asyncio.Server | None = None
        self._bench_requests = 0

    async def start(self) -> None:
        """Listen. Raises OSError when the address is taken."""
        loop = asyncio.get_running_loop()
        self._server = await loop.create_server(
            lambda: Connection(self._on_request, self._connections),
            self._host,
            self._port,
            backlog=BACKLOG,
        )
        self._port = self._server.sockets[0].getsockname()[1]
        self._script_at = time.monotonic()

    async def stop(self) -> None:
        """Close everything at once; open attempts are entered as `stopped`."""
        if self._server is not None:
            self._server.close()
        tasks = list(self._tasks)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        for connection in list(self._connections):
            connection.abort()
        # connection_lost is called through the loop; sockets are closed only there.
        for connection in list(self._connections):
            await connection.lost
        if self._server is not None:
            await self._server.wait_closed()
            self._server = None
        self.ledger.close()

    async def __aenter__(self) -> "Simulator":
        await self.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.stop()

    @property
    def port(self) -> int:
        """The port listened on, once started."""
        return self._port

    @property
    def base_url(self) -> str:
        """The address without a path; add `/PROVIDER/v1`, or take one of `stand_ins`."""
        return f"http://{self._host}:{self._port}"

    @property
    def stand_ins(self) -> dict[str, str]:
        """By protocol, the base URL at which it is spoken for any model."""
        return {name: f"{self.base_url}{path}" for name, path in STAND_IN_PATHS.items()}

    @property
    def open_connections(self) -> int:
        """Connections accepted and not yet closed."""
        return len(self._connections)

    @property
    def open_requests(self) -> int:
        """Requests whose answer is not complete."""
        return sum(connection.exchange is not None for connection in self._connections)

    def state(self) -> dict[str, int]:
        """Counts, as `GET /_simulator/state` gives them."""
        return {
            "port": self._port,
            "open_connections": self.open_connections,
            "open_requests": self.open_requests,
            "received": self.ledger.received,
            "bench_requests": self._bench_requests,
        }

    def use_script(self, script: Script) -> None:
        """Replace the script; its clock and its counters start now."""
        self._script = script
        self._script_at = time.monotonic()

    def reset(self) -> None:
        """Forget script, ledger entries in memory, prompt caches and counts."""
        self.use_script(Script())
        self.ledger.clear()
        self._caches.clear()
        self._bench_requests = 0

    def _on_request(self, exchange: Exchange) -> None:
        if self._api_key is None and answer_bench(exchange):
            self._bench_requests += 1
            return
        if exchange.target.startswith(PREFIX):
            control(self, exchange)
            return
        task = asyncio.get_running_loop().create_task(self._attempt(exchange))
        exchange.on_gone = task.cancel
        self._tasks.add(task)
        task.add_done_callback(self._on_done)

    def _on_done(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and (exc := task.exception()) is not None:
            _log.error("the simulator failed on a request", exc_info=exc)

    async def _attempt(self, exchange: Exchange) -> None:
        way = find_way(exchange.target)
        entry = self.ledger.open(
            received_at=exchange.received_at,
            provider=way.name,
            path=exchange.target,
            headers=exchange.headers,
            body_bytes=len(exchange.body),
        )
        outcome: Outcome = "stopped"
        try:
            outcome = await self._answer(exchange, entry, way)
        except Exception:
            # A mistake of ours: never leave the peer waiting for it.
            exchange.reset()
            raise
        finally:
            entry.first_byte_at = exchange.first_byte_at
            entry.closed_at = exchange.gone_at
            if outcome == "stopped" and exchange.gone_at is not None:
                outcome = "client_closed"
            self.ledger.close_entry(entry, outcome, at=time.monotonic())

    async def _answer(self, exchange: Exchange, entry: LedgerEntry, way: Way) -> Outcome:
        protocol, provider = way.protocol, way.provider
        playback = Playback(exchange, protocol, GOOD, Pace(), entry)
        try:
            self._check_credential(exchange, protocol)
            check_provider(way)
            if (exchange.method, way.route) == ("GET", protocol.models_path):
                entry.status = 200
                body = protocol.list_models(provider, int(time.time()))
                exchange.send(200, {"content-type": "application/json"}, body)
                return "completed"
            if exchange.method != "POST" or not way.is_known:
                raise protocol.refuse_route(exchange.method, exchange.target)
            call = self._read(exchange, entry, way)
        except RefusedError as refusal:
            playback.refuse(refusal)
            return "refused"
        pace = self._pace(provider, call.behaviour)
        playback = Playback(exchange, protocol, call.behaviour, pace, entry)
        outcome = await playback.instead(is_stream=entry.is_stream)
        if outcome is not None:
            return outcome
        try:
            answer = protocol.answer(call)
        except RefusedError as refusal:
            playback.refuse(refusal)
            return "refused"
        entry.prompt_tokens = answer.bill.prompt_tokens
        entry.cached_tokens = answer.bill.cached_tokens
        entry.cache_write_tokens = answer.bill.cache_write_tokens
        entry.cache_write_1h_tokens = answer.bill.cache_write_1h_tokens
        if answer.frames is None:
            return await playback.whole(answer)
        return await playback.stream(answer, answer.frames)

    def _check_credential(self, exchange: Exchange, protocol: WireProtocol) -> None:
        if protocol.authenticate is not None:
            arrival = Arrival(
                method=exchange.method,
                target=exchange.target,
                headers=exchange.headers,
                body=exchange.body,
            )
            protocol.authenticate(arrival, self._api_key)
            return
        if self._api_key is None:
            return
        presented = protocol.credential(exchange.headers)
        if presented != self._api_key:
            raise protocol.refuse_credential(presented)

    def _read(self, exchange: Exchange, entry: LedgerEntry, way: Way) -> Call:
        body = _decode(exchange.body, way.protocol)
        addressed, provider = way.addressed, way.provider
        asked = addressed.model if addressed is not None else body.get("model") or ""
        if not isinstance(asked, str):
            raise RefusedError(400, "Invalid type for 'model': expected a string.", param="model")
        model, items = split_model(asked)
        entry.request = body
        entry.model = asked
        entry.is_stream = (
            addressed.is_stream if addressed is not None else body.get("stream") is True
        )
        name = way.name or STAND_IN
        behaviour = self._script.behaviour(
            provider=name,
            model=model,
            is_stream=entry.is_stream,
            elapsed_s=time.monotonic() - self._script_at,
        )
        try:
            behaviour = parse_behaviour(items, behaviour)
        except BehaviourError as exc:
            message = f"The model `{asked}` names no behaviour: {exc}"
            raise RefusedError(400, message, code="unknown_behaviour", param="model") from exc
        entry.behaviour = describe(behaviour)
        return Call(
            route=addressed.route if addressed is not None else way.route,
            target=exchange.target,
            headers=exchange.headers,
            body=body,
            raw=exchange.body,
            model=model,
            asked_model=asked,
            is_stream=entry.is_stream,
            provider=provider,
            offer=provider.model(model) if provider is not None else None,
            behaviour=behaviour,
            cache=self._caches.setdefault(name, PromptCache()),
            number=entry.number,
            created=int(time.time()),
        )

    def _pace(self, provider: SimulatedProvider | None, behaviour: Behaviour) -> Pace:
        first_ms, rate = STAND_IN_FIRST_TOKEN_MS, STAND_IN_TOKENS_PER_S
        if provider is not None:
            first_ms, rate = provider.first_token_ms, provider.tokens_per_s
        # Between four fifths and five fourths, so that the mean stays about where it was.
        factor = self._jitter.uniform(0.8, 1.25) / self._speed if self._speed > 0 else 0
        first_token_s = first_ms / 1000 * factor
        token_s = factor / rate
        if behaviour.first_token_ms is not None:
            first_token_s = behaviour.first_token_ms / 1000
        if behaviour.tokens_per_s is not None:
            token_s = 1 / behaviour.tokens_per_s if behaviour.tokens_per_s > 0 else 0
        return Pace(first_token_s=first_token_s, token_s=token_s)


def describe(behaviour: Behaviour) -> str:
    """What ends or deforms the answer, as it is written in a model name; empty when nothing."""
    ending = behaviour.ending or ""
    if behaviour.ending is not None and behaviour.at is not None:
        ending = f"{behaviour.ending}@{behaviour.at}"
    items = [ending, *sorted(behaviour.forms), behaviour.usage_fault or ""]
    return ",".join(item for item in items if item)


def _decode(data: bytes, protocol: WireProtocol) -> dict[str, Any]:
    try:
        body = as_object(msgspec.json.decode(data))
    except (msgspec.DecodeError, RecursionError, UnicodeDecodeError) as exc:
        raise protocol.unreadable(str(exc)) from exc
    if body is None:
        raise protocol.unreadable("it is not an object")
    return body
