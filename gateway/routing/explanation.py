"""What is told of one decision: every candidate, every exclusion, and what they rest on."""

from typing import Literal

import msgspec

from gateway.chat.preferences import SortKey
from gateway.chat.usage_report import MaybeUsd
from gateway.routing.plan import BalanceWeights, DecisionMode, ExclusionReason, Strategy
from gateway.routing.rules.drawing import Assignment, Mirror

AffinitySource = Literal["session_id", "prompt_cache_key", "user", "opening"]


class ExplainedPrice(msgspec.Struct, frozen=True, kw_only=True):
    """The price that holds for this request, USD per million tokens."""

    version: str
    input_usd_per_mtok: MaybeUsd
    output_usd_per_mtok: MaybeUsd
    cache_read_usd_per_mtok: MaybeUsd
    request_usd: MaybeUsd
    is_estimated: bool
    """A dearer service tier has no published price, and the standard one stands in."""


class ExplainedHealth(msgspec.Struct, frozen=True, kw_only=True):
    """What the deciding process had seen of an endpoint lately; null is not measured."""

    has_recent_outage: bool
    is_on_probation: bool
    """Its breaker is half-open, and somebody else has the probe."""
    resting_for_s: float | None
    """Set on a last resort only: every endpoint rests, and this one the shortest."""
    weight_factor: float
    """Of its weight in the draw: below 1 in slow start, and where it got slow."""
    latency_p50_ms: float | None
    throughput_p50_tokens_per_s: float | None
    uptime: float | None


class ExplainedScore(msgspec.Struct, frozen=True, kw_only=True):
    """In the ``balanced`` strategy, the lowest first; the parts add up to the total."""

    total: float
    price: float
    uptime: float
    throughput: float
    latency: float
    penalty: float


class ExplainedCandidate(msgspec.Struct, frozen=True, kw_only=True):
    """An endpoint that may serve."""

    place: int
    """From 1, in the order to try."""
    endpoint: str
    provider: str
    model: str
    partition: int
    """Which of ``partitions`` it is in, from 0."""
    expected_cost_usd: MaybeUsd
    expected_output_tokens: int
    cached_tokens: int
    """Of the prompt, expected to be read from the provider's cache."""
    price: ExplainedPrice | None
    weight: float | None
    """In the draw, relative to the cheapest; null where nothing was drawn."""
    probability: float | None
    """With which it was to come first; null where it could not."""
    score: ExplainedScore | None
    health: ExplainedHealth
    behind: tuple[str, ...]
    """What puts it behind others of its kind."""
    rank: int | None
    """Place of the request's ``order`` that names it, from 0."""
    unknown_needs: int
    """How many of the request's needs it is not known to meet."""
    is_sticky: bool
    """Holds the conversation's prompt in its cache, where reading it costs less."""


class ExplainedExclusion(msgspec.Struct, frozen=True, kw_only=True):
    """An endpoint that may not serve."""

    endpoint: str
    reason: ExclusionReason
    detail: str | None
    retry_after_s: float | None
    """When it may serve again; null when time alone changes nothing."""


class ExplainedPartition(msgspec.Struct, frozen=True, kw_only=True):
    """One of the request's models (or all together), and how its endpoints are ordered."""

    model: str | None
    strategy: Strategy
    sort: SortKey | None
    allow_fallbacks: bool
    balance: BalanceWeights | None


class ExplainedRules(msgspec.Struct, frozen=True, kw_only=True):
    """What the operator's rules made of the request."""

    version: str | None
    """Of the rule set; null when there is none."""
    applied: tuple[str, ...] = ()
    """Names, in the order in which they applied."""
    models: tuple[str, ...] | None = None
    """What the request is for, where rules replaced its models or added to them."""
    labels: dict[str, str]
    """The key's, with those that rules attached."""
    splits: tuple[Assignment, ...] = ()
    mirror: Mirror | None = None
    denied_by: str | None = None


class ExplainedAffinity(msgspec.Struct, frozen=True, kw_only=True):
    """Whether the request belongs to a conversation whose prompt lies in somebody's cache."""

    source: AffinitySource | None
    """What of the request tells the conversation; null when nothing does."""
    endpoint: str | None
    """Who is thought to hold the prompt; null when nobody is."""
    cached_share: float | None
    """Of the prompt, 0 to 1."""
    is_followed: bool
    """That endpoint goes first for this reason."""


class Refusal(msgspec.Struct, frozen=True, kw_only=True):
    """What the caller would be told, since nobody may serve."""

    status: int
    type: str
    code: str | None
    message: str
    retry_after_s: float | None


class Explanation(msgspec.Struct, frozen=True, kw_only=True):
    """One decision. Endpoints are in ``candidates`` or in ``exclusions``, or only counted."""

    object: str = "tollway.plan"
    at: str
    """The instant whose prices hold, in UTC."""
    requested_model: str
    requested_provider: str | None
    """The provider that the name pins."""
    models: tuple[str, ...]
    """In the order in which they may be used."""
    strategy: str | None
    mode: DecisionMode | None
    seed: str
    """Of every draw; in digits, since many readers of JSON round large numbers."""
    draw: float | None
    """The number behind the first choice; null when nothing was drawn."""
    prompt_tokens: int
    """Estimated."""
    expected_output_tokens: int
    max_cost_usd: MaybeUsd
    """The request's own limit."""
    budget_headroom_usd: MaybeUsd
    """What the key's budget still holds; null when none limits it."""
    partitions: tuple[ExplainedPartition, ...]
    candidates: tuple[ExplainedCandidate, ...]
    dropped: tuple[ExplainedCandidate, ...]
    """Took part in the order, and may not serve since fallbacks are off."""
    exclusions: tuple[ExplainedExclusion, ...]
    excluded_by: dict[str, int]
    """How many endpoints each reason excluded, those of large pools included, which are counted and
    not listed."""
    constraints: dict[str, str]
    """What would have to change, for each reason."""
    pool: tuple[str, ...]
    """Models that ``auto`` chose between, the first 24."""
    pool_size: int
    rules: ExplainedRules
    affinity: ExplainedAffinity
    catalogue_version: str
    price_versions: tuple[str, ...]
    """Of the candidates' prices."""
    refusal: Refusal | None
    """Null when somebody may serve."""
