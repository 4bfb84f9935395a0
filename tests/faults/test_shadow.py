"""A gateway whose rule mirrors every request: copies are stored with their cost, crash or not."""

from collections.abc import Callable, Iterator

import msgspec
import pytest

from gateway.domain.outcomes import Outcome
from gateway.domain.records import RequestRecord
from gateway.simulator.running import simulator_in_thread
from gateway.simulator.server import Simulator
from tests.installation import (
    MESSAGES,
    Gateway,
    Installation,
    installation,
    provider_toml,
    wait_until,
)

RULES = """
[[rules]]
name = "compare"
when.models = ["acme/large"]
then.mirror = { to = "acme/new" }

[[rules]]
name = "hang"
when.models = ["acme/small"]
then.mirror = { to = "acme/silent" }
"""


class Site(msgspec.Struct, frozen=True, kw_only=True):
    place: Installation
    simulator: Simulator


@pytest.fixture(scope="module")
def site(
    tmp_path_factory: pytest.TempPathFactory, postgres_dsn: Callable[..., str]
) -> Iterator[Site]:
    with simulator_in_thread(speed=0) as simulator:
        home = tmp_path_factory.mktemp("shadow") / "home"
        toml = provider_toml(
            "sim",
            f"{simulator.base_url}/v1",
            {
                "acme/large": "large!tokens=5",
                "acme/new": "new!tokens=7",
                "acme/small": "small",
                "acme/silent": "silent!hang",
            },
        )
        rules = home.parent / "rules.toml"
        rules.write_text(RULES)
        toml = f'rules = "{rules}"\n{toml}[deadlines]\ndrain_streams_s = 0\n'
        with installation(home, toml=toml, TOLLWAY_DATABASE_URL=postgres_dsn()) as place:
            yield Site(place=place, simulator=simulator)


def ask(gateway: Gateway, key: str, model: str) -> str:
    with gateway.client(key) as client:
        answer = client.post("/v1/chat/completions", json={"model": model, "messages": MESSAGES})
    assert answer.status_code == 200, answer.text
    return answer.json()["id"]


def with_shadow(gateway: Gateway, generation: str) -> RequestRecord:
    """The stored record, once its copy is there too."""

    def look() -> RequestRecord | None:
        record = gateway.record(generation)
        return record if len(record.attempts) == 2 else None

    return wait_until("the copy is stored", look, within_s=20)


def test_a_copy_is_stored_beside_the_request_which_costs_what_its_answer_cost(site: Site) -> None:
    with site.place.serve() as gateway:
        key = gateway.make_key()
        generation = ask(gateway, key, "acme/large")
        record = with_shadow(gateway, generation)
        with gateway.client(key) as client:
            shown = client.get("/api/v1/generation", params={"id": generation}).json()["data"]
            metrics = client.get(f"{gateway.admin_url}/metrics").text

    real, shadow = record.attempts
    assert (real.number, real.kind, real.model) == (1, "primary", "acme/large")
    assert (shadow.number, shadow.kind, shadow.model) == (2, "shadow", "acme/new")
    assert shadow.usage is not None
    assert shadow.usage.completion_tokens == 7
    assert shadow.cost.total_usd
    assert record.cost_usd == real.cost.total_usd
    assert "new" not in shown["model"]
    assert 'kind="shadow"' in metrics


def test_a_copy_that_was_under_way_when_the_worker_was_killed_counts_as_crashed(
    site: Site,
) -> None:
    with site.place.serve() as gateway:
        key = gateway.make_key()
        before = site.simulator.ledger.received
        generation = ask(gateway, key, "acme/small")
        wait_until(
            "the copy was sent", lambda: site.simulator.ledger.received == before + 2 or None
        )
        (worker,) = gateway.workers()
        worker.kill()
        record = with_shadow(gateway, generation)

    real, shadow = record.attempts
    assert (record.outcome, real.outcome) == (Outcome.SUCCESS, Outcome.SUCCESS)
    assert (shadow.kind, shadow.outcome) == ("shadow", Outcome.UNKNOWN_CRASH)
    assert shadow.usage_source == "estimated"
    assert record.cost_usd == real.cost.total_usd
