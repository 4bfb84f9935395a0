"""A whole gateway with two workers, scraped: one answer for the node, whoever gives it."""

import time
from collections.abc import Callable, Iterator

import httpx
import msgspec
import psutil
import pytest
from prometheus_client.parser import text_string_to_metric_families

from gateway.simulator.running import simulator_in_thread
from tests.installation import MESSAGES, Gateway, installation, provider_toml, wait_until

REQUESTS = "tollway_requests_total"


class Site(msgspec.Struct, frozen=True, kw_only=True):
    """A gateway of two workers with a provider that answers and one that fails."""

    gateway: Gateway
    key: str


@pytest.fixture(scope="module")
def site(
    tmp_path_factory: pytest.TempPathFactory, postgres_dsn: Callable[..., str]
) -> Iterator[Site]:
    with simulator_in_thread(speed=0) as simulator:
        base_url = f"{simulator.base_url}/v1"
        toml = provider_toml("good", base_url, {"acme/large": "large"})
        toml += provider_toml("bad", base_url, {"acme/broken": "broken!500"})
        toml += "[metrics]\non_data_port = true\n"
        home = tmp_path_factory.mktemp("scrape") / "home"
        with (
            installation(home, toml=toml, TOLLWAY_DATABASE_URL=postgres_dsn()) as place,
            place.serve("--workers", "2") as gateway,
        ):
            yield Site(gateway=gateway, key=gateway.make_key())


def ask(site: Site, model: str) -> int:
    """A request on a connection of its own, so that any worker may get it."""
    with site.gateway.client(site.key) as client:
        body = {"model": model, "messages": MESSAGES}
        return client.post("/v1/chat/completions", json=body).status_code


def scrape(url: str) -> dict[tuple[str, frozenset[tuple[str, str]]], float]:
    answer = httpx.get(f"{url}/metrics", trust_env=False, timeout=20)
    assert answer.status_code == 200, answer.text
    return {
        (sample.name, frozenset(sample.labels.items())): sample.value
        for family in text_string_to_metric_families(answer.text)
        for sample in family.samples
    }


def total(
    samples: dict[tuple[str, frozenset[tuple[str, str]]], float], name: str, **labels: str
) -> float:
    wanted = set(labels.items())
    return sum(value for (found, has), value in samples.items() if found == name and wanted <= has)


def test_any_worker_tells_what_all_of_them_counted(site: Site) -> None:
    assert [ask(site, "acme/large") for _ in range(12)] == [200] * 12
    assert ask(site, "acme/broken") == 502

    def told() -> bool | None:
        return total(scrape(site.gateway.url), REQUESTS) >= 13 or None

    wait_until("all requests are counted", told)
    for _ in range(6):
        samples = scrape(site.gateway.url)
        assert total(samples, REQUESTS, dialect="openai", status="2xx", outcome="success") == 12
        assert total(samples, REQUESTS, status="5xx") == 1
        assert total(samples, "tollway_attempts_total", provider="bad", outcome="server_error") == 2
        assert total(samples, "tollway_tokens_total", provider="good", meter="output") > 0
        assert total(samples, "tollway_request_duration_seconds_count") == 13
        assert total(samples, "tollway_workers") == 2
        assert total(samples, "tollway_spool_writable") == 1


def test_the_admin_listener_tells_it_without_a_token(site: Site) -> None:
    samples = scrape(site.gateway.admin_url)

    assert total(samples, "tollway_workers") == 2
    assert total(samples, "tollway_breaker_state", endpoint="good/large") == 0
    assert total(samples, "tollway_event_loop_lag_seconds_count") > 0
    assert httpx.get(f"{site.gateway.admin_url}/admin/keys", trust_env=False).status_code == 401


def test_no_label_holds_a_key_or_what_a_caller_chose(site: Site) -> None:
    ask(site, "acme/large")
    assert ask(site, "no-such-model-x7") == 404

    text = httpx.get(f"{site.gateway.admin_url}/metrics", trust_env=False).text
    assert "no-such-model-x7" not in text
    assert site.key not in text
    assert site.key.split("_")[2] not in text


def test_counts_go_on_when_a_worker_dies_and_another_takes_its_place(site: Site) -> None:
    for _ in range(4):
        ask(site, "acme/large")
    before = settled(site)
    victim: psutil.Process = site.gateway.workers()[1]
    victim.kill()

    def replaced() -> bool | None:
        workers = site.gateway.workers()
        return (len(workers) == 2 and victim.pid not in {w.pid for w in workers}) or None

    wait_until("another worker took its place", replaced, within_s=20)

    def both_tell() -> bool | None:
        try:
            return total(scrape(site.gateway.admin_url), "tollway_workers") == 2 or None
        except httpx.TransportError:
            return None

    wait_until("it tells of itself", both_tell, within_s=20)
    assert total(scrape(site.gateway.admin_url), REQUESTS) >= before


def settled(site: Site) -> float:
    """How many requests are counted once every worker's file tells of all of its own."""
    seen: list[tuple[float, float]] = []

    def is_settled() -> bool | None:
        counted = total(scrape(site.gateway.admin_url), REQUESTS)
        if not seen or seen[-1][1] != counted:
            seen.append((time.monotonic(), counted))
        return time.monotonic() - seen[-1][0] > 2 or None

    wait_until("the count stands still for longer than files are old", is_settled, within_s=20)
    return seen[-1][1]
