"""Pictures named by their address: who fetches them, and what happens where nobody may."""

import base64
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import Any

import pytest

from gateway.domain.errors import GatewayError, UpstreamError
from gateway.execution.egress import make_policy, origin_of
from gateway.execution.media import MediaFetcher
from gateway.execution.transport import AiohttpTransport
from gateway.simulator.server import Simulator
from tests.execution.raw_server import Peer, RawServer, serve
from tests.pipeline.rig import Offer, asked, rig_on

pytestmark = pytest.mark.anyio

PNG = base64.b64decode(
    "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNkYPhfDwAChwGA60e6kgAAAABJRU5ErkJggg=="
)
DATA_ONLY = {"file_urls": False, "vision": True}


async def picture_server(peer: Peer) -> None:
    while await peer.read_request():
        head = f"HTTP/1.1 200 OK\r\nContent-Type: image/png\r\nContent-Length: {len(PNG)}\r\n\r\n"
        await peer.say(head.encode() + PNG)


def showing(url: object) -> list[dict[str, Any]]:
    picture = {"type": "image_url", "image_url": {"url": str(url)}}
    question = {"type": "text", "text": "What is on this picture?"}
    return [{"role": "user", "content": [question, picture]}]


@asynccontextmanager
async def fetcher_for(server: RawServer) -> AsyncGenerator[MediaFetcher]:
    """With the server among the operator's own."""
    transport = AiohttpTransport(policy=make_policy([str(server.url)]))
    yield MediaFetcher(transport, private_origins=frozenset({origin_of(server.url)}))
    await transport.aclose()


@pytest.mark.parametrize("protocol", ["bedrock", "gemini"])
@pytest.mark.parametrize("stream", [False, True])
async def test_a_picture_is_fetched_for_an_endpoint_that_takes_data_only(
    simulator: Simulator, protocol: str, stream: bool
) -> None:
    offer = Offer(protocol=protocol, capabilities=DATA_ONLY)
    async with (
        serve(picture_server) as server,
        fetcher_for(server) as media,
        rig_on(simulator, offer, media=media) as rig,
    ):
        messages = showing(server.url.copy_with(path="/road.png"))
        if stream:
            answer = await rig.stream(messages=messages)
            assert [data async for data in answer.events]
        else:
            await rig.whole(messages=messages)
        assert len(server.peers) == 1

    assert rig.ledger.only.status_code == 200
    assert asked(simulator)[0].outcome == "completed"


async def test_a_picture_is_not_fetched_for_an_endpoint_that_does_so_itself(
    simulator: Simulator,
) -> None:
    async with (
        serve(picture_server) as server,
        fetcher_for(server) as media,
        rig_on(simulator, Offer(capabilities={"vision": True}), media=media) as rig,
    ):
        await rig.whole(messages=showing("https://example.com/road.png"))
        assert not server.peers


async def test_what_cannot_be_fetched_is_the_clients_to_mend(simulator: Simulator) -> None:
    async with (
        serve(picture_server) as server,
        fetcher_for(server) as media,
        rig_on(simulator, Offer(protocol="bedrock", capabilities=DATA_ONLY), media=media) as rig,
    ):
        with pytest.raises(GatewayError) as caught:
            await rig.whole(messages=showing("https://127.0.0.1:9/road.png"))

    assert caught.value.status == 400
    assert "messages.0.content.1" in caught.value.message
    assert not asked(simulator)


async def test_without_leave_to_fetch_the_refusal_says_what_to_do(simulator: Simulator) -> None:
    offer = Offer(protocol="bedrock", capabilities=DATA_ONLY)
    async with rig_on(simulator, offer) as rig:
        with pytest.raises(UpstreamError) as caught:
            await rig.whole(messages=showing("https://example.com/road.png"))

    assert (caught.value.status, caught.value.code) == (400, "unsupported")
    assert "send a data URL" in caught.value.message
    assert "`fetch = true` under `[media]`" in caught.value.message
    assert not asked(simulator)


async def test_without_leave_to_fetch_somebody_serves_who_fetches_it_himself(
    simulator: Simulator,
) -> None:
    blind = Offer(protocol="bedrock", capabilities=DATA_ONLY)
    seeing = Offer(capabilities={"vision": True})
    async with rig_on(simulator, blind, seeing) as rig:
        _, body = await rig.whole(messages=showing("https://example.com/road.png"))
        data = base64.b64encode(PNG).decode()
        _, of_data = await rig.whole(messages=showing(f"data:image/png;base64,{data}"))

    assert body["provider"] == "p2"
    assert of_data["provider"] == "p1"
    assert rig.ledger.records[0].plan["excluded"] == [
        {"endpoint": "p1/large", "reason": "capability", "detail": "file_urls"}
    ]
