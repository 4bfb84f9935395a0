"""Recorded costs are corrected and compared by commands, as an operator does it on live data.

The endpoint costs 1 and 2 USD a million tokens by its table, so what is expected is worked out from
the tokens of the answers alone.
"""

import json
import time
from collections.abc import Callable, Iterator
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any, NamedTuple

import httpx
import pytest
from sqlalchemy import func, select
from sqlalchemy.ext.asyncio import AsyncConnection

from gateway.domain.records import RequestRecord
from gateway.simulator.running import simulator_in_thread
from gateway.storage.ingest import insert_absent
from gateway.storage.partitions import ensure_partitions
from gateway.storage.rollup_tables import v_usage_attempt, v_usage_request
from gateway.storage.rows import attempt_rows, record_day, request_row
from pricing.cost import Cost
from pricing.usage import Usage
from tests.installation import (
    MESSAGES,
    Gateway,
    Installation,
    installation,
    provider_toml,
    wait_until,
)
from tests.storage.samples import make_attempt, make_record

pytestmark = pytest.mark.timeout(180)
LONG_AGO = "2026-01-01"


class Answered(NamedTuple):
    id: str
    prompt: int
    completion: int
    cost_usd: Decimal

    def at(self, input_usd: int, output_usd: int) -> Decimal:
        """Its cost at these prices of a million tokens."""
        return Decimal(self.prompt * input_usd + self.completion * output_usd) / 1_000_000


class Site:
    """An installation with a gateway on it."""

    def __init__(self, place: Installation, gateway: Gateway) -> None:
        self.place = place
        self.gateway = gateway
        self.key = gateway.make_key("corrected")
        self.answered: list[Answered] = []

    def chat(self, model: str) -> Answered:
        with self.gateway.client(self.key) as client:
            answer = client.post(
                "/v1/chat/completions", json={"model": model, "messages": MESSAGES}
            )
        assert answer.status_code == 200, answer.text
        body = json.loads(answer.text, parse_float=Decimal)
        usage = body["usage"]
        answered = Answered(
            body["id"],
            usage["prompt_tokens"],
            usage["completion_tokens"],
            Decimal(usage["cost_usd_total"]),
        )
        self.answered.append(answered)
        return answered

    def run(self, *arguments: str) -> Any:
        done = self.place.tollway(*arguments, "--json")
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout, parse_float=Decimal)

    def told(self, *arguments: str) -> str:
        done = self.place.tollway(*arguments)
        assert done.returncode == 0, done.stderr
        return done.stdout

    def await_factor(self, model: str, factor: int) -> Answered:
        """An answer at this multiple of the table's price, once all workers give it."""

        def look() -> Answered | None:
            in_a_row = [self.chat(model) for _ in range(8)]
            everywhere = all(one.cost_usd == factor * one.at(1, 2) for one in in_a_row)
            return in_a_row[-1] if everywhere else None

        return wait_until(f"{model} costs {factor} times as much", look)

    def credit(self) -> Decimal:
        with self.gateway.client(self.key) as client:
            answer = client.get("/api/v1/credits")
        assert answer.status_code == 200, answer.text
        told = json.loads(answer.text, parse_float=Decimal)["data"]["total_usage"]
        return Decimal(told)

    def sums(self) -> tuple[Decimal, Decimal, Decimal]:
        """Of the roll-ups: what requests cost, what attempts cost, and corrections in the first."""

        async def look(connection: AsyncConnection) -> tuple[Decimal, Decimal, Decimal]:
            requests, attempts = v_usage_request.c, v_usage_attempt.c
            of_requests = await connection.execute(
                select(func.sum(requests.cost_usd), func.sum(requests.adjustment_usd))
            )
            total, corrected = of_requests.one()
            of_attempts = await connection.scalar(select(func.sum(attempts.cost_usd)))
            return total, of_attempts or Decimal(0), corrected

        return self.gateway.ask(look)


@pytest.fixture(scope="module")
def site(
    tmp_path_factory: pytest.TempPathFactory, postgres_dsn: Callable[..., str]
) -> Iterator[Site]:
    home: Path = tmp_path_factory.mktemp("correcting") / "home"
    with simulator_in_thread(speed=0) as simulator:
        upstream = f"{simulator.base_url}/v1"
        toml = provider_toml("alpha", upstream, {"test/a": "a", "test/b": "b", "test/c": "c"})
        toml += provider_toml("openai", upstream, {"test/own": "own"})
        with (
            installation(home, toml=toml, TOLLWAY_DATABASE_URL=postgres_dsn()) as place,
            place.serve() as gateway,
        ):
            yield Site(place, gateway)


def test_a_price_holds_for_records_from_its_moment_on_and_for_none_before(site: Site) -> None:
    site.answered.clear()
    before = [site.chat("test/a") for _ in range(3)]

    by_command = site.run("prices", "set", "alpha/a", "--input", "3", "--output", "6",
                          "--reason", "dearer")["change"]  # fmt: skip
    after = [site.await_factor("test/a", 3), site.chat("test/a")]
    wish = {
        "kind": "price",
        "target": "alpha/a",
        "rates": {"input_usd_per_mtok": "5", "output_usd_per_mtok": "10"},
        "reason": "dearer still",
    }
    changed = httpx.post(
        f"{site.gateway.admin_url}/admin/prices/changes",
        json=wish,
        headers=site.gateway.owner_headers,
        trust_env=False,
    )
    assert changed.status_code == 201, changed.text
    last = site.await_factor("test/a", 5)

    found = {one.id: site.gateway.record(one.id).attempts[0] for one in site.answered}
    versions = {id_: one.cost.price_version for id_, one in found.items()}
    assert {versions[one.id] for one in after} == {f"alpha/a@operator#{by_command['id']}"}
    assert versions[last.id] == f"alpha/a@operator#{changed.json()['id']}"
    assert not {versions[one.id] for one in before} & {versions[one.id] for one in (*after, last)}
    began = datetime.fromisoformat(by_command["effective_from"])
    went_on = datetime.fromisoformat(changed.json()["effective_from"])
    assert all(found[one.id].started_at < began for one in before)
    assert all(found[one.id].started_at >= began for one in after)
    # No history is another one: only what was recorded from a moment on has its price. What the
    # workers answered before they had heard of it is all that there is to correct.
    owed = Decimal(0)
    for one in site.answered:
        at = found[one.id].started_at
        factor = 1 if at < began else 3 if at < went_on else 5
        owed += factor * one.at(1, 2) - one.cost_usd
    again = site.run("rerate", "--since", LONG_AGO, "--model", "test/a", "--dry-run")
    assert Decimal(again["difference_usd"]) == owed


def test_the_announced_difference_is_the_applied_one_and_a_second_run_has_none(site: Site) -> None:
    answers = [site.chat("test/b") for _ in range(5)]
    recorded = sum((one.at(1, 2) for one in answers), Decimal(0))
    corrected = sum((one.at(10, 30) for one in answers), Decimal(0))
    for one in answers:
        site.gateway.record(one.id)
    before, credit = site.sums(), site.credit()
    site.run("prices", "set", "alpha/b", "--input", "10", "--output", "30",
             "--from", "2026-01-01T00:00:00Z", "--reason", "their invoice")  # fmt: skip
    command = ("rerate", "--since", LONG_AGO, "--model", "test/b")

    announced = site.run(*command, "--dry-run")
    assert (site.sums(), site.credit()) == (before, credit)
    done = site.run(*command)
    again = site.run(*command)

    for report in (announced, done):
        assert Decimal(report["difference_usd"]) == corrected - recorded
        (row,) = report["rows"]
        today = datetime.now(UTC).date()
        assert date.fromisoformat(row["day"]) in {today, today - timedelta(days=1)}
        assert (row["provider"], row["model"], row["attempts"]) == ("alpha", "test/b", 5)
        assert (Decimal(row["old_usd"]), Decimal(row["new_usd"])) == (recorded, corrected)
    assert announced["rows"] == done["rows"]
    assert (Decimal(again["difference_usd"]), again["rows"]) == (0, [])
    assert again["verdicts"] == {"unchanged": 5}
    # Every sum moved by what was announced, and no other.
    moved = Decimal(announced["difference_usd"])
    requests, attempts, adjusted = site.sums()
    assert (requests - before[0], attempts - before[1], adjusted - before[2]) == (moved,) * 3
    assert site.credit() - credit == moved
    shown = site.run("requests", "show", answers[0].id)
    assert Decimal(shown["cost_usd"]) == answers[0].at(1, 2), "what was recorded stays"
    (adjustment,) = shown["adjustments"]
    assert Decimal(adjustment["new_cost_usd"]) == answers[0].at(10, 30)
    with site.gateway.client(site.key) as client:
        told = client.get("/api/v1/generation", params={"id": answers[0].id})
    answered = json.loads(told.text, parse_float=Decimal)["data"]
    assert Decimal(answered["total_cost"]) == answers[0].at(10, 30)

    rebuilt = site.sums()
    site.run("rollups", "rebuild")
    assert site.sums() == rebuilt


def test_people_are_told_by_whom_and_how_far_back_it_reaches(site: Site) -> None:
    answered = site.chat("test/c")
    site.gateway.record(answered.id)
    site.run("prices", "set", "alpha/c", "--input", "2", "--output", "4",
             "--from", "2026-01-01T00:00:00Z", "--reason", "their invoice")  # fmt: skip

    told = site.told("rerate", "--since", LONG_AGO, "--model", "test/c", "--dry-run")

    assert "corrected" in told, "the key, by its name"
    assert "1 attempts would be corrected" in told
    assert f"together {answered.at(1, 2):f}" in told
    kept_since = datetime.now(UTC).date()
    assert f"Raw records are kept since {kept_since}: what is older keeps its cost." in told


@pytest.mark.parametrize(
    ("command", "problem"),
    [
        (
            "rerate --since 2026-11-02 --until 2026-11-01",
            "--until must be later than --since",
        ),
        (
            "rerate --since 2026-11-01 --model test/aa",
            "--model: no model is called 'test/aa'",
        ),
        ("reconcile alphabet", "'alphabet' is not known; known are"),
        ("reconcile openai --since 2026-11-02 --until 2026-11-01", "--until must not be before"),
        ("rollups rebuild --since 2026-13-01", "'2026-13-01' is not a day"),
    ],
)
def test_a_wrong_wish_changes_nothing_and_is_told(site: Site, command: str, problem: str) -> None:
    done = site.place.tollway(*command.split())

    assert done.returncode == 1
    assert problem in done.stderr


@pytest.mark.parametrize(
    "command",
    [
        "rerate --dry-run --since 0001-01-01 --until 9999-12-31T23:59:59",
        "reconcile openai --since 0001-01-01 --until 9999-12-31",
        "rollups rebuild --since 9999-12-31",
        "savings --since 0001-01-01 --until 9999-12-31T23:59:59 --baseline dearest",
    ],
)
def test_all_of_time_is_a_period(site: Site, command: str) -> None:
    site.run(*command.split())


@pytest.mark.parametrize("form", ["csv", "json"])
def test_a_providers_account_is_compared_day_by_day(site: Site, tmp_path: Path, form: str) -> None:
    answered = site.chat("test/own")
    record = site.gateway.record(answered.id)
    day = record.received_at.date()
    mine = [one for one in site.gateway.records() if one.used_provider == "openai"]
    usd = len(mine) * answered.at(1, 2)
    prompt, completion = len(mine) * answered.prompt, len(mine) * answered.completion
    elsewhere = day - timedelta(days=2)
    rows = [
        {"date": f"{day}", "model": "own", "cost_usd": f"{usd:f}", "input_tokens": prompt,
         "output_tokens": completion, "num_model_requests": len(mine)},
        {"date": f"{elsewhere}", "model": "own", "cost_usd": "7.5", "input_tokens": 1,
         "output_tokens": 1, "num_model_requests": 1},
    ]  # fmt: skip
    file = tmp_path / f"usage.{form}"
    if form == "csv":
        lines = [",".join(rows[0]), *(",".join(map(str, row.values())) for row in rows)]
        file.write_text("\n".join(lines) + "\n")
    else:
        file.write_text(json.dumps({"data": rows}))

    missing, agreeing = site.run("reconcile", "openai", "--file", str(file))

    assert (missing["day"], missing["verdict"]) == (f"{elsewhere}", "missing_here")
    assert (agreeing["day"], agreeing["verdict"]) == (f"{day}", "agrees")
    assert Decimal(agreeing["difference_usd"]) == 0
    if form == "csv":
        told = site.told("reconcile", "openai", "--file", str(file))
        assert "missing here: 1" in told
        assert f"Single records are needed for this, and they are kept since {day} here." in told


def told_cost(theirs: str, ours: str | None, at: datetime) -> RequestRecord:
    cost = Cost(
        total_usd=Decimal(theirs),
        source="provider_reported",
        computed_usd=None if ours is None else Decimal(ours),
    )
    attempt = make_attempt(
        provider="openrouter",
        endpoint="openrouter/x",
        provider_model="x",
        started_at=at,
        cost=cost,
        usage=Usage(input_tokens=1, requests=1),
        usage_source="reported",
    )
    return make_record(received_at=at, attempts=(attempt,), cost_usd=cost.total_usd)


def test_costs_that_a_provider_told_are_compared_with_ours(site: Site) -> None:
    at = datetime.fromtimestamp(time.time(), UTC)
    records = [
        told_cost("1.01", "1", at),
        told_cost("1.010001", "1", at),
        told_cost("0.5", "0.6", at),
        told_cost("2", None, at),
    ]

    async def store(connection: AsyncConnection) -> None:
        await ensure_partitions(connection, {record_day(one) for one in records})
        attempts = [row for one in records for row in attempt_rows(one)]
        await insert_absent(connection, [request_row(one) for one in records], attempts)

    site.gateway.ask(store)

    (found,) = site.run("reconcile", "openrouter")
    told = site.told("reconcile", "openrouter")
    nothing = site.told("reconcile", "alpha")

    assert (found["model"], found["attempts"]) == ("x", 4)
    assert Decimal(found["theirs_usd"]) == Decimal("4.520001")
    assert Decimal(found["ours_usd"]) == Decimal("2.6")
    assert Decimal(found["difference_usd"]) == Decimal("-0.079999")
    assert (found["adrift"], found["unpriced"]) == (2, 1)
    assert "2 of them are off by more than 1 %" in told
    assert "alpha told no cost with its answers" in nothing
