"""What a running gateway saved: told on the command line and over the admin API, from its rows."""

import json
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from gateway.simulator.running import simulator_in_thread
from tests.installation import (
    MESSAGES,
    Gateway,
    Installation,
    installation,
    provider_toml,
    wait_until,
)

SINCE = f"{datetime.now(UTC) - timedelta(hours=1):%Y-%m-%dT%H:%M:%S}"
DEAR = '[[rules]]\nname = "dear"\nthen = { tighten = { only = ["dear"] } }\n'
CHEAP = '[[rules]]\nname = "cheap"\nthen = { tighten = { only = ["cheap"] } }\n'
# Three tokens of a prompt and four of an answer: 1 and 2 USD a million at the cheap one, 1 and 12
# at the dear one, so that an answer costs 0.00004 more there.
DIFFERENCE = Decimal("0.00004")


class Site:
    """A gateway that answered two requests under dear rules, then two under cheap ones."""

    def __init__(self, place: Installation, gateway: Gateway, home: Path) -> None:
        self.place = place
        self.gateway = gateway
        self.key = gateway.make_key("search")
        for text in (DEAR, CHEAP):
            file = home / "rules.toml"
            file.write_text(text)
            applied = place.tollway("rules", "apply", str(file), "--json")
            assert applied.returncode == 0, applied.stderr
            wait_until("the rules are in force", lambda text=text: self.rule() in text)
            self.answers(2)
        wait_until("all records are there", lambda: len(gateway.recorded_ids()) >= 4)

    def rule(self) -> str:
        rules = self.gateway.admin("GET", "/admin/rules").json()["rules"]
        return f'"{rules[0]["name"]}"' if rules else "none"

    def answers(self, count: int) -> None:
        with self.gateway.client(self.key) as client:
            for _ in range(count):
                body = {"model": "test/a", "messages": MESSAGES}
                assert client.post("/v1/chat/completions", json=body).status_code == 200

    def savings(self, *arguments: str) -> dict[str, Any]:
        done = self.place.tollway("savings", "--since", SINCE, *arguments, "--json")
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout, parse_float=Decimal)


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    with simulator_in_thread(speed=0) as simulator:
        upstream = f"{simulator.base_url}/v1"
        cheap = provider_toml("cheap", upstream, {"test/a": "a!tokens=4"})
        dear = provider_toml("dear", upstream, {"test/a": "a!tokens=4"}).replace(
            "output_usd_per_mtok = 2", "output_usd_per_mtok = 12"
        )
        declared = '[savings]\nbaseline = "dear/a!tokens=4"\n'
        home = tmp_path_factory.mktemp("savings")
        with (
            installation(home, toml=declared + cheap + dear) as place,
            place.serve("--workers", "1") as gateway,
        ):
            yield Site(place, gateway, home)


def test_the_declared_baseline_covers_everything(site: Site) -> None:
    report = site.savings("--by", "provider")
    shown = site.place.tollway("savings", "--since", SINCE)

    assert (report["baseline"], report["source"]) == ("recorded", "sums")
    assert report["total"]["saved_usd"] == 2 * DIFFERENCE
    assert (report["total"]["covered_requests"], report["total"]["requests"]) == (4, 4)
    saved = {row["group"]: row["saved_usd"] for row in report["rows"]}
    assert saved == {"cheap": 2 * DIFFERENCE, "dear": 0}
    # 0.000051 at the dear one and 0.000011 at the cheap one, twice each.
    assert (
        "0.000124 USD were paid where the declared baseline would have cost 0.000204 USD: "
        "0.00008 USD less.\n" in shown.stdout
    )
    assert "100.0% of the known cost.\n" in shown.stdout
    assert "not known" not in shown.stdout
    assert "100.0% of the requests" in shown.stdout


def test_the_rules_before_are_a_baseline(site: Site) -> None:
    report = site.savings("--baseline", "previous-rules", "--by", "key")

    # Before the dear rules anybody could serve, drawn by price; before the cheap ones, the dear.
    assert report["uncovered"] == {}
    assert report["total"]["covered_requests"] == 4
    saved = report["total"]["saved_usd"]
    assert saved in {2 * DIFFERENCE - lost * DIFFERENCE for lost in (0, 1, 2)}
    assert [row["name"] for row in report["rows"]] == ["search"]


@pytest.mark.parametrize(("baseline", "saved"), [("dear/a!tokens=4", 2), ("cheap/a!tokens=4", -2)])
def test_the_admin_api_says_what_the_command_says(site: Site, baseline: str, saved: int) -> None:
    told = site.savings("--baseline", baseline)
    asked = site.gateway.admin(
        "GET", f"/admin/savings?since={SINCE}&baseline={baseline.replace('!', '%21')}"
    ).json()
    started = site.gateway.admin("POST", "/admin/savings", {"since": SINCE, "baseline": baseline})

    def look() -> dict[str, Any] | None:
        job = site.gateway.admin("GET", f"/admin/jobs/{started.json()['id']}").json()
        return None if job["state"] == "running" else job

    job = wait_until("the job has ended", look)
    assert told["total"]["saved_usd"] == saved * DIFFERENCE
    assert Decimal(asked["total"]["saved_usd"]) == saved * DIFFERENCE
    assert (started.status_code, job["kind"], job["state"]) == (202, "savings", "done")
    assert job["result"]["total"] == asked["total"]


def test_bad_wishes_are_refused_with_a_remedy(site: Site) -> None:
    unknown = site.gateway.admin("GET", f"/admin/savings?since={SINCE}&baseline=openai/gpt-4oo")
    grouped = site.gateway.admin("GET", f"/admin/savings?since={SINCE}&by=colour")
    command = site.place.tollway("savings", "--since", SINCE, "--baseline", "openai/gpt-4oo")
    own = site.place.tollway("savings", "--since", SINCE, "--baseline", "deer/a!tokens=4")

    assert unknown.status_code == grouped.status_code == 400
    assert "openai/gpt-4o" in unknown.json()["error"]["message"]
    assert unknown.json()["error"]["param"] == "baseline"
    assert command.returncode == 1
    assert "--baseline: 'openai/gpt-4oo' is no endpoint" in command.stderr
    assert "near are openai/gpt-4o, " in command.stderr
    assert "near are dear/a!tokens=4" in own.stderr
