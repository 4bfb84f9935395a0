"""What the admin API answers, as far as the dashboard reads it; other members are let be.

Prices, changes and decisions are those of `pricing`.
"""

from datetime import date, datetime
from decimal import Decimal
from typing import Any, Literal

import msgspec

from pricing.operator_layer import PriceChange
from pricing.price import Price


class OfferedEndpoint(msgspec.Struct, frozen=True, kw_only=True):
    """An endpoint that is enabled, with the price that holds now; None is unknown."""

    endpoint: str
    provider: str
    model: str
    mode: str
    price: Price | None
    layers: tuple[str, ...]
    has_conditions: bool
    next_from: datetime | None
    source: str | None
    checked_on: date | None
    is_disabled: bool
    retired_at: datetime | None


class Offered(msgspec.Struct, frozen=True, kw_only=True):
    """A part of the catalogue; `total` may be more than what is listed."""

    version: str
    total: int
    providers: tuple[str, ...]
    data: tuple[OfferedEndpoint, ...]


class PriceSpan(msgspec.Struct, frozen=True, kw_only=True):
    """A price in ``[effective_from, effective_to)``; `terms` are as in the tables."""

    version: str
    layers: tuple[str, ...]
    effective_from: datetime | None
    effective_to: datetime | None
    terms: dict[str, Any]
    source: str | None
    checked_on: date | None


class PriceSpans(msgspec.Struct, frozen=True, kw_only=True):
    """Oldest first."""

    endpoint: str
    model: str
    data: tuple[PriceSpan, ...]


class PriceChanges(msgspec.Struct, frozen=True, kw_only=True):
    """Newest first."""

    data: tuple[PriceChange, ...]


class Problem(msgspec.Struct, frozen=True, kw_only=True):
    """What is wrong in a text of rules."""

    message: str
    line: int | None = None
    rule: str | None = None
    where: str | None = None
    severity: Literal["error", "warning"] = "error"


class Verdict(msgspec.Struct, frozen=True, kw_only=True):
    """What was found in a text of rules."""

    valid: bool
    version: str | None = None
    rules: int = 0
    problems: tuple[Problem, ...] = ()


class ShownRule(msgspec.Struct, frozen=True, kw_only=True):
    """One rule in force; members by dotted name."""

    name: str
    members: dict[str, Any]


class RulesInForce(msgspec.Struct, frozen=True, kw_only=True):
    """What holds; `problem` keeps newer rules out."""

    origin: Literal["file", "database"]
    path: str | None
    version: str | None
    problem: str | None
    rules: tuple[ShownRule, ...]


class RuleSetVersion(msgspec.Struct, frozen=True, kw_only=True):
    """One version with its text."""

    number: int
    version: str
    source: str
    comment: str | None = None
    created_at: datetime
    created_by: str
    is_active: bool
    activated_at: datetime | None = None


class RuleSetVersions(msgspec.Struct, frozen=True, kw_only=True):
    """Newest first."""

    data: tuple[RuleSetVersion, ...]


class MemberDiff(msgspec.Struct, frozen=True, kw_only=True):
    """None of `before` or `after`: it was, or is, not there."""

    member: str
    before: Any = None
    after: Any = None


class RuleDiff(msgspec.Struct, frozen=True, kw_only=True):
    """One rule that is not as it was."""

    rule: str
    kind: Literal["added", "removed", "changed", "moved"]
    members: tuple[MemberDiff, ...] = ()


class RuleSetDiff(msgspec.Struct, frozen=True, kw_only=True):
    """Everything that changes."""

    old_version: str | None
    new_version: str | None
    changes: tuple[RuleDiff, ...] = ()


class TriedCandidate(msgspec.Struct, frozen=True, kw_only=True):
    """An endpoint that may serve; amounts as texts or numbers, None is unknown."""

    place: int
    endpoint: str
    provider: str
    model: str
    expected_cost_usd: Any = None
    probability: float | None = None


class TriedExclusion(msgspec.Struct, frozen=True, kw_only=True):
    """An endpoint that may not serve."""

    endpoint: str
    reason: str
    detail: str | None = None


class TriedRules(msgspec.Struct, frozen=True, kw_only=True):
    """What rules made of the request."""

    version: str | None
    applied: tuple[str, ...] = ()
    labels: dict[str, str] = {}
    denied_by: str | None = None


class Refusal(msgspec.Struct, frozen=True, kw_only=True):
    """What the caller would be told."""

    status: int
    code: str | None
    message: str


class Tried(msgspec.Struct, frozen=True, kw_only=True):
    """Who would serve a request, and why not the others."""

    models: tuple[str, ...]
    strategy: str | None
    prompt_tokens: int
    expected_output_tokens: int
    candidates: tuple[TriedCandidate, ...]
    dropped: tuple[TriedCandidate, ...]
    exclusions: tuple[TriedExclusion, ...]
    excluded_by: dict[str, int]
    rules: TriedRules
    refusal: Refusal | None


class Key(msgspec.Struct, frozen=True, kw_only=True):
    """A key without its text."""

    id: str
    kid: str
    last4: str
    name: str
    labels: dict[str, str] = {}
    allowed_models: tuple[str, ...] = ()
    allowed_providers: tuple[str, ...] = ()
    default_model: str | None = None
    requests_per_minute: int | None = None
    tokens_per_minute: int | None = None
    concurrency: int | None = None
    created_at: datetime
    created_by: str
    expires_at: datetime | None = None
    revoked_at: datetime | None = None


class Keys(msgspec.Struct, frozen=True, kw_only=True):
    """Oldest first."""

    data: tuple[Key, ...]


class CreatedKey(msgspec.Struct, frozen=True, kw_only=True):
    """A key that was just made; its text is nowhere else."""

    key: Key
    text: str

    def __repr__(self) -> str:
        return f"CreatedKey({self.key.kid!r})"


class BudgetView(msgspec.Struct, frozen=True, kw_only=True):
    """A budget in its window of now; `kid`, `labels` or `everyone` say whose spending it limits."""

    name: str
    kid: str | None
    labels: dict[str, str]
    everyone: bool
    period: Literal["day", "week", "month", "total"]
    mode: Literal["hard", "soft", "shadow"]
    limit_usd: Decimal
    spent_usd: Decimal
    leased_usd: Decimal
    remaining_usd: Decimal
    since: datetime
    resets_at: datetime | None
    created_at: datetime
    created_by: str


class Budgets(msgspec.Struct, frozen=True, kw_only=True):
    """By name."""

    data: tuple[BudgetView, ...]
