"""From what was observed to what is remembered: usage made whole, costs computed, sums drawn. Pure.

What an attempt costs when its provider reported no usage:

* nothing, when the provider did no work that it bills: the connection failed, or it refused (4xx,
  429, 5xx) before any content came;
* an estimate, when it had begun or may have: the prompt as estimated, and what was seen of the
  answer by the bytes that a token of the model usually has. A first-token timeout and a hang-up
  belong here: the prompt was read, and providers bill what they generated until they noticed.

A reported zero is a report and stays zero.
"""

from collections.abc import Sequence
from datetime import datetime
from decimal import Decimal
from typing import Any
from uuid import UUID

import msgspec

from gateway.domain.attempts import AttemptEnd, AttemptStart
from gateway.domain.budgets import Charge, Reservation
from gateway.domain.outcomes import Outcome
from gateway.domain.records import AttemptBegun, AttemptRecord, RequestRecord, UsageSource
from gateway.domain.token_ratio import USUAL_BYTES_PER_TOKEN, tokens_in
from pricing.cost import Cost, add_costs, compute_cost
from pricing.price import resolve
from pricing.usage import Usage

_ONE_REQUEST = 1

_UNBILLED_WITHOUT_CONTENT = frozenset(
    {
        Outcome.CONNECT_ERROR,
        Outcome.TLS_ERROR,
        Outcome.CONNECT_TIMEOUT,
        Outcome.SERVER_ERROR,
        Outcome.OVERLOADED,
        Outcome.BAD_RESPONSE,
        Outcome.RATE_LIMITED,
        Outcome.QUOTA_EXHAUSTED,
        Outcome.AUTH_FAILED,
        Outcome.NOT_FOUND,
        Outcome.CONTEXT_LENGTH,
        Outcome.CONTENT_FILTER,
        Outcome.UNSUPPORTED,
        Outcome.TOO_LARGE,
        Outcome.INVALID_REQUEST,
        Outcome.GATEWAY_ERROR,
    }
)
_NOTHING = Cost(total_usd=Decimal(0))


class RequestFacts(msgspec.Struct, frozen=True, kw_only=True):
    """What is known of a request from its arrival."""

    id: UUID
    received_at: datetime
    key_id: UUID
    labels: dict[str, str]
    dialect: str
    stream: bool
    requested_model: str
    user: str | None
    session_id: str | None
    tags: dict[str, str] = {}
    """The caller's own, from ``metadata``."""
    is_paid_by_caller: bool = False
    """It brought its providers' credentials along."""
    rule_version: str | None = None
    """Of the rules in force when the request began; None when there are none."""
    catalogue_version: str
    code_version: str


class RequestEnd(msgspec.Struct, frozen=True, kw_only=True):
    """How a request ended."""

    status_code: int
    outcome: Outcome
    error_kind: str | None = None
    requested_provider: str | None = None
    underlying_used_model: str | None = None
    """From the provider's answer; None falls back to the name it was asked for."""
    ttft_ms: float | None = None
    duration_ms: float
    overhead_ms: float | None = None
    warnings: tuple[str, ...] = ()
    plan: dict[str, Any]
    baseline_cost_usd: Decimal | None = None
    """What the answer would have cost at the operator's baseline; None when it is unknown."""
    charge: Charge | None = None
    """Of budgets; None when there are none."""


def begin_attempt(
    facts: RequestFacts,
    start: AttemptStart,
    *,
    prompt_tokens_estimate: int,
    reservation: Reservation | None = None,
) -> AttemptBegun:
    """What is written before bytes go upstream; its estimate is the prompt's share alone."""
    usage = Usage(input_tokens=prompt_tokens_estimate, requests=_ONE_REQUEST)
    endpoint = start.endpoint
    return AttemptBegun(
        request_id=facts.id,
        received_at=facts.received_at,
        key_id=facts.key_id,
        labels=facts.labels,
        dialect=facts.dialect,
        stream=facts.stream,
        requested_model=facts.requested_model,
        number=start.number,
        kind=start.kind,
        provider=endpoint.provider,
        model=endpoint.model,
        endpoint=endpoint.id,
        provider_model=endpoint.provider_model,
        started_at=start.started_at,
        estimated_cost=compute_cost(usage, start.price, is_estimated=True),
        estimated_usage=usage,
        reservation=reservation,
        is_paid_by_caller=facts.is_paid_by_caller,
        catalogue_version=facts.catalogue_version,
        code_version=facts.code_version,
    )


def settle_attempt(
    end: AttemptEnd,
    *,
    prompt_tokens_estimate: int,
    output_bytes_per_token: float = USUAL_BYTES_PER_TOKEN,
) -> AttemptRecord:
    """The record of one attempt, with its usage and what it cost."""
    usage, source = _metered(end, prompt_tokens_estimate, output_bytes_per_token)
    start, endpoint = end.start, end.start.endpoint
    return AttemptRecord(
        number=start.number,
        kind=start.kind,
        provider=endpoint.provider,
        model=endpoint.model,
        endpoint=endpoint.id,
        provider_model=endpoint.provider_model,
        started_at=start.started_at,
        outcome=end.outcome,
        status_code=end.status_code,
        error_code=end.error_code[:64] if end.error_code else None,
        error_message=end.error_message[:512] if end.error_message else None,
        upstream_id=end.upstream_id,
        ttft_ms=end.ttft_ms,
        duration_ms=end.duration_ms,
        finish_reason=end.finish_reason,
        native_finish_reason=end.native_finish_reason,
        service_tier=end.service_tier,
        served_region=end.served_region,
        usage=usage,
        usage_source=source,
        cost=_cost_of(end, usage, source),
        retry_after_ms=end.retry_after_ms,
    )


def settle_request(
    facts: RequestFacts, end: RequestEnd, attempts: Sequence[AttemptRecord]
) -> RequestRecord:
    """The record of a request with all its attempts; its cost is the sum of theirs."""
    # Attempts end in another order than they began where one was asked beside another.
    attempts = sorted(attempts, key=_number) if len(attempts) > 1 else attempts
    used = next((a for a in reversed(attempts) if a.outcome is Outcome.SUCCESS), None)
    # The usual request has one attempt, and the sum is its cost.
    cost = attempts[0].cost if len(attempts) == 1 else add_costs(a.cost for a in attempts)
    return RequestRecord(
        id=facts.id,
        received_at=facts.received_at,
        key_id=facts.key_id,
        labels=facts.labels,
        dialect=facts.dialect,
        stream=facts.stream,
        requested_model=facts.requested_model,
        requested_provider=end.requested_provider,
        used_model=used.model if used else None,
        used_provider=used.provider if used else None,
        used_endpoint=used.endpoint if used else None,
        underlying_used_model=(end.underlying_used_model or used.provider_model) if used else None,
        status_code=end.status_code,
        outcome=end.outcome,
        error_kind=end.error_kind,
        is_fallback=used is not None and used.endpoint != attempts[0].endpoint,
        ttft_ms=end.ttft_ms,
        duration_ms=end.duration_ms,
        overhead_ms=end.overhead_ms,
        finish_reason=used.finish_reason if used else None,
        user=facts.user,
        session_id=facts.session_id,
        tags=facts.tags,
        is_paid_by_caller=facts.is_paid_by_caller,
        rule_version=facts.rule_version,
        warnings=end.warnings,
        cost_usd=cost.total_usd,
        cost_status=cost.status,
        baseline_cost_usd=end.baseline_cost_usd if used else None,
        catalogue_version=facts.catalogue_version,
        code_version=facts.code_version,
        plan=end.plan,
        attempts=tuple(attempts),
        charge=end.charge,
    )


def _number(attempt: AttemptRecord) -> int:
    return attempt.number


def _metered(
    end: AttemptEnd, prompt_tokens_estimate: int, output_bytes_per_token: float
) -> tuple[Usage | None, UsageSource | None]:
    if end.usage is not None:
        return end.usage, "reported"
    if end.text_bytes == 0 and end.outcome in _UNBILLED_WITHOUT_CONTENT:
        return None, None
    output_tokens = tokens_in(end.text_bytes, output_bytes_per_token)
    prompt = end.prompt_usage or Usage(input_tokens=prompt_tokens_estimate, requests=_ONE_REQUEST)
    return msgspec.structs.replace(prompt, output_tokens=output_tokens), "estimated"


def _cost_of(end: AttemptEnd, usage: Usage | None, source: UsageSource | None) -> Cost:
    if usage is None:
        return _NOTHING
    # Resolved anew: the plan knew neither the prompt's true size nor what tier served, and where.
    price = resolve(
        end.start.endpoint,
        at=end.start.started_at,
        prompt_tokens=usage.prompt_tokens,
        service_tier=end.service_tier,
        region=end.served_region,
    )
    return compute_cost(
        usage,
        price,
        is_estimated=source == "estimated" or end.is_usage_doubtful,
        reported_usd=end.reported_cost_usd,
    )
