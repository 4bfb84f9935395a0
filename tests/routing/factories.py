"""Values for routing tests, with defaults for everything a test does not care about."""

from collections.abc import Iterable, Mapping
from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Any, Literal
from uuid import UUID

from gateway.chat.dialects import Dialect
from gateway.chat.preferences import MaxPrice, ProviderPreferences
from gateway.chat.request import ChatRequest
from gateway.domain.caller import Caller
from gateway.routing.plan import EndpointHealth, Percentiles, Plan, PlanInputs
from pricing.catalogue import Catalogue, make_catalogue
from pricing.endpoint import DataPolicy, Endpoint, Model, Provider
from pricing.price import Price, PriceVersion

AT = datetime(2026, 11, 21, 12, tzinfo=UTC)
NOW_MS = 1_000_000.0

UNPRICED: Literal["unpriced"] = "unpriced"


def make_price(
    input_usd: str | None = "1", output_usd: str | None = "1", **rates: Any
) -> PriceVersion:
    """Open-ended; amounts in USD per million tokens."""
    base = Price(
        version="v1",
        input_usd_per_mtok=None if input_usd is None else Decimal(input_usd),
        output_usd_per_mtok=None if output_usd is None else Decimal(output_usd),
        **rates,
    )
    return PriceVersion(id="v1", base=base)


def make_endpoint(
    provider: str = "alpha",
    model: str | None = "acme/large",
    provider_model: str | None = None,
    price: str | PriceVersion | None = "1",
    **fields: Any,
) -> Endpoint:
    """``price`` alone is both rates per million tokens; None leaves the endpoint unpriced.

    ``model`` None makes one without a canonical name.
    """
    name = provider_model or (model or "nameless").rpartition("/")[2]
    version = make_price(price, price) if isinstance(price, str) else price
    return Endpoint(
        id=f"{provider}/{name}",
        provider=provider,
        provider_model=name,
        model=model or f"{provider}/{name}",
        has_canonical_model=model is not None,
        prices=() if version is None else (version,),
        **fields,
    )


def make_policy(
    *, trains: bool | None = False, retains: bool | None = False, zdr: bool | None = None
) -> DataPolicy:
    """What a provider says it does with prompts."""
    return DataPolicy(
        source="https://example.com/privacy",
        checked_on=date(2026, 11, 1),
        trains_on_prompts=trains,
        retains_prompts=retains,
        zero_data_retention=zdr,
    )


def make_catalogue_of(
    *endpoints: Endpoint,
    policies: Mapping[str, DataPolicy] | None = None,
    models: Iterable[Model] = (),
) -> Catalogue:
    """A catalogue of these endpoints and their providers; `nobody` is known and not enabled."""
    known = policies or {}
    return make_catalogue(
        providers=[
            Provider(id=name, name=name.title(), data_policy=known.get(name))
            for name in sorted({endpoint.provider for endpoint in endpoints})
        ],
        endpoints=endpoints,
        models=models,
        version="test",
        known_providers=("nobody",),
    )


def make_caller(**fields: Any) -> Caller:
    """A key that may do everything."""
    return Caller(key_id=UUID(int=1), kid="kid", name="tests", **fields)


def make_request(
    *models: str, max_price: Mapping[str, str] | None = None, **fields: Any
) -> ChatRequest:
    """A request; preferences of ``provider`` and members of the request are told apart by name.

    ``max_price`` takes the field names of `MaxPrice` and decimal strings.
    """
    wishes = {
        name: fields.pop(name)
        for name in tuple(fields)
        if name in ProviderPreferences.__struct_fields__
    }
    if max_price is not None:
        wishes["max_price"] = MaxPrice(**{k: Decimal(v) for k, v in max_price.items()})
    defaults: dict[str, Any] = {
        "dialect": Dialect.OPENROUTER,
        "body": {},
        "prompt_bytes": 2000,
        "prompt_tokens_estimate": 500,
    }
    return ChatRequest(
        models=models or ("acme/large",),
        provider=ProviderPreferences(**wishes),
        **(defaults | fields),
    )


def make_inputs(
    catalogue: Catalogue,
    *,
    caller: Caller | None = None,
    health: Mapping[str, EndpointHealth] | None = None,
    aliases: Mapping[str, str] | None = None,
    seed: int = 1,
    **fields: Any,
) -> PlanInputs:
    """Inputs at one fixed instant."""
    return PlanInputs(
        catalogue=catalogue,
        caller=caller or make_caller(),
        at=AT,
        now_ms=NOW_MS,
        health=health or {},
        aliases=aliases or {},
        seed=seed,
        **fields,
    )


def make_health(
    *, latency_ms: float | None = None, throughput: float | None = None, **fields: Any
) -> EndpointHealth:
    """Health whose measures are not spread: every percentile is the same."""
    latency, speed = (
        None if value is None else Percentiles(p50=value, p75=value, p90=value, p99=value)
        for value in (latency_ms, throughput)
    )
    return EndpointHealth(latency_ms=latency, throughput_tokens_per_s=speed, **fields)


def ids(plan: Plan) -> list[str]:
    """The candidates' endpoint ids, in order."""
    return [candidate.endpoint.id for candidate in plan.candidates]


def reasons(plan: Plan) -> dict[str, str]:
    """Why each excluded endpoint may not serve."""
    return {exclusion.endpoint: exclusion.reason.value for exclusion in plan.exclusions}
