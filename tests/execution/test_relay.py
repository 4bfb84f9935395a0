"""The deadlines of a stream that has begun to speak, on recorded bytes and a turned clock of ms."""

import asyncio
import json
from collections.abc import AsyncIterator

import httpx
import pytest

from gateway.domain.outcomes import Outcome
from gateway.execution.deadlines import Deadlines
from gateway.execution.relay import Relay
from gateway.providers.base import FaultError
from tests.pipeline.rig import Offer, rig_on

pytestmark = pytest.mark.anyio

FINISH = b'data: {"choices":[{"index":0,"delta":{},"finish_reason":"stop"}]}\n\n'
DONE = b"data: [DONE]\n\n"


def say(text: str) -> bytes:
    chunk = {"choices": [{"index": 0, "delta": {"content": text}, "finish_reason": None}]}
    return b"data: " + json.dumps(chunk).encode() + b"\n\n"


class Recorded(httpx.AsyncBaseTransport):
    """Answers with these pieces, each after its pause in seconds; None never comes."""

    def __init__(self, *pieces: tuple[float, bytes] | bytes | None) -> None:
        self._pieces = pieces
        self.is_closed = False

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        del request
        return httpx.Response(
            200, headers={"content-type": "text/event-stream"}, stream=_Stream(self, self._pieces)
        )


class _Stream(httpx.AsyncByteStream):
    def __init__(
        self, owner: Recorded, pieces: tuple[tuple[float, bytes] | bytes | None, ...]
    ) -> None:
        self._owner = owner
        self._pieces = pieces

    async def __aiter__(self) -> AsyncIterator[bytes]:
        for piece in self._pieces:
            if piece is None:
                await asyncio.Event().wait()
            elif isinstance(piece, bytes):
                yield piece
            else:
                await asyncio.sleep(piece[0])
                yield piece[1]

    async def aclose(self) -> None:
        self._owner.is_closed = True


async def begin(transport: Recorded, deadlines: Deadlines, *, total_s: float = 30.0) -> Relay:
    async with rig_on(
        None, Offer(), transport=transport, deadlines=deadlines, total_s=total_s
    ) as rig:
        served = await rig.run(stream=True)
    assert served.relay is not None
    return served.relay


async def read_out(relay: Relay) -> str:
    said = ""
    while (events := await relay.next()) is not None:
        said += "".join(event.choices.decode() for event in events)
    return said


async def test_events_come_in_order_with_those_before_the_first_content_included() -> None:
    role = b'data: {"id":"c1","choices":[{"index":0,"delta":{"role":"assistant"}}]}\n\n'
    relay = await begin(Recorded(role, say("one "), say("two"), FINISH, DONE), Deadlines())

    text = await read_out(relay)
    assert text.index("assistant") < text.index("one ") < text.index("two") < text.index("stop")
    assert relay.attempt.upstream_id == "c1"
    assert await relay.next() is None, "the end stays the end"


async def test_silence_between_two_events_is_ended_by_the_idle_deadline() -> None:
    transport = Recorded(say("one"), None)
    relay = await begin(transport, Deadlines(idle_s=0.05))
    assert await relay.next()

    with pytest.raises(FaultError) as caught:
        await relay.next()
    assert caught.value.fault.outcome is Outcome.IDLE_TIMEOUT
    await relay.aclose()
    assert transport.is_closed


async def test_a_slow_stream_lives_on_as_long_as_it_speaks() -> None:
    pieces = [(0.03, say(str(number))) for number in range(8)]
    relay = await begin(Recorded(say("x"), *pieces, FINISH, DONE), Deadlines(idle_s=0.2))

    assert '"7"' in await read_out(relay)


async def test_comments_keep_a_silent_stream_alive_only_within_the_grace() -> None:
    pings = [(0.02, b": ping\n\n")] * 200
    relay = await begin(
        Recorded(say("one"), *pings, FINISH), Deadlines(idle_s=0.1, ping_grace_s=0.3)
    )
    assert await relay.next()
    began_s = asyncio.get_running_loop().time()

    with pytest.raises(FaultError) as caught:
        await relay.next()
    waited_s = asyncio.get_running_loop().time() - began_s
    assert caught.value.fault.outcome is Outcome.IDLE_TIMEOUT
    assert 0.15 < waited_s < 2, "longer than the idle deadline, not for ever"
    await relay.aclose()


async def test_comments_carry_a_stream_over_a_pause_longer_than_the_idle_deadline() -> None:
    pings = [(0.02, b": ping\n\n")] * 15
    relay = await begin(
        Recorded(say("one"), *pings, say("two"), FINISH, DONE),
        Deadlines(idle_s=0.15, ping_grace_s=5),
    )

    assert "two" in await read_out(relay)


async def test_the_requests_total_deadline_also_ends_a_stream_that_speaks() -> None:
    endless = [(0.01, say("more"))] * 2_000
    relay = await begin(Recorded(say("one"), *endless), Deadlines(), total_s=0.2)

    with pytest.raises(FaultError) as caught:
        await read_out(relay)
    assert caught.value.fault.outcome is Outcome.TOTAL_TIMEOUT
    await relay.aclose()


async def test_content_before_an_error_in_the_same_bytes_is_handed_out_first() -> None:
    error = b'data: {"error":{"message":"it broke","code":"server_error"}}\n\n'
    relay = await begin(Recorded(say("one"), say("two") + error), Deadlines())
    assert await relay.next()
    events = await relay.next()

    assert events is not None
    assert b"two" in events[0].choices
    with pytest.raises(FaultError, match="it broke"):
        await relay.next()
    with pytest.raises(FaultError, match="it broke"):
        await relay.next()


async def test_a_finish_without_content_is_an_answer() -> None:
    relay = await begin(Recorded(FINISH, DONE), Deadlines())

    assert "stop" in await read_out(relay)
    assert relay.attempt.finish_reason == "stop"
    assert relay.attempt.ttft_ms is None
