"""A price list uploaded to a running gateway becomes proposals, and changes no price."""

import json
from collections.abc import Callable, Iterator
from typing import Any

import httpx
import pytest

from gateway.api.admin.price_import import MAX_BYTES
from tests.installation import Gateway, installation, provider_toml, wait_until

LIST = {
    "alpha": {
        "models": {
            "a": {"cost": {"input": 1.2, "output": 2}},
            "b": {"cost": {"input": 1, "output": 2}},
            "new": {
                "name": "New",
                "cost": {"input": 0.1234567, "output": 2},
                "limit": {"context": 8000, "output": 800},
            },
        }
    }
}


@pytest.fixture(scope="module")
def gateway(
    tmp_path_factory: pytest.TempPathFactory, postgres_dsn: Callable[..., str]
) -> Iterator[Gateway]:
    toml = provider_toml("alpha", "http://127.0.0.1:9/v1", {"test/a": "a", "test/b": "b"})
    home = tmp_path_factory.mktemp("import") / "home"
    with (
        installation(home, toml=toml, TOLLWAY_DATABASE_URL=postgres_dsn()) as place,
        place.serve() as found,
    ):
        yield found


@pytest.fixture
def admin(gateway: Gateway) -> Iterator[httpx.Client]:
    token = (gateway.data_dir / "owner-token").read_text().strip()
    with httpx.Client(
        base_url=gateway.admin_url,
        headers={"authorization": f"Bearer {token}"},
        trust_env=False,
        timeout=20.0,
    ) as client:
        yield client


def upload(admin: httpx.Client, content: bytes, **parameters: str) -> httpx.Response:
    return admin.post(
        "/admin/prices/import", params={"source": "models-dev"} | parameters, content=content
    )


def ended(admin: httpx.Client, begun: httpx.Response) -> dict[str, Any]:
    assert begun.status_code == 202, begun.text
    path = f"/admin/jobs/{begun.json()['id']}"
    wait_until("the job ended", lambda: admin.get(path).json()["state"] != "running")
    return admin.get(path).json()


def test_what_differs_is_proposed_and_no_price_changes(admin: httpx.Client) -> None:
    content = json.dumps(LIST).encode()

    job = ended(admin, upload(admin, content))
    again = ended(admin, upload(admin, content, new="true"))

    assert (job["kind"], job["state"], job["error"]) == ("prices.import", "done", None)
    result = job["result"]
    assert (result["compared"], result["differ"], result["unlisted"]) == (2, 1, 0)
    assert result["new_offers"] == 1
    assert result["stored"] == {"added": 1, "known": 0, "refused_before": 0, "superseded": 0}
    assert again["result"]["stored"] == result["stored"] | {"known": 1}
    proposals = admin.get("/admin/proposals").json()["data"]
    assert {one["target"]: one["source"] for one in proposals} == {
        "alpha/a": "models-dev",
        "alpha/new": "models-dev",
    }
    (new,) = [one for one in proposals if one["target"] == "alpha/new"]
    # By hand: as the list has it, without a digit that a binary float would add.
    assert new["rates"]["input_usd_per_mtok"] == "0.1234567"
    assert admin.get("/admin/prices/changes").json()["data"] == []


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"[nonsense", "not valid JSON"),
        (b'"a text"', "not valid JSON"),
        (b"[" * 100_000, "not valid JSON"),
        (b"[]", "not the list of models-dev"),
        (b"\xff\xfe", "not valid JSON"),
    ],
)
def test_what_is_no_list_fails_and_says_so(admin: httpx.Client, content: bytes, words: str) -> None:
    job = ended(admin, upload(admin, content))

    assert (job["state"], job["result"]) == ("failed", None)
    assert words in job["error"]


def test_what_cannot_be_is_refused_at_once(admin: httpx.Client) -> None:
    for content, parameters, status in (
        (b"", {}, 400),
        (b"{}", {"source": "somebody"}, 400),
        (b"{}", {"provider": "nobody"}, 400),
        (b" " * (MAX_BYTES + 1), {}, 413),
    ):
        answer = upload(admin, content, **parameters)
        assert answer.status_code == status, (parameters, answer.text)
        assert answer.json()["error"]["message"]


def test_another_route_takes_no_more_than_before(admin: httpx.Client) -> None:
    answer = admin.post("/admin/rules/check", content=b" " * (3 * 1024 * 1024))

    assert answer.status_code == 413
