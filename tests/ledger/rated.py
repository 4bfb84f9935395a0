"""Recorded requests, the prices that are believed of them, and runs that correct their costs."""

from collections.abc import Awaitable, Callable
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any

from sqlalchemy.ext.asyncio import AsyncConnection

from gateway.domain.outcomes import Outcome
from gateway.domain.records import AttemptRecord, RequestRecord
from gateway.ledger.rerating import RerateReport, rerate_span
from gateway.storage.adjustments import Span
from gateway.storage.rollup_rebuild import rebuild_hour
from pricing.catalogue import Catalogue, endpoint_from_config, make_catalogue
from pricing.cost import Cost
from pricing.endpoint import Provider
from pricing.operator_layer import PriceChange, apply_changes
from pricing.usage import Usage
from tests.storage.samples import NOW, make_attempt, make_record

RATES = {"input_usd_per_mtok": Decimal(1), "output_usd_per_mtok": Decimal(2)}
TENFOLD = {"input_usd_per_mtok": "10", "output_usd_per_mtok": "20"}
TABLES = make_catalogue(
    providers=[Provider(id="acme", name="Acme"), Provider(id="best", name="Best")],
    endpoints=[
        endpoint_from_config("acme", {"id": "large", "model": "acme/large", **RATES}),
        endpoint_from_config(
            "acme",
            {
                "id": "placed",
                "model": "acme/placed",
                "prices": [
                    {
                        **RATES,
                        "region_multiplier": {"us": Decimal("1.1")},
                        "service_tiers": {"fast": {"scale": Decimal(2)}},
                    }
                ],
            },
        ),
        endpoint_from_config("acme", {"id": "unpriced", "model": "acme/unpriced"}),
        endpoint_from_config("best", {"id": "large", "model": "acme/large", **RATES}),
    ],
    version="tables",
)
ANSWER = Usage(input_tokens=1_000, output_tokens=500, requests=1)
LISTED = Cost(
    total_usd=Decimal("0.002"),
    lines={"input_tokens": Decimal("0.001"), "output_tokens": Decimal("0.001")},
    price_version="acme/large",
)


def attempt(provider: str = "acme", /, **changes: Any) -> AttemptRecord:
    """One that answered with `ANSWER` at the price of the tables."""
    return make_attempt(
        **{
            "provider": provider,
            "model": "acme/large",
            "endpoint": f"{provider}/large",
            "provider_model": "large",
            "usage": ANSWER,
            "usage_source": "reported",
            "cost": LISTED,
            **changes,
        }
    )


def record(*attempts: AttemptRecord, at: datetime = NOW, **changes: Any) -> RequestRecord:
    """A request that costs what its attempts cost, and was served by the last that succeeded."""
    paid = [one.cost.total_usd for one in attempts if one.kind != "shadow"]
    known = [amount for amount in paid if amount is not None]
    served = next((one for one in reversed(attempts) if one.outcome is Outcome.SUCCESS), None)
    return make_record(
        **{
            "received_at": at,
            "attempts": attempts,
            "cost_usd": sum(known, Decimal(0)) if len(known) == len(paid) else None,
            "used_provider": served and served.provider,
            "used_model": served and served.model,
            "used_endpoint": served and served.endpoint,
            "is_fallback": served is not None and served.endpoint != attempts[0].endpoint,
            **changes,
        }
    )


def priced_from(at: datetime, rates: dict[str, str]) -> Catalogue:
    """The tables, with another price of acme/large."""
    change = PriceChange(
        id="1",
        kind="price",
        target="acme/large",
        effective_from=at,
        terms=rates,
        recorded_at=NOW,
        recorded_by="ann",
        reason="their invoice",
    )
    return apply_changes(TABLES, [change])


async def rerate(
    connection: AsyncConnection,
    catalogue: Catalogue,
    *,
    is_dry_run: bool = False,
    batch_requests: int = 2,
    on_progress: Callable[[int, int], object] = lambda _done, _of: None,
    **span: Any,
) -> RerateReport:
    """A run whose batches share the transaction of the test."""
    anytime: dict[str, Any] = {
        "since": NOW - timedelta(days=2),
        "until": NOW + timedelta(days=2),
    }

    async def ask(work: Callable[[AsyncConnection], Awaitable[Any]]) -> Any:
        # As a transaction of its own would: all of it or nothing.
        async with connection.begin_nested():
            return await work(connection)

    return await rerate_span(
        ask,
        catalogue,
        Span(**(anytime | span)),
        is_dry_run=is_dry_run,
        at=NOW,
        actor="ann",
        reason="their invoice",
        on_progress=on_progress,
        batch_requests=batch_requests,
    )


async def rebuild(connection: AsyncConnection) -> None:
    """The hours around `NOW`, anew from the rows."""
    hour = NOW.replace(minute=0) - timedelta(hours=3)
    while hour < NOW + timedelta(hours=3):
        await rebuild_hour(connection, hour)
        hour += timedelta(hours=1)
