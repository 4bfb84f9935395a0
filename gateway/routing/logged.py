"""A logged request, and what is still known of what it asked for."""

from datetime import datetime
from decimal import Decimal
from enum import StrEnum
from uuid import UUID

import msgspec

from gateway.chat.request import ChatRequest
from gateway.routing.replaying_facts import TooLongError, request_of
from gateway.routing.stored_plan import StoredPlan, read_plan
from pricing.usage import Usage


class NotReplayed(StrEnum):
    """Why a logged request cannot be decided again."""

    NO_FACTS = "no_facts"
    """It was recorded before decisions kept what was asked."""
    NO_PLAN = "no_plan"
    """Nobody was found to serve it, and what was known of the endpoints then is not kept."""
    OWN_PROVIDERS = "own_providers"
    """It brought its providers along, which rules do not choose between."""
    KEY_UNKNOWN = "key_unknown"
    """The key is not in the database, so that its labels and limits are not known."""
    TOO_LONG = "too_long"
    """It named more models, providers or parameters than a record keeps."""
    HEADERS = "headers"
    """A rule that could apply asks for headers, which are never stored."""
    SPEED = "speed"
    """Limits of speed by percentiles other than p50 count, and those are not stored."""
    EXCLUSIONS_CUT = "exclusions_cut"
    """Endpoints were left out for their health, and the list of them was cut."""
    BUDGET = "budget"
    """A budget kept endpoints out, and what it held then is not stored."""
    AUTO_POOL = "auto_pool"
    """`auto` chose from another pool than that of now."""
    UNREADABLE = "unreadable"
    """The stored plan is of a form that this version does not know."""


class Answer(msgspec.Struct, frozen=True, kw_only=True):
    """The attempt whose answer the client got."""

    endpoint: str
    started_at: datetime
    service_tier: str | None
    """As served."""
    served_region: str | None = None
    usage: Usage | None
    cost_usd: Decimal | None = None
    """Of this attempt alone, with every correction."""


class LoggedRequest(msgspec.Struct, frozen=True, kw_only=True):
    """What replaying needs of a record."""

    id: UUID
    received_at: datetime
    key_id: UUID
    dialect: str
    stream: bool
    requested_model: str
    user: str | None
    session_id: str | None
    tags: dict[str, str]
    rule_version: str | None
    error_kind: str | None
    used_model: str | None
    used_provider: str | None
    cost_usd: Decimal | None
    """Of all attempts, with every correction; None where one of them has no price."""
    is_paid_by_caller: bool = False
    plan: msgspec.Raw
    answer: Answer | None
    """None when nobody answered."""


class Remembered(msgspec.Struct, frozen=True, kw_only=True):
    """What a record tells of a request: all that decisions ask for, never a word of what it said.

    Neither headers are kept, nor what tells its conversation but a session or a user.
    """

    request: ChatRequest
    plan: StoredPlan


def remember(logged: LoggedRequest) -> Remembered | NotReplayed:
    """The request as far as it is known; or why too little of it is."""
    plan = read_plan(logged.plan)
    if plan is None:
        return NotReplayed.UNREADABLE
    if plan.provider_configs:
        return NotReplayed.OWN_PROVIDERS
    if not plan.asked:
        return NotReplayed.NO_FACTS
    try:
        request = request_of(
            plan.asked,
            typed_model=logged.requested_model,
            dialect=logged.dialect,
            stream=logged.stream,
            prompt_tokens=plan.tokens_in,
            user=logged.user,
            session_id=logged.session_id,
            tags=logged.tags,
        )
    except TooLongError:
        return NotReplayed.TOO_LONG
    except (msgspec.DecodeError, ValueError):
        return NotReplayed.UNREADABLE
    return Remembered(request=request, plan=plan)
