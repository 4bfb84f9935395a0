"""Names as somebody hostile would choose them, wherever traffic or an operator can leave one."""

import asyncio
from datetime import datetime, timedelta
from decimal import Decimal
from uuid import UUID, uuid5

import msgspec
from sqlalchemy import insert
from sqlalchemy.ext.asyncio import AsyncConnection

from gateway.domain.ids import RequestIds
from gateway.domain.outcomes import Outcome
from gateway.domain.records import AttemptRecord, RequestRecord
from gateway.storage.budgets import StoredBudget, insert_budget
from gateway.storage.price_changes import add_price_change
from gateway.storage.proposals import store_proposals
from gateway.storage.rollup_upkeep import sum_quarters
from gateway.storage.tables import api_key, rule_set
from gateway.storage.waiting import run_bounded
from pricing.cost import Cost
from pricing.importers.proposals import PriceProposal, RateDifference
from pricing.operator_layer import PriceChange
from pricing.usage import Usage
from tests.dashboard import traffic, troubles
from tests.storage.samples import KEY_ID, engine_of, make_attempt

NAMES: dict[str, str] = {
    "html": '<img src=x onerror="window.struck=1"><b class="struck">b</b>',
    "script": "</script></style></title><script>window.struck=2</script>",
    "attribute": "\" onmouseover='window.struck=3' class=\"struck\" x='>",
    "markdown": "[x](javascript:window.struck=4) ![y](http://example.invalid/y) **b** `c` | ~~d~~",
    "directive": ":red[r] :material_home: :material/home: :streamlit: :smile: $x^2$ -> y",
    "address": "https://example.invalid/z www.example.invalid a@example.invalid",
    "formula": "=cmd|' /C calc'!A0",
    "plus": "+1+cmd|x",
    "minus": "-2+3",
    "at": "@SUM(1+1)",
    "tab": "\t=1+1",
    "return": "\r=1+1",
    "bidi": "abc\N{RIGHT-TO-LEFT OVERRIDE}gnp.exe\N{ZERO WIDTH SPACE}\N{LEFT-TO-RIGHT ISOLATE}",
    "template": "{{7*7}}${7*7}%s'];datum.x//",
    "backslash": '\\"+window.struck+"\\',
    "long": "w" * 250,
}
LABELS = ("<script>b</script>", "[x](javascript:1) **b** :smile: $x^2$")
"""Names of labels: so few that each is offered for grouping, beside one called "Provider"."""
_HOME = UUID("0199d1e0-0000-7000-8000-0000000000ff")
_PER_NAME = 24
"""Enough for percentiles to be told."""


def key_id(name: str) -> UUID:
    return uuid5(_HOME, name)


def records(end: datetime) -> list[RequestRecord]:
    """Requests of the last hours: each name served, and each failed over to the next one."""
    names = list(NAMES.values())
    made: list[RequestRecord] = []
    for place, name in enumerate(names):
        other = names[(place + 1) % len(names)]
        for step in range(_PER_NAME):
            at = end - timedelta(minutes=4 + 5 * step, seconds=place)
            attempts = [_attempt(name, 1, at)]
            if step % 8 == 0:
                attempts = [_failed(name, at), _attempt(other, 2, at + timedelta(seconds=1))]
            elif step % 8 == 1:
                attempts = [_failed(name, at)]
            made.append(_record(name, at, attempts))
    return made


def request(name: str, end: datetime) -> RequestRecord:
    """One that fell back, with the name everywhere."""
    place = list(NAMES.values()).index(name)
    at = end - timedelta(minutes=2, seconds=place)
    return _record(name, at, [_failed(name, at), _attempt(name, 2, at + timedelta(seconds=1))])


def _record(name: str, at: datetime, attempts: list[AttemptRecord]) -> RequestRecord:
    made = traffic.record_of(
        at,
        attempts,
        stream=True,
        key_id=key_id(name),
        labels={"team": name, "Provider": "x"} | dict.fromkeys(LABELS, name),
        user=name,
        session_id=name,
        requested_model=name,
        requested_provider=name,
        underlying_used_model=name,
        finish_reason=name,
        error_kind=None if attempts[-1].outcome is Outcome.SUCCESS else name,
        rule_version=name,
        catalogue_version=name,
        tags={name: name},
        warnings=(name,),
        baseline_cost_usd=Decimal("0.02"),
    )
    plan = msgspec.json.decode(msgspec.json.encode(made.plan))
    plan["excluded"].append({"endpoint": name, "reason": name, "detail": name})
    return msgspec.structs.replace(made, id=_request_id(at), plan=plan)


def _request_id(at: datetime) -> UUID:
    """The same whenever it is asked for: no two are of one moment."""
    moment = f"{at.timestamp():.6f}"
    return RequestIds().next(
        unix_ms=int(at.timestamp() * 1000), random_bits=key_id(moment).int >> 64
    )


def _attempt(name: str, number: int, at: datetime) -> AttemptRecord:
    usd = Decimal("0.01")
    return make_attempt(
        number=number,
        kind="primary" if number == 1 else "fallback",
        provider=name,
        model=name,
        endpoint=f"{name}/{name}",
        provider_model=name,
        started_at=at,
        duration_ms=900.0 + len(name),
        ttft_ms=200.0,
        status_code=200,
        finish_reason=name,
        native_finish_reason=name,
        service_tier=name,
        served_region=name,
        upstream_id=name,
        usage=Usage(input_tokens=1_000, output_tokens=200, requests=1),
        usage_source="reported",
        cost=Cost(total_usd=usd, lines={"input_tokens": usd}, price_version=name),
    )


def _failed(name: str, at: datetime) -> AttemptRecord:
    return make_attempt(
        provider=name,
        model=name,
        endpoint=f"{name}/{name}",
        provider_model=name,
        started_at=at,
        duration_ms=700.0,
        outcome=Outcome.OVERLOADED,
        status_code=503,
        error_code=name,
        error_message=name,
        cost=Cost(total_usd=Decimal("0.001"), lines={"input_tokens": Decimal("0.001")}),
    )


def fill(dsn: str, end: datetime, *, endpoint: str) -> None:
    """Blocks.

    Args:
        dsn: of a migrated database.
        end: now.
        endpoint: one that is offered there, of which hostile texts are said.
    """
    asyncio.run(_fill_names(dsn, end, endpoint))
    traffic.fill(dsn, [*records(end), *(request(name, end) for name in NAMES.values())])
    asyncio.run(_sum_up(dsn, end))
    troubles.fill_health(
        dsn,
        [
            troubles.change(
                end - timedelta(minutes=30),
                "open",
                number,
                node=name,
                provider=name,
                endpoint=f"{name}/{name}",
                until=end + timedelta(minutes=5),
                reason=name,
            )
            for number, name in enumerate(NAMES.values(), start=1)
        ],
    )


async def _sum_up(dsn: str, end: datetime) -> None:
    engine = engine_of(dsn)
    try:
        while await run_bounded(engine, lambda one: sum_quarters(one, end), seconds=60):
            pass
    finally:
        await engine.dispose()


async def _fill_names(dsn: str, end: datetime, endpoint: str) -> None:
    engine = engine_of(dsn)
    try:
        async with engine.begin() as connection:
            await connection.execute(insert(api_key), [_key_row(one) for one in NAMES])
            for name in NAMES.values():
                await _decide(connection, name, end, endpoint)
    finally:
        await engine.dispose()


def _key_row(word: str) -> dict[str, object]:
    name = NAMES[word]
    changes: dict[str, object] = {
        "id": key_id(name),
        "kid": f"{word:0<8.8}",
        "name": name[:128],
        "labels": {"team": name, name[:64]: name},
        "allowed_models": [name],
        "allowed_providers": [name],
        "default_model": name,
        "created_by": name[:64],
    }
    return traffic.key_row(KEY_ID) | changes


async def _decide(connection: AsyncConnection, name: str, end: datetime, endpoint: str) -> None:
    budget = StoredBudget(
        id=key_id(name),
        name=name[:128],
        labels={"team": name},
        period="month",
        limit_nusd=1_000_000_000,
        created_at=end - timedelta(days=3),
        created_by=name[:64],
    )
    await insert_budget(connection, budget)
    await add_price_change(
        connection,
        PriceChange(
            id="",
            kind="discount",
            target=endpoint,
            factor=Decimal("0.999"),
            effective_from=end - timedelta(days=1),
            recorded_at=end,
            recorded_by=name[:64],
            reason=name,
        ),
    )
    await store_proposals(
        connection,
        name[:64],
        name[:64],
        [_proposal(name, endpoint)],
        looked_at=[],
        at=end,
    )
    await connection.execute(
        insert(rule_set).values(
            version=name[:64],
            sha256=key_id(name).bytes * 2,
            source=f"# {name.strip()}\n",
            comment=name,
            created_at=end - timedelta(hours=1),
            created_by=name[:64],
            is_active=False,
        )
    )


def _proposal(name: str, endpoint: str) -> PriceProposal:
    difference = RateDifference(
        rate="input_usd_per_mtok", before=Decimal(1), after=Decimal(2), times="2"
    )
    return PriceProposal(
        target=f"{endpoint}{name}",
        listed_as=name,
        url=None,
        rates={"input_usd_per_mtok": "2"},
        terms=None,
        differences=(difference,),
        gates=(name,),
    )
