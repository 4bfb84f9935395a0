"""Rules in a running installation: changed while it serves, from a file and in the database."""

import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from gateway.simulator.running import simulator_in_thread
from gateway.simulator.server import Simulator
from tests.installation import (
    MESSAGES,
    PLAIN,
    Gateway,
    Installation,
    installation,
    provider_toml,
    wait_until,
)

WITHIN_S = 1.0
WORKERS = 2

ONE = '[[rules]]\nname = "one"\nwhen = { models = ["test/*"] }\nthen = { deny = "Rule one." }\n'
TWO = (
    '[[rules]]\nname = "two"\nwhen = { models = ["test/a"], headers = { x-tier = "gold" } }\n'
    'then = { replace_models = ["test/b"], labels = { tier = "gold" } }\n'
)
BAD = '[[rules]]\nname = "bad"\nthen = { denny = "Rule bad." }\n'


@pytest.fixture(scope="module")
def simulator() -> Iterator[Simulator]:
    with simulator_in_thread(speed=0) as running:
        yield running


def toml_of(simulator: Simulator) -> str:
    return provider_toml(
        "sim", f"{simulator.base_url}/v1", {"test/a": "a!tokens=4", "test/b": "b!tokens=4"}
    )


def ask(gateway: Gateway, key: str, **headers: str) -> httpx.Response:
    # A new connection each time, so that every worker is asked.
    return httpx.post(
        f"{gateway.url}/v1/chat/completions",
        json={"model": "test/a", "messages": MESSAGES, "metadata": {"env": "prod"}},
        headers={"authorization": f"Bearer {key}", **headers},
        trust_env=False,
        timeout=20,
        verify=PLAIN,
    )


def told(answer: httpx.Response) -> str:
    return "ok" if answer.status_code == 200 else str(answer.json()["error"]["message"])


def await_everywhere(gateway: Gateway, key: str, expected: str) -> float:
    """Until all workers say so, many times in a row; the seconds that the first of them took."""
    began_s = time.monotonic()
    until_s = began_s + 10
    in_a_row, first_s = 0, 0.0
    while in_a_row < 8 * WORKERS:
        if told(ask(gateway, key)) == expected:
            first_s = first_s if in_a_row else time.monotonic() - began_s
            in_a_row += 1
        else:
            in_a_row = 0
            assert time.monotonic() < until_s, f"{expected} did not come:\n{gateway.log}"
    return first_s


def readiness(gateway: Gateway) -> str:
    return httpx.get(f"{gateway.url}/readyz", trust_env=False).json()["reason"]


def show(gateway: Gateway) -> Any:
    return httpx.get(
        f"{gateway.admin_url}/admin/rules", headers=gateway.owner_headers, trust_env=False
    ).json()


def tell(place: Installation, *arguments: str) -> Any:
    done = place.tollway("rules", *arguments, "--json")
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


@pytest.mark.timeout(300)
def test_a_file_of_rules_is_read_again_while_the_gateway_serves(
    tmp_path: Path, simulator: Simulator
) -> None:
    home = tmp_path / "home"
    path = home / "rules.toml"
    with installation(home, toml='rules = "rules.toml"\n' + toml_of(simulator)) as place:
        path.write_text("")
        with place.serve("--workers", str(WORKERS)) as gateway:
            key = gateway.make_key()
            assert told(ask(gateway, key)) == "ok"

            path.write_text(ONE)
            took_s = [await_everywhere(gateway, key, "Rule one.")]
            refused = ask(gateway, key)
            assert refused.status_code == 403
            assert refused.json()["error"]["code"] == "rule_denied"

            # A mistake changes nothing, and is told with its line.
            path.write_text(BAD)
            _await_log(gateway, f"{path}:3: rule `bad`: then.denny: `denny` is not known")
            assert told(ask(gateway, key)) == "Rule one."
            # Of the worker that is asked, which may look at the file later than the first.
            wait_until("told", lambda: "not in force" in readiness(gateway))

            # Replaced by renaming, as editors and configuration maps do.
            other = path.with_suffix(".new")
            other.write_text(TWO)
            other.replace(path)
            took_s.append(await_everywhere(gateway, key, "ok"))
            assert readiness(gateway) == "ok"

            plain, ruled = ask(gateway, key).json(), ask(gateway, key, **{"x-tier": "gold"}).json()
            assert (plain["model"], ruled["model"]) == ("test/a", "test/b")
            assert ruled["metadata"]["requested_model"] == "test/a"
            record = gateway.record(ruled["id"])
            shown = show(gateway)
            assert record.rule_version == shown["version"]
            assert record.plan["rules"] == ["two"]
            assert record.labels == {"tier": "gold"}
            assert record.tags == {"env": "prod"}
            assert record.requested_model == "test/a"
            unruled = gateway.record(plain["id"])
            assert unruled.rule_version == shown["version"]
            assert "rules" not in unruled.plan

            path.write_text("")
            await_everywhere(gateway, key, "ok")
            path.write_text(ONE)
            took_s.append(await_everywhere(gateway, key, "Rule one."))
            path.write_text(TWO)
            await_everywhere(gateway, key, "ok")
            assert min(took_s) < WITHIN_S

            # Rules in a file are changed in the file alone.
            apply = place.tollway("rules", "apply", str(path))
            assert apply.returncode == 1
            assert "the rules come from the file" in apply.stderr

        # A start with a mistake takes the last good copy.
        path.write_text(BAD)
        with place.serve() as gateway:
            assert ask(gateway, key, **{"x-tier": "gold"}).json()["model"] == "test/b"
        (home / "data" / "snapshot" / "rules.msgpack").unlink()
        with place.serve() as gateway:
            answer = ask(gateway, key)
            assert (answer.status_code, answer.json()["error"]["code"]) == (503, "rules_unknown")
            assert "no valid rules" in readiness(gateway)
            path.write_text(TWO)
            await_everywhere(gateway, key, "ok")
        doctor = place.tollway("doctor", "--json")
        findings = [one for one in json.loads(doctor.stdout) if one["subject"] == "rules"]
        assert [one["state"] for one in findings] == ["ok"]


@pytest.mark.timeout(300)
def test_rule_sets_in_the_database_are_applied_and_rolled_back_while_the_gateway_serves(
    tmp_path: Path, simulator: Simulator
) -> None:
    home = tmp_path / "home"
    one, two, bad = (home / name for name in ("one.toml", "two.toml", "bad.toml"))
    with (
        installation(home, toml=toml_of(simulator)) as place,
        place.serve("--workers", str(WORKERS)) as gateway,
    ):
        for path, text in ((one, ONE), (two, TWO), (bad, BAD)):
            path.write_text(text)
        key = gateway.make_key()
        assert show(gateway)["rules"] == []

        check = place.tollway("rules", "check", str(bad))
        assert check.returncode == 1
        assert "bad.toml:3: rule `bad`: then.denny: `denny` is not known" in check.stdout

        applied = tell(place, "apply", str(one), "--comment", "stop everything")
        took_s = [await_everywhere(gateway, key, "Rule one.")]
        assert applied["number"] == 1

        refused = place.tollway("rules", "apply", str(bad))
        assert refused.returncode == 1
        assert "rule `bad`" in refused.stderr

        # The admin API does the same.
        answer = httpx.post(
            f"{gateway.admin_url}/admin/rules",
            json={"source": TWO, "comment": "let gold through"},
            headers=gateway.owner_headers,
            trust_env=False,
        )
        assert answer.status_code == 200, answer.text
        took_s.append(await_everywhere(gateway, key, "ok"))
        assert ask(gateway, key, **{"x-tier": "gold"}).json()["model"] == "test/b"

        assert tell(place, "rollback")["number"] == 1
        took_s.append(await_everywhere(gateway, key, "Rule one."))
        back = httpx.post(
            f"{gateway.admin_url}/admin/rules/rollback?number=2",
            headers=gateway.owner_headers,
            trust_env=False,
        )
        assert back.json()["number"] == 2, back.text
        took_s.append(await_everywhere(gateway, key, "ok"))
        assert min(took_s) < WITHIN_S

        history = tell(place, "history")
        assert [(one["number"], one["is_active"]) for one in history] == [(2, True), (1, False)]
        assert history[1]["comment"] == "stop everything"
        in_force = show(gateway)
        assert in_force["version"] == history[0]["version"]
        assert in_force["origin"] == "database"


def _await_log(gateway: Gateway, text: str) -> None:
    until_s = time.monotonic() + 10
    while text not in gateway.log:
        assert time.monotonic() < until_s, gateway.log
        time.sleep(0.02)
