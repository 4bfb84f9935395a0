"""A logged request explained again, over the admin API of a gateway that answered it."""

from collections.abc import Iterator
from typing import Any

import httpx
import pytest

from gateway.simulator.running import simulator_in_thread
from tests.installation import MESSAGES, Gateway, installation, provider_toml, wait_until

CHEAP, DEAR = "cheap/a!tokens=4", "dear/a!tokens=4"
NOT_CHEAP = """
[[rules]]
name = "search-elsewhere"
when = { labels = { team = "search" }, metadata = { env = "prod" } }
then = { tighten = { ignore = ["cheap"] } }

[[rules]]
name = "by-header"
when = { headers = { "x-tenant" = "a" } }
then = { deny = "Not for this tenant." }
"""


class Site:
    """A gateway with two providers of one model, whose rules change."""

    def __init__(self, gateway: Gateway) -> None:
        self.gateway = gateway
        self.key = gateway.make_key("search", {"team": "search"})

    def served(self, path: str = "/v1/chat/completions", **more: Any) -> str:
        """The id of a recorded request."""
        body = {"model": "test/a", "messages": MESSAGES, "provider": {"sort": "price"}}
        with self.gateway.client(self.key) as client:
            answer = client.post(path, json=body | more)
        request_id = answer.json().get("id") or answer.headers["x-generation-id"]
        assert answer.status_code == 200, answer.text
        wait_until("it is stored", lambda: self.explain(request_id).status_code != 404)
        return request_id

    def explain(self, request_id: str) -> httpx.Response:
        return self.gateway.admin("POST", f"/admin/requests/{request_id}/explain")

    def explained(self, request_id: str) -> dict[str, Any]:
        answer = self.explain(request_id)
        assert answer.status_code == 200, answer.text
        return answer.json()


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    with simulator_in_thread(speed=0) as simulator:
        upstream = f"{simulator.base_url}/v1"
        cheap = provider_toml("cheap", upstream, {"test/a": "a!tokens=4"})
        dear = provider_toml("dear", upstream, {"test/a": "a!tokens=4"}).replace(
            "output_usd_per_mtok = 2", "output_usd_per_mtok = 12"
        )
        home = tmp_path_factory.mktemp("again")
        with installation(home, toml=cheap + dear) as place, place.serve() as gateway:
            yield Site(gateway)


def order(told: dict[str, Any]) -> list[str]:
    return [one["endpoint"] for one in told["explanation"]["candidates"]]


def test_a_request_is_explained_by_what_holds_now(site: Site) -> None:
    before = site.served(metadata={"env": "prod"}, max_tokens=50)
    other = site.served(metadata={"env": "dev"}, max_tokens=50)
    told = site.explained(before)
    assert told["id"] == before
    assert (told["key_works"], told["asking_headers"]) == (True, [])
    assert order(told) == [CHEAP, DEAR]
    # As it was asked for: at most 50 tokens out.
    assert told["explanation"]["expected_output_tokens"] == 50
    recorded = len(site.gateway.recorded_ids())

    applied = site.gateway.admin("POST", "/admin/rules", {"source": NOT_CHEAP})
    assert applied.status_code == 200, applied.text
    wait_until("the rules hold", lambda: order(site.explained(before)) == [DEAR])

    told = site.explained(before)
    assert told["explanation"]["rules"]["applied"] == ["search-elsewhere"]
    assert told["explanation"]["excluded_by"] == {"ignore": 1}
    assert told["asking_headers"] == ["by-header"]
    assert order(site.explained(other)) == [CHEAP, DEAR]
    assert len(site.gateway.recorded_ids()) == recorded, "explaining is not recorded"


def test_a_request_of_a_revoked_key_is_explained_and_told_of(site: Site) -> None:
    request_id = site.served(metadata={"env": "dev"})
    working, site.key = site.key, site.gateway.make_key("later", {"team": "search"})

    assert site.gateway.admin("DELETE", f"/admin/keys/{working.split('_')[2]}").status_code == 200
    wait_until("it is known", lambda: not site.explained(request_id)["key_works"])

    assert CHEAP in order(site.explained(request_id))


@pytest.mark.parametrize(
    ("request_id", "status", "word"),
    [
        ("gen-12", 400, "request_id"),
        ("%3Cscript%3E", 400, "request_id"),
        ("gen-019a0000000070008000000000000000", 404, "older than what is kept"),
        ("gen-ffffffffffff70008000000000000000", 404, "older than what is kept"),
    ],
)
def test_what_is_no_request_is_refused_with_a_remedy(
    site: Site, request_id: str, status: int, word: str
) -> None:
    answer = site.explain(request_id)

    assert answer.status_code == status, answer.text
    assert word in answer.text
