"""``tollway up``: from nothing to an answer, its cost, and its record."""

import json
import re
import shutil
import stat
import subprocess
import time
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any

import httpx
import msgspec
import pytest

from gateway.simulator.running import simulator_in_thread
from tests.installation import (
    MESSAGES,
    Gateway,
    Installation,
    SimulatorProcess,
    clean_environment,
    installation,
    wait_until,
)

CREDENTIAL = "sk-abcdefghijklmnopqrstuvwxyz"


class Site(msgspec.Struct, frozen=True, kw_only=True):
    place: Installation
    gateway: Gateway
    key: str


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """The first start in an empty directory, without any credential."""
    home = tmp_path_factory.mktemp("up") / "home"
    with installation(home) as place, place.up() as gateway:
        yield Site(place=place, gateway=gateway, key=str(gateway.told["api_key"]))


def test_the_first_start_tells_in_one_line_where_everything_is(site: Site) -> None:
    told = site.gateway.told

    assert set(told) == {"gateway_url", "admin_url", "dashboard_url", "api_key", "providers"}
    assert told["api_key"].startswith("tw_")
    assert told["providers"]
    assert all(name.startswith("simulated-") for name in told["providers"])
    for name in ("gateway_url", "admin_url"):
        assert httpx.get(f"{told[name]}/readyz", trust_env=False).status_code == 200
    assert httpx.get(told["dashboard_url"], trust_env=False).status_code == 200


def test_the_key_is_written_down_nowhere(site: Site) -> None:
    secret = site.key.encode()

    holding = [
        path
        for path in site.gateway.data_dir.rglob("*")
        if path.is_file() and secret in path.read_bytes()
    ]

    assert holding == []
    assert site.key not in site.gateway.log


def test_what_it_keeps_is_for_its_owner_alone(site: Site) -> None:
    data = site.gateway.data_dir

    assert stat.S_IMODE(data.stat().st_mode) == 0o700
    for name in ("secret", "owner-token", "lock"):
        assert stat.S_IMODE((data / name).stat().st_mode) == 0o600
    for process in [site.gateway.process.pid, *(one.pid for one in site.gateway.family())]:
        command = Path(f"/proc/{process}/cmdline").read_bytes()
        password = (data / "postgres" / "password").read_bytes()
        assert password not in command
        assert site.key.encode() not in command


def test_an_answer_has_its_cost_and_is_found_within_two_seconds(site: Site) -> None:
    with site.gateway.client(site.key) as client:
        answer = client.post(
            "/v1/chat/completions", json={"model": "simulated/fast", "messages": MESSAGES}
        )
    assert answer.status_code == 200
    body = answer.json(parse_float=Decimal)
    assert body["usage"]["cost_usd_total"] > 0
    assert len(body["metadata"]["routing"]) == 1

    began_s = time.monotonic()
    shown = site.place.tollway("requests", "show", body["id"], "--json")
    took_s = time.monotonic() - began_s

    assert shown.returncode == 0, shown.stderr
    assert took_s < 2.0 + startup_s(site)
    record = msgspec.json.decode(shown.stdout)
    assert record["generation_id"] == body["id"]
    assert Decimal(str(record["cost_usd"])) == body["usage"]["cost_usd_total"]
    (attempt,) = record["attempts"]
    assert attempt["provider"] == body["metadata"]["used_provider"]
    assert attempt["outcome"] == "success"
    assert attempt["usage"]["input_tokens"] == body["usage"]["prompt_tokens"]
    assert attempt["usage"]["output_tokens"] == body["usage"]["completion_tokens"]
    assert attempt["cost"]["price_version"]
    lines = {name: Decimal(str(line)) for name, line in attempt["cost"]["lines"].items()}
    assert sum(lines.values()) == body["usage"]["cost_usd_total"]
    assert lines["input_tokens"] == body["usage"]["cost_usd_input"]
    assert lines["output_tokens"] == body["usage"]["cost_usd_output"]


def test_a_person_reads_the_same_in_words(site: Site) -> None:
    with site.gateway.client(site.key) as client:
        answer = client.post(
            "/v1/chat/completions", json={"model": "simulated/smart", "messages": MESSAGES}
        ).json()

    shown = site.place.tollway("requests", "show", answer["id"])

    assert shown.returncode == 0, shown.stderr
    for part in (
        answer["id"],
        f"simulated/smart by {answer['metadata']['used_provider']}",
        "attempt 1 (primary)",
        "price version",
        "input_tokens",
        "output_tokens",
        "cost",
    ):
        assert part in shown.stdout


def test_an_id_that_is_not_there_is_said_so(site: Site) -> None:
    absent = site.place.tollway(
        "requests", "show", "gen-" + "0" * 12 + "7" + "0" * 3 + "8" + "0" * 15
    )
    malformed = site.place.tollway("requests", "show", "something")

    for ended in (absent, malformed):
        assert ended.returncode == 1
        assert ended.stderr.startswith("tollway: ")
        assert "Traceback" not in ended.stderr


def test_prices_and_keys_can_be_looked_at_meanwhile(site: Site) -> None:
    keys = site.place.tollway("keys", "list", "--json")
    doctor = site.place.tollway("doctor", "--json")

    assert [key["name"] for key in msgspec.json.decode(keys.stdout)] == ["first"]
    findings = {one["subject"]: one["state"] for one in msgspec.json.decode(doctor.stdout)}
    assert findings["database"] == "ok"
    assert findings["packages"] == "ok"


@pytest.mark.skipif(shutil.which("curl") is None, reason="the printed line needs curl")
def test_the_curl_that_is_printed_works_as_printed_and_the_second_start_has_no_key(
    tmp_path: Path,
) -> None:
    with installation(tmp_path / "home") as place:
        with place.start("up") as gateway:
            words = read_until(gateway, "Ctrl-C ends it.")
            command = re.search(r"^curl .*?^  -d .*?$", words, re.MULTILINE | re.DOTALL)
            assert command is not None, words
            answer = subprocess.run(
                ["/bin/sh", "-c", command[0]],
                env=clean_environment(tmp_path),
                capture_output=True,
                timeout=30,
                check=True,
            )
            body: dict[str, Any] = json.loads(answer.stdout)
            assert body["usage"]["cost_usd_total"] > 0
            assert len(body["metadata"]["routing"]) == 1
            key = re.search(r"tw_\S+", words)
            assert key is not None
            assert gateway.stop() == 0
            wait_until("all its processes have ended", lambda: not gateway.family())
        with place.up() as again:
            assert set(again.told) == {"gateway_url", "admin_url", "dashboard_url", "providers"}
            wait_until("the first key still works", lambda: again.accepts(key[0]))
            assert again.record(body["id"]).cost_usd
            assert again.stop() == 0
            assert again.read_rest() == ""


def test_a_credential_is_all_that_a_real_provider_needs(tmp_path: Path) -> None:
    # Only who shows the credential is answered.
    with (
        simulator_in_thread(speed=0, api_key=CREDENTIAL) as simulator,
        installation(
            tmp_path / "home",
            OPENAI_API_KEY=CREDENTIAL,
            OPENAI_BASE_URL=f"{simulator.base_url}/v1",
        ) as place,
        place.up() as gateway,
    ):
        # Simulated providers never mix with real ones unless asked for.
        assert gateway.told["providers"] == ["openai"]
        with gateway.client(gateway.told["api_key"]) as client:
            for model in ("openai/gpt-4o-mini", "gpt-4o-mini"):
                answer = client.post(
                    "/v1/chat/completions", json={"model": model, "messages": MESSAGES}
                )
                assert answer.status_code == 200, answer.text
                body = answer.json(parse_float=Decimal)
                usage = body["usage"]
                # 0.15 USD a million tokens in, 0.60 USD a million tokens out.
                expected = usage["prompt_tokens"] * Decimal("0.00000015")
                expected += usage["completion_tokens"] * Decimal("0.0000006")
                assert usage["cost_usd_total"] == expected
                assert body["metadata"]["used_provider"] == "openai"
                assert body["metadata"]["used_model"] == "openai/gpt-4o-mini"
        assert all(entry.has_credential for entry in simulator.ledger)
        record = gateway.record(body["id"])
        assert record.cost_usd == expected
        price_version = record.attempts[0].cost.price_version
        assert price_version is not None
        assert price_version.startswith("openai/gpt-4o-mini@")
        assert CREDENTIAL not in gateway.log


def test_the_demo_has_a_past_and_sends_traffic_to_look_at(tmp_path: Path) -> None:
    with (
        SimulatorProcess("--speed", "0") as simulator,
        installation(
            tmp_path / "home",
            OPENAI_API_KEY=CREDENTIAL,
            OPENAI_BASE_URL=f"{simulator.base_url}/v1",
        ) as place,
        place.up("--demo", "--demo-requests", "500") as gateway,
    ):
        assert "openai" in gateway.told["providers"]
        assert any(name.startswith("simulated-") for name in gateway.told["providers"])
        wait_until("there is more to see", lambda: len(gateway.records()) >= 505, within_s=20)
        assert gateway.stop() == 0


def startup_s(site: Site) -> float:
    """What a command takes that only looks, so that the record's own wait is what is measured."""
    began_s = time.monotonic()
    site.place.tollway("keys", "list", "--json")
    return time.monotonic() - began_s


def read_until(gateway: Gateway, end: str) -> str:
    words = ""
    while end not in words:
        words += gateway.read_line()
    return words
