"""Prices are changed while a gateway serves: from their moment on, in every worker."""

import json
import time
from collections.abc import Callable, Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any

import httpx
import pytest

from gateway.simulator.running import simulator_in_thread
from tests.installation import MESSAGES, Gateway, Installation, installation, provider_toml

WORKERS = 2
WITHIN_S = 1.5


class Site:
    """An installation with a gateway on it."""

    def __init__(self, place: Installation, gateway: Gateway) -> None:
        self.place = place
        self.gateway = gateway
        self.key = gateway.make_key()

    def cost(self) -> tuple[Decimal, Decimal]:
        """What one more answer costs, and what it costs at 1 and 2 USD a million tokens."""
        # A new connection each time, so that every worker is asked.
        answer = httpx.post(
            f"{self.gateway.url}/v1/chat/completions",
            json={"model": "test/a", "messages": MESSAGES},
            headers={"authorization": f"Bearer {self.key}"},
            trust_env=False,
            timeout=20,
        )
        assert answer.status_code == 200, answer.text
        usage = json.loads(answer.text, parse_float=Decimal)["usage"]
        listed = Decimal(usage["prompt_tokens"]) + 2 * Decimal(usage["completion_tokens"])
        return Decimal(usage["cost_usd_total"]), listed / 1_000_000

    def await_factor(self, factor: Decimal) -> float:
        """Until every worker prices so; the seconds until the first of many in a row did."""
        began_s = time.monotonic()
        in_a_row, first_s = 0, 0.0
        while in_a_row < 8 * WORKERS:
            cost, listed = self.cost()
            if cost == listed * factor:
                first_s = first_s if in_a_row else time.monotonic() - began_s
                in_a_row += 1
            else:
                in_a_row = 0
                assert time.monotonic() - began_s < 10, self.gateway.log
        return first_s

    def prices(self, *arguments: str) -> Any:
        done = self.place.tollway("prices", *arguments, "--json")
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout, parse_float=Decimal)

    def admin(self, method: str, path: str, **sent: Any) -> httpx.Response:
        return httpx.request(
            method,
            f"{self.gateway.admin_url}{path}",
            headers=self.gateway.owner_headers,
            trust_env=False,
            timeout=20,
            **sent,
        )


@pytest.fixture(scope="module")
def site(
    tmp_path_factory: pytest.TempPathFactory, postgres_dsn: Callable[..., str]
) -> Iterator[Site]:
    home: Path = tmp_path_factory.mktemp("prices") / "home"
    with simulator_in_thread(speed=0) as simulator:
        toml = provider_toml("alpha", f"{simulator.base_url}/v1", {"test/a": "a", "test/b": "b"})
        with (
            installation(home, toml=toml, TOLLWAY_DATABASE_URL=postgres_dsn()) as place,
            place.serve("--workers", str(WORKERS)) as gateway,
        ):
            yield Site(place, gateway)


@pytest.mark.timeout(180)
def test_a_price_that_is_set_holds_in_every_worker_until_it_is_revoked(site: Site) -> None:
    assert site.await_factor(Decimal(1)) < WITHIN_S

    done = site.prices("set", "alpha/a", "--input", "3", "--output", "6", "--reason", "dearer")
    assert site.await_factor(Decimal(3)) < WITHIN_S
    shown = site.admin("GET", "/admin/prices", params={"model": "test/a"}).json()
    assert shown["data"][0]["price"]["version"] == f"alpha/a@operator#{done['change']['id']}"

    site.prices("discount", "alpha", "0.5", "--reason", "loyal")
    assert site.await_factor(Decimal("1.5")) < WITHIN_S

    for change in site.prices("history")[:2]:
        site.prices("revoke", change["id"], "--reason", "over")
    assert site.await_factor(Decimal(1)) < WITHIN_S


def test_a_dry_run_tells_and_changes_nothing(site: Site) -> None:
    before = len(site.prices("history"))
    done = site.prices("set", "alpha/b", "--input", "3", "--reason", "a thought", "--dry-run")

    assert done["change"] is None
    assert done["effects"][0]["after"]["input_usd_per_mtok"] == 3
    assert len(site.prices("history")) == before


def test_the_admin_api_records_what_it_has_checked(site: Site) -> None:
    wish = {
        "kind": "discount",
        "target": "alpha/b",
        "factor": "0.9",
        "effective_from": "2031-01-01T00:00:00Z",
        "reason": "from 2031",
    }
    checked = site.admin("POST", "/admin/prices/check", json=wish)
    assert checked.status_code == 200, checked.text
    changed = site.admin("POST", "/admin/prices/changes", json=wish)
    assert changed.status_code == 201, changed.text
    listed = site.admin("GET", "/admin/prices/changes", params={"target": "alpha/b"}).json()

    assert listed["data"][0]["id"] == changed.json()["id"]
    assert listed["data"][0]["recorded_by"] == "owner"


@pytest.mark.parametrize(
    ("wish", "param", "said"),
    [
        ({"kind": "discount", "target": "alpha", "factor": "-1"}, "factor", "above 0"),
        ({"kind": "price", "target": "nobody/x", "rates": {}}, "target", "no endpoint"),
        ({"kind": "price", "target": "alpha/a", "rates": {"input": "1"}}, "rates", "is no rate"),
    ],
)
def test_a_wrong_wish_is_a_400_that_names_the_field(
    site: Site, wish: dict[str, Any], param: str, said: str
) -> None:
    answer = site.admin("POST", "/admin/prices/changes", json={**wish, "reason": "x"})

    assert answer.status_code == 400
    assert answer.json()["error"]["param"] == param
    assert said in answer.json()["error"]["message"]


def test_the_command_line_says_what_is_wrong(site: Site) -> None:
    done = site.place.tollway("prices", "set", "alpha/zz", "--input", "1", "--reason", "x")

    assert done.returncode == 1
    assert "no endpoint that serves here" in done.stderr
