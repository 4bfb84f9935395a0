"""Name resolution that cannot hold anything up, and the guard against names that change."""

import asyncio
import socket
import threading
from collections.abc import Callable
from typing import Any

import httpx
import pytest

from gateway.execution import resolver
from gateway.execution.egress import make_policy
from gateway.execution.resolver import BoundedResolver
from gateway.execution.transport import AiohttpTransport, EgressRefusedError
from tests.execution.raw_server import ANSWER, Peer, post, read, serve

pytestmark = pytest.mark.anyio

Answer = Callable[[str], list[str]]


def answer_look_ups(monkeypatch: pytest.MonkeyPatch, addresses_of: Answer) -> None:
    def getaddrinfo(host: str, port: int, **_: Any) -> list[Any]:
        return [
            (socket.AF_INET, socket.SOCK_STREAM, 6, "", (address, port))
            for address in addresses_of(host)
        ]

    monkeypatch.setattr(resolver.socket, "getaddrinfo", getaddrinfo)


async def test_name_is_resolved_off_the_loop(monkeypatch: pytest.MonkeyPatch) -> None:
    threads: list[str] = []

    def addresses_of(_host: str) -> list[str]:
        threads.append(threading.current_thread().name)
        return ["192.0.2.1", "192.0.2.2"]

    answer_look_ups(monkeypatch, addresses_of)
    names = BoundedResolver()

    found = await names.resolve("models.example", 443)

    assert [entry["host"] for entry in found] == ["192.0.2.1", "192.0.2.2"]
    assert {entry["port"] for entry in found} == {443}
    assert threads[0].startswith("resolver")
    await names.close()


async def test_last_good_addresses_stand_in_while_look_ups_hang(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    may_end = threading.Event()
    is_stuck = False

    def addresses_of(_host: str) -> list[str]:
        if is_stuck:
            may_end.wait(10)
        return ["192.0.2.1"]

    answer_look_ups(monkeypatch, addresses_of)
    monkeypatch.setattr(resolver, "LOOKUP_TIMEOUT_S", 0.05)
    names = BoundedResolver()
    await names.resolve("known.example", 443)
    is_stuck = True

    try:
        again = await names.resolve("known.example", 443)
        with pytest.raises(OSError, match=r"other\.example"):
            await names.resolve("other.example", 443)
    finally:
        may_end.set()
        await names.close()

    assert [entry["host"] for entry in again] == ["192.0.2.1"]


async def test_name_that_does_not_exist_is_final(monkeypatch: pytest.MonkeyPatch) -> None:
    is_gone = False

    def addresses_of(_host: str) -> list[str]:
        if is_gone:
            raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")
        return ["192.0.2.1"]

    answer_look_ups(monkeypatch, addresses_of)
    names = BoundedResolver()
    await names.resolve("known.example", 443)
    is_gone = True

    with pytest.raises(socket.gaierror):
        await names.resolve("known.example", 443)
    await names.close()


@pytest.mark.parametrize("host", ["metadata.google.internal", "rebound.example"])
async def test_name_that_points_inside_is_refused(
    monkeypatch: pytest.MonkeyPatch, host: str
) -> None:
    answer_look_ups(monkeypatch, lambda _host: ["169.254.169.254", "10.0.0.1", "127.0.0.1"])
    transport = AiohttpTransport()

    with pytest.raises(EgressRefusedError):
        await transport.handle_async_request(post(httpx.URL(f"http://{host}/")))
    await transport.aclose()


async def test_inside_addresses_of_a_mixed_answer_are_passed_over(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async def script(peer: Peer) -> None:
        await peer.read_request()
        await peer.say(ANSWER)

    async with serve(script) as server:
        answer_look_ups(monkeypatch, lambda _host: ["10.0.0.1", "127.0.0.1"])
        transport = AiohttpTransport(policy=make_policy(allowed_networks=["127.0.0.1/32"]))

        response = await transport.handle_async_request(
            post(httpx.URL(f"http://mixed.example:{server.port}/"))
        )

        assert await read(response) == b"{}"
        await transport.aclose()


async def test_look_ups_are_shared_by_requests_to_one_host(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[str] = []

    def addresses_of(host: str) -> list[str]:
        asked.append(host)
        return ["127.0.0.1"]

    async def script(peer: Peer) -> None:
        await peer.read_request()
        await peer.say(ANSWER)

    async with serve(script) as server:
        answer_look_ups(monkeypatch, addresses_of)
        url = httpx.URL(f"http://models.example:{server.port}/")
        transport = AiohttpTransport(policy=make_policy([str(url)]))

        async def one() -> bytes:
            return await read(await transport.handle_async_request(post(url)))

        assert await asyncio.gather(*(one() for _ in range(20))) == [b"{}"] * 20
        assert asked == ["models.example"]
        await transport.aclose()
