"""Rules tried on what a gateway has answered: over the admin API and on the command line."""

import json
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import httpx
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

REQUESTS = 6
DEAR = (
    '[[rules]]\nname = "search-pays-more"\nwhen = { labels = { team = "search" }, '
    'metadata = { env = "prod" } }\nthen = { tighten = { only = ["dear"] } }\n'
)


class Site:
    """A gateway with two providers of one model, which has answered."""

    def __init__(self, place: Installation, gateway: Gateway) -> None:
        self.place = place
        self.gateway = gateway
        self.ids = self.answered("search", "prod", 4) + self.answered("ads", "prod", 1)
        self.ids += self.answered("search", "dev", 1)
        wait_until(
            "all records are there",
            lambda: len(gateway.recorded_ids()) >= REQUESTS,
        )

    def answered(self, team: str, env: str, count: int) -> list[str]:
        key = self.gateway.make_key(f"{team}-{env}", {"team": team})
        with self.gateway.client(key) as client:
            answers = [
                client.post(
                    "/v1/chat/completions",
                    json={
                        "model": "test/a",
                        "messages": MESSAGES,
                        "metadata": {"env": env},
                        "provider": {"sort": "price"},
                        "max_tokens": 50,
                    },
                )
                for _ in range(count)
            ]
        assert [one.status_code for one in answers] == [200] * count
        return [one.json()["id"] for one in answers]


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    with simulator_in_thread(speed=0) as simulator:
        upstream = f"{simulator.base_url}/v1"
        cheap = provider_toml("cheap", upstream, {"test/a": "a!tokens=4"})
        dear = provider_toml("dear", upstream, {"test/a": "a!tokens=4"}).replace(
            "output_usd_per_mtok = 2", "output_usd_per_mtok = 12"
        )
        home = tmp_path_factory.mktemp("replay")
        with installation(home, toml=cheap + dear) as place, place.serve() as gateway:
            yield Site(place, gateway)


def done_job(site: Site, started: httpx.Response) -> dict[str, Any]:
    assert started.status_code == 202, started.text
    path = f"/admin/jobs/{started.json()['id']}"

    def look() -> dict[str, Any] | None:
        job = json.loads(site.gateway.admin("GET", path).text)
        return None if job["state"] == "running" else job

    return wait_until("the job has ended", look)


def check(report: dict[str, Any], *, ids: list[str]) -> None:
    """Four answers of four tokens: 2 USD a million at the cheap one, 12 at the dear one."""
    assert (report["requests"], report["replayed"], report["changed"]) == (6, 6, 4)
    assert report["not_replayed"] == {}
    assert report["priced"] == 4
    assert Decimal(str(report["difference_usd"])) == Decimal("0.00016")
    assert report["reproduced"] == {"requests": 6, "same": 6}
    assert {(one["from"], one["to"], one["requests"]) for one in report["moves"]} == {
        ("cheap/a!tokens=4", "dear/a!tokens=4", 4),
        ("cheap/a!tokens=4", "cheap/a!tokens=4", 2),
    }
    assert {one["id"] for one in report["examples"]} == set(ids[:4])
    assert report["examples"][0]["new_rules"] == ["search-pays-more"]


def test_the_admin_api_replays_as_a_job(site: Site) -> None:
    since = (datetime.now(UTC) - timedelta(hours=1)).isoformat()
    started = site.gateway.admin("POST", "/admin/rules/replay", {"source": DEAR, "since": since})

    job = done_job(site, started)

    assert (job["kind"], job["state"], job["progress"]) == ("rules.replay", "done", 1.0)
    assert job["started_by"] == "owner"
    check(job["result"], ids=site.ids)


def test_the_command_says_the_same(site: Site, tmp_path: Path) -> None:
    file = tmp_path / "rules.toml"
    file.write_text(DEAR)
    since = f"{datetime.now(UTC) - timedelta(hours=1):%Y-%m-%dT%H:%M:%S}"
    replay = ("rules", "replay", "--file", str(file), "--since", since)

    told = site.place.tollway(*replay, "--json")
    shown = site.place.tollway(*replay)

    assert told.returncode == 0, told.stderr
    check(json.loads(told.stdout, parse_float=Decimal), ids=site.ids)
    assert shown.returncode == 0, shown.stderr
    assert "4 (66.7%) would have gone elsewhere" in shown.stdout
    assert "a difference of +0.00016" in shown.stdout


def test_bad_wishes_are_refused_with_a_remedy(site: Site, tmp_path: Path) -> None:
    since = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(time.time() - 3600))
    for body, field in (
        ({"source": "[[rules]]", "since": since}, "source"),
        ({"source": DEAR}, "since"),
        ({"source": DEAR, "since": since, "until": "2020-01-01T00:00:00Z"}, "until"),
        ({"source": DEAR, "since": since, "sample": 200_001}, "sample"),
        ({"source": DEAR, "since": since, "kid": "nobody00"}, "nobody00"),
    ):
        answer = site.gateway.admin("POST", "/admin/rules/replay", body)
        assert answer.status_code in {400, 404}, answer.text
        assert field in answer.text
    assert site.gateway.admin("GET", "/admin/jobs").json()["data"][0]["kind"] == "rules.replay"

    file = tmp_path / "rules.toml"
    file.write_text(DEAR)
    for more, word in (
        (("--sample", "0"), "--sample"),
        (("--key", "nobody00"), "nobody00"),
        (("--until", "2020-01-01"), "--until"),
    ):
        done = site.place.tollway(
            "rules", "replay", "--file", str(file), "--since", "2026-01-01", *more
        )
        assert done.returncode == 1
        assert word in done.stderr
