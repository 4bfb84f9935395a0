"""A change of prices is tried on what was recorded, by the admin API of a worker."""

import json
from collections.abc import AsyncGenerator, Callable
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import anyio
import httpx
import pytest

import migrations
from gateway.app import Place, Worker, create_app
from gateway.ledger.previewing import preview_spend, shares
from gateway.settings.load import load_settings
from gateway.settings.values import Flags
from gateway.storage.asking import Asker
from gateway.storage.ingest import insert_absent
from gateway.storage.partitions import ensure_partitions
from gateway.storage.preview_rows import whole_quarters
from gateway.storage.rows import attempt_rows, record_day, request_row
from pricing.catalogue import endpoint_from_config, make_catalogue
from pricing.cost import UNPRICED, Cost
from pricing.endpoint import Provider
from pricing.usage import Usage
from tests.installation import provider_toml
from tests.storage.samples import engine_of, make_attempt, make_record

pytestmark = pytest.mark.anyio
NOW = datetime.now(UTC)
HOUR = timedelta(hours=1)
OWNER = {"authorization": "Bearer owner-token-0123456789"}
ANSWER = Usage(input_tokens=1_000, output_tokens=500, requests=1)
LISTED = Cost(
    total_usd=Decimal("0.002"),
    lines={"input_tokens": Decimal("0.001"), "output_tokens": Decimal("0.001")},
)
TENFOLD = {
    "kind": "price",
    "target": "alpha/a",
    "rates": {"input_usd_per_mtok": "10", "output_usd_per_mtok": "20"},
    "reason": "a thought",
}


@pytest.fixture(scope="module")
def template(postgres_dsn: Callable[..., str]) -> str:
    dsn = postgres_dsn()
    migrations.upgrade(dsn)
    return dsn


@pytest.fixture
def dsn(template: str, postgres_dsn: Callable[..., str]) -> str:
    return postgres_dsn(template=template)


@pytest.fixture
async def worker(anyio_backend: str, dsn: str, tmp_path: Path) -> AsyncGenerator[Worker]:
    endpoints = {"test/a": "a", "test/b": "b"}
    toml = provider_toml("alpha", "http://127.0.0.1:9/v1", endpoints)
    (tmp_path / "tollway.toml").write_text(toml)
    settings = load_settings(Flags(data_dir=tmp_path / "data"), environment={}, directory=tmp_path)
    settings.data_dir.mkdir(mode=0o700)
    place = Place(
        worker=0,
        database_url=dsn,
        pepper=b"pepper",
        owner_token="owner-token-0123456789",
        has_admin=True,
        simulated_url="http://127.0.0.1:9",
    )
    worker = create_app(settings, place)
    await worker.start()
    yield worker
    await worker.stop(ship_within_s=0.1)


async def remember(dsn: str, endpoint: str, count: int, at: datetime, cost: Cost = LISTED) -> None:
    records = [
        make_record(
            received_at=at,
            cost_usd=cost.total_usd,
            attempts=(
                make_attempt(
                    provider="alpha",
                    model=f"test/{endpoint}",
                    endpoint=f"alpha/{endpoint}",
                    started_at=at,
                    usage=ANSWER,
                    usage_source="reported",
                    cost=cost,
                ),
            ),
        )
        for _ in range(count)
    ]
    engine = engine_of(dsn)
    async with engine.begin() as connection:
        await ensure_partitions(connection, {record_day(one) for one in records})
        attempts = [row for one in records for row in attempt_rows(one)]
        await insert_absent(connection, [request_row(one) for one in records], attempts)
    await engine.dispose()


async def asked(worker: Worker, method: str, path: str, body: Any = None) -> httpx.Response:
    assert worker.admin is not None
    transport = httpx.ASGITransport(app=worker.admin)  # pyright: ignore[reportArgumentType] - one protocol, two spellings
    async with httpx.AsyncClient(transport=transport, base_url="http://admin") as client:
        return await client.request(method, path, json=body, headers=OWNER)


async def previewed(worker: Worker, body: Any) -> dict[str, Any]:
    begun = await asked(worker, "POST", "/admin/prices/preview", body)
    assert begun.status_code == 202, begun.text
    assert begun.json()["kind"] == "prices.preview"
    with anyio.fail_after(20):
        while True:
            answer = await asked(worker, "GET", f"/admin/jobs/{begun.json()['id']}")
            job = json.loads(answer.text, parse_float=Decimal)
            if job["state"] != "running":
                assert job["state"] == "done", job
                return job["result"]
            await anyio.sleep(0.01)


async def test_a_change_is_tried_on_the_last_seven_days_and_nothing_changes(
    worker: Worker, dsn: str
) -> None:
    await remember(dsn, "a", 3, NOW - HOUR)
    await remember(dsn, "a", 2, NOW - 2 * HOUR, UNPRICED)
    await remember(dsn, "b", 4, NOW - HOUR)
    await remember(dsn, "a", 9, NOW - timedelta(days=8))
    later = {"effective_from": "2031-01-01T00:00:00Z"}

    found = await previewed(worker, {"change": TENFOLD | later})
    again = await previewed(worker, {"change": TENFOLD})

    # Seven answers of 0.002 were recorded; five of them would have been 0.02.
    assert Decimal(found["recorded_usd"]) == Decimal("0.014")
    assert Decimal(found["would_be_usd"]) == Decimal("0.108")
    assert Decimal(found["difference_usd"]) == Decimal("0.094")
    assert found["difference_share"] == Decimal("6.714285714285714")
    assert (found["attempts"], found["attempts_of_change"], found["attempts_read"]) == (9, 5, 5)
    assert (found["unpriced_before"], found["unpriced_after"]) == (2, 0)
    assert (found["is_extrapolated"], found["extrapolation"]) == (False, None)
    assert found["first_day"] == (NOW - timedelta(days=8)).date().isoformat()
    (one,) = found["endpoints"]
    assert (one["endpoint"], one["attempts"], one["is_extrapolated"]) == ("alpha/a", 5, False)
    assert Decimal(again["difference_usd"]) == Decimal("0.094")
    listed = (await asked(worker, "GET", "/admin/prices/changes")).json()
    assert listed["data"] == []


async def test_a_discount_of_a_provider_reaches_all_of_its_endpoints(
    worker: Worker, dsn: str
) -> None:
    await remember(dsn, "a", 3, NOW - HOUR)
    await remember(dsn, "b", 4, NOW - HOUR)
    wish = {"kind": "discount", "target": "alpha", "factor": "0.5", "reason": "an offer"}

    found = await previewed(worker, {"change": wish, "since": (NOW - 3 * HOUR).isoformat()})

    assert Decimal(found["would_be_usd"]) == Decimal("0.007")
    assert [one["endpoint"] for one in found["endpoints"]] == ["alpha/b", "alpha/a"]


@pytest.mark.parametrize(
    ("body", "param"),
    [
        ({"change": TENFOLD | {"target": "alpha/zzz"}}, "target"),
        ({"change": TENFOLD | {"kind": "disable", "rates": {}}}, "change.kind"),
        ({"change": TENFOLD, "since": "2026-11-02T00:00:00Z", "until": "2026-11-01"}, None),
        (
            {
                "change": TENFOLD,
                "since": "2026-11-02T00:00:00Z",
                "until": "2026-11-01T00:00:00Z",
            },
            "until",
        ),
        ({"change": TENFOLD, "since": "2020-01-01T00:00:00Z"}, "since"),
    ],
)
async def test_what_cannot_be_is_refused_at_once(
    worker: Worker, body: dict[str, Any], param: str | None
) -> None:
    answer = await asked(worker, "POST", "/admin/prices/preview", body)

    assert answer.status_code == 400, answer.text
    if param is not None:
        assert answer.json()["error"]["param"] == param


async def test_of_many_attempts_the_newest_of_each_endpoint_are_read(dsn: str) -> None:
    dearer = Cost(total_usd=Decimal("0.004"))
    await remember(dsn, "a", 6, NOW - HOUR)
    await remember(dsn, "a", 30, NOW - 2 * HOUR, dearer)
    await remember(dsn, "b", 2, NOW - 2 * HOUR)
    rates = {"input_usd_per_mtok": Decimal(10), "output_usd_per_mtok": Decimal(20)}
    catalogue = make_catalogue(
        providers=[Provider(id="alpha", name="Alpha")],
        endpoints=[
            endpoint_from_config("alpha", {"id": name, "model": f"test/{name}", **rates})
            for name in ("a", "b")
        ],
        version="changed",
    )
    told: list[float] = []

    async def tell(share: float) -> None:
        told.append(share)

    since, until = whole_quarters(NOW - 4 * HOUR, NOW)
    ask = Asker(dsn, within_s=10.0, application_name="tests")
    found = await preview_spend(
        ask,
        catalogue,
        frozenset({"alpha/a", "alpha/b"}),
        since=since,
        until=until,
        tell=tell,
        most=8,
    )
    await ask.aclose()

    large, small = found.endpoints
    assert (large.attempts_read, small.attempts_read) == (6, 2)
    # 0.018 more on each of six that were 0.002: nine times what all 36 cost.
    assert large.recorded_usd == Decimal("0.132")
    assert large.difference_usd == Decimal("1.188")
    assert (small.difference_usd, small.is_extrapolated) == (Decimal("0.036"), False)
    assert found.is_extrapolated
    assert told == sorted(told)
    assert told[-1] == 1


def test_small_endpoints_are_read_whole_and_large_ones_share_the_rest() -> None:
    assert shares({"a": 5, "b": 1_000, "c": 3_000}, 105) == {"a": 5, "b": 50, "c": 50}
    assert shares({"a": 5}, 100) == {"a": 5}
    assert shares({}, 100) == {}
