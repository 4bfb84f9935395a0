"""The admin API over a real Postgres: for the owner alone, and clear when something is wrong."""

import json
import socket
from collections.abc import AsyncGenerator, AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import httpx
import pytest

import migrations
from gateway.api.admin.application import admin_app
from gateway.api.admin.guard import Guard
from gateway.api.admin.keys import admin_key_routes
from gateway.api.health import Readiness, health_routes
from gateway.domain.keys import parse_key
from gateway.storage.asking import Asker
from tests.api.edge import error_in

pytestmark = pytest.mark.anyio

TOKEN = "owner-token-0123456789"
OWNER = {"authorization": f"Bearer {TOKEN}"}


@pytest.fixture(scope="module")
def dsn(postgres_dsn: Callable[..., str]) -> str:
    dsn = postgres_dsn()
    migrations.upgrade(dsn)
    return dsn


@asynccontextmanager
async def admin_on(url: str, *, within_s: float = 5.0) -> AsyncGenerator[httpx.AsyncClient]:
    ask = Asker(url, within_s=within_s, application_name="tests")
    app = admin_app(
        [
            *admin_key_routes(ask, b"pepper"),
            *health_routes(lambda: Readiness(ready=True)),
        ],
        Guard(TOKEN),
    )
    transport = httpx.ASGITransport(app=app)  # pyright: ignore[reportArgumentType] - one protocol, two spellings
    async with httpx.AsyncClient(transport=transport, base_url="http://admin") as client:
        yield client
    await ask.aclose()


@pytest.fixture
async def admin(anyio_backend: str, dsn: str) -> AsyncIterator[httpx.AsyncClient]:
    async with admin_on(dsn) as client:
        yield client


async def create(admin: httpx.AsyncClient, **wish: Any) -> Any:
    return await admin.post("/admin/keys", json={"name": "one"} | wish, headers=OWNER)


async def test_a_key_is_shown_once_listed_without_its_text_and_revoked(
    admin: httpx.AsyncClient,
) -> None:
    made = await create(admin, labels={"team": "one"}, allowed_models=["acme/*"])
    assert made.status_code == 201
    text, key = made.json()["text"], made.json()["key"]
    assert parse_key(text) is not None
    assert (key["name"], key["labels"], key["allowed_models"]) == (
        "one",
        {"team": "one"},
        ["acme/*"],
    )

    listed = await admin.get("/admin/keys", headers=OWNER)
    assert key["kid"] in [entry["kid"] for entry in listed.json()["data"]]
    assert text not in listed.text
    assert text[14:46] not in listed.text

    revoked = await admin.delete(f"/admin/keys/{key['kid']}", headers=OWNER)
    assert revoked.status_code == 200
    assert revoked.json()["revoked_at"]
    again = await admin.delete(f"/admin/keys/{key['kid']}", headers=OWNER)
    assert again.json()["revoked_at"] == revoked.json()["revoked_at"]


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"authorization": "Bearer"},
        {"authorization": "Bearer wrong"},
        {"authorization": f"Basic {TOKEN}"},
        {"authorization": TOKEN},
        {"authorization": f"Bearer {TOKEN}x"},
        {"authorization": "Bearer \xff"},
        {"x-api-key": TOKEN},
    ],
)
async def test_whoever_does_not_show_the_token_is_kept_out_of_everything(
    admin: httpx.AsyncClient, headers: dict[str, str]
) -> None:
    raw = [(name.encode(), value.encode("latin-1")) for name, value in headers.items()]
    for method, path in (
        ("GET", "/admin/keys"),
        ("POST", "/admin/keys"),
        ("DELETE", "/admin/keys/abcdefgh"),
        ("GET", "/schema/openapi.json"),
    ):
        answer = await admin.request(method, path, headers=raw)
        assert answer.status_code == 401, (method, path)
        assert error_in(answer.content)["code"] == "not_signed_in"
        assert TOKEN not in answer.text


async def test_health_needs_no_token(admin: httpx.AsyncClient) -> None:
    assert (await admin.get("/healthz")).status_code == 200
    assert (await admin.get("/readyz")).status_code == 200


@pytest.mark.parametrize(
    ("wish", "words"),
    [
        ({"name": ""}, "name: give 1 to 128 characters"),
        ({"name": "x\0"}, "name: must not hold"),
        ({"name": "x\ny"}, "name: must not hold line breaks"),
        ({"expires_at": "9999-12-31T23:59:59-12:00"}, "expires_at: give a time before"),
        ({"labels": {"team": "x" * 300}}, "labels.team"),
        ({"expires_at": "2020-01-01T00:00:00Z"}, "expires_at: lies in the past"),
        ({"expires_at": "2099-01-01T00:00:00"}, "expires_at: give the time with its zone"),
        ({"name": 7}, "name"),
        ({"nmae": "x"}, "nmae"),
        ({"expires_at": "tomorrow"}, "expires_at"),
    ],
)
async def test_a_wrong_wish_is_a_400_that_names_the_field(
    admin: httpx.AsyncClient, wish: dict[str, Any], words: str
) -> None:
    answer = await create(admin, **wish)

    assert answer.status_code == 400
    assert words in error_in(answer.content)["message"]


@pytest.mark.parametrize("body", [b"", b"{", b"[]", b"\xff"])
async def test_what_is_no_wish_at_all_is_a_400(admin: httpx.AsyncClient, body: bytes) -> None:
    headers = OWNER | {"content-type": "application/json"}
    answer = await admin.post("/admin/keys", content=body, headers=headers)

    assert answer.status_code == 400
    assert error_in(answer.content)["type"] == "invalid_request_error"


async def test_an_unknown_key_is_a_404_that_says_where_to_look(
    admin: httpx.AsyncClient,
) -> None:
    answer = await admin.delete("/admin/keys/nobody00", headers=OWNER)

    assert answer.status_code == 404
    assert "GET /admin/keys lists them" in error_in(answer.content)["message"]


async def test_without_postgres_it_says_so_and_does_not_hang() -> None:
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        silent.listen()
        url = f"postgresql://u:p@127.0.0.1:{silent.getsockname()[1]}/d"
        async with admin_on(url, within_s=0.2) as admin:
            for answer in (await admin.get("/admin/keys", headers=OWNER), await create(admin)):
                assert answer.status_code == 503
                assert json.loads(answer.content)["error"]["code"] == "database_unavailable"
                assert answer.headers["retry-after"] == "5"


async def test_a_key_is_changed_and_found_page_by_page(admin: httpx.AsyncClient) -> None:
    made = [
        (await create(admin, name=f"paged {number}")).json()["key"]["kid"] for number in range(3)
    ]
    what = {"labels": {"team": "paged"}, "requests_per_minute": 9}
    changed = await admin.patch(f"/admin/keys/{made[0]}", json=what, headers=OWNER)
    assert changed.status_code == 200
    assert changed.json()["labels"] == {"team": "paged"}
    one = await admin.get(f"/admin/keys/{made[0]}", headers=OWNER)
    assert one.json() == changed.json()

    asked = {"search": "paged", "limit": 2, "state": "working"}
    first = (await admin.get("/admin/keys", params=asked, headers=OWNER)).json()
    rest = (
        await admin.get("/admin/keys", params=asked | {"after": first["next_after"]}, headers=OWNER)
    ).json()

    assert [key["kid"] for key in first["data"] + rest["data"]] == made[::-1]
    assert rest["next_after"] is None


@pytest.mark.parametrize(
    ("what", "words"),
    [
        ({"kid": "abcdefgh"}, "kid"),
        ({"name": ""}, "name: give 1 to 128 characters"),
        ({"requests_per_minute": 0}, "requests_per_minute: give a number"),
        ({"expires_at": "2020-01-01T00:00:00Z"}, "expires_at: lies in the past"),
    ],
)
async def test_a_change_that_cannot_be_is_refused_naming_the_field(
    admin: httpx.AsyncClient, what: dict[str, Any], words: str
) -> None:
    kid = (await create(admin)).json()["key"]["kid"]

    refused = await admin.patch(f"/admin/keys/{kid}", json=what, headers=OWNER)

    assert refused.status_code == 400
    assert words in error_in(refused.content)["message"]


async def test_keys_that_are_not_there_are_not_found(admin: httpx.AsyncClient) -> None:
    for method, path in (("GET", "/admin/keys/nothing1"), ("PATCH", "/admin/keys/nothing1")):
        answer = await admin.request(method, path, headers=OWNER, json={"name": "x"})
        assert answer.status_code == 404, method
        assert error_in(answer.content)["code"] == "key_not_found"
    read_on = await admin.get("/admin/keys", params={"after": "nothing1"}, headers=OWNER)
    assert read_on.status_code == 400
    assert error_in(read_on.content)["param"] == "after"
