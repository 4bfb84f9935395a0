"""What a key is and what it was used for: ``/api/v1/key``, ``/credits`` and ``/activity``."""

from collections.abc import Awaitable, Callable, Sequence
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
from gateway.ledger.limits import is_limited
from gateway.storage.account import DayOfUse, KeyUsage, read_activity, read_key_usage
from gateway.storage.asking import Asker
from gateway.storage.budget_views import BudgetView, view_budgets_of
from gateway.storage.engine import Connection
from gateway.storage.waiting import DatabaseUnavailableError
from pricing.catalogue import Catalogue
from pricing.cost import sum_known

T = TypeVar("T")

ACTIVITY_DAYS = 30

_ZERO = Raw(b"0")
_NULL = Raw(b"null")
_RESETS: dict[str, Literal["daily", "weekly", "monthly"]] = {
    "day": "daily",
    "week": "weekly",
    "month": "monthly",
}


class RateLimit(msgspec.Struct, frozen=True, kw_only=True):
    """OpenRouter's member, and what else is limited."""

    requests: Annotated[int, Meta(description="-1: no limit.")] = -1
    interval: str = "1m"
    note: str = "on each node"
    tokens: int | None = None
    """Per minute; None is no limit."""
    concurrency: int | None = None
    """Open at once; None is no limit."""


class BudgetFacts(msgspec.Struct, frozen=True, kw_only=True):
    """A budget that the key spends from, perhaps with others."""

    name: str
    mode: Literal["hard", "soft"]
    period: Literal["day", "week", "month", "total"]
    limit: Usd
    spent: Usd
    remaining: Usd
    resets_at: str | None
    """None is never."""


class KeyFacts(msgspec.Struct, frozen=True, kw_only=True):
    """A key as OpenRouter tells it. The limit is that of the budget with the least left."""

    label: str
    limit: MaybeUsd = _NULL
    limit_remaining: MaybeUsd = _NULL
    limit_reset: Literal["daily", "weekly", "monthly"] | None = None
    """How often it begins anew; None is never, or no limit."""
    limit_resets_at: str | None = None
    budgets: list[BudgetFacts] = []
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
    """Nobody buys credits here: their total is what was used and what budgets leave."""

    total_credits: Annotated[
        Raw,
        Meta(
            description="What was used and what is left together; null without a budget.",
            extra_json_schema={"type": ["number", "null"]},
        ),
    ] = _NULL
    total_usage: MaybeUsd
    limit: MaybeUsd = _NULL
    limit_remaining: MaybeUsd = _NULL
    limit_resets_at: str | None = None


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

    async def state_of(caller: Caller) -> tuple[KeyUsage, list[BudgetView]]:
        now = datetime.now(UTC)

        async def read(connection: Connection) -> tuple[KeyUsage, list[BudgetView]]:
            usage = await read_key_usage(connection, caller.key_id, now.date())
            return usage, await view_budgets_of(connection, caller, now)

        return await answered(ask(read))

    @get(["/api/v1/key", "/api/v1/auth/key"], operation_id="getKey")
    async def key(request: Request[Any, Any, Any]) -> Response[bytes]:
        """The key of this request: its limits and what it spent."""
        caller = caller_of(request)
        facts = to_key_facts(caller, *await state_of(caller))
        return json_response(encode(KeyAnswer(data=facts)))

    @get("/api/v1/credits", operation_id="getCredits")
    async def credit(request: Request[Any, Any, Any]) -> Response[bytes]:
        """What the key spent in all, and what is left of its budget."""
        usage, budgets = await state_of(caller_of(request))
        return json_response(encode(CreditsAnswer(data=to_credits(usage, budgets))))

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


def to_key_facts(caller: Caller, usage: KeyUsage, budgets: Sequence[BudgetView]) -> KeyFacts:
    """The key as clients are told of it; its text and its id are not."""
    tightest = budgets[0] if budgets else None
    return KeyFacts(
        label=caller.name,
        limit=usd(tightest.limit_usd) if tightest else _NULL,
        limit_remaining=usd(tightest.remaining_usd) if tightest else _NULL,
        limit_reset=_RESETS.get(tightest.period) if tightest else None,
        limit_resets_at=iso(tightest.resets_at) if tightest else None,
        budgets=[
            BudgetFacts(
                name=one.name,
                mode="hard" if one.mode == "hard" else "soft",
                period=one.period,
                limit=usd(one.limit_usd),
                spent=usd(one.spent_usd),
                remaining=usd(one.remaining_usd),
                resets_at=iso(one.resets_at),
            )
            for one in budgets
        ],
        rate_limit=RateLimit(
            requests=caller.requests_per_minute or -1,
            note="on each node" if is_limited(caller) else "rates are not limited",
            tokens=caller.tokens_per_minute,
            concurrency=caller.concurrency,
        ),
        usage=usd(usage.total.usd),
        usage_daily=usd(usage.day.usd),
        usage_weekly=usd(usage.week.usd),
        usage_monthly=usd(usage.month.usd),
        unpriced_requests=usage.total.unpriced_requests,
        byok_usage=usd(usage.total.caller_usd),
        byok_usage_daily=usd(usage.day.caller_usd),
        byok_usage_weekly=usd(usage.week.caller_usd),
        byok_usage_monthly=usd(usage.month.caller_usd),
        expires_at=iso(caller.expires_at),
    )


def to_credits(usage: KeyUsage, budgets: Sequence[BudgetView]) -> Credits:
    """What clients subtract from each other to know what is left."""
    used_usd = usage.total.usd
    if not budgets:
        return Credits(total_usage=usd(used_usd))
    tightest = budgets[0]
    return Credits(
        total_credits=usd(sum_known(used_usd, tightest.remaining_usd)),
        total_usage=usd(used_usd),
        limit=usd(tightest.limit_usd),
        limit_remaining=usd(tightest.remaining_usd),
        limit_resets_at=iso(tightest.resets_at),
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
            byok_usage_inference=usd(day.caller_usd),
            requests=day.requests,
            prompt_tokens=day.prompt_tokens,
            completion_tokens=day.completion_tokens,
            reasoning_tokens=day.reasoning_tokens,
        )
        for day in days
    ]
