"""A gateway in front of one provider that remembers what it was sent and says what it is told."""

import json
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import Any

import httpx
import msgspec

from gateway.providers.base import Quirks
from pricing.catalogue import make_catalogue
from pricing.endpoint import Provider
from pricing.price import PriceVersion
from tests.api.edge import Edge
from tests.conformance.asgi import Answered, call
from tests.pipeline.rig import Offer, Rig, rig_on
from tests.routing.factories import make_endpoint, make_policy, make_price

SAID: dict[str, Any] = {"role": "assistant", "content": "It leads to the coast."}
USAGE: dict[str, Any] = {"prompt_tokens": 8, "completion_tokens": 6, "total_tokens": 14}
MODEL = "native-1"


class Told(msgspec.Struct, frozen=True, kw_only=True):
    """What the provider answers: one choice, and what stands beside the choices."""

    message: dict[str, Any] = msgspec.field(default_factory=SAID.copy)
    choice: dict[str, Any] = {}
    beside: dict[str, Any] = {}
    usage: dict[str, Any] = msgspec.field(default_factory=USAGE.copy)
    finish_reason: str = "stop"

    def whole(self) -> httpx.Response:
        choice = {"index": 0, "message": self.message, "finish_reason": self.finish_reason}
        return httpx.Response(
            200,
            json={
                "id": "x",
                "object": "chat.completion",
                "created": 1,
                "model": MODEL,
                "choices": [choice | self.choice],
                "usage": self.usage,
                **self.beside,
            },
        )

    def stream(self) -> httpx.Response:
        head = {"id": "x", "object": "chat.completion.chunk", "created": 1, "model": MODEL}
        delta = {"index": 0, "delta": self.message, "finish_reason": None} | self.choice
        nothing: dict[str, Any] = {}
        last = {"index": 0, "delta": nothing, "finish_reason": self.finish_reason}
        events: list[Any] = [
            head | self.beside | {"choices": [delta]},
            head | self.beside | {"choices": [last]},
            head | self.beside | {"choices": [], "usage": self.usage},
        ]
        text = "".join(f"data: {json.dumps(event)}\n\n" for event in events)
        return httpx.Response(
            200,
            content=text + "data: [DONE]\n\n",
            headers={"content-type": "text/event-stream"},
        )


class Gateway:
    """The whole application, and a provider behind it that can become another one.

    The application takes long to make, so that tests share one and say what stands behind it.
    """

    def __init__(self, rig: Rig) -> None:
        self._rig = rig
        self._told = Told()
        self.edge = Edge(rig)
        self.asked: list[dict[str, Any]] = []
        """The bodies that reached the provider since it became what it is."""
        self.become()

    def become(
        self,
        told: Told | None = None,
        *,
        provider: str = "acme",
        provider_model: str = MODEL,
        capabilities: dict[str, bool] | None = None,
        quirks: Quirks | None = None,
        price: PriceVersion | None = None,
    ) -> None:
        """Change what the provider is and says; its endpoints satisfy every wish about routing.

        They serve ``acme/one`` at 0.1 and 0.2 USD per million tokens unless ``price`` says other,
        and ``acme/two`` and ``acme/three``.
        """
        self._told = told or Told()
        self.asked.clear()
        self._rig.providers[provider] = msgspec.structs.replace(
            self._rig.providers["p1"], id=provider, quirks=quirks or Quirks()
        )
        endpoints = [
            make_endpoint(
                provider,
                model,
                name,
                price or make_price("0.1", "0.2"),
                capabilities=capabilities or {},
                quantization="fp8",
                context_tokens=128_000,
            )
            for model, name in (
                ("acme/one", provider_model),
                ("acme/two", "native-2"),
                ("acme/three", "native-3"),
            )
        ]
        catalogue = make_catalogue(
            # Wishes may name another one, which has to be known.
            providers=[
                Provider(id=one, name=one.title(), data_policy=make_policy(zdr=True))
                for one in dict.fromkeys((provider, "acme", "other"))
            ],
            endpoints=endpoints,
            version="test",
        )
        snapshots = self._rig.snapshots
        snapshots.current = msgspec.structs.replace(snapshots.current, catalogue=catalogue)

    def answer(self, request: httpx.Request) -> httpx.Response:
        """The provider's side."""
        body = json.loads(request.content)
        self.asked.append(body)
        return self._told.stream() if body.get("stream") else self._told.whole()

    async def post(self, path: str, body: object, **headers: str) -> Answered:
        """One request with the key."""
        carried = {"authorization": f"Bearer {self.edge.key}", "content-type": "application/json"}
        sent = body if isinstance(body, bytes) else json.dumps(body).encode()
        return await call(self.edge.app, path, sent, headers=carried | headers)


@asynccontextmanager
async def open_gateway() -> AsyncGenerator[Gateway]:
    """A gateway with one provider."""
    made: list[Gateway] = []

    def answer(request: httpx.Request) -> httpx.Response:
        return made[0].answer(request)

    offer = Offer(base_url="http://upstream/v1")
    async with rig_on(None, offer, transport=httpx.MockTransport(answer)) as rig:
        made.append(Gateway(rig))
        yield made[0]
