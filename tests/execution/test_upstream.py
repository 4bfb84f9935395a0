"""One call to one endpoint, on recorded answers: what is sent where, and how much is read."""

import asyncio
import json
from collections.abc import AsyncIterator, Callable

import httpx
import pytest

from gateway.chat.request import ChatRequest
from gateway.domain.errors import GatewayError
from gateway.domain.outcomes import Outcome
from gateway.execution.access import AccessBook
from gateway.execution.transport import StaleConnectionError, TlsError
from gateway.execution.upstream import Access, origin_of
from gateway.providers.base import Quirks, Target, UpstreamRequest
from gateway.providers.openai import OpenAIAdapter
from pricing.endpoint import Endpoint
from tests.pipeline.rig import SECRET, Offer, rig_on

pytestmark = pytest.mark.anyio

ANSWER = {
    "id": "chatcmpl-1",
    "model": "large-2026-01",
    "choices": [
        {"index": 0, "message": {"role": "assistant", "content": "hi"}, "finish_reason": "stop"}
    ],
    "usage": {"prompt_tokens": 5, "completion_tokens": 1, "total_tokens": 6},
}


class Answering(httpx.AsyncBaseTransport):
    """Keeps what was asked; answers with what a function makes of it."""

    def __init__(self, answer: Callable[[httpx.Request], httpx.Response]) -> None:
        self._answer = answer
        self.asked: list[httpx.Request] = []

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        self.asked.append(request)
        return self._answer(request)


class Dripping(httpx.AsyncByteStream):
    """A body in pieces that counts how many were taken and notes that it was closed."""

    def __init__(self, piece: bytes, count: int) -> None:
        self._piece = piece
        self._count = count
        self.taken = 0
        self.is_closed = False

    async def __aiter__(self) -> AsyncIterator[bytes]:
        for _ in range(self._count):
            self.taken += 1
            yield self._piece

    async def aclose(self) -> None:
        self.is_closed = True


async def test_the_request_goes_to_the_providers_address_with_its_credential() -> None:
    transport = Answering(lambda _: httpx.Response(200, json=ANSWER))
    offer = Offer(base_url="https://api.example.com/v1/")
    async with rig_on(None, offer, transport=transport) as rig:
        served = await rig.run(temperature=0.5)

    (request,) = transport.asked
    assert (request.method, str(request.url)) == (
        "POST",
        "https://api.example.com/v1/chat/completions",
    )
    assert request.headers["authorization"] == f"Bearer {SECRET}"
    assert request.headers["accept-encoding"] == "identity"
    assert request.extensions["timeout"] == {"connect": 3.0}
    body = json.loads(request.content)
    assert (body["model"], body["temperature"]) == ("large", 0.5)
    assert served.completion is not None
    assert served.completion.upstream_model == "large-2026-01"


async def test_without_a_credential_none_is_sent() -> None:
    transport = Answering(lambda _: httpx.Response(200, json=ANSWER))
    async with rig_on(None, Offer(secret=""), transport=transport) as rig:
        await rig.run()

    assert "authorization" not in transport.asked[0].headers


@pytest.mark.parametrize("changes", [False, True], ids=["lasting", "changing"])
async def test_a_credential_is_never_sent_to_another_origin(*, changes: bool) -> None:
    async def secret_of() -> str:
        return SECRET

    class Astray(OpenAIAdapter):
        def build_request(
            self, request: ChatRequest, target: Target, secret: str
        ) -> UpstreamRequest:
            built = super().build_request(request, target, secret)
            return UpstreamRequest(
                method="POST",
                url="https://elsewhere.example.com/v1/chat/completions",
                headers=built.headers,
                body=built.body,
            )

    transport = Answering(lambda _: httpx.Response(200, json=ANSWER))
    async with rig_on(None, Offer(), transport=transport) as rig:
        book = rig.access

        class StrayBook(AccessBook):
            def __call__(self, endpoint: Endpoint, credential: int = 0) -> Access:
                access = book(endpoint, credential)
                return Access(
                    target=access.target,
                    adapter=Astray(),
                    transport=access.transport,
                    secret="" if changes else access.secret,
                    secret_of=secret_of if changes else None,
                    origin=access.origin,
                    deadlines=access.deadlines,
                )

        rig.access = StrayBook({})
        with pytest.raises(GatewayError):
            await rig.run()

    assert transport.asked == []
    assert rig.told() == [("gateway_error", 0)]


@pytest.mark.parametrize(
    ("error", "outcome"),
    [
        (httpx.ConnectError("no route"), Outcome.CONNECT_ERROR),
        (httpx.ConnectTimeout("late"), Outcome.CONNECT_TIMEOUT),
        (TlsError("bad certificate"), Outcome.TLS_ERROR),
        (httpx.ReadError("reset"), Outcome.READ_ERROR),
        (httpx.RemoteProtocolError("not HTTP"), Outcome.READ_ERROR),
        (httpx.WriteError("broken pipe"), Outcome.READ_ERROR),
        (httpx.UnsupportedProtocol("ftp"), Outcome.READ_ERROR),
        (StaleConnectionError("closed"), Outcome.CONNECT_ERROR),
    ],
)
@pytest.mark.parametrize("stream", [False, True])
async def test_each_failure_of_the_transport_has_its_outcome(
    error: httpx.TransportError, outcome: Outcome, stream: bool
) -> None:
    def fail(_: httpx.Request) -> httpx.Response:
        raise error

    transport = Answering(fail)
    async with rig_on(None, Offer(), transport=transport, max_attempts=1) as rig:
        with pytest.raises(GatewayError):
            await rig.run(stream=stream)

    assert rig.told() == [(outcome.value, 0)]


async def test_a_stale_connection_is_replaced_once_and_then_is_a_failure_as_any_other() -> None:
    def fail(_: httpx.Request) -> httpx.Response:
        raise StaleConnectionError("closed")

    transport = Answering(fail)
    async with rig_on(None, Offer(), Offer(), transport=transport) as rig:
        with pytest.raises(GatewayError):
            await rig.run()

    assert [end.start.endpoint.provider for end in rig.ends] == ["p1", "p1", "p2"]


async def test_of_an_errors_body_only_the_beginning_is_read() -> None:
    body = Dripping(b"x" * 4096, 10_000)
    transport = Answering(lambda _: httpx.Response(500, stream=body))
    async with rig_on(None, Offer(), transport=transport, max_attempts=1) as rig:
        with pytest.raises(GatewayError):
            await rig.run()

    assert body.taken <= 17
    assert body.is_closed
    assert len(rig.ends[0].error_message or "") <= 512


@pytest.mark.parametrize("stream", [False, True])
async def test_an_answer_beyond_the_limit_is_given_up_and_its_connection_closed(
    stream: bool,
) -> None:
    body = Dripping(b"x" * 1024 * 1024, 100)
    transport = Answering(lambda _: httpx.Response(200, stream=body))
    async with rig_on(None, Offer(), transport=transport, max_attempts=1) as rig:
        with pytest.raises(GatewayError, match="larger than"):
            await rig.run(stream=stream)

    assert body.taken == 33
    assert body.is_closed
    assert rig.told() == [("bad_response", 200)]


async def test_an_error_whose_body_breaks_off_is_still_classified() -> None:
    class Breaking(httpx.AsyncByteStream):
        async def __aiter__(self) -> AsyncIterator[bytes]:
            yield b'{"error":{"message":"slow down"'
            raise httpx.ReadError("reset")

    transport = Answering(lambda _: httpx.Response(429, stream=Breaking()))
    async with rig_on(None, Offer(), transport=transport) as rig:
        with pytest.raises(GatewayError):
            await rig.run()

    assert rig.told() == [("rate_limited", 429)]


@pytest.mark.parametrize("stream", [False, True])
async def test_warnings_of_what_was_dropped_stay_with_the_attempt(stream: bool) -> None:
    def answer(_: httpx.Request) -> httpx.Response:
        if stream:
            said = json.dumps({"choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}]})
            return httpx.Response(
                200, headers={"content-type": "text/event-stream"}, text=f"data: {said}\n\n"
            )
        return httpx.Response(200, json=ANSWER)

    offer = Offer(quirks=Quirks(refused_parameters=frozenset({"logit_bias"})))
    transport = Answering(answer)
    async with rig_on(None, offer, transport=transport) as rig:
        served = await rig.run(stream=stream, logit_bias={"50256": -100})

    assert "logit_bias" in " ".join(served.attempt.warnings)
    assert b"logit_bias" not in transport.asked[0].content


async def test_a_cancelled_call_closes_the_body_it_was_reading() -> None:
    class Hanging(Dripping):
        async def __aiter__(self) -> AsyncIterator[bytes]:
            self.taken += 1
            yield b"{"
            await asyncio.Event().wait()

    body = Hanging(b"", 1)
    transport = Answering(lambda _: httpx.Response(200, stream=body))
    async with rig_on(None, Offer(), transport=transport) as rig:
        task = asyncio.create_task(rig.run())
        async with asyncio.timeout(5):
            while not body.taken:  # noqa: ASYNC110 - the body does not say when it is read
                await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    assert body.is_closed


def test_origins_differ_by_scheme_host_and_port() -> None:
    origins = {
        origin_of(httpx.URL(url))
        for url in (
            "https://a.example/v1",
            "http://a.example/v1",
            "https://b.example/v1",
            "https://a.example:8443/v1",
        )
    }

    assert len(origins) == 4
    assert origin_of(httpx.URL("https://a.example:443/x")) == origin_of(
        httpx.URL("https://a.example/v1")
    )
