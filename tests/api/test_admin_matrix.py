"""Every route of a worker's admin listener against every role, and against what the docs say."""

import re
from collections.abc import AsyncGenerator, Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import httpx
import pytest

import migrations
from gateway.api.roles import declared_routes
from gateway.app import Place, Worker, create_app
from gateway.domain.principal import ROLES, Role
from gateway.settings.load import load_settings
from gateway.settings.values import Flags
from gateway.storage.asking import Asker
from gateway.storage.engine import Connection
from gateway.storage.sessions import begin_session
from gateway.storage.users import StoredUser, create_user

pytestmark = pytest.mark.anyio

DOCS = Path(__file__).parents[2] / "docs/admin.md"
ROW = re.compile(r"^\| `([A-Z]+) (/\S+)` \| (\w+) \|", re.MULTILINE)
UNLIKE_HERE = {"checkPriceChange", "changePrice", "previewPriceChange", "changeOwnPassword"}
"""Their examples are about endpoints and users that this installation does not have."""
OWNER = {"authorization": "Bearer owner-token-0123456789"}
EXPONENT = re.compile(r'[:,["]-?\d+(\.\d+)?E[+-]?\d+[],}"]')
RANK: dict[str, int] = {"nobody": 0, "auditor": 1, "operator": 2, "owner": 3}


@pytest.fixture(scope="module")
def dsn(postgres_dsn: Callable[..., str]) -> str:
    dsn = postgres_dsn()
    migrations.upgrade(dsn)
    return dsn


@pytest.fixture
async def worker(anyio_backend: str, dsn: str, tmp_path: Path) -> AsyncGenerator[Worker]:
    settings = load_settings(Flags(data_dir=tmp_path / "data"), environment={}, directory=tmp_path)
    settings.data_dir.mkdir(mode=0o700)
    place = Place(
        worker=0,
        database_url=dsn,
        pepper=b"pepper",
        owner_token="owner-token-0123456789",
        has_admin=True,
        simulated_url="http://127.0.0.1:9",
    )
    worker = create_app(settings, place)
    await worker.start()
    yield worker
    await worker.stop(ship_within_s=0.1)


async def test_every_route_is_open_to_those_it_names_and_shut_to_all_others(
    worker: Worker, dsn: str
) -> None:
    assert worker.admin is not None
    ask = Asker(dsn, within_s=5.0, application_name="tests")
    users = {role: await ask(_creating(role)) for role in ROLES}
    transport = httpx.ASGITransport(app=worker.admin)  # pyright: ignore[reportArgumentType] - one protocol, two spellings
    wrong: list[str] = []

    async with httpx.AsyncClient(transport=transport, base_url="http://admin") as client:
        for method, path, need in declared_routes(worker.admin):
            asked = re.sub(
                r"\{[^}]*:int\}", "1", re.sub(r"\{[^}]*:uuid\}", str(users["owner"].id), path)
            )
            asked = re.sub(r"\{[^}]*\}", "nothing", asked)
            for role in ("nobody", *reversed(ROLES)):
                headers: dict[str, str] = {}
                if role != "nobody":
                    session = await ask(_beginning(users[role]))
                    headers = {"authorization": f"Bearer {session}"}
                answer = await client.request(method, asked, headers=headers)
                refusal = 401 if role == "nobody" else 403
                may = RANK[role] >= RANK[need]
                # What sign-in says without a body is a 400 too: never a refusal of the guard.
                is_refused = answer.status_code == refusal
                if is_refused == may or (not may and answer.status_code != refusal):
                    wrong.append(f"{method} {path} as {role}: {answer.status_code}")
    await ask.aclose()

    assert wrong == []


async def test_the_docs_tell_the_role_of_every_route(worker: Worker) -> None:
    assert worker.admin is not None
    told = {(method, path): need for method, path, need in ROW.findall(DOCS.read_text("utf-8"))}
    true = {
        (method, re.sub(r":\w+\}", "}", path)): need
        for method, path, need in declared_routes(worker.admin)
        if not path.startswith("/schema") or path == "/schema/openapi.json"
    }

    assert told == true


async def test_every_route_of_the_admin_api_is_in_its_document(worker: Worker) -> None:
    assert worker.admin is not None
    paths: dict[str, Any] = worker.admin.openapi_schema.to_schema()["paths"]
    described = {(method.upper(), path) for path, of in paths.items() for method in of}
    served = {
        (method, re.sub(r":\w+\}", "}", path))
        for method, path, _ in declared_routes(worker.admin)
        if path.startswith("/admin")
    }

    assert served <= described
    for path, of in paths.items():
        for method, operation in of.items():
            assert operation.get("summary"), (method, path)
            assert operation.get("description") or not path.startswith("/admin"), (method, path)


async def test_every_body_has_an_example_that_is_read(worker: Worker) -> None:
    assert worker.admin is not None
    paths: dict[str, Any] = worker.admin.openapi_schema.to_schema()["paths"]
    transport = httpx.ASGITransport(app=worker.admin)  # pyright: ignore[reportArgumentType] - one protocol, two spellings
    answered: dict[str, int] = {}

    async with httpx.AsyncClient(transport=transport, base_url="http://admin") as client:
        for path, of in paths.items():
            for method, operation in of.items():
                if "requestBody" not in operation:
                    continue
                content = operation["requestBody"]["content"]["application/json"]
                assert "example" in content, (method, path)
                asked = re.sub(r"\{[^}]*\}", "nothing", path)
                answer = await client.request(
                    method.upper(), asked, json=content["example"], headers=OWNER
                )
                answered[operation["operationId"]] = answer.status_code
                # Not there, not signed in as a user: but never that it cannot be read.
                if answer.status_code == 400:
                    assert answer.json()["error"]["code"] in {"invalid_price", None}, answer.text
                    assert operation["operationId"] in UNLIKE_HERE, (path, answer.text)

    assert {"createKey", "createUser", "applyRules", "signIn"} <= set(answered)


async def test_no_answer_writes_an_amount_with_an_exponent(worker: Worker) -> None:
    assert worker.admin is not None
    transport = httpx.ASGITransport(app=worker.admin)  # pyright: ignore[reportArgumentType] - one protocol, two spellings
    endpoint, since = "simulated-atlas/fast", f"{datetime.now(UTC):%Y-%m-%dT00:00:00}"
    rates = {
        "input_usd_per_mtok": "0.00000002",
        "cache_read_usd_per_mtok": "0.00000001",
        "output_usd_per_mtok": "200",
    }
    sent: tuple[tuple[str, dict[str, Any]], ...] = (
        ("budgets", {"name": "tiny", "limit_usd": "0.00000001", "everyone": True}),
        ("prices/changes", {"kind": "price", "target": endpoint, "rates": rates}),
        (
            "prices/changes",
            {"kind": "discount", "target": "simulated-birch", "factor": "0.0000001"},
        ),
    )
    asked = {"model": endpoint, "endpoint": endpoint, "since": since, "name": "tiny"}
    shown: dict[str, str] = {}

    async with httpx.AsyncClient(
        transport=transport, base_url="http://admin", headers=OWNER
    ) as client:
        for path, body in sent:
            because = {} if path == "budgets" else {"reason": "tiny"}
            answer = await client.post(f"/admin/{path}", json=body | because)
            assert answer.status_code == 201, answer.text
        for method, path, _ in declared_routes(worker.admin):
            if method == "GET":
                named = re.sub(
                    r"\{(\w+)[^}]*\}", lambda found: asked.get(found[1], "nothing"), path
                )
                answer = await client.get(named, params=asked)
                if answer.status_code == 200:
                    shown[path] = answer.text

    assert {"/admin/budgets", "/admin/budgets/{name:str}", "/admin/savings"} <= set(shown)
    assert '"spent_usd":"0"' in shown["/admin/budgets"]
    assert '"limit_usd":"0.00000001"' in shown["/admin/budgets"]
    assert [path for path, text in shown.items() if EXPONENT.search(text)] == []


def _creating(role: Role) -> Callable[[Connection], Any]:
    return lambda connection: create_user(
        connection,
        name=f"the-{role}",
        role=role,
        password_hash="none",
        at=datetime.now(UTC),
        actor="tests",
    )


def _beginning(user: StoredUser) -> Callable[[Connection], Any]:
    async def begin(connection: Connection) -> str:
        session = await begin_session(connection, user.id, at=datetime.now(UTC))
        assert session is not None
        return session.token

    return begin
