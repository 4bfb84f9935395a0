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
    next_after: str | None = None
    """To read on; None at the end."""


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
    tables: tuple[PriceSpan, ...]
    """Without what was decided here."""


class PriceChanges(msgspec.Struct, frozen=True, kw_only=True):
    """Newest first."""

    data: tuple[PriceChange, ...]


class PreviewedEndpoint(msgspec.Struct, frozen=True, kw_only=True):
    """What became of one endpoint's spend; None is unknown."""

    endpoint: str
    provider: str
    model: str
    attempts: int
    attempts_read: int
    recorded_usd: Decimal | None
    would_be_usd: Decimal | None
    difference_usd: Decimal | None
    unpriced_before: int
    unpriced_after: int
    is_extrapolated: bool


class PricePreview(msgspec.Struct, frozen=True, kw_only=True):
    """What a period would have cost if a change had been in force all the time."""

    since: datetime
    until: datetime
    first_day: date | None
    """The oldest of which rows are kept."""
    recorded_usd: Decimal | None
    would_be_usd: Decimal | None
    difference_usd: Decimal | None
    difference_share: float | None
    attempts: int
    attempts_of_change: int
    attempts_read: int
    is_extrapolated: bool
    extrapolation: str | None
    unpriced_before: int
    unpriced_after: int
    kept: dict[str, int]
    """Attempts that keep their cost, by why."""
    endpoints: tuple[PreviewedEndpoint, ...]


class RateDifference(msgspec.Struct, frozen=True, kw_only=True):
    """One amount that a price list has otherwise; of long prompts ``rate>=tokens``."""

    rate: str
    before: Decimal | None
    after: Decimal
    times: str | None


class Proposal(msgspec.Struct, frozen=True, kw_only=True):
    """What a price list proposes; `gates` say what is suspicious about it."""

    id: int
    created_at: datetime
    source: str
    source_version: str
    target: str
    effective_from: datetime | None
    rates: dict[str, str]
    terms: dict[str, Any] | None
    differences: tuple[RateDifference, ...]
    gates: tuple[str, ...]
    status: Literal["open", "accepted", "refused", "superseded"]


class Proposals(msgspec.Struct, frozen=True, kw_only=True):
    """Newest first."""

    data: tuple[Proposal, ...]


class Job(msgspec.Struct, frozen=True, kw_only=True):
    """Work that takes longer than a request."""

    id: str
    state: Literal["running", "done", "failed", "cancelled"]
    progress: float
    result: msgspec.Raw = msgspec.Raw(b"null")
    """Of the kind that was asked for, once it is done."""
    error: str | None = None


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
    active: RuleSetVersion | None = None
    """Listed or not."""


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


class TriedAgain(msgspec.Struct, frozen=True, kw_only=True):
    """What would become of a logged request if it came now."""

    explanation: Tried
    key_works: bool
    asking_headers: tuple[str, ...]


class ReplayMove(msgspec.Struct, frozen=True, kw_only=True, rename={"from_": "from"}):
    """Requests that go from one endpoint to another; None is a refusal."""

    from_: str | None
    to: str | None
    requests: int
    priced: int
    difference_usd: Decimal | None


class ReplayExample(msgspec.Struct, frozen=True, kw_only=True, rename={"from_": "from"}):
    """A request that would have gone elsewhere."""

    id: str
    received_at: datetime
    requested_model: str
    from_: str | None
    to: str | None
    old_cost_usd: Decimal | None
    new_cost_usd: Decimal | None
    refusal: str | None
    old_rules: tuple[str, ...]
    new_rules: tuple[str, ...]


class Reproduced(msgspec.Struct, frozen=True, kw_only=True):
    """How often deciding again meets what was decided then."""

    requests: int
    same: int


class ReplayReport(msgspec.Struct, frozen=True, kw_only=True):
    """What a text of rules would have made of logged requests."""

    since: datetime
    until: datetime
    sample: int
    requests: int
    is_complete: bool
    """There are no more in the period."""
    oldest_at: datetime | None
    old_version: str | None
    new_version: str | None
    replayed: int
    not_replayed: dict[str, int]
    changed: int
    changed_share: float | None
    newly_refused: int
    no_longer_refused: int
    priced: int
    not_priced: dict[str, int]
    old_cost_usd: Decimal
    new_cost_usd: Decimal
    difference_usd: Decimal
    recorded_cost_usd: Decimal
    reproduced: Reproduced
    moves: tuple[ReplayMove, ...]
    moves_left_out: int
    examples: tuple[ReplayExample, ...]


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
    slash_pins_provider: bool | None = None
    provider_configs_origins: tuple[str, ...] = ()
    requests_per_minute: int | None = None
    tokens_per_minute: int | None = None
    concurrency: int | None = None
    created_at: datetime
    created_by: str
    expires_at: datetime | None = None
    revoked_at: datetime | None = None


class Keys(msgspec.Struct, frozen=True, kw_only=True):
    """Newest first."""

    data: tuple[Key, ...]
    next_after: str | None = None
    """To read on; None at the end."""


class CreatedKey(msgspec.Struct, frozen=True, kw_only=True):
    """A key that was just made; its text is nowhere else."""

    key: Key
    text: str

    def __repr__(self) -> str:
        return f"CreatedKey({self.key.kid!r})"


class BudgetView(msgspec.Struct, frozen=True, kw_only=True):
    """A budget in its window of now; `kid`, `labels` or `everyone` say whose spending it limits."""

    id: str
    name: str
    kid: str | None
    labels: dict[str, str]
    everyone: bool
    period: Literal["day", "week", "month", "total"]
    mode: Literal["hard", "soft", "shadow"]
    strict: bool
    limit_usd: Decimal
    spent_usd: Decimal
    leased_usd: Decimal
    expired_usd: Decimal
    remaining_usd: Decimal
    since: datetime
    resets_at: datetime | None
    created_at: datetime
    created_by: str


class Budgets(msgspec.Struct, frozen=True, kw_only=True):
    """By name."""

    data: tuple[BudgetView, ...]


class Released(msgspec.Struct, frozen=True, kw_only=True):
    """What a budget got back."""

    released_usd: Decimal


class AuditEntry(msgspec.Struct, frozen=True, kw_only=True):
    """One change, with the public state before and after it."""

    id: int
    at: datetime
    actor: str
    action: str
    subject: str
    before: dict[str, Any] | None = None
    after: dict[str, Any] | None = None


class AuditPage(msgspec.Struct, frozen=True, kw_only=True):
    """Newest first."""

    data: tuple[AuditEntry, ...]
