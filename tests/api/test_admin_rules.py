"""Rules over the admin API: for the owner alone, and every mistake told before anything changes."""

from collections.abc import AsyncGenerator, AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest
from anyio.to_thread import run_sync as in_thread

import migrations
from gateway.api.admin.application import admin_app
from gateway.api.admin.guard import Guard
from gateway.api.admin.rules import RulesDesk, admin_rule_routes
from gateway.snapshot.snapshot import Snapshot, SnapshotHolder
from gateway.storage.asking import Asker
from tests.api.edge import error_in
from tests.routing.factories import make_catalogue_of, make_endpoint
from tests.routing.rules.applying import rule, rules_of

pytestmark = pytest.mark.anyio

OWNER = {"authorization": "Bearer owner-token-0123456789"}
GOOD = rule('sort = "price"', 'models = ["openai/*"]', name="good")
OTHER = rule('sort = "latency"', name="other")
BAD = rule('sortt = "price"', name="bad")
HOPELESS = rule('tighten = { only = ["azzure"] }', name="hopeless")
DOUBTFUL = rule('sort = "price"', 'models = ["openai/gpt-4p"]', name="doubtful")


@asynccontextmanager
async def desk_on(dsn: str, path: Path | None = None) -> AsyncGenerator[httpx.AsyncClient]:
    ask = Asker(dsn, within_s=5.0, application_name="tests")
    catalogue = make_catalogue_of(make_endpoint("azure", "openai/gpt-4o"))
    snapshots = SnapshotHolder(Snapshot(catalogue=catalogue, rules=rules_of(GOOD)))
    app = admin_app(
        admin_rule_routes(RulesDesk(ask, snapshots, path)),
        Guard("owner-token-0123456789"),
    )
    transport = httpx.ASGITransport(app=app)  # pyright: ignore[reportArgumentType] - one protocol, two spellings
    async with httpx.AsyncClient(
        transport=transport, base_url="http://admin", headers=OWNER
    ) as client:
        yield client
    await ask.aclose()


@pytest.fixture
async def dsn(anyio_backend: str, postgres_dsn: Callable[..., str]) -> str:
    dsn = postgres_dsn()
    await in_thread(migrations.upgrade, dsn)
    return dsn


@pytest.fixture
async def admin(dsn: str) -> AsyncIterator[httpx.AsyncClient]:
    async with desk_on(dsn) as client:
        yield client


async def send(admin: httpx.AsyncClient, path: str, text: str, **more: Any) -> httpx.Response:
    return await admin.post(f"/admin/rules{path}", json={"source": text} | more)


async def test_the_owner_token_is_needed(admin: httpx.AsyncClient) -> None:
    for method, path in (("GET", ""), ("POST", ""), ("POST", "/check"), ("POST", "/rollback")):
        answer = await admin.request(method, f"/admin/rules{path}", headers={"authorization": ""})
        assert answer.status_code == 401


async def test_a_check_tells_every_mistake_and_changes_nothing(admin: httpx.AsyncClient) -> None:
    bad = (await send(admin, "/check", BAD)).json()
    doubtful = (await send(admin, "/check", DOUBTFUL)).json()

    assert not bad["valid"]
    assert bad["problems"][0]["line"] == 4
    assert bad["problems"][0]["rule"] == "bad"
    assert doubtful["valid"]
    assert doubtful["version"] == rules_of(DOUBTFUL).version
    assert [one["severity"] for one in doubtful["problems"]] == ["warning"]
    assert (await admin.get("/admin/rules/history")).json() == {"data": [], "active": None}


async def test_a_difference_is_to_what_is_in_force(admin: httpx.AsyncClient) -> None:
    found = (await send(admin, "/diff", OTHER)).json()

    assert [(one["rule"], one["kind"]) for one in found["changes"]] == [
        ("good", "removed"),
        ("other", "added"),
    ]


@pytest.mark.parametrize(("text", "line"), [(BAD, 4), (HOPELESS, 4)], ids=["wrong", "hopeless"])
async def test_what_has_a_mistake_is_not_applied(
    admin: httpx.AsyncClient, text: str, line: int
) -> None:
    answer = await send(admin, "", text)

    assert answer.status_code == 400
    error = error_in(answer.content)
    assert error["code"] == "invalid_rules"
    assert f"rules.toml:{line}: rule" in error["message"]
    assert (await admin.get("/admin/rules/history")).json() == {"data": [], "active": None}


async def test_versions_are_applied_listed_and_rolled_back(admin: httpx.AsyncClient) -> None:
    first = (await send(admin, "", GOOD, comment="begin")).json()
    second = (await send(admin, "", OTHER)).json()
    back = (await admin.post("/admin/rules/rollback")).json()
    missing = await admin.post("/admin/rules/rollback?number=4711")

    history = (await admin.get("/admin/rules/history")).json()["data"]
    assert [one["number"] for one in history] == [second["number"], first["number"]]
    assert back["number"] == first["number"]
    assert history[1]["is_active"]
    assert history[1]["comment"] == "begin"
    older = {"before": second["number"], "limit": 1}
    assert (await admin.get("/admin/rules/history", params=older)).json()["data"] == history[1:]
    newest = (await admin.get("/admin/rules/history", params={"limit": 1})).json()
    assert newest == {"data": history[:1], "active": history[1]}
    assert missing.status_code == 404


async def test_where_a_file_holds_the_database_is_not_changed(dsn: str, tmp_path: Path) -> None:
    path = tmp_path / "rules.toml"
    async with desk_on(dsn, path) as admin:
        applied = await send(admin, "", GOOD)
        rolled = await admin.post("/admin/rules/rollback")
        shown = (await admin.get("/admin/rules")).json()

    assert applied.status_code == rolled.status_code == 409
    assert str(path) in error_in(applied.content)["message"]
    assert (shown["origin"], shown["path"]) == ("file", str(path))
    assert [one["name"] for one in shown["rules"]] == ["good"]
