"""Users and their sessions over the admin API, on a real Postgres."""

from collections.abc import AsyncGenerator, AsyncIterator, Callable
from contextlib import asynccontextmanager
from datetime import timedelta
from typing import Any

import httpx
import pytest
from litestar import get
from sqlalchemy import select, text, update

import migrations
from gateway.api.admin.application import admin_app
from gateway.api.admin.audit import admin_audit_routes
from gateway.api.admin.guard import Guard
from gateway.api.admin.keys import admin_key_routes
from gateway.api.admin.sessions import OF_ONE_NAME, SessionDesk, admin_session_routes
from gateway.api.admin.users import admin_user_routes
from gateway.api.roles import UndeclaredRouteError, needs
from gateway.storage.asking import Asker
from gateway.storage.sessions import IDLE, LASTS
from gateway.storage.tables import app_session, app_user
from tests.api.edge import NO_DATABASE, error_in

pytestmark = pytest.mark.anyio

TOKEN = "owner-token-0123456789"
OWNER = {"authorization": f"Bearer {TOKEN}"}
PASSWORD = "correct horse battery"


@pytest.fixture(scope="module")
def dsn(postgres_dsn: Callable[..., str]) -> str:
    dsn = postgres_dsn()
    migrations.upgrade(dsn)
    return dsn


class Admin:
    """A client, and the database behind it."""

    def __init__(self, client: httpx.AsyncClient, ask: Asker) -> None:
        self.client = client
        self.ask = ask

    async def send(self, method: str, path: str, token: str = TOKEN, **more: Any) -> httpx.Response:
        return await self.client.request(
            method, path, headers={"authorization": f"Bearer {token}"}, **more
        )

    async def make_user(self, name: str, role: str = "auditor") -> str:
        """Returns the token of a session of theirs."""
        wish = {"name": name, "role": role, "password": PASSWORD}
        made = await self.send("POST", "/admin/users", json=wish)
        assert made.status_code == 201, made.text
        return await self.sign_in(name)

    async def sign_in(self, name: str, password: str = PASSWORD) -> str:
        answer = await self.client.post("/admin/session", json={"name": name, "password": password})
        assert answer.status_code == 201, answer.text
        return answer.json()["token"]

    async def who(self, token: str, **headers: str) -> httpx.Response:
        return await self.client.get(
            "/admin/session", headers={"authorization": f"Bearer {token}"} | headers
        )


@asynccontextmanager
async def admin_on(url: str) -> AsyncGenerator[Admin]:
    ask = Asker(url, within_s=5.0, application_name="tests")
    sessions = SessionDesk(ask)
    app = admin_app(
        [
            *admin_key_routes(ask, b"pepper"),
            *admin_session_routes(sessions),
            *admin_user_routes(ask, sessions),
            *admin_audit_routes(ask),
        ],
        Guard(TOKEN, sessions.find),
    )
    transport = httpx.ASGITransport(app=app)  # pyright: ignore[reportArgumentType] - one protocol, two spellings
    async with httpx.AsyncClient(transport=transport, base_url="http://admin") as client:
        yield Admin(client, ask)
    await ask.aclose()


@pytest.fixture
async def admin(anyio_backend: str, dsn: str) -> AsyncIterator[Admin]:
    async with admin_on(dsn) as found:
        yield found


async def test_a_user_signs_in_is_known_and_signs_out(admin: Admin) -> None:
    token = await admin.make_user("ada", "operator")

    assert (await admin.who(token)).json() == {"name": "ada", "role": "operator"}
    assert (await admin.send("DELETE", "/admin/session", token)).status_code == 204
    ended = await admin.who(token)
    assert ended.status_code == 401
    assert error_in(ended.content)["code"] == "not_signed_in"


async def test_neither_password_nor_token_can_be_found_in_the_database(admin: Admin) -> None:
    token = await admin.make_user("grep")

    async def everything(connection: Any) -> str:
        found = ""
        for table in ("app_user", "app_session", "audit_entry"):
            rows = await connection.execute(text(f"SELECT t::text FROM {table} t"))
            found += "".join(row[0] for row in rows)
        return found

    dump = await admin.ask(everything)
    assert "$argon2id$" in dump
    assert PASSWORD not in dump
    assert token not in dump
    assert token.removeprefix("tws_") not in dump


async def test_a_wrong_password_and_an_unknown_name_are_told_alike(admin: Admin) -> None:
    await admin.make_user("bea")
    await admin.make_user("gone")
    await admin.send("DELETE", "/admin/users/gone")

    told = {
        (await admin.client.post("/admin/session", json={"name": name, "password": word})).text
        for name, word in (("bea", "wrong horse battery"), ("bob", PASSWORD), ("gone", PASSWORD))
    }

    assert len(told) == 1
    assert "sign_in_failed" in told.pop()


async def test_too_many_wrong_passwords_have_to_wait_and_others_need_not(admin: Admin) -> None:
    await admin.make_user("cara")
    await admin.make_user("dora")
    answers = [
        await admin.client.post("/admin/session", json={"name": "cara", "password": "x"})
        for _ in range(OF_ONE_NAME + 1)
    ]

    assert [answer.status_code for answer in answers] == [401] * OF_ONE_NAME + [429]
    assert int(answers[-1].headers["retry-after"]) > 0
    right = await admin.client.post("/admin/session", json={"name": "cara", "password": PASSWORD})
    assert right.status_code == 429
    await admin.sign_in("dora")


async def test_signing_in_anew_ends_the_session_that_was_held(admin: Admin) -> None:
    old = await admin.make_user("edda")

    answer = await admin.client.post(
        "/admin/session",
        json={"name": "edda", "password": PASSWORD},
        headers={"authorization": f"Bearer {old}"},
    )

    assert answer.json()["token"] != old
    assert (await admin.who(old)).status_code == 401
    assert (await admin.who(answer.json()["token"])).status_code == 200


async def test_a_revoked_user_is_out_at_once_and_for_good(admin: Admin) -> None:
    tokens = [await admin.make_user("finn", "owner"), await admin.sign_in("finn")]

    revoked = await admin.send("DELETE", "/admin/users/finn")

    assert revoked.json()["revoked_at"]
    for token in tokens:
        assert (await admin.who(token)).status_code == 401
    again = await admin.send(
        "POST", "/admin/users", json={"name": "finn", "role": "auditor", "password": PASSWORD}
    )
    assert again.status_code == 400
    assert "there is, or was, a user 'finn'" in error_in(again.content)["message"]


async def test_another_role_holds_for_open_sessions(admin: Admin) -> None:
    token = await admin.make_user("gus", "owner")
    assert (await admin.send("GET", "/admin/users", token)).status_code == 200

    await admin.send("POST", "/admin/users/gus/role", json={"role": "auditor"})

    refused = await admin.send("GET", "/admin/users", token)
    assert refused.status_code == 403
    assert "needs the role 'owner'; 'gus' has the role 'auditor'" in refused.text


async def test_a_new_password_ends_every_session(admin: Admin) -> None:
    token = await admin.make_user("hana")
    wrong = await admin.send(
        "POST", "/admin/session/password", token, json={"current": "no", "new": "another" * 3}
    )
    assert wrong.status_code == 401
    assert (await admin.who(token)).status_code == 200

    changed = await admin.send(
        "POST", "/admin/session/password", token, json={"current": PASSWORD, "new": "another" * 3}
    )

    assert changed.status_code == 204, changed.text
    assert (await admin.who(token)).status_code == 401
    assert await admin.sign_in("hana", "another" * 3)


@pytest.mark.parametrize(
    ("column", "age", "is_over"),
    [
        ("last_used_at", IDLE, True),
        ("last_used_at", IDLE - timedelta(minutes=1), False),
        ("created_at", LASTS, True),
        ("created_at", LASTS - timedelta(minutes=1), False),
    ],
)
async def test_a_session_ends_by_itself(
    admin: Admin, column: str, age: timedelta, is_over: bool
) -> None:
    name = f"time-{column[0]}{int(is_over)}"
    token = await admin.make_user(name)
    user_id = select(app_user.c.id).where(app_user.c.name == name).scalar_subquery()
    values = {column: app_session.c[column] - age}
    if column == "created_at":
        values["expires_at"] = app_session.c.expires_at - age
    await admin.ask(
        lambda c: c.execute(
            update(app_session).where(app_session.c.user_id == user_id).values(**values)
        )
    )

    assert (await admin.who(token)).status_code == (401 if is_over else 200)


async def test_what_no_person_asked_for_does_not_keep_a_session_alive(admin: Admin) -> None:
    token = await admin.make_user("ivo")
    used = select(app_session.c.last_used_at).join(app_user).where(app_user.c.name == "ivo")
    await admin.ask(
        lambda c: c.execute(
            update(app_session).values(last_used_at=app_session.c.last_used_at - IDLE / 2)
        )
    )
    before = await admin.ask(lambda c: c.scalar(used))
    assert before is not None

    assert (await admin.who(token, **{"x-tollway-background": "1"})).status_code == 200
    assert await admin.ask(lambda c: c.scalar(used)) == before
    await admin.who(token)
    after = await admin.ask(lambda c: c.scalar(used))
    assert after is not None
    assert after > before


async def test_the_audit_log_names_the_user_and_tells_before_and_after(admin: Admin) -> None:
    token = await admin.make_user("jo", "owner")
    key = (await admin.send("POST", "/admin/keys", token, json={"name": "k"})).json()["key"]
    await admin.send("DELETE", f"/admin/keys/{key['kid']}", token)
    await admin.send("POST", "/admin/users/jo/role", json={"role": "operator"})

    page = (await admin.send("GET", "/admin/audit", params={"actor": "jo"})).json()["data"]
    assert [entry["action"] for entry in page] == ["key.revoke", "key.create", "session.begin"]
    assert page[0]["before"]["revoked_at"] is None
    assert page[0]["after"]["revoked_at"]
    about = (await admin.send("GET", "/admin/audit", params={"subject": "jo"})).json()["data"]
    assert (about[0]["before"]["role"], about[0]["after"]["role"]) == ("owner", "operator")
    first = (await admin.send("GET", "/admin/audit", params={"limit": 1})).json()
    rest = await admin.send("GET", "/admin/audit", params={"before": first["next_before"]})
    assert rest.json()["data"][0]["id"] < first["data"][0]["id"]


@pytest.mark.parametrize(
    ("wish", "words"),
    [
        ({"name": "Ada"}, "name: give 1 to 64 of a-z"),
        ({"name": "owner"}, "name: 'owner' would be mistaken"),
        ({"password": "short"}, "password: give 12 to 1024"),
        ({"password": "aaaaaaaaaaaaaaaa"}, "password: has fewer than 5"),
        ({"role": "admin"}, "role"),
        ({"is_owner": True}, "is_owner"),
    ],
)
async def test_a_wish_that_cannot_be_is_told_by_its_field(
    admin: Admin, wish: dict[str, Any], words: str
) -> None:
    body = {"name": "kim", "role": "auditor", "password": PASSWORD} | wish

    answer = await admin.send("POST", "/admin/users", json=body)

    assert answer.status_code == 400
    assert words in error_in(answer.content)["message"]
    assert wish.get("password", "never") not in answer.text


async def test_without_postgres_nobody_is_let_in_but_the_owner() -> None:
    async with admin_on(NO_DATABASE) as admin:
        assert (await admin.who("tws_whatever")).status_code == 503
        assert (await admin.who(TOKEN)).json() == {"name": "owner", "role": "owner"}
        answer = await admin.client.post(
            "/admin/session", json={"name": "ada", "password": PASSWORD}
        )
        assert answer.status_code == 503


def test_an_application_with_a_route_that_says_nothing_is_not_built() -> None:
    @get("/admin/secrets", sync_to_thread=False)
    def forgotten() -> str:
        return "secrets"

    @get("/admin/wrong", sync_to_thread=False, opt={"needs": "everybody"})
    def misspelt() -> str:
        return "secrets"

    @get("/admin/right", sync_to_thread=False, opt=needs("auditor"))
    def right() -> str:
        return "fine"

    for route in (forgotten, misspelt):
        with pytest.raises(UndeclaredRouteError, match="does not say who may use it"):
            admin_app([right, route], Guard(TOKEN))
    admin_app([right], Guard(TOKEN))
