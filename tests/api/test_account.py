"""What a key is told of itself, over a real Postgres: sums, days, and single requests."""

import socket
import time
import uuid
from collections.abc import AsyncIterator
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import Any

import httpx
import msgspec
import pytest
from sqlalchemy.ext.asyncio import AsyncConnection

from gateway.api.account import activity_days
from gateway.domain.errors import InvalidRequestError
from gateway.domain.ids import to_generation_id
from gateway.domain.outcomes import Outcome
from gateway.domain.records import RequestRecord
from gateway.storage.account import read_activity, read_key_usage
from gateway.storage.asking import Asker
from gateway.storage.ingest import insert_absent
from gateway.storage.partitions import ensure_partitions
from gateway.storage.rows import attempt_rows, record_day, request_row
from pricing.cost import UNPRICED, Cost
from pricing.usage import Usage
from tests.api.edge import Edge, served
from tests.pipeline.rig import Offer, rig_on
from tests.storage.samples import (
    KEY_ID,
    engine_of,
    make_attempt,
    make_full_record,
    make_record,
)

pytestmark = pytest.mark.anyio
OTHER_KEY = uuid.UUID(int=7)


@pytest.fixture
async def edge(anyio_backend: str, dsn: str) -> AsyncIterator[Edge]:
    ask = Asker(dsn, within_s=5.0, application_name="tests")
    async with rig_on(None, Offer()) as rig, served(Edge(rig, ask=ask)) as running:
        running.let_in(running.key, key_id=uuid.uuid4(), name="team one")
        yield running
    await ask.aclose()


@pytest.fixture
def now() -> datetime:
    """Of the test, since a run may begin on one day and end on the next."""
    return datetime.now(UTC)


async def remember(edge: Edge, dsn: str, *records: RequestRecord) -> None:
    engine = engine_of(dsn)
    async with engine.begin() as connection:
        await store(connection, *records)
    await engine.dispose()


async def store(connection: AsyncConnection, *records: RequestRecord) -> None:
    """As the shipper does it, sums included."""
    await ensure_partitions(connection, {record_day(record) for record in records})
    attempts = [row for record in records for row in attempt_rows(record)]
    await insert_absent(connection, [request_row(record) for record in records], attempts)


async def get(edge: Edge, path: str, **query: str) -> httpx.Response:
    async with edge.client() as client:
        return await client.get(path, params=query or None)


def spent(
    key_id: uuid.UUID, at: datetime, usd: str | None, *, provider: str = "p1", **changes: Any
) -> RequestRecord:
    cost = UNPRICED if usd is None else Cost(total_usd=Decimal(usd))
    attempt = make_attempt(
        provider=provider,
        endpoint=f"{provider}/large",
        model="acme/large",
        started_at=at,
        cost=cost,
        usage=Usage(input_tokens=10, cache_read_tokens=5, output_tokens=3, reasoning_tokens=2),
        usage_source="reported",
    )
    return make_record(
        key_id=key_id,
        received_at=at,
        cost_usd=cost.total_usd,
        cost_status=cost.status,
        attempts=changes.get("attempts", (attempt,)),
    )


async def test_a_key_is_told_its_name_and_what_it_spent(
    edge: Edge, dsn: str, now: datetime
) -> None:
    key_id = edge.caller.key_id
    await remember(
        edge,
        dsn,
        spent(key_id, now, "0.000000000001"),
        spent(key_id, now, "0.25"),
        spent(key_id, now, None),
        spent(key_id, now - timedelta(days=45), "1"),
        spent(OTHER_KEY, now, "100"),
    )

    answer = await get(edge, "/api/v1/key")

    assert answer.status_code == 200
    data = answer.json()["data"]
    assert data["label"] == "team one"
    assert b'"usage":1.250000000001' in answer.content, "exact, and a number"
    assert data["usage_daily"] == data["usage_weekly"] == data["usage_monthly"] == 0.250000000001
    assert data["unpriced_requests"] == 1
    assert (data["limit"], data["limit_remaining"], data["expires_at"]) == (None, None, None)
    assert (await get(edge, "/api/v1/auth/key")).json() == answer.json()
    credit = (await get(edge, "/api/v1/credits")).json()
    assert credit["data"] == {
        "total_credits": None,
        "total_usage": 1.250000000001,
        "limit": None,
        "limit_remaining": None,
        "limit_resets_at": None,
    }


async def test_what_the_holder_of_a_key_pays_stands_apart(
    edge: Edge, dsn: str, now: datetime
) -> None:
    key_id = edge.caller.key_id
    theirs = msgspec.structs.replace(spent(key_id, now, "0.5"), is_paid_by_caller=True)
    unknown = msgspec.structs.replace(spent(key_id, now, None), is_paid_by_caller=True)
    await remember(edge, dsn, spent(key_id, now, "0.25"), theirs, unknown)

    data = (await get(edge, "/api/v1/key")).json()["data"]
    (day,) = (await get(edge, "/api/v1/activity")).json()["data"]
    one = (await get(edge, "/api/v1/generation", id=to_generation_id(theirs.id))).json()["data"]

    assert (data["usage"], data["usage_daily"], data["unpriced_requests"]) == (0.25, 0.25, 0)
    assert (data["byok_usage"], data["byok_usage_monthly"]) == (0.5, 0.5)
    assert (day["usage"], day["byok_usage_inference"], day["unpriced_attempts"]) == (0.25, 0.5, 0)
    assert day["requests"] == 3
    assert (one["is_byok"], one["usage"]) == (True, 0.5)


async def test_a_key_that_was_never_used_spent_nothing(edge: Edge) -> None:
    data = (await get(edge, "/api/v1/key")).json()["data"]

    assert (data["usage"], data["usage_daily"], data["unpriced_requests"]) == (0, 0, 0)
    assert (await get(edge, "/api/v1/activity")).json()["data"] == []


async def test_what_is_not_known_is_null_and_not_nothing(
    edge: Edge, dsn: str, now: datetime
) -> None:
    await remember(edge, dsn, spent(edge.caller.key_id, now, None))

    data = (await get(edge, "/api/v1/key")).json()["data"]
    (day,) = (await get(edge, "/api/v1/activity")).json()["data"]

    assert (data["usage"], data["unpriced_requests"]) == (None, 1)
    assert (day["usage"], day["unpriced_attempts"]) == (None, 1)


async def test_weeks_begin_on_monday_and_months_on_the_first(dsn: str) -> None:
    key_id = uuid.uuid4()
    engine = engine_of(dsn)
    days = [date(2026, 10, 31), date(2026, 11, 1), date(2026, 11, 2), date(2026, 11, 4)]
    async with engine.connect() as connection:
        noons = [datetime(day.year, day.month, day.day, 12, tzinfo=UTC) for day in days]
        spendings = [spent(key_id, at, str(10**number)) for number, at in enumerate(noons)]
        await store(connection, *spendings)
        usage = await read_key_usage(connection, key_id, date(2026, 11, 4))
        activity = await read_activity(
            connection, key_id, first=date(2026, 11, 1), last=date(2026, 11, 2)
        )
    await engine.dispose()

    assert usage.total.usd == 1111
    assert (usage.day.usd, usage.week.usd, usage.month.usd) == (1000, 1100, 1110)
    assert [(day.day.day, day.cost_usd) for day in activity] == [(2, 100), (1, 10)]


async def test_activity_stands_by_day_model_and_provider_and_adds_up(
    edge: Edge, dsn: str, now: datetime
) -> None:
    key_id = edge.caller.key_id
    failed = make_attempt(
        number=1,
        provider="p1",
        endpoint="p1/large",
        model="acme/large",
        outcome=Outcome.FIRST_TOKEN_TIMEOUT,
        started_at=now,
        cost=Cost(total_usd=Decimal("0.5")),
    )
    after = spent(key_id, now, "0.25", provider="p2").attempts[0]
    await remember(
        edge,
        dsn,
        spent(key_id, now, "1"),
        spent(key_id, now, "2"),
        spent(key_id, now, "0.75", attempts=(failed, msgspec.structs.replace(after, number=2))),
        spent(key_id, now - timedelta(days=3), "4"),
        spent(key_id, now - timedelta(days=40), "8"),
        spent(OTHER_KEY, now, "100"),
    )

    everything = (await get(edge, "/api/v1/activity")).json()["data"]
    then = now.date() - timedelta(days=3)
    one_day = (await get(edge, "/api/v1/activity", date=then.isoformat())).json()["data"]

    shown = [(d["date"], d["provider"], d["usage"], d["requests"]) for d in everything]
    assert shown == [
        (now.date().isoformat(), "p1", 3.5, 3),
        (now.date().isoformat(), "p2", 0.25, 1),
        (then.isoformat(), "p1", 4, 1),
    ]
    first = everything[0]
    assert (first["prompt_tokens"], first["completion_tokens"]) == (30, 10)
    assert first["reasoning_tokens"] == 4
    assert (first["model"], first["endpoint_id"]) == ("acme/large", "p1/large")
    assert first["provider_name"] == "P1"
    assert one_day == [everything[2]]


@pytest.mark.parametrize("wanted", ["yesterday", "2020-01-01", "2999-01-01", "", "2026-11-31"])
async def test_a_day_that_cannot_be_asked_for_is_a_400_that_names_the_days(
    edge: Edge, wanted: str, now: datetime
) -> None:
    answer = await get(edge, "/api/v1/activity", date=wanted)

    assert answer.status_code == 400
    error = answer.json()["error"]
    assert error["metadata"]["param"] == "date"
    assert now.date().isoformat() in error["message"]


def test_thirty_days_end_today() -> None:
    today = date(2026, 11, 21)
    assert activity_days(None, today) == (date(2026, 10, 23), today)
    assert activity_days("2026-10-23", today) == (date(2026, 10, 23), date(2026, 10, 23))
    with pytest.raises(InvalidRequestError):
        activity_days("2026-10-22", today)


class TestAGeneration:
    async def test_is_told_as_it_was_recorded(self, edge: Edge, dsn: str) -> None:
        record = msgspec.structs.replace(make_full_record(), key_id=edge.caller.key_id)
        await remember(edge, dsn, record)

        answer = await get(edge, "/api/v1/generation", id=to_generation_id(record.id))

        assert answer.status_code == 200
        data = answer.json()["data"]
        assert b'"total_cost":0.123456789012,' in answer.content
        assert data["id"] == to_generation_id(record.id)
        assert (data["model"], data["provider_name"]) == ("openai/gpt-4o", "azure")
        assert (data["finish_reason"], data["native_finish_reason"]) == ("length", "end_turn")
        assert (data["streamed"], data["cancelled"]) == (True, False)
        assert (data["latency"], data["generation_time"]) == (330.5, 812.5)
        assert (data["external_user"], data["session_id"]) == ("user-7", "session-9")
        assert data["created_at"] == "2026-11-21T10:30:00Z"
        assert data["api_type"] == "completions"
        assert [r["status"] for r in data["provider_responses"]] == [429, 200]
        assert data["tokens_prompt"] == data["native_tokens_prompt"]
        assert "plan" not in data

    async def test_of_another_key_is_not_there(self, edge: Edge, dsn: str) -> None:
        record = make_record(key_id=KEY_ID)
        await remember(edge, dsn, record)

        theirs = await get(edge, "/api/v1/generation", id=to_generation_id(record.id))
        nobodys = await get(edge, "/api/v1/generation", id=to_generation_id(uuid.uuid4()))
        nonsense = await get(edge, "/api/v1/generation", id="gen-nonsense")

        for answer in (theirs, nobodys, nonsense):
            assert answer.status_code == 404
            assert answer.json()["error"]["metadata"]["error_code"] == "generation_not_found"

    async def test_needs_an_id(self, edge: Edge) -> None:
        answer = await get(edge, "/api/v1/generation")

        assert answer.status_code == 400
        assert answer.json()["error"]["metadata"]["param"] == "id"


async def test_without_postgres_it_is_a_503_within_the_limit_and_chat_goes_on() -> None:
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        silent.listen()
        url = f"postgresql://u:p@127.0.0.1:{silent.getsockname()[1]}/d"
        ask = Asker(url, within_s=0.2, application_name="tests")
        async with rig_on(None, Offer()) as rig, served(Edge(rig, ask=ask)) as edge:
            began_s = time.monotonic()
            for path in (
                "/api/v1/key",
                "/api/v1/credits",
                "/api/v1/activity",
                f"/api/v1/generation?id={to_generation_id(uuid.uuid4())}",
            ):
                answer = await get(edge, path)
                assert answer.status_code == 503
                assert answer.headers["retry-after"] == "5"
                assert answer.json()["error"]["metadata"]["error_code"] == "database_unavailable"
            assert time.monotonic() - began_s < 3
            assert (await get(edge, "/api/v1/models")).status_code == 200
        await ask.aclose()
