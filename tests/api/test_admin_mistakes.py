"""What is wrong with a request to the admin API: the field, and what to write instead."""

from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest

from gateway.api.admin.application import admin_app
from gateway.api.admin.budgets import admin_budget_routes
from gateway.api.admin.guard import Guard
from gateway.api.admin.keys import admin_key_routes
from gateway.storage.asking import Asker
from tests.api.edge import error_in

pytestmark = pytest.mark.anyio
OWNER = {"authorization": "Bearer owner-token-0123456789"}
BUDGET = {"name": "b", "limit_usd": "5", "everyone": True}


@pytest.fixture
async def admin(anyio_backend: str, dsn: str) -> AsyncIterator[httpx.AsyncClient]:
    ask = Asker(dsn, within_s=5.0, application_name="tests")
    app = admin_app(
        [*admin_budget_routes(ask), *admin_key_routes(ask, b"pepper")],
        Guard("owner-token-0123456789"),
    )
    transport = httpx.ASGITransport(app=app)  # pyright: ignore[reportArgumentType] - one protocol, two spellings
    async with httpx.AsyncClient(
        transport=transport, base_url="http://admin", headers=OWNER
    ) as client:
        yield client
    await ask.aclose()


@pytest.mark.parametrize(
    ("wrong", "param", "words"),
    [
        ({"period": "year"}, "period", "use one of day, month, total, week"),
        ({"mode": "h"}, "mode", "use one of hard, shadow, soft"),
        ({"limit_usd": "much"}, "limit_usd", "limit_usd: Invalid decimal"),
        ({"limit_usd": -1}, "limit_usd", "from 0 to 1,000,000,000"),
        ({"limit_usd": 0.12345678912345}, "limit_usd", "at most 9 decimals"),
        ({"name": "a\nb"}, "name", "no line breaks"),
        ({"periodd": "day"}, "periodd", "unknown field `periodd`"),
    ],
)
async def test_a_wrong_member_is_named_with_the_remedy(
    admin: httpx.AsyncClient, wrong: dict[str, Any], param: str, words: str
) -> None:
    answer = await admin.post("/admin/budgets", json=BUDGET | wrong)

    assert answer.status_code == 400
    error = error_in(answer.content)
    assert error["param"] == param
    assert words in error["message"]
    assert (await admin.get("/admin/budgets")).json() == {"data": []}


async def test_a_missing_member_is_named(admin: httpx.AsyncClient) -> None:
    answer = await admin.post("/admin/budgets", json={"name": "b", "everyone": True})

    assert answer.status_code == 400
    assert error_in(answer.content)["param"] == "limit_usd"


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", "/admin/budgets/a%00b"),
        ("DELETE", "/admin/budgets/a%00b"),
        ("DELETE", "/admin/keys/a%00b"),
    ],
)
async def test_what_cannot_be_stored_is_not_a_fault_of_the_gateway(
    admin: httpx.AsyncClient, method: str, path: str
) -> None:
    answer = await admin.request(method, path)

    assert answer.status_code == 400
    assert "NUL" in error_in(answer.content)["message"]
