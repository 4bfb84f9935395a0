"""The button that explains a logged request again, on a gateway whose rules change."""

from collections.abc import Iterator
from typing import Any

import pytest

from dashboard.admin import Admin
from tests.dashboard.operating import (
    CHEAP,
    DEAR,
    Operated,
    click,
    html,
    open_view,
    operated,
    texts,
)
from tests.installation import MESSAGES, closed_port

IGNORE = """
[[rules]]
name = "no-dear"
then = { tighten = { ignore = ["dear"] } }

[[rules]]
name = "by-tenant"
when = { headers = { "x-tenant" = "a" } }
then = { deny = "Not for this tenant." }
"""


@pytest.fixture(scope="module")
def gateway(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Operated]:
    with operated(tmp_path_factory.mktemp("again")) as found:
        yield found


@pytest.fixture(scope="module")
def request_id(gateway: Operated) -> str:
    """Of a request that nobody served, since nobody listens."""
    with gateway.gateway.client(gateway.gateway.make_key("search")) as client:
        answer = client.post(
            "/v1/chat/completions", json={"model": "demo/fast", "messages": MESSAGES}
        )
    assert answer.status_code >= 500, answer.text

    def stored() -> str | None:
        return next(iter(gateway.gateway.recorded_ids()), None)

    gateway.follows("it is stored", stored)
    (found,) = gateway.gateway.recorded_ids()
    return found


def again(shown: str) -> str:
    """What stands below the button."""
    return shown.partition("If it came now")[2]


def test_the_button_tells_who_would_serve_now(gateway: Operated, request_id: str) -> None:
    close = gateway.show()
    at = open_view("requests", id=request_id)
    assert "Why here" in html(at)
    assert not again(html(at)), "nobody is asked before the reader wants it"

    click(at, "explain_again")
    now = again(html(at))
    assert "nobody served it then" in now
    assert CHEAP in now
    assert DEAR in now

    rules = {"source": IGNORE, "comment": ""}
    gateway.admin.post("/admin/rules", dict[str, Any], rules)
    gateway.follows("the rules are in force", lambda: in_force(gateway))
    click(at, "explain_again")
    now = again(html(at))
    assert "no-dear" in now
    assert "Left out because" in now
    assert "by-tenant" in texts(at)
    close()


def in_force(gateway: Operated) -> bool:
    return len(gateway.admin.get("/admin/rules", dict[str, Any])["rules"]) == 2


def test_a_gateway_that_does_not_answer_is_told_of(gateway: Operated, request_id: str) -> None:
    away = Admin(f"http://127.0.0.1:{closed_port()}", lambda: "token")
    close = gateway.show(admin=away)
    at = open_view("requests", id=request_id)

    click(at, "explain_again")

    assert "The gateway does not answer." in html(at)
    assert not again(html(at))
    away.close()
    close()
