"""What a real gateway meets reaches a real receiver: signed, and again when it failed at first."""

import threading
from collections.abc import Generator, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from decimal import Decimal
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import httpx
import pytest
from sqlalchemy import update
from sqlalchemy.ext.asyncio import AsyncConnection

from gateway.storage.tables import webhook_delivery
from tests.installation import (
    MESSAGES,
    Gateway,
    SimulatorProcess,
    closed_port,
    installation,
    wait_until,
)
from tests.notices.test_webhooks import verified

TOML = """
workers = 2

[webhooks]
private_origins = ["http://127.0.0.1:{receiver}"]
spool_lag_s = 1

[providers.fee]
protocol = "openai"
base_url = "{simulator}/v1"
allow_private = true

[[providers.fee.endpoints]]
model = "case/fee"
id = "fee"
input_usd_per_mtok = 0.001
output_usd_per_mtok = 0.001
request_usd = 0.01

[[providers.fee.endpoints]]
model = "case/unpriced"
id = "unpriced"

[providers.gone]
protocol = "openai"
base_url = "http://127.0.0.1:{closed}/v1"
allow_private = true

[[providers.gone.endpoints]]
model = "case/gone"
id = "gone"
input_usd_per_mtok = 1
output_usd_per_mtok = 1
"""


class Receiver:
    """Refuses every event once, and then takes it."""

    def __init__(self) -> None:
        self.got: list[tuple[dict[str, str], bytes, int]] = []
        self._lock = threading.Lock()
        receiver = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                headers = {name.lower(): value for name, value in self.headers.items()}
                body = self.rfile.read(int(headers["content-length"]))
                self.send_response(receiver.take(headers, body))
                self.send_header("content-length", "0")
                self.end_headers()

            def log_message(self, format: str, *args: object) -> None:  # noqa: A002
                del format, args

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.port = int(self.server.server_address[1])

    def take(self, headers: dict[str, str], body: bytes) -> int:
        with self._lock:
            is_new = all(headers["webhook-id"] != seen["webhook-id"] for seen, _, _ in self.got)
            status = 500 if is_new else 204
            self.got.append((headers, body, status))
            return status

    def of(self, kind: str, secret: str, *, status: int) -> list[dict[str, Any]]:
        """Events of a kind that were answered so, each with a signature that holds."""
        with self._lock:
            got = list(self.got)
        events = [verified(headers, body, secret) for headers, body, was in got if was == status]
        return [event for event in events if event["type"] == kind]


@pytest.fixture(scope="module")
def receiver() -> Iterator[Receiver]:
    receiver = Receiver()
    thread = threading.Thread(target=receiver.server.serve_forever)
    thread.start()
    yield receiver
    receiver.server.shutdown()
    thread.join()
    receiver.server.server_close()


class Site:
    def __init__(self, gateway: Gateway, receiver: Receiver) -> None:
        self.gateway = gateway
        self.receiver = receiver
        self.secret = str(self.post("/admin/webhooks", url=self.url, kinds=[])["secret"])
        self.key = gateway.make_key(labels={"team": "search"})
        self.other_key = gateway.make_key("other")

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.receiver.port}/hook"

    def post(self, path: str, **body: Any) -> dict[str, Any]:
        answer = httpx.post(
            self.gateway.admin_url + path,
            json=body,
            headers=self.gateway.owner_headers,
            trust_env=False,
        )
        assert answer.status_code == 201, answer.text
        return answer.json()

    def ask(self, model: str, key: str) -> int:
        body = {"model": model, "messages": MESSAGES, "max_tokens": 5}
        with self.gateway.client(key) as client:
            return client.post("/v1/chat/completions", json=body).status_code

    def told(self, kind: str, count: int = 1) -> list[dict[str, Any]]:
        """Events of a kind, taken after they were refused once."""
        refused = wait_until(
            f"{kind} is told of", lambda: self._enough(kind, count, 500), within_s=20
        )
        self.hurry()
        taken = wait_until(
            f"{kind} is told again", lambda: self._enough(kind, count, 204), within_s=20
        )
        ids = {event["id"] for event in refused}
        assert {event["id"] for event in taken} <= ids
        return taken

    def _enough(self, kind: str, count: int, status: int) -> list[dict[str, Any]] | None:
        found = self.receiver.of(kind, self.secret, status=status)
        return found if len(found) >= count else None

    def hurry(self) -> None:
        """Repeat at once what would be repeated in ten seconds."""

        async def work(connection: AsyncConnection) -> int:
            rows = await connection.execute(
                update(webhook_delivery)
                .where(webhook_delivery.c.delivered_at.is_(None), webhook_delivery.c.tries == 1)
                .where(webhook_delivery.c.problem.is_not(None))
                .values(next_try_at=datetime.now(UTC))
            )
            return rows.rowcount

        wait_until("the refusal is noted", lambda: self.gateway.ask(work) or None, within_s=20)


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory, receiver: Receiver) -> Iterator[Site]:
    home = tmp_path_factory.mktemp("notices") / "home"
    with SimulatorProcess("--speed", "0") as simulator:
        toml = TOML.format(
            receiver=receiver.port, simulator=simulator.base_url, closed=closed_port()
        )
        with installation(home, toml=toml) as place, place.serve() as gateway:
            yield Site(gateway, receiver)


@contextmanager
def stopped_database(gateway: Gateway) -> Generator[None]:
    processes = gateway.database_processes()
    for one in processes:
        one.suspend()
    try:
        yield
    finally:
        for one in processes:
            one.resume()


def test_thresholds_of_a_budget_are_told(site: Site) -> None:
    site.post(
        "/admin/budgets",
        name="search",
        limit_usd=0.02,
        labels={"team": "search"},
        period="day",
        mode="soft",
    )

    for _ in range(2):
        assert site.ask("case/fee", site.key) == 200
    # Whichever worker did not know of the budget yet charged nothing to it.
    wait_until("the budget is spent", lambda: spent(site) or site.ask("case/fee", site.key) == 0)

    events = site.told("budget_threshold", 3)
    assert {event["details"]["percent"] for event in events} == {50, 80, 100}
    assert {event["subject"] for event in events} == {"search"}
    assert {event["details"]["limit_usd"] for event in events} == {"0.02"}


def spent(site: Site) -> bool:
    answer = httpx.get(
        f"{site.gateway.admin_url}/admin/budgets/search",
        headers=site.gateway.owner_headers,
        trust_env=False,
    )
    return Decimal(answer.json()["spent_usd"]) >= Decimal("0.02")


def test_a_provider_that_is_down_is_told_of(site: Site) -> None:
    statuses = [site.ask("case/gone", site.other_key) for _ in range(4)]

    assert set(statuses) <= {502, 503}
    (event, *_) = site.told("provider_down")
    assert event["subject"] == "origin:gone"
    assert event["details"]["change"] == "opened"


def test_traffic_without_a_price_is_told_of(site: Site) -> None:
    assert site.ask("case/unpriced", site.other_key) == 200

    (event,) = site.told("unpriced_traffic")
    assert event["subject"] == "fee/unpriced"
    assert event["details"] == {"model": "case/unpriced"}


def test_records_that_wait_for_the_database_are_told_of_without_it(site: Site) -> None:
    with stopped_database(site.gateway):
        assert site.ask("case/fee", site.other_key) == 200
        # Whichever worker answered: the first one, which sends, has records of its own soon.
        taken = wait_until(
            "the lag is told of, and told again",
            lambda: (
                site.receiver.of("spool_lag", site.secret, status=204)
                or site.ask("case/fee", site.other_key) != 200
            ),
            within_s=30,
        )
        assert isinstance(taken, list)

    refused = site.receiver.of("spool_lag", site.secret, status=500)
    assert taken[0]["id"] in {event["id"] for event in refused}
    assert taken[0]["details"]["oldest_unshipped_s"] >= 1.0
