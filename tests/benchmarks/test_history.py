"""The made-up history is honest: every sum of it is what its rows come to."""

import asyncio
from collections.abc import Callable
from decimal import Decimal

import pytest
from sqlalchemy import Table, case, func, select
from sqlalchemy.ext.asyncio import AsyncConnection

from gateway.storage.coarse_tables import COARSE
from gateway.storage.rollup_tables import (
    label_set,
    latency,
    usage_attempt,
    usage_request,
    v_latency,
    v_latency_packed,
    v_usage_attempt,
    v_usage_request,
)
from gateway.storage.tables import attempt_record, request_record
from tests.benchmarks.history import make_history
from tests.storage.samples import engine_of

REQUESTS = 1_500


@pytest.fixture(scope="module")
def history_url(postgres_dsn: Callable[..., str]) -> str:
    url = postgres_dsn()
    make_history(url, REQUESTS, days=3, is_quiet=True)
    return url


def test_sums_of_every_grain_are_what_the_rows_come_to(history_url: str) -> None:
    asyncio.run(_check(history_url))


async def _check(url: str) -> None:
    engine = engine_of(url)
    try:
        async with engine.connect() as connection:
            await _check_sums(connection)
    finally:
        await engine.dispose()


async def _check_sums(connection: AsyncConnection) -> None:
    r, a = request_record.c, attempt_record.c
    requests = await _row(
        connection,
        select(
            func.count().label("requests"),
            func.sum(r.prompt_tokens).label("prompt_tokens"),
            func.sum(r.cost_usd).label("cost_usd"),
            func.sum(case((r.cost_usd.is_(None), 1), else_=0)).label("unpriced"),
        ),
    )
    attempts = await _row(
        connection,
        select(
            func.count().label("attempts"),
            func.sum(a.output_tokens).label("output_tokens"),
            func.sum(a.cost_usd).label("cost_usd"),
            func.sum(case((a.outcome == "success", 1), else_=0)).label("succeeded"),
        ),
    )
    assert abs(requests["requests"] - REQUESTS) < REQUESTS // 10
    assert requests["unpriced"] > 0
    assert attempts["attempts"] > attempts["succeeded"] > 0
    assert isinstance(attempts["cost_usd"], Decimal)

    of_requests = [v_usage_request, *_coarse_views(usage_request)]
    of_attempts = [v_usage_attempt, *_coarse_views(usage_attempt)]
    assert (len(of_requests), len(of_attempts)) == (5, 6)
    for view in of_requests:
        names = ("requests", "prompt_tokens", "cost_usd", "unpriced")
        assert await _sums(connection, view, names) == requests, view.name
    for view in of_attempts:
        names = ("attempts", "output_tokens", "cost_usd")
        expected = {name: attempts[name] for name in names}
        assert await _sums(connection, view, names) == expected, view.name
    for view in (v_latency, *_coarse_views(latency)):
        found = await connection.scalar(
            select(func.sum(view.c.samples)).where(view.c.metric == "attempt")
        )
        assert found == attempts["succeeded"], view.name
    for view in (v_latency_packed, *(one.packed for one in COARSE if one.packed is not None)):
        packed = select(func.unnest(view.c.samples).label("samples"), view.c.metric).subquery()
        found = await connection.scalar(
            select(func.sum(packed.c.samples)).where(packed.c.metric == "attempt")
        )
        assert found == attempts["succeeded"], view.name
    sets = await connection.scalar(select(func.count()).select_from(label_set))
    assert sets is not None
    assert sets > 30


def _coarse_views(roll_up: object) -> list[Table]:
    return [one.view for one in COARSE if one.of is roll_up]


async def _sums(
    connection: AsyncConnection, view: Table, names: tuple[str, ...]
) -> dict[str, Decimal | int]:
    return await _row(connection, select(*(func.sum(view.c[name]).label(name) for name in names)))


async def _row(connection: AsyncConnection, statement: object) -> dict[str, Decimal | int]:
    found = await connection.execute(statement)  # pyright: ignore[reportArgumentType, reportCallIssue, reportUnknownVariableType]
    return dict(found.mappings().one())  # pyright: ignore[reportUnknownMemberType, reportUnknownArgumentType]
