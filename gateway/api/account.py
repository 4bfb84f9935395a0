"""What a key is and what it was used for: ``/api/v1/key``, ``/credits`` and ``/activity``."""

from collections.abc import Awaitable, Callable
from datetime import UTC, date, datetime, timedelta
from typing import Annotated, Any, Literal, TypeVar

import msgspec
from litestar import Request, Response, get
from litestar.handlers import HTTPRouteHandler
from msgspec import Meta, Raw

from gateway.api.chat import Authenticate
from gateway.api.headers import read_headers
from gateway.api.wire import MaybeUsd, Usd, encode, iso, json_response, usd
from gateway.domain.caller import Caller
from gateway.domain.errors import InvalidRequestError, OverloadedError
from gateway.storage.account import DayOfUse, KeyUsage, read_activity, read_key_usage
from gateway.storage.asking import Asker
from gateway.storage.waiting import DatabaseUnavailableError
from pricing.catalogue import Catalogue

T = TypeVar("T")

ACTIVITY_DAYS = 30

_ZERO = Raw(b"0")


class RateLimit(msgspec.Struct, frozen=True, kw_only=True):
    """OpenRouter's member; this gateway limits no rates yet."""

    requests: Annotated[int, Meta(description="-1: no limit.")] = -1
    interval: str = "10s"
    note: str = "rates are not limited"


class KeyFacts(msgspec.Struct, frozen=True, kw_only=True):
    """A key as OpenRouter tells it. Limits are null until there are budgets."""

    label: str
    limit: None = None
    limit_remaining: None = None
    limit_reset: None = None
    usage: MaybeUsd
    usage_daily: MaybeUsd
    usage_weekly: MaybeUsd
    usage_monthly: MaybeUsd
    unpriced_requests: int
    """Requests without a known cost, which no sum includes."""
    byok_usage: Usd = _ZERO
    byok_usage_daily: Usd = _ZERO
    byok_usage_weekly: Usd = _ZERO
    byok_usage_monthly: Usd = _ZERO
    include_byok_in_limit: bool = False
    is_free_tier: bool = False
    is_provisioning_key: bool = False
    expires_at: str | None
    rate_limit: RateLimit = RateLimit()


class KeyAnswer(msgspec.Struct, frozen=True, kw_only=True):
    """``GET /api/v1/key``."""

    data: KeyFacts


class Credits(msgspec.Struct, frozen=True, kw_only=True):
    """Nobody buys credits here, so that there is no total of them."""

    total_credits: None = None
    total_usage: MaybeUsd


class CreditsAnswer(msgspec.Struct, frozen=True, kw_only=True):
    """``GET /api/v1/credits``."""

    data: Credits


class Activity(msgspec.Struct, frozen=True, kw_only=True):
    """One UTC day of one endpoint, as this key used it; failed attempts are included."""

    date: str
    model: str
    model_permaslug: str
    endpoint_id: str
    provider_name: str
    provider: str
    usage: MaybeUsd
    unpriced_attempts: int
    byok_usage_inference: Usd = _ZERO
    requests: int
    prompt_tokens: int
    completion_tokens: int
    reasoning_tokens: int


class ActivityAnswer(msgspec.Struct, frozen=True, kw_only=True):
    """``GET /api/v1/activity``."""

    object: Literal["list"] = "list"
    data: list[Activity]


def account_routes(
    authenticate: Authenticate, ask: Asker, catalogue: Callable[[], Catalogue]
) -> list[HTTPRouteHandler]:
    """Reads from Postgres; 503 when it does not answer in time."""

    def caller_of(request: Request[Any, Any, Any]) -> Caller:
        return authenticate(read_headers(request.scope["headers"]))

    async def usage_of(caller: Caller) -> KeyUsage:
        today = datetime.now(UTC).date()
        return await answered(
            ask(lambda connection: read_key_usage(connection, caller.key_id, today))
        )

    @get(["/api/v1/key", "/api/v1/auth/key"], operation_id="getKey")
    async def key(request: Request[Any, Any, Any]) -> Response[bytes]:
        """The key of this request: its limits and what it spent."""
        caller = caller_of(request)
        facts = to_key_facts(caller, await usage_of(caller))
        return json_response(encode(KeyAnswer(data=facts)))

    @get("/api/v1/credits", operation_id="getCredits")
    async def credit(request: Request[Any, Any, Any]) -> Response[bytes]:
        """What the key spent in all."""
        usage = await usage_of(caller_of(request))
        answer = CreditsAnswer(data=Credits(total_usage=usd(usage.total.usd)))
        return json_response(encode(answer))

    @get("/api/v1/activity", operation_id="getActivity")
    async def activity(request: Request[Any, Any, Any]) -> Response[bytes]:
        """What the key did on each of the last 30 UTC days, or on one of them."""
        caller = caller_of(request)
        wanted = request.query_params.get("date")
        first, last = activity_days(wanted, datetime.now(UTC).date())
        days = await answered(
            ask(lambda connection: read_activity(connection, caller.key_id, first=first, last=last))
        )
        return json_response(encode(ActivityAnswer(data=to_activity(days, catalogue()))))

    return [key, credit, activity]


async def answered(asked: Awaitable[T]) -> T:
    """What Postgres answered.

    Raises:
        OverloadedError: it did not in time.
    """
    try:
        return await asked
    except DatabaseUnavailableError as exc:
        raise OverloadedError(
            "the database does not answer; try again",
            code="database_unavailable",
            retry_after_s=5,
        ) from exc


def activity_days(wanted: str | None, today: date) -> tuple[date, date]:
    """The first and the last UTC day that are asked for.

    Raises:
        InvalidRequestError: not a day, or not one of the last 30.
    """
    oldest = today - timedelta(days=ACTIVITY_DAYS - 1)
    if wanted is None:
        return oldest, today
    try:
        day = date.fromisoformat(wanted)
    except ValueError:
        day = None
    if day is None or not oldest <= day <= today:
        raise InvalidRequestError(
            f"`date` must be a UTC day from {oldest} to {today}, such as {today}",
            param="date",
            code="invalid_value",
        )
    return day, day


def to_key_facts(caller: Caller, usage: KeyUsage) -> KeyFacts:
    """The key as clients are told of it; its text and its id are not."""
    return KeyFacts(
        label=caller.name,
        usage=usd(usage.total.usd),
        usage_daily=usd(usage.day.usd),
        usage_weekly=usd(usage.week.usd),
        usage_monthly=usd(usage.month.usd),
        unpriced_requests=usage.total.unpriced_requests,
        expires_at=iso(caller.expires_at),
    )


def to_activity(days: list[DayOfUse], catalogue: Catalogue) -> list[Activity]:
    """Days of use in OpenRouter's words."""
    names = {provider.id: provider.name for provider in catalogue.providers.values()}
    return [
        Activity(
            date=day.day.isoformat(),
            model=day.model,
            model_permaslug=day.model,
            endpoint_id=day.endpoint,
            provider_name=names.get(day.provider, day.provider),
            provider=day.provider,
            usage=usd(day.cost_usd),
            unpriced_attempts=day.unpriced_attempts,
            requests=day.requests,
            prompt_tokens=day.prompt_tokens,
            completion_tokens=day.completion_tokens,
            reasoning_tokens=day.reasoning_tokens,
        )
        for day in days
    ]
