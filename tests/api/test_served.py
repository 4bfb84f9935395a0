"""The edge on its real server: bytes in, bytes out, and callers that hang up."""

import asyncio
import base64
import json
import logging
from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest

from gateway.api.health import Readiness
from gateway.domain.keys import make_key
from gateway.domain.outcomes import Outcome
from gateway.simulator.server import Simulator
from tests.api.edge import CHAT, Edge, chat_json, error_in, served, wire_to
from tests.pipeline.rig import Offer, asked, events_of, rig_on, text_of, until

pytestmark = pytest.mark.anyio
JSON = {"content-type": "application/json"}
WRONG_BODIES = [
    b"",
    b"{",
    b"[]",
    b"null",
    b'"text"',
    b"\xff\xfe{}",
    b'{"model":"\xc3\x28"}',
    b'{"model":"acme/large","messages":[]}',
    b'{"model":"acme/large"}',
    b'{"model":"acme/large","messages":null}',
    b'{"model":7,"messages":[{"role":"user","content":"hi"}]}',
    b'{"model":"acme/large","messages":"hi"}',
    b'{"model":"acme/large","messages":[{"role":"user","content":"hi"}],"temperature":NaN}',
    b'{"model":"acme/large","messages":[{"role":"user","content":"hi"}],"temperature":1e999}',
    b'{"model":"acme/large","messages":[{"role":"user","content":"hi"}],"seed":Infinity}',
    b'{"model":"acme/large","messages":[{"role":"user","content":"hi"}],"stream":"yes"}',
    b'{"model":"acme/large","messages":[{"role":"user","content":"hi"}],"base_url":"x"}',
    b"[" * 60_000,
    b'{"a":' * 10_000,
    b'{"model":"acme/large","messages":[{"role":"user","content":"\\ud800"}]}',
]


async def post(edge: Edge, body: bytes, **headers: str) -> httpx.Response:
    async with edge.client() as client:
        return await client.post(CHAT, content=body, headers=JSON | headers)


class TestAnAnswer:
    async def test_comes_whole_with_its_cost(self, edge: Edge) -> None:
        answer = await post(edge, chat_json())

        assert answer.status_code == 200
        assert answer.headers["content-type"] == "application/json"
        assert answer.json()["choices"][0]["message"]["content"] == "hello there"
        assert answer.json()["usage"]["cost_usd_total"] > 0
        assert answer.headers["x-generation-id"] == answer.json()["id"]

    async def test_comes_as_a_stream_that_ends_with_done(self, edge: Edge) -> None:
        answer = await post(edge, chat_json(stream=True))

        assert answer.headers["content-type"] == "text/event-stream"
        events = events_of(answer.content)
        assert text_of(events) == "hello there"
        assert events[-1] == "[DONE]"
        assert events[-2]["usage"]["cost"] > 0

    async def test_needs_no_declared_type_and_takes_a_chunked_body(self, edge: Edge) -> None:
        async def parts() -> AsyncIterator[bytes]:
            for byte in chat_json():
                yield bytes([byte])

        async with edge.client() as client:
            answer = await client.post(CHAT, content=parts())

        assert answer.status_code == 200

    async def test_serves_the_connection_on_for_the_next_request(self, edge: Edge) -> None:
        async with wire_to(edge) as wire:
            for _ in range(3):
                await wire.say(edge.head(chat_json()) + chat_json())
                status, _, _ = await wire.hear()
                assert status == 200

    @pytest.mark.parametrize("carrier", ["bearer", "x-api-key", "basic"])
    async def test_is_given_to_a_key_in_each_of_its_places(self, edge: Edge, carrier: str) -> None:
        pair = base64.b64encode(f"me:{edge.key}".encode()).decode()
        headers = {
            "bearer": {"authorization": f"Bearer {edge.key}"},
            "x-api-key": {"x-api-key": edge.key},
            "basic": {"authorization": f"Basic {pair}"},
        }[carrier]
        async with edge.client(**headers) as client:
            answer = await client.post(CHAT, content=chat_json())

        assert answer.status_code == 200


class TestARefusal:
    async def test_of_a_missing_or_wrong_key_is_a_401_with_a_challenge(self, edge: Edge) -> None:
        other = make_key(lambda count: b"z" * count).text
        for headers in ({"x-nothing": "here"}, {"authorization": f"Bearer {other}"}):
            async with edge.client(**headers) as client:
                answer = await client.post(CHAT, content=chat_json())
            assert answer.status_code == 401
            assert error_in(answer.content)["type"] == "authentication_error"
            assert "Bearer" in answer.headers["www-authenticate"]
        assert edge.rig.ledger.records == [], "a 401 is counted and not recorded"

    async def test_of_a_wrong_body_is_a_400_in_openais_shape(self, edge: Edge) -> None:
        for body in WRONG_BODIES:
            answer = await post(edge, body)
            assert answer.status_code == 400, body[:80]
            assert error_in(answer.content)["type"] == "invalid_request_error"
        assert edge.rig.ledger.records == []

    async def test_of_a_body_too_large_is_a_413_however_it_is_sent(
        self, simulator: Simulator
    ) -> None:
        async def parts() -> AsyncIterator[bytes]:
            for _ in range(20):
                yield b" " * 100

        async with rig_on(simulator, Offer()) as rig, served(Edge(rig, body_limit=1_000)) as edge:
            async with edge.client() as client:
                for content in (b" " * 1_001, parts()):
                    answer = await client.post(CHAT, content=content, headers=JSON)
                    assert answer.status_code == 413
                    assert error_in(answer.content)["code"] == "request_too_large"
            async with wire_to(edge) as wire:
                await wire.say(edge.head(b" " * 5_000_000))
                status, _, _ = await wire.hear()
                assert status == 413, "before a byte of it was sent"
            async with wire_to(edge) as wire:
                large = b" " * 1_000 + chat_json()
                await wire.say(edge.head(large, "Transfer-Encoding: chunked", length=False))
                await wire.say(b"%x\r\n%b\r\n0\r\n\r\n" % (len(large), large))
                status, _, _ = await wire.hear()
                assert status == 413, "in one chunk"

    @pytest.mark.parametrize(
        "headers",
        [
            {"content-type": "text/plain"},
            {"content-type": "multipart/form-data; boundary=x"},
            {"content-encoding": "gzip"},
        ],
    )
    async def test_of_another_kind_of_body_is_a_415(
        self, edge: Edge, headers: dict[str, str]
    ) -> None:
        answer = await post(edge, chat_json(), **headers)

        assert answer.status_code == 415
        assert error_in(answer.content)["code"] == "unsupported_media_type"

    async def test_of_an_unknown_model_is_a_404_that_names_the_nearest(self, edge: Edge) -> None:
        answer = await post(edge, chat_json(model="acme/larg"))

        assert answer.status_code == 404
        error = error_in(answer.content)
        assert (error["code"], error["param"]) == ("model_not_found", "model")
        assert error["metadata"]["nearest"][0] == "acme/large"

    @pytest.mark.parametrize(
        ("method", "path", "status"),
        [
            ("GET", "/nope", 404),
            ("POST", "/v1/nope", 404),
            ("POST", "/v1/%2e%2e/v1/chat/completions", 404),
            ("POST", "/v1/%ff%00", 404),
            ("GET", CHAT, 405),
            ("DELETE", "/v1/models", 405),
            ("POST", "/healthz", 405),
        ],
    )
    async def test_of_a_path_or_method_is_in_the_same_shape(
        self, edge: Edge, method: str, path: str, status: int
    ) -> None:
        async with wire_to(edge) as wire:
            await wire.say(
                f"{method} {path} HTTP/1.1\r\nHost: gateway\r\nContent-Length: 0\r\n\r\n".encode()
            )
            answered, headers, body = await wire.hear()

        assert answered == status
        assert headers["content-type"] == "application/json"
        assert error_in(body)["type"] == "invalid_request_error"

    @pytest.mark.parametrize("header", ["Authorization: Bearer x", "Host: b", "X-API-Key: a"])
    async def test_of_a_doubled_header_is_a_400(self, edge: Edge, header: str) -> None:
        doubled = (header, "X-API-Key: b") if header.startswith("X-API") else (header,)
        async with wire_to(edge) as wire:
            await wire.say(edge.head(chat_json(), *doubled) + chat_json())
            status, _, body = await wire.hear()

        assert status == 400
        assert "sent twice" in error_in(body)["message"]

    @pytest.mark.parametrize(
        "more", [["X-Large: " + "y" * 40_000], [f"X-{number}: y" for number in range(200)]]
    )
    async def test_of_headers_beyond_the_limits_is_a_431(self, edge: Edge, more: list[str]) -> None:
        async with wire_to(edge) as wire:
            await wire.say(edge.head(chat_json(), *more) + chat_json())
            status, _, _ = await wire.hear()

        assert status == 431

    async def test_of_a_body_delimited_twice_never_serves_what_is_smuggled_behind_it(
        self, edge: Edge
    ) -> None:
        smuggled = edge.head(chat_json()) + chat_json()
        async with wire_to(edge) as wire:
            await wire.say(
                edge.head(b"x" * 900, "Transfer-Encoding: chunked") + b"0\r\n\r\n" + smuggled
            )
            heard = await wire.hear_all()

        assert heard.count(b"HTTP/1.1 ") == 1
        assert heard.startswith(b"HTTP/1.1 400")
        assert asked_of(edge) == []

    async def test_of_bytes_that_are_not_http_breaks_nothing(self, edge: Edge) -> None:
        async with wire_to(edge) as wire:
            await wire.say(b"\x16\x03\x01 not HTTP at all\r\n\r\n")
            assert (await wire.hear_all()).startswith((b"HTTP/1.1 400", b""))

        assert (await post(edge, chat_json())).status_code == 200

    async def test_of_one_request_too_many_is_a_503_that_may_be_repeated(
        self, simulator: Simulator
    ) -> None:
        async with rig_on(simulator, Offer(do="hang")) as rig, served(Edge(rig, most=1)) as edge:
            async with wire_to(edge) as wire:
                await wire.say(edge.head(chat_json()) + chat_json())
                await until(lambda: edge.traffic.open_count == 1)
                answer = await post(edge, chat_json())
            await until(lambda: edge.traffic.open_count == 0)

        assert answer.status_code == 503
        assert error_in(answer.content)["code"] == "too_many_requests_open"
        assert answer.headers["retry-after"] == "1"
        assert answer.headers["x-should-retry"] == "true"

    async def test_by_every_endpoint_says_so_and_when_to_come_back(
        self, simulator: Simulator
    ) -> None:
        offer = Offer(do="429,retry_after=7")
        async with rig_on(simulator, offer) as rig, served(Edge(rig)) as edge:
            answers = [await post(edge, chat_json(stream=stream)) for stream in (False, True)]

        for answer in answers:
            assert answer.status_code == 429
            assert answer.headers["retry-after"] == "7"
            assert answer.headers["content-type"] == "application/json"

    async def test_by_a_bug_of_ours_is_a_500_without_its_particulars(
        self, caplog: pytest.LogCaptureFixture
    ) -> None:
        class Broken(httpx.AsyncBaseTransport):
            async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
                raise ZeroDivisionError("inner particulars " + str(request.url))

        caplog.set_level(logging.ERROR)
        async with rig_on(None, Offer(), transport=Broken()) as rig, served(Edge(rig)) as edge:
            answer = await post(edge, chat_json())

        assert answer.status_code == 500
        assert error_in(answer.content)["code"] == "internal_error"
        assert b"particulars" not in answer.content
        assert "Traceback" not in answer.text
        assert "ZeroDivisionError" in caplog.text


def asked_of(edge: Edge) -> list[Any]:
    return edge.rig.ledger.begun


class TestACallerThatHangsUp:
    @pytest.mark.parametrize("with_reset", [False, True])
    @pytest.mark.parametrize("stream", [False, True])
    async def test_before_the_answer_closes_the_upstream_connection_at_once(
        self, simulator: Simulator, stream: bool, with_reset: bool
    ) -> None:
        async with rig_on(simulator, Offer(do="hang")) as rig, served(Edge(rig)) as edge:
            async with wire_to(edge) as wire:
                body = chat_json(stream=stream)
                await wire.say(edge.head(body) + body)
                await until(lambda: len(asked(simulator)) == 1)
                gone_s = wire.hang_up(with_reset=with_reset)
                entry = asked(simulator)[0]
                await until(lambda: entry.outcome == "client_closed")
            await until(lambda: edge.traffic.open_count == 0)

        assert entry.closed_at is not None
        assert entry.closed_at - gone_s < 0.1
        assert rig.ledger.only.outcome is Outcome.CLIENT_CANCELLED

    @pytest.mark.parametrize("do", ["endless,tokens_per_s=200", "hang_mid@2"])
    async def test_in_mid_stream_closes_the_upstream_connection_at_once(
        self, simulator: Simulator, do: str
    ) -> None:
        async with rig_on(simulator, Offer(do=do)) as rig, served(Edge(rig)) as edge:
            async with wire_to(edge) as wire:
                body = chat_json(stream=True)
                await wire.say(edge.head(body) + body)
                await wire.hear_until(b'"content":"')
                gone_s = wire.hang_up()
                entry = asked(simulator)[0]
                await until(lambda: entry.outcome == "client_closed")
            await until(lambda: edge.traffic.open_count == 0)

        assert entry.closed_at is not None
        assert entry.closed_at - gone_s < 0.1
        record = rig.ledger.only
        assert (record.outcome, record.status_code) == (Outcome.CLIENT_CANCELLED, 499)
        assert record.attempts[0].usage_source == "estimated"

    async def test_while_sending_its_body_leaves_nothing_behind(self, edge: Edge) -> None:
        async with wire_to(edge) as wire:
            await wire.say(edge.head(chat_json()) + chat_json()[:10])
            await until(lambda: edge.traffic.open_count == 1)
            wire.hang_up()
            await until(lambda: edge.traffic.open_count == 0)

        assert edge.rig.ledger.records == []
        assert edge.rig.ledger.begun == []

    async def test_after_its_answer_changes_nothing_of_the_record(self, edge: Edge) -> None:
        for _ in range(20):
            async with wire_to(edge) as wire:
                body = chat_json(stream=True)
                await wire.say(edge.head(body) + body)
                await wire.hear_until(b"[DONE]")
                wire.hang_up(with_reset=True)
        await until(lambda: edge.traffic.open_count == 0)

        assert [record.outcome for record in edge.rig.ledger.records] == [Outcome.SUCCESS] * 20

    async def test_a_hundred_times_leaves_the_server_as_it_was(self, simulator: Simulator) -> None:
        async with rig_on(simulator, Offer(do="hang")) as rig, served(Edge(rig)) as edge:

            async def hang_up() -> None:
                async with wire_to(edge) as wire:
                    await wire.say(edge.head(chat_json()) + chat_json())
                    await asyncio.sleep(0.01)

            for _ in range(4):
                await asyncio.gather(*(hang_up() for _ in range(25)))
            await until(lambda: edge.traffic.open_count == 0)
            await until(lambda: simulator.open_requests == 0)
            async with edge.client() as client:
                assert (await client.get("/healthz")).status_code == 200
            assert len(rig.ledger.records) == len(rig.ledger.begun)


class TestAShutdown:
    async def test_ends_open_streams_with_an_explicit_error(self, simulator: Simulator) -> None:
        offer = Offer(do="endless,tokens_per_s=100")
        async with rig_on(simulator, offer) as rig, served(Edge(rig)) as edge:
            answers = [asyncio.create_task(post(edge, chat_json(stream=True))) for _ in range(3)]
            await until(lambda: sum(entry.events_sent > 2 for entry in asked(simulator)) == 3)
            await edge.traffic.drain(within_s=0.05)
            for answer in await asyncio.gather(*answers):
                events = events_of(answer.content)
                assert events[-1] == "[DONE]"
                assert events[-2]["error"]["code"] == "server_shutdown"

        assert {record.outcome for record in rig.ledger.records} == {Outcome.GATEWAY_SHUTDOWN}
        assert len(rig.ledger.records) == 3

    async def test_answers_requests_that_wait_with_a_503_that_may_be_repeated(
        self, simulator: Simulator
    ) -> None:
        async with rig_on(simulator, Offer(do="hang")) as rig, served(Edge(rig)) as edge:
            answer = asyncio.create_task(post(edge, chat_json()))
            await until(lambda: len(asked(simulator)) == 1)
            await edge.traffic.drain(within_s=0.05)
            answered = await answer

        assert answered.status_code == 503
        assert error_in(answered.content)["code"] == "server_shutdown"
        assert answered.headers["x-should-retry"] == "true"
        assert rig.ledger.only.outcome is Outcome.GATEWAY_SHUTDOWN


class TestHealthAndModels:
    async def test_the_process_says_that_it_lives_without_a_key(self, edge: Edge) -> None:
        async with edge.client(**{"x-nothing": "here"}) as client:
            answer = await client.get("/healthz")

        assert (answer.status_code, answer.json()) == (200, {"status": "ok"})

    async def test_readiness_is_a_503_with_its_reason(self, edge: Edge) -> None:
        async with edge.client() as client:
            ready = await client.get("/readyz")
            edge.readiness = Readiness(ready=False, reason="shutting down")
            not_ready = await client.get("/readyz")

        assert (ready.status_code, ready.json()) == (200, {"ready": True, "reason": "ok"})
        assert not_ready.status_code == 503
        assert not_ready.json() == {"ready": False, "reason": "shutting down"}

    async def test_models_are_listed_for_the_key_that_asks(self, edge: Edge) -> None:
        other = make_key(lambda count: b"o" * count).text
        edge.let_in(other, allowed_models=("nobody/*",))
        async with edge.client() as client:
            everything = (await client.get("/v1/models")).json()
        async with edge.client(**{"x-api-key": other}) as client:
            nothing = (await client.get("/v1/models")).json()
        async with edge.client(**{"x-nothing": "here"}) as client:
            refused = await client.get("/v1/models")

        assert [model["id"] for model in everything["data"]] == ["acme/large"]
        assert everything["object"] == "list"
        assert nothing["data"] == []
        assert refused.status_code == 401
        assert json.loads(refused.content)["error"]["code"] == "missing_api_key"
        assert "www-authenticate" in refused.headers
