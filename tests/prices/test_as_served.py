"""What an answer tells of how it was served decides what it costs: the region, and the speed.

Claude Opus 5.5 costs 4 USD a million tokens read, 0.2 from a cache, 5 and 8 into one, and 20
written; at the speed `fast` twice that, and 1.1 times as much in the region `us`.
"""

import json
from collections.abc import AsyncIterator
from decimal import Decimal
from typing import Any

import httpx
import msgspec
import pytest

from gateway.ledger.settle import settle_attempt
from gateway.routing.logged import Answer
from gateway.routing.replaying_report import cost_of_answer_usd
from gateway.simulator.server import Simulator
from pricing.catalogue import Catalogue, load_catalogue
from pricing.endpoint import Endpoint
from pricing.regions import in_region
from pricing.rerating import RecordedAttempt, rerate
from pricing.usage import Usage
from tests.api.edge import Edge, served
from tests.execution.samples import make_end
from tests.pipeline.rig import Offer, rig_on
from tests.prices.test_golden_through_api import as_it_was
from tests.routing.factories import AT, make_catalogue_of, make_endpoint, make_price

pytestmark = pytest.mark.anyio
USAGE: dict[str, Any] = {
    "input_tokens": 1_000,
    "cache_read_input_tokens": 2_000,
    "cache_creation_input_tokens": 300,
    "cache_creation": {"ephemeral_5m_input_tokens": 200, "ephemeral_1h_input_tokens": 100},
    "output_tokens": 500,
    "service_tier": "standard",
}
MILLION = Usage(input_tokens=1_000_000)
SEARCHED = {"server_tool_use": {"web_search_requests": 1}}
# 4,000 + 400 + 1,000 + 800 + 10,000 millionths at the list price; a search costs 0.01 anywhere.
TOLD = [
    pytest.param({}, "0.0162", id="as listed"),
    pytest.param({"inference_geo": "global", "speed": "standard"}, "0.0162", id="usual"),
    pytest.param({"inference_geo": "not_available"}, "0.0162", id="no geo"),
    pytest.param({"inference_geo": "us"}, "0.01782", id="us"),
    pytest.param({"speed": "fast"}, "0.0324", id="fast"),
    pytest.param({"speed": "fast", "inference_geo": "us"}, "0.03564", id="fast in us"),
    pytest.param(
        {"speed": "fast", "inference_geo": "us", **SEARCHED}, "0.04564", id="and a search"
    ),
]


@pytest.fixture(scope="module")
def opus() -> Endpoint:
    shipped: Catalogue = load_catalogue()
    return as_it_was(shipped.endpoints_by_id["anthropic/claude-opus-5-5"], AT)


def anthropic(opus: Endpoint, do: str = "") -> Offer:
    return Offer(like=opus, protocol="anthropic", model="acme/large", do=do)


def whole(usage: dict[str, Any]) -> bytes:
    return json.dumps(
        {
            "id": "m1",
            "type": "message",
            "role": "assistant",
            "model": "m",
            "content": [{"type": "text", "text": "North."}],
            "stop_reason": "end_turn",
            "usage": usage,
        }
    ).encode()


def streamed(usage: dict[str, Any]) -> bytes:
    early = usage | {"output_tokens": 1}
    late = {name: usage[name] for name in usage if name.endswith(("tokens", "tool_use"))}
    begun: dict[str, Any] = {"id": "m1", "type": "message", "role": "assistant", "model": "m"}
    begun |= {"content": [], "usage": early}
    events: list[dict[str, Any]] = [
        {"type": "message_start", "message": begun},
        {"type": "content_block_start", "index": 0, "content_block": {"type": "text", "text": ""}},
        {"type": "content_block_delta", "index": 0,
         "delta": {"type": "text_delta", "text": "North."}},
        {"type": "content_block_stop", "index": 0},
        {"type": "message_delta", "delta": {"stop_reason": "end_turn"}, "usage": late},
        {"type": "message_stop"},
    ]  # fmt: skip
    return b"".join(f"event: {one['type']}\ndata: {json.dumps(one)}\n\n".encode() for one in events)


async def answered(opus: Endpoint, usage: dict[str, Any], *, stream: bool) -> tuple[str, Any]:
    """What the client gets, and the record."""

    def provide(request: httpx.Request) -> httpx.Response:
        if stream:
            headers = {"content-type": "text/event-stream"}
            return httpx.Response(200, content=streamed(usage), headers=headers, request=request)
        return httpx.Response(200, content=whole(usage), request=request)

    offer = msgspec.structs.replace(anthropic(opus), base_url="http://provider.example/v1")
    async with rig_on(None, offer, transport=httpx.MockTransport(provide)) as rig:
        edge = Edge(rig)
        asked = {
            "model": rig.endpoints[0].model,
            "messages": [{"role": "user", "content": "hi"}],
            "stream": stream,
            **({"stream_options": {"include_usage": True}} if stream else {}),
        }
        async with served(edge), edge.client() as client:
            answer = await client.post("/v1/chat/completions", json=asked)
        assert answer.status_code == 200, answer.text
        return answer.text, rig.ledger.only


def cost_in(text: str, *, stream: bool) -> Decimal:
    events = [line[6:] for line in text.splitlines() if line.startswith("data: {")]
    bodies = [json.loads(one, parse_float=Decimal) for one in (events if stream else [text])]
    (usage,) = (body["usage"] for body in bodies if body.get("usage"))
    return Decimal(usage["cost_usd_total"])


@pytest.mark.parametrize("stream", [False, True], ids=["whole", "stream"])
@pytest.mark.parametrize(("told", "usd"), TOLD)
async def test_an_answer_costs_what_the_speed_and_the_region_it_tells_cost(
    opus: Endpoint, told: dict[str, Any], usd: str, *, stream: bool
) -> None:
    text, record = await answered(opus, USAGE | told, stream=stream)

    assert cost_in(text, stream=stream) == Decimal(usd)
    assert record.cost_usd == Decimal(usd)
    assert record.cost_status == "exact"
    (attempt,) = record.attempts
    assert attempt.service_tier == ("fast" if told.get("speed") == "fast" else "standard")
    geo = told.get("inference_geo")
    assert attempt.served_region == (None if geo == "not_available" else geo)


@pytest.mark.parametrize(("told", "usd"), TOLD)
async def test_what_was_recorded_costs_the_same_when_it_is_rated_again(
    opus: Endpoint, told: dict[str, Any], usd: str
) -> None:
    _, record = await answered(opus, USAGE | told, stream=False)
    (attempt,) = record.attempts
    known = msgspec.structs.replace(opus, id=attempt.endpoint)

    usage = attempt.usage
    assert usage is not None
    recorded = RecordedAttempt(
        number=1,
        kind=attempt.kind,
        provider=attempt.provider,
        model=attempt.model,
        endpoint=attempt.endpoint,
        started_at=attempt.started_at,
        service_tier=attempt.service_tier,
        served_region=attempt.served_region,
        usage=usage,
        is_estimated=False,
        source=attempt.cost.source,
        cost_usd=attempt.cost.total_usd,
    )

    verdict, cost = rerate(recorded, make_catalogue_of(known))

    assert (verdict, cost and cost.total_usd) == ("unchanged", Decimal(usd))


def test_a_region_that_the_settings_fix_is_paid_once(opus: Endpoint) -> None:
    there = in_region(opus, "us")

    def settled(endpoint: Endpoint, region: str | None) -> Decimal | None:
        end = make_end(endpoint=endpoint, usage=MILLION, served_region=region)
        return settle_attempt(end, prompt_tokens_estimate=0).cost.total_usd

    assert [settled(there, region) for region in ("us", None, "global")] == [Decimal("4.4")] * 3
    assert [settled(opus, region) for region in ("us", None)] == [Decimal("4.4"), Decimal(4)]


def test_a_speed_that_no_price_knows_is_estimated_and_never_taken_for_the_usual_one(
    opus: Endpoint,
) -> None:
    attempt = settle_attempt(
        make_end(endpoint=opus, usage=MILLION, service_tier="ludicrous"),
        prompt_tokens_estimate=0,
    )

    assert (attempt.cost.total_usd, attempt.cost.status) == (Decimal(4), "estimated")


@pytest.fixture
async def simulator() -> AsyncIterator[Simulator]:
    async with Simulator(speed=0) as running:
        yield running


ASKED = [
    pytest.param("/v1/messages", {"speed": "fast"}, id="messages"),
    pytest.param("/v1/chat/completions", {"service_tier": "fast"}, id="chat"),
]


@pytest.mark.parametrize("stream", [False, True], ids=["whole", "stream"])
@pytest.mark.parametrize(("path", "wish"), ASKED)
async def test_a_wished_speed_is_asked_for_and_paid_as_it_is_served(
    simulator: Simulator, opus: Endpoint, path: str, wish: dict[str, str], *, stream: bool
) -> None:
    for do, rates in (("", (8, 40)), ("geo=us", ("8.8", 44)), ("speed=standard", (4, 20))):
        async with rig_on(simulator, anthropic(opus, do)) as rig:
            edge = Edge(rig)
            asked = {
                "model": "acme/large",
                "messages": [{"role": "user", "content": "hi"}],
                "max_tokens": 64,
                "stream": stream,
                **wish,
            }
            async with served(edge), edge.client() as client:
                answer = await client.post(path, json=asked)
            assert answer.status_code == 200, answer.text
            record, begun = rig.ledger.only, rig.ledger.begun[0]

        (attempt,) = record.attempts
        usage = attempt.usage
        assert usage is not None
        expected = usage.input_tokens * Decimal(rates[0]) + usage.output_tokens * Decimal(rates[1])
        assert record.cost_usd == expected / 1_000_000
        assert record.warnings == ()
        # What was expected beforehand is the price of what was asked for.
        assert begun.estimated_cost.total_usd == (
            begun.estimated_usage.input_tokens * Decimal(8) / 1_000_000
        )


async def test_a_model_without_the_speed_is_asked_as_usual_and_it_is_said(
    simulator: Simulator,
) -> None:
    slow = as_it_was(load_catalogue().endpoints_by_id["anthropic/claude-haiku-4-5"], AT)
    async with rig_on(simulator, anthropic(slow)) as rig:
        answer, _ = await rig.whole(service_tier="fast")

    (attempt,) = rig.ledger.only.attempts
    assert attempt.service_tier == "standard"
    assert any("`service_tier`" in warning for warning in rig.ledger.only.warnings)
    assert answer.status == 200


def test_a_replay_takes_the_place_for_that_of_the_same_provider_alone(opus: Endpoint) -> None:
    other = make_endpoint("acme", price=make_price("1", "2"))
    version = msgspec.structs.replace(other.prices[0], region_multiplier={"us": Decimal(3)})
    other = msgspec.structs.replace(other, prices=(version,))
    answer = Answer(
        endpoint="anthropic/gone",
        started_at=AT,
        service_tier="fast",
        served_region="us",
        usage=MILLION,
    )
    known = make_catalogue_of(opus, other)

    assert cost_of_answer_usd(opus.id, answer, known) == Decimal("8.8")
    assert cost_of_answer_usd(other.id, answer, known) == Decimal(1)
