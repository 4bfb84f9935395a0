"""Embeddings pass through: with a key, by model and price, with fallback, record and cost."""

import json
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager
from decimal import Decimal
from typing import Any

import httpx
import msgspec
import pytest

from gateway.api.paths import BASES
from gateway.domain.keys import make_key
from gateway.domain.outcomes import Outcome
from gateway.domain.records import RequestRecord
from pricing.catalogue import make_catalogue
from tests.api.edge import Edge, error_in, served
from tests.pipeline.rig import Offer, rig_on
from tests.routing.factories import make_endpoint, make_price

pytestmark = pytest.mark.anyio
PATH = "/v1/embeddings"
VECTOR = {"object": "embedding", "index": 0, "embedding": [0.25, -0.5]}
Answer = Callable[[httpx.Request], httpx.Response]


def good(request: httpx.Request) -> httpx.Response:
    answer = {
        "object": "list",
        "data": [VECTOR],
        "model": json.loads(request.content)["model"] + "-2026",
        "usage": {"prompt_tokens": 8, "total_tokens": 8},
    }
    return httpx.Response(200, json=answer)


class Provider:
    """Answers by host; remembers what it was asked."""

    def __init__(self, **by_host: Answer) -> None:
        self._by_host = by_host
        self.asked: list[tuple[str, str, dict[str, Any]]] = []

    def __call__(self, request: httpx.Request) -> httpx.Response:
        host = request.url.host
        self.asked.append((host, request.url.path, json.loads(request.content)))
        return self._by_host.get(host, good)(request)

    @property
    def hosts(self) -> list[str]:
        return [host for host, _, _ in self.asked]


@asynccontextmanager
async def serving(provider: Provider) -> AsyncGenerator[Edge]:
    """Providers p1 (0.2 USD per million tokens), p2 (0.1) and p3 (no price); p1 also chats."""
    prices = (make_price("0.2", None), make_price("0.1", None), None)
    endpoints = [
        make_endpoint(f"p{number}", "acme/embed", price=price, mode="embedding")
        for number, price in enumerate(prices, start=1)
    ]
    chatting = make_endpoint("p1", "acme/large")
    offers = [Offer(base_url=f"http://p{number}/v1") for number in (1, 2, 3)]
    transport = httpx.MockTransport(provider)
    async with rig_on(None, *offers, transport=transport) as rig:
        catalogue = make_catalogue(
            providers=rig.catalogue.providers.values(),
            endpoints=[*endpoints, chatting],
            version="test",
        )
        edge = Edge(rig)
        rig.snapshots.current = msgspec.structs.replace(rig.snapshots.current, catalogue=catalogue)
        async with served(edge):
            yield edge


async def post(edge: Edge, path: str = PATH, **members: Any) -> httpx.Response:
    async with edge.client() as client:
        return await client.post(path, json={"model": "acme/embed", "input": "hi"} | members)


async def test_the_cheapest_endpoint_answers_and_the_cost_is_told() -> None:
    provider = Provider()
    async with serving(provider) as edge:
        answer = await post(edge, input=["a", "b"], dimensions=2, user="me", odd={"x": 1.50})
        record = edge.rig.ledger.only

    assert answer.status_code == 200
    body = answer.json()
    assert body["object"] == "list"
    assert body["data"] == [VECTOR]
    assert (body["model"], body["provider"]) == ("acme/embed", "p2")
    assert (body["usage"]["prompt_tokens"], body["usage"]["total_tokens"]) == (8, 8)
    assert b'"cost":0.0000008,' in answer.content
    assert body["usage"]["cost_status"] == "exact"
    assert body["metadata"]["underlying_used_model"] == "embed-2026"
    assert answer.headers["x-generation-id"] == body["id"]
    assert answer.headers["x-tollway-cost-usd"] == "0.0000008"
    ((host, path, sent),) = provider.asked
    assert (host, path) == ("p2", "/v1/embeddings")
    assert sent == {
        "model": "embed",
        "input": ["a", "b"],
        "dimensions": 2,
        "user": "me",
        "odd": {"x": 1.5},
    }
    assert (record.outcome, record.used_endpoint) == (Outcome.SUCCESS, "p2/embed")
    assert record.cost_usd == Decimal("0.0000008")
    assert record.plan["api"] == "embeddings"
    assert record.user == "me"
    assert msgspec.json.decode(msgspec.json.encode(record), type=RequestRecord) == record


async def test_when_one_fails_the_next_cheapest_answers_and_those_without_a_price_last() -> None:
    def broken(_request: httpx.Request) -> httpx.Response:
        return httpx.Response(500, json={"error": {"message": "no"}})

    provider = Provider(p2=broken, p1=broken)
    async with serving(provider) as edge:
        answer = await post(edge)
        record = edge.rig.ledger.only

    assert provider.hosts == ["p2", "p1", "p3"]
    assert answer.status_code == 200
    assert answer.json()["usage"]["cost"] is None, "unknown, not 0"
    assert [attempt.outcome for attempt in record.attempts][:2] == [Outcome.SERVER_ERROR] * 2
    assert record.is_fallback


@pytest.mark.parametrize(
    "said",
    [
        httpx.Response(200, json={"error": {"message": "overloaded", "code": 503}}),
        httpx.Response(200, content=b"<html>"),
        httpx.Response(200, json={"object": "list", "data": []}),
        httpx.Response(200, json={"object": "list", "data": "none"}),
    ],
)
async def test_what_is_no_answer_falls_back_too(said: httpx.Response) -> None:
    provider = Provider(p2=lambda _request: said)
    async with serving(provider) as edge:
        answer = await post(edge)

    assert provider.hosts == ["p2", "p1"]
    assert answer.status_code == 200


async def test_a_refusal_of_all_is_told_and_recorded() -> None:
    def refusing(_request: httpx.Request) -> httpx.Response:
        return httpx.Response(400, json={"error": {"message": "too many inputs"}})

    provider = Provider(p2=refusing)
    async with serving(provider) as edge:
        answer = await post(edge)
        record = edge.rig.ledger.only

    assert answer.status_code == 400
    assert "too many inputs" in error_in(answer.content)["message"]
    assert (record.status_code, record.plan["api"]) == (400, "embeddings")


@pytest.mark.parametrize(
    ("members", "hosts"),
    [
        ({"model": "p1/acme/embed"}, ["p1"]),
        ({"model": "embed"}, ["p2"]),
        ({"provider": {"only": ["p1", "p3"]}}, ["p1"]),
        ({"provider_ignore": ["p2"]}, ["p1"]),
        ({"provider": {"order": ["p3"]}}, ["p3"]),
        ({"provider": {"max_price": {"prompt": 0.1}}}, ["p2"]),
    ],
)
async def test_names_and_preferences_choose(members: dict[str, Any], hosts: list[str]) -> None:
    provider = Provider()
    async with serving(provider) as edge:
        answer = await post(edge, **members)

    assert answer.status_code == 200
    assert provider.hosts == hosts
    assert "provider" not in provider.asked[0][2]


async def test_a_key_limits_providers_and_models() -> None:
    provider = Provider()
    async with serving(provider) as edge:
        narrow = make_key(lambda count: b"n" * count).text
        other = make_key(lambda count: b"o" * count).text
        edge.let_in(narrow, allowed_providers=("p1",))
        edge.let_in(other, allowed_models=("acme/large",))
        answers: list[httpx.Response] = []
        for key in (narrow, other):
            async with edge.client(**{"x-api-key": key}) as client:
                answers.append(await client.post(PATH, json={"model": "acme/embed", "input": "hi"}))
        async with edge.client(**{"x-nothing": "x"}) as client:
            nobody = await client.post(PATH, json={"model": "acme/embed", "input": "hi"})

    assert provider.hosts == ["p1"]
    assert [answer.status_code for answer in answers] == [200, 403]
    assert nobody.status_code == 401


@pytest.mark.parametrize(
    ("members", "status", "param"),
    [
        ({"model": "acme/large"}, 400, "model"),
        ({"model": "acme/embedder"}, 404, "model"),
        ({"model": None}, 400, "model"),
        ({"input": None}, 400, "input"),
        ({"input": ""}, 400, "input"),
        ({"input": []}, 400, "input"),
        ({"input": 7}, 400, "input"),
        ({"dimensions": 0}, 400, "dimensions"),
        ({"encoding_format": "hex"}, 400, "encoding_format"),
        ({"provider": {"onyl": ["p1"]}}, 400, "provider.onyl"),
    ],
)
async def test_what_is_wrong_is_named(members: dict[str, Any], status: int, param: str) -> None:
    provider = Provider()
    async with serving(provider) as edge:
        answer = await post(edge, **members)

    assert provider.asked == []
    assert answer.status_code == status
    assert error_in(answer.content)["param"] == param


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"[]",
        b'{"model": "acme/embed", "input": ',
        b'{"model": "acme/embed", "input": "\xff"}',
        b'{"model": "acme/embed", "input": "\\ud800"}',
        b'{"model": "acme/embed", "input": ' + b"[" * 5000,
        b'{"model": "acme/embed", "model": "x", "input": "x"}',
    ],
)
async def test_what_cannot_be_read_is_a_400(body: bytes) -> None:
    async with serving(Provider()) as edge, edge.client() as client:
        headers = {"content-type": "application/json"}
        answer = await client.post(PATH, content=body, headers=headers)

    assert answer.status_code == 400
    assert error_in(answer.content)["type"] == "invalid_request_error"


async def test_a_chat_request_for_an_embedding_model_is_refused() -> None:
    async with serving(Provider()) as edge, edge.client() as client:
        messages = [{"role": "user", "content": "hi"}]
        answer = await client.post(
            "/v1/chat/completions", json={"model": "acme/embed", "messages": messages}
        )

    assert answer.status_code == 404
    assert "chat model" in error_in(answer.content)["message"]


@pytest.mark.parametrize("base", BASES)
async def test_every_dialect_has_it_and_says_where_legacy_completions_went(base: str) -> None:
    async with serving(Provider()) as edge:
        answer = await post(edge, f"{base}/embeddings")
        old = await post(edge, f"{base}/completions")
        async with edge.client() as client:
            listed = (await client.get("/api/v1/embeddings/models")).json()["data"]

    assert answer.status_code == 200
    assert old.status_code == 404
    assert f"{base}/chat/completions" in old.text
    assert [model["id"] for model in listed] == ["acme/embed"]
    assert listed[0]["pricing"] == {"prompt": "0.0000001", "completion": None}
