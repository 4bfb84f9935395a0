"""The golden examples from a provider's raw body to the cost in the public API's answer."""

import json
from datetime import datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import httpx
import msgspec
import pytest

from gateway.providers.registry import quirks_of
from pricing.catalogue import Catalogue, Endpoint, load_catalogue, make_catalogue
from pricing.price import resolve
from tests.api.edge import Edge, served
from tests.pipeline.rig import Offer, rig_on
from tests.routing.factories import make_endpoint

pytestmark = pytest.mark.anyio
DATA = Path(__file__).parents[1] / "pricing" / "data"
EXAMPLES: dict[str, dict[str, Any]] = {
    example["id"]: example for example in json.loads((DATA / "golden_costs.json").read_text())
}
RAW: dict[str, dict[str, Any]] = json.loads((DATA / "golden_raw_usage.json").read_text())
TEXT = "North."


@pytest.fixture(scope="module")
def shipped() -> Catalogue:
    return load_catalogue()


def openai_body(usage: dict[str, Any]) -> dict[str, Any]:
    """The tier stands beside the usage; examples write it inside."""
    counted = {name: value for name, value in usage.items() if name != "service_tier"}
    tier = {"service_tier": usage["service_tier"]} if "service_tier" in usage else {}
    message = {"role": "assistant", "content": TEXT}
    choice = {"index": 0, "message": message, "finish_reason": "stop"}
    return {"id": "c1", "object": "chat.completion", "model": "m", "choices": [choice],
            "usage": counted, **tier}  # fmt: skip


def anthropic_body(usage: dict[str, Any]) -> dict[str, Any]:
    return {"id": "m1", "type": "message", "role": "assistant", "model": "m",
            "content": [{"type": "text", "text": TEXT}], "stop_reason": "end_turn",
            "usage": usage}  # fmt: skip


def gemini_body(usage: dict[str, Any]) -> dict[str, Any]:
    content = {"role": "model", "parts": [{"text": TEXT}]}
    return {"candidates": [{"content": content, "finishReason": "STOP"}], **usage}


def embedding_body(usage: dict[str, Any]) -> dict[str, Any]:
    vector = {"object": "embedding", "index": 0, "embedding": [0.5]}
    return {"object": "list", "data": [vector], "model": "m", "usage": usage}


BODIES = {"openai": openai_body, "anthropic": anthropic_body, "gemini": gemini_body}


def as_it_was(endpoint: Endpoint, at: datetime) -> Endpoint:
    """With the version of the example's instant for all times, and what its hour charges."""
    (held,) = (version for version in endpoint.prices if version.holds_at(at))
    base = held.base
    if held.windows:
        price = resolve(endpoint, at=at, prompt_tokens=0)
        assert price is not None
        base = price
    frozen = msgspec.structs.replace(
        held, base=base, windows=(), effective_from=None, effective_to=None
    )
    return msgspec.structs.replace(endpoint, prices=(frozen,))


def offer_of(name: str, shipped: Catalogue) -> tuple[Offer, Endpoint]:
    example = EXAMPLES[name]
    if example["endpoint"] is None:
        provider = "openrouter" if example["reported_usd"] else "somebody"
        endpoint = make_endpoint(provider, "acme/large", price=None)
    else:
        known = shipped.endpoints_by_id[example["endpoint"]]
        endpoint = as_it_was(known, datetime.fromisoformat(example["at"]))
    provider = shipped.providers.get(endpoint.provider)
    offer = Offer(
        like=endpoint,
        base_url="http://provider.example/v1",
        protocol=provider.protocol if provider is not None else "openai",
        quirks=quirks_of(endpoint.provider),
    )
    return offer, endpoint


async def ask(name: str, shipped: Catalogue) -> tuple[dict[str, Any], Any]:
    """The usage in the answer, with decimals, and the record."""
    offer, endpoint = offer_of(name, shipped)
    is_embedding = RAW[name]["api"] == "embeddings"
    body = embedding_body if is_embedding else BODIES[offer.protocol]

    def provide(request: httpx.Request) -> httpx.Response:
        return httpx.Response(200, json=body(RAW[name]["usage"]), request=request)

    async with rig_on(None, offer, transport=httpx.MockTransport(provide)) as rig:
        served_as = msgspec.structs.replace(rig.endpoints[0], mode=endpoint.mode)
        catalogue = make_catalogue(
            providers=rig.catalogue.providers.values(), endpoints=[served_as], version="golden"
        )
        rig.snapshots.current = msgspec.structs.replace(rig.snapshots.current, catalogue=catalogue)
        edge = Edge(rig)
        asked: dict[str, Any] = {"model": served_as.model}
        asked |= (
            {"input": "hi"} if is_embedding else {"messages": [{"role": "user", "content": "hi"}]}
        )
        path = "/v1/embeddings" if is_embedding else "/v1/chat/completions"
        async with served(edge), edge.client() as client:
            answer = await client.post(path, json=asked)
        assert answer.status_code == 200, answer.text
        return json.loads(answer.text, parse_float=Decimal)["usage"], rig.ledger.only


def total_of(usage: dict[str, Any]) -> Decimal | None:
    told = usage["cost_usd_total"] if "cost_usd_total" in usage else usage["cost"]
    return None if told is None else Decimal(told)


def test_every_golden_example_has_a_raw_body() -> None:
    assert len(EXAMPLES) == 20
    assert RAW.keys() == EXAMPLES.keys()


@pytest.mark.parametrize("name", EXAMPLES)
async def test_a_raw_body_costs_what_was_worked_out_by_hand(name: str, shipped: Catalogue) -> None:
    example = EXAMPLES[name]
    expected = None if example["total_usd"] is None else Decimal(example["total_usd"])

    usage, record = await ask(name, shipped)

    assert total_of(usage) == expected
    assert record.cost_usd == expected
    metered = record.attempts[0].usage
    assert {
        meter: count for meter, count in msgspec.to_builtins(metered).items() if meter != "requests"
    } == example["usage"]


async def test_what_has_no_price_is_unpriced_and_never_free(shipped: Catalogue) -> None:
    usage, record = await ask("29-unknown-price", shipped)

    assert usage["cost_status"] == "unpriced"
    assert (record.cost_usd, record.cost_status) == (None, "unpriced")


async def test_what_the_provider_told_is_marked(shipped: Catalogue) -> None:
    _, record = await ask("30-openrouter-reported", shipped)

    assert record.attempts[0].cost.source == "provider_reported"
