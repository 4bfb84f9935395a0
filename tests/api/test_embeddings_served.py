"""Embeddings from end to end: the official client, the whole application, a strict provider."""

import base64
import struct
from collections.abc import AsyncIterator
from decimal import Decimal
from typing import Any

import msgspec
import openai
import pytest

from gateway.api.paths import BASES
from gateway.simulator.server import Simulator
from pricing.catalogue import make_catalogue
from tests.api.edge import Edge, served
from tests.pipeline.rig import Offer, asked, rig_on
from tests.routing.factories import make_endpoint, make_price

pytestmark = pytest.mark.anyio
MODEL = "text-embedding-3-small"


@pytest.fixture
async def embedding_edge(simulator: Simulator) -> AsyncIterator[Edge]:
    """Provider ``p1`` embeds for 0.02 USD per million tokens, ``p2`` for 0.01 and is broken."""
    async with rig_on(simulator, Offer(), Offer()) as rig:
        endpoints = [
            make_endpoint(provider, f"openai/{MODEL}", name, price, mode="embedding")
            for provider, name, price in (
                ("p1", MODEL, make_price("0.02", None)),
                ("p2", f"{MODEL}!500", make_price("0.01", None)),
            )
        ]
        catalogue = make_catalogue(
            providers=rig.catalogue.providers.values(), endpoints=endpoints, version="test"
        )
        edge = Edge(rig)
        rig.snapshots.current = msgspec.structs.replace(rig.snapshots.current, catalogue=catalogue)
        async with served(edge):
            yield edge


def client_of(edge: Edge, base: str = "/v1") -> openai.AsyncOpenAI:
    return openai.AsyncOpenAI(base_url=f"{edge.url}{base}", api_key=edge.key, max_retries=0)


@pytest.mark.parametrize("base", BASES)
async def test_the_official_client_gets_vectors_on_every_base(
    embedding_edge: Edge, simulator: Simulator, base: str
) -> None:
    async with client_of(embedding_edge, base) as client:
        answer = await client.embeddings.create(model=MODEL, input=["near", "far"], dimensions=8)

    assert [len(row.embedding) for row in answer.data] == [8, 8]
    assert answer.usage.prompt_tokens == 2
    # Two tokens at 0.02 USD a million; what the broken one might have cost is in the record alone.
    more: dict[str, Any] = answer.usage.model_extra or {}
    assert Decimal(str(more["cost"])) == Decimal("0.00000004")
    assert [entry.model for entry in asked(simulator)] == [f"{MODEL}!500", MODEL]
    assert embedding_edge.rig.ledger.only.is_fallback


async def test_base64_comes_through_as_it_is(embedding_edge: Edge) -> None:
    async with embedding_edge.client() as client:
        plain, packed = [
            (
                await client.post(
                    "/v1/embeddings",
                    json={
                        "model": MODEL,
                        "input": "near",
                        "dimensions": 4,
                        "encoding_format": encoding,
                    },
                )
            ).json()["data"][0]["embedding"]
            for encoding in ("float", "base64")
        ]

    assert struct.unpack("<4f", base64.b64decode(packed)) == pytest.approx(plain, abs=1e-6)


async def test_what_the_provider_refuses_is_told_in_its_words(embedding_edge: Edge) -> None:
    async with client_of(embedding_edge) as client:
        with pytest.raises(openai.BadRequestError, match="dimensions"):
            await client.embeddings.create(
                model=MODEL,
                input="near",
                dimensions=4_000,
                extra_body={"provider": {"only": ["p1"]}},
            )
