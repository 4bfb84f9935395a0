"""The catalogue over the admin API: prices with where they come from, and what is not there."""

from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from decimal import Decimal

import httpx
import pytest

from gateway.api.admin.application import admin_app
from gateway.api.admin.catalogue import admin_catalogue_routes, layers_of
from gateway.api.admin.guard import Guard
from gateway.api.admin.prices import PriceDesk
from gateway.snapshot.snapshot import Snapshot, SnapshotHolder
from gateway.storage.asking import Asker
from pricing.operator_layer import PriceChange, apply_changes
from tests.api.edge import NO_DATABASE, error_in
from tests.routing.factories import make_catalogue_of, make_endpoint

pytestmark = pytest.mark.anyio

OWNER = {"authorization": "Bearer owner-token-0123456789"}
NOW = datetime.now(UTC)
TABLES = make_catalogue_of(
    make_endpoint("azure", "openai/gpt-4o"), make_endpoint("openai", "openai/gpt-4o")
)
AZURE = TABLES.endpoints_of("openai/gpt-4o")[0].id


def discount(change_id: str, begins: datetime) -> PriceChange:
    return PriceChange(
        id=change_id,
        kind="discount",
        target=AZURE,
        factor=Decimal("0.5"),
        effective_from=begins,
        recorded_at=NOW,
        recorded_by="owner",
        reason="negotiated",
    )


@pytest.fixture
async def admin(anyio_backend: str) -> AsyncIterator[httpx.AsyncClient]:
    changes = [discount("7", NOW - timedelta(days=1))]
    snapshots = SnapshotHolder(Snapshot(catalogue=apply_changes(TABLES, changes)))
    ask = Asker(NO_DATABASE, within_s=1.0, application_name="tests")
    app = admin_app(
        admin_catalogue_routes(PriceDesk(ask, snapshots, TABLES)), Guard("owner-token-0123456789")
    )
    transport = httpx.ASGITransport(app=app)  # pyright: ignore[reportArgumentType] - one protocol, two spellings
    async with httpx.AsyncClient(
        transport=transport, base_url="http://admin", headers=OWNER
    ) as client:
        yield client
    await ask.aclose()


async def test_endpoints_are_listed_with_the_layers_of_their_prices(
    admin: httpx.AsyncClient,
) -> None:
    found = (await admin.get("/admin/catalogue")).json()

    assert found["total"] == 2
    assert found["providers"] == ["azure", "openai"]
    by_id = {one["endpoint"]: one for one in found["data"]}
    assert by_id[AZURE]["layers"] == ["tables", "discount"]
    assert {tuple(one["layers"]) for one in found["data"]} == {("tables",), ("tables", "discount")}


async def test_every_word_of_a_search_has_to_be_there(admin: httpx.AsyncClient) -> None:
    both = (await admin.get("/admin/catalogue", params={"search": "GPT azure"})).json()
    none = (await admin.get("/admin/catalogue", params={"search": "gpt bedrock"})).json()
    openai = (await admin.get("/admin/catalogue", params={"provider": "openai"})).json()

    assert [one["endpoint"] for one in both["data"]] == [AZURE]
    assert none["data"] == []
    assert [one["provider"] for one in openai["data"]] == ["openai"]


async def test_the_catalogue_is_read_page_by_page(admin: httpx.AsyncClient) -> None:
    whole = [one["endpoint"] for one in (await admin.get("/admin/catalogue")).json()["data"]]

    first = (await admin.get("/admin/catalogue", params={"limit": 1})).json()
    second = (
        await admin.get("/admin/catalogue", params={"limit": 1, "after": first["next_after"]})
    ).json()

    assert [one["endpoint"] for page in (first, second) for one in page["data"]] == whole
    assert (first["total"], second["total"]) == (2, 2)
    assert (first["next_after"], second["next_after"]) == (whole[0], None)


async def test_a_page_after_an_endpoint_that_is_not_there_is_refused(
    admin: httpx.AsyncClient,
) -> None:
    answer = await admin.get("/admin/catalogue", params={"after": "nobody/nothing"})

    assert answer.status_code == 400
    assert error_in(answer.content)["param"] == "after"


async def test_the_prices_of_an_endpoint_are_told_span_by_span(admin: httpx.AsyncClient) -> None:
    found = (await admin.get("/admin/catalogue/prices", params={"endpoint": AZURE})).json()
    spans = found["data"]

    assert [span["layers"] for span in spans] == [["tables"], ["tables", "discount"]]
    before, after = (Decimal(span["terms"]["input_usd_per_mtok"]) for span in spans)
    assert after * 2 == before
    assert spans[0]["effective_to"] == spans[1]["effective_from"]
    (beneath,) = found["tables"]
    assert beneath["effective_to"] is None
    assert beneath["terms"] == spans[0]["terms"]


async def test_an_endpoint_that_is_not_there_is_a_404(admin: httpx.AsyncClient) -> None:
    answer = await admin.get("/admin/catalogue/prices", params={"endpoint": "nobody/nothing"})

    assert answer.status_code == 404
    assert error_in(answer.content)["code"] == "endpoint_not_found"


@pytest.mark.parametrize(
    ("version", "expected"),
    [
        ("openai/gpt-5@2026-01-01", ("tables",)),
        ("openai/gpt-5@operator#12", ("operator",)),
        ("openai/gpt-5@2026-01-01*0.9#3", ("tables", "discount")),
        ("openai/gpt-5@operator#12*0.9#3", ("operator", "discount")),
        ("odd/a*b@ever#f4ae5d5b", ("tables",)),
    ],
)
def test_a_version_says_where_it_comes_from(version: str, expected: tuple[str, ...]) -> None:
    assert layers_of(version) == expected
