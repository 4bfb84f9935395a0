"""A request that is sent twice under one key is answered once."""

import asyncio
import uuid

import httpx
import pytest

from gateway.answers import WholeAnswer
from gateway.api.idempotency import KEEP_S, MAX_ANSWER_BYTES, Idempotency
from gateway.api.paths import CHAT_PATHS
from gateway.domain.errors import GatewayError, InvalidRequestError
from gateway.domain.keys import make_key
from gateway.simulator.server import Simulator
from tests.api.edge import CHAT, Edge, chat_json, served
from tests.pipeline.rig import Offer, asked, rig_on, until

pytestmark = pytest.mark.anyio
JSON = {"content-type": "application/json"}
KEY_ID = uuid.UUID(int=1)


async def post(edge: Edge, body: bytes, once: str, path: str = CHAT) -> httpx.Response:
    async with edge.client() as client:
        headers = JSON | {"idempotency-key": once}
        return await client.post(path, content=body, headers=headers)


class TestOverHttp:
    async def test_a_repeat_gets_the_same_answer_and_is_not_paid_for(
        self, edge: Edge, simulator: Simulator
    ) -> None:
        first = await post(edge, chat_json(), "one")
        second = await post(edge, chat_json(), "one")

        assert (first.status_code, second.status_code) == (200, 200)
        assert second.content == first.content
        assert "idempotency-replayed" not in first.headers
        assert second.headers["idempotency-replayed"] == "true"
        for name in ("x-generation-id", "x-tollway-cost-usd", "content-type"):
            assert second.headers[name] == first.headers[name]
        assert second.headers["x-request-id"] != first.headers["x-request-id"]
        assert len(asked(simulator)) == 1
        assert len(edge.rig.ledger.records) == 1

    async def test_another_body_or_path_under_the_same_key_is_a_422(self, edge: Edge) -> None:
        await post(edge, chat_json(), "one")
        other_body = await post(edge, chat_json(temperature=1), "one")
        other_path = await post(edge, chat_json(), "one", "/api/v1/chat/completions")

        assert (other_body.status_code, other_path.status_code) == (422, 422)
        assert other_body.json()["error"]["code"] == "idempotency_key_reused"

    async def test_another_api_key_has_idempotency_keys_of_its_own(
        self, edge: Edge, simulator: Simulator
    ) -> None:
        other = make_key(lambda count: b"o" * count).text
        edge.let_in(other)
        await post(edge, chat_json(), "one")
        async with edge.client(**{"x-api-key": other, "idempotency-key": "one"}) as client:
            answer = await client.post(CHAT, content=chat_json(temperature=1), headers=JSON)

        assert answer.status_code == 200
        assert len(asked(simulator)) == 2

    async def test_a_repeat_while_the_first_is_open_is_a_409(self, simulator: Simulator) -> None:
        async with rig_on(simulator, Offer(do="hang")) as rig, served(Edge(rig)) as edge:
            first = asyncio.create_task(post(edge, chat_json(), "one"))
            await until(lambda: len(asked(simulator)) == 1)
            second = await post(edge, chat_json(), "one")
            await edge.traffic.drain(within_s=0.0)
            await first

        assert second.status_code == 409
        assert second.json()["error"]["code"] == "idempotent_request_open"
        assert second.headers["retry-after"] == "1"
        assert len(asked(simulator)) == 1

    async def test_after_an_error_the_key_may_be_used_again(self, simulator: Simulator) -> None:
        async with rig_on(simulator, Offer(do="500")) as rig, served(Edge(rig)) as edge:
            first = await post(edge, chat_json(), "one")
            before = len(asked(simulator))
            second = await post(edge, chat_json(temperature=1), "one")

        assert (first.status_code, second.status_code) == (502, 502)
        assert len(asked(simulator)) > before

    @pytest.mark.parametrize("path", CHAT_PATHS)
    async def test_a_stream_with_a_key_is_refused_clearly(self, edge: Edge, path: str) -> None:
        answer = await post(edge, chat_json(stream=True), "one", path)

        assert answer.status_code in {400, 422}
        assert "in one piece" in answer.text

    @pytest.mark.parametrize("once", ["", "x" * 256, "\u00fc"])
    async def test_what_is_no_key_is_a_400(self, edge: Edge, once: str) -> None:
        async with edge.client() as client:
            raw = [(b"content-type", b"application/json"), (b"idempotency-key", once.encode())]
            answer = await client.post(CHAT, content=chat_json(), headers=raw)

        assert answer.status_code == 400
        assert answer.json()["error"]["param"] == "Idempotency-Key"


def answer_of(size: int) -> WholeAnswer:
    return WholeAnswer(status=200, headers=[("a", "b")], body=b"x" * size)


class TestTheMemory:
    async def ask(self, memory: Idempotency, key: str, size: int = 10) -> bool:
        """Whether the answer was made anew."""
        made = False

        async def answer() -> WholeAnswer:
            nonlocal made
            made = True
            return answer_of(size)

        await memory.once(KEY_ID, key, ("/", b"{}"), answer)
        return made

    async def test_forgets_after_a_day(self) -> None:
        now_s = 0.0
        memory = Idempotency(clock=lambda: now_s)
        assert await self.ask(memory, "one")
        now_s = KEEP_S - 1
        assert not await self.ask(memory, "one")
        now_s = KEEP_S
        assert await self.ask(memory, "one")
        assert len(memory) == 1
        assert memory.kept_bytes == 10

    async def test_holds_only_so_many_and_the_oldest_go_first(self) -> None:
        memory = Idempotency(max_entries=3)
        for number in range(5):
            await self.ask(memory, str(number))

        assert len(memory) == 3
        assert not await self.ask(memory, "4")
        assert await self.ask(memory, "0")

    async def test_holds_only_so_many_bytes(self) -> None:
        memory = Idempotency(max_kept_bytes=100)
        for number in range(20):
            await self.ask(memory, str(number), size=30)

        assert memory.kept_bytes <= 100
        assert not await self.ask(memory, "19", size=30)

    async def test_does_not_keep_a_huge_answer_and_does_not_make_it_twice(self) -> None:
        memory = Idempotency()
        assert await self.ask(memory, "one", size=MAX_ANSWER_BYTES + 1)

        assert memory.kept_bytes == 0
        with pytest.raises(GatewayError, match="larger than") as caught:
            await self.ask(memory, "one")
        assert caught.value.status == 409
        assert caught.value.should_retry is False

    async def test_a_request_that_was_cancelled_leaves_nothing(self) -> None:
        memory = Idempotency()

        async def cancelled() -> WholeAnswer:
            raise asyncio.CancelledError

        with pytest.raises(asyncio.CancelledError):
            await memory.once(KEY_ID, "one", ("/", b"{}"), cancelled)

        assert len(memory) == 0

    async def test_never_forgets_a_request_that_is_open(self) -> None:
        memory = Idempotency(max_entries=1)
        go_on = asyncio.Event()

        async def slow() -> WholeAnswer:
            await go_on.wait()
            return answer_of(1)

        first = asyncio.create_task(memory.once(KEY_ID, "one", ("/", b"{}"), slow))
        await asyncio.sleep(0)
        await self.ask(memory, "two")
        with pytest.raises(GatewayError, match="still being answered"):
            await self.ask(memory, "one")
        go_on.set()
        await first

    async def test_tells_bodies_from_paths(self) -> None:
        memory = Idempotency()
        await memory.once(KEY_ID, "one", ("/a", b"b"), _ready)
        with pytest.raises(InvalidRequestError):
            await memory.once(KEY_ID, "one", ("/", b"ab"), _ready)


async def _ready() -> WholeAnswer:
    return answer_of(1)
