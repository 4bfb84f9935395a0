import asyncio
from typing import Any

import pytest
from starlette.datastructures import Headers

from dashboard.gate import Gate, content_security_policy, is_from_here


@pytest.mark.parametrize(
    ("host", "origin", "expected"),
    [
        ("127.0.0.1:8501", None, True),
        ("localhost:8501", "http://localhost:8501", True),
        ("[::1]:8501", "http://[::1]:8501", True),
        pytest.param("evil.example:8501", None, False, id="rebound-name"),
        pytest.param("127.0.0.1:8501", "http://evil.example", False, id="foreign-page"),
        pytest.param("127.0.0.1:8501", "http://127.0.0.1:9000", False, id="another-port"),
        pytest.param("127.0.0.1:8501", "null", False, id="sandboxed-page"),
        pytest.param("", None, False, id="no-host"),
        pytest.param("[", None, False, id="broken-host"),
    ],
)
def test_only_this_machines_own_pages_come_in(
    host: str, origin: str | None, expected: bool
) -> None:
    headers = {"host": host} | ({} if origin is None else {"origin": origin})

    assert is_from_here(Headers(headers)) is expected


def test_pages_may_load_from_here_alone() -> None:
    policy = content_security_policy()

    assert "default-src 'self'" in policy
    assert "'sha256-" in policy
    assert "unsafe-eval" not in policy
    assert "http" not in policy


@pytest.mark.parametrize("kind", ["http", "websocket"])
def test_strangers_are_refused_on_pages_and_sockets(kind: str) -> None:
    sent = _ask(kind, host=b"evil.example")

    if kind == "http":
        assert sent[0]["status"] == 403
    else:
        assert sent[0]["type"] == "websocket.close"


def test_every_page_carries_the_policy() -> None:
    sent = _ask("http", host=b"127.0.0.1:8501")

    assert b"content-security-policy" in dict(sent[0]["headers"])


def _ask(kind: str, *, host: bytes) -> list[dict[str, Any]]:
    sent: list[dict[str, Any]] = []

    async def inner(scope: Any, receive: Any, send: Any) -> None:
        await send({"type": f"{kind}.response.start", "status": 200, "headers": []})

    async def receive() -> dict[str, Any]:
        return {"type": f"{kind}.request"}

    async def send(message: Any) -> None:
        sent.append(message)

    scope = {"type": kind, "method": "GET", "path": "/", "headers": [(b"host", host)]}
    asyncio.run(Gate(inner)(scope, receive, send))
    return sent
