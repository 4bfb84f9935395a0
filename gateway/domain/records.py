"""What is remembered of a request and its attempts: the values that the spool carries."""

from datetime import datetime
from decimal import Decimal
from typing import Literal
from uuid import UUID

import msgspec

from gateway.domain.budgets import Charge, Reservation
from gateway.domain.outcomes import Outcome
from pricing.cost import Cost
from pricing.usage import Usage

SCHEMA_VERSION = 1
"""Written with every record; a reader refuses versions that it does not know."""

AttemptKind = Literal["primary", "fallback", "hedge", "shadow"]
UsageSource = Literal["reported", "estimated"]


class AttemptRecord(msgspec.Struct, frozen=True, kw_only=True):
    """One call to one endpoint."""

    number: int
    """1 for the first attempt of the request."""
    kind: AttemptKind
    provider: str
    model: str
    """Our canonical name, ``author/slug``."""
    endpoint: str
    """The endpoint's id, ``provider/provider_model``."""
    provider_model: str
    """The name that the provider knows the model by."""
    started_at: datetime
    outcome: Outcome
    status_code: int = 0
    """The provider's HTTP status; 0 when there was none."""
    error_code: str | None = None
    """The provider's own code, cut to 64 characters."""
    error_message: str | None = None
    """Scrubbed of secrets, cut to 512 characters."""
    upstream_id: str | None = None
    """The provider's id of the completion or request."""
    ttft_ms: float | None = None
    """From the attempt's start to its first content; None when none came."""
    duration_ms: float = 0.0
    finish_reason: str | None = None
    native_finish_reason: str | None = None
    service_tier: str | None = None
    """As served, from the response; None when the provider does not say."""
    served_region: str | None = None
    """Where it was processed, in the provider's word; None when the response does not say."""
    usage: Usage | None = None
    """None when nothing was metered and nothing could be estimated."""
    usage_source: UsageSource | None = None
    cost: Cost
    retry_after_ms: float | None = None


class RequestRecord(msgspec.Struct, frozen=True, kw_only=True):
    """A request with everything that was decided and what came of it."""

    id: UUID
    received_at: datetime
    key_id: UUID
    labels: dict[str, str]
    dialect: str
    stream: bool
    requested_model: str
    """As the client typed it."""
    requested_provider: str | None = None
    """The provider that the request pinned, if any."""
    used_model: str | None = None
    used_provider: str | None = None
    used_endpoint: str | None = None
    underlying_used_model: str | None = None
    """The provider's own name of the model that answered."""
    status_code: int
    """The HTTP status that the client was answered with; 499 when it hung up first."""
    outcome: Outcome
    error_kind: str | None = None
    is_fallback: bool = False
    """The answer came from another endpoint than the one that was tried first."""
    ttft_ms: float | None = None
    """From the arrival of the request to the first content sent."""
    duration_ms: float
    overhead_ms: float | None = None
    """Time that was ours: until the first byte went upstream, less than ``duration_ms``."""
    finish_reason: str | None = None
    user: str | None = None
    session_id: str | None = None
    tags: dict[str, str] = {}
    """What the caller said of its request in ``metadata``; ``labels`` are the operator's."""
    is_paid_by_caller: bool = False
    """It brought its providers' credentials along: what it cost is no spending of the operator."""
    warnings: tuple[str, ...] = ()
    cost_usd: Decimal | None = None
    """Sum over the attempts; None when any of them that was billed has no price."""
    cost_status: str = "exact"
    baseline_cost_usd: Decimal | None = None
    """What the usage of the answer would have cost at the operator's baseline; None without one,
    without an answer, and where the baseline has no price for it."""
    rule_version: str | None = None
    catalogue_version: str
    code_version: str
    plan: dict[str, object]
    """The compact plan: candidates in order with their inputs, exclusions, draw and seed."""
    attempts: tuple[AttemptRecord, ...] = ()
    charge: Charge | None = None
    """What budgets are charged with, in Postgres too once the record is there; None without any."""


class LateAttempts(msgspec.Struct, frozen=True, kw_only=True):
    """Attempts that began after their request's record was written: those of shadows.

    Nobody waited for them, so they are no part of what the request cost or how long it took.
    """

    id: UUID
    """Of the request."""
    received_at: datetime
    """Of the request too."""
    key_id: UUID
    labels: dict[str, str]
    attempts: tuple[AttemptRecord, ...]


class AttemptBegun(msgspec.Struct, frozen=True, kw_only=True):
    """Written before bytes go upstream: a crash cannot hide an attempt that may be billed."""

    request_id: UUID
    received_at: datetime
    key_id: UUID
    labels: dict[str, str]
    dialect: str
    stream: bool
    requested_model: str
    number: int
    kind: AttemptKind
    provider: str
    model: str
    endpoint: str
    provider_model: str
    started_at: datetime
    estimated_cost: Cost
    """The prompt's share alone: what the provider has certainly been sent."""
    estimated_usage: Usage
    reservation: Reservation | None = None
    """What budgets hold for it; None when no budget limits the caller."""
    is_paid_by_caller: bool = False
    catalogue_version: str
    code_version: str
