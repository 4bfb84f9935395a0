"""Request ids on every answer, and which pages a browser lets call."""

import asyncio
import io
import logging
from collections.abc import AsyncIterator
from pathlib import Path

import httpx
import pytest

from gateway.processes.logs import make_handler
from gateway.settings.load import SettingsError, load_settings
from gateway.settings.values import Flags
from gateway.simulator.server import Simulator
from tests.api.edge import CHAT, Edge, chat_json, served, wire_to
from tests.pipeline.rig import Offer, rig_on

pytestmark = pytest.mark.anyio
JSON = {"content-type": "application/json"}
HOME = "https://app.example.com"
ELSEWHERE = "https://evil.example.com"


async def chat(edge: Edge, body: bytes = b"", **headers: str) -> httpx.Response:
    async with edge.client() as client:
        return await client.post(CHAT, content=body or chat_json(), headers=JSON | headers)


class TestARequestId:
    async def test_of_the_caller_comes_back_on_answers_streams_and_errors(self, edge: Edge) -> None:
        mine = {"x-request-id": "my-id_1 (again)"}
        for body in (chat_json(), chat_json(stream=True), b"{"):
            answer = await chat(edge, body, **mine)
            assert answer.headers.get_list("x-request-id") == ["my-id_1 (again)"]

    @pytest.mark.parametrize(
        "path", ["/healthz", "/v1/models", "/nope", CHAT, "/api/v1/generation"]
    )
    async def test_is_made_where_none_was_sent(self, edge: Edge, path: str) -> None:
        async with edge.client() as client:
            ids = [(await client.get(path)).headers["x-request-id"] for _ in range(2)]

        assert len(set(ids)) == 2
        assert all(one.startswith("req-") for one in ids)

    @pytest.mark.parametrize("sent", [b"", b"x" * 129, b"caf\xc3\xa9", b"a\tb"])
    async def test_that_is_none_is_replaced(self, edge: Edge, sent: bytes) -> None:
        async with wire_to(edge) as wire:
            await wire.say(
                b"GET /healthz HTTP/1.1\r\nHost: gateway\r\nX-Request-Id: " + sent + b"\r\n\r\n"
            )
            _, headers, _ = await wire.hear()

        assert headers["x-request-id"].startswith("req-")

    async def test_cannot_smuggle_a_header(self, edge: Edge) -> None:
        async with wire_to(edge) as wire:
            await wire.say(
                b"GET /healthz HTTP/1.1\r\nHost: gateway\r\nX-Request-Id: a\rX-Evil: b\r\n\r\n"
            )
            heard = await wire.hear_until(b"\r\n\r\n")

        assert b"x-evil" not in heard.lower()

    async def test_stands_in_the_log_beside_the_failure_of_its_own_request(self) -> None:
        begun = asyncio.Barrier(2)

        class Broken(httpx.AsyncBaseTransport):
            async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
                # Neither fails before both are there, so that one could take the other's id.
                await begun.wait()
                raise ZeroDivisionError(request.headers["user-agent"])

        lines = io.StringIO()
        handler = make_handler(lines)
        logger = logging.getLogger("tollway")
        logger.addHandler(handler)
        try:
            async with rig_on(None, Offer(), transport=Broken()) as rig, served(Edge(rig)) as edge:
                answers = await asyncio.gather(
                    *(
                        chat(edge, chat_json(), **{"x-request-id": name})
                        for name in ("first", "second")
                    )
                )
            logger.warning("in between")
        finally:
            logger.removeHandler(handler)

        assert [answer.status_code for answer in answers] == [500, 500]
        said = [line for line in lines.getvalue().splitlines() if " tollway.api: " in line]
        assert sorted(line.rpartition(" ")[2] for line in said) == ["[first]", "[second]"]
        assert lines.getvalue().endswith("tollway: in between\n")


class TestABrowser:
    @pytest.fixture
    async def open_edge(self, simulator: Simulator) -> AsyncIterator[Edge]:
        async with (
            rig_on(simulator, Offer(do="text=hello")) as rig,
            served(Edge(rig, cors_origins=(HOME,))) as running,
        ):
            yield running

    async def preflight(self, edge: Edge, origin: str, path: str = CHAT) -> httpx.Response:
        async with edge.client(origin=origin) as client:
            return await client.options(
                path,
                headers={
                    "access-control-request-method": "POST",
                    "access-control-request-headers": "authorization,content-type,x-stainless-os",
                },
            )

    async def test_is_let_in_from_a_configured_page(self, open_edge: Edge) -> None:
        asked = await self.preflight(open_edge, HOME)
        answer = await chat(open_edge, origin=HOME)

        assert asked.status_code == 204
        assert asked.headers["access-control-allow-origin"] == HOME
        assert "POST" in asked.headers["access-control-allow-methods"]
        assert "x-stainless-os" in asked.headers["access-control-allow-headers"]
        assert asked.headers["vary"] == "Origin"
        assert answer.status_code == 200
        assert answer.headers["access-control-allow-origin"] == HOME
        exposed = answer.headers["access-control-expose-headers"].lower().split(", ")
        ours = [name for name in answer.headers if name.startswith(("x-tollway", "x-gen", "x-req"))]
        assert set(ours) <= set(exposed)

    async def test_may_read_errors_too(self, open_edge: Edge) -> None:
        for answer in (
            await chat(open_edge, b"{", origin=HOME),
            await chat(open_edge, origin=HOME),
        ):
            assert answer.headers["access-control-allow-origin"] == HOME
        async with open_edge.client(origin=HOME) as client:
            refused = await client.get("/v1/models")
        assert refused.status_code == 401
        assert refused.headers["access-control-allow-origin"] == HOME

    async def test_is_not_let_in_from_any_other_page(self, open_edge: Edge) -> None:
        asked = await self.preflight(open_edge, ELSEWHERE)
        answer = await chat(open_edge, origin=ELSEWHERE)

        for heard in (asked, answer):
            assert "access-control-allow-origin" not in heard.headers
            assert "access-control-allow-methods" not in heard.headers
        assert answer.headers["vary"] == "Origin"

    async def test_is_not_let_in_at_all_unless_that_is_configured(self, edge: Edge) -> None:
        asked = await self.preflight(edge, HOME)
        answer = await chat(edge, origin=HOME)

        for heard in (asked, answer):
            assert not [name for name in heard.headers if name.startswith("access-control")]

    async def test_of_every_page_is_let_in_under_a_star(self, simulator: Simulator) -> None:
        async with (
            rig_on(simulator, Offer(do="text=hello")) as rig,
            served(Edge(rig, cors_origins=("*",))) as edge,
        ):
            asked = await self.preflight(edge, ELSEWHERE)
            answer = await chat(edge, origin=ELSEWHERE)

        for heard in (asked, answer):
            assert heard.headers["access-control-allow-origin"] == "*"
            assert "access-control-allow-credentials" not in heard.headers

    async def test_without_an_origin_nothing_changes(self, open_edge: Edge) -> None:
        answer = await chat(open_edge)

        assert not [name for name in answer.headers if name.startswith("access-control")]


@pytest.mark.parametrize(
    ("origins", "is_right"),
    [
        ('["https://app.example.com"]', True),
        ('["http://localhost:3000", "http://[::1]:8080"]', True),
        ('["*"]', True),
        ("[]", True),
        ('["https://app.example.com/"]', False),
        ('["app.example.com"]', False),
        ('["https://*.example.com"]', False),
        ('["https://App.example.com"]', False),
        ('"https://app.example.com"', False),
    ],
)
def test_origins_are_configured_as_browsers_write_them(
    tmp_path: Path, origins: str, is_right: bool
) -> None:
    path = tmp_path / "tollway.toml"
    path.write_text(f"[cors]\norigins = {origins}\n")
    if is_right:
        load_settings(Flags(config=path), environment={})
    else:
        with pytest.raises(SettingsError, match="cors"):
            load_settings(Flags(config=path), environment={})
