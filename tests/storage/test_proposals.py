"""Proposals of price lists over the admin API: seen, accepted and refused, each of them once."""

from collections.abc import AsyncGenerator
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import httpx
import pytest

from gateway.app import Place, Worker, create_app
from gateway.settings.load import load_settings
from gateway.settings.values import Flags
from gateway.storage.asking import Asker
from gateway.storage.proposals import store_proposals
from pricing.importers.proposals import PriceProposal, RateDifference
from tests.installation import provider_toml

pytestmark = pytest.mark.anyio
OWNER = {"authorization": "Bearer owner-token-0123456789"}


@pytest.fixture
async def worker(anyio_backend: str, dsn: str, tmp_path: Path) -> AsyncGenerator[Worker]:
    toml = provider_toml("alpha", "http://127.0.0.1:9/v1", {"test/a": "a", "test/b": "b"})
    (tmp_path / "tollway.toml").write_text(toml)
    settings = load_settings(Flags(data_dir=tmp_path / "data"), environment={}, directory=tmp_path)
    settings.data_dir.mkdir(mode=0o700)
    place = Place(
        worker=0,
        database_url=dsn,
        pepper=b"pepper",
        owner_token="owner-token-0123456789",
        has_admin=True,
        simulated_url=None,
    )
    worker = create_app(settings, place)
    await worker.start()
    yield worker
    await worker.stop(ship_within_s=0.1)


def proposal(target: str, usd: str) -> PriceProposal:
    rate = "input_usd_per_mtok"
    difference = RateDifference(rate=rate, before=Decimal(1), after=Decimal(usd), times=usd)
    return PriceProposal(
        target=target,
        listed_as=target,
        url=None,
        rates={rate: usd},
        terms=None,
        differences=(difference,),
        gates=(),
    )


async def test_a_proposal_is_decided_once_and_becomes_a_change_with_its_reason(
    worker: Worker, dsn: str
) -> None:
    ask = Asker(dsn, within_s=5.0, application_name="tests")
    proposals = [proposal("alpha/a", "1.1"), proposal("alpha/b", "1.2")]
    await ask(
        lambda connection: store_proposals(
            connection, "litellm", "v7", proposals, looked_at=[], at=datetime.now(UTC)
        )
    )
    await ask.aclose()
    transport = httpx.ASGITransport(app=worker.admin)  # pyright: ignore[reportArgumentType] - one protocol, two spellings
    async with httpx.AsyncClient(
        transport=transport, base_url="http://admin", headers=OWNER
    ) as client:

        async def post(path: str, said: dict[str, Any]) -> httpx.Response:
            return await client.post(f"/admin/proposals/{path}", json=said)

        listed = (await client.get("/admin/proposals")).json()["data"]
        numbers = {one["target"]: one["id"] for one in listed}
        accepted = await post(f"{numbers['alpha/a']}/accept", {"reason": "checked"})
        again = await post(f"{numbers['alpha/a']}/accept", {"reason": "checked"})
        silent = await post(f"{numbers['alpha/b']}/refuse", {"reason": ""})
        refused = await post(f"{numbers['alpha/b']}/refuse", {"reason": "not ours"})
        left = (await client.get("/admin/proposals")).json()["data"]
        everything = (await client.get("/admin/proposals", params={"status": "all"})).json()["data"]

    assert accepted.status_code == 201, accepted.text
    change = accepted.json()
    assert change["terms"]["input_usd_per_mtok"] == "1.1"
    assert change["terms"]["output_usd_per_mtok"] == "2"
    assert change["reason"].startswith("checked (litellm v7, proposal ")
    assert (again.status_code, again.json()["error"]["code"]) == (409, "proposal_not_open")
    assert silent.status_code == 400
    assert refused.status_code == 200
    assert left == []
    assert {(one["target"], one["status"], one["decided_by"]) for one in everything} == {
        ("alpha/a", "accepted", "owner"),
        ("alpha/b", "refused", "owner"),
    }
